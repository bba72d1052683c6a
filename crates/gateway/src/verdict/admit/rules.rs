//! The restrictions that there are, under Postfix's names where it has them, and how they are read.

use gatepost_mail::Reply;

use super::Request;
use crate::config::Problem;
use crate::verdict::policy::nearest;

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// A client has connected.
    Connect,
    /// It has said who it is.
    Hello,
    /// A sender is named.
    Sender,
    /// A recipient is named.
    Recipient,
}

/// The lists, in the order they are read, with the stage from which each counts.
pub(super) const ORDER: [(&str, Stage); 6] = [
    ("client", Stage::Connect),
    ("helo", Stage::Hello),
    ("sender", Stage::Sender),
    ("relay", Stage::Recipient),
    ("recipient", Stage::Recipient),
    // Rates, which are asked when all of these permit.
    ("rates", Stage::Recipient),
];

/// The check of rates.
pub(super) const RATES: &str = "rates";

/// One restriction.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// As it is configured, without `warn_if_reject`.
    pub text: String,
    /// The list it is in.
    pub list: &'static str,
    /// Only tell the log.
    pub warn: bool,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Permit,
    Reject,
    Defer,
    PermitNetworks,
    PermitAuthenticated,
    PermitAuthDestination,
    RejectUnauthDestination,
    /// By a symbol that the configuration names.
    Symbol {
        symbol: String,
        permits: bool,
        text: Text,
    },
    Builtin(&'static Builtin),
    /// By what an access map says.
    Access,
}

/// A reply to be filled in: code, enhanced code, text with names in braces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text(pub u16, pub &'static str, pub &'static str);

/// A restriction that goes by what a check has found.
#[derive(Debug)]
pub(super) struct Builtin {
    name: &'static str,
    /// Any of them is enough.
    pub symbols: &'static [&'static str],
    pub text: Text,
    /// The check by whose fault nobody knows, so that the client shall come again.
    pub fault: &'static str,
    /// It must be asked now: see `Check::on_admit`.
    pub late: bool,
}

const fn builtin(
    name: &'static str,
    symbols: &'static [&'static str],
    text: Text,
    fault: &'static str,
) -> Builtin {
    Builtin { name, symbols, text, fault, late: false }
}

/// Replies are worded as Postfix words them, since logs are read by programs that know those.
#[rustfmt::skip]
static BUILTIN: &[Builtin] = &[
    builtin("reject_unknown_client_hostname", &["CLIENT_NO_NAME", "CLIENT_NAME_UNCONFIRMED"], Text(450, "4.7.25", "Client host rejected: cannot find your hostname, [{client}]"), "client_name"),
    builtin("reject_unknown_reverse_client_hostname", &["CLIENT_NO_NAME"], Text(450, "4.7.25", "Client host rejected: cannot find your reverse hostname, [{client}]"), "client_name"),
    builtin("reject_invalid_helo_hostname", &["HELO_INVALID"], Text(501, "5.5.2", "<{helo}>: Helo command rejected: Invalid name"), ""),
    builtin("reject_non_fqdn_helo_hostname", &["HELO_NOT_FQDN"], Text(504, "5.5.2", "<{helo}>: Helo command rejected: need fully-qualified hostname"), ""),
    builtin("reject_own_helo_hostname", &["HELO_OURS"], Text(550, "5.7.1", "<{helo}>: Helo command rejected: that is our own name"), ""),
    builtin("reject_unknown_helo_hostname", &["HELO_UNKNOWN"], Text(450, "4.7.1", "<{helo}>: Helo command rejected: Host not found"), "helo_name"),
    builtin("reject_non_fqdn_sender", &["SENDER_NOT_FQDN"], Text(504, "5.5.2", "<{sender}>: Sender address rejected: need fully-qualified address"), ""),
    builtin("reject_unknown_sender_domain", &["SENDER_DOMAIN_UNKNOWN"], Text(450, "4.1.8", "<{sender}>: Sender address rejected: Domain not found"), "sender_domain"),
    builtin("reject_unknown_sender_domain", &["SENDER_DOMAIN_NULL_MX"], Text(550, "5.7.27", "<{sender}>: Sender address rejected: Domain {sender_domain} does not accept mail (nullMX)"), ""),
    builtin("reject_own_sender_domain", &["SENDER_OURS"], Text(550, "5.7.1", "<{sender}>: Sender address rejected: our own domain from outside"), ""),
    builtin("reject_non_fqdn_recipient", &["RCPT_NOT_FQDN"], Text(504, "5.5.2", "<{recipient}>: Recipient address rejected: need fully-qualified address"), ""),
    builtin("reject_unknown_recipient_domain", &["RCPT_DOMAIN_UNKNOWN"], Text(450, "4.1.2", "<{recipient}>: Recipient address rejected: Domain not found"), "recipient_domain"),
    builtin("reject_unknown_recipient_domain", &["RCPT_DOMAIN_NULL_MX"], Text(556, "5.1.10", "<{recipient}>: Recipient address rejected: Domain {recipient_domain} does not accept mail (nullMX)"), ""),
    builtin("reject_unlisted_recipient", &["RCPT_UNKNOWN"], Text(550, "5.1.1", "<{recipient}>: Recipient address rejected: User unknown"), "recipients"),
    builtin("reject_uucp", &["RCPT_UUCP", "SENDER_UUCP"], Text(550, "5.1.3", "UUCP addresses are not accepted"), ""),
    builtin("reject_spf_fail", &["SPF_FAIL", "SPF_HELO_FAIL"], Text(550, "5.7.23", "SPF: {evidence}"), "spf"),
    Builtin { late: true, ..builtin("reject_unverified_recipient", &["RCPT_UNVERIFIED"], Text(450, "4.1.1", "<{recipient}>: Recipient address rejected: unverified address: {evidence}"), "callahead") },
    Builtin { late: true, ..builtin("limit_rates", &["RATE_EXCEEDED"], Text(450, "4.7.1", "Too much mail, try again later"), RATES) },
    Builtin { late: true, ..builtin("greylist", &["GREYLISTED"], Text(450, "4.2.0", "<{recipient}>: Recipient address rejected: {evidence}"), "greylist") },
];

