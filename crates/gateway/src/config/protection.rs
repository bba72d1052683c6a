//! `[protection]`: what keeps one client, one account or a crowd of them from using up what all need.

use std::path::PathBuf;

use gatepost_mail::{Direction, OnFault};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Net, Seconds, Size};
use super::{Config, Problem};

/// Protection of this host and of those that take our mail. Networks that are ours and trusted peers (`xclient_from`,
/// `xforward_from`) are exempt from all that slows clients down.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Protection {
    /// Connections in a second from one client net, for `smtp` and `lmtp` over TCP. 0: no limit.
    pub connections_per_second: u32,
    /// Connections in a minute from one client net. 0: no limit.
    pub connections_per_minute: u32,
    /// What happens to a connection beyond these: `delay` makes it wait for the banner, a second for each connection
    /// that is too many, `defer` says 421 and closes.
    pub connections_action: TooMany,
    /// Longest wait for the banner.
    pub connections_delay: Seconds,
    /// Bits of an IPv4 address that make a client net: 32 is each address by itself.
    pub ipv4_prefix: u8,
    /// The same for IPv6.
    pub ipv6_prefix: u8,
    /// Recipients refused for good in a session before each further one is answered late.
    pub refused_recipients_free: u32,
    /// How long the answer to each of those takes. 0: no delay.
    pub refused_recipients_delay: Seconds,
    /// Recipients refused for good in a session before 421, whoever the client is. They do not count as `limits.errors`.
    pub refused_recipients: u32,
    /// Unknown recipients in an hour from one client net, over all its sessions, from which on it is found to be
    /// harvesting addresses: `RCPT_HARVEST`. 0: not counted.
    pub harvest_per_hour: u32,
    /// How long a refusal takes that goes to a client with one of `tarpit_symbols`, or with more than `tarpit_errors`
    /// errors in its session. At most 30; 0: no delay.
    pub tarpit: Seconds,
    /// Symbols of clients whose refusals are late; `DNSBL_*` stands for all that begin so.
    pub tarpit_symbols: Vec<String>,
    /// Errors in a session, refused recipients included, from which on refusals are late.
    pub tarpit_errors: u32,
    /// Sessions that are made to wait at once, for whatever of these reasons. Whoever should wait beyond it hears 421:
    /// waiting must not use up all sessions.
    pub delayed_sessions: u32,
    /// Load average of this host (over one minute) from which on each banner is a second late. Not set: none.
    pub delay_at_load: Option<f64>,
    /// Load average from which on MAIL is answered 451. Not set: none. Our networks and users are exempt from these two.
    pub defer_at_load: Option<f64>,
    /// Load average from which on new connections are refused with 421, whoever the client is. Not set: 12 for each CPU.
    /// 0: none.
    pub refuse_at_load: Option<f64>,
    /// Where the load average is read.
    pub load_file: PathBuf,
    /// Free space that the data folder and the spool in it must have: below it, and for a message whose announced size would
    /// lead below it, MAIL is answered 452. 0: not looked at.
    pub free_disk: Size,
    /// Who is told by mail when an account has used up its limit. Default: `postmaster` at the first of `domains`, or at
    /// this host. Empty: nobody.
    pub postmaster: Option<String>,
    /// What happens when rates cannot be counted because what is remembered cannot be read or written: `accept` or `defer`.
    pub on_fault: OnFault,
    /// Limits on mail in a time. All are looked at; the first that is exceeded decides.
    pub rate: Vec<Rate>,
}

/// What happens to a connection that is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TooMany {
    /// It waits for the banner.
    Delay,
    /// It is told to come later.
    Defer,
}

