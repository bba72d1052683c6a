//! A message cut into parts by SpamAssassin's rules for MIME, malformed mail included.

use std::collections::VecDeque;
use std::sync::OnceLock;

use bytes::Bytes;

use super::content::{ContentType, disposition_name};
use super::decode::{base64, line_feeds, quoted_printable};
use super::header::Header;
use super::perl::{lines, starts_with};
use super::render::Rendered;

/// Multiparts and messages within one another are followed so deep.
const DEPTH: u32 = 20;
/// A multipart is read up to so many parts.
const PARTS: usize = 1000;
/// Longer lines of parts are broken.
const LONGEST_LINE: usize = 2048;
/// Of more empty lines in a row only so many stay.
const EMPTY_LINES: usize = 20;

/// What SpamAssassin notes about the make of a message, for the rules of its MIMEEval and HeaderEval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MimeFlags {
    /// No empty line between header and body.
    pub missing_head_body_separator: bool,
    /// A field was cut, or the header is longer than is looked at.
    pub truncated_header: bool,
    /// A boundary is followed by something that is no header.
    pub missing_mime_headers: bool,
    /// In a part there is no empty line between header and body.
    pub missing_mime_head_body_separator: bool,
    /// Something follows the last boundary.
    pub mime_epilogue_exists: bool,
    /// There are more parts than are looked at.
    pub mimepart_limit_exceeded: bool,
}

/// A message in parts. The first node is the message itself.
#[derive(Debug)]
pub(crate) struct Tree {
    pub nodes: Vec<Node>,
    pub flags: MimeFlags,
    /// Header with the empty line behind it, as it came.
    pub head: Bytes,
    /// What follows the header, as it came.
    pub body: Bytes,
}

/// A part.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub header: Header,
    /// `text/html`
    pub kind: Vec<u8>,
    pub charset: Option<Vec<u8>>,
    pub name: Option<Vec<u8>>,
    /// What stands in it, not decoded; None if it was read as parts.
    pub raw: Option<Bytes>,
    pub children: Vec<usize>,
    pub leaf: bool,
    decoded: OnceLock<Bytes>,
    pub rendered: OnceLock<Option<Rendered>>,
}

impl Node {
    /// What stands in it, decoded.
    pub(crate) fn decoded(&self) -> &Bytes {
        self.decoded.get_or_init(|| {
            let raw = self.raw.clone().unwrap_or_default();
            let encoding = self.header.last(b"content-transfer-encoding").to_ascii_lowercase();
            match encoding.as_slice() {
                b"quoted-printable" => without_returns(quoted_printable(&raw)),
                b"base64" => {
                    let decoded = base64(&raw);
                    if is_of(&self.kind, b"text") || is_of(&self.kind, b"message") {
                        without_returns(decoded)
                    } else {
                        decoded.into()
                    }
                }
                _ => raw,
            }
        })
    }

    /// Its type, unless its name says that it is a page.
    pub(crate) fn effective_kind(&self) -> &[u8] {
        let is_page = self.name.as_deref().is_some_and(|name| {
            let name = name.strip_suffix(b"\n").unwrap_or(name).to_ascii_lowercase();
            [&b".htm"[..], b".html", b".shtm", b".shtml"].iter().any(|end| name.ends_with(end))
        });
        if is_page { b"text/html" } else { &self.kind }
    }
}

/// Whether a type is of that sort: `text/plain` is of `text`.
pub(crate) fn is_of(kind: &[u8], sort: &[u8]) -> bool {
    starts_with(kind, sort) && kind.get(sort.len()) == Some(&b'/')
}

fn without_returns(text: Vec<u8>) -> Bytes {
    match line_feeds(&text) {
        std::borrow::Cow::Borrowed(_) => text.into(),
        std::borrow::Cow::Owned(text) => text.into(),
    }
}

/// A part that is still to be cut.
struct Waiting {
    node: usize,
    boundary: Option<Vec<u8>>,
    body: Bytes,
    depth: u32,
}

