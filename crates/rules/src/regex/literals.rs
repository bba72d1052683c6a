//! Finds texts of which each match of an expression must contain one, so that one pass over a text with all of them tells
//! which expressions are worth trying.

use super::set::ByteSet;
use super::syntax::Node;

/// The most texts for one expression.
const MAX_TEXTS: usize = 600;
/// The most texts a sequence is multiplied out to.
const MAX_PRODUCT: usize = 200;
/// The longest text that is of use, in bytes.
const MAX_LENGTH: usize = 24;
/// The largest class that is written out.
const MAX_CLASS: u32 = 10;

/// What expressions and texts are compared in: lower case, one kind of white space, one digit. So a text stands for all that a
/// class such as `\s` or `\d` may match.
pub fn fold(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte | 0x20,
        b'\t'..=b'\r' => b' ',
        b'1'..=b'9' => b'0',
        other => other,
    }
}

/// The texts, folded, to be looked for in folded text; `None`: there are none.
pub fn required(node: &Node) -> Option<Vec<Vec<u8>>> {
    let found = look(node);
    let mut texts = best(found.best, found.exact.map(Texts::new))?.0;
    texts.sort();
    texts.dedup();
    // A text that contains another is found with it.
    let all = texts.clone();
    texts.retain(|text| !all.iter().any(|other| other != text && contains(text, other)));
    Some(texts)
}

/// Alternatives, and what they are worth.
#[derive(Clone)]
struct Texts(Vec<Vec<u8>>);

impl Texts {
    fn new(texts: Vec<Vec<u8>>) -> Texts {
        Texts(texts)
    }

    /// How seldom they are found in mail: the worst of them decides, and each costs a little.
    fn worth(&self) -> f64 {
        let worst = self.0.iter().map(|text| rarity(text)).fold(f64::INFINITY, f64::min);
        worst - self.0.len() as f64 * 0.01
    }
}

/// What is known of a part.
struct Found {
    /// All that it matches, if that is a short list.
    exact: Option<Vec<Vec<u8>>>,
    /// The best list of which each match contains one.
    best: Option<Texts>,
}

fn look(node: &Node) -> Found {
    match node {
        Node::Empty | Node::Assert(_) | Node::Keep | Node::Look { .. } => {
            Found { exact: Some(vec![Vec::new()]), best: None }
        }
        Node::Bytes(bytes) => {
            Found { exact: Some(vec![bytes.iter().map(|byte| fold(*byte)).collect()]), best: None }
        }
        Node::Set(set) => Found { exact: listed(set), best: None },
        Node::Capture { node, .. } | Node::Atomic(node) => look(node),
        Node::Concat(nodes) => sequence(nodes),
        Node::Alt(branches) | Node::BranchReset(branches) => alternatives(branches),
        Node::Repeat { node, min, max, .. } => repeated(node, *min, *max),
        Node::Backref(..) | Node::Conditional(_) | Node::Verbatim(_) => Found { exact: None, best: None },
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
    let mut found: Option<Texts> = None;
    for node in nodes {
        let part = look(node);
        found = best(found.take(), part.best);
        let Some(exact) = part.exact else {
            found = best(found.take(), Some(Texts::new(std::mem::replace(&mut run, vec![Vec::new()]))));
            whole = false;
            continue;
        };
        if run.len() * exact.len() > MAX_PRODUCT || run.iter().any(|text| text.len() > MAX_LENGTH) {
            found = best(found.take(), Some(Texts::new(std::mem::replace(&mut run, exact))));
            whole = false;
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
        return Found { exact: Some(run), best: found };
    }
    Found { exact: None, best: best(found, Some(Texts::new(run))) }
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
    let lists =
        parts.into_iter().map(|part| best(part.best, part.exact.map(Texts::new)).map(|texts| texts.0));
    let listed = lists.collect::<Option<Vec<_>>>().map(|all| Texts::new(all.concat()));
    Found { exact: exact.filter(|texts| texts.len() <= MAX_PRODUCT), best: listed.filter(usable) }
}

fn repeated(node: &Node, min: u32, max: Option<u32>) -> Found {
    let part = look(node);
    if min == 0 {
        let mut exact = part.exact.filter(|texts| max == Some(1) && texts.len() < MAX_PRODUCT);
        if let Some(texts) = &mut exact {
            texts.push(Vec::new());
        }
        return Found { exact, best: None };
    }
    if min == 1 && max == Some(1) {
        return part;
    }
    let once = part.exact.clone().map(Texts::new);
    match part.exact {
        Some(texts)
            if max == Some(min) && texts.len() == 1 && texts[0].len() * (min as usize) <= MAX_LENGTH =>
        {
            Found { exact: Some(vec![texts[0].repeat(min as usize)]), best: None }
        }
        Some(texts) if texts.len() == 1 && texts[0].len() * (min as usize) <= MAX_LENGTH => Found {
            exact: None,
            best: best(part.best, Some(Texts::new(vec![texts[0].repeat(min as usize)]))),
        },
        _ => Found { exact: None, best: best(part.best, once) },
    }
}

fn usable(texts: &Texts) -> bool {
    !texts.0.is_empty() && texts.0.len() <= MAX_TEXTS && texts.0.iter().all(|text| !text.is_empty())
}

fn best(one: Option<Texts>, other: Option<Texts>) -> Option<Texts> {
    match (one.filter(usable), other.filter(usable)) {
        (Some(one), Some(other)) => Some(if other.worth() > one.worth() { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// Roughly the negative logarithm of how often a text is found: each byte adds, common bytes less.
pub fn rarity(text: &[u8]) -> f64 {
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
