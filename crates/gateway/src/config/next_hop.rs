//! Where mail goes: the forms of a next hop.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A next hop, as written in `next_hop` and `release_to`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// An SMTP server: `smtp://host:port`, `smtp+starttls://host:port`, `smtps://host:port`.
    Smtp {
        /// Name or address (IPv6 without brackets).
        host: String,
        /// Port; 25 if not given, 465 with `smtps`.
        port: u16,
        /// How the connection is protected.
        tls: NextHopTls,
    },
    /// An LMTP server over TCP: `lmtp://host:port`.
    LmtpTcp {
        /// Name or address (IPv6 without brackets).
        host: String,
        /// Port; 24 if not given.
        port: u16,
    },
    /// An LMTP server on a unix socket: `lmtp:/path` or `lmtp:unix:/path`.
    LmtpUnix(PathBuf),
    /// A Maildir folder: `maildir:/folder`.
    Maildir(PathBuf),
}

/// How a connection to a next hop is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHopTls {
    /// Plain text.
    None,
    /// STARTTLS, and no mail without it (RFC 3207).
    StartTls,
    /// TLS from the first byte (RFC 8314 section 3).
    Implicit,
}

const FORMS: &str = "smtp://host:port, smtps://host:port, smtp+starttls://host:port, lmtp://host:port, \
                     lmtp:/path/to/socket or maildir:/folder";

impl FromStr for NextHop {
    type Err = String;

    fn from_str(text: &str) -> Result<NextHop, String> {
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(format!("{text:?} is not a next hop; write {FORMS}"));
        };
        let smtp = |tls, default_port| {
            host_and_port(text, rest, default_port).map(|(host, port)| NextHop::Smtp { host, port, tls })
        };
        match scheme {
            "smtp" => smtp(NextHopTls::None, 25),
            "smtp+starttls" => smtp(NextHopTls::StartTls, 25),
            "smtps" => smtp(NextHopTls::Implicit, 465),
            "lmtp" if rest.starts_with("//") => {
                host_and_port(text, rest, 24).map(|(host, port)| NextHop::LmtpTcp { host, port })
            }
            "lmtp" => {
                let path = rest.strip_prefix("unix:").unwrap_or(rest);
                if path.starts_with('/') {
                    Ok(NextHop::LmtpUnix(path.into()))
                } else {
                    Err(format!(
                        "{text:?}: write lmtp://host:port, or lmtp:/path/to/socket with a whole path"
                    ))
                }
            }
            "maildir" if !rest.is_empty() => Ok(NextHop::Maildir(rest.into())),
            "maildir" => Err(format!("{text:?} names no folder; write maildir:/folder")),
            _ => Err(format!("{text:?} is not a next hop; write {FORMS}")),
        }
    }
}

/// As it is written, port included.
impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NextHop::Smtp { host, port, tls } => {
                let scheme = match tls {
                    NextHopTls::None => "smtp",
                    NextHopTls::StartTls => "smtp+starttls",
                    NextHopTls::Implicit => "smtps",
                };
                write!(f, "{scheme}://{}:{port}", Bracketed(host))
            }
            NextHop::LmtpTcp { host, port } => write!(f, "lmtp://{}:{port}", Bracketed(host)),
            NextHop::LmtpUnix(path) => write!(f, "lmtp:{}", path.display()),
            NextHop::Maildir(path) => write!(f, "maildir:{}", path.display()),
        }
    }
}

/// An IPv6 address in brackets, anything else as it is.
struct Bracketed<'a>(&'a str);

impl fmt::Display for Bracketed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

/// Reads `//host`, `//host:port`, `//[address]:port`, each with an optional `/` behind it.
fn host_and_port(text: &str, rest: &str, default_port: u16) -> Result<(String, u16), String> {
    let wrong =
        |why: &str| format!("{text:?}: {why}; write {}://host:port", text.split(':').next().unwrap_or(""));
    let authority = rest.strip_prefix("//").ok_or_else(|| wrong("// is missing behind the scheme"))?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = if let Some(inner) = authority.strip_prefix('[') {
        let (host, port) = inner.split_once(']').ok_or_else(|| wrong("the bracket is not closed"))?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong("brackets are for IPv6 addresses"))?;
        match port.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if port.is_empty() => (host, None),
            None => return Err(wrong("a colon is missing before the port")),
        }
    } else if authority.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err(wrong("an IPv6 address stands in brackets"));
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let host_is_valid = !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte));
    if !host_is_valid {
        return Err(wrong("that is not a host name or address"));
    }
    let port = match port {
        None => default_port,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| wrong("the port is a number from 1 to 65535"))?,
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown() {
        for (text, shown) in [
            ("smtp://127.0.0.1:10026", "smtp://127.0.0.1:10026"),
            ("smtp://mail.example.org", "smtp://mail.example.org:25"),
            ("smtp://mail.example.org:26/", "smtp://mail.example.org:26"),
            ("smtp://[::1]:10026", "smtp://[::1]:10026"),
            ("smtps://[2001:db8::1]", "smtps://[2001:db8::1]:465"),
            ("smtp+starttls://mail.example.org:587", "smtp+starttls://mail.example.org:587"),
            ("lmtp://localhost", "lmtp://localhost:24"),
            ("lmtp:/run/dovecot/lmtp", "lmtp:/run/dovecot/lmtp"),
            ("lmtp:unix:/run/dovecot/lmtp", "lmtp:/run/dovecot/lmtp"),
            ("maildir:/var/mail/all", "maildir:/var/mail/all"),
            ("maildir:gatepost-data/Maildir", "maildir:gatepost-data/Maildir"),
        ] {
            let hop: NextHop = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(hop.to_string(), shown);
            assert_eq!(shown.parse::<NextHop>().as_ref(), Ok(&hop));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("", "is not a next hop"),
            ("127.0.0.1:25", "is not a next hop"),
            ("http://127.0.0.1:25", "is not a next hop"),
            ("smtp:127.0.0.1", "// is missing"),
            ("smtp://", "not a host name"),
            ("smtp://a b:25", "not a host name"),
            ("smtp://::1", "in brackets"),
            ("smtp://[::1", "not closed"),
            ("smtp://[::1]25", "colon"),
            ("smtp://host:0", "1 to 65535"),
            ("smtp://host:70000", "1 to 65535"),
            ("smtp://host:25/path", "1 to 65535"),
            ("lmtp:run/socket", "whole path"),
            ("maildir:", "no folder"),
        ] {
            let error = text.parse::<NextHop>().expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