/// Restrictions with an argument that names a list or a symbol, and what becomes of it: the beginning of the symbol, and
/// whether it permits.
#[rustfmt::skip]
static NAMED: &[(&str, &str, bool, Text)] = &[
    ("reject_rbl_client", "DNSBL_", false, Text(554, "5.7.1", "Service unavailable; Client host [{client}] blocked: {evidence}")),
    ("reject_rhsbl_client", "DNSBL_", false, Text(554, "5.7.1", "Service unavailable; Client host [{client}] blocked: {evidence}")),
    ("reject_rhsbl_reverse_client", "DNSBL_", false, Text(554, "5.7.1", "Service unavailable; Unverified Client host [{client}] blocked: {evidence}")),
    ("reject_rhsbl_helo", "DNSBL_", false, Text(554, "5.7.1", "Service unavailable; Helo command [{helo}] blocked: {evidence}")),
    ("reject_rhsbl_sender", "DNSBL_", false, Text(554, "5.7.1", "Service unavailable; Sender address [{sender}] blocked: {evidence}")),
    ("reject_rhsbl_recipient", "DNSBL_", false, Text(554, "5.7.1", "Service unavailable; Recipient address [{recipient}] blocked: {evidence}")),
    ("reject_local_list", "LOCAL_", false, Text(554, "5.7.1", "Service unavailable; blocked: {evidence}")),
    ("reject_symbol", "", false, Text(554, "5.7.1", "Refused by local policy: {evidence}")),
    ("defer_symbol", "", false, Text(450, "4.7.1", "Not now, try again later: {evidence}")),
    ("permit_dnswl_client", "DNSWL_", true, Text(250, "", "")),
    ("permit_rhswl_client", "DNSWL_", true, Text(250, "", "")),
    ("permit_local_list", "LOCAL_", true, Text(250, "", "")),
    ("permit_symbol", "", true, Text(250, "", "")),
];

/// Restrictions that look something up in an access map.
const ACCESS: [&str; 7] = [
    "check_client_access",
    "check_reverse_client_hostname_access",
    "check_helo_access",
    "check_sender_access",
    "check_sender_mx_access",
    "check_sender_ns_access",
    "check_recipient_access",
];

/// Restrictions that need no finding.
const PLAIN: [(&str, Kind); 7] = [
    ("permit", Kind::Permit),
    ("reject", Kind::Reject),
    ("defer", Kind::Defer),
    ("permit_mynetworks", Kind::PermitNetworks),
    ("permit_sasl_authenticated", Kind::PermitAuthenticated),
    ("permit_auth_destination", Kind::PermitAuthDestination),
    ("reject_unauth_destination", Kind::RejectUnauthDestination),
];

/// Reads lists.
pub(super) struct Parser<'a> {
    /// All that may be found.
    pub symbols: &'a [&'a str],
    /// What is wrong so far.
    pub problems: &'a mut Vec<Problem>,
}

impl Parser<'_> {
    /// Reads a list; `key` is its key in the configuration.
    pub fn parse(&mut self, list: &[String], name: &'static str, key: &str) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (place, text) in list.iter().enumerate() {
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let (warn, plain) = match text.strip_prefix("warn_if_reject ") {
                Some(rest) => (true, rest),
                None => (false, text.as_str()),
            };
            let kinds = kinds(plain).and_then(|kinds| self.known(plain, kinds));
            match kinds {
                Ok(kinds) => rules.extend(kinds.into_iter().map(|kind| Rule {
                    text: plain.to_owned(),
                    list: name,
                    warn,
                    kind,
                })),
                Err(why) => self.problems.push(Problem::new(format!("{key}[{place}]"), why)),
            }
        }
        rules
    }

    /// A restriction by a symbol that nothing ever finds is a mistake: somebody relies on it.
    fn known(&self, text: &str, kinds: Vec<Kind>) -> Result<Vec<Kind>, String> {
        for kind in &kinds {
            let Kind::Symbol { symbol, .. } = kind else { continue };
            if self.symbols.contains(&symbol.as_str()) {
                continue;
            }
            let list = text.split_once(' ').map_or("", |(_, list)| list);
            let near = nearest(symbol, self.symbols.iter().copied());
            return Err(match symbol.split_once('_') {
                Some((stem @ ("DNSBL" | "DNSWL" | "LOCAL"), _)) if !text.contains("_symbol ") => {
                    format!(
                        "“{text}” goes by {symbol}, but no list {list:?} is configured that finds {stem}_…{near}"
                    )
                }
                _ => format!("“{text}”: there is no symbol {symbol}{near}"),
            });
        }
        Ok(kinds)
    }
}

