//! What was typed: the configuration file's shape, with every default. The doc comments here are the reference that
//! administrators read (docs/reference.md is generated from them), so each says what the key does, its unit and why
//! the default is what it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gatepost_mail::{Action, Category, Defang, Direction, OnFault, Points};
use gatepost_wire::smtp::Stray;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::attachments::{AttachmentRule, AttachmentSet, Attachments};
use super::auth::{ArcCheck, Authentication, DkimCheck, DmarcCheck, Signing, SpfCheck};
pub use super::dmarc_reports::DmarcReports;
pub use super::greylist::{Greylist, GreylistMode};
pub use super::lists::*;
use super::p0f::P0f;
use super::parts::{Disclaimer, Language, PartAction};
pub use super::restrictions::Restrictions;
pub use super::rules::Rules;
pub use super::scanners::Clamd;
use super::scanners::{CommandScanner, IcapScanner, MalwareNames, VerdictCache};
use super::units::{Net, Seconds, Size};

/// The whole configuration.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of everything gatepost keeps: journal, vault, and the built-in Maildir. It must exist or be creatable.
    pub data: PathBuf,
    /// Name of this host in greetings, HELO and headers. Default: the system's host name.
    pub hostname: String,
    /// User to become after the listeners are bound, when started as root. Empty: stay what we are.
    pub user: String,
    /// Networks that are ours: they may relay, mail from them is outbound or internal, and sender authentication and most
    /// restrictions do not apply to it. Copy Postfix's `mynetworks`, and add this host's own public address.
    pub networks: Vec<Net>,
    /// Domains that are ours: mail to them is inbound or internal. As soon as there is one, mail from outside to any other is
    /// refused as relaying (`restrictions.relay`, at `smtp` and `lmtp`), so name all that the mail server takes mail for.
    /// While there is none, only the mail server decides who may relay.
    pub domains: Vec<String>,
    /// What is logged, and how.
    pub log: Log,
    /// Where mail comes in. Without any, one on 127.0.0.1:2525.
    pub listener: Vec<Listener>,
    /// Pairs of Sendmail's queue folders to stand between: what one Sendmail takes in is judged before another delivers
    /// it.
    pub queue: Vec<Queue>,
    /// Limits of sessions.
    pub limits: SessionLimits,
    /// Limits of reading and unpacking one message.
    pub reading: Reading,
    /// The processes that unpack.
    pub worker: super::worker::Worker,
    /// Protection of this host and of those that take our mail.
    pub protection: super::protection::Protection,
    /// Who may send what to whom.
    pub restrictions: Restrictions,
    /// Tables that are looked up in.
    pub maps: super::maps::Maps,
    /// Who our recipients are.
    pub recipients: super::maps::Recipients,
    /// Asking the next hop about recipients.
    pub callahead: super::maps::CallAhead,
    /// What is looked for.
    pub checks: Checks,
    /// Policies; the first that matches a recipient decides. What no policy matches, `default_policy` decides.
    pub policy: Vec<Policy>,
    /// The policy for whatever no other matches; every other policy starts from it.
    pub default_policy: Policy,
    /// Names of header fields that are added.
    pub headers: HeaderNames,
    /// How the results of sender authentication are told.
    pub authentication: Authentication,
    /// Signing of outgoing mail.
    pub signing: Signing,
    /// Mail that is held.
    pub quarantine: Quarantine,
    /// Records of decisions.
    pub journal: Journal,
    /// Aggregate reports to the domains that ask for them.
    pub dmarc_reports: DmarcReports,
    /// Mails that tell what became of messages.
    pub notices: super::notices::Notices,
    /// What is remembered from one message to the next.
    pub state: super::state::State,
    /// Rules and hash lists that are fetched.
    pub update: super::update::Update,
    /// Metrics and health over HTTP.
    pub metrics: Metrics,
}

