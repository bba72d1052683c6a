//! Where mail comes in: the forms of a listening address.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on, as written in `listen`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `127.0.0.1:2525`, `[::]:25`. Port 0: any that is free.
    Tcp(SocketAddr),
    /// `unix:/run/gatepost/lmtp.sock`.
    Unix(PathBuf),
    /// `systemd:NAME`: a socket handed over by systemd whose `FileDescriptorName` is NAME.
    Systemd(String),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenAddress, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') {
                Ok(ListenAddress::Unix(path.into()))
            } else {
                Err(format!("{text:?}: write unix:/path/to/socket with a whole path"))
            };
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            return if name.is_empty() || name.contains(':') {
                Err(format!("{text:?}: write systemd:NAME with the socket unit's FileDescriptorName"))
            } else {
                Ok(ListenAddress::Systemd(name.to_owned()))
            };
        }
        text.parse().map(ListenAddress::Tcp).map_err(|_| {
            let forms = "127.0.0.1:2525, [::]:25, unix:/path/to/socket or systemd:NAME";
            if text.parse::<std::net::IpAddr>().is_ok() {
                format!("{text:?} has no port; write {forms}")
            } else {
                format!("{text:?} is not an address to listen on; write {forms}")
            }
        })
    }
}

/// As it is written.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            ListenAddress::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown() {
        for text in ["127.0.0.1:2525", "[::]:25", "0.0.0.0:0", "unix:/run/gatepost/lmtp.sock", "systemd:smtp"]
        {
            assert_eq!(text.parse::<ListenAddress>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("", "not an address"),
            ("25", "not an address"),
            ("localhost:25", "not an address"),
            ("127.0.0.1", "no port"),
            ("::1", "no port"),
            ("127.0.0.1:99999", "not an address"),
            ("unix:socket", "whole path"),
            ("systemd:", "FileDescriptorName"),
        ] {
            let error = text.parse::<ListenAddress>().expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
