//! Names that others give, made fit to be looked up.

/// A domain name in lower case and ASCII (RFC 5891), without its last dot. None for whatever is no name of hosts or mail
/// domains: address literals, bare words, spaces, control characters.
pub fn plain_name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let ascii = if text.is_ascii() { text.to_ascii_lowercase() } else { idna::domain_to_ascii(text).ok()? };
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let last_is_number =
        || ascii.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    let fits = ascii.len() <= 253 && ascii.contains('.') && ascii.split('.').all(label) && !last_is_number();
    fits.then_some(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others() {
        let long = format!("{}example", "a.".repeat(130));
        for (text, expected) in [
            ("Mail.Example.ORG.", Some("mail.example.org")),
            ("_x.example", Some("_x.example")),
            ("b\u{fc}cher.example", Some("xn--bcher-kva.example")),
            ("localhost", None),
            ("", None),
            (".", None),
            ("[192.0.2.1]", None),
            ("192.0.2.1", None),
            ("a b.example", None),
            ("a..example", None),
            ("a\r\nb.example", None),
            ("\u{200b}.example", None),
            (&long, None),
        ] {
            assert_eq!(plain_name(text).as_deref(), expected, "{text:?}");
        }
    }
}
