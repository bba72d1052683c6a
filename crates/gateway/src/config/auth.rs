//! What was typed about sender authentication and signing. As in [`super::typed`], the doc comments are the reference.

use std::path::PathBuf;

use gatepost_mail::{Direction, OnFault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Net, Seconds};

/// How the results of sender authentication are told to whoever reads the mail behind us.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Authentication {
    /// The name under which results are told (authserv-id, RFC 8601): one for all border servers of a site is best.
    /// Default: `hostname`. `Authentication-Results` fields that come from outside under this name are forged and always
    /// removed.
    pub id: String,
    /// Add an `Authentication-Results` field.
    pub results: bool,
    /// Add a `Received-SPF` field, too, for programs behind us that read that.
    pub received_spf: bool,
    /// Further names under which `Authentication-Results` from outside are removed: those of servers behind us. `*`: all.
    pub remove: Vec<String>,
}

/// Whether the client may send for the domain of HELO and of MAIL FROM (RFC 7208). Own mail is not checked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpfCheck {
    /// Check it.
    pub enabled: bool,
    /// Clients that are not checked: forwarders of our own users, a second mail exchanger.
    pub skip: Vec<Net>,
    /// Mechanisms that ask DNS, at most (RFC 7208 section 4.6.4 says 10); beyond it `permerror`.
    pub lookups: u32,
    /// Look-ups that find nothing, at most (RFC 7208 section 4.6.4 says 2); beyond it `permerror`.
    pub voids: u32,
    /// Longest a check may take; beyond it `temperror`.
    pub time: Seconds,
    /// What happens to mail while DNS does not answer.
    pub on_fault: OnFault,
}

/// Who signed the message (RFC 6376). Own mail is not checked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DkimCheck {
    /// Check it.
    pub enabled: bool,
    /// Shortest RSA key that is good enough, in bits (RFC 8301 asks for 1024). Signatures with shorter ones count for
    /// nothing.
    pub min_bits: u32,
    /// Signatures of one message that are looked at.
    pub signatures: u32,
    /// Whether a signature over a part of the body (`l=`) counts where something was put behind that part.
    pub lengths: bool,
    /// Longest all look-ups for one message may take.
    pub time: Seconds,
    /// What happens to mail while DNS does not answer.
    pub on_fault: OnFault,
}

/// What the author's domain wants done with mail that is not its own (RFC 9989). Own mail is not checked. What is done is
/// the policies' business: `DMARC_FAIL_REJECT` puts a message into the category `unauthenticated`, and
/// `DMARC_FAIL_QUARANTINE` into `spammy`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DmarcCheck {
    /// Check it. Needs `checks.spf` and `checks.dkim`: without both, mail would fail that is good.
    pub enabled: bool,
    /// Honour `pct=` of old records: of a policy at 20 %, treat 20 of 100 messages so. RFC 9989 knows it no more.
    pub pct: bool,
    /// Take names on the public suffix list for public suffixes, even if their record does not say so.
    pub public_suffixes: bool,
    /// Forwarders: what fails and comes from them is `DMARC_OVERRIDDEN` instead, and is not treated as its author's domain
    /// asks.
    pub forwarders: Vec<Net>,
    /// The same for mail of these domains (`.example.org`: their subdomains), where SPF passes for MAIL FROM or a signature
    /// of them verifies.
    pub forwarder_domains: Vec<String>,
    /// Longest the look-ups may take.
    pub time: Seconds,
    /// What happens to mail while DNS does not answer, so that nobody knows what the author's domain wants.
    pub on_fault: OnFault,
    /// What happens to mail whose author's domain wants what is not its own quarantined or rejected, while the look-up fails
    /// that would tell whether this is its own. Whoever sends can bring that about, by a signature in the domain's name with
    /// a key whose look-up fails: with `accept`, forged mail comes in that way.
    pub on_doubt: OnFault,
}

/// What servers before us found (RFC 8617): mailing lists and forwarders that change a message seal what they found
/// before. Own mail is not checked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ArcCheck {
    /// Check it.
    pub enabled: bool,
    /// Domains whose seals are believed (`.example.org`: subdomains). Mail with a good chain of such seals alone, which
    /// passed DMARC before the first of them, is `ARC_RESCUED` and not treated as its author's domain asks.
    pub trusted: Vec<String>,
    /// Seal what comes from outside and is delivered, with a key of this domain from `[[signing.key]]`: for a server behind
    /// us that forwards. It must be an RSA key. Empty: do not seal.
    pub seal: String,
    /// Longest all look-ups for one message may take.
    pub time: Seconds,
    /// What happens to mail while DNS does not answer.
    pub on_fault: OnFault,
}