/// A limit on mail in a time, for each user, address, domain or client by itself. It is looked at when all restrictions
/// permit a recipient, for everybody, authenticated or not; restriction `limit_rates` in a list says otherwise.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    /// Its name, by which counters are kept: letters, digits and `-`. Default: made of `of` and `per`, such as `user-1h`.
    pub name: String,
    /// Whose mail is counted together: `user` (authenticated), `sender` and `sender-domain` (of the envelope), `client`,
    /// `client-net` (by `protection.ipv4_prefix` and `ipv6_prefix`), `recipient` or `recipient-domain`.
    pub of: RateOf,
    /// Directions that count: `inbound`, `outbound`, `internal`. Empty: all.
    pub direction: Vec<Direction>,
    /// Listeners that count. Empty: all.
    pub listeners: Vec<String>,
    /// Only these: users, addresses, domains, or client networks. Empty: all.
    pub only: Vec<String>,
    /// Not these, in the same forms.
    pub except: Vec<String>,
    /// Messages that are allowed. 0: not counted.
    pub messages: u64,
    /// Recipients that are allowed, of all messages together. 0: not counted.
    pub recipients: u64,
    /// Bytes of messages that are allowed. The message that exceeds it is the last. 0: not counted.
    pub bytes: Size,
    /// In this time; the window slides.
    pub per: Seconds,
    /// What happens beyond it: `defer` says 450, `refuse` 550, `hold` takes the message and holds it.
    pub action: RateAction,
    /// Tell the postmaster by mail when somebody exceeds it, once in `per`. Default: `true` for `of = "user"`.
    pub report: Option<bool>,
}

/// Whose mail a rate counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RateOf {
    /// An authenticated user.
    User,
    /// An envelope sender.
    Sender,
    /// The domain of envelope senders.
    SenderDomain,
    /// A client's address.
    Client,
    /// A client's network.
    ClientNet,
    /// A recipient.
    Recipient,
    /// The domain of recipients.
    RecipientDomain,
}

impl RateOf {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            RateOf::User => "user",
            RateOf::Sender => "sender",
            RateOf::SenderDomain => "sender-domain",
            RateOf::Client => "client",
            RateOf::ClientNet => "client-net",
            RateOf::Recipient => "recipient",
            RateOf::RecipientDomain => "recipient-domain",
        }
    }
}

/// What happens to mail beyond a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RateAction {
    /// The client shall come again.
    Defer,
    /// It is refused.
    Refuse,
    /// The message is taken and held.
    Hold,
}

impl Rate {
    /// Its name, given or made.
    pub fn name(&self) -> String {
        match self.name.as_str() {
            "" => format!("{}-{}", self.of.name(), self.per),
            name => name.to_owned(),
        }
    }

    /// Whether the postmaster is told.
    pub fn reports(&self) -> bool {
        self.report.unwrap_or(self.of == RateOf::User)
    }
}

impl Default for Protection {
    fn default() -> Protection {
        Protection {
            connections_per_second: 0,
            connections_per_minute: 0,
            connections_action: TooMany::Delay,
            connections_delay: Seconds::new(5),
            ipv4_prefix: 32,
            ipv6_prefix: 64,
            refused_recipients_free: 5,
            refused_recipients_delay: Seconds::new(1),
            refused_recipients: 25,
            harvest_per_hour: 100,
            tarpit: Seconds::new(0),
            tarpit_symbols: vec!["DNSBL_*".into(), "RCPT_HARVEST".into()],
            tarpit_errors: 10,
            delayed_sessions: 100,
            delay_at_load: None,
            defer_at_load: None,
            refuse_at_load: None,
            load_file: PathBuf::from("/proc/loadavg"),
            free_disk: Size::mebibytes(100),
            postmaster: None,
            on_fault: OnFault::Accept,
            rate: Vec::new(),
        }
    }
}

impl Default for Rate {
    fn default() -> Rate {
        Rate {
            name: String::new(),
            of: RateOf::User,
            direction: Vec::new(),
            listeners: Vec::new(),
            only: Vec::new(),
            except: Vec::new(),
            messages: 0,
            recipients: 0,
            bytes: Size::new(0),
            per: Seconds::new(3600),
            action: RateAction::Defer,
            report: None,
        }
    }
}

/// Longest that anybody is made to wait, in seconds: clients give up after minutes, and we would hold a session for
/// nobody.
const LONGEST_DELAY: u64 = 30;

/// Shortest and longest time of a rate: counters are kept twice as long.
const PERIODS: std::ops::RangeInclusive<u64> = 1..=31 * 86_400;

