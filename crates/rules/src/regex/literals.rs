//! Finds texts of which each match of an expression must contain one, so that one pass over a text with all of them tells
//! which expressions are worth trying.

use std::sync::LazyLock;

use super::set::ByteSet;
use super::syntax::Node;

/// The most texts for one expression.
const MAX_TEXTS: usize = 600;
/// The most texts a sequence is multiplied out to.
const MAX_PRODUCT: usize = 200;
/// The longest text that is of use, in bytes.
const MAX_LENGTH: usize = 24;
/// The most lists of one expression.
const MAX_LISTS: usize = 3;
/// How many bytes of a text are looked for: more would only make the automaton larger.
const TELLING: usize = 8;
/// The worth of a text that stands in ordinary mail: below `engine`'s bound for lists beside the first.
const COMMON: f64 = 4.6;
/// What stands in every other mail, folded: fields, marks of HTML, words.
const ORDINARY: &[u8] = include_bytes!("ordinary.txt");
/// The largest class that is written out.
const MAX_CLASS: u32 = 10;

/// What expressions and texts are compared in: lower case, one kind of white space, one digit. So a text stands for all that a
/// class such as `\s` or `\d` may match.
#[inline]
pub fn fold(byte: u8) -> u8 {
    // Written so that many are folded at once.
    let lower = if byte.wrapping_sub(b'A') < 26 { byte | 0x20 } else { byte };
    let spaced = if byte.wrapping_sub(b'\t') < 5 { b' ' } else { lower };
    if byte.wrapping_sub(b'1') < 9 { b'0' } else { spaced }
}

/// A text folded, instead of what was there.
pub fn fold_into(text: &[u8], folded: &mut Vec<u8>) {
    folded.resize(text.len(), 0);
    folded.iter_mut().zip(text).for_each(|(folded, byte)| *folded = fold(*byte));
}

/// Lists of texts, folded, to be looked for in folded text: each match contains one of each list. The best list is first.
pub fn required(node: &Node) -> Vec<Vec<Vec<u8>>> {
    let found = look(node);
    let mut lists = found.lists;
    keep(&mut lists, found.exact.map(Texts::new));
    lists.truncate(MAX_LISTS);
    let mut lists: Vec<_> = lists.into_iter().map(|list| shortened(list.texts)).collect();
    lists.dedup();
    lists
}

/// Texts cut to what tells most of each, without those that are found with another.
fn shortened(texts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let cut = |text: Vec<u8>| {
        let parts = text.windows(text.len().min(TELLING));
        let best = parts
            .map(|part| (weight(part), part))
            .reduce(|one, other| if other.0 > one.0 { other } else { one });
        best.map_or_else(Vec::new, |(_, part)| part.to_vec())
    };
    let mut texts: Vec<Vec<u8>> = texts.into_iter().map(cut).collect();
    texts.sort();
    texts.dedup();
    let all = texts.clone();
    texts.retain(|text| !all.iter().any(|other| other != text && contains(text, other)));
    texts
}

/// Alternatives, and what they are worth.
#[derive(Clone)]
struct Texts {
    texts: Vec<Vec<u8>>,
    /// How seldom they are found in mail: the worst of them decides, and each costs a little.
    worth: f64,
}

impl Texts {
    fn new(texts: Vec<Vec<u8>>) -> Texts {
        let worst = texts.iter().map(|text| rarity(text)).fold(f64::INFINITY, f64::min);
        let worth = worst - texts.len() as f64 * 0.01;
        Texts { texts, worth }
    }
}

/// What is known of a part.
struct Found {
    /// All that it matches, if that is a short list.
    exact: Option<Vec<Vec<u8>>>,
    /// Lists of which each match contains one text, the best first.
    lists: Vec<Texts>,
}

fn look(node: &Node) -> Found {
    match node {
        Node::Empty | Node::Assert(_) | Node::Keep | Node::Look { .. } => {
            Found { exact: Some(vec![Vec::new()]), lists: Vec::new() }
        }
        Node::Bytes(bytes) => {
            Found { exact: Some(vec![bytes.iter().map(|byte| fold(*byte)).collect()]), lists: Vec::new() }
        }
        Node::Set(set) => Found { exact: listed(set), lists: Vec::new() },
        Node::Capture { node, .. } | Node::Atomic(node) => look(node),
        Node::Concat(nodes) => sequence(nodes),
        Node::Alt(branches) | Node::BranchReset(branches) => alternatives(branches),
        Node::Repeat { node, min, max, .. } => repeated(node, *min, *max),
        Node::Backref(..) | Node::Conditional(_) | Node::Verbatim(_) => {
            Found { exact: None, lists: Vec::new() }
        }
    }
}

fn listed(set: &ByteSet) -> Option<Vec<Vec<u8>>> {
    let mut lower = ByteSet::EMPTY;
    set.iter().for_each(|byte| lower.add(fold(byte)));
    (lower.len() <= MAX_CLASS && !lower.is_empty()).then(|| lower.iter().map(|byte| vec![byte]).collect())
}