/// Lines go to standard error, where systemd picks them up.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// How lines are written: `text` for people, `json` for log collectors.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One way in: addresses, what is spoken there, and where mail goes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listener {
    /// Its name, for policies and the log. Default: its protocol, and `smtp2`, `smtp3` … for the next of that protocol.
    pub name: String,
    /// Addresses to listen on: `127.0.0.1:2525`, `[::]:25`, `unix:/run/gatepost/lmtp.sock`, or `systemd:NAME` for a
    /// socket handed over by systemd under that name.
    pub listen: Vec<String>,
    /// `smtp` or `lmtp` to bring mail; `milter`, `am-pdp`, `spamd`, `clamd`, `http` or `policy` to ask about mail.
    pub protocol: ListenerProtocol,
    /// Where mail goes: `smtp://host:port`, `smtps://host:port`, `smtp+starttls://host:port`,
    /// `lmtp://host:port`, `lmtp:/path/to/socket`, `maildir:/folder`. Several: the first that answers is used.
    /// Default: the built-in Maildir in the data folder. Where mail is only asked about, it says where released
    /// mail goes, and there is no default.
    pub next_hop: Vec<String>,
    /// Check the next hop's certificate against the system's authorities and its name. Turn it off only for a next
    /// hop that you reach over a network nobody else is on.
    pub next_hop_verify: bool,
    /// Certificate chain in PEM; with `tls_key`, STARTTLS is offered. Read again when it changes.
    pub tls_certificate: Option<PathBuf>,
    /// Private key in PEM.
    pub tls_key: Option<PathBuf>,
    /// Let users log in (AUTH): what they say is passed on to the next hop, which knows them, and kept nowhere. Offered
    /// are the mechanisms that the next hop offers, once the connection is encrypted. For `smtp`.
    pub auth: bool,
    /// Offer AUTH without TLS, too, and allow a next hop on another host without it. Passwords can then be read on the
    /// way: only for a network nobody else is on.
    pub auth_without_tls: bool,
    /// Peers whose XCLIENT is believed.
    pub xclient_from: Vec<Net>,
    /// Peers whose XFORWARD is believed.
    pub xforward_from: Vec<Net>,
    /// Balancers that begin each connection with a PROXY header (v1 or v2). Connections from them without one are
    /// closed.
    pub proxy_protocol_from: Vec<Net>,
    /// What comes in here comes from our own users, whatever the client's address: a port for submission, amavis's
    /// `ORIGINATING`. It is outbound, or internal by its recipients, and needs `domains`. Let nobody else reach the port.
    pub originating: bool,
    /// The sender is gone already: our own mail server hands us mail from its queue. For `smtp`, `lmtp` and `http`. What the policy refuses is then
    /// treated as `refuse_after_queue` says, and for `bounce` gatepost itself tells the sender.
    pub after_queue: bool,
    /// What refusing means after the queue. `hold`: the message is held, nobody is told. `refuse`: our own mail server
    /// hears 5xx and does what it does then, which is to send a bounce of its own, to whoever the sender claims to be.
    pub refuse_after_queue: RefuseAfterQueue,
    /// When recipients' verdicts differ and the protocol has one answer for all. `split`: take the message, deliver
    /// it to those whose verdict delivers, hold it for the others. `defer-others`: one policy a transaction; a
    /// recipient of another policy gets 452 and comes in the next.
    pub mixed: Mixed,
    /// Wait so many seconds before the banner; a client that speaks before it is refused. 0: no wait (a client that
    /// has already spoken is refused all the same).
    pub greet_pause: Seconds,
    /// Peers that may speak here over TCP, where mail is only asked about. Over a unix socket it is whoever may enter its
    /// folder.
    pub allow_from: Vec<Net>,
    /// What `http` clients must show: `Authorization: Bearer TOKEN`. Empty: nothing, for loopback and unix sockets only.
    pub token: String,
    /// Where mail is held that a mail server asks about by `milter` or `am-pdp`: in our `vault`, or in the mail server's
    /// own hold queue (`mta`) where all recipients' verdicts hold it.
    pub quarantine: HoldIn,
    /// Folders that the messages which `am-pdp` clients name must lie in: the working folder of amavisd-milter.
    pub mail_folders: Vec<PathBuf>,
    /// Ask for a message's secret id before it is released by `am-pdp`, on unix sockets as well. Over TCP it is always
    /// asked for.
    pub require_secret: bool,
    /// What is known of client and envelope is told at RCPT, so that the log knows who wanted to write to whom, and
    /// because some clients do not listen before. `false`: at the first stage at which it is known. For `smtp`, `lmtp`,
    /// `milter` and `policy`.
    pub delay_reject: bool,
    /// Restrictions here instead of `restrictions.client`.
    pub client_restrictions: Option<Vec<String>>,
    /// Restrictions here instead of `restrictions.helo`.
    pub helo_restrictions: Option<Vec<String>>,
    /// Restrictions here instead of `restrictions.sender`.
    pub sender_restrictions: Option<Vec<String>>,
    /// Restrictions here instead of `restrictions.relay`.
    pub relay_restrictions: Option<Vec<String>>,
    /// Restrictions here instead of `restrictions.recipient`.
    pub recipient_restrictions: Option<Vec<String>>,
    /// Header fields that `policy` has put before a message, of those that checks make; `X-*` stands for all that begin so.
    /// An answer has room for one: the order here is that in which they are told.
    pub prepend: Vec<String>,
    /// Folders whose files `clamd` clients on this host may have looked at by name (SCAN, CONTSCAN, MULTISCAN,
    /// ALLMATCHSCAN), with all below them; absolute. Symbolic links do not lead out of them. Empty: none.
    pub scan_folders: Vec<PathBuf>,
    /// `clamd` clients hear of banned attachments, too: `Gatepost.Banned.invoice.pdf.exe FOUND`.
    pub report_banned: bool,
    /// Text of the banner behind the host name. No version, so that nothing is told that isn't needed.
    pub banner: String,
}

