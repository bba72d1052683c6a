//! Tests of the protocol, on tables.

use super::*;

fn read(input: &[u8]) -> Vec<Attribute> {
    let mut buf = BytesMut::from(input);
    Reader::new().next(&mut buf).unwrap().expect("a whole request")
}

fn request(lines: &str) -> Result<Request, RequestError> {
    Request::new(&read(format!("{lines}\n\n").as_bytes()))
}

fn judge(lines: &str) -> Judge {
    match request(&format!("request=AM.PDP\nsender=<a@b>\nrecipient=<c@d>\nmail_file=/m/x\n{lines}")) {
        Ok(Request::Judge(judge)) => *judge,
        other => panic!("{lines}: {other:?}"),
    }
}

/// Bytes as amavisd-milter 1.7.2 sends them: it encodes all but letters, digits, `-` and `_`, and ends lines in LF.
#[test]
fn what_amavisd_milter_asks() {
    let lines = "request=AM%2ePDP\nqueue_id=4dFq8v3xZ1z\nprotocol_name=ESMTP\nsender=%3cfoo%40example%2ecom%3e\n\
                 recipient=%3cuser1%40example%2enet%3e\nrecipient=%3cuser2%40example%2enet%3e\n\
                 tempdir=%2fvar%2flib%2famavis%2ftmp%2faf4dF\ntempdir_removed_by=client\n\
                 mail_file=%2fvar%2flib%2famavis%2ftmp%2faf4dF%2femail%2etxt\ndelivery_care_of=client\n\
                 client_address=IPv6%3a2001%3adb8%3a%3a1\nclient_name=mail%2eexample%2ecom\nhelo_name=b%2eexample%2ecom\n\
                 policy_bank=SMTP%5fAUTH%2cSMTP_AUTH_PLAIN";
    let path = |text: &str| Path::new(format!("<{text}>").into_bytes()).unwrap();
    let expected = Judge {
        sender: path("foo@example.com"),
        recipients: vec![path("user1@example.net"), path("user2@example.net")],
        tempdir: Some(b"/var/lib/amavis/tmp/af4dF".to_vec()),
        server_removes: false,
        mail_file: b"/var/lib/amavis/tmp/af4dF/email.txt".to_vec(),
        server_delivers: false,
        queue_id: "4dFq8v3xZ1z".into(),
        protocol_name: "ESMTP".into(),
        helo_name: "b.example.com".into(),
        client_address: Some("2001:db8::1".parse().unwrap()),
        client_port: 0,
        client_name: "mail.example.com".into(),
        policy_banks: vec!["SMTP_AUTH".into(), "SMTP_AUTH_PLAIN".into()],
        unknown: Vec::new(),
    };
    assert_eq!(request(lines), Ok(Request::Judge(Box::new(expected))));
}

/// Bytes as amavisd-release 2.002 sends them.
#[test]
fn what_amavisd_release_asks() {
    let lines = "request=release\r\nmail_id=l1bnIZN88okd\r\nquar_type=Z\r\nsecret_id=dGhpcyBpcw\r\n\
                 mail_file=l/l1bnIZN88okd.gz\r\nrecipient=other@example.net\r";
    let Ok(Request::Release(release)) = request(lines) else { panic!() };
    assert_eq!((release.kind, release.mail_id.as_str()), (ReleaseKind::Release, "l1bnIZN88okd"));
    assert_eq!((release.secret_id.as_str(), release.quar_type.as_str()), ("dGhpcyBpcw", "Z"));
    assert_eq!(release.recipients[0].address, "other@example.net");
    assert_eq!((release.sender, release.mail_file.as_str()), (None, "l/l1bnIZN88okd.gz"));
    for (kind, name) in [(ReleaseKind::Requeue, "requeue"), (ReleaseKind::Report, "REPORT")] {
        let Ok(Request::Release(release)) = request(&format!("request={name}\nmail_id=a")) else { panic!() };
        assert_eq!(release.kind, kind);
    }
}