impl Config {
    /// Who is told by mail; None: nobody.
    pub fn postmaster(&self) -> Option<String> {
        let own = self.domains.iter().find(|domain| !domain.starts_with('.'));
        let domain = || own.unwrap_or(&self.hostname);
        let postmaster =
            self.protection.postmaster.clone().unwrap_or_else(|| format!("postmaster@{}", domain()));
        (!postmaster.is_empty()).then_some(postmaster)
    }

    /// What is wrong with `[protection]`.
    pub(super) fn protection_problems(&self) -> Vec<Problem> {
        let protection = &self.protection;
        let mut problems = Vec::new();
        let mut add = |key: &str, message: String| {
            problems.push(Problem::new(format!("protection.{key}"), message));
        };
        for (key, bits, most) in
            [("ipv4_prefix", protection.ipv4_prefix, 32), ("ipv6_prefix", protection.ipv6_prefix, 128)]
        {
            if bits == 0 || bits > most {
                add(key, format!("is {bits}; write 1 to {most}"));
            }
        }
        for (key, time) in [
            ("connections_delay", protection.connections_delay),
            ("refused_recipients_delay", protection.refused_recipients_delay),
            ("tarpit", protection.tarpit),
        ] {
            if time.seconds() > LONGEST_DELAY {
                add(key, format!("is {time}; at most {LONGEST_DELAY} seconds"));
            }
        }
        if protection.refused_recipients == 0 {
            add("refused_recipients", "is 0; no recipient could ever be wrong".into());
        }
        for (key, load) in [
            ("delay_at_load", protection.delay_at_load),
            ("defer_at_load", protection.defer_at_load),
            ("refuse_at_load", protection.refuse_at_load),
        ] {
            let least = if key == "refuse_at_load" { 0.0 } else { f64::MIN_POSITIVE };
            if load.is_some_and(|load| !load.is_finite() || load < least) {
                add(key, "is no load average; write 8.0".into());
            }
        }
        if let Some(address) = &protection.postmaster
            && !address.is_empty()
            && gatepost_mail::Address::new(address).is_none_or(|address| address.local().is_empty())
        {
            add("postmaster", format!("{address:?} is no address; write postmaster@example.org"));
        }
        if protection.on_fault == OnFault::Quarantine {
            add("on_fault", "is accept or defer: nothing is there yet that could be held".into());
        }
        problems.extend(self.rate_problems());
        problems
    }

    fn rate_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let rates = &self.protection.rate;
        let listeners: Vec<String> = self.listeners().into_iter().map(|listener| listener.name).collect();
        for (place, rate) in rates.iter().enumerate() {
            let mut add = |key: &str, message: String| {
                problems.push(Problem::new(format!("protection.rate[{place}]{key}"), message));
            };
            let name = rate.name();
            if name.len() > 64 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                add(".name", format!("{name:?} is no name; use letters, digits and “-”, at most 64"));
            }
            if rates[..place].iter().any(|other| other.name() == name) {
                add("", format!("{name:?} is the name of another rate too; give it a name of its own"));
            }
            if rate.messages == 0 && rate.recipients == 0 && rate.bytes.bytes() == 0 {
                add("", "limits nothing; name messages, recipients or bytes".into());
            }
            if !PERIODS.contains(&rate.per.seconds()) {
                add(".per", format!("is {}; write 1 second to 31 days", rate.per));
            }
            if rate.direction.iter().any(|way| *way != Direction::Inbound) && self.domains.is_empty() {
                add(".direction", "needs domains: without them nobody can tell which way mail goes".into());
            }
            for (at, name) in rate.listeners.iter().enumerate().filter(|(_, name)| !listeners.contains(name))
            {
                add(&format!(".listeners[{at}]"), format!("there is no listener {name:?}"));
            }
        }
        problems
    }
}

/// Those that a rate is only for, or not for.
#[derive(Clone, Debug, Default)]
pub struct Whom {
    nets: Vec<Net>,
    names: Vec<String>,
}

impl Whom {
    /// From the forms of the configuration: networks, and everything else, without case.
    pub fn new(texts: &[String]) -> Whom {
        let mut whom = Whom::default();
        for text in texts {
            match text.parse() {
                Ok(net) => whom.nets.push(net),
                Err(_) => whom.names.push(text.to_lowercase()),
            }
        }
        whom
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nets.is_empty() && self.names.is_empty()
    }

