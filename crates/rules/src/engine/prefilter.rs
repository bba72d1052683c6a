//! One pass over a text that tells which rules are worth trying on it.

use std::collections::HashMap;

use crate::regex::{fold_into, weight};

/// Lists of texts of which what a rule matches contains one each.
pub type Lists = Vec<Vec<Vec<u8>>>;

/// The most lists of one rule.
pub const MAX_LISTS: usize = 3;

/// Texts are found by four bytes of theirs that stand together, shorter ones by two.
const LONG: usize = 4;
const SHORT: usize = 2;
/// How much larger a table is than what stands in it.
const ROOM: usize = 16;
/// The most places of a table, as power of two.
const MAX_PLACES: u32 = 16;

/// Literal texts of many rules.
#[derive(Debug)]
pub struct Prefilter {
    texts: Vec<Literal>,
    long: Table,
    short: Table,
}

/// A text, and what it tells of rules.
type Literal = (Box<[u8]>, Box<[Part]>);

/// Texts by some bytes of theirs.
#[derive(Debug)]
struct Table {
    /// How far a hash is shifted.
    shift: u32,
    /// By hash, a bit: whether there are any. It is so small that it stays near the processor.
    any: Box<[u64]>,
    /// By hash: the first of its entries; one more for the end.
    heads: Box<[u32]>,
    /// The number of a text, and where in it the bytes stand.
    entries: Box<[(u32, u32)]>,
}

/// What a text tells of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    rule: u32,
    /// The list that it is of, as bit.
    list: u32,
    /// The bits of all lists of the rule.
    all: u32,
}

/// What was found of each rule in a text.
#[derive(Debug, Default)]
pub struct Marks {
    /// By rule: the number of the text, and the bits of the lists of which a text was found there.
    of: Vec<u32>,
    number: u32,
}

impl Marks {
    /// For so many rules.
    pub fn new(rules: usize) -> Marks {
        Marks { of: vec![0; rules], number: 0 }
    }
}

impl Prefilter {
    /// Of rules and their lists, at most `MAX_LISTS` each; `None`: there are none, or one is too short.
    pub fn new(all: impl Iterator<Item = (u32, Lists)>) -> Option<Prefilter> {
        let mut texts: HashMap<Vec<u8>, Vec<Part>> = HashMap::new();
        for (rule, lists) in all {
            let all = (1 << lists.len().min(MAX_LISTS)) - 1;
            for (number, list) in lists.into_iter().take(MAX_LISTS).enumerate() {
                for text in list {
                    texts.entry(text).or_default().push(Part { rule, list: 1 << number, all });
                }
            }
        }
        if texts.is_empty() || texts.keys().any(|text| text.len() < SHORT) {
            return None;
        }
        let mut texts: Vec<Literal> =
            texts.into_iter().map(|(text, parts)| (text.into(), parts.into())).collect();
        texts.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let some = |size: usize, long: bool| {
            let all = (0u32..).zip(&texts).filter(|(_, (text, _))| (text.len() >= LONG) == long);
            let placed = |(number, (text, _)): (u32, &Literal)| {
                let at = telling(text, size);
                (gram(&text[at..at + size]), number, at as u32)
            };
            Table::new(&all.map(placed).collect::<Vec<_>>())
        };
        Some(Prefilter { long: some(LONG, true), short: some(SHORT, false), texts })
    }

    /// Calls for each rule of whose lists all are found, once. `folded` is room to work in.
    pub fn scan(&self, text: &[u8], folded: &mut Vec<u8>, marks: &mut Marks, mut each: impl FnMut(u32)) {
        fold_into(text, folded);
        marks.number = marks.number.wrapping_add(1 << MAX_LISTS);
        if marks.number == 0 {
            marks.of.fill(0);
            marks.number = 1 << MAX_LISTS;
        }
        let mut found = |number: u32, at: usize| {
            let (text, parts) = &self.texts[number as usize];
            if !folded[at..].starts_with(text) {
                return;
            }
            for part in parts {
                let mark = &mut marks.of[part.rule as usize];
                if *mark < marks.number {
                    *mark = marks.number;
                }
                let with = *mark | part.list;
                if with != *mark {
                    *mark = with;
                    if with - marks.number == part.all {
                        each(part.rule);
                    }
                }
            }
        };
        self.long.scan::<LONG>(folded, &mut found);
        self.short.scan::<SHORT>(folded, &mut found);
    }

    /// The memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        let texts = self.texts.iter().map(|(text, rules)| text.len() + rules.len() * 12 + 32);
        texts.sum::<usize>() + self.long.memory() + self.short.memory()
    }
}

impl Table {
    fn new(all: &[(u32, u32, u32)]) -> Table {
        let bits = (all.len() * ROOM).next_power_of_two().ilog2().clamp(6, MAX_PLACES);
        let shift = u32::BITS - bits;
        let mut table = Table {
            shift,
            any: vec![0; 1 << (bits - 6)].into(),
            heads: Box::default(),
            entries: Box::default(),
        };
        let mut sorted: Vec<(usize, (u32, u32))> =
            all.iter().map(|(gram, text, at)| (hash(*gram, shift), (*text, *at))).collect();
        sorted.sort_unstable();
        sorted.iter().for_each(|(hash, _)| table.any[hash / 64] |= 1 << (hash % 64));
        table.heads = (0..=1 << bits).map(|hash| sorted.partition_point(|one| one.0 < hash) as u32).collect();
        table.entries = sorted.into_iter().map(|(_, entry)| entry).collect();
        table
    }

    /// Calls for each text that may stand somewhere, and where.
    fn scan<const SIZE: usize>(&self, folded: &[u8], found: &mut impl FnMut(u32, usize)) {
        if self.entries.is_empty() {
            return;
        }
        for (at, bytes) in folded.windows(SIZE).enumerate() {
            let hash = hash(gram(bytes), self.shift);
            if self.any[hash / 64] >> (hash % 64) & 1 == 0 {
                continue;
            }
            let entries = &self.entries[self.heads[hash] as usize..self.heads[hash + 1] as usize];
            for (number, place) in entries {
                if let Some(start) = at.checked_sub(*place as usize) {
                    found(*number, start);
                }
            }
        }
    }

    fn memory(&self) -> usize {
        self.any.len() * 8 + self.heads.len() * 4 + self.entries.len() * 8
    }
}

/// Two or four bytes as a number.
#[inline]
fn gram(bytes: &[u8]) -> u32 {
    match *bytes {
        [one, two, three, four] => u32::from_le_bytes([one, two, three, four]),
        [one, two] => u32::from_le_bytes([one, two, 0, 0]),
        _ => 0,
    }
}

#[inline]
fn hash(gram: u32, shift: u32) -> usize {
    (gram.wrapping_mul(0x9e37_79b1) >> shift) as usize
}

/// Where so many bytes of a text stand that are seldom together.
fn telling(text: &[u8], size: usize) -> usize {
    let parts = text.windows(size).map(weight).enumerate();
    parts.reduce(|best, next| if next.1 > best.1 { next } else { best }).map_or(0, |(at, _)| at)
}
