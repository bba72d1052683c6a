//! SpamAssassin's BodyEval: the rendered text as a whole.

use std::collections::{HashMap, HashSet};

use super::pattern::{Fixed, all, fixed, groups};
use super::{Function, Native, number, of, text};
use crate::texts::{Text, Tree, is_wide_space, lines};

static FIELD: Fixed = Fixed::new(|| fixed(r"(?m)^\s*([^:\s][^:\n]{2,29})\s*:\s*\S"));
static STOCK: Fixed = Fixed::new(|| {
    fixed(concat!(
        r"(^trad(?:e|ing)date|company(?:name)?|s\w?(?:t\w?o\w?c\w?k|y\w?m(?:\w?b\w?o\w?l)?)|t(?:arget|icker)",
        r"|(?:opening|current)p(?:rice)?|p(?:rojected|osition)|expectations|weeks?high|marketperformance",
        r"|(?:year|week|month|day|price)(?:target|estimates?)|sector|r(?:ecommendation|ating))\z",
    ))
});

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("multipart_alternative_difference", |native, call| {
        let (left, ..) = native.difference();
        let (min, most) = (number(call, 0), text(call, 1));
        of((min == 0.0 || left > min) && (most == "undef" || left <= number(call, 1)))
    }),
    ("multipart_alternative_difference_count", |native, call| {
        let (_, html, plain) = native.difference();
        of(html as f64 > number(call, 1) && plain as f64 / html as f64 > number(call, 0))
    }),
    ("check_blank_line_ratio", |native, call| {
        let (blank, count) = *native.memo.blank.get_or_init(|| {
            let all = || native.texts.rawbody().iter().flat_map(|chunk| lines(chunk));
            let blank = |line: &&[u8]| line.iter().all(|octet| octet.is_ascii_whitespace() || *octet == 0x0b);
            (all().filter(blank).count(), all().count())
        });
        let least = number(call, 2).max(1.0);
        let ratio = if (count as f64) < least { -1.0 } else { 100.0 * blank as f64 / count as f64 };
        let min = number(call, 0);
        of((min == 0.0 || ratio > min) && ratio <= number(call, 1))
    }),
    ("tvd_vertical_words", |native, call| {
        let share = *native.memo.vertical.get_or_init(|| {
            let of_line = |line: &bytes::Bytes| {
                let spaces = memchr::memchr_iter(b' ', line).count();
                let rest = line.len() - spaces;
                let share = if spaces > rest || rest == 0 { 100 } else { 100 * spaces / rest };
                i64::try_from(share).unwrap_or(100)
            };
            native.texts.body().iter().filter(|line| line.len() > 5).map(of_line).max().unwrap_or(-1)
        });
        let most = if number(call, 1) >= 100.0 { 101.0 } else { number(call, 1) };
        of(share as f64 >= number(call, 0) && (share as f64) < most)
    }),
    ("check_stock_info", |native, call| {
        let found = *native.memo.stock.get_or_init(|| stock(native)) as f64;
        of(number(call, 0) == 0.0 || found >= number(call, 0))
    }),
    ("check_body_length", |native, call| of(native.texts.pristine_body().len() as f64 <= number(call, 0))),
    ("plaintext_body_length", |native, call| within(plain(native).map(|(body, _)| body as f64), call)),
    ("plaintext_sig_length", |native, call| within(plain(native).map(|(_, sig)| sig as f64), call)),
    ("plaintext_body_sig_ratio", |native, call| {
        let ratio = |(body, sig): (usize, usize)| if sig > 0 { body as f64 / sig as f64 } else { 1e6 };
        within(plain(native).map(ratio), call)
    }),
];

fn within(value: Option<f64>, call: &crate::engine::Call<'_>) -> crate::engine::Answer {
    let fits =
        |value: f64| value >= number(call, 0) && call.args.get(1).is_none_or(|_| value <= number(call, 1));
    of(value.is_some_and(fits))
}

/// The lengths of the first plain text up to its signature, and of that.
fn plain(native: &Native<'_>) -> Option<(usize, usize)> {
    let tree = native.texts.tree();
    let part = tree
        .walk()
        .into_iter()
        .map(|at| &tree.nodes[at])
        .find(|part| part.kind.starts_with(b"text/plain"))?;
    let text = part.decoded();
    let (mut at, mut lengths) = (0, (text.len(), 0));
    for line in lines(text) {
        let end = at + line.strip_suffix(b"\n").unwrap_or(line).len();
        if matches!(&text[at..end], b"--" | b"-- " | b"--\r" | b"-- \r") && text.len() - end > 4 {
            lengths = (at, text.len() - end);
        }
        at += line.len();
    }
    Some(lengths)
}