/// What refusing means where the sender is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RefuseAfterQueue {
    /// Hold the message.
    Hold,
    /// Refuse it all the same.
    Refuse,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListenerProtocol {
    /// SMTP (RFC 5321).
    Smtp,
    /// LMTP (RFC 2033): an answer for each recipient.
    Lmtp,
    /// The milter protocol of Sendmail and Postfix.
    Milter,
    /// What spamc speaks.
    Spamd,
    /// What clamdscan and other clients of clamd speak.
    Clamd,
    /// amavis policy delegation: amavisd-milter, amavisd-release.
    #[serde(rename = "am-pdp")]
    AmPdp,
    /// HTTP.
    Http,
    /// Policy delegation of Postfix (`check_policy_service`).
    Policy,
}

impl ListenerProtocol {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            ListenerProtocol::Smtp => "smtp",
            ListenerProtocol::Lmtp => "lmtp",
            ListenerProtocol::Milter => "milter",
            ListenerProtocol::Spamd => "spamd",
            ListenerProtocol::Clamd => "clamd",
            ListenerProtocol::AmPdp => "am-pdp",
            ListenerProtocol::Http => "http",
            ListenerProtocol::Policy => "policy",
        }
    }

    /// Whether `[restrictions]` apply to whoever comes by it.
    pub fn has_restrictions(self) -> bool {
        {
            use ListenerProtocol::{Lmtp, Milter, Policy, Smtp};
            matches!(self, Smtp | Lmtp | Milter | Policy)
        }
    }

    /// Whether messages come by it to be taken over; by all others they are only asked about.
    pub fn brings_mail(self) -> bool {
        matches!(self, ListenerProtocol::Smtp | ListenerProtocol::Lmtp)
    }
}

/// Where mail is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HoldIn {
    /// In the vault.
    Vault,
    /// In the hold queue of the mail server that asks.
    Mta,
}

/// One pair of queue folders.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Its name, for policies and the log. Default: `queue`, and `queue2`, `queue3` … for the next.
    pub name: String,
    /// Folder that the receiving Sendmail (`DeliveryMode=queueonly`) fills. Sub-folders `qf` and `df` are used where they
    /// exist.
    pub incoming: PathBuf,
    /// Folder that the delivering Sendmail empties. Best on the same file system as `incoming`:
    /// then messages that stay as they are need no copy.
    pub outgoing: PathBuf,
    /// How often the incoming folder is looked through, whatever happens. New mail is noticed within a tenth of a second
    /// by the time of the folder's last change.
    pub interval: Seconds,
    /// Messages judged at once.
    pub at_once: u32,
}

