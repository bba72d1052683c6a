//! Who sent a message to whom: facts that an asker gives in the query or in header fields of its request.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use gatepost_mail::{Address, Envelope, Protocol, Recipient, Session};

use super::super::Front;
use super::Failure;

/// Longest value of a fact, in bytes.
const LONGEST: usize = 2000;

/// Facts, under the same names in queries and header fields.
const FACTS: [&str; 6] = ["ip", "helo", "from", "rcpt", "user", "hostname"];
/// What else a query may say.
const OPTIONS: [&str; 3] = ["hold", "split", "file"];

/// What is asked, beside the message.
#[derive(Debug)]
pub(super) struct Ask {
    pub session: Session,
    pub envelope: Envelope,
    /// Do what verdicts say: hold in the vault, keep back. Otherwise it is only an opinion that is asked for.
    pub hold: bool,
    /// The asker can deliver to some recipients and not to others.
    pub split: bool,
    /// What the asker calls the message.
    pub file: String,
}

impl Ask {
    /// By our own API: names that are not known are refused.
    pub fn ours(front: &Front, request: &Parts) -> Result<Ask, Failure> {
        let query = parse_query(request.uri.query().unwrap_or_default())?;
        let unknown = query
            .iter()
            .find(|(name, _)| !FACTS.contains(&name.as_str()) && !OPTIONS.contains(&name.as_str()));
        if let Some((name, _)) = unknown {
            let known = FACTS.into_iter().chain(OPTIONS).collect::<Vec<_>>().join(", ");
            return Err(Failure::bad(format!("there is no parameter {name:?}; there are {known}")));
        }
        Ask::new(front, &Facts { query, headers: &request.headers, of_rspamd: false })
    }

    /// By a client of rspamd: what is not known is passed over, as rspamd does.
    pub fn of_rspamd(front: &Front, request: &Parts) -> Result<Ask, Failure> {
        let query = parse_query(request.uri.query().unwrap_or_default())?;
        Ask::new(front, &Facts { query, headers: &request.headers, of_rspamd: true })
    }

    fn new(front: &Front, facts: &Facts) -> Result<Ask, Failure> {
        let mut session = Session {
            client: facts.client()?,
            client_name: facts.one("hostname")?.filter(|name| name != "unknown"),
            helo: facts.one("helo")?.unwrap_or_default(),
            user: facts.one("user")?,
            protocol: Protocol::Local,
            listener: front.listener.name.clone(),
            ..Session::default()
        };
        let sender = match facts.one("from")? {
            Some(text) => Address::new(bare(&text)),
            None => None,
        };
        let recipients = facts.recipients(front.limits.recipients as usize)?;
        front.direct(&mut session, &recipients);
        let envelope = Envelope { sender, recipients, ..Envelope::default() };
        Ok(Ask {
            session,
            envelope,
            hold: facts.yes_or_no("hold")?,
            split: facts.yes_or_no("split")?,
            file: facts.one("file")?.unwrap_or_else(|| "-".into()),
        })
    }
}

struct Facts<'r> {
    query: Vec<(String, String)>,
    headers: &'r HeaderMap,
    /// Clients of rspamd say `unknown` where they know nothing.
    of_rspamd: bool,
}

impl Facts<'_> {
    /// All values of that name, of the query if it has any.
    fn all(&self, name: &str) -> Result<Vec<String>, Failure> {
        let mut values: Vec<String> =
            self.query.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect();
        if values.is_empty() && FACTS.contains(&name) {
            let fields = self.headers.get_all(name).iter();
            values =
                fields.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned()).collect();
        }
        match values.iter().find(|value| value.len() > LONGEST || value.contains(char::is_control)) {
            Some(_) => Err(Failure::bad(format!(
                "{name} is one line of at most {LONGEST} bytes, without control characters"
            ))),
            None => Ok(values),
        }
    }

    /// The only value; None if there is none or it is empty.
    fn one(&self, name: &str) -> Result<Option<String>, Failure> {
        let mut values = self.all(name)?;
        match values.len() {
            0 | 1 => Ok(values.pop().filter(|value| !value.is_empty())),
            _ => Err(Failure::bad(format!("{name} is given more than once"))),
        }
    }

    fn client(&self) -> Result<Option<IpAddr>, Failure> {
        let Some(text) = self.one("ip")? else { return Ok(None) };
        if self.of_rspamd && text.eq_ignore_ascii_case("unknown") {
            return Ok(None);
        }
        let plain = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(&text);
        let parsed = plain.parse::<IpAddr>();
        parsed
            .map(|ip| Some(ip.to_canonical()))
            .map_err(|_| Failure::bad(format!("ip: {text:?} is no address")))
    }

    fn recipients(&self, most: usize) -> Result<Vec<Recipient>, Failure> {
        let mut recipients = Vec::new();
        let mut given = self.all("rcpt")?;
        if given.is_empty() && self.of_rspamd {
            // Where it is known to whom it goes and not to whom it was sent.
            let field = self.headers.get("deliver-to").map(|value| String::from_utf8_lossy(value.as_bytes()));
            given.extend(field.map(|value| value.trim().to_owned()));
        }
        for text in given.iter().flat_map(|value| split_list(value)) {
            let address = Address::new(bare(text))
                .ok_or_else(|| Failure::bad(format!("rcpt: {text:?} is no address")))?;
            recipients.push(Recipient::from(address));
        }
        if recipients.len() > most {
            return Err(Failure::bad(format!("more than {most} recipients (limits.recipients)")));
        }
        Ok(recipients)
    }

    /// Yes unless it is said to be no.
    fn yes_or_no(&self, name: &str) -> Result<bool, Failure> {
        match self.one(name)?.as_deref() {
            None | Some("yes") => Ok(true),
            Some("no") => Ok(false),
            Some(_) => Err(Failure::bad(format!("{name} is yes or no"))),
        }
    }
}