    /// Whether a client, or one of these users or addresses, is among them.
    pub fn holds(&self, client: Option<std::net::IpAddr>, names: &[&str]) -> bool {
        let is = |name: &&str| {
            let name = name.to_lowercase();
            let domain = name.rsplit_once('@').map(|(_, domain)| domain.to_owned());
            self.names.iter().any(|one| {
                let bare = one.strip_prefix('@').unwrap_or(one);
                let below = bare.starts_with('.');
                *one == name || domain.as_deref().is_some_and(|d| d == bare || below && d.ends_with(bare))
            })
        };
        client.is_some_and(|client| self.nets.iter().any(|net| net.contains(client))) || names.iter().any(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let config: Config = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let problems = config.protection_problems();
        problems.iter().map(|p| format!("{}: {}", p.key, p.message)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        assert_eq!(problems(""), "");
        for (text, expected) in [
            ("protection.ipv4_prefix = 33", "protection.ipv4_prefix: is 33"),
            ("protection.ipv6_prefix = 0", "protection.ipv6_prefix: is 0"),
            ("protection.tarpit = 31", "protection.tarpit: is 31; at most 30"),
            ("protection.refused_recipients = 0", "protection.refused_recipients: is 0"),
            ("protection.delay_at_load = 0", "protection.delay_at_load: is no load"),
            ("protection.refuse_at_load = -1", "protection.refuse_at_load: is no load"),
            ("protection.refuse_at_load = 0", ""),
            ("protection.postmaster = 'boss'", ""),
            ("protection.postmaster = '@x'", "protection.postmaster: \"@x\" is no address"),
            ("protection.on_fault = 'quarantine'", "protection.on_fault: is accept or defer"),
            ("[[protection.rate]]\nof = 'user'", "protection.rate[0]: limits nothing"),
            ("[[protection.rate]]\nmessages = 1\nper = 0", "protection.rate[0].per: is 0"),
            ("[[protection.rate]]\nmessages = 1\nname = 'a|b'", "protection.rate[0].name: \"a|b\" is no"),
            (
                "[[protection.rate]]\nmessages = 1\n[[protection.rate]]\nbytes = 1",
                "protection.rate[1]: \"user-1h\" is the name",
            ),
            (
                "[[protection.rate]]\nmessages = 1\ndirection = ['outbound']",
                "protection.rate[0].direction: needs domains",
            ),
            (
                "[[protection.rate]]\nmessages = 1\nlisteners = ['x']",
                "protection.rate[0].listeners[0]: there is no listener",
            ),
        ] {
            let found = problems(text);
            assert!(
                found.starts_with(expected) && found.is_empty() == expected.is_empty(),
                "{text}: {found}"
            );
        }
    }

    #[test]
    fn who_is_told() {
        let postmaster = |text: &str| toml::from_str::<Config>(text).unwrap().postmaster();
        assert_eq!(postmaster("hostname = 'mx.test'").as_deref(), Some("postmaster@mx.test"));
        let domains = "domains = ['.sub.test', 'example.org']";
        assert_eq!(postmaster(domains).as_deref(), Some("postmaster@example.org"));
        assert_eq!(postmaster("protection.postmaster = 'x@y.test'").as_deref(), Some("x@y.test"));
        assert_eq!(postmaster("protection.postmaster = ''"), None);
    }

    #[test]
    fn whom_a_rate_is_for() {
        let whom = Whom::new(
            &["Boss@example.org", "lists.test", ".sub.test", "@at.test", "192.0.2.0/24", "alice"]
                .map(str::to_owned),
        );
        for (client, name, expected) in [
            (None, "boss@Example.org", true),
            (None, "other@example.org", false),
            (None, "any@lists.test", true),
            (None, "any@x.lists.test", false),
            (None, "any@x.sub.test", true),
            (None, "any@sub.test", false),
            (None, "any@at.test", true),
            (None, "Alice", true),
            (None, "lists.test", true),
            (Some("192.0.2.9"), "x", true),
            (Some("192.0.3.9"), "x", false),
        ] {
            let client = client.map(|client: &str| client.parse().unwrap());
            assert_eq!(whom.holds(client, &[name]), expected, "{client:?} {name}");
        }
    }
}