/// What a restriction stands for; some have a reply for each of several findings.
fn kinds(text: &str) -> Result<Vec<Kind>, String> {
    let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
    let alone = |kinds: Vec<Kind>| match argument {
        "" => Ok(kinds),
        _ => Err(format!("“{name}” takes no argument, but “{argument}” follows")),
    };
    if let Some((_, kind)) = PLAIN.iter().find(|(known, _)| *known == name) {
        return alone(vec![kind.clone()]);
    }
    let builtin: Vec<Kind> = BUILTIN.iter().filter(|known| known.name == name).map(Kind::Builtin).collect();
    if !builtin.is_empty() {
        return alone(builtin);
    }
    if let Some((_, stem, permits, text)) = NAMED.iter().find(|(known, ..)| *known == name) {
        if argument.is_empty() || argument.contains(' ') {
            return Err(format!("“{name}” needs one name behind it"));
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let symbol = format!("{stem}{}", argument.chars().map(plain).collect::<String>());
        return Ok(vec![Kind::Symbol { symbol, permits: *permits, text: *text }]);
    }
    if ACCESS.contains(&name) {
        return match argument.split_once(':') {
            Some((kind, rest)) if !kind.is_empty() && !rest.is_empty() => Ok(vec![Kind::Access]),
            _ => Err(format!("“{name}” needs a map behind it, such as cidr:/etc/gatepost/clients")),
        };
    }
    let known = PLAIN.iter().map(|(name, _)| *name);
    let known = known.chain(BUILTIN.iter().map(|known| known.name));
    let known = known.chain(NAMED.iter().map(|(name, ..)| *name)).chain(ACCESS);
    Err(format!("there is no restriction “{name}”{}", nearest(name, known)))
}

impl Rule {
    /// Whether it asks for rates.
    pub fn is_rates(&self) -> bool {
        matches!(&self.kind, Kind::Builtin(builtin) if builtin.fault == RATES)
    }

    /// The map of an access rule: `cidr:/etc/gatepost/clients`.
    pub fn map(&self) -> &str {
        self.text.split_once(' ').map_or("", |(_, map)| map)
    }

    /// What an access rule looks at, in Postfix's words.
    pub fn what(&self) -> &'static str {
        match self.text.split(' ').next().unwrap_or_default() {
            "check_helo_access" => "Helo command",
            "check_sender_access" | "check_sender_mx_access" | "check_sender_ns_access" => "Sender address",
            "check_recipient_access" => "Recipient address",
            _ => "Client host",
        }
    }

    /// Whom an access rule looks at.
    pub fn subject(&self, request: &Request) -> String {
        match self.what() {
            "Helo command" => request.session.helo.clone(),
            "Sender address" => request.sender.to_owned(),
            "Recipient address" => recipient(request),
            _ => client(request),
        }
    }
}

impl Text {
    /// The reply.
    pub fn fill(self, request: &Request, evidence: &str) -> Reply {
        let Text(code, enhanced, text) = self;
        Reply::new(code, enhanced, fill(text, request, evidence))
    }

    /// The same for now, because something could not be looked up.
    pub fn put_off(self, request: &Request) -> Reply {
        let Text(_, enhanced, text) = self;
        let enhanced = format!("4{}", enhanced.get(1..).unwrap_or(".3.0"));
        let text = fill(text, request, "").trim_end_matches([':', ' ']).to_owned();
        Reply::new(450, &enhanced, format!("{text}: temporary failure, try again later"))
    }
}

/// Puts values for the names in braces; in one pass, since values come from outside.
fn fill(text: &str, request: &Request, evidence: &str) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let domain = |address: &str| address.rsplit_once('@').map_or("", |(_, domain)| domain).to_owned();
        let value = match name {
            "client" => client(request),
            "helo" => request.session.helo.clone(),
            "sender" => request.sender.to_owned(),
            "sender_domain" => domain(request.sender),
            "recipient" => recipient(request),
            "recipient_domain" => domain(&recipient(request)),
            _ => evidence.to_owned(),
        };
        filled.extend(value.chars().map(|c| if c.is_control() { '?' } else { c }));
        rest = after;
    }
    filled + rest
}

fn client(request: &Request) -> String {
    request.session.client.map(|client| client.to_string()).unwrap_or_else(|| "unknown".into())
}

fn recipient(request: &Request) -> String {
    request.recipient.map(|recipient| recipient.address.to_string()).unwrap_or_default()
}
