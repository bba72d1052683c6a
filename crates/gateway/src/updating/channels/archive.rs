//! A channel's archive: a gzipped tar of plain files, all in one folder. Anything else is refused, not made the best of.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::bufread::MultiGzDecoder;

/// Files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A tar's unit.
const BLOCK: usize = 512;

/// Most bytes that an archive unpacks to.
const UNPACKED: u64 = 128 << 20;

/// Most files, and longest name of one.
const FILES: usize = 4000;
const NAME: usize = 100;

/// What stands where a line was commented out.
const NOT_LOADED: &str = "#(gatepost: channels load no code and set nothing of this kind)# ";

/// Reads an archive. The error says what is not as it must be.
pub fn read(archive: &[u8]) -> Result<Files, String> {
    let mut tar = Vec::new();
    let mut unpacking = MultiGzDecoder::new(archive).take(UNPACKED + 1);
    unpacking.read_to_end(&mut tar).map_err(|why| format!("the archive is no whole gzip file: {why}"))?;
    if tar.len() as u64 > UNPACKED {
        return Err(format!("the archive unpacks to more than {UNPACKED} bytes"));
    }
    let (mut files, mut rest) = (Files::new(), tar.as_slice());
    while let Some((header, behind)) = rest.split_at_checked(BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let member = Member::read(header)?;
        let padded = member.size.div_ceil(BLOCK).saturating_mul(BLOCK);
        let content = behind.get(..member.size).ok_or("the archive ends in the middle of a file")?;
        // Some leave out what fills the last block.
        rest = behind.get(padded..).unwrap_or_default();
        if !member.is_file(content)? {
            continue;
        }
        if files.len() >= FILES {
            return Err(format!("the archive holds more than {FILES} files"));
        }
        if files.insert(member.name.clone(), content.to_vec()).is_some() {
            return Err(format!("the archive holds {} twice", member.name));
        }
    }
    if !files.keys().any(|name| name.ends_with(".cf")) {
        return Err("the archive holds no .cf file".into());
    }
    Ok(files)
}

/// A header (POSIX pax, section "ustar Interchange Format").
struct Member {
    name: String,
    size: usize,
    kind: u8,
}

impl Member {
    fn read(header: &[u8]) -> Result<Member, String> {
        let broken = || "the archive is no tar, or a damaged one".to_owned();
        let field = |from: usize, to: usize| {
            let bytes = header.get(from..to).unwrap_or_default();
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        let number = |text: String| usize::from_str_radix(text.trim(), 8).map_err(|_| broken());
        let sum: usize = header
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { usize::from(b' ') } else { usize::from(*byte) })
            .sum();
        if number(field(148, 156))? != sum {
            return Err(broken());
        }
        let (mut name, prefix) = (field(0, 100), field(345, 500));
        if field(257, 262) == "ustar" && !prefix.is_empty() && header.get(263) != Some(&b' ') {
            name = format!("{prefix}/{name}");
        }
        let name = name.trim_start_matches("./").to_owned();
        Ok(Member {
            name,
            size: number(field(124, 136))?,
            kind: header.get(156).copied().unwrap_or_default(),
        })
    }

    /// Whether this is a file; what only describes others, and the folder itself, is none.
    fn is_file(&self, content: &[u8]) -> Result<bool, String> {
        let shown = crate::records::text::clean(&self.name, NAME);
        match self.kind {
            b'0' | 0 | b'7' => {}
            b'5' if matches!(self.name.as_str(), "" | ".") => return Ok(false),
            // Times and owners; not what would make it another file.
            b'x' | b'g' => {
                let text = String::from_utf8_lossy(content);
                let key = |line: &str| Some(line.split_once(' ')?.1.split_once('=')?.0.to_owned());
                let mut keys = text.lines().filter_map(key);
                let harmful = |key: &String| {
                    matches!(key.as_str(), "path" | "size" | "linkpath") || key.starts_with("GNU.sparse")
                };
                return match keys.find(harmful) {
                    None => Ok(false),
                    Some(key) => Err(format!("the archive has a pax header that sets {key}")),
                };
            }
            _ => return Err(format!("the archive holds “{shown}”, which is no plain file")),
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b',');
        let good = self.name.bytes().all(plain) && self.name.len() <= NAME;
        match self.name.bytes().next() {
            Some(first) if good && first != b'.' && first != b'-' => Ok(true),
            _ => Err(format!("the archive holds “{shown}”, which is no plain name of a file")),
        }
    }
}

