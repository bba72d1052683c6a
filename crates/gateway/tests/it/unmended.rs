//! Whoever only hears a verdict goes on with the message that it has: what mending its line endings would hide is found.

use crate::rig::*;

/// Mails in which the test file is found only with the line endings they came with.
fn hidden() -> Vec<(&'static str, Vec<u8>)> {
    let head = "From: a@client.test\r\nTo: b@example.test\r\nSubject: x\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\
        Message-ID: <1@client.test>\r\nMIME-Version: 1.0\r\n";
    // A CR ends the line before the transfer encoding; mended it is a space within the line.
    let quoted = eicar().replace('-', "=2D");
    let field = format!("{head}X-Mailer: y\rContent-Transfer-Encoding: quoted-printable\r\n\r\n{quoted}\r\n");
    // NUL bytes in an archive that is sent as it is.
    let archive = super::one_verdict::packing::zip(&[("a.txt", eicar().as_bytes())], true);
    let binary = format!(
        "{head}Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    );
    vec![
        ("CR in the header", field.into_bytes()),
        ("a binary archive", [binary.as_bytes(), &archive, b"\r\n"].concat()),
    ]
}

#[test]
fn what_mending_hides_is_found_for_those_who_only_ask() {
    let sink = Sink::start();
    let [spamd_at, clamd_at, http_at] = [free_address(), free_address(), free_address()];
    let listener = |protocol: &str, address| {
        format!("[[listener]]\nname = {protocol:?}\nlisten = [\"{address}\"]\nprotocol = {protocol:?}\n")
    };
    let gatepost = Setup::to(sink.address)
        .globally("domains = [\"example.test\"]")
        .with(&listener("spamd", spamd_at))
        .with(&listener("clamd", clamd_at))
        .with(&listener("http", http_at))
        .start();
    let headers = [("ip", "127.0.0.1"), ("from", "a@client.test"), ("rcpt", "b@example.test")];
    let config = gatepost.config();
    let mut dialog = Dialog::connect(gatepost.smtp);
    dialog.greet();
    for (what, raw) in hidden() {
        dialog.say("MAIL FROM:<a@client.test>", "250");
        dialog.say("RCPT TO:<b@example.test>", "250");
        dialog.say("DATA", "354");
        dialog.raw(&[&raw, b".\r\n".as_slice()].concat());
        let reply = dialog.try_reply().expect("a reply");
        assert_eq!(reply.code, 250, "{what}: what is delivered holds nothing: {}", reply.text);
        let answer = clamd_stream(clamd_at, &raw);
        assert!(answer.ends_with(" FOUND"), "{what}: {answer}");
        let (code, body) = http(http_at, "POST", "/v1/scan", &headers, &raw);
        assert!(code == 200 && body.contains("\"virus\""), "{what}: {body}");
        let (head, _) = spamd(spamd_at, "CHECK", "b@example.test", &raw);
        assert!(head.contains("\r\nSpam: True"), "{what}: {head}");
        let output = run(&["scan", "--json", "-c", &config.to_string_lossy(), "-"], &raw);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("\"category\":\"virus\""), "{what}: {told}");
    }
}
