//! What of a message rules look at, made as SpamAssassin 4.0 makes it.
//!
//! Its own view of MIME, HTML, charsets, `Received` fields and addresses is followed to the letter, oddities included, since
//! its rules were written against those texts. Everything is made when it is first asked for, in linear time.

mod address;
mod auth;
pub(crate) mod blocks;
mod body;
mod canonical;
mod charset;
mod color;
mod content;
mod country;
mod decode;
mod documents;
mod domains;
mod entities;
mod extract;
mod facts;
mod forms;
mod header;
mod html;
pub(crate) mod ip;
pub(crate) mod language;
mod mailboxes;
mod networks;
mod office;
mod pattern;
mod pdf;
mod perl;
mod plugins;
mod received;
mod relays;
mod render;
mod request;
mod resolve;
mod style;
mod tags;
mod tree;
mod uris;
mod written;

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gatepost_mail::Message;

pub use blocks::Blocks;
pub use canonical::Redirector;
pub use country::Countries;
pub use documents::{Document, Documents, Member};
pub(crate) use domains::tld_end;
pub use domains::{Registry, idn_to_ascii, is_fqdn_valid};
pub use facts::{HtmlFacts, HtmlUri};
pub use forms::HeaderValues;
pub use language::Models;
pub use networks::Networks;
pub(crate) use pdf::Pdfs;
pub use plugins::{Plugins, Tags};
pub use relays::{Relay, Relays};
pub use request::HeaderRequest;
pub use tree::MimeFlags;
pub use uris::Uri;

pub(crate) use content::ContentType;
pub(crate) use perl::{Text, find, is_wide_space, is_word, lines, starts_with, trim, trim_end};

use body::Which;
pub(crate) use tree::Tree;

/// What the configuration says about texts, under SpamAssassin's names.
#[derive(Debug)]
pub struct TextSettings {
    /// `normalize_charset`
    pub normalize_charset: bool,
    /// `body_part_scan_size`: octets of a rendered part that count, 0 for all.
    pub body_part_scan_size: usize,
    /// `rawbody_part_scan_size`: octets of a decoded part that count, 0 for all.
    pub rawbody_part_scan_size: usize,
    /// `util_rb_tld` and kin.
    pub registry: Registry,
    /// `redirector_pattern`
    pub redirectors: Vec<Box<dyn Redirector>>,
    /// `trusted_networks`; None if not configured.
    pub trusted_networks: Option<Networks>,
    /// `internal_networks`; None if not configured.
    pub internal_networks: Option<Networks>,
    /// `msa_networks`
    pub msa_networks: Networks,
    /// `originating_ip_headers`
    pub originating_ip_headers: Vec<String>,
    /// `envelope_sender_header`
    pub envelope_sender_header: Option<String>,
    /// `parse_dkim_uris`
    pub parse_dkim_uris: bool,
    /// CRLF is made LF first, as most mail servers hand mail to SpamAssassin.
    pub line_feeds: bool,
    /// Plugins that add to the texts.
    pub plugins: Plugins,
}

impl Default for TextSettings {
    /// SpamAssassin's defaults, without any top-level domain.
    fn default() -> TextSettings {
        TextSettings {
            normalize_charset: true,
            body_part_scan_size: 50_000,
            rawbody_part_scan_size: 500_000,
            registry: Registry::default(),
            redirectors: Vec::new(),
            trusted_networks: None,
            internal_networks: None,
            msa_networks: Networks::default(),
            originating_ip_headers: Vec::new(),
            envelope_sender_header: None,
            parse_dkim_uris: true,
            line_feeds: true,
            plugins: Plugins::default(),
        }
    }
}

/// What is known of a message beside its content.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The envelope's sender, empty for bounces; None if not known.
    pub sender: Option<Bytes>,
    /// Who sends it. A `Received` field is put before the message that says so; None where the message has one already.
    pub client: Option<Client>,
    /// Seconds since 1970.
    pub now: i64,
    /// Pseudo headers by other checks: `X-Languages`, `X-Relay-Countries`.
    pub metadata: Vec<(String, Bytes)>,
    /// What was taken out of attachments, where plugins want it (`Plugins::want_documents`).
    pub documents: Documents,
}

