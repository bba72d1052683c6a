//! xtext: arbitrary text in a parameter's value (RFC 3461 4).

/// Encodes: printable ASCII except `+` and `=` stands for itself, each other octet becomes `+XX`.
pub fn xtext_encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for &octet in text.as_bytes() {
        if octet.is_ascii_graphic() && octet != b'+' && octet != b'=' {
            out.push(char::from(octet));
        } else {
            out.push('+');
            out.push(char::from(HEX[usize::from(octet >> 4)]));
            out.push(char::from(HEX[usize::from(octet & 15)]));
        }
    }
    out
}

/// Decodes; `None` when a `+` is not followed by two hexadecimal digits or the result is not UTF-8.
///
/// Lower-case digits and octets that should have been encoded are taken as they are: clients send them. The result may
/// hold control characters; whoever cannot use them must look.
pub fn xtext_decode(text: &str) -> Option<String> {
    String::from_utf8(xtext_octets(text)?).ok()
}

/// As [`xtext_decode`], for text that may not be UTF-8.
pub(super) fn xtext_octets(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        if octet != b'+' {
            out.push(octet);
            continue;
        }
        let high = char::from(octets.next()?).to_digit(16)?;
        let low = char::from(octets.next()?).to_digit(16)?;
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        for (plain, encoded) in [
            ("", ""),
            ("spike.porcupine.org", "spike.porcupine.org"),
            ("a+b=c", "a+2Bb+3Dc"),
            ("a b\r\n", "a+20b+0D+0A"),
            ("é", "+C3+A9"),
        ] {
            assert_eq!(xtext_encode(plain), encoded);
            assert_eq!(xtext_decode(encoded).as_deref(), Some(plain));
        }
        assert_eq!(xtext_decode("+c3+a9").as_deref(), Some("é"));
        for bad in ["+", "+4", "+4G", "a+-1", "+C3", "+FF"] {
            assert_eq!(xtext_decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(text in ".*") {
            let encoded = xtext_encode(&text);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_graphic() && b != b'='));
            prop_assert_eq!(xtext_decode(&encoded), Some(text));
        }
    }
}
