//! What Postfix sends, what others send, and what nobody should.

use super::*;

/// All attributes that Postfix 3.12 sends, with values that cannot be mistaken for one another.
const ALL: &str = "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n\
    client_address=192.0.2.9\nclient_name=mx.client.test\nclient_port=40123\nreverse_client_name=ptr.client.test\n\
    server_address=2001:db8::25\nserver_port=25\nhelo_name=helo.client.test\nsender=a@sender.test\n\
    recipient=b@recipient.test\nrecipient_count=3\nqueue_id=8045F2AB23\ninstance=71b0.4aee5b5f.7aaef.0\nsize=12345\n\
    etrn_domain=etrn.test\nstress=yes\nsasl_method=plain\nsasl_username=you\nsasl_sender=s@sender.test\n\
    ccert_subject=solaris9.porcupine.org\nccert_issuer=Wietse+20Venema\nccert_fingerprint=C2:9D\n\
    ccert_pubkey_fingerprint=68:B3\nencryption_protocol=TLSv1.3\nencryption_cipher=TLS_AES_256_GCM_SHA384\n\
    encryption_keysize=256\ntls_sni=mail.test\npolicy_context=submission\ncompatibility_level=3.6\n\
    mail_version=3.10.2\nfuture=a=b\n\n";

fn read(input: &str) -> Result<Option<Result<Request, RequestError>>, ReadError> {
    Reader::new().next(&mut BytesMut::from(input))
}

fn request(lines: &str) -> Result<Request, RequestError> {
    read(&format!("{lines}\n")).expect("a readable request").expect("a whole request")
}

#[test]
fn every_attribute_has_its_place() {
    let expected = Request {
        state: State::Rcpt,
        protocol_name: "ESMTP".into(),
        client_address: "192.0.2.9".parse().ok(),
        client_name: Some("mx.client.test".into()),
        reverse_client_name: Some("ptr.client.test".into()),
        client_port: 40123,
        server_address: "2001:db8::25".parse().ok(),
        server_port: 25,
        helo_name: "helo.client.test".into(),
        sender: "a@sender.test".into(),
        recipient: "b@recipient.test".into(),
        recipient_count: 3,
        queue_id: "8045F2AB23".into(),
        instance: "71b0.4aee5b5f.7aaef.0".into(),
        size: 12345,
        etrn_domain: "etrn.test".into(),
        stress: true,
        sasl_method: "plain".into(),
        sasl_username: "you".into(),
        sasl_sender: "s@sender.test".into(),
        ccert_subject: "solaris9.porcupine.org".into(),
        ccert_issuer: "Wietse Venema".into(),
        ccert_fingerprint: "C2:9D".into(),
        ccert_pubkey_fingerprint: "68:B3".into(),
        encryption_protocol: "TLSv1.3".into(),
        encryption_cipher: "TLS_AES_256_GCM_SHA384".into(),
        encryption_keysize: 256,
        tls_sni: "mail.test".into(),
        policy_context: "submission".into(),
        compatibility_level: "3.6".into(),
        mail_version: "3.10.2".into(),
        other: vec![("future".into(), "a=b".into())],
    };
    assert_eq!(read(ALL), Ok(Some(Ok(expected.clone()))));
    assert_eq!(read(&ALL.replace('\n', "\r\n")), Ok(Some(Ok(expected))), "CRLF");
}

#[test]
fn states() {
    for name in ["CONNECT", "EHLO", "HELO", "MAIL", "RCPT", "DATA", "END-OF-MESSAGE", "VRFY", "ETRN"] {
        let request = request(&format!("request=smtpd_access_policy\nprotocol_state={name}\n")).unwrap();
        assert!(!matches!(request.state, State::Other(_)), "{name}");
        assert_eq!(request.state.name(), name);
    }
    for (line, expected) in [
        ("", State::Rcpt),
        ("protocol_state=\n", State::Rcpt),
        ("protocol_state=XYZ\n", State::Other("XYZ".into())),
    ] {
        assert_eq!(request(&format!("request=smtpd_access_policy\n{line}")).unwrap().state, expected);
    }
}

#[test]
fn what_is_not_known_and_what_is_odd() {
    let odd = "request=smtpd_access_policy\nclient_name=unknown\nreverse_client_name=unknown\nclient_address=unknown\n\
        client_port=unknown\nserver_address=fe80::1%eth0\nsize=\nstress=\nsender=first@a.test\nsender=last@a.test\n\
        ccert_subject=50+\nhelo_name=a\x1b[31mb\n";
    let expected = Request {
        sender: "last@a.test".into(),
        server_address: "fe80::1".parse().ok(),
        ccert_subject: "50+".into(),
        helo_name: "a\u{fffd}[31mb".into(),
        ..Request::default()
    };
    assert_eq!(request(odd), Ok(expected));
    let mut bytes = BytesMut::from(&b"request=smtpd_access_policy\nsender=J\xfcrg@a.test\n\n"[..]);
    let read = Reader::new().next(&mut bytes).unwrap().unwrap().unwrap();
    assert_eq!(read.sender, "J\u{fffd}rg@a.test");
}

