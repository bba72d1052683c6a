//! Encodings in which scripts and pages carry files: base64, hexadecimal, percent signs, `data:` addresses, and a
//! constant key over them.

use gatepost_mail::{FileKind, FileType};
use memchr::memmem;

use super::literals::Value;

/// A file that was decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    /// Its content.
    pub(crate) bytes: Vec<u8>,
    /// It was decoded by a known encoding, or put together where files are built; else it stands there as it is.
    pub(crate) decoded: bool,
}

/// Files of one script that are taken out.
const MOST: usize = 64;
/// Encodings one around the other.
const ROUNDS: usize = 4;
/// Shortest text that is taken for base64 or hexadecimal where nothing says that it is.
const SHORTEST: usize = 24;

/// The files among a script's values. `builds` says that it makes files, so that what looks like nothing known is taken
/// out as well.
pub(crate) fn payloads_of(source: &[u8], values: Vec<Value>, builds: bool) -> Vec<Payload> {
    let mut keys = Keys::find(source, &values);
    let mut found: Vec<Payload> = Vec::new();
    for value in values {
        if found.len() == MOST {
            break;
        }
        let Some(payload) = payload(value, builds, &mut keys) else { continue };
        if !found.iter().any(|known| known.bytes == payload.bytes) {
            found.push(payload);
        }
    }
    found
}

fn payload(value: Value, builds: bool, keys: &mut Keys) -> Option<Payload> {
    let built = value.built;
    match decode(&value.bytes) {
        Some(decoded) => {
            let worth = builds || is_worth(&decoded);
            if let Some(plain) = keys.undo(&decoded) {
                return Some(Payload { bytes: plain, decoded: true });
            }
            worth.then_some(Payload { bytes: decoded, decoded: true })
        }
        None => {
            if built && let Some(plain) = keys.undo(&value.bytes) {
                return Some(Payload { bytes: plain, decoded: true });
            }
            let known = is_known(&value.bytes);
            let long = built && value.bytes.len() >= 64 && builds;
            (known || long).then_some(Payload { bytes: value.bytes, decoded: built && builds })
        }
    }
}

/// Whether bytes are a file of a known type, text apart.
fn is_known(bytes: &[u8]) -> bool {
    !matches!(FileType::detect(bytes).kind, FileKind::Text | FileKind::Data)
}

/// Whether decoding gave anything sensible: a known type, or text.
pub(crate) fn is_worth(bytes: &[u8]) -> bool {
    const NEAR: usize = 4096;
    let head = &bytes[..bytes.len().min(NEAR)];
    let control = |byte: &u8| matches!(byte, 0..=8 | 14..=31 | 127);
    // A character may be cut at the end.
    let utf8 = std::str::from_utf8(head)
        .map_or_else(|error| error.valid_up_to() + 4 > head.len() && head.len() > 16, |_| true);
    // What PowerShell takes behind -EncodedCommand.
    let wide = head.len() >= 16 && head.chunks_exact(2).all(|pair| pair[1] == 0 && !control(&pair[0]));
    wide || utf8 && !head.is_empty() && !head.iter().any(control) || is_known(bytes)
}

/// Undoes the encodings that the text is in, one around the other; None where there is none.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = one(text)?;
    for _ in 1..ROUNDS {
        if is_known(&decoded) {
            break;
        }
        match one(&decoded) {
            Some(further) => decoded = further,
            None => break,
        }
    }
    Some(decoded)
}

fn one(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    data_address(text).or_else(|| percent(text)).or_else(|| hexadecimal(text)).or_else(|| plain_base64(text))
}

/// The content of a `data:` address (RFC 2397), whatever its type.
pub(crate) fn data_address(text: &[u8]) -> Option<Vec<u8>> {
    let rest = text.get(5..).filter(|_| text[..5].eq_ignore_ascii_case(b"data:"))?;
    let comma = memchr::memchr(b',', rest)?;
    let (head, content) = (&rest[..comma], &rest[comma + 1..]);
    let unescaped = || percent_always(content);
    if head.to_ascii_lowercase().ends_with(b"base64") {
        return Some(base64(&unescaped()));
    }
    Some(unescaped())
}