/// Without angle brackets.
fn bare(text: &str) -> &str {
    text.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(text).trim()
}

/// Some clients give all recipients in one field, parted by commas. A comma in quotes is part of an address.
fn split_list(text: &str) -> Vec<&str> {
    let several = text.contains(',') && !text.contains('"');
    if !several { vec![text] } else { text.split(',').map(str::trim).filter(|one| !one.is_empty()).collect() }
}

/// Names and values, decoded. `+` is itself: addresses have it, and nothing here has spaces.
fn parse_query(query: &str) -> Result<Vec<(String, String)>, Failure> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// Percent-encoding (RFC 3986 section 2.1) of UTF-8.
fn decode(text: &str) -> Result<String, Failure> {
    let wrong = || Failure::bad(format!("the query is not percent-encoded UTF-8 at {text:?}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2).ok_or_else(wrong)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let value = digit(digits[0]).zip(digit(digits[1])).ok_or_else(wrong)?;
        bytes.push((value.0 * 16 + value.1) as u8);
        rest = behind;
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn facts(request: &Request<()>, lenient: bool) -> Facts<'_> {
        let query = parse_query(request.uri().query().unwrap_or_default()).unwrap();
        Facts { query, headers: request.headers(), of_rspamd: lenient }
    }

    fn request(query: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::builder().uri(format!("/v1/scan?{query}"));
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    }

    #[test]
    fn recipients_of_queries_fields_and_lists() {
        for (query, headers, expected) in [
            ("", &[][..], Ok("")),
            ("rcpt=a@x.test&rcpt=%3Cb+c@x.test%3E", &[], Ok("a@x.test b+c@x.test")),
            ("rcpt=a@x.test", &[("Rcpt", "b@x.test")], Ok("a@x.test")),
            ("", &[("Rcpt", "a@x.test"), ("RCPT", "<b@x.test>")], Ok("a@x.test b@x.test")),
            ("", &[("Rcpt", "a@x.test, b@x.test,")], Ok("a@x.test b@x.test")),
            ("", &[("Rcpt", "\"a,b\"@x.test")], Ok("\"a,b\"@x.test")),
            ("", &[("Deliver-To", "a@x.test")], Ok("a@x.test")),
            ("", &[("Deliver-To", "a@x.test"), ("Rcpt", "b@x.test")], Ok("b@x.test")),
            ("rcpt=", &[], Err("no address")),
            ("rcpt=%3C%3E", &[], Err("no address")),
            ("rcpt=a&rcpt=b&rcpt=c&rcpt=d", &[], Err("more than 3")),
            ("rcpt=a%0Ab", &[], Err("control characters")),
        ] {
            let request = request(query, headers);
            match (facts(&request, true).recipients(3), expected) {
                (Ok(found), Ok(expected)) => {
                    let found: Vec<String> = found.iter().map(|one| one.address.to_string()).collect();
                    assert_eq!(found.join(" "), expected, "{query} {headers:?}");
                }
                (Err(failure), Err(part)) => assert!(failure.error.contains(part), "{}", failure.error),
                (found, _) => panic!("{query} {headers:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn clients_and_switches() {
        for (query, name, expected) in [
            ("ip=192.0.2.1", "ip", "Some(192.0.2.1)"),
            ("ip=%5B2001:db8::1%5D", "ip", "Some(2001:db8::1)"),
            ("ip=::ffff:192.0.2.1", "ip", "Some(192.0.2.1)"),
            ("ip=", "ip", "None"),
            ("ip=192.0.2", "ip", "ip: \"192.0.2\" is no address"),
            ("ip=1.1.1.1&ip=2.2.2.2", "ip", "ip is given more than once"),
            ("hold=no", "hold", "false"),
            ("hold=yes", "hold", "true"),
            ("", "hold", "true"),
            ("hold=maybe", "hold", "hold is yes or no"),
        ] {
            let request = request(query, &[]);
            let facts = facts(&request, false);
            let found = match name {
                "ip" => facts.client().map(|client| format!("{client:?}")),
                _ => facts.yes_or_no(name).map(|yes| yes.to_string()),
            };
            assert_eq!(found.unwrap_or_else(|failure| failure.error), expected, "{query}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        for (query, expected) in [
            ("a=%41%e2%82%ac&b", Some("a=A€ b=")),
            ("a=b=c&&", Some("a=b=c")),
            ("a=x+y", Some("a=x+y")),
            ("a=%4", None),
            ("a=%zz", None),
            ("a=%+1", None),
            ("a=%ff", None),
        ] {
            let found = parse_query(query).ok();
            let found = found.map(|pairs| {
                pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(found.as_deref(), expected, "{query}");
        }
    }
}
