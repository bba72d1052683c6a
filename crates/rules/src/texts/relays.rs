//! The way of a message, by its `Received` fields, and how far it can be trusted.

use bytes::Bytes;

use super::header::Header;
use super::received::{Hop, Line, read};
use super::{TextSettings, ip};

/// More `Received` fields are not read; no way is so long.
const MOST: usize = 1000;

/// A server that handed the message on, as the next one saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relay {
    /// Its address.
    pub ip: Bytes,
    /// Its name by reverse look-up, or nothing.
    pub rdns: Bytes,
    /// What it said in HELO, or nothing.
    pub helo: Bytes,
    /// Who took the message from it.
    pub by: Bytes,
    /// The user (RFC 1413), or nothing.
    pub ident: Bytes,
    /// The envelope's sender, if told.
    pub envfrom: Option<Bytes>,
    /// The id that the message got.
    pub id: Bytes,
    /// How it has authenticated itself, or nothing.
    pub auth: Bytes,
    /// It is one of ours.
    pub internal: bool,
    /// It is a submission server.
    pub msa: bool,
    /// Its address is of no network of the Internet.
    pub private: bool,
    /// Whoever took the message looked for a name and found none.
    pub no_reverse_dns: bool,
    /// Whoever took the message does not say the name.
    pub rdns_not_in_headers: bool,
}

/// All relays, from the last to the first.
#[derive(Clone, Debug, Default)]
pub struct Relays {
    /// Those whose `Received` field can be believed.
    pub trusted: Vec<Relay>,
    /// The others.
    pub untrusted: Vec<Relay>,
    /// Ours.
    pub internal: Vec<Relay>,
    /// The others.
    pub external: Vec<Relay>,
    /// `X-Spam-Relays-Trusted`
    pub trusted_text: Bytes,
    /// `X-Spam-Relays-Untrusted`
    pub untrusted_text: Bytes,
    /// `X-Spam-Relays-Internal`
    pub internal_text: Bytes,
    /// `X-Spam-Relays-External`
    pub external_text: Bytes,
    /// How many fields could not be read.
    pub unparseable: usize,
    /// Index of the last `Received` field that a trusted relay wrote, -1 if there is none.
    pub last_trusted: i64,
    /// The same of ours.
    pub last_internal: i64,
}

impl Relays {
    /// By the fields of a message.
    pub(crate) fn of(header: &Header, settings: &TextSettings) -> Relays {
        let mut relays = Relays { last_trusted: -1, last_internal: -1, ..Relays::default() };
        let mut trust = Trust { trusted: true, internal: true, behind_msa: false, fetched: true };
        let mut scanned: Option<Bytes> = None;
        let mut lines: Vec<Bytes> =
            header.all(b"Received").take(MOST).map(|field| field.decoded().clone()).collect();
        for name in &settings.originating_ip_headers {
            let value = header.last(name.as_bytes());
            if let Some(range) = ip::find(&value, 0) {
                lines.push([b"from X-Originating-IP: ", &value[range]].concat().into());
            }
        }
        for line in lines {
            let sender = scanned.take();
            let hop = match read(&line) {
                Line::Hop(hop) => hop,
                other => {
                    relays.skip(other, &mut trust, &mut scanned);
                    continue;
                }
            };
            let mut relay = Relay::from(*hop);
            if sender.as_ref().is_some_and(|sender| !sender.is_empty() && sender[..] != b"0"[..]) {
                relay.envfrom = sender;
            }
            trust.weigh(&mut relay, settings);
            relays.push(relay, &mut trust);
        }
        relays.trusted_text = text(&relays.trusted);
        relays.untrusted_text = text(&relays.untrusted);
        relays.internal_text = text(&relays.internal);
        relays.external_text = text(&relays.external);
        relays
    }

    /// A field that tells of no relay.
    fn skip(&mut self, line: Line, trust: &mut Trust, scanned: &mut Option<Bytes>) {
        match line {
            Line::Unknown => self.unparseable += 1,
            Line::Scanned(sender) => *scanned = sender,
            // Mail that was fetched came another way: what was read so far is not about it.
            Line::Fetched if trust.fetched => {
                self.trusted.clear();
                self.internal.clear();
                self.external.clear();
            }
            _ => {}
        }
        self.last_trusted += i64::from(trust.trusted);
        self.last_internal += i64::from(trust.internal);
    }

    fn push(&mut self, relay: Relay, trust: &mut Trust) {
        trust.fetched = trust.trusted;
        let (near, far) =
            if trust.internal { (&mut self.internal, trust.internal) } else { (&mut self.external, false) };
        near.push(relay.clone());
        self.last_internal += i64::from(far);
        self.last_trusted += i64::from(trust.trusted);
        if trust.trusted { self.trusted.push(relay) } else { self.untrusted.push(relay) }
    }
}

impl From<Hop> for Relay {
    fn from(hop: Hop) -> Relay {
        Relay {
            private: ip::is_private(&hop.ip),
            ip: hop.ip,
            rdns: hop.rdns,
            helo: hop.helo,
            by: hop.by,
            ident: hop.ident,
            envfrom: hop.envfrom,
            id: hop.id,
            auth: hop.auth,
            no_reverse_dns: hop.no_reverse_dns,
            rdns_not_in_headers: hop.rdns_not_in_headers,
            ..Relay::default()
        }
    }
}

/// How far along the way the fields can be believed.
struct Trust {
    trusted: bool,
    internal: bool,
    /// A submission server took it: all before that is the sender's business.
    behind_msa: bool,
    /// A sign that mail was fetched counts.
    fetched: bool,
}

impl Trust {
    fn weigh(&mut self, relay: &mut Relay, settings: &TextSettings) {
        if self.trusted && !self.behind_msa {
            let (trusted, internal) =
                (settings.trusted_networks.as_ref(), settings.internal_networks.as_ref());
            match trusted.or(internal) {
                None => {
                    let trust = relay.private || !relay.auth.is_empty();
                    self.trusted = trust;
                    self.internal &= trust;
                }
                Some(networks) if relay.auth.is_empty() && !networks.contains(&relay.ip) => {
                    self.trusted = false;
                    self.internal = false;
                }
                Some(networks) => {
                    let ours = internal.unwrap_or(networks).contains(&relay.ip);
                    self.internal &= !relay.auth.is_empty() || ours;
                    if settings.msa_networks.contains(&relay.ip) {
                        self.behind_msa = true;
                        relay.msa = true;
                    }
                }
            }
        }
        relay.internal = self.internal;
    }
}

/// As rules see relays.
fn text(relays: &[Relay]) -> Bytes {
    let texts: Vec<Vec<u8>> = relays.iter().map(Relay::text).collect();
    texts.join(&b' ').into()
}

impl Relay {
    fn text(&self) -> Vec<u8> {
        let flag = |flag: bool| if flag { &b"1"[..] } else { b"0" };
        let envfrom = self.envfrom.as_deref().filter(|sender| *sender != b"0").unwrap_or_default();
        [
            &b"[ ip="[..],
            &self.ip,
            b" rdns=",
            &self.rdns,
            b" helo=",
            &self.helo,
            b" by=",
            &self.by,
            b" ident=",
            &self.ident,
            b" envfrom=",
            envfrom,
            b" intl=",
            flag(self.internal),
            b" id=",
            &self.id,
            b" auth=",
            &self.auth,
            b" msa=",
            flag(self.msa),
            b" ]",
        ]
        .concat()
    }
}