/// Text with enough `%xx` or `%uxxxx` that it is meant to be unescaped.
fn percent(text: &[u8]) -> Option<Vec<u8>> {
    const FEWEST: usize = 4;
    let signs = memchr::memchr_iter(b'%', text).filter(|at| escape(&text[*at..]).is_some()).take(FEWEST);
    (signs.count() == FEWEST).then(|| percent_always(text))
}

/// Undoes `%xx`, and `%uxxxx` as two bytes where it is over 255, low byte first as shell code is written.
pub(crate) fn percent_always(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match escape(&text[at..]) {
            Some((code, length)) => {
                let [low, high] = code.to_le_bytes();
                out.push(low);
                if high != 0 {
                    out.push(high);
                }
                at += length;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

fn escape(text: &[u8]) -> Option<(u16, usize)> {
    if text.first() != Some(&b'%') {
        return None;
    }
    let number = |digits: &[u8]| {
        let valid = digits.iter().all(u8::is_ascii_hexdigit);
        u16::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| valid)?, 16).ok()
    };
    match text.get(1)? {
        b'u' | b'U' => Some((number(text.get(2..6)?)?, 6)),
        _ => Some((number(text.get(1..3)?)?, 3)),
    }
}

/// Text of hexadecimal digits only, with the usual signs between bytes.
fn hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_prefix(b"0x").unwrap_or(text);
    let between =
        |byte: &u8| matches!(byte, b' ' | b'\r' | b'\n' | b'\t' | b',' | b':' | b'-' | b'\\' | b'x');
    let first = text.iter().take(64);
    if text.len() < SHORTEST || !first.clone().all(|byte| byte.is_ascii_hexdigit() || between(byte)) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    let mut last = b' ';
    for &byte in text {
        // The 0 of `0x`.
        if byte == b'x' && last == b'0' && high == Some(0) {
            high = None;
        } else if let Some(digit) = char::from(byte).to_digit(16) {
            match high.take() {
                Some(before) => out.push(before << 4 | digit as u8),
                None => high = Some(digit as u8),
            }
        } else if !between(&byte) {
            return None;
        }
        last = byte;
    }
    (high.is_none() && out.len() * 2 >= SHORTEST).then_some(out)
}

/// Text of base64 only, long enough, in letters, digits and signs as encoders mix them.
fn plain_base64(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() < SHORTEST {
        return None;
    }
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let (digits, spaces) =
        text[..text.len() - padding].iter().try_fold((0, 0), |(digits, spaces), byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'-' | b'_' => Some((digits + 1, spaces)),
            // Lines, not words.
            b'\r' | b'\n' => Some((digits, spaces)),
            b' ' | b'\t' => Some((digits, spaces + 1)),
            _ => None,
        })?;
    let usual = padding <= 2 && digits % 4 != 1 && spaces * 20 <= digits;
    usual.then(|| base64(text))
}

/// Decodes base64 of either alphabet; what does not belong is passed over, and padding ends nothing.
pub(crate) fn base64(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for &byte in text {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                // Padded runs may follow each other.
                (bits, count) = (0, 0);
                continue;
            }
            _ => continue,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    out
}

/// Keys that a script may lay over its payload by exclusive or.
struct Keys {
    keys: Vec<Vec<u8>>,
    /// Values that may still be tried.
    tries: usize,
}

impl Keys {
    const MOST: usize = 16;
    const TRIES: usize = 256;
    const LONGEST: usize = 64;