/// Makes of a channel's .cf and .pre files what is installed, as sa-update does: names between `@@` are replaced, and lines
/// that load code or choose name servers become comments. `version` is SpamAssassin's, as in 4.000001.
pub fn prepare(files: Files, version: &str) -> Files {
    let is_rules = |name: &str| name.ends_with(".cf") || name.ends_with(".pre");
    let prepared = |(name, content): (String, Vec<u8>)| match is_rules(&name) {
        false => (name, content),
        true => (name, without_code(&filled_in(&content, version))),
    };
    files.into_iter().map(prepared).collect()
}

/// How the points of a channel's rules are changed, as by sa-update's options.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// Multiplied by this.
    pub multiplier: Option<f64>,
    /// And not more than this.
    pub limit: Option<f64>,
}

impl Scores {
    /// Changes the `score` lines of .cf and .pre files; what they said before stands behind them as a comment. Points stay on
    /// their side of zero.
    pub fn adjust(&self, files: &mut Files) {
        if *self == Scores::default() {
            return;
        }
        let rules = files.iter_mut().filter(|(name, _)| name.ends_with(".cf") || name.ends_with(".pre"));
        for (_, content) in rules {
            let lines = content.split_inclusive(|byte| *byte == b'\n');
            *content = lines
                .map(|line| self.line(line).unwrap_or_else(|| line.to_vec()))
                .collect::<Vec<_>>()
                .concat();
        }
    }

    /// A line with other points, if it has points that change.
    fn line(&self, line: &[u8]) -> Option<Vec<u8>> {
        let blanks = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let start = blanks(line);
        let (key, rest) = line[start..].split_at_checked(5)?;
        let space = blanks(rest);
        let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let name = rest[space..].iter().take_while(is_word).count();
        let gap = blanks(&rest[space + name..]);
        if !key.eq_ignore_ascii_case(b"score") || space == 0 || name == 0 || gap == 0 {
            return None;
        }
        let (head, mut rest) = line.split_at(start + 5 + space + name + gap);
        let mut old = Vec::new();
        loop {
            let gap = if old.is_empty() { 0 } else { blanks(rest) };
            let length = number(&rest[gap..]);
            if length == 0 || (gap == 0 && !old.is_empty()) {
                break;
            }
            old.push(std::str::from_utf8(&rest[gap..gap + length]).ok()?);
            rest = &rest[gap + length..];
        }
        let new: Vec<String> = old.iter().map(|text| self.points(text)).collect();
        let is_changed = |(old, new): (&&str, &String)| old.parse::<f64>().ok() != new.parse::<f64>().ok();
        old.iter().zip(&new).any(is_changed).then(|| {
            let told = format!("{} #(gatepost: the channel says {})#", new.join(" "), old.join(" "));
            [head, told.as_bytes(), rest].concat()
        })
    }

    fn points(&self, text: &str) -> String {
        let Ok(old) = text.parse::<f64>() else { return text.to_owned() };
        let mut new = old * self.multiplier.unwrap_or(1.0);
        if let Some(limit) = self.limit.filter(|limit| new > *limit) {
            new = limit;
        }
        match old == 0.0 || old == new {
            true => text.to_owned(),
            false => match format!("{new:.3}") {
                small if small.parse::<f64>() == Ok(0.0) => {
                    if old < 0.0 { "-0.001" } else { "0.001" }.to_owned()
                }
                other => other,
            },
        }
    }
}

/// How long the number is that a text begins with: `-1`, `2.5`.
fn number(text: &[u8]) -> usize {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(text.first() == Some(&b'-'));
    let whole = digits(&text[sign..]);
    if whole == 0 {
        return 0;
    }
    let end = sign + whole;
    match text.get(end) {
        Some(b'.') if digits(&text[end + 1..]) > 0 => end + 1 + digits(&text[end + 1..]),
        _ => end,
    }
}

/// `@@NAME@@` by what it stands for; what nobody knows stays.
fn filled_in(content: &[u8], version: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(content.len()), content);
    while let Some(start) = memchr::memmem::find(rest, b"@@") {
        let behind = &rest[start + 2..];
        let end = memchr::memchr(b'@', behind).filter(|end| *end > 0 && behind.get(end + 1) == Some(&b'@'));
        let known = end.and_then(|end| Some((end, stands_for(&behind[..end], version)?)));
        match (end, known) {
            (_, Some((end, text))) => {
                out.extend_from_slice(&rest[..start]);
                out.extend_from_slice(text.as_bytes());
                rest = &behind[end + 2..];
            }
            (Some(end), None) => {
                out.extend_from_slice(&rest[..start + end + 4]);
                rest = &behind[end + 2..];
            }
            (None, _) => {
                out.extend_from_slice(&rest[..start + 1]);
                rest = &rest[start + 1..];
            }
        }
    }
    out.extend_from_slice(rest);
    out
}

