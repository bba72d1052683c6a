//! Names of archive members: every reading of the bytes that some program would show, made safe to print.

/// Longest name that is kept, in characters. Longer ones lose their middle, so that the extension stays.
const LONGEST: usize = 1024;

/// The readings of a name. `utf8` says that the archive declares it to be UTF-8; otherwise UTF-8 is tried first, as
/// most programs write it, and code page 437 stands beside it, as the zip format has it. A name with a NUL in it is
/// read to its end and up to the NUL.
pub(crate) fn readings(raw: &[u8], utf8: bool) -> Vec<String> {
    let mut names = Vec::with_capacity(1);
    let shortened;
    let raw = if raw.len() > 8 * LONGEST {
        shortened = [&raw[..4 * LONGEST], &raw[raw.len() - 4 * LONGEST..]].concat();
        &shortened
    } else {
        raw
    };
    let mut read = |raw: &[u8]| {
        if utf8 || raw.is_ascii() {
            add(&mut names, clean(&String::from_utf8_lossy(raw)));
        } else {
            if let Ok(text) = std::str::from_utf8(raw) {
                add(&mut names, clean(text));
            }
            add(&mut names, clean(&cp437(raw)));
        }
    };
    match memchr::memchr(0, raw) {
        Some(end) => {
            read(&raw[..end]);
            read(raw);
        }
        None => read(raw),
    }
    names
}

/// Adds a name unless it is empty or there already. Of too many, the first stay and the last.
pub(crate) fn add(names: &mut Vec<String>, name: String) {
    /// So many names of one part are enough for anybody; more only cost.
    const MOST: usize = 32;
    if !name.is_empty() && !names.contains(&name) {
        names.truncate(MOST - 1);
        names.push(name);
    }
}

/// The path with `/` between folders, no leading `/` or `./`, control characters as `_`, and a bounded length.
/// Characters that change the direction of writing stay: they are evidence.
pub(crate) fn clean(name: &str) -> String {
    let mut cleaned: String = name
        .chars()
        .map(|c| match c {
            '\\' => '/',
            c if c.is_control() => '_',
            c => c,
        })
        .collect();
    let start = cleaned.len() - skip_root(&cleaned).len();
    cleaned.drain(..start);
    let count = cleaned.chars().count();
    if count > LONGEST {
        let half = LONGEST / 2;
        let head: String = cleaned.chars().take(half).collect();
        let tail: String = cleaned.chars().skip(count - half).collect();
        cleaned = format!("{head}…{tail}");
    }
    cleaned
}

fn skip_root(mut path: &str) -> &str {
    while let Some(rest) = path.strip_prefix('/').or_else(|| path.strip_prefix("./")) {
        path = rest;
    }
    path
}

/// Code page 437, the character set of names in zip archives that do not say UTF-8.
fn cp437(raw: &[u8]) -> String {
    const UPPER: [char; 128] = [
        'Ç', 'ü', 'é', 'â', 'ä', 'à', 'å', 'ç', 'ê', 'ë', 'è', 'ï', 'î', 'ì', 'Ä', 'Å', //
        'É', 'æ', 'Æ', 'ô', 'ö', 'ò', 'û', 'ù', 'ÿ', 'Ö', 'Ü', '¢', '£', '¥', '₧', 'ƒ', //
        'á', 'í', 'ó', 'ú', 'ñ', 'Ñ', 'ª', 'º', '¿', '⌐', '¬', '½', '¼', '¡', '«', '»', //
        '░', '▒', '▓', '│', '┤', '╡', '╢', '╖', '╕', '╣', '║', '╗', '╝', '╜', '╛', '┐', //
        '└', '┴', '┬', '├', '─', '┼', '╞', '╟', '╚', '╔', '╩', '╦', '╠', '═', '╬', '╧', //
        '╨', '╤', '╥', '╙', '╘', '╒', '╓', '╫', '╪', '┘', '┌', '█', '▄', '▌', '▐', '▀', //
        'α', 'ß', 'Γ', 'π', 'Σ', 'σ', 'µ', 'τ', 'Φ', 'Θ', 'Ω', 'δ', '∞', 'φ', 'ε', '∩', //
        '≡', '±', '≥', '≤', '⌠', '⌡', '÷', '≈', '°', '∙', '·', '√', 'ⁿ', '²', '■', '\u{a0}',
    ];
    raw.iter()
        .map(|&byte| match byte.checked_sub(128) {
            Some(upper) => UPPER[usize::from(upper)],
            None => char::from(byte),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_readers_show_them() {
        let table: &[(&[u8], bool, &[&str])] = &[
            (b"a/b.txt", false, &["a/b.txt"]),
            (b"a\\b.txt", false, &["a/b.txt"]),
            (b"/etc/passwd", false, &["etc/passwd"]),
            (b"././x", false, &["x"]),
            (b"../x", false, &["../x"]),
            (b"b\x81cher.zip", false, &["bücher.zip"]),
            ("bücher.zip".as_bytes(), false, &["bücher.zip", "b├╝cher.zip"]),
            ("bücher.zip".as_bytes(), true, &["bücher.zip"]),
            (b"a.exe\0.txt", false, &["a.exe", "a.exe_.txt"]),
            (b"a\r\nb", false, &["a__b"]),
            ("x\u{202e}fdp.exe".as_bytes(), true, &["x\u{202e}fdp.exe"]),
            (b"", false, &[]),
        ];
        for (raw, utf8, want) in table {
            assert_eq!(readings(raw, *utf8), *want, "{raw:?}");
        }
    }

    #[test]
    fn of_too_many_names_the_last_stays() {
        let mut names = Vec::new();
        (0..100).for_each(|number| add(&mut names, number.to_string()));
        assert_eq!((names.len(), names[0].as_str(), names[31].as_str()), (32, "0", "99"));
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let name = clean(&format!("{}.exe", "x".repeat(5000)));
        assert!(name.len() < 1100 && name.ends_with(".exe"));
    }
}