/// What to do when verdicts differ and there is one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mixed {
    /// Deliver to some, hold for the others.
    Split,
    /// One policy a transaction.
    DeferOthers,
}

/// Limits of sessions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SessionLimits {
    /// Sessions at once, of all listeners together. Beyond it SMTP and LMTP clients hear 421, all others are closed, and
    /// the log says so. Mail brought over TCP may take nine tenths of them, and so may all the rest (who asks about mail,
    /// and every unix socket), so that neither shuts out the other; of fewer than ten none is kept back.
    pub sessions: u32,
    /// Sessions at once from one client address, for `smtp` and `lmtp` over TCP. 0: no limit. Trusted peers and our
    /// networks may each have nine tenths of `sessions` instead. Behind a balancer it counts for the clients it names.
    pub sessions_per_client: u32,
    /// Messages judged at once; further ones wait their turn.
    pub judging: u32,
    /// Commands in a session that bring no message forward (NOOP, RSET, VRFY …) before 421.
    pub idle_commands: u32,
    /// Errors in a session before 421.
    pub errors: u32,
    /// Recipients of a message. Beyond it 452 for each further one, where recipients are named one by one (`smtp`, `lmtp`,
    /// `milter`); `am-pdp` puts the whole message off, `http` answers 400.
    pub recipients: u32,
    /// Size of a message.
    pub message_size: Size,
    /// Messages in one session before 421.
    pub messages: u32,
    /// A message up to this size is held in memory; a larger one in a temporary file.
    pub memory: Size,
    /// Longest a client may be silent between commands.
    pub command_time: Seconds,
    /// Longest a client may be silent while it sends a message.
    pub data_time: Seconds,
    /// Longest a whole message may take to arrive: what stops a sender that gives one byte a minute.
    pub message_time: Seconds,
    /// Longest that judging a message may take before the sender is told to come again.
    pub judging_time: Seconds,
    /// Longest to wait for the next hop's connection and for its answers to commands.
    pub next_hop_time: Seconds,
    /// Longest to wait for the next hop's answer to a message (RFC 5321 section 4.5.3.2.6 asks for 10 minutes).
    pub next_hop_data_time: Seconds,
    /// Idle connections kept open to each next hop.
    pub next_hop_idle: u32,
    /// Lines that end in a bare LF and stray CRs: `normalize` makes CRLF of the first and a space of the second
    /// before judging (they never end a message either way), `refuse` answers 550. For `smtp`, `lmtp`, `milter` and
    /// `am-pdp`.
    pub stray_line_endings: StrayLineEndings,
}

/// What to do about bare LF and bare CR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StrayLineEndings {
    /// Mend them.
    Normalize,
    /// Refuse the message.
    Refuse,
}

impl From<StrayLineEndings> for Stray {
    fn from(stray: StrayLineEndings) -> Stray {
        match stray {
            StrayLineEndings::Normalize => Stray::Normalize,
            StrayLineEndings::Refuse => Stray::Refuse,
        }
    }
}

/// Limits of reading and unpacking one message. What is over them is `unchecked`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reading {
    /// Nesting of parts, messages and archives.
    pub depth: u32,
    /// Parts and archive members in all.
    pub parts: u32,
    /// Bytes that decoding and unpacking may yield in all.
    pub bytes: Size,
    /// How many times its packed size a member may become (members under 1 MiB never count).
    pub ratio: u32,
    /// Time for reading and unpacking.
    pub time: Seconds,
    /// Further readings of the same bytes, because mail programs differ in how they read.
    pub readings: u32,
    /// Bytes that one step of unpacking may ask for at once, such as a dictionary.
    pub memory: Size,
    /// What happens to a message that could not be read to its end because something of ours failed: a worker died, hung or
    /// could not be started. `defer`, `quarantine` or `accept`.
    pub on_fault: OnFault,
    /// Passwords that are tried on what is encrypted, besides the words of the mail itself, which come first.
    pub passwords: Vec<String>,
}