#[test]
fn broken_requests() {
    use RequestError::*;
    for (lines, expected) in [
        ("", Missing("request")),
        ("sender=a@b.test\n", Missing("request")),
        ("request=\n", Missing("request")),
        ("request=junk\n", Unknown("junk".into())),
        ("request=smtpd_access_policy\nnonsense\n", NoAttribute("nonsense".into())),
        ("request=smtpd_access_policy\n=x\n", NoAttribute("=x".into())),
        ("request=smtpd_access_policy\nsender=a\0b\n", NoAttribute("sender=a\u{fffd}b".into())),
        ("request=smtpd_access_policy\nclient_address=1.2.3\n", Bad("client_address")),
        ("request=smtpd_access_policy\nserver_address=::g\n", Bad("server_address")),
        ("request=smtpd_access_policy\nclient_port=65536\n", Bad("client_port")),
        ("request=smtpd_access_policy\nsize=-1\n", Bad("size")),
        ("request=smtpd_access_policy\nrecipient_count=x\n", Bad("recipient_count")),
        ("request=smtpd_access_policy\nencryption_keysize=2b\n", Bad("encryption_keysize")),
    ] {
        assert_eq!(request(lines), Err(expected), "{lines:?}");
    }
    // The next one is read all the same.
    let mut buf = BytesMut::from(format!("nonsense\n\n{ALL}").as_str());
    let mut reader = Reader::new();
    assert!(matches!(reader.next(&mut buf), Ok(Some(Err(NoAttribute(_))))));
    assert!(matches!(reader.next(&mut buf), Ok(Some(Ok(_)))));
    assert_eq!(reader.next(&mut buf), Ok(None));
}

#[test]
fn limits() {
    let long = "x".repeat(LINE_LIMIT);
    let attribute = format!("a={}\n", "x".repeat(1000));
    for (input, expected) in [
        (format!("{long}\n"), Ok(None)),
        (format!("{long}x"), Err(ReadError::LineTooLong)),
        (format!("{long}x\n\n"), Err(ReadError::LineTooLong)),
        ("a=b\n".repeat(LINES_LIMIT), Ok(None)),
        ("a=b\n".repeat(LINES_LIMIT + 1), Err(ReadError::RequestTooLong)),
        (attribute.repeat(REQUEST_LIMIT / attribute.len()), Ok(None)),
        (attribute.repeat(REQUEST_LIMIT / attribute.len() + 1), Err(ReadError::RequestTooLong)),
    ] {
        assert_eq!(read(&input), expected, "{} octets", input.len());
    }
    // One octet at a time costs no more than all at once: what was looked through is not looked through again.
    let (mut reader, mut buf, mut requests) = (Reader::new(), BytesMut::new(), 0);
    for octet in ALL.repeat(3).bytes() {
        buf.extend_from_slice(&[octet]);
        requests += usize::from(reader.next(&mut buf).unwrap().is_some());
        assert!(buf.is_empty() || reader.seen == buf.len());
    }
    assert_eq!((requests, buf.len()), (3, 0));
}

#[test]
fn answers() {
    let text = |text: &str| text.to_owned();
    for (action, expected) in [
        (Action::Dunno, "DUNNO"),
        (Action::Ok, "OK"),
        (Action::Reply(550, text("5.7.1"), text("No (id x)")), "550 5.7.1 No (id x)"),
        (Action::Reply(451, text(""), text("")), "451 Access denied"),
        (Action::Reply(250, text("2.0.0"), text("a")), "400 2.0.0 a"),
        (Action::Reject(text("a\r\nb")), "REJECT a b"),
        (Action::Reject(text("a\n\naction=OK\n\n")), "REJECT a action=OK"),
        (Action::Defer(text("")), "DEFER"),
        (Action::DeferIfPermit(text("4.2.0 Greylisted")), "DEFER_IF_PERMIT 4.2.0 Greylisted"),
        (Action::DeferIfReject(text("x")), "DEFER_IF_REJECT x"),
        (Action::Discard(text("x")), "DISCARD x"),
        (Action::Hold(text("x")), "HOLD x"),
        (Action::Redirect(text("a@b.test")), "REDIRECT a@b.test"),
        (Action::Bcc(text("a@b.test")), "BCC a@b.test"),
        (Action::Filter(text("smtp:[a]:25")), "FILTER smtp:[a]:25"),
        (Action::Warn(text("x")), "WARN x"),
        (Action::Info(text("x")), "INFO x"),
        (Action::Prepend(text("X-A"), text("b;\r\n\t c")), "PREPEND X-A: b; c"),
        (Action::Prepend(text("X-A"), text("")), "PREPEND X-A:"),
        (Action::Prepend(text("X A"), text("b")), "DUNNO"),
        (Action::Prepend(text(""), text("b")), "DUNNO"),
    ] {
        assert_eq!(
            String::from_utf8(action.answer()).unwrap(),
            format!("action={expected}\n\n"),
            "{action:?}"
        );
    }
    let long = Action::Reply(550, "5.7.1".into(), "ä".repeat(1000)).answer();
    assert!(long.len() < TEXT_LIMIT + 40 && String::from_utf8(long).is_ok());
}
