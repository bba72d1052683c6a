//! A search of one expression over texts.

use std::ops::Range;
use std::time::Instant;

use super::Evidence;
use crate::regex::Matcher;

/// The most values of tags that one rule captures.
const MAX_CAPTURES: usize = 1_000;

/// A search over several texts.
pub struct Search {
    pub most: u32,
    pub times: u32,
    pub evidence: Option<Evidence>,
    pub captured: Vec<(String, Vec<u8>)>,
    /// When the time for all rules is over.
    pub end: Instant,
}

impl Search {
    /// Matches in one text, one after the other, until there are enough.
    pub fn one(
        &mut self,
        matcher: &Matcher,
        captures: bool,
        chunk: usize,
        text: &[u8],
        shown: usize,
    ) -> Result<(), String> {
        let mut from = 0;
        let end = self.end;
        let go = || Instant::now() < end;
        while self.times < self.most && from <= text.len() && (self.times == 0 || go()) {
            let found = if captures {
                matcher.captures_while(text, from, &go).map(|found| {
                    found.map(|(range, named)| {
                        if self.captured.len() < MAX_CAPTURES {
                            self.captured.extend(named);
                        }
                        range
                    })
                })
            } else {
                matcher.find_while(text, from, &go)
            };
            let Some(range) = found.map_err(|overrun| overrun.message)? else { break };
            self.times += 1;
            // After an empty match the next may not be empty at the same place.
            from = if range.is_empty() { range.end + 1 } else { range.end };
            self.evidence.get_or_insert_with(|| Evidence {
                chunk,
                text: excerpt(text, &range, shown),
                range,
            });
        }
        Ok(())
    }
}

pub fn excerpt(text: &[u8], range: &Range<usize>, shown: usize) -> Vec<u8> {
    let text = text.get(range.clone()).unwrap_or_default();
    text[..text.len().min(shown)].to_vec()
}