/// The checks.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// The built-in malware scanner.
    pub embedded: Embedded,
    /// ClamAV daemons, each under a name of its own: `[checks.clamd.main]`.
    pub clamd: BTreeMap<String, Clamd>,
    /// Scanners that are programs, each under a name of its own: `[checks.command.clamscan]`.
    pub command: BTreeMap<String, CommandScanner>,
    /// Scanners that speak ICAP, each under a name of its own: `[checks.icap.sophos]`.
    pub icap: BTreeMap<String, IcapScanner>,
    /// What is remembered of malware scanners' answers.
    pub verdict_cache: VerdictCache,
    /// What names of malware mean, each under the name that its symbol is made from: `[checks.malware_names.sanesecurity]`
    /// finds `VIRUS_SANESECURITY`.
    pub malware_names: BTreeMap<String, MalwareNames>,
    /// Attachment rules.
    pub attachments: Attachments,
    /// DNS lists, each under the name that its symbol is made from: `[checks.dnsbl.zen]` finds `DNSBL_ZEN`, and a list of
    /// the good (`kind = "allow"`) `DNSWL_ZEN`.
    pub dnsbl: BTreeMap<String, Dnsbl>,
    /// Lists from files, each under the name that its symbol is made from: `[checks.local_list.own]` finds `LOCAL_OWN`.
    pub local_list: BTreeMap<String, LocalList>,
    /// How names are looked up.
    pub dns: Dns,
    /// SPF.
    pub spf: SpfCheck,
    /// DKIM.
    pub dkim: DkimCheck,
    /// DMARC.
    pub dmarc: DmarcCheck,
    /// ARC.
    pub arc: ArcCheck,
    /// The test pattern of unsolicited mail.
    pub gtube: Gtube,
    /// Who must come again. For restriction `greylist`.
    pub greylist: Greylist,
    /// Malformed messages.
    pub structure: Structure,
    /// The client's operating system.
    pub p0f: P0f,
    /// Rules in SpamAssassin's language.
    pub rules: Rules,
}

/// The built-in malware scanner: YARA rules and hash lists over every part.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Embedded {
    /// Use it.
    pub enabled: bool,
    /// Folder of YARA rules (`*.yar`, `*.yara`), besides the built-in one for the EICAR test file. Read again when
    /// it changes; a folder with an error in it is not taken, the old rules stay.
    pub rules: Option<PathBuf>,
    /// Hash lists in ClamAV's forms `.hdb` and `.hsb` (`hash:size:name`, size `*` for any), files or folders. Read
    /// again when they change.
    pub hashes: Vec<PathBuf>,
    /// Longest it may take for a message.
    pub time: Seconds,
    /// What happens to a message it fails on.
    pub on_fault: OnFault,
}

/// Groups of malware engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EngineGroup {
    /// Asked for every message, all side by side.
    Primary,
    /// Asked only when every primary engine failed.
    Secondary,
}

/// How a message reaches clamd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClamdTransfer {
    /// FILDES on unix sockets, INSTREAM on TCP.
    Auto,
    /// A file descriptor.
    Fildes,
    /// The bytes.
    Instream,
}

/// What clamd is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClamdScan {
    /// The message, and parts that ClamAV may not find in it.
    Auto,
    /// The message only.
    Message,
    /// The message and every part.
    Parts,
}

/// The test pattern of unsolicited mail.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Gtube {
    /// Look for it.
    pub enabled: bool,
}

/// Malformed messages: each kind of defect is a symbol, so that policies can weigh it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Structure {
    /// Report defects.
    pub enabled: bool,
}