/// The client that sends a message.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its address.
    pub ip: IpAddr,
    /// Its name, if it has one that leads back to the address.
    pub name: Option<String>,
    /// What it said in HELO or EHLO.
    pub helo: String,
    /// Our name.
    pub by: String,
    /// Our id of the message.
    pub id: String,
    /// It has logged in.
    pub authenticated: bool,
}

/// The texts of a message.
#[derive(Debug)]
pub struct Texts<'s> {
    settings: Held<'s>,
    metadata: Vec<(String, Bytes)>,
    now: i64,
    tree: Tree,
    body: OnceLock<Vec<Bytes>>,
    visible: OnceLock<Vec<Bytes>>,
    invisible: OnceLock<Vec<Bytes>>,
    rawbody: OnceLock<Vec<Bytes>>,
    full: OnceLock<Bytes>,
    /// Addresses, and whether there are more than are looked at.
    uris: OnceLock<(Vec<Uri>, bool)>,
    relays: OnceLock<Relays>,
    pages: OnceLock<Vec<Arc<HtmlFacts>>>,
    envelope_from: OnceLock<Option<Bytes>>,
    found: plugins::Found,
}

/// Settings of somebody who stays, or a share of them.
#[derive(Debug)]
enum Held<'s> {
    Lent(&'s TextSettings),
    Shared(Arc<TextSettings>),
}

impl Deref for Held<'_> {
    type Target = TextSettings;

    fn deref(&self) -> &TextSettings {
        match self {
            Held::Lent(settings) => settings,
            Held::Shared(settings) => settings,
        }
    }
}

impl Texts<'static> {
    /// The same as `new`, for texts that go from one thread to another.
    pub fn sharing(message: &Message, given: Given, settings: Arc<TextSettings>) -> Texts<'static> {
        Texts::begin(message, given, Held::Shared(settings))
    }
}

