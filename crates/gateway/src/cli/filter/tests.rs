//! Tests of the pipe, without a daemon.

use super::*;

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

fn parse(line: &str) -> Result<Args, clap::Error> {
    let words = ["filter"].into_iter().chain(line.split_whitespace());
    <Command as clap::Parser>::try_parse_from(words).map(|command| command.args)
}

#[test]
fn line_endings_and_the_separator_come_back_as_they_were() {
    for (content, judged, expected) in [
        ("A: b\n\nc\n", "X: y\r\nA: b\r\n\r\nc\r\n", "X: y\nA: b\n\nc\n"),
        ("A: b\r\n\r\nc\r\n", "X: y\r\nA: b\r\n\r\nc\r\n", "X: y\r\nA: b\r\n\r\nc\r\n"),
        ("From a Mon\nA: b\n\nc\n", "A: b\r\n\r\nc\r\n", "From a Mon\nA: b\n\nc\n"),
        ("From a Mon\nA: b\r\n\r\nc", "A: b\r\n\r\nc", "From a Mon\nA: b\r\n\r\nc"),
        ("From a Mon", "From a Mon", "From a Mon"),
        ("A: b\r\n\nc\n", "A: b\r\n\r\nc\r\n", "A: b\r\n\r\nc\r\n"),
    ] {
        let input = Input::read(content.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(input.finish(judged.as_bytes())).unwrap(), expected, "{content:?}");
    }
}

#[test]
fn nothing_is_no_message() {
    assert!(Input::read(&b""[..]).is_err());
    assert!(Input::read(&b"\n"[..]).is_ok());
}

#[test]
fn the_separator_tells_the_sender() {
    for (content, expected) in [
        ("From a@b.test Mon Jan  1 00:00:00 2026\nA: b\n", Some("a@b.test")),
        ("From MAILER-DAEMON Mon Jan  1 00:00:00 2026\nA: b\n", None),
        ("From \nA: b\n", None),
        ("From: a@b.test\n", None),
    ] {
        assert_eq!(Input::read(content.as_bytes()).unwrap().sender().as_deref(), expected, "{content:?}");
    }
}

#[test]
fn what_is_asked_for() {
    for (line, expected) in [
        ("--recipient a@b.test", "/v1/filter?rcpt=a@b.test&split=no"),
        (
            "--client 2001:db8::1 --helo h.test --sender <> --recipient a+x@b.test --recipient c@d.test --mark",
            "/v1/filter?ip=2001%3Adb8%3A%3A1&helo=h.test&from=%3C%3E&rcpt=a%2Bx@b.test&rcpt=c@d.test&hold=no",
        ),
        ("--recipient grüße@b.test", "/v1/filter?rcpt=gr%C3%BC%C3%9Fe@b.test&split=no"),
    ] {
        assert_eq!(target(&parse(line).unwrap()), expected, "{line}");
    }
}

#[test]
fn arguments_that_make_no_sense_together() {
    for line in
        ["--exit --mark", "--local --daemon unix:/x", "--exit -- cat", "--daemon ftp://x", "--timeout 0"]
    {
        assert!(parse(line).is_err(), "{line}");
    }
    for (line, part) in [("--sender a", "--sender: "), ("--recipient @b", "--recipient: ")] {
        let error = check_addresses(&parse(line).unwrap()).unwrap_err();
        assert!(error.starts_with(part), "{error}");
    }
}

#[test]
fn what_is_not_delivered_ends_with_a_status_of_its_own() {
    for (action, command, expected) in [
        (Action::Refuse, false, 77),
        (Action::Refuse, true, 77),
        (Action::Quarantine, false, 99),
        (Action::Quarantine, true, 0),
        (Action::Discard, false, 99),
        (Action::Discard, true, 0),
        (Action::Defer, false, 75),
        (Action::Defer, true, 75),
        (Action::Deliver, false, 75),
    ] {
        let outcome = Outcome { action, reply: String::new(), message: None };
        assert_eq!(status(&outcome, command), expected, "{action} {command}");
    }
}

#[test]
fn the_daemon_of_a_configuration() {
    for (text, expected) in [
        ("", None),
        ("listener = [{}]", None),
        (
            "listener = [{}, {protocol = \"http\", listen = [\"systemd:http\", \"unix:/run/h\"], token = \"t\"}]",
            Some("unix:/run/h t"),
        ),
        ("listener = [{protocol = \"http\", listen = [\"0.0.0.0:80\"]}]", Some("http://127.0.0.1:80 ")),
        ("listener = [{protocol = \"http\", listen = [\"[::]:80\"]}]", Some("http://[::1]:80 ")),
    ] {
        let config: Config = toml::from_str(text).unwrap();
        let found = daemon_of(&config).map(|(daemon, token)| format!("{daemon} {token}"));
        assert_eq!(found.as_deref(), expected, "{text}");
    }
}

#[test]
fn a_program_is_given_the_message_and_its_status_counts() {
    for (script, expected) in [
        ("test \"$(cat)\" = message", Ok(0)),
        ("cat >/dev/null; exit 3", Ok(3)),
        ("exit 0", Ok(0)),
        ("kill -9 $$", Err(())),
    ] {
        let command = ["sh", "-c", script].map(OsString::from);
        assert_eq!(hand_on(&command, b"message").map_err(|_| ()), expected, "{script}");
    }
    assert!(hand_on(&["/nonexistent/program".into()], b"message").is_err());
}
