//! What a restriction looks up for a client, a name or an address, in which order: Postfix's (access(5)) and Sendmail's
//! (check_relay, check_mail and check_rcpt of cf.m4).

use std::net::{IpAddr, Ipv6Addr};

use gatepost_mail::Address;

use super::Form;

/// What is looked up.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A client by its name, if it has one, and its address.
    Client(Option<&'a str>, IpAddr),
    /// A name: HELO, a mail exchanger.
    Name(&'a str),
    /// An address by itself.
    Net(IpAddr),
    /// An envelope sender; None: the empty one.
    Sender(Option<&'a Address>),
    /// A recipient.
    Recipient(&'a Address),
}

/// How keys are made.
#[derive(Clone, Debug)]
pub struct Style {
    /// `example.org` matches its subdomains, too; else `.example.org` does (parent_domain_matches_subdomains).
    pub parents: bool,
    /// Key of the empty sender (smtpd_null_access_lookup_key).
    pub null_sender: String,
    /// What parts a local part from its extension (recipient_delimiter): any of these characters.
    pub delimiter: String,
}

impl Default for Style {
    fn default() -> Style {
        Style { parents: true, null_sender: "<>".into(), delimiter: "+".into() }
    }
}

/// Longest list of keys; a name of many labels has no more parents than this.
const MOST: usize = 128;

/// The keys, in the order in which they are tried; the first that is found decides.
pub fn keys(form: Form, subject: Subject<'_>, style: &Style) -> Vec<String> {
    let mut keys = Keys { all: Vec::new(), whole: form.is_pattern() };
    match form {
        Form::Sendmail => sendmail(&mut keys, subject, style),
        _ => postfix(&mut keys, subject, style),
    }
    keys.all.truncate(MOST);
    keys.all
}

/// The keys of a recipient in tables of recipients: virtual_alias_maps, relay_recipient_maps; Sendmail's virtusertable.
pub fn recipient_keys(form: Form, address: &Address, style: &Style) -> Vec<String> {
    let (local, domain) = (address.local(), address.domain());
    let at = |local: &str| format!("{local}@{domain}");
    let mut all = vec![address.to_string()];
    if form.is_pattern() {
        return all;
    }
    let bare = extension(local, &style.delimiter);
    if form == Form::Virtusertable {
        match bare.filter(|_| style.delimiter.contains('+')) {
            Some((user, detail)) => {
                all.extend((!detail.is_empty()).then(|| at(&format!("{user}++"))));
                all.extend([at(&format!("{user}+*")), at(user)]);
                all.extend((!detail.is_empty()).then(|| at("++")));
                all.extend([at("+*"), at("")]);
            }
            None => all.push(at("")),
        }
        return all;
    }
    all.extend(bare.map(|(user, _)| at(user)));
    if domain.is_empty() { all } else { all.into_iter().chain([at("")]).collect() }
}

/// A local part without its extension, and the extension. What begins with the delimiter has none, and neither have the
/// addresses that Postfix never splits.
pub fn extension<'a>(local: &'a str, delimiter: &str) -> Option<(&'a str, &'a str)> {
    let never =
        ["mailer-daemon", "double-bounce", "postmaster"].iter().any(|name| local.eq_ignore_ascii_case(name));
    // An owner or a request of a list is itself (owner_request_special).
    let list = local.len() > 6 && local.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("owner-"))
        || local.len() > 8
            && local.get(local.len() - 8..).is_some_and(|tail| tail.eq_ignore_ascii_case("-request"));
    if never || list && delimiter.contains('-') {
        return None;
    }
    let place = local.find(|c| delimiter.contains(c)).filter(|place| *place > 0)?;
    let length = local[place..].chars().next().map_or(1, char::len_utf8);
    Some((&local[..place], &local[place + length..]))
}

struct Keys {
    all: Vec<String>,
    /// Only whole keys are of use.
    whole: bool,
}

impl Keys {
    fn whole(&mut self, key: impl Into<String>) {
        self.all.push(key.into());
    }

    fn part(&mut self, key: impl Into<String>) {
        if !self.whole {
            self.all.push(key.into());
        }
    }

    /// A name and its parents.
    fn domain(&mut self, name: &str, style: &Style) {
        let mut rest = name;
        while !rest.is_empty() {
            if rest.len() == name.len() {
                self.whole(rest)
            } else {
                self.part(rest)
            }
            // A name that is an address has no parents.
            if name.parse::<IpAddr>().is_ok() || self.all.len() > MOST {
                break;
            }
            let Some(dot) = rest.char_indices().skip(1).find(|(_, c)| *c == '.').map(|(place, _)| place)
            else {
                break;
            };
            rest = &rest[dot + usize::from(style.parents)..];
        }
    }

    /// An address and the networks that its beginnings stand for.
    fn net(&mut self, address: IpAddr) {
        let text = address.to_string();
        let delimiter = if text.contains(':') { ':' } else { '.' };
        let mut rest = text.as_str();
        self.whole(rest);
        while let Some((parent, _)) = rest.rsplit_once(delimiter) {
            rest = parent;
            if !rest.is_empty() {
                self.part(rest);
            }
        }
    }
}

fn postfix(keys: &mut Keys, subject: Subject<'_>, style: &Style) {
    match subject {
        Subject::Client(name, address) => {
            keys.domain(name.unwrap_or("unknown"), style);
            keys.net(address);
        }
        Subject::Name(name) => keys.domain(name, style),
        Subject::Net(address) => keys.net(address),
        Subject::Sender(None) => keys.whole(style.null_sender.clone()),
        Subject::Sender(Some(address)) | Subject::Recipient(address) => mail(keys, address, style),
    }
}

/// user+ext@domain, user@domain, domain and its parents, user+ext@, user@.
fn mail(keys: &mut Keys, address: &Address, style: &Style) {
    let (local, domain) = (address.local(), address.domain());
    let bare = extension(local, &style.delimiter);
    keys.whole(address.to_string());
    if domain.is_empty() {
        return;
    }
    if let Some((user, _)) = bare {
        keys.part(format!("{user}@{domain}"));
    }
    if !keys.whole {
        keys.domain(domain, style);
    }
    keys.part(format!("{local}@"));
    if let Some((user, _)) = bare {
        keys.part(format!("{user}@"));
    }
}

fn sendmail(keys: &mut Keys, subject: Subject<'_>, style: &Style) {
    let mut plain = Keys { all: Vec::new(), whole: false };
    let parents = Style { parents: true, ..style.clone() };
    let tag = match subject {
        Subject::Client(name, address) => {
            if let Some(name) = name {
                plain.domain(name, &parents);
            }
            sendmail_net(&mut plain, address);
            "connect"
        }
        Subject::Name(name) => {
            plain.domain(name, &parents);
            ""
        }
        Subject::Net(address) => {
            sendmail_net(&mut plain, address);
            ""
        }
        Subject::Sender(None) => {
            plain.whole("<>");
            "from"
        }
        Subject::Sender(Some(address)) => {
            sendmail_mail(&mut plain, address, &parents);
            "from"
        }
        Subject::Recipient(address) => {
            sendmail_mail(&mut plain, address, &parents);
            "to"
        }
    };
    for key in &plain.all {
        if !tag.is_empty() {
            keys.whole(format!("{tag}:{key}"));
        }
        keys.whole(key.clone());
    }
    if let Subject::Recipient(_) = subject {
        // FEATURE(delay_checks): friends of spam.
        keys.all.extend(plain.all.iter().map(|key| format!("spam:{key}")));
    }
}

/// Octets of IPv4, and all eight groups of IPv6 behind `IPv6:`, as Sendmail writes them.
fn sendmail_net(keys: &mut Keys, address: IpAddr) {
    match address {
        IpAddr::V4(_) => keys.net(address),
        IpAddr::V6(v6) => {
            let groups = groups(v6);
            for count in (1..=groups.len()).rev() {
                keys.whole(format!("ipv6:{}", groups[..count].join(":")));
            }
        }
    }
}

fn groups(address: Ipv6Addr) -> Vec<String> {
    address.segments().iter().map(|group| format!("{group:x}")).collect()
}

/// user+ext@domain, user+*@domain, user@domain; user+ext@, user+*@, user@; domain and its parents.
fn sendmail_mail(keys: &mut Keys, address: &Address, style: &Style) {
    let (local, domain) = (address.local(), address.domain());
    let bare = local.split_once('+').filter(|(user, _)| !user.is_empty());
    let hosts: &[&str] = if domain.is_empty() { &[""] } else { &[domain, ""] };
    for host in hosts {
        keys.whole(format!("{local}@{host}"));
        if let Some((user, _)) = bare {
            keys.whole(format!("{user}+*@{host}"));
            keys.whole(format!("{user}@{host}"));
        }
    }
    if !domain.is_empty() {
        keys.domain(domain, style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(form: Form, subject: Subject<'_>, style: &Style) -> String {
        keys(form, subject, style).join(" ")
    }

    #[test]
    fn keys_of_postfix() {
        let (parents, dots) = (Style::default(), Style { parents: false, ..Style::default() });
        let client: IpAddr = "192.0.2.10".parse().unwrap();
        let six: IpAddr = "2001:db8::5:1".parse().unwrap();
        let address = Address::new("User+ext@mail.example.org").unwrap();
        let postmaster = Address::new("postmaster").unwrap();
        for (subject, style, expected) in [
            (
                Subject::Client(Some("mail.example.org"), client),
                &parents,
                "mail.example.org example.org org 192.0.2.10 192.0.2 192.0 192",
            ),
            (Subject::Client(None, six), &dots, "unknown 2001:db8::5:1 2001:db8::5 2001:db8: 2001:db8 2001"),
            (Subject::Name("mail.example.org"), &dots, "mail.example.org .example.org .org"),
            (Subject::Name("mail.example.org."), &parents, "mail.example.org. example.org. org."),
            (Subject::Name("192.0.2.1"), &parents, "192.0.2.1"),
            (
                Subject::Sender(Some(&address)),
                &parents,
                "User+ext@mail.example.org User@mail.example.org mail.example.org example.org org User+ext@ User@",
            ),
            (
                Subject::Recipient(&address),
                &dots,
                "User+ext@mail.example.org User@mail.example.org mail.example.org .example.org .org User+ext@ User@",
            ),
            (Subject::Sender(None), &parents, "<>"),
            (Subject::Recipient(&postmaster), &parents, "postmaster"),
        ] {
            assert_eq!(joined(Form::Hash, subject, style), expected);
        }
        for (subject, expected) in [
            (Subject::Client(Some("mail.example.org"), client), "mail.example.org 192.0.2.10"),
            (Subject::Recipient(&address), "User+ext@mail.example.org"),
        ] {
            assert_eq!(joined(Form::Regexp, subject, &parents), expected);
        }
    }

    #[test]
    fn keys_of_sendmail() {
        let style = Style { parents: false, ..Style::default() };
        let address = Address::new("u+x@a.example").unwrap();
        for (subject, expected) in [
            (
                Subject::Client(Some("a.example"), "192.0.2.1".parse().unwrap()),
                "connect:a.example a.example connect:example example connect:192.0.2.1 192.0.2.1 connect:192.0.2 192.0.2 \
                 connect:192.0 192.0 connect:192 192",
            ),
            (
                Subject::Sender(Some(&address)),
                "from:u+x@a.example u+x@a.example from:u+*@a.example u+*@a.example from:u@a.example u@a.example \
                 from:u+x@ u+x@ from:u+*@ u+*@ from:u@ u@ from:a.example a.example from:example example",
            ),
            (Subject::Sender(None), "from:<> <>"),
        ] {
            assert_eq!(joined(Form::Sendmail, subject, &style), expected);
        }
        let six = joined(Form::Sendmail, Subject::Net("2001:db8::1".parse().unwrap()), &style);
        assert!(six.starts_with("ipv6:2001:db8:0:0:0:0:0:1 ipv6:2001:db8:0:0:0:0:0 "), "{six}");
        let to = joined(Form::Sendmail, Subject::Recipient(&address), &style);
        assert!(to.starts_with("to:u+x@a.example u+x@a.example") && to.contains("spam:u@a.example"), "{to}");
    }

    #[test]
    fn keys_of_recipients() {
        let style = Style::default();
        for (form, address, expected) in [
            (Form::Hash, "u+x@a.example", "u+x@a.example u@a.example @a.example"),
            (Form::Hash, "u@a.example", "u@a.example @a.example"),
            (Form::Pcre, "u+x@a.example", "u+x@a.example"),
            (Form::Virtusertable, "u@a.example", "u@a.example @a.example"),
            (
                Form::Virtusertable,
                "u+x@a.example",
                "u+x@a.example u++@a.example u+*@a.example u@a.example ++@a.example +*@a.example @a.example",
            ),
        ] {
            let address = Address::new(address).unwrap();
            assert_eq!(recipient_keys(form, &address, &style).join(" "), expected, "{address}");
        }
        for (local, delimiter, expected) in [
            ("u+x", "+", Some(("u", "x"))),
            ("u+", "+", Some(("u", ""))),
            ("+u", "+", None),
            ("u-x", "+-", Some(("u", "x"))),
            ("owner-list", "-", None),
            ("list-request", "-", None),
            ("owner-list+x", "+", Some(("owner-list", "x"))),
            ("Mailer-Daemon", "-", None),
            ("u", "", None),
        ] {
            assert_eq!(extension(local, delimiter), expected, "{local}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_has_few_keys(name in "[a-c.@+]{0,300}") {
            for form in [Form::Hash, Form::Sendmail] {
                proptest::prop_assert!(keys(form, Subject::Name(&name), &Style::default()).len() <= MOST);
                if let Some(address) = Address::new(&name) {
                    proptest::prop_assert!(keys(form, Subject::Recipient(&address), &Style::default()).len() <= MOST);
                    let _ = recipient_keys(Form::Virtusertable, &address, &Style::default());
                }
            }
        }
    }
}
