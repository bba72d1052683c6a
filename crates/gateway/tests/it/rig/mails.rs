//! Mails to send.

/// The test file of all virus scanners, put together here so that none of them takes this source for it.
pub fn eicar() -> String {
    format!("{}{}", r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*")
}

/// A plain mail that nobody has anything against.
pub fn mail(subject: &str, body: &str) -> String {
    format!(
        "From: <sender@client.test>\nTo: <user@example.test>\nSubject: {subject}\n\
         Date: Thu, 01 Jan 2026 00:00:00 +0000\nMessage-ID: <{}@client.test>\n\n{body}\n",
        subject.replace(|c: char| !c.is_ascii_alphanumeric(), "-"),
    )
}

/// A mail with the EICAR line as its body.
pub fn eicar_body(subject: &str) -> String {
    mail(subject, &eicar())
}

/// A mail with one attachment in base64.
pub fn with_attachment(subject: &str, name: &str, content: &[u8]) -> String {
    format!(
        "From: <sender@client.test>\nTo: <user@example.test>\nSubject: {subject}\n\
         Date: Thu, 01 Jan 2026 00:00:00 +0000\nMessage-ID: <{}@client.test>\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed; boundary=\"b0\"\n\n--b0\nContent-Type: text/plain\n\nSee there.\n\
         --b0\nContent-Type: application/octet-stream; name=\"{name}\"\nContent-Transfer-Encoding: base64\n\
         Content-Disposition: attachment; filename=\"{name}\"\n\n{}--b0--\n",
        subject.replace(|c: char| !c.is_ascii_alphanumeric(), "-"),
        base64(content),
    )
}

/// Base64 in lines of 76 (RFC 2045 section 6.8).
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for line in bytes.chunks(57) {
        for group in line.chunks(3) {
            let at = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for place in 0..4 {
                let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
                text.push(if place > group.len() { '=' } else { char::from(letter) });
            }
        }
        text.push('\n');
    }
    text
}

#[test]
fn base64_is_that_of_the_rfc() {
    for (bytes, text) in
        [("", ""), ("f", "Zg==\n"), ("fo", "Zm8=\n"), ("foo", "Zm9v\n"), ("foob", "Zm9vYg==\n")]
    {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
}