/// Folders are where Debian's SpamAssassin has them.
fn stands_for<'a>(name: &[u8], version: &'a str) -> Option<&'a str> {
    Some(match name {
        b"VERSION" => version,
        b"CONTACT_ADDRESS" => "the administrator of that system",
        b"PREFIX" => "/usr",
        b"DEF_RULES_DIR" => "/usr/share/spamassassin",
        b"LOCAL_RULES_DIR" => "/etc/spamassassin",
        b"LOCAL_STATE_DIR" => "/var/lib/spamassassin",
        b"INSTALLSITELIB" => "/usr/share/perl5",
        _ => return None,
    })
}

/// Makes comments of lines that load code, or that a channel may not set.
fn without_code(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        // What Perl takes for white space.
        let space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
        let start = line.iter().position(|byte| !space(byte)).unwrap_or(line.len());
        let key = line[start..].split(space).next().unwrap_or_default();
        if loads(&String::from_utf8_lossy(key).to_ascii_lowercase().replace('-', "_")) {
            out.extend_from_slice(NOT_LOADED.as_bytes());
        }
        out.extend_from_slice(line);
    }
    out
}

fn loads(key: &str) -> bool {
    const KEYS: &[&str] = &[
        "loadplugin",
        "tryplugin",
        "dcc_path",
        "dcc_options",
        "pyzor_path",
        "pyzor_options",
        "extracttext_external",
    ];
    // As a word's beginning too, which is how sa-update looks at this one.
    KEYS.contains(&key)
        || ["_module", "_modules", "_factory"]
            .iter()
            .any(|end| key.strip_suffix(end).is_some_and(|name| !name.is_empty()))
        || key.starts_with("dns_server")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    fn member(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = kind;
        header[257..263].copy_from_slice(b"ustar\0");
        let sum: usize = header.iter().map(|byte| usize::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        header.extend_from_slice(content);
        header.resize(header.len().div_ceil(BLOCK) * BLOCK, 0);
        header
    }

    #[test]
    fn points_are_changed_line_by_line() {
        let adjusted = |line: &str, multiplier: Option<f64>, limit: Option<f64>| {
            let mut files = Files::from([("a.cf".to_owned(), line.as_bytes().to_vec())]);
            Scores { multiplier, limit }.adjust(&mut files);
            String::from_utf8(files.remove("a.cf").unwrap()).unwrap()
        };
        for (line, expected) in [
            ("score A 3 # b\n", "score A 1.500 #(gatepost: the channel says 3)# # b\n"),
            ("score A 9 -4 0 0.2", "score A 2.000 -2.000 0 0.100 #(gatepost: the channel says 9 -4 0 0.2)#"),
            // Neither off nor on the other side.
            ("score A 0.0004 -0.0004", "score A 0.001 -0.001 #(gatepost: the channel says 0.0004 -0.0004)#"),
            ("score A 0", "score A 0"),
            ("score A (1)", "score A (1)"),
            ("score A", "score A"),
            ("score", "score"),
            ("scores A 1", "scores A 1"),
            ("body A /score B 1/", "body A /score B 1/"),
            ("score A -", "score A -"),
            ("score \u{e4} 1", "score \u{e4} 1"),
        ] {
            assert_eq!(adjusted(line, Some(0.5), Some(2.0)), expected, "{line}");
            assert_eq!(adjusted(line, None, None), line);
        }
        let mut other = Files::from([("a.txt".to_owned(), b"score A 4".to_vec())]);
        Scores { multiplier: Some(0.5), limit: None }.adjust(&mut other);
        assert_eq!(other["a.txt"], b"score A 4");
    }

    #[test]
    fn only_plain_files_in_one_folder() {
        let good = || member("10_a.cf", b'0', b"body A /a/\n");
        let end = || vec![0; 2 * BLOCK];
        let pax = |text: &str| member("PaxHeaders/10_b.cf", b'x', text.as_bytes());
        let whole = |more: Vec<u8>| [good(), more, end()].concat();
        for (what, tar, expected) in [
            ("good", whole(member("./README,v-1", 0, b"x")), "10_a.cf README,v-1"),
            ("the folder itself", whole(member("./", b'5', b"")), "10_a.cf"),
            ("times", whole(pax("20 mtime=1700000000\n")), "10_a.cf"),
            ("without an end", good(), "10_a.cf"),
            ("behind the end", [good(), end(), member("b.cf", b'0', b"")].concat(), "10_a.cf"),
            ("a path", whole(pax("13 path=/x\n")), "sets path"),
            ("a folder", whole(member("sub/", b'5', b"")), "no plain file"),
            ("in a folder", whole(member("sub/b.cf", b'0', b"")), "no plain name"),
            ("outside", whole(member("../b.cf", b'0', b"")), "no plain name"),
            ("from the root", whole(member("/etc/b.cf", b'0', b"")), "no plain name"),
            ("hidden", whole(member(".b.cf", b'0', b"")), "no plain name"),
            ("a space", whole(member("a b.cf", b'0', b"")), "no plain name"),
            ("nothing", whole(member("", b'0', b"")), "no plain name"),
            ("a link", whole(member("b.cf", b'2', b"")), "no plain file"),
            ("a device", whole(member("b.cf", b'3', b"")), "no plain file"),
            ("a long name", whole(member("././@LongLink", b'L', b"x")), "no plain file"),
            ("twice", whole(good()), "10_a.cf twice"),
            ("no rules", member("README", b'0', b"x"), "no .cf file"),
            ("empty", end(), "no .cf file"),
            ("cut", good()[..BLOCK].to_vec(), "in the middle of a file"),
            ("no tar", vec![b'x'; BLOCK], "no tar"),
        ] {
            let said = match read(&gzip(&tar)) {
                Ok(files) => files.keys().cloned().collect::<Vec<_>>().join(" "),
                Err(why) => why,
            };
            assert!(
                said == expected || said.contains(expected) && said.contains("archive"),
                "{what}: {said}"
            );
        }
        let packed = gzip(&whole(Vec::new()));
        assert!(read(&packed[..packed.len() - 9]).unwrap_err().contains("no whole gzip"));
        assert!(read(b"<html>").unwrap_err().contains("no whole gzip"));
    }

    #[test]
    fn bombs_end_at_the_limit() {
        let zeros = gzip(&vec![0; usize::try_from(UNPACKED).unwrap() + 1]);
        assert!(read(&zeros).unwrap_err().contains("more than"));
        let many: Vec<u8> = (0..=FILES).flat_map(|n| member(&format!("{n}.cf"), b'0', b"")).collect();
        assert!(read(&gzip(&many)).unwrap_err().contains("more than 4000 files"));
    }

    #[test]
    fn names_are_filled_in_and_nothing_loads() {
        for (text, expected) in [
            ("require_version @@VERSION@@\n", "require_version 4.000001\n"),
            (
                "report @@CONTACT_ADDRESS@@, @@NOBODY@@ @@PREFIX@@",
                "report the administrator of that system, @@NOBODY@@ /usr",
            ),
            ("@@@VERSION@@ @@ a@@b @@VERSION@", "@4.000001 @@ a@@b @@VERSION@"),
            ("header A X =~ /@@/\n", "header A X =~ /@@/\n"),
            ("  \u{b}loadplugin X y.pm\n", "#!  \u{b}loadplugin X y.pm\n"),
            ("LoadPlugin X\nbody loadplugin /a/\n", "#!LoadPlugin X\nbody loadplugin /a/\n"),
            (
                "tryplugin X\ndcc-path /x\npyzor_options y\n",
                "#!tryplugin X\n#!dcc-path /x\n#!pyzor_options y\n",
            ),
            (
                "bayes_store_module X\nx_modules y\n_module z",
                "#!bayes_store_module X\n#!x_modules y\n_module z",
            ),
            (
                "user_factory Z\nextracttext_external a /bin/sh",
                "#!user_factory Z\n#!extracttext_external a /bin/sh",
            ),
            ("dns_server 192.0.2.1\n dns_servers x", "#!dns_server 192.0.2.1\n#! dns_servers x"),
            ("score A 1\n", "score A 1\n"),
        ] {
            let files = Files::from([("a.cf".to_owned(), text.into()), ("a.txt".to_owned(), text.into())]);
            let files = prepare(files, "4.000001");
            let prepared = String::from_utf8(files["a.cf"].clone()).unwrap();
            assert_eq!(prepared.replace(NOT_LOADED, "#!"), expected);
            assert_eq!(files["a.txt"], text.as_bytes());
        }
    }
}