/// A policy: whom it is for, and what differs from `default_policy`. Keys that are left out are taken from
/// `default_policy`, and there from the built-in default.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Its name, shown in records and headers. Every policy needs one of its own; `default_policy` is called `default`.
    pub name: String,
    /// Whom it is for. All conditions that are given must hold. Not allowed in `default_policy`.
    pub when: When,
    /// From so many points on, mail is `spammy`. Built-in: 6.31, the mark that amavis sites use.
    pub spammy_at: Option<Points>,
    /// From so many points on, mail is `spam`. Built-in: 10.
    pub spam_at: Option<Points>,
    /// Messages larger than this are `oversized`. 0 lifts the limit of `default_policy`. Built-in: no limit but
    /// `limits.message_size`.
    pub max_size: Option<Size>,
    /// Points for symbols, instead of those of the catalogue or of rules: `weights.DNSBL_ZEN = 5`. 0 turns a symbol off.
    pub weights: BTreeMap<String, Points>,
    /// Categories for symbols, instead of those of the catalogue: `categories.ENCRYPTED = "banned"`. Rules have none of their own.
    pub categories: BTreeMap<String, Category>,
    /// What happens to each category: `actions.virus = "refuse"`. Built-in: clean and bad-header are delivered,
    /// spammy and unchecked are marked, spam, unauthenticated, restricted, oversized,
    /// banned and virus are refused.
    pub actions: BTreeMap<Category, Action>,
    /// Sets of attachment rules that count for it: `default` is `[[checks.attachments.rule]]` with the built-in list, the
    /// others are `[checks.attachments.set.NAME]`. What sets that are not named here find counts for nothing. Empty: none
    /// counts. Built-in: `["default"]`.
    pub attachments: Option<Vec<String>>,
    /// Categories of which a copy is kept in quarantine, whatever the action. Built-in: none.
    pub keep: Option<Vec<Category>>,
    /// What the client is told, by category: `replies.virus = "550 5.7.1 Virus detected: {reason} (id {id})"`.
    /// In braces: id, reason, category, score, policy, hostname.
    pub replies: BTreeMap<Category, String>,
    /// Put before the subject, by category: `subject_tags.spammy = "[SPAM?] "`. Only where the action is `mark` or `wrap`.
    pub subject_tags: BTreeMap<Category, String>,
    /// Put before the subject what rules say (`subjprefix NAME TEXT`), behind the policy's own tags and whatever the category,
    /// as long as the mail is delivered. Built-in: true.
    pub subject_prefixes: Option<bool>,
    /// Put behind the recipient's local part, by category: `extensions.spammy = "+spam"`. Only where the action is
    /// `mark` or `wrap`.
    pub extensions: BTreeMap<Category, String>,
    /// Spam headers are added from so many points on. Built-in: -999, always.
    pub headers_from: Option<Points>,
    /// What is done with the part in which something was found: `parts.banned = "rename"`, `parts.MACRO = "clean"`. By
    /// category (`virus`, `banned`, `unchecked`) where its action is `strip`; built-in: replace. By symbol, which goes before
    /// its category; a symbol that is in no category needs no action: what is said here is done whenever the mail is
    /// delivered. The original is kept in quarantine.
    pub parts: BTreeMap<String, PartAction>,
    /// The new name of a part that is renamed. In braces: name, id. Built-in: `{name}.disarmed`.
    pub rename_to: Option<String>,
    /// What is taken out of HTML when mail of a category is delivered: `defang.clean = ["scripts", "tracking-pixels"]`. The
    /// lists of all categories that the mail is in go together. `[]`: nothing.
    pub defang: BTreeMap<Category, Vec<Defang>>,
    /// Put at the top of what the reader sees when mail of a category is delivered: `warnings.unchecked = "built-in"`, or a
    /// text of your own. In braces: id, reason, category, score, hostname. `""`: none. Never in signed or encrypted mail.
    pub warnings: BTreeMap<Category, String>,
    /// Added at the bottom of what is delivered. Never to signed or encrypted mail, nor to mail that holds it already.
    pub disclaimer: Disclaimer,
    /// Text of the message that wraps another, where the action is `wrap`. In braces: id, reason, category, score, hostname.
    pub wrap_text: Option<String>,
    /// Language of the texts that are built in: `strip_text`, `wrap_text`, `bounce_text`, `warnings`, and of notices to
    /// recipients and senders. Built-in: en, and for notices `notices.language`.
    pub language: Option<Language>,
    /// Text put in place of an attachment that is stripped. In braces: id, reason, name, hostname.
    pub strip_text: Option<String>,
    /// What senders read in a bounce, where the action is `bounce` and gatepost sends it. In braces: id, reason,
    /// category, recipients, hostname.
    pub bounce_text: Option<String>,
}