#[test]
fn what_cannot_be_answered() {
    use RequestError::*;
    let whole = "request=AM.PDP\nsender=<>\nrecipient=<c@d>\nmail_file=/m/x";
    for (lines, error) in [
        ("", Missing("request")),
        ("sender=<>\nrecipient=<c@d>\nmail_file=/m/x", Missing("request")),
        ("request=AM.PDP\nrecipient=<c@d>\nmail_file=/m/x", Missing("sender")),
        ("request=AM.PDP\nsender=<>\nmail_file=/m/x", Missing("recipient")),
        ("request=AM.PDP\nsender=<>\nrecipient=<c@d>", Missing("mail_file")),
        ("request=AM.PDP\nsender=<>\nrecipient=<c@d>\nmail_file=\ntempdir=", Missing("mail_file")),
        ("request=AM.PDP\nsender=<>\nrecipient=<>\nmail_file=/m/x", Bad("recipient")),
        ("request=AM.PDP\nsender=<>\nrecipient=<a%0d%0ab>\nmail_file=/m/x", Bad("recipient")),
        ("request=AM.PDP\nsender=<%00>\nrecipient=<a@b>\nmail_file=/m/x", Bad("sender")),
        ("request=AM.PDP\nsender=<>\nrecipient=<a@b>\nmail_file=/m/x%00.txt", Bad("mail_file")),
        (&format!("{whole}\nmail_file=/m/y"), Twice("mail_file")),
        (&format!("{whole}\nrequest=AM.PDP"), Twice("request")),
        (&format!("{whole}\nclient_address=here"), Bad("client_address")),
        ("request=AM.CL\nsender=<>", Unknown("AM.CL".into())),
        ("request=smtpd_access_policy", Unknown("smtpd_access_policy".into())),
        ("request=release", Missing("mail_id")),
        ("request=release\nmail_id=../../x", Bad("mail_id")),
        ("request=release\nmail_id=a%00", Bad("mail_id")),
        (&format!("request=release\nmail_id={}", "a".repeat(65)), Bad("mail_id")),
        ("request=release\nmail_id=a\nsecret_id=b\nsecret_id=c", Twice("secret_id")),
        ("request=release\nmail_id=a\nrecipient=%0a", Bad("recipient")),
    ] {
        assert_eq!(request(lines), Err(error), "{lines}");
    }
}

#[test]
fn what_is_taken_of_odd_requests() {
    let unknown = judge("foo=1\nversion_client=2\nb%0aar=2\nclient_address\n=\n%=\nno value");
    assert_eq!(unknown.unknown, ["foo", "bar", "", "%"]);
    assert_eq!(unknown.client_address, None);
    assert_eq!(judge("helo_name=a%0d%0ab%zz%4").helo_name, "ab%zz%4");
    assert_eq!(judge("helo_name: \t here").helo_name, "here");
    assert_eq!(judge("helo_name=a:b=c").helo_name, "a:b=c");
    let many = (0..50).map(|n| format!("x{n}=1\n")).collect::<String>();
    assert_eq!(judge(&many).unknown.len(), UNKNOWN_KEPT);
    for (line, name) in [
        ("client_name=unknown", ""),
        ("client_name=[192.0.2.1]", ""),
        ("client_name=mail.example.org", "mail.example.org"),
        ("", ""),
    ] {
        assert_eq!(judge(line).client_name, name, "{line}");
    }
    for (line, address) in [
        ("client_address=192.0.2.1", Some("192.0.2.1")),
        ("client_address=[192.0.2.1]", Some("192.0.2.1")),
        ("client_address=[IPv6:::1]", Some("::1")),
        ("client_address=ipv6:::ffff:192.0.2.1", Some("192.0.2.1")),
        ("client_address=unknown", None),
        ("client_address=", None),
        ("client_port=25", None),
    ] {
        assert_eq!(judge(line).client_address, address.map(|a| a.parse().unwrap()), "{line}");
    }
    let defaults = judge("client_port=70000\npolicy_bank= A , ,B\t");
    assert!(!defaults.server_removes && !defaults.server_delivers && defaults.client_port == 0);
    assert_eq!(defaults.policy_banks, ["A", "B"]);
    assert!(judge("delivery_care_of=SERVER").server_delivers);
    assert!(
        judge("tempdir_removed_by=Server").server_removes && !judge("tempdir_removed_by=").server_removes
    );
}

#[test]
fn the_file_is_in_the_folder_unless_named() {
    let Ok(Request::Judge(judge)) = request("request=AM.PDP\nsender=a@b\nrecipient=c@d\ntempdir=/t") else {
        panic!()
    };
    assert_eq!(judge.mail_file, b"/t/email.txt");
    assert_eq!((judge.sender.address.as_str(), judge.recipients[0].given.as_slice()), ("a@b", &b"c@d"[..]));
}

