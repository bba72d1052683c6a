//! Counts of hits and times, and what they say.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

/// The most pairs of rules whose common hits are counted: some 50 MB.
const MOST_PAIRS: usize = 2_000_000;

/// Rules that hit fewer mails are in no overlap: it would be chance.
const FEWEST_HITS: u32 = 5;

/// What a mail is known to be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Class {
    Spam,
    Ham,
    Either,
}

/// One mail. Rules are numbers.
pub(super) struct Seen {
    pub(super) score: f64,
    /// Rules that hit, each once, in order.
    pub(super) hits: Vec<u32>,
    /// How long rules were tried, of those that were.
    pub(super) times: Vec<(u32, Duration)>,
    /// How long it took to read the mail.
    pub(super) read: Duration,
    /// How long everything took.
    pub(super) spent: Duration,
    /// How long all expressions took, those of subrules among them.
    pub(super) searched: Duration,
}

/// Sums over the mails of one class.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) mails: u32,
    /// Mails whose score reaches the threshold.
    pub(super) found: u32,
    score: f64,
}

impl Sums {
    /// The score on average.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.mails > 0).then(|| self.score / f64::from(self.mails))
    }
}

/// Sums over all mails.
pub(super) struct Tally {
    pub(super) threshold: f64,
    /// Spam, ham, either.
    pub(super) classes: [Sums; 3],
    /// Hits of each rule in the three classes.
    hits: Vec<[u32; 3]>,
    /// Time of each rule.
    pub(super) time: Vec<Duration>,
    /// Mails on which each rule was tried.
    pub(super) tried: Vec<u32>,
    pairs: HashMap<(u32, u32), u32>,
    pub(super) pairs_left_out: bool,
    pub(super) read: Duration,
    pub(super) spent: Duration,
    pub(super) searched: Duration,
}

/// How often a rule hits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Frequency {
    pub(super) hits: u32,
    pub(super) spam_hits: u32,
    pub(super) ham_hits: u32,
    pub(super) overall_percent: f64,
    pub(super) spam_percent: f64,
    pub(super) ham_percent: f64,
    /// The spam's share of the sum of both rates; None: there is no mail of one of the two classes, or none was hit.
    pub(super) s_o: Option<f64>,
    /// 1 for the most useful rule, 0 for the least; None as above.
    pub(super) rank: Option<f64>,
}

/// Two rules that hit the same mails.
#[derive(Debug, PartialEq)]
pub(super) struct Overlap {
    pub(super) rules: [u32; 2],
    pub(super) hits: [u32; 2],
    pub(super) both: u32,
}

impl Tally {
    pub(super) fn new(rules: usize, threshold: f64) -> Tally {
        Tally {
            threshold,
            classes: [Sums::default(); 3],
            hits: vec![[0; 3]; rules],
            time: vec![Duration::ZERO; rules],
            tried: vec![0; rules],
            pairs: HashMap::new(),
            pairs_left_out: false,
            read: Duration::ZERO,
            spent: Duration::ZERO,
            searched: Duration::ZERO,
        }
    }

    pub(super) fn add(&mut self, class: Class, seen: &Seen) {
        let sums = &mut self.classes[class as usize];
        sums.mails += 1;
        sums.found += u32::from(seen.score >= self.threshold);
        sums.score += seen.score;
        self.read += seen.read;
        self.spent += seen.spent;
        self.searched += seen.searched;
        for &(id, time) in &seen.times {
            self.time[id as usize] += time;
            self.tried[id as usize] += 1;
        }
        for (place, &id) in seen.hits.iter().enumerate() {
            self.hits[id as usize][class as usize] += 1;
            for &other in &seen.hits[place + 1..] {
                if self.pairs.len() < MOST_PAIRS {
                    *self.pairs.entry((id, other)).or_default() += 1;
                } else if let Some(count) = self.pairs.get_mut(&(id, other)) {
                    *count += 1;
                } else {
                    self.pairs_left_out = true;
                }
            }
        }
    }

    pub(super) fn mails(&self) -> u32 {
        self.classes.iter().map(|class| class.mails).sum()
    }

    /// Of one mail.
    pub(super) fn micros(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / f64::from(self.mails().max(1))
    }

    fn all(&self, id: usize) -> u32 {
        self.hits[id].iter().sum()
    }

    /// Rules that never hit.
    pub(super) fn dead(&self) -> impl Iterator<Item = u32> {
        (0..self.hits.len()).filter(|id| self.all(*id) == 0).map(|id| id as u32)
    }