impl Tree {
    /// Reads a message.
    pub(crate) fn read(source: Bytes) -> Tree {
        let mut flags = MimeFlags::default();
        let (split, first) = begin(source, DEPTH, &mut flags);
        let (node, waiting) = first;
        let mut tree = Tree { nodes: vec![node], flags, head: split.head, body: split.body };
        let mut queue = VecDeque::from([Waiting { node: 0, ..waiting }]);
        while let Some(next) = queue.pop_front() {
            let kind = &tree.nodes[next.node].kind;
            if kind.starts_with(b"multipart/") && next.boundary.is_some() && next.depth > 0 {
                tree.multipart(next, &mut queue);
            } else {
                tree.single(next, &mut queue);
            }
        }
        tree
    }

    /// The parts in the order in which they stand.
    pub(crate) fn walk(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.nodes.len());
        let mut stack = vec![0];
        while let Some(at) = stack.pop() {
            order.push(at);
            stack.extend(self.nodes[at].children.iter().rev());
        }
        order
    }

    /// The parts without parts, in order.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = &Node> {
        let nodes = self.walk().into_iter().map(|at| &self.nodes[at]);
        nodes.filter(|node| node.leaf && !node.kind.is_empty())
    }

    fn add(&mut self, parent: usize, node: Node) -> usize {
        self.nodes.push(node);
        let at = self.nodes.len() - 1;
        self.nodes[parent].children.push(at);
        self.nodes[parent].leaf = false;
        at
    }

    /// Something that is no multipart: its type, charset and name, and the message in it if it is one.
    fn single(&mut self, part: Waiting, queue: &mut VecDeque<Waiting>) {
        let node = &mut self.nodes[part.node];
        let content = ContentType::of(&node.header);
        if !content.missing {
            let plain = content.kind.starts_with(b"multipart/") && part.boundary.is_none();
            node.kind = if plain { b"text/plain".to_vec() } else { content.kind };
        }
        node.charset = content.charset;
        node.name = disposition_name(&node.header.last(b"content-disposition"))
            .or(content.name.filter(|name| !name.is_empty() && name != b"0"));
        node.raw = Some(part.body);
        let is_message = node.kind == b"message/rfc822" || node.kind == b"message/global";
        if !is_message || part.depth == 0 {
            return;
        }
        let inner = node.decoded().clone();
        if inner.is_empty() {
            return;
        }
        node.raw = None;
        let mut ignored = MimeFlags::default();
        let (_, (inner, waiting)) = begin(inner, part.depth - 1, &mut ignored);
        let at = self.add(part.node, inner);
        queue.push_back(Waiting { node: at, ..waiting });
    }

    /// Cuts a multipart into its parts.
    fn multipart(&mut self, part: Waiting, queue: &mut VecDeque<Waiting>) {
        self.nodes[part.node].leaf = false;
        let boundary = part.boundary.unwrap_or_default();
        let body = self.behind_preamble(&part.body, &boundary);
        let mut cutter = Cutter { boundary: &boundary, nested: false, source: &body };
        let mut at = 0;
        let mut count = 0;
        while at < body.len() {
            let cut = cutter.next(at, &mut self.flags);
            at = cut.end;
            let mut node = Node { header: cut.header, leaf: true, ..Node::default() };
            let Some(content) = cut.content else { break };
            let kind = ContentType::of(&node.header);
            let in_digest = kind.missing && self.nodes[part.node].kind == b"multipart/digest";
            node.kind = if in_digest { b"message/rfc822".to_vec() } else { kind.kind };
            let inner = kind
                .boundary
                .filter(|name| !name.is_empty() && name != b"0")
                .unwrap_or_else(|| boundary.clone());
            let child = self.add(part.node, node);
            queue.push_back(Waiting {
                node: child,
                boundary: Some(inner),
                body: content,
                depth: part.depth - 1,
            });
            if cut.last {
                break;
            }
            if at < body.len() && !begins_field(&body[at..], false) {
                self.flags.missing_mime_headers = true;
            }
            count += 1;
            if count == PARTS {
                self.flags.mimepart_limit_exceeded = true;
                return;
            }
        }
        let epilogue = |byte: &u8| !super::perl::is_space(*byte) && *byte != b'.';
        self.flags.mime_epilogue_exists |= body[at..].iter().any(epilogue);
    }

    /// What follows the first boundary; all of it if there is none.
    fn behind_preamble(&mut self, body: &Bytes, boundary: &[u8]) -> Bytes {
        let mut at = 0;
        for line in lines(body) {
            at += line.len();
            if is_boundary(line, boundary) == Some(false) {
                if at < body.len() && !begins_field(&body[at..], false) {
                    self.flags.missing_mime_headers = true;
                }
                return body.slice(at..);
            }
        }
        body.clone()
    }
}