/// A condition that is left out holds for everyone.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// Recipients: `user@example.org`, `example.org` (and not its subdomains), `.example.org` (subdomains only), `*`.
    pub recipients: Vec<String>,
    /// Senders, in the same forms; `<>` is the empty sender.
    pub senders: Vec<String>,
    /// Client networks.
    pub networks: Vec<Net>,
    /// Names of listeners; `scan` stands for files judged by `gatepost scan`.
    pub listeners: Vec<String>,
    /// Authenticated, or not.
    pub authenticated: Option<bool>,
    /// Directions.
    pub directions: Vec<Direction>,
}

/// Names of header fields that are added; empty: not added. Fields of these names that come from outside are removed
/// first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderNames {
    /// The record's id.
    pub id: String,
    /// That the message was scanned, and by whom.
    pub scanned: String,
    /// `YES` on spammy mail.
    pub flag: String,
    /// The score.
    pub score: String,
    /// One star a point.
    pub level: String,
    /// Score, thresholds and what each finding counted.
    pub status: String,
    /// How that is written. `amavis`: `Yes, score=7.5 tag=-999 tag2=6.31 kill=10 tests=[A=5.0, B=2.5] autolearn=no`;
    /// `spamassassin`: `Yes, score=7.5 required=6.3 tests=A,B autolearn=no version=gatepost`.
    pub status_form: StatusForm,
    /// Report on spammy mail, as SpamAssassin's `X-Spam-Report`: a line for each finding that counts, with its points and what it
    /// means.
    pub report: String,
    /// Fields from outside that are removed, besides those above. A name that ends in `*` stands for all that begin so.
    pub remove: Vec<String>,
    /// Instead of removing a field from outside, put this before its name: `X-Old-`. Empty: remove.
    pub rename_prefix: String,
}

/// Forms of the status field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StatusForm {
    /// As amavis writes it, with the points of each finding.
    Amavis,
    /// As SpamAssassin writes it.
    SpamAssassin,
}

/// Originals lie in the vault until somebody releases or deletes them, or their days are over.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quarantine {
    /// Where originals are kept. Default: `vault` in the data folder.
    pub vault: Option<PathBuf>,
    /// Days that held messages are kept; at least 1, as for the two below.
    pub keep_days: u32,
    /// Days that messages with a virus are kept.
    pub keep_days_virus: u32,
    /// Days by category, where they differ from the two above: `keep_days_for.banned = 30`.
    pub keep_days_for: BTreeMap<Category, u32>,
    /// Free space below which nothing more is put in the vault: mail that would need it is deferred, not lost.
    pub disk_floor: Size,
    /// Next hop for released messages, when it is another than the listener's.
    pub release_to: Vec<String>,
}

/// Each message has a record that says what was found and why it was decided so.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// Where it is. Default: `journal.db` in the data folder.
    pub path: Option<PathBuf>,
    /// Days that records are kept, at least 1. Records of held messages are kept as long as the message.
    pub keep_days: u32,
}

/// Metrics and health over HTTP.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Address of `/metrics` and `/health`. Empty: off. Keep it on loopback: it is not protected.
    pub listen: String,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data: PathBuf::from("gatepost-data"),
            hostname: super::units::system_hostname(),
            user: String::new(),
            networks: loopback(),
            domains: Vec::new(),
            log: Log::default(),
            listener: Vec::new(),
            queue: Vec::new(),
            limits: SessionLimits::default(),
            reading: Reading::default(),
            worker: super::worker::Worker::default(),
            protection: Default::default(),
            restrictions: Restrictions::default(),
            maps: Default::default(),
            recipients: Default::default(),
            callahead: Default::default(),
            checks: Checks::default(),
            policy: Vec::new(),
            default_policy: Policy::default(),
            headers: HeaderNames::default(),
            authentication: Authentication::default(),
            signing: Signing::default(),
            quarantine: Quarantine::default(),
            journal: Journal::default(),
            dmarc_reports: DmarcReports::default(),
            notices: Default::default(),
            state: super::state::State::default(),
            update: Default::default(),
            metrics: Metrics::default(),
        }
    }
}

fn loopback() -> Vec<Net> {
    ["127.0.0.0/8", "::1/128"].map(|net| net.parse().expect("a network")).to_vec()
}

impl Default for Log {
    fn default() -> Log {
        Log { level: "info".into(), format: LogFormat::Text }
    }
}

