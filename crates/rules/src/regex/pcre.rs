//! Writes an expression for PCRE2, in its 8-bit mode without UTF.

use std::collections::HashMap;
use std::fmt::Write;

use super::set::ByteSet;
use super::syntax::{Assert, Greed, Node, lengths};

/// The most alternatives that one look-behind is taken apart into.
const MAX_BEHIND: usize = 256;

/// The expression in PCRE2's syntax, in ASCII. The error: what PCRE2 cannot do.
///
/// Where case never counts, letters are written for its caseless mode: a letter takes it two bytes, a class of two 33, and it
/// has no room for more than 64 KiB.
pub fn write(node: &Node) -> Result<String, String> {
    let mut out = Out { caseless: is_caseless(node), ..Out::default() };
    node_to(node, &mut out)?;
    Ok(format!("{}{}", if out.caseless { "(?i)" } else { "" }, out.text))
}

/// The same, smaller: parts that are large and stand in it more than once are defined once and called. `None`: it captures or
/// looks back at what it captured, or has what cannot be moved.
pub fn write_shared(node: &Node) -> Option<String> {
    if !is_movable(node) {
        return None;
    }
    let mut out = Out { caseless: is_caseless(node), shared: Some(Shared::default()), ..Out::default() };
    node_to(node, &mut out).ok()?;
    let mut defined = String::new();
    for (text, number) in &out.shared?.numbers {
        write!(defined, "(?<s{number}>{text})").ok()?;
    }
    Some(format!("{}(?(DEFINE){defined}){}", if out.caseless { "(?i)" } else { "" }, out.text))
}

/// Whether it means the same when called from elsewhere.
fn is_movable(node: &Node) -> bool {
    match node {
        Node::Empty | Node::Bytes(_) | Node::Set(_) | Node::Assert(_) => true,
        Node::Capture { name, node, .. } => name.is_none() && is_movable(node),
        Node::Repeat { node, .. } | Node::Atomic(node) | Node::Look { ahead: true, node, .. } => {
            is_movable(node)
        }
        Node::Concat(nodes) | Node::Alt(nodes) => nodes.iter().all(is_movable),
        _ => false,
    }
}

/// What is written, and in which mode.
#[derive(Default)]
struct Out {
    text: String,
    caseless: bool,
    /// Parts to be called, where that is wanted.
    shared: Option<Shared>,
}

/// Parts by what is written for them, each with its number.
#[derive(Default)]
struct Shared {
    numbers: HashMap<String, usize>,
}

impl Shared {
    /// The least length that is worth a call.
    const LEAST: usize = 60;
}

impl Out {
    fn push(&mut self, c: char) {
        self.text.push(c);
    }