/// Cuts parts off a multipart.
struct Cutter<'a> {
    boundary: &'a [u8],
    /// A part within has the same boundary.
    nested: bool,
    source: &'a Bytes,
}

/// A part that was cut off.
struct Cut {
    header: Header,
    /// None if nothing but a header stands there.
    content: Option<Bytes>,
    /// The last boundary came.
    last: bool,
    /// Where the next begins.
    end: usize,
}

impl Cutter<'_> {
    /// The part that begins at `from`.
    fn next(&mut self, from: usize, flags: &mut MimeFlags) -> Cut {
        let mut header = Header::default();
        let mut field: Option<std::ops::Range<usize>> = None;
        let mut body: Option<usize> = None;
        let mut at = from;
        for line in lines(&self.source[from..]) {
            let start = at;
            at += line.len();
            let mut bound = is_boundary(line, self.boundary);
            if bound.is_some() && self.nested {
                self.nested = bound == Some(false);
                bound = None;
            }
            if let Some(last) = bound {
                let content = body.map_or(Bytes::new(), |body| self.content(body..start, true));
                return Cut { header, content: Some(content), last, end: at };
            }
            if at == self.source.len() {
                // The last line belongs to the body, whatever it is.
                let content = self.content(body.unwrap_or(start)..at, false);
                return Cut { header, content: Some(content), last: false, end: at };
            }
            if body.is_some() {
                continue;
            }
            if begins_field(line, true) {
                self.store(&mut header, field.take());
                field = Some(start..at);
            } else if let Some(field) = field.as_mut().filter(|_| matches!(line[0], b' ' | b'\t')) {
                field.end = at;
            } else {
                self.store_last(&mut header, field.take());
                let empty = line == b"\n" || line == b"\r\n" || line == b"\r";
                flags.missing_mime_head_body_separator |= !empty;
                body = Some(if empty { at } else { start });
            }
        }
        Cut { header, content: None, last: false, end: at }
    }

    fn store(&self, header: &mut Header, field: Option<std::ops::Range<usize>>) {
        let Some(field) = field else { return };
        let text = self.source.slice(field);
        let Some(colon) = memchr::memchr(b':', &text) else { return };
        let blanks = text[colon + 1..].iter().take_while(|byte| super::perl::is_space(**byte)).count();
        header.push(text.slice(..colon), text.slice(colon + 1 + blanks..));
    }

    /// The same for the last one, behind which it is known whether the part has the boundary of its parent.
    fn store_last(&mut self, header: &mut Header, field: Option<std::ops::Range<usize>>) {
        self.store(header, field);
        let is_type =
            header.fields.last().is_some_and(|field| field.name.eq_ignore_ascii_case(b"content-type"));
        if is_type && ContentType::of(header).boundary.as_deref() == Some(self.boundary) {
            self.nested = true;
        }
    }

    /// The lines there, long ones broken; without the line end before a boundary.
    fn content(&self, range: std::ops::Range<usize>, before_boundary: bool) -> Bytes {
        let text = self.source.slice(range);
        let broken = broken(text);
        if before_boundary && broken.ends_with(b"\n") { broken.slice(..broken.len() - 1) } else { broken }
    }
}