impl Default for Listener {
    fn default() -> Listener {
        Listener {
            name: String::new(),
            listen: vec!["127.0.0.1:2525".into()],
            protocol: ListenerProtocol::Smtp,
            next_hop: Vec::new(),
            next_hop_verify: true,
            tls_certificate: None,
            tls_key: None,
            auth: false,
            auth_without_tls: false,
            xclient_from: Vec::new(),
            xforward_from: Vec::new(),
            proxy_protocol_from: Vec::new(),
            originating: false,
            after_queue: false,
            refuse_after_queue: RefuseAfterQueue::Hold,
            mixed: Mixed::Split,
            greet_pause: Seconds::new(0),
            allow_from: loopback(),
            token: String::new(),
            quarantine: HoldIn::Vault,
            mail_folders: vec!["/var/lib/amavis/tmp".into()],
            require_secret: false,
            delay_reject: true,
            client_restrictions: None,
            helo_restrictions: None,
            sender_restrictions: None,
            relay_restrictions: None,
            recipient_restrictions: None,
            prepend: ["Authentication-Results", "Received-SPF", "X-Greylist", "*"]
                .map(str::to_owned)
                .to_vec(),
            scan_folders: Vec::new(),
            report_banned: false,
            banner: "ESMTP".into(),
        }
    }
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            name: String::new(),
            incoming: PathBuf::from("/var/spool/mqueue.in"),
            outgoing: PathBuf::from("/var/spool/mqueue"),
            interval: Seconds::new(1),
            at_once: 4,
        }
    }
}

impl Default for SessionLimits {
    fn default() -> SessionLimits {
        SessionLimits {
            sessions: 1000,
            sessions_per_client: 50,
            judging: 64,
            idle_commands: 100,
            errors: 20,
            recipients: 50,
            message_size: Size::mebibytes(50),
            messages: 1000,
            memory: Size::mebibytes(1),
            command_time: Seconds::new(300),
            data_time: Seconds::new(180),
            message_time: Seconds::new(1800),
            judging_time: Seconds::new(120),
            next_hop_time: Seconds::new(60),
            next_hop_data_time: Seconds::new(600),
            next_hop_idle: 20,
            stray_line_endings: StrayLineEndings::Normalize,
        }
    }
}

impl Default for Reading {
    fn default() -> Reading {
        Reading {
            depth: 17,
            parts: 1000,
            bytes: Size::mebibytes(300),
            ratio: 250,
            time: Seconds::new(20),
            readings: 200,
            memory: Size::mebibytes(256),
            on_fault: OnFault::Defer,
            passwords: gatepost_mail::Limits::PASSWORDS.iter().map(|&password| password.to_owned()).collect(),
        }
    }
}

impl Default for Embedded {
    fn default() -> Embedded {
        Embedded {
            enabled: true,
            rules: None,
            hashes: Vec::new(),
            time: Seconds::new(30),
            on_fault: OnFault::Defer,
        }
    }
}

impl Default for Gtube {
    fn default() -> Gtube {
        Gtube { enabled: true }
    }
}

impl Default for Structure {
    fn default() -> Structure {
        Structure { enabled: true }
    }
}

impl Default for HeaderNames {
    fn default() -> HeaderNames {
        HeaderNames {
            id: "X-Gatepost-Id".into(),
            scanned: "X-Virus-Scanned".into(),
            flag: "X-Spam-Flag".into(),
            score: "X-Spam-Score".into(),
            level: "X-Spam-Level".into(),
            status: "X-Spam-Status".into(),
            status_form: StatusForm::Amavis,
            report: String::new(),
            remove: vec!["X-Virus-*".into(), "X-Spam-*".into(), "X-Gatepost-*".into()],
            rename_prefix: String::new(),
        }
    }
}

impl Default for Quarantine {
    fn default() -> Quarantine {
        Quarantine {
            vault: None,
            keep_days: 90,
            keep_days_virus: 6,
            keep_days_for: BTreeMap::new(),
            disk_floor: Size::mebibytes(200),
            release_to: Vec::new(),
        }
    }
}

impl Default for Journal {
    fn default() -> Journal {
        Journal { path: None, keep_days: 180 }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { listen: "127.0.0.1:8025".into() }
    }
}