/// How many words of a page are not in the plain text beside it, in percent; how many words the page has; and the text.
pub(super) fn difference(native: &Native<'_>) -> (f64, usize, usize) {
    let tree = native.texts.tree();
    let mut result = (0.0, 0, 0);
    let order = tree.walk();
    let is_alternative = |at: &&usize| {
        tree.nodes[**at].kind.strip_prefix(b"multipart/alternative").is_some_and(|rest| {
            rest.first().is_none_or(|octet| !octet.is_ascii_alphanumeric() && *octet != b'_')
        })
    };
    if is_invitation(tree) {
        return result;
    }
    for at in order.iter().filter(is_alternative) {
        let (mut page, mut plain): (HashMap<Vec<u8>, usize>, HashMap<Vec<u8>, usize>) = Default::default();
        let mut below = vec![*at];
        while let Some(at) = below.pop() {
            let node = &tree.nodes[at];
            below.extend(node.children.iter().rev());
            if !node.leaf || !node.kind.starts_with(b"text") {
                continue;
            }
            let Some(rendered) = node.rendered(native.texts.settings().normalize_charset) else { continue };
            let is_page = node.effective_kind() == b"text/html";
            count(native, &rendered.text, if is_page { &mut page } else { &mut plain });
            let image = rendered.html.as_ref().is_some_and(|page| page.inside("img").is_some());
            if is_page && page.is_empty() && image {
                page.insert(b"\n".to_vec(), 1);
            }
        }
        if page.is_empty() {
            continue;
        }
        let all = page.len();
        let left = page.iter().filter(|(word, count)| plain.get(*word).is_none_or(|other| *count > other));
        let left = left.count() as f64 / all as f64 * 100.0;
        result = (f64::max(result.0, left), all, plain.len());
    }
    result
}

/// A page and an appointment, and nothing else.
fn is_invitation(tree: &Tree) -> bool {
    let kinds: Vec<&[u8]> = tree.nodes[0].children.iter().map(|at| tree.nodes[*at].kind.as_slice()).collect();
    tree.nodes[0].kind == b"multipart/alternative" && kinds == [&b"text/html"[..], b"text/calendar"]
}

/// Counts the words of a text.
fn count(native: &Native<'_>, text: &Text, words: &mut HashMap<Vec<u8>, usize>) {
    let add = |(_, word): (usize, &[u8])| *words.entry(word.to_vec()).or_default() += 1;
    let goes_on = |(step, _): &(usize, _)| !native.is_over_at(*step);
    match std::str::from_utf8(&text.bytes) {
        Ok(text) if !text.is_ascii() => {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let words = text.split(is_wide_space).filter(|word| word.contains(is_word));
            words.map(str::as_bytes).enumerate().take_while(goes_on).for_each(add);
        }
        _ => {
            let is_word = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'_';
            let is_space = |octet: &u8| octet.is_ascii_whitespace() || *octet == 0x0b;
            let words = text.bytes.split(is_space).filter(|word| word.iter().any(is_word));
            words.enumerate().take_while(goes_on).for_each(add);
        }
    }
}

/// How many fields of an advertisement for shares there are.
fn stock(native: &Native<'_>) -> usize {
    let tree = native.texts.tree();
    let part = tree.walk().into_iter().map(|at| &tree.nodes[at]).find(|node| node.kind == b"text/plain");
    let rendered = part.and_then(|part| part.rendered(native.texts.settings().normalize_charset));
    let Some(rendered) = rendered else { return 0 };
    let mut found: HashSet<Vec<u8>> = HashSet::new();
    for (step, name) in all(&FIELD, &rendered.text.bytes).into_iter().enumerate() {
        if native.is_over_at(step) {
            break;
        }
        let letters: Vec<u8> =
            name.iter().map(u8::to_ascii_lowercase).filter(u8::is_ascii_lowercase).collect();
        if let Some([_, Some(field)]) = groups(&STOCK, &letters).as_deref() {
            found.insert(field.to_vec());
        }
    }
    found.len()
}