    /// Numbers behind `^`, `Xor` or `-bxor`, and short values where there is such an operator.
    fn find(source: &[u8], values: &[Value]) -> Keys {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut any = false;
        for operator in [&b"^"[..], b"Xor", b"xor"] {
            for at in memmem::find_iter(source, operator).take(Self::MOST) {
                any = true;
                let rest = source[at + operator.len()..].trim_ascii_start();
                let (digits, radix) = match rest {
                    [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
                    digits => (digits, 10),
                };
                let length =
                    digits.iter().take(4).take_while(|byte| char::from(**byte).is_digit(radix)).count();
                let number = std::str::from_utf8(&digits[..length]).unwrap_or_default();
                keys.extend(
                    u8::from_str_radix(number, radix).ok().filter(|key| *key != 0).map(|key| vec![key]),
                );
            }
        }
        if any {
            let short = |value: &&Value| value.bytes.len() <= Self::LONGEST;
            keys.extend(values.iter().filter(short).map(|value| value.bytes.clone()));
        }
        keys.sort();
        keys.dedup();
        keys.truncate(Self::MOST);
        Keys { keys, tries: Self::TRIES }
    }

    /// The bytes without the key that makes a known type of them.
    fn undo(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        const NEAR: usize = 4096;
        if self.keys.is_empty() || bytes.len() < SHORTEST || is_known(bytes) {
            return None;
        }
        self.tries = self.tries.checked_sub(1)?;
        let with = |key: &[u8], bytes: &[u8]| -> Vec<u8> {
            bytes.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
        };
        let fits = |key: &&Vec<u8>| is_known(&with(key, &bytes[..bytes.len().min(NEAR)]));
        self.keys.iter().find(fits).map(|key| with(key, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Language, Script};

    const EICAR: &[u8] = br"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";
    const EICAR_BASE64: &str =
        "WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNULUZJTEUhJEgrSCo=";

    fn hex(bytes: &[u8], before: &str) -> String {
        bytes.iter().map(|byte| format!("{before}{byte:02x}")).collect()
    }

    #[test]
    fn eicar_in_each_encoding() {
        let numbers = EICAR.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
        let keyed: Vec<u8> = b"MZ\x90\0".iter().chain(EICAR).map(|byte| byte ^ 0x5a).collect();
        assert!(!keyed.is_empty());
        let (head, tail) = EICAR_BASE64.split_at(40);
        let reversed: String = EICAR_BASE64.chars().rev().collect();
        for source in [
            format!("atob('{EICAR_BASE64}')"),
            format!("var a = '{head}'; var b = \"{tail}\"; atob(a + b)"),
            format!("var a = '{head}';\na += '{tail}';\natob(a)"),
            format!("atob(['{head}', '{tail}'].join(''))"),
            format!("atob('{reversed}'.split('').reverse().join(''))"),
            format!("x = 'data:application/octet-stream;base64,{EICAR_BASE64}'"),
            format!("new Blob([new Uint8Array([{numbers}])])"),
            format!("new Blob([String.fromCharCode({numbers})])"),
            format!("new Blob(['{}'])", hex(EICAR, "\\x")),
            format!("unescape('{}')", hex(EICAR, "%")),
            format!("unhex('{}')", hex(EICAR, "")),
            format!("unhex('{}')", hex(EICAR, " ")),
            format!("f('{}')", hex(EICAR_BASE64.as_bytes(), "")),
        ] {
            let script = Script::read(source.as_bytes(), Language::Js);
            assert!(script.payloads.iter().any(|payload| payload.bytes == EICAR), "{source}: {script:?}");
        }
    }

    #[test]
    fn keys_that_make_a_program_of_it() {
        let program: Vec<u8> = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0 and so on, for a while".to_vec();
        let one: Vec<u8> = program.iter().map(|byte| byte ^ 0x5a).collect();
        let word: Vec<u8> =
            program.iter().zip(b"password".iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        for source in [
            format!("d = '{}'; out[i] = d.charCodeAt(i) ^ 0x5a", hex(&one, "")),
            format!("d = '{}'; k = 'password'; o[i] = d[i] ^ k.charCodeAt(i % k.length)", hex(&word, "")),
        ] {
            let script = Script::read(source.as_bytes(), Language::Js);
            assert!(script.payloads.iter().any(|payload| payload.bytes == program), "{source}: {script:?}");
        }
    }

    #[test]
    fn ordinary_words_are_no_payload() {
        for source in [
            "var a = 'abcdefghijklmnopqrstuvwxyz'; b = 'getElementsByClassName'",
            "x = 'This is an ordinary sentence of English text'",
            "id = 'd41d8cd98f00b204e9800998ecf8427e'",
            "style = 'background: #fff; width: 100%; height: 50%'",
            "t = [1,2,3,4,5,6,7,8,9,10,11,12,13,14,1500,16,17,18]",
        ] {
            assert_eq!(Script::read(source.as_bytes(), Language::Js).payloads, [], "{source}");
        }
    }
}