    /// Of the rules that hit; the most useful first, or the most frequent if that cannot be told. `scores` are those of all
    /// rules.
    pub(super) fn frequencies(&self, scores: &[f64]) -> Vec<(u32, Frequency)> {
        let [spam, ham, _] = self.classes.map(|class| f64::from(class.mails));
        let labelled = spam > 0.0 && ham > 0.0;
        let mails = f64::from(self.mails().max(1));
        let mut rows: Vec<(f64, u32, Frequency)> = Vec::new();
        for (id, [spam_hits, ham_hits, _]) in self.hits.iter().copied().enumerate() {
            let hits = self.all(id);
            if hits == 0 {
                continue;
            }
            let (spam_rate, ham_rate) =
                (f64::from(spam_hits) / spam.max(1.0), f64::from(ham_hits) / ham.max(1.0));
            let sum = spam_rate + ham_rate;
            let frequency = Frequency {
                hits,
                spam_hits,
                ham_hits,
                overall_percent: 100.0 * f64::from(hits) / mails,
                spam_percent: 100.0 * spam_rate,
                ham_percent: 100.0 * ham_rate,
                s_o: (labelled && sum > 0.0).then(|| spam_rate / sum),
                rank: None,
            };
            let use_of = if labelled { usefulness(spam_rate, ham_rate, scores[id]) } else { f64::from(hits) };
            rows.push((use_of, id as u32, frequency));
        }
        rows.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        if labelled {
            let last = (rows.len().max(2) - 1) as f64;
            let (mut before, mut rank) = (f64::NAN, 1.0);
            for (place, (use_of, _, frequency)) in rows.iter_mut().enumerate() {
                // What is as useful has the same rank.
                if *use_of != before {
                    (before, rank) = (*use_of, 1.0 - place as f64 / last);
                }
                frequency.rank = Some(rank);
            }
        }
        rows.into_iter().map(|(_, id, frequency)| (id, frequency)).collect()
    }

    /// Pairs of rules of which this share, 0 to 1, of what either hits is hit by both; the most common hits first.
    pub(super) fn overlaps(&self, share: f64) -> Vec<Overlap> {
        let mut found: Vec<Overlap> = Vec::new();
        for (&(one, other), &both) in &self.pairs {
            let hits = [self.all(one as usize), self.all(other as usize)];
            let either = hits[0] + hits[1] - both;
            if hits.iter().all(|hits| *hits >= FEWEST_HITS) && f64::from(both) >= share * f64::from(either) {
                found.push(Overlap { rules: [one, other], hits, both });
            }
        }
        found.sort_by_key(|overlap| (std::cmp::Reverse(overlap.both), overlap.rules));
        found
    }
}

/// How many bits a hit or its absence tells about whether a mail is spam, were there as much spam as ham; below zero if the
/// points of the rule count for the wrong side.
fn usefulness(spam_rate: f64, ham_rate: f64, score: f64) -> f64 {
    let term = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    let entropy = |p: f64| term(p) + term(1.0 - p);
    let bits = entropy((spam_rate + ham_rate) / 2.0) - (entropy(spam_rate) + entropy(ham_rate)) / 2.0;
    let wrong = score != 0.0 && (spam_rate > ham_rate) != (score > 0.0);
    if wrong { -bits } else { bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_most_is_most_useful() {
        let order = [
            (1.0, 0.0, 1.0),  // all spam, no ham
            (0.0, 0.9, -1.0), // most ham, and counts for it
            (0.8, 0.1, 2.0),
            (0.1, 0.0, 0.1),
            (0.3, 0.3, 1.0), // tells nothing
            (0.0, 0.2, 1.0), // counts ham as spam
        ];
        let values: Vec<f64> =
            order.iter().map(|(spam, ham, score)| usefulness(*spam, *ham, *score)).collect();
        assert!(values.is_sorted_by(|one, other| one > other), "{values:?}");
        assert!((values[0] - 1.0).abs() < 1e-9);
    }

    #[test]
    fn pairs_are_bounded_by_the_mails_they_share() {
        let mut tally = Tally::new(4, 5.0);
        let seen = |hits: &[u32]| Seen {
            score: 0.0,
            hits: hits.to_vec(),
            times: Vec::new(),
            read: Duration::ZERO,
            spent: Duration::ZERO,
            searched: Duration::ZERO,
        };
        for number in 0..10 {
            tally.add(Class::Either, &seen(if number == 0 { &[0, 1, 3] } else { &[0, 1] }));
            tally.add(Class::Either, &seen(&[2]));
        }
        let only = Overlap { rules: [0, 1], hits: [10, 10], both: 10 };
        assert_eq!(tally.overlaps(0.9), [only]);
        assert_eq!(tally.overlaps(0.1).len(), 1, "one hit in common is chance");
        assert_eq!(tally.dead().count(), 0);
        // Without labels the most frequent come first, and nothing is said about use.
        let rows = tally.frequencies(&[1.0; 4]);
        assert_eq!(rows.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert!(rows.iter().all(|(_, frequency)| frequency.rank.is_none() && frequency.s_o.is_none()));
    }
}
