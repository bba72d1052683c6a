//! The languages of a text, guessed as SpamAssassin's TextCat does: by which groups of one to five octets are most frequent in
//! it, against the same of each language (Cavnar and Trenkle, "N-Gram-Based Text Categorization", 1994).

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;

use super::perl::{is_space, is_word};

/// So much of a text is looked at.
const LONGEST: usize = 10_000;
/// Shorter ones are not.
const SHORTEST: usize = 256;
/// So many results are told in a tag.
const MOST_TOLD: usize = 20;

/// The languages that can be told apart: SpamAssassin's file `languages`.
#[derive(Debug, Default)]
pub struct Models(Vec<Model>);

#[derive(Debug)]
struct Model {
    name: String,
    /// Groups of octets with their ranks, the most frequent 1.
    ranks: HashMap<Box<[u8]>, u32>,
}

impl Models {
    /// Reads the file: a group of octets a line, the most frequent first; `0 en` ends what is English.
    pub fn read(text: &[u8]) -> Models {
        let mut models = Vec::new();
        let mut ranks = HashMap::new();
        let mut rank = 1;
        for line in text.split(|octet| *octet == b'\n') {
            match line.strip_prefix(b"0 ").filter(|name| !name.is_empty()) {
                Some(name) => {
                    let name = String::from_utf8_lossy(name).into_owned();
                    models.push(Model { name, ranks: std::mem::take(&mut ranks) });
                    rank = 1;
                }
                None => {
                    ranks.insert(line.into(), rank);
                    rank += 1;
                }
            }
        }
        Models(models)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the configuration says.
#[derive(Debug)]
pub(crate) struct Guessing {
    pub models: std::sync::Arc<Models>,
    /// Languages that are not considered.
    pub skipped: HashSet<String>,
    pub most_languages: usize,
    /// Only groups count that occur more often.
    pub least: u32,
    pub most_groups: usize,
    /// Results up to this times the best are taken too.
    pub acceptable: f64,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Languages {
    /// Their names; none if it is not clear.
    pub names: Vec<String>,
    /// How much text there was, in octets.
    pub length: usize,
    /// The best results, for the tag TEXTCATRESULTS.
    pub results: Option<String>,
}

impl Guessing {
    /// The languages of rendered text.
    pub(crate) fn guess(&self, lines: &[Bytes]) -> Languages {
        let text = stripped(&lines.join(&b'\n'));
        let text = &text[..text.len().min(LONGEST)];
        let mut languages = Languages { length: text.len(), ..Languages::default() };
        if text.len() < SHORTEST {
            return languages;
        }
        let groups = self.groups(text);
        let results = self.results(&groups);
        let Some((_, best)) = results.first() else { return languages };
        let ratio = |points: u64| match *best {
            0 => "unknown".to_owned(),
            best => format!("{:.2}", points as f64 / best as f64),
        };
        let told = results.iter().take(MOST_TOLD);
        let told: Vec<String> =
            told.map(|(name, points)| format!("{name}:{points}({})", ratio(*points))).collect();
        languages.results = Some(told.join(" "));
        let limit = self.acceptable * *best as f64;
        let near = results.iter().skip(1).take_while(|(_, points)| (*points as f64) < limit).count();
        if near < self.most_languages {
            languages.names = results.into_iter().take(near + 1).map(|(name, _)| name).collect();
        }
        languages
    }

    /// The most frequent groups of octets, in order.
    fn groups(&self, text: &[u8]) -> Vec<Vec<u8>> {
        let mut counts: HashMap<Vec<u8>, u32> = HashMap::new();
        for word in text.split(|octet| is_break(*octet)).filter(|word| !word.is_empty()) {
            let word = framed(word);
            for start in 0..word.len() {
                for end in start + 1..=word.len().min(start + 5) {
                    *counts.entry(word[start..end].to_vec()).or_default() += 1;
                }
            }
        }
        let mut groups: Vec<(Vec<u8>, u32)> = counts.into_iter().collect();
        if self.least > 0 {
            groups.retain(|(_, count)| *count > self.least);
        }
        groups.sort_unstable_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
        groups.truncate(self.most_groups);
        groups.into_iter().map(|(group, _)| group).collect()
    }

    /// How far the text is from each language, the nearest first.
    fn results(&self, groups: &[Vec<u8>]) -> Vec<(String, u64)> {
        let mut results: HashMap<&str, u64> = HashMap::new();
        for model in &self.models.0 {
            let short = model.name.split('.').next().unwrap_or_default();
            if self.skipped.contains(short) {
                continue;
            }
            let distance = |(place, group): (usize, &Vec<u8>)| match model.ranks.get(group.as_slice()) {
                Some(rank) => u64::from(*rank).abs_diff(place as u64),
                None => self.most_groups as u64,
            };
            let points = groups.iter().enumerate().map(distance).sum();
            let name =
                if model.name.find(".utf8").is_some_and(|at| at > 0) { short } else { model.name.as_str() };
            let best = results.entry(name).or_insert(points);
            *best = points.min(*best);
        }
        let mut results: Vec<(String, u64)> =
            results.into_iter().map(|(name, points)| (name.to_owned(), points)).collect();
        results.sort_unstable_by(|(a, more), (b, less)| more.cmp(less).then_with(|| a.cmp(b)));
        results
    }
}

/// What stands between words.
fn is_break(octet: u8) -> bool {
    octet.is_ascii_digit() || is_space(octet) || (octet.is_ascii_punctuation() && octet != b'\'')
}

/// A word in lower case, as far as Latin-1 has such, between zeros.
fn framed(word: &[u8]) -> Vec<u8> {
    let is_letter = |octet: &u8| {
        octet.is_ascii_alphabetic() || matches!(octet, 0xc0..=0xd6 | 0xd8..=0xde | 0xe0..=0xf6 | 0xf8..=0xfe)
    };
    let mut framed = Vec::with_capacity(word.len() + 2);
    framed.push(0);
    framed.extend_from_slice(word);
    framed.push(0);
    if word.iter().any(u8::is_ascii_uppercase) && word.windows(4).any(|four| four.iter().all(is_letter)) {
        for octet in &mut framed {
            if matches!(octet, b'A'..=b'Z' | 0xc0..=0xd6 | 0xd8..=0xde) {
                *octet += 0x20;
            }
        }
    }
    framed
}

/// Without prefixes of the subject, and without addresses.
fn stripped(text: &[u8]) -> Vec<u8> {
    let text = without(behind_prefixes(text), page_address);
    let text = without_mail(&text);
    without(&text, bare_address)
}

/// `Re: Fwd:` and the like, ten at most.
fn behind_prefixes(text: &[u8]) -> &[u8] {
    let mut rest = text;
    for _ in 0..10 {
        let word = rest.iter().take_while(|octet| octet.is_ascii_alphabetic()).count();
        if !(2..=12).contains(&word) || rest.get(word) != Some(&b':') {
            break;
        }
        rest = &rest[word + 1..];
        rest = &rest[rest.iter().take_while(|octet| is_space(**octet)).count()..];
    }
    rest
}

/// How many octets without white space there are, up to a number.
fn run(text: &[u8], most: usize) -> usize {
    text.iter().take(most).take_while(|octet| !is_space(**octet)).count()
}

/// With a space for whatever is found; `find` gives where something may begin, and where it ends if it does.
fn without(text: &[u8], next: impl Fn(&[u8], usize) -> Option<(usize, Option<usize>)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut kept, mut at) = (0, 0);
    while let Some((start, end)) = next(text, at) {
        at = start + 1;
        if let Some(end) = end {
            out.extend_from_slice(&text[kept..start]);
            out.push(b' ');
            (kept, at) = (end, end);
        }
    }
    out.extend_from_slice(&text[kept..]);
    out
}

/// `http://…`, also with its signs escaped.
fn page_address(text: &[u8], from: usize) -> Option<(usize, Option<usize>)> {
    let at = from + memchr::memmem::find(&text[from..], b"http")?;
    let rest = &text[at + 4..];
    let rest = rest.strip_prefix(b"s").unwrap_or(rest);
    let signs = [&b"://"[..], b":&#x2F;&#x2F;", b"%3A%2F%2F"];
    let rest = signs.into_iter().find_map(|sign| rest.strip_prefix(sign));
    let end = rest.map(|rest| (text.len() - rest.len(), run(rest, 1024)));
    Some((at, end.filter(|(_, length)| *length > 0).map(|(end, length)| end + length)))
}

/// `www.…`
fn bare_address(text: &[u8], from: usize) -> Option<(usize, Option<usize>)> {
    let at = from + memchr::memmem::find(&text[from..], b"www.")?;
    let length = run(&text[at + 4..], 128);
    let begins = at == 0 || !is_word(text[at - 1]);
    Some((at, (begins && length > 0).then_some(at + 4 + length)))
}

/// The same for addresses of mail, which begin before what they are found by.
fn without_mail(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut kept = 0;
    for sign in memchr::memchr_iter(b'@', text) {
        let Some(before) = text.get(kept..sign) else { continue };
        let name = before.iter().rev().take(64).take_while(|octet| !is_space(**octet)).count();
        let behind = text.get(sign + 2..).map_or(0, |rest| run(rest, 128));
        if name > 0 && text.get(sign + 1).is_some_and(u8::is_ascii_alphabetic) && behind > 0 {
            out.extend_from_slice(&text[kept..sign - name]);
            out.push(b' ');
            kept = sign + 2 + behind;
        }
    }
    out.extend_from_slice(&text[kept..]);
    out
}

/// Whether a language is none of those that are wanted: `check_language`.
pub(crate) fn is_unwanted(languages: &Languages, wanted: &str) -> bool {
    let wanted: BTreeSet<&str> = wanted.split_whitespace().collect();
    if wanted.contains("all") || languages.names.is_empty() {
        return false;
    }
    // In little text Scots is often found where English stands.
    let few = languages.length < 1024 * languages.names.len();
    let plain = |name: &str| -> String {
        let short = name.split('.').next().unwrap_or_default();
        if few && short == "sco" { "en".to_owned() } else { short.to_owned() }
    };
    let as_wanted = |name: &str| if few && name == "sco" { "en".to_owned() } else { name.to_owned() };
    !languages.names.iter().any(|name| wanted.iter().any(|wanted| as_wanted(wanted) == plain(name)))
}

/// Whether a language that is written with octets beyond ASCII in a row is among those: `check_body_8bits`.
pub(crate) fn has_high_octets(wanted: &str) -> bool {
    const HIGH: [&str; 25] = [
        "am", "ar", "be", "bg", "cs", "el", "et", "fa", "fi", "he", "hi", "hy", "is", "ja", "ka", "ko", "mr",
        "pt", "ru", "ta", "th", "tr", "uk", "vi", "yi",
    ];
    wanted.split_whitespace().any(|name| name == "all" || name == "zh" || HIGH.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_prefixes_go() {
        for (text, expected) in [
            ("Re: Fwd: hello", "hello"),
            ("Verylongprefixes: hello", "Verylongprefixes: hello"),
            ("see http://a.example/x now", "see   now"),
            ("see https%3A%2F%2Fa.example now http", "see   now http"),
            ("mail a.b@c.example, now", "mail   now"),
            ("a @ b, @c.example", "a @ b, @c.example"),
            ("to www.a.example and xwww.b", "to   and xwww.b"),
        ] {
            assert_eq!(String::from_utf8_lossy(&stripped(text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn words_are_lower_case_in_latin_1() {
        for (word, expected) in [
            (&b"Word"[..], &b"\0word\0"[..]),
            (b"DNS", b"\0DNS\0"),
            (b"\xc4Xab", b"\0\xe4xab\0"),
            (b"abc", b"\0abc\0"),
        ] {
            assert_eq!(framed(word), expected);
        }
    }

    #[test]
    fn the_nearest_language_is_found() {
        let model = |words: &str, name: &str| {
            let guessing = guessing(Models::default());
            let mut file = guessing.groups(words.as_bytes()).join(&b'\n');
            file.extend_from_slice(format!("\n0 {name}\n").as_bytes());
            file
        };
        let file = [
            model("the quick brown fox jumps over the lazy dog and then the other", "en"),
            model("der schnelle braune fuchs springt und dann der andere hund", "de.utf8"),
        ];
        let models = || Models::read(&file.concat());
        let text = "und der hund springt dann ".repeat(20);
        let languages = guessing(models()).guess(&[Bytes::from(text.clone())]);
        assert_eq!((languages.names, languages.length), (vec!["de".to_owned()], text.len()));
        assert!(languages.results.unwrap().starts_with("de:"));
        let short = guessing(models()).guess(&[Bytes::from("der hund")]);
        assert!(short.names.is_empty() && short.results.is_none());
        let mut skipping = guessing(models());
        skipping.skipped.insert("de".into());
        assert_eq!(skipping.guess(&[Bytes::from(text)]).names, ["en"]);
    }

    fn guessing(models: Models) -> Guessing {
        Guessing {
            models: models.into(),
            skipped: HashSet::new(),
            most_languages: 3,
            least: 0,
            most_groups: 400,
            acceptable: 1.02,
        }
    }

    #[test]
    fn unwanted_languages() {
        for (names, wanted, expected) in [
            (&["de"][..], "en", true),
            (&["de"], "en de", false),
            (&["de"], "all", false),
            (&[], "en", false),
            (&["zh.big5"], "zh", false),
            (&["sco"], "en", false),
        ] {
            let names = names.iter().map(|name| name.to_string()).collect();
            let languages = Languages { names, length: 300, results: None };
            assert_eq!(is_unwanted(&languages, wanted), expected, "{wanted}");
        }
    }
}