    fn push_str(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

impl Write for Out {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.text.write_str(text)
    }
}

/// Whether no letter is asked for in one case only.
fn is_caseless(node: &Node) -> bool {
    match node {
        Node::Bytes(bytes) => !bytes.iter().any(u8::is_ascii_alphabetic),
        Node::Set(set) => set.folded(false) == *set,
        Node::Capture { node, .. }
        | Node::Repeat { node, .. }
        | Node::Look { node, .. }
        | Node::Atomic(node) => is_caseless(node),
        Node::Concat(nodes) | Node::Alt(nodes) | Node::BranchReset(nodes) => nodes.iter().all(is_caseless),
        Node::Empty | Node::Assert(_) | Node::Keep => true,
        Node::Backref(_, caseless) => *caseless,
        Node::Conditional(_) | Node::Verbatim(_) => false,
    }
}

fn node_to(node: &Node, out: &mut Out) -> Result<(), String> {
    if let (Some(_), Node::Alt(branches)) = (&out.shared, node) {
        return called(branches, out);
    }
    match node {
        Node::Empty => {}
        Node::Bytes(bytes) => bytes.iter().for_each(|&byte| byte_to(byte, out)),
        Node::Set(set) => set_to(set, out),
        Node::Assert(assert) => out.push_str(match assert {
            Assert::TextStart => "\\A",
            Assert::LineStart => "(?m:^)",
            Assert::TextEnd => "\\z",
            Assert::TextEndOrNewline => "\\Z",
            Assert::LineEnd => "(?m:$)",
            Assert::Word => "\\b",
            Assert::NotWord => "\\B",
            Assert::SearchStart => "\\G",
        }),
        // Nothing looks back at it where parts are called.
        Node::Capture { node, .. } if out.shared.is_some() => wrapped("(?:", node, out)?,
        Node::Capture { name, node, .. } => {
            match name {
                Some(name) => write!(out, "(?<{name}>").unwrap_or_default(),
                None => out.push('('),
            }
            node_to(node, out)?;
            out.push(')');
        }
        Node::Concat(nodes) => {
            for node in nodes {
                if matches!(node, Node::Alt(_)) {
                    wrapped("(?:", node, out)?;
                } else {
                    node_to(node, out)?;
                }
            }
        }
        Node::Alt(branches) => branches_to(branches, out)?,
        Node::Repeat { node, min, max, greed } => repeat_to(node, *min, *max, *greed, out)?,
        Node::Look { ahead, negated, node } => look_to(*ahead, *negated, node, out)?,
        Node::Atomic(node) => wrapped("(?>", node, out)?,
        Node::BranchReset(branches) => {
            out.push_str("(?|");
            branches_to(branches, out)?;
            out.push(')');
        }
        Node::Backref(written, caseless) => {
            // Case is folded as PCRE2's C locale does: ASCII only.
            write!(out, "(?{}:{written})", if *caseless { "i" } else { "" }).unwrap_or_default();
        }
        Node::Conditional(condition) => {
            out.push_str("(?");
            match &condition.look {
                Some(look) => node_to(look, out)?,
                None => out.push_str(&condition.written),
            }
            wrapped("(?:", &condition.yes, out)?;
            if condition.no != Node::Empty {
                out.push('|');
                wrapped("(?:", &condition.no, out)?;
            }
            out.push(')');
        }
        Node::Keep => out.push_str("\\K"),
        Node::Verbatim(text) => out.push_str(text),
    }
    Ok(())
}

/// Alternatives, called if they are large.
fn called(branches: &[Node], out: &mut Out) -> Result<(), String> {
    let before = std::mem::take(&mut out.text);
    branches_to(branches, out)?;
    let written = std::mem::replace(&mut out.text, before);
    let Some(shared) = out.shared.as_mut().filter(|_| written.len() >= Shared::LEAST) else {
        out.text.push_str(&written);
        return Ok(());
    };
    let next = shared.numbers.len();
    let number = *shared.numbers.entry(written).or_insert(next);
    write!(out, "(?&s{number})").map_err(|error| error.to_string())
}

fn repeat_to(node: &Node, min: u32, max: Option<u32>, greed: Greed, out: &mut Out) -> Result<(), String> {
    if matches!(node, Node::Set(_)) || matches!(node, Node::Bytes(bytes) if bytes.len() == 1) {
        node_to(node, out)?;
    } else {
        wrapped("(?:", node, out)?;
    }
    match (min, max) {
        (0, None) => out.push('*'),
        (1, None) => out.push('+'),
        (0, Some(1)) => out.push('?'),
        (min, None) => write!(out, "{{{min},}}").unwrap_or_default(),
        (min, Some(max)) => write!(out, "{{{min},{max}}}").unwrap_or_default(),
    }
    out.push_str(match greed {
        Greed::Greedy => "",
        Greed::Lazy => "?",
        Greed::Possessive => "+",
    });
    Ok(())
}

fn wrapped(open: &str, node: &Node, out: &mut Out) -> Result<(), String> {
    out.push_str(open);
    node_to(node, out)?;
    out.push(')');
    Ok(())
}

fn branches_to(branches: &[Node], out: &mut Out) -> Result<(), String> {
    for (index, branch) in branches.iter().enumerate() {
        if index > 0 {
            out.push('|');
        }
        node_to(branch, out)?;
    }
    Ok(())
}

fn byte_to(byte: u8, out: &mut Out) {
    if byte.is_ascii_alphanumeric() {
        out.push(char::from(byte));
    } else {
        write!(out, "\\x{byte:02x}").unwrap_or_default();
    }
}

fn set_to(set: &ByteSet, out: &mut Out) {
    match set.len() {
        0 => out.push_str("(?!)"),
        256 => out.push_str("(?s:.)"),
        255 if !set.has(b'\n') => out.push_str("\\N"),
        2 if out.caseless && set.iter().all(|byte| byte.is_ascii_alphabetic()) => {
            // Both cases of one letter: sets are closed under case here.
            set.iter().last().into_iter().for_each(|byte| byte_to(byte, out));
        }
        length => {
            let (sign, listed) = if length > 128 { ("^", set.complement()) } else { ("", *set) };
            write!(out, "[{sign}").unwrap_or_default();
            for (first, last) in listed.ranges() {
                byte_to(first, out);
                if last > first {
                    out.push('-');
                    byte_to(last, out);
                }
            }
            out.push(']');
        }
    }
}

/// A look-around. PCRE2 wants each alternative of a look-behind to have one length.
fn look_to(ahead: bool, negated: bool, node: &Node, out: &mut Out) -> Result<(), String> {
    out.push_str(match (ahead, negated) {
        (true, false) => "(?=",
        (true, true) => "(?!",
        (false, false) => "(?<=",
        (false, true) => "(?<!",
    });
    if ahead {
        node_to(node, out)?;
    } else {
        let branches = fixed(node).ok_or("a look-behind with too many lengths")?;
        branches_to(&branches, out)?;
    }
    out.push(')');
    Ok(())
}

/// The same as alternatives that have one length each.
fn fixed(node: &Node) -> Option<Vec<Node>> {
    let (least, most) = lengths(node);
    if most == Some(least) {
        // Inside, alternatives may still differ in length; PCRE2 takes that if they add up to one length.
        return Some(match node {
            Node::Alt(branches) => branches.clone(),
            other => vec![other.clone()],
        });
    }
    let found = match node {
        Node::Alt(branches) => branches.iter().map(fixed).collect::<Option<Vec<_>>>()?.concat(),
        // Groups in it would get other numbers if they were doubled.
        Node::Capture { .. } | Node::BranchReset(_) | Node::Conditional(_) => return None,
        Node::Concat(nodes) if nodes.len() > MAX_BEHIND => return None,
        Node::Concat(nodes) => {
            let mut all = vec![Vec::new()];
            for node in nodes {
                let branches = fixed(node)?;
                if all.len() * branches.len() > MAX_BEHIND {
                    return None;
                }
                all = all
                    .iter()
                    .flat_map(|before: &Vec<Node>| {
                        branches
                            .iter()
                            .map(move |branch| [before.as_slice(), std::slice::from_ref(branch)].concat())
                    })
                    .collect();
            }
            all.into_iter().map(Node::Concat).collect()
        }
        Node::Repeat { node, min, max: Some(max), .. } if !holds_capture(node) => {
            if lengths(node).1 != Some(lengths(node).0) || (*max - *min) as usize > MAX_BEHIND {
                return None;
            }
            let times = |count| Node::Repeat {
                node: node.clone(),
                min: count,
                max: Some(count),
                greed: Greed::Greedy,
            };
            (*min..=*max).map(times).collect()
        }
        _ => return None,
    };
    (found.len() <= MAX_BEHIND).then_some(found)
}

fn holds_capture(node: &Node) -> bool {
    match node {
        Node::Capture { .. } => true,
        Node::Concat(nodes) | Node::Alt(nodes) | Node::BranchReset(nodes) => nodes.iter().any(holds_capture),
        Node::Repeat { node, .. } | Node::Look { node, .. } | Node::Atomic(node) => holds_capture(node),
        Node::Conditional(condition) => holds_capture(&condition.yes) || holds_capture(&condition.no),
        _ => false,
    }
}
