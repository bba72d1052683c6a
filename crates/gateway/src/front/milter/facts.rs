//! From commands and macros to session and envelope.

use std::borrow::Cow;

use bytes::Bytes;
use gatepost_mail::{Address, Envelope, Parameters, Protocol, Recipient, Session, Tls};
use gatepost_milter::{Connect, Macros, Peer};

use crate::front::Front;

/// Before anybody has connected.
pub(super) fn nobody(front: &Front) -> Session {
    Session { listener: front.listener.name.clone(), protocol: Protocol::Esmtp, ..Session::default() }
}

/// Who has connected to the mail server.
pub(super) fn client(front: &Front, connect: &Connect, macros: &Macros) -> Session {
    let mut session = nobody(front);
    if let Peer::Inet(address, port) = connect.peer {
        session.client = Some(address.to_canonical());
        session.port = port;
    }
    // Where the name does not lead back to the address, anybody may have given it.
    let resolved = macros.text("client_resolve").is_none_or(|resolved| resolved == "OK");
    let name = String::from_utf8_lossy(&connect.host);
    let known = resolved && !name.is_empty() && name != "unknown" && !name.starts_with('[');
    session.client_name = known.then(|| name.trim_end_matches('.').to_owned());
    session
}

/// Mail that a program of the mail server's own host has handed in without SMTP. For it, Postfix (`non_smtpd_milters`)
/// acts as if a client had connected from 127.0.0.1, port 0, which no client does. Whatever is refused at RCPT then is
/// never delivered and never refused: it waits in the queue until it is too old.
pub(super) fn is_local_submission(session: &Session) -> bool {
    session.port == 0 && session.client.is_some_and(|client| client.is_loopback())
}

/// TLS, as soon as the mail server tells of it.
pub(super) fn tls(session: &mut Session, macros: &Macros) {
    session.tls = macros.text("tls_version").map(|version| Tls {
        version: version.into_owned(),
        cipher: macros.text("cipher").unwrap_or_default().into_owned(),
    });
}

/// Who has authenticated for the message that begins, if anybody, and how the client speaks.
pub(super) fn user(session: &mut Session, macros: &Macros) {
    if session.tls.is_none() {
        tls(session, macros);
    }
    session.user = macros.text("auth_authen").map(Cow::into_owned);
    session.protocol = match macros.text("r").as_deref() {
        Some("SMTP") => Protocol::Smtp,
        Some("LMTP") => Protocol::Lmtp,
        _ => Protocol::Esmtp,
    };
}

/// The sender with parameters.
pub(super) fn envelope(arguments: &[Bytes]) -> Envelope {
    let mut parameters = Parameters::default();
    for argument in arguments.iter().skip(1) {
        let text = String::from_utf8_lossy(argument);
        let (keyword, value) = text.split_once('=').unwrap_or((&text, ""));
        match (keyword.to_ascii_uppercase().as_str(), value.to_ascii_uppercase().as_str()) {
            ("SIZE", _) => parameters.size = value.parse().ok(),
            ("BODY", "7BIT") => {}
            ("BODY", "8BITMIME") => parameters.eight_bit = true,
            ("SMTPUTF8", _) => parameters.smtputf8 = true,
            _ => parameters.other.push(text.into_owned()),
        }
    }
    let sender = arguments.first().and_then(|argument| address(argument));
    Envelope { sender, parameters, recipients: Vec::new() }
}

/// A recipient with parameters; None for none.
pub(super) fn recipient(arguments: &[Bytes]) -> Option<Recipient> {
    let (first, parameters) = arguments.split_first()?;
    let text = |argument: &Bytes| String::from_utf8_lossy(argument).into_owned();
    Some(Recipient { address: address(first)?, parameters: parameters.iter().map(text).collect() })
}

/// `<a@example.org>`, `a@example.org`, and with a route of old: `<@relay,@other:a@example.org>`.
fn address(argument: &[u8]) -> Option<Address> {
    let text = String::from_utf8_lossy(argument);
    let text = text.trim();
    let text = text.strip_prefix('<').map_or(text, |text| text.strip_suffix('>').unwrap_or(text));
    let text = match text.starts_with('@') {
        true => text.split_once(':').map_or(text, |(_, address)| address),
        false => text,
    };
    Address::new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &'static [&'static str]) -> Vec<Bytes> {
        text.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
    }

    #[test]
    fn addresses_as_mail_servers_write_them() {
        for (text, expected) in [
            ("<a@example.org>", Some("a@example.org")),
            ("a@example.org", Some("a@example.org")),
            (" <a@example.org> ", Some("a@example.org")),
            ("<@relay.test,@b.test:a@example.org>", Some("a@example.org")),
            ("<\"a b\"@example.org>", Some("\"a b\"@example.org")),
            ("<postmaster>", Some("postmaster")),
            ("<\u{e9}@example.org>", Some("\u{e9}@example.org")),
            ("<>", None),
            ("", None),
        ] {
            let found = address(text.as_bytes()).map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn parameters_of_mail_and_rcpt() {
        let mail =
            envelope(&arguments(&["<a@b.test>", "SIZE=1000", "body=8bitmime", "SMTPUTF8", "RET=HDRS"]));
        let parameters = mail.parameters;
        assert_eq!(mail.sender.map(|sender| sender.to_string()).as_deref(), Some("a@b.test"));
        assert_eq!((parameters.size, parameters.eight_bit, parameters.smtputf8), (Some(1000), true, true));
        assert_eq!(parameters.other, ["RET=HDRS"]);
        assert_eq!(envelope(&arguments(&["<>", "SIZE=x"])).sender, None);
        let rcpt = recipient(&arguments(&["<c@d.test>", "NOTIFY=NEVER"])).unwrap();
        assert_eq!(
            (rcpt.address.to_string().as_str(), rcpt.parameters),
            ("c@d.test", vec!["NOTIFY=NEVER".into()])
        );
        assert_eq!(recipient(&arguments(&["<>"])), None);
        assert_eq!(recipient(&[]), None);
    }
}