#[test]
fn requests_come_in_pieces_and_one_after_the_other() {
    let input = b"request=AM.PDP\r\na=1\r\n\r\nrequest=release\n\n\nrest";
    for step in 1..=input.len() {
        let (mut reader, mut buf, mut seen) = (Reader::new(), BytesMut::new(), Vec::new());
        for chunk in input.chunks(step) {
            buf.extend_from_slice(chunk);
            while let Some(attributes) = reader.next(&mut buf).unwrap() {
                seen.push(attributes.len());
            }
        }
        assert_eq!(seen, [2, 1, 0], "{step}");
        assert_eq!(&buf[..], b"rest");
        assert!(!reader.has_begun());
    }
}

#[test]
fn nothing_grows_beyond_its_limit() {
    let mut buf = BytesMut::from(&[b'x'; LINE_LIMIT][..]);
    let mut reader = Reader::new();
    assert_eq!(reader.next(&mut buf), Ok(None));
    buf.extend_from_slice(b"x");
    assert_eq!(reader.next(&mut buf), Err(ReadError::LineTooLong));
    let mut buf = BytesMut::from("a=\n".repeat(LINES_LIMIT).as_bytes());
    let mut reader = Reader::new();
    assert_eq!(reader.next(&mut buf), Ok(None));
    assert!(reader.has_begun());
    buf.extend_from_slice(b"a=\n");
    assert_eq!(reader.next(&mut buf), Err(ReadError::RequestTooLong));
    let long = format!("a={}\n", "x".repeat(LINE_LIMIT - 10));
    let mut buf = BytesMut::from(long.repeat(REQUEST_LIMIT / long.len() + 1).as_bytes());
    assert_eq!(Reader::new().next(&mut buf), Err(ReadError::RequestTooLong));
}

#[test]
fn responses_as_amavis_writes_them() {
    let mut response = Response::version_2();
    response.log_id("l1bnIZN88okd");
    response.set_reply(250, "2.5.0", "Ok, id=MWZmu9Di,\r\ncontinue 100%");
    response.delete_recipient(b"<user1@example.net>");
    response.add_recipient("user1+spam@example.net");
    response.change_header(1, "Subject", " [SPAM] a\r\n b\r\n");
    response.delete_header(2, "X-Spam-Flag");
    response.insert_header(0, "X-Gatepost-Id", "abc");
    response.add_header("X-Spam-Status", " Yes, score=12\r\n\ttests=[A=1]");
    response.return_value(ReturnValue::Continue);
    let expected = "version_server=2\r\nlog_id=l1bnIZN88okd\r\n\
        setreply=250 2.5.0 Ok,%20id=MWZmu9Di,%20%20continue%20100%25\r\n\
        delrcpt=<user1@example.net>\r\naddrcpt=<user1+spam@example.net>\r\n\
        chgheader=1 Subject [SPAM]%20a%0a%20b\r\ndelheader=2 X-Spam-Flag\r\ninsheader=0 X-Gatepost-Id abc\r\n\
        addheader=X-Spam-Status Yes,%20score=12%0a%09tests=[A=1]\r\nreturn_value=continue\r\nexit_code=0\r\n\r\n";
    assert_eq!(String::from_utf8(response.finish()).unwrap(), expected);
    for (value, name, code) in [
        (ReturnValue::Accept, "accept", 0),
        (ReturnValue::Reject, "reject", 69),
        (ReturnValue::Discard, "discard", 99),
        (ReturnValue::TempFail, "tempfail", 75),
    ] {
        let mut response = Response::new();
        response.return_value(value);
        let expected = format!("return_value={name}\r\nexit_code={code}\r\n\r\n");
        assert_eq!(response.finish(), expected.into_bytes());
    }
}

#[test]
fn replies_fit_libmilter() {
    let mut response = Response::new();
    response.set_reply(451, "", &"é".repeat(1000));
    response.quarantine("why not");
    let attributes = read(&response.finish());
    let fields = attributes[0].fields();
    assert_eq!(
        (fields[0].as_slice(), fields[1].as_slice(), fields[2].len()),
        (&b"451"[..], &b"4.0.0"[..], 480)
    );
    assert_eq!(attributes[1].value(), b"why not");
}