/// With a line end after each 2,048 octets of longer lines.
fn broken(text: Bytes) -> Bytes {
    let mut last = 0;
    let is_long = |(start, end): (usize, usize)| end - start >= LONGEST_LINE;
    let ends = memchr::memchr_iter(b'\n', &text).chain([text.len().saturating_sub(1)]);
    let long = ends
        .map(|end| (std::mem::replace(&mut last, end + 1), end))
        .any(|(start, end)| end >= start && is_long((start, end)));
    if !long {
        return text;
    }
    let mut out = Vec::with_capacity(text.len() + text.len() / LONGEST_LINE + 1);
    for mut line in lines(&text) {
        while line.len() > LONGEST_LINE {
            out.extend_from_slice(&line[..LONGEST_LINE]);
            out.push(b'\n');
            line = &line[LONGEST_LINE..];
        }
        out.extend_from_slice(line);
    }
    out.into()
}

/// Whether a line begins a field: a name of printable ASCII and a colon, before which white space may stand.
fn begins_field(line: &[u8], spaces: bool) -> bool {
    let name = line.iter().take_while(|byte| matches!(byte, 0x21..=0x39 | 0x3b..=0x7e)).count();
    let blanks =
        if spaces { line[name..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count() } else { 0 };
    name > 0 && line.get(name + blanks) == Some(&b':')
}

/// Whether a line is that boundary, and then whether it is the last.
fn is_boundary(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    let blank = |rest: &[u8]| rest.iter().all(|byte| super::perl::is_space(*byte));
    match rest.strip_prefix(b"--") {
        Some(rest) if blank(rest) => Some(true),
        _ => blank(rest).then_some(false),
    }
}

/// Header and body as they came.
struct Split {
    head: Bytes,
    body: Bytes,
}

/// Reads the header of a message and makes its body ready to be cut.
fn begin(source: Bytes, depth: u32, flags: &mut MimeFlags) -> (Split, (Node, Waiting)) {
    let source = if source.is_empty() { Bytes::from_static(b"\n") } else { source };
    let source = source.slice(separator(&source)..);
    let returns = has_returns(&source);
    let (mut header, end) = read_header(&source, returns, flags);
    header.fields.retain(|field| !field.name.eq_ignore_ascii_case(b"X-Spam-Relays-Trusted"));
    flags.truncated_header |= header.truncated;
    let head = source.slice(..end);
    let mut rest = source.slice(end..);
    let is_over = lines(&head).last().is_some_and(|line| matches!(line, b"\n" | b"\r\n"));
    if returns && !is_over {
        // The line at which it is seen that the header is over has got its CR already.
        let first = lines(&rest).next().map_or(0, <[u8]>::len);
        let line = with_returns(rest.slice(..first));
        if line.len() > first {
            rest = [&line[..], &rest[first..]].concat().into();
        }
    }
    let split = Split { head: if returns { with_returns(head) } else { head }, body: rest };
    let body = match returns.then(|| line_feeds(&split.body)) {
        Some(std::borrow::Cow::Owned(text)) => text.into(),
        _ => split.body.clone(),
    };
    let mut body = fewer_empty_lines(body);
    let content = ContentType::of(&header);
    let first = lines(&body).next().unwrap_or_default();
    let several = first.len() < body.len();
    let starts = content
        .boundary
        .as_deref()
        .is_some_and(|boundary| first.strip_prefix(b"--").is_some_and(|rest| rest.starts_with(boundary)));
    if content.kind.starts_with(b"multipart/") && several && !super::perl::trim(first).is_empty() && !starts {
        body = [b"\n", &body[..]].concat().into();
    }
    let node = Node { header, kind: content.kind, leaf: true, ..Node::default() };
    (split, (node, Waiting { node: 0, boundary: content.boundary, body, depth }))
}

/// How long the line is with which a mailbox begins a message.
fn separator(source: &[u8]) -> usize {
    let blanks = source
        .strip_prefix(b"From")
        .map_or(0, |rest| rest.iter().take_while(|byte| super::perl::is_space(**byte)).count());
    let is_one = blanks > 1 || (blanks == 1 && source.get(5) != Some(&b':'));
    if is_one { lines(source).next().map_or(0, <[u8]>::len) } else { 0 }
}

/// Whether lines end with CRLF: the first or the last does.
fn has_returns(source: &[u8]) -> bool {
    lines(source).next().is_some_and(|line| line.ends_with(b"\r\n")) || source.ends_with(b"\r\n")
}

/// With CRLF for each LF, where a mail server between has broken that.
fn with_returns(text: Bytes) -> Bytes {
    let bare = |at: usize| at == 0 || text[at - 1] != b'\r';
    if !memchr::memchr_iter(b'\n', &text).any(bare) {
        return text;
    }
    let mut out = Vec::with_capacity(text.len() + 64);
    for line in lines(&text) {
        match line.strip_suffix(b"\n") {
            Some(line) if !line.ends_with(b"\r") => {
                out.extend_from_slice(line);
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(line),
        }
    }
    out.into()
}

/// The fields, and where the body begins.
fn read_header(source: &Bytes, returns: bool, flags: &mut MimeFlags) -> (Header, usize) {
    let mut header = Header::default();
    let mut field: Option<std::ops::Range<usize>> = None;
    let mut errors = 0;
    let mut at = 0;
    for line in lines(source) {
        let start = at;
        if matches!(line[0], b' ' | b'\t') {
            at += line.len();
            field.get_or_insert(start..start).end = at;
            continue;
        }
        store(&mut header, source, field.take(), returns);
        if line == b"\n" || (returns && line == b"\r\n") {
            return (header, at + line.len());
        }
        if line.starts_with(b"--") {
            flags.missing_head_body_separator = true;
            return (header, at);
        }
        if !begins_field(line, true) {
            errors += 1;
            if errors > 3 {
                flags.missing_head_body_separator = true;
                return (header, at);
            }
        }
        at += line.len();
        field = Some(start..at);
    }
    store(&mut header, source, field, returns);
    flags.missing_head_body_separator = true;
    (header, at)
}

fn store(header: &mut Header, source: &Bytes, field: Option<std::ops::Range<usize>>, returns: bool) {
    let Some(field) = field else { return };
    let text = source.slice(field);
    let Some(colon) = memchr::memchr(b':', &text) else { return };
    let mut name = text.slice(..colon);
    if returns {
        name = with_returns(name);
    }
    while name.ends_with(b" ") || name.ends_with(b"\t") {
        name.truncate(name.len() - 1);
    }
    let value = text.slice(colon + 1..);
    let value = match returns.then(|| line_feeds(&value)) {
        Some(std::borrow::Cow::Owned(text)) => text.into(),
        _ => value,
    };
    header.push(name, value);
}

/// With at most twenty empty lines in a row.
fn fewer_empty_lines(body: Bytes) -> Bytes {
    let blank = |line: &[u8]| line.iter().all(|byte| super::perl::is_space(*byte));
    let (mut run, mut most) = (0, 0);
    for line in lines(&body) {
        run = if super::perl::is_space(line[0]) && blank(line) { run + 1 } else { 0 };
        most = most.max(run);
    }
    if most <= EMPTY_LINES {
        return body;
    }
    let mut out = Vec::with_capacity(body.len());
    let mut run: Vec<&[u8]> = Vec::new();
    let mut at_start = true;
    let mut flush = |out: &mut Vec<u8>, run: &mut Vec<&[u8]>| {
        // At the very start one line more stays.
        let keep = 1 + usize::from(std::mem::replace(&mut at_start, false));
        let drop = run.len().saturating_sub(EMPTY_LINES + keep - 1);
        for (place, line) in run.drain(..).enumerate() {
            if place < keep || place >= keep + drop {
                out.extend_from_slice(line);
            }
        }
    };
    for line in lines(&body) {
        if blank(line) {
            run.push(line);
        } else {
            flush(&mut out, &mut run);
            out.extend_from_slice(line);
        }
    }
    flush(&mut out, &mut run);
    out.into()
}
