//! One pass over a text that tells which rules are worth trying on it.

use std::collections::HashMap;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::regex::fold;

/// How much of a text is looked for, in bytes.
const LONGEST: usize = 32;
/// The length of all texts up to which the fastest automaton is made; it takes some 150 bytes for each byte.
const MAX_DFA: usize = 500_000;

/// Literal texts of many rules, in one automaton.
#[derive(Debug)]
pub struct Prefilter {
    automaton: AhoCorasick,
    /// The rules of each text.
    rules: Vec<Box<[u32]>>,
}

impl Prefilter {
    /// Of rules and their texts; `None`: there are none, or they are too large.
    pub fn new(all: impl Iterator<Item = (u32, Vec<Vec<u8>>)>) -> Option<Prefilter> {
        let mut texts: HashMap<Vec<u8>, Vec<u32>> = HashMap::new();
        for (rule, required) in all {
            for mut text in required {
                // Its beginning is as telling; to make the automaton takes the square of the length.
                text.truncate(LONGEST);
                texts.entry(text).or_default().push(rule);
            }
        }
        if texts.is_empty() {
            return None;
        }
        let mut texts: Vec<(Vec<u8>, Vec<u32>)> = texts.into_iter().collect();
        texts.sort();
        let length: usize = texts.iter().map(|(text, _)| text.len()).sum();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(if length <= MAX_DFA { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA }))
            .build(texts.iter().map(|(text, _)| text))
            .ok()?;
        Some(Prefilter { automaton, rules: texts.into_iter().map(|(_, rules)| rules.into()).collect() })
    }

    /// Calls for each rule of which a text is found; perhaps more than once. `folded` is room to work in.
    pub fn scan(&self, text: &[u8], folded: &mut Vec<u8>, mut each: impl FnMut(u32)) {
        folded.clear();
        folded.extend(text.iter().map(|byte| fold(*byte)));
        for found in self.automaton.find_overlapping_iter(&folded[..]) {
            self.rules[found.pattern().as_usize()].iter().for_each(|rule| each(*rule));
        }
    }

    /// The memory it takes, in bytes.
    pub fn memory(&self) -> usize {
        self.automaton.memory_usage() + self.rules.iter().map(|rules| rules.len() * 4 + 16).sum::<usize>()
    }
}