impl<'s> Texts<'s> {
    /// Makes ready to look at a message. Only its header and its parts are made out here.
    pub fn new(message: &Message, given: Given, settings: &'s TextSettings) -> Texts<'s> {
        Texts::begin(message, given, Held::Lent(settings))
    }

    fn begin(message: &Message, given: Given, settings: Held<'s>) -> Texts<'s> {
        let mut source = message.raw.clone();
        if settings.line_feeds
            && let std::borrow::Cow::Owned(text) = decode::line_feeds(&source)
        {
            source = text.into();
        }
        if let Some(client) = &given.client {
            source =
                [&written::written(client, given.sender.as_deref(), given.now)[..], &source].concat().into();
        }
        let tree = Tree::read(source);
        Texts {
            metadata: given.metadata,
            now: given.now,
            found: plugins::Found::begin(&settings.plugins, &tree, given.documents),
            settings,
            tree,
            body: OnceLock::new(),
            visible: OnceLock::new(),
            invisible: OnceLock::new(),
            rawbody: OnceLock::new(),
            full: OnceLock::new(),
            uris: OnceLock::new(),
            relays: OnceLock::new(),
            pages: OnceLock::new(),
            envelope_from: match (given.client, given.sender) {
                // The field for the client tells it, if it is somebody who may tell.
                (None, Some(sender)) => OnceLock::from(Some(sender)),
                _ => OnceLock::new(),
            },
        }
    }

    /// What a header rule looks at.
    pub fn header(&self, request: &HeaderRequest) -> HeaderValues {
        forms::values(self, request)
    }

    /// A field of each part, as a `mimeheader` rule sees it; `ALL` for all of them. None where it is missing.
    pub fn mime_headers(&self, name: &str, raw: bool) -> Vec<Option<Bytes>> {
        let nodes = self.tree.walk().into_iter().map(|at| &self.tree.nodes[at]);
        let of = |node: &tree::Node| {
            if name == "ALL" {
                return Some(node.header.lines(raw).0.concat().into());
            }
            let last = node.header.all(name.as_bytes()).next_back();
            match raw {
                // What is missing is empty here, not unset.
                true => Some(last.map(|field| field.raw.clone()).unwrap_or_default()),
                false => last.map(|field| [&field.decoded()[..], b"\n"].concat().into()),
            }
        };
        nodes.filter(|node| !node.kind.is_empty()).map(of).collect()
    }

    /// What `body` rules look at, one by one: the subject, then paragraphs of rendered text.
    pub fn body(&self) -> &[Bytes] {
        self.body.get_or_init(|| self.rendered(Which::All))
    }

    /// The same without hidden text.
    pub fn visible_body(&self) -> &[Bytes] {
        self.visible.get_or_init(|| self.rendered(Which::Visible))
    }

    /// Hidden text alone.
    pub fn invisible_body(&self) -> &[Bytes] {
        self.invisible.get_or_init(|| self.rendered(Which::Invisible))
    }

    fn rendered(&self, which: Which) -> Vec<Bytes> {
        body::rendered(&self.tree, which, self.settings.normalize_charset, self.settings.body_part_scan_size)
    }

    /// What `rawbody` rules look at: decoded parts in pieces of two to four KiB.
    pub fn rawbody(&self) -> &[Bytes] {
        self.rawbody.get_or_init(|| body::decoded(&self.tree, self.settings.rawbody_part_scan_size))
    }

    /// What `full` rules look at: the message as it came, without the line with which a mailbox begins it.
    pub fn full(&self) -> &Bytes {
        self.full.get_or_init(|| [&self.tree.head[..], &self.tree.body].concat().into())
    }

    /// The header as it came, with the empty line behind it.
    pub fn pristine_header(&self) -> &Bytes {
        &self.tree.head
    }

    /// The body as it came.
    pub fn pristine_body(&self) -> &Bytes {
        &self.tree.body
    }

    /// The addresses in it, those of its text first.
    pub fn uris(&self) -> &[Uri] {
        let (uris, _) = self.uris.get_or_init(|| {
            let mut finder = uris::Finder::new(&self.settings.registry, &self.settings.redirectors);
            finder.text(self.body());
            for page in self.html() {
                finder.page(page);
            }
            if self.settings.parse_dkim_uris {
                for name in [&b"DomainKey-Signature"[..], b"DKIM-Signature"] {
                    for field in self.tree.nodes[0].header.all(name) {
                        finder.signature(field.decoded());
                    }
                }
            }
            self.attached_uris().for_each(|uri| finder.attached(uri));
            finder.finish()
        });
        uris
    }

    /// The way it took, by its `Received` fields.
    pub fn relays(&self) -> &Relays {
        self.relays.get_or_init(|| Relays::of(&self.tree.nodes[0].header, &self.settings))
    }

    /// What is told of each of its pages.
    pub fn html(&self) -> &[Arc<HtmlFacts>] {
        self.pages.get_or_init(|| body::pages(&self.tree, self.settings.normalize_charset))
    }

    /// What was noted about its make.
    pub fn flags(&self) -> MimeFlags {
        let mut flags = self.tree.flags;
        flags.truncated_header |= self.tree.nodes[0].header.is_too_long();
        flags
    }

    /// What of the message rules do not look at, because there is too much of it.
    pub fn left_out(&self) -> Option<&'static str> {
        if self.tree.nodes.iter().any(|node| node.header.cut) {
            Some(
                "a header has more than 10000 fields, or is larger than 1 MiB: rules do not look at the rest of it",
            )
        } else if self.uris.get().is_some_and(|(_, more)| *more) {
            Some(
                "there are more than 20000 addresses of pages, or more than 4 MiB of them: rules do not look at the rest",
            )
        } else {
            None
        }
    }

    /// The envelope's sender, by what `Received` and other fields say; None if nothing says it.
    pub fn envelope_from(&self) -> Option<&Bytes> {
        self.envelope_from.get_or_init(|| forms::envelope_from(self)).as_ref()
    }

    /// When the message came, in seconds since 1970.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Its parts.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What the configuration says.
    pub fn settings(&self) -> &TextSettings {
        &self.settings
    }
}
