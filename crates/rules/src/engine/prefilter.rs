//! One pass over a text that tells which rules are worth trying on it.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::regex::fold;

/// Lists of texts of which what a rule matches contains one each.
pub type Lists = Vec<Vec<Vec<u8>>>;

/// The most lists of one rule.
pub const MAX_LISTS: usize = 3;

/// How much of a text is looked for, in bytes.
const LONGEST: usize = 32;
/// The length of all texts up to which the fastest automaton is made; it takes some 150 bytes for each byte.
const MAX_DFA: usize = 500_000;

/// Literal texts of many rules, in one automaton.
#[derive(Debug)]
pub struct Prefilter {
    automaton: AhoCorasick,
    /// The rules of each text.
    rules: Vec<Box<[Part]>>,
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
    /// Of rules and their lists, at most `MAX_LISTS` each; `None`: there are none, or they are too large.
    pub fn new(all: impl Iterator<Item = (u32, Lists)>) -> Option<Prefilter> {
        let mut texts: HashMap<Vec<u8>, Vec<Part>> = HashMap::new();
        for (rule, lists) in all {
            let all = (1 << lists.len().min(MAX_LISTS)) - 1;
            for (number, list) in lists.into_iter().take(MAX_LISTS).enumerate() {
                for mut text in list {
                    // Its beginning is as telling; to make the automaton takes the square of the length.
                    text.truncate(LONGEST);
                    texts.entry(text).or_default().push(Part { rule, list: 1 << number, all });
                }
            }
        }
        if texts.is_empty() {
            return None;
        }
        let mut texts: Vec<(Vec<u8>, Vec<Part>)> = texts.into_iter().collect();
        texts.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let length: usize = texts.iter().map(|(text, _)| text.len()).sum();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(if length <= MAX_DFA { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA }))
            .build(texts.iter().map(|(text, _)| text))
            .ok()?;
        Some(Prefilter { automaton, rules: texts.into_iter().map(|(_, rules)| rules.into()).collect() })
    }

    /// Calls for each rule of whose lists all are found, once. `folded` is room to work in.
    pub fn scan(&self, text: &[u8], folded: &mut Vec<u8>, marks: &mut Marks, mut each: impl FnMut(u32)) {
        folded.clear();
        folded.extend(text.iter().map(|byte| fold(*byte)));
        marks.number = marks.number.wrapping_add(1 << MAX_LISTS);
        if marks.number == 0 {
            marks.of.fill(0);
            marks.number = 1 << MAX_LISTS;
        }
        for found in self.automaton.find_overlapping_iter(&folded[..]) {
            for part in &self.rules[found.pattern().as_usize()] {
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
        }
    }

    /// The memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        self.automaton.memory_usage() + self.rules.iter().map(|rules| rules.len() * 12 + 16).sum::<usize>()
    }
}