/// Outgoing mail is signed (DKIM) after everything else has been done to it. The author's domain (From) chooses the keys.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Signing {
    /// The keys. Each that is valid for a message signs it, so an RSA and an Ed25519 key make two signatures.
    pub key: Vec<SigningKey>,
    /// OpenDKIM's KeyTable: `NAME DOMAIN:SELECTOR:/PATH`, a key a line. Read again when it changes.
    pub key_table: Option<PathBuf>,
    /// OpenDKIM's SigningTable: who is signed for with which key of `key_table`. `refile:` before the path: with wildcards.
    /// Read again when it changes.
    pub signing_table: Option<String>,
    /// All lines of the SigningTable that match sign, not only the first: OpenDKIM's `MultipleSignatures`.
    pub all_matches: bool,
    /// Which mail is signed. `outbound` and `internal` come from our networks, authenticated users and listeners with
    /// `originating`; that needs `domains`. Add `inbound` with care: it signs what strangers write in our name.
    pub directions: Vec<Direction>,
    /// How header and body may change on the way, `simple` or `relaxed` each. `relaxed` header, since mail servers fold
    /// anew.
    pub canonicalization: String,
    /// Fields that are signed where they are present. Empty: those that RFC 6376 names.
    pub fields: Vec<String>,
    /// Fields that are signed once more than they are present, so that nobody can add one. Empty: From, To, Cc, Subject,
    /// Date, Message-ID, Reply-To and what describes the content. `["From"]` is the least.
    pub oversign: Vec<String>,
    /// How long a signature is good (`x=`). 0: for ever.
    pub lifetime: Seconds,
    /// What happens to a message that should be signed and cannot be.
    pub on_fault: OnFault,
}

/// A key.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SigningKey {
    /// The domain that signs (`d=`), and the author's domain that it signs for.
    pub domain: String,
    /// Name of the key under `_domainkey` in DNS (`s=`).
    pub selector: String,
    /// The private key in PEM: RSA or Ed25519. Only its owner may read it (mode 0600; 0640 with a group of ours, too). Read
    /// again when it changes.
    pub file: PathBuf,
    /// Sign for authors of subdomains, too.
    pub subdomains: bool,
    /// Sign from this day on: `2026-12-01`, or a time such as `2026-12-01T06:00:00Z`. Days begin at midnight UTC.
    pub from: Option<String>,
    /// Sign until this day, which is not in it any more.
    pub until: Option<String>,
}

impl Default for Authentication {
    fn default() -> Authentication {
        Authentication { id: String::new(), results: true, received_spf: false, remove: Vec::new() }
    }
}

impl Default for SpfCheck {
    fn default() -> SpfCheck {
        SpfCheck {
            enabled: true,
            skip: Vec::new(),
            lookups: 10,
            voids: 2,
            time: Seconds::new(20),
            on_fault: OnFault::Accept,
        }
    }
}

impl Default for DkimCheck {
    fn default() -> DkimCheck {
        DkimCheck {
            enabled: true,
            min_bits: 1024,
            signatures: 10,
            lengths: true,
            time: Seconds::new(10),
            on_fault: OnFault::Accept,
        }
    }
}

impl Default for DmarcCheck {
    fn default() -> DmarcCheck {
        DmarcCheck {
            enabled: true,
            pct: false,
            public_suffixes: true,
            forwarders: Vec::new(),
            forwarder_domains: Vec::new(),
            time: Seconds::new(10),
            on_fault: OnFault::Accept,
            on_doubt: OnFault::Defer,
        }
    }
}

impl Default for ArcCheck {
    fn default() -> ArcCheck {
        ArcCheck {
            enabled: true,
            trusted: Vec::new(),
            seal: String::new(),
            time: Seconds::new(10),
            on_fault: OnFault::Accept,
        }
    }
}

impl Default for Signing {
    fn default() -> Signing {
        Signing {
            key: Vec::new(),
            key_table: None,
            signing_table: None,
            all_matches: false,
            directions: vec![Direction::Outbound, Direction::Internal],
            canonicalization: "relaxed/relaxed".into(),
            fields: Vec::new(),
            oversign: Vec::new(),
            lifetime: Seconds::new(0),
            on_fault: OnFault::Defer,
        }
    }
}