fn sequence(nodes: &[Node]) -> Found {
    let mut run: Vec<Vec<u8>> = vec![Vec::new()];
    let mut whole = true;
    let mut lists = Vec::new();
    for node in nodes {
        let part = look(node);
        part.lists.into_iter().for_each(|list| keep(&mut lists, Some(list)));
        let Some(exact) = part.exact else {
            keep(&mut lists, Some(Texts::new(std::mem::replace(&mut run, vec![Vec::new()]))));
            whole = false;
            continue;
        };
        if run.len() * exact.len() > MAX_PRODUCT || run.iter().any(|text| text.len() > MAX_LENGTH) {
            keep(&mut lists, Some(Texts::new(std::mem::replace(&mut run, exact))));
            whole = false;
            continue;
        }
        if exact.len() == 1 {
            run.iter_mut().for_each(|before| before.extend_from_slice(&exact[0]));
            continue;
        }
        run = run
            .iter()
            .flat_map(|before| exact.iter().map(move |after| [&before[..], after].concat()))
            .collect();
        run.sort();
        run.dedup();
    }
    if whole {
        return Found { exact: Some(run), lists };
    }
    keep(&mut lists, Some(Texts::new(run)));
    Found { exact: None, lists }
}

fn alternatives(branches: &[Node]) -> Found {
    let parts: Vec<Found> = branches.iter().map(look).collect();
    let exact: Option<Vec<Vec<u8>>> =
        parts.iter().map(|part| part.exact.clone()).collect::<Option<Vec<_>>>().map(|all| {
            let mut all = all.concat();
            all.sort();
            all.dedup();
            all
        });
    let of_branches: Vec<Vec<Texts>> = parts
        .into_iter()
        .map(|part| {
            let mut lists = part.lists;
            keep(&mut lists, part.exact.map(Texts::new));
            lists
        })
        .collect();
    let mut lists = Vec::new();
    if of_branches.iter().all(|lists| !lists.is_empty()) {
        // A branch with fewer lists than others gives its last once more.
        let most = of_branches.iter().map(Vec::len).max().unwrap_or(0);
        for index in 0..most {
            let of_each = of_branches.iter().filter_map(|lists| lists.get(index).or(lists.last()));
            let mut texts: Vec<Vec<u8>> = of_each.flat_map(|list| list.texts.iter().cloned()).collect();
            texts.sort();
            texts.dedup();
            keep(&mut lists, Some(Texts::new(texts)));
        }
    }
    Found { exact: exact.filter(|texts| texts.len() <= MAX_PRODUCT), lists }
}

fn repeated(node: &Node, min: u32, max: Option<u32>) -> Found {
    let part = look(node);
    if min == 0 {
        let mut exact = part.exact.filter(|texts| max == Some(1) && texts.len() < MAX_PRODUCT);
        if let Some(texts) = &mut exact {
            texts.push(Vec::new());
        }
        return Found { exact, lists: Vec::new() };
    }
    if min == 1 && max == Some(1) {
        return part;
    }
    let mut lists = part.lists;
    match part.exact {
        Some(texts) if texts.len() == 1 && texts[0].len() * (min as usize) <= MAX_LENGTH => {
            let whole = vec![texts[0].repeat(min as usize)];
            if max == Some(min) {
                return Found { exact: Some(whole), lists };
            }
            keep(&mut lists, Some(Texts::new(whole)));
        }
        exact => keep(&mut lists, exact.map(Texts::new)),
    }
    Found { exact: None, lists }
}

/// Puts a list where it belongs by its worth, if it is of use.
fn keep(lists: &mut Vec<Texts>, list: Option<Texts>) {
    let usable = |list: &Texts| {
        !list.texts.is_empty()
            && list.texts.len() <= MAX_TEXTS
            && list.texts.iter().all(|text| !text.is_empty())
    };
    let Some(list) = list.filter(usable) else { return };
    let place = lists.partition_point(|other| other.worth >= list.worth);
    lists.insert(place, list);
    lists.truncate(MAX_LISTS);
}

/// Roughly the negative logarithm of how often a text is found: each byte adds, common bytes less; what stands in ordinary mail
/// is worth next to nothing.
pub fn rarity(text: &[u8]) -> f64 {
    let weight = weight(text);
    if weight > COMMON && is_ordinary(text) { COMMON } else { weight }
}

/// Whether it stands in ordinary mail.
fn is_ordinary(text: &[u8]) -> bool {
    /// Runs of four bytes that stand there, by their hash: what has others is known at once.
    static RUNS: LazyLock<Box<[bool; 1 << 14]>> = LazyLock::new(|| {
        let mut runs = Box::new([false; 1 << 14]);
        ORDINARY.windows(4).for_each(|run| runs[hash(run)] = true);
        runs
    });
    text.windows(4).all(|run| RUNS[hash(run)]) && contains(ORDINARY, text)
}

fn hash(run: &[u8]) -> usize {
    let number = run.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
    (number.wrapping_mul(0x9e37_79b1) >> 18) as usize
}

/// How seldom its bytes are found, one by one.
pub fn weight(text: &[u8]) -> f64 {
    let bits = |byte: u8| match byte {
        b' ' | b'e' | b't' | b'a' | b'o' => 1.0,
        b'i' | b'n' | b's' | b'r' | b'l' | b'd' | b'\n' => 1.3,
        b'c' | b'h' | b'm' | b'p' | b'u' | b'.' | b'/' | b'-' | b'=' => 1.6,
        b'a'..=b'z' | b'0'..=b'9' | b',' | b':' | b'"' | b'<' | b'>' => 2.0,
        0x80.. => 1.8,
        _ => 2.6,
    };
    // What is longer than eight bytes is seldom enough.
    text.iter().map(|&byte| bits(byte)).sum::<f64>().min(14.0)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}
