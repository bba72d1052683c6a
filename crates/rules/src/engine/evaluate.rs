//! One evaluation of all rules over one message.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::prefilter::Marks;
use super::search::{Search, excerpt};
use super::tags::{filled, keep, may_match, values};
use super::{
    Answer, Area, Call, Compiled, Engine, Evals, Evidence, Fault, Group, Hit, Limits, Outcome, Test, Texts,
    UNKNOWN, Work,
};
use crate::conf::{Place, Shortcircuit, UriField};
use crate::meta;
use crate::subject::Subject;

/// The most faults that are told.
const MAX_FAULTS: usize = 100;

/// Evaluates.
pub fn run(engine: &Engine, subject: &dyn Subject, evals: &dyn Evals, limits: Limits) -> Outcome {
    let mut run = Run {
        engine,
        subject,
        evals,
        limits,
        end: Instant::now() + limits.time,
        late: false,
        values: vec![0.0; engine.rules.len()],
        known: vec![false; engine.rules.len()],
        uris: Vec::new(),
        candidates: Default::default(),
        folded: Vec::new(),
        marks: Marks::new(engine.rules.len()),
        fields: vec![None; engine.headers.len()],
        parts: vec![None; engine.mime.len()],
        stop: None,
        outcome: Outcome { tags: evals.tags().into_iter().collect(), ..Outcome::default() },
    };
    run.all();
    run.outcome
}

/// A rule and the text it is to be tried on.
type Candidate = (u32, u32);

struct Run<'a> {
    engine: &'a Engine,
    subject: &'a dyn Subject,
    evals: &'a dyn Evals,
    limits: Limits,
    end: Instant,
    late: bool,
    /// How often each rule hit, as meta rules see it.
    values: Vec<f64>,
    /// Whether each rule has run.
    known: Vec<bool>,
    uris: Vec<Bytes>,
    /// Of header, body, rawbody, full, uri: rules found by the pass over the text, sorted; `None`: not passed over yet.
    candidates: [Option<Vec<Candidate>>; 5],
    folded: Vec<u8>,
    marks: Marks,
    /// Values of fields, by group; outer `None`: not asked for yet.
    fields: Vec<Option<Option<Bytes>>>,
    /// Values of fields of parts, by group; `None`: not asked for yet.
    parts: Vec<Option<PartFields>>,
    stop: Option<(Arc<str>, bool)>,
    outcome: Outcome,
}

/// The values of a field of all parts, and rules.
type PartFields = (Vec<Option<Bytes>>, Vec<u32>);

/// What became of one search.
enum Found {
    No,
    Yes { times: u32, evidence: Evidence },
    Fault(String),
}

impl<'a> Run<'a> {
    fn all(&mut self) {
        self.uris = self.cleaned();
        for &band in &self.engine.bands {
            if self.stop.is_some() || self.late {
                break;
            }
            self.band(band);
            if self.engine.may_stop && self.stop.is_none() {
                self.metas(false);
            }
        }
        for (name, answer) in self.evals.others() {
            if let Some(&id) = self.engine.index.get(name.as_str()) {
                self.answered(id, Area::Other, answer);
            }
        }
        if self.late {
            self.hit_by_name("TIME_LIMIT_EXCEEDED", 0.001, "Exceeded time limit / deadline");
        }
        // The evaluation that is ended early has no meta rules.
        if self.stop.is_none() && !self.late {
            self.metas(false);
            self.metas(true);
        }
        self.outcome.shortcircuit = self.stop.take();
        self.outcome.score = self
            .outcome
            .hits
            .iter()
            .filter(|hit| !hit.name.starts_with("__"))
            .map(|hit| hit.score * f64::from(hit.times))
            // Not the sum of nothing, which is -0.
            .fold(0.0, |sum, points| sum + points);
    }

    /// Canonical forms of addresses of pages, each once.
    fn cleaned(&self) -> Vec<Bytes> {
        let mut seen = std::collections::HashSet::new();
        let all = self.subject.uris().iter().flat_map(|uri| uri.cleaned.iter());
        all.filter(|uri| seen.insert(*uri)).cloned().collect()
    }

    /// All rules of one priority, in SpamAssassin's order of kinds.
    fn band(&mut self, band: i64) {
        let engine = self.engine;
        self.headers(band);
        self.evals(band, &[Place::Header, Place::Rbl]);
        self.texts(band, 1, &engine.body, Area::Body);
        self.texts(band, 4, &engine.uri, Area::Uri);
        self.mime(band);
        self.evals(band, &[Place::Body]);
        self.texts(band, 2, &engine.rawbody, Area::RawBody);
        self.evals(band, &[Place::RawBody]);
        self.texts(band, 3, &engine.full, Area::Full);
        self.evals(band, &[Place::Full]);
        // What was not worth trying has run, too.
        let first = engine.found.partition_point(|(priority, _)| *priority < band);
        for (_, id) in engine.found[first..].iter().take_while(|(priority, _)| *priority == band) {
            self.known[*id as usize] = true;
        }
    }

    /// Whether the evaluation is to end here. The rule is named if it is for want of time.
    fn over(&mut self, rule: &Arc<str>) -> bool {
        if !self.late && Instant::now() >= self.end {
            self.late = true;
            let message =
                format!("the evaluation took longer than {:?}; later rules were not run", self.limits.time);
            self.fault(rule, message);
        }
        self.late
    }

    fn fault(&mut self, rule: &Arc<str>, message: String) {
        if self.outcome.faults.len() < MAX_FAULTS {
            self.outcome.faults.push(Fault { rule: rule.clone(), message });
        }
    }

    // ---- fields

    fn headers(&mut self, band: i64) {
        if self.stop.is_some() || self.late {
            return;
        }
        if self.candidates[0].is_none() {
            let found = self.scan_fields();
            self.candidates[0] = Some(found);
        }
        let candidates = self.candidates[0].take().unwrap_or_default();
        for (id, group) in &candidates {
            let rule = &self.engine.rules[*id as usize];
            if rule.priority == band {
                self.field_rule(*id, rule, *group as usize);
            }
        }
        self.candidates[0] = Some(candidates);
        // What was not found in the text did not match: with !~ that is a hit.
        for (place, group) in self.engine.headers.iter().enumerate() {
            for &id in &group.texts.negated {
                let rule = &self.engine.rules[id as usize];
                let found = self.candidates[0]
                    .as_ref()
                    .is_some_and(|all| all.binary_search(&(id, place as u32)).is_ok());
                if rule.priority == band && !found {
                    self.field_rule(id, rule, place);
                }
            }
        }
    }

    /// One pass over the value of each field that rules ask for.
    fn scan_fields(&mut self) -> Vec<Candidate> {
        let mut found = Vec::new();
        for (place, group) in self.engine.headers.iter().enumerate() {
            if place % 64 == 63 && Instant::now() >= self.end {
                break;
            }
            let value = self.field(place);
            let mut unset = Vec::new();
            for &id in &group.texts.always {
                let rule = &self.engine.rules[id as usize];
                if rule.score != 0.0 {
                    unset.push((id, place as u32));
                }
            }
            found.append(&mut unset);
            let Some(prefilter) = &group.texts.prefilter else { continue };
            if let Some(text) = &value {
                prefilter.scan(text, &mut self.folded, &mut self.marks, |id| found.push((id, place as u32)));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn field(&mut self, place: usize) -> Option<Bytes> {
        if let Some(known) = &self.fields[place] {
            return known.clone();
        }
        let value = self.subject.header(&self.engine.headers[place].field);
        self.fields[place] = Some(value.clone());
        value
    }

    fn field_rule(&mut self, id: u32, rule: &Compiled, place: usize) {
        if rule.score == 0.0 || self.over(&rule.name) {
            return;
        }
        let value = self.fields[place].take().flatten();
        match &rule.work {
            Work::Exists => {
                self.known[id as usize] = true;
                if let Some(value) = &value {
                    let evidence = self.evidence(0, 0..value.len().min(1), value);
                    self.hit(id, Area::Header, 1, Some(evidence));
                }
            }
            Work::Match { test, negated, unset } => {
                let text = value.as_deref().or(unset.as_deref()).unwrap_or_default();
                let found = if text.is_empty() && !test.empty {
                    Some(Found::No)
                } else {
                    self.search(rule, test, &mut std::iter::once((0, text)))
                };
                self.settle(id, Area::Header, *negated, found);
            }
            _ => {}
        }
        self.fields[place] = Some(value);
    }

    // ---- texts

    fn texts(&mut self, band: i64, place: usize, texts: &'a Texts, area: Area) {
        if self.stop.is_some() || self.late {
            return;
        }
        let subject = self.subject;
        let full = [subject.full()];
        let uris = if area == Area::Uri { std::mem::take(&mut self.uris) } else { Vec::new() };
        let chunks: Vec<&[u8]> = match area {
            Area::Body => subject.body().iter().map(|text| &text[..]).collect(),
            Area::RawBody => subject.rawbody().iter().map(|text| &text[..]).collect(),
            Area::Uri => uris.iter().map(|text| &text[..]).collect(),
            _ => full.to_vec(),
        };
        if self.candidates[place].is_none() {
            let found = self.scan(texts, &chunks);
            self.candidates[place] = Some(found);
        }
        let candidates = self.candidates[place].take().unwrap_or_default();
        for found in candidates.chunk_by(|one, other| one.0 == other.0) {
            let id = found[0].0;
            let rule = &self.engine.rules[id as usize];
            if rule.priority == band && rule.score != 0.0 && !self.over(&rule.name) {
                let some = found.iter().map(|(_, chunk)| (*chunk as usize, chunks[*chunk as usize]));
                self.text_rule(id, rule, area, &mut some.into_iter());
            }
        }
        self.candidates[place] = Some(candidates);
        let first = texts.always.partition_point(|id| self.engine.rules[*id as usize].priority < band);
        for &id in &texts.always[first..] {
            let rule = &self.engine.rules[id as usize];
            if rule.priority != band {
                break;
            }
            if rule.score != 0.0 && !self.over(&rule.name) {
                self.text_rule(id, rule, area, &mut chunks.iter().copied().enumerate());
            }
        }
        if area == Area::Uri {
            self.uris = uris;
        }
    }

    fn scan(&mut self, texts: &Texts, chunks: &[&[u8]]) -> Vec<Candidate> {
        let mut found = Vec::new();
        for (chunk, text) in (0u32..).zip(chunks) {
            if let Some(prefilter) = &texts.prefilter {
                prefilter.scan(text, &mut self.folded, &mut self.marks, |id| found.push((id, chunk)));
            }
        }
        if let Some(prefixes) = &texts.prefixes {
            prefixes.scan(chunks, |place, chunk| found.push((texts.begun[place], chunk)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn text_rule(
        &mut self,
        id: u32,
        rule: &Compiled,
        area: Area,
        chunks: &mut dyn Iterator<Item = (usize, &[u8])>,
    ) {
        let Work::Match { test, .. } = &rule.work else { return };
        let skip = usize::from(rule.no_subject && area == Area::Body);
        let found = self.search(rule, test, &mut chunks.filter(|(chunk, _)| *chunk >= skip));
        self.settle(id, area, false, found);
    }

    fn search(
        &mut self,
        rule: &Compiled,
        test: &Test,
        chunks: &mut dyn Iterator<Item = (usize, &[u8])>,
    ) -> Option<Found> {
        if !self.limits.timed {
            return self.search_in(rule, test, chunks);
        }
        let begun = Instant::now();
        let found = self.search_in(rule, test, chunks);
        *self.outcome.times.entry(rule.name.clone()).or_default() += begun.elapsed();
        found
    }

    /// Looks for an expression in texts, one after the other: for the first match, or for so many.
    fn search_in(
        &mut self,
        rule: &Compiled,
        test: &Test,
        chunks: &mut dyn Iterator<Item = (usize, &[u8])>,
    ) -> Option<Found> {
        let (own, mut kept);
        let mut chunks = chunks;
        let matcher = if test.expression.templates.is_empty() {
            test.matcher().map_err(Clone::clone)
        } else {
            let templates = &test.expression.templates;
            let all: Vec<Vec<Vec<u8>>> =
                templates.iter().map(|name| values(name, &self.outcome.tags, self.subject)).collect();
            if all.iter().any(Vec::is_empty) {
                return None;
            }
            let texts: Vec<(usize, &[u8])> = chunks.collect();
            // To read and compile it takes longer than to see that it cannot match.
            if !may_match(&test.hint, &all, &texts, &mut self.folded) {
                return Some(Found::No);
            }
            kept = texts.into_iter();
            chunks = &mut kept;
            match filled(&test.expression, &all).and_then(|pattern| pattern.compile()) {
                Ok(matcher) => {
                    own = matcher;
                    Ok(&own)
                }
                Err(why) => Err(why),
            }
        };
        let matcher = match matcher {
            Ok(matcher) => matcher,
            Err(why) => return Some(Found::Fault(format!("the expression cannot be used: {why}"))),
        };
        let mut search =
            Search { most: rule.most, times: 0, evidence: None, captured: Vec::new(), end: self.end };
        for (chunk, text) in chunks {
            if text.is_empty() && !test.empty {
                continue;
            }
            if let Err(why) = search.one(matcher, test.expression.captures, chunk, text, self.limits.excerpt)
            {
                return Some(Found::Fault(why));
            }
            if search.times >= search.most {
                break;
            }
            if self.over(&rule.name) {
                break;
            }
        }
        if !search.captured.is_empty() {
            keep(&mut self.outcome.tags, search.captured);
        }
        Some(match search.evidence {
            Some(evidence) => Found::Yes { times: search.times, evidence },
            None => Found::No,
        })
    }

    /// Enters what a search came to. `None`: a tag has no value, and the rule did not run.
    fn settle(&mut self, id: u32, area: Area, negated: bool, found: Option<Found>) {
        let Some(found) = found else { return };
        self.known[id as usize] = true;
        match (found, negated) {
            (Found::Fault(why), _) => {
                let name = self.engine.rules[id as usize].name.clone();
                self.fault(&name, why);
            }
            (Found::Yes { times, evidence }, false) => self.hit(id, area, times, Some(evidence)),
            (Found::No, true) => self.hit(id, area, 1, None),
            (Found::Yes { .. }, true) | (Found::No, false) => {}
        }
    }

    fn evidence(&self, chunk: usize, range: Range<usize>, text: &[u8]) -> Evidence {
        Evidence { chunk, text: excerpt(text, &range, self.limits.excerpt), range }
    }

    // ---- parts

    fn mime(&mut self, band: i64) {
        if self.stop.is_some() || self.late {
            return;
        }
        let engine = self.engine;
        for (place, group) in engine.mime.iter().enumerate() {
            let (values, found) = self.parts[place].take().unwrap_or_else(|| self.scan_parts(group));
            for &id in group.texts.always.iter().chain(&found) {
                let rule = &engine.rules[id as usize];
                if rule.priority == band && rule.score != 0.0 && !self.over(&rule.name) {
                    self.mime_rule(id, rule, &values);
                }
            }
            self.parts[place] = Some((values, found));
        }
    }

    /// The values of a field of all parts, and the rules that are worth trying on them.
    fn scan_parts(&mut self, group: &Group) -> PartFields {
        let values = self.subject.mime_headers(&group.field.name, group.field.raw);
        let mut found = Vec::new();
        if let Some(prefilter) = &group.texts.prefilter {
            for value in values.iter().flatten() {
                prefilter.scan(value, &mut self.folded, &mut self.marks, |id| found.push(id));
            }
        }
        found.sort_unstable();
        found.dedup();
        (values, found)
    }

    fn mime_rule(&mut self, id: u32, rule: &Compiled, values: &[Option<Bytes>]) {
        let Work::Mime { test, negated, unset, range, concat } = &rule.work else { return };
        if *negated {
            // SpamAssassin 4.0 goes through the parts and then says yes, whatever it found there.
            return self.settle(id, Area::Body, true, Some(Found::No));
        }
        let (first, last) = (range.0.max(1), range.1.min(values.len()));
        let asked = values.get(first - 1..last.max(first - 1)).unwrap_or_default();
        let texts = || asked.iter().map(|value| value.as_deref().unwrap_or(unset));
        let found = if *concat {
            let mut all = Vec::new();
            for text in texts() {
                all.extend_from_slice(text);
                if !text.ends_with(b"\n") {
                    all.push(b'\n');
                }
            }
            self.search(rule, test, &mut std::iter::once((0, all.as_slice())))
        } else if rule.multiple {
            // Its limit counts for the first part in which it hits.
            let mut found = Some(Found::No);
            for (part, text) in texts().enumerate() {
                found = self.search(rule, test, &mut std::iter::once((part, text)));
                if !matches!(found, Some(Found::No)) {
                    break;
                }
            }
            found
        } else {
            self.search(rule, test, &mut texts().enumerate())
        };
        self.settle(id, Area::Body, false, found);
    }

    fn uri_rule(&mut self, id: u32, rule: &Compiled, conditions: &[(UriField, bool, Test)]) {
        self.known[id as usize] = true;
        let subject = self.subject;
        for (number, uri) in subject.uris().iter().enumerate() {
            let all = conditions.iter().try_fold(true, |all, (field, negated, test)| {
                if !all {
                    return Ok(false);
                }
                let matcher = test.matcher().map_err(Clone::clone)?;
                let texts: Vec<&[u8]> = match field {
                    UriField::Raw => vec![&uri.raw],
                    UriField::Type => uri.types.iter().map(|kind| kind.as_bytes()).collect(),
                    UriField::Cleaned => uri.cleaned.iter().map(|text| &text[..]).collect(),
                    UriField::Text => uri.anchor_texts.iter().map(|text| &text[..]).collect(),
                    UriField::Domain => uri.domains.iter().map(|text| &text[..]).collect(),
                    UriField::Host => uri.hosts.iter().map(|(host, _)| &host[..]).collect(),
                };
                for text in texts {
                    if matcher.find(text, 0).map_err(|overrun| overrun.message)?.is_some() != *negated {
                        return Ok(true);
                    }
                }
                Ok(false)
            });
            match all {
                Ok(true) => {
                    let evidence = self.evidence(number, 0..uri.raw.len(), &uri.raw);
                    return self.hit(id, Area::Body, 1, Some(evidence));
                }
                Ok(false) => {}
                Err(why) => return self.fault(&rule.name, why),
            }
            if self.over(&rule.name) {
                return;
            }
        }
    }

    // ---- functions

    fn evals(&mut self, band: i64, places: &[Place]) {
        if self.stop.is_some() || self.late {
            return;
        }
        let engine = self.engine;
        let priority = |id: u32| engine.rules[id as usize].priority;
        let first = engine.evals.partition_point(|(_, id)| priority(*id) < band);
        for (place, id) in engine.evals[first..].iter().take_while(|(_, id)| priority(*id) == band) {
            let rule = &engine.rules[*id as usize];
            if !places.contains(place) || rule.score == 0.0 || self.over(&rule.name) {
                continue;
            }
            let (net, learned) = (engine.set.net, engine.set.bayes);
            let off = (rule.net || *place == Place::Rbl) && !net || rule.learn && !learned;
            match &rule.work {
                Work::Uri(conditions) => self.uri_rule(*id, rule, conditions),
                Work::Call { .. } if off => {}
                Work::Call { function, args, place } => {
                    let call = Call {
                        rule: &rule.name,
                        function,
                        args,
                        place: *place,
                        settings: &engine.settings,
                        net,
                    };
                    let area = match place {
                        Place::Body => Area::Body,
                        Place::RawBody => Area::RawBody,
                        Place::Header | Place::Rbl | Place::Full => Area::Other,
                    };
                    match self.evals.call(&call) {
                        Some(answer) => self.answered(*id, area, answer),
                        None if self.outcome.unknown.iter().any(|known| **known == **function) => {}
                        None => self.outcome.unknown.push(function.to_string()),
                    }
                }
                _ => {}
            }
        }
    }

    fn answered(&mut self, id: u32, area: Area, answer: Answer) {
        let rule = &self.engine.rules[id as usize];
        if let Some(why) = answer.fault {
            return self.fault(&rule.name, why);
        }
        self.known[id as usize] = true;
        let score = answer.score.unwrap_or(rule.score);
        if answer.value == 0.0 || score == 0.0 || self.values[id as usize] != 0.0 && !rule.multiple {
            return;
        }
        self.hit(id, area, 1, None);
        // Meta rules see the function's value, if that is more than none.
        if answer.value > 0.0 {
            self.values[id as usize] += answer.value - 1.0;
        }
        let value = self.values[id as usize];
        let at = self.outcome.hits.iter().rposition(|hit| hit.name == rule.name);
        if let Some(hit) = at.map(|at| &mut self.outcome.hits[at]) {
            (hit.score, hit.value, hit.found) = (score, value, answer.found);
            if let Some(description) = answer.description {
                hit.description = Some(description.into());
            }
        }
    }

    // ---- other rules

    /// Evaluates meta rules: those whose rules have all run; at the end all, what has not run being 0.
    fn metas(&mut self, end: bool) {
        let engine = self.engine;
        let mut stack = Vec::new();
        let is_meta = |id: u32| matches!(engine.rules[id as usize].work, Work::Meta);
        for meta in &engine.metas {
            let rule = &engine.rules[meta.rule as usize];
            if self.known[meta.rule as usize] || end && rule.score == 0.0 {
                continue;
            }
            let (mut ready, mut some) = (true, false);
            for id in &meta.depends {
                ready &= match *id {
                    UNKNOWN => end,
                    id => self.known[id as usize] || end && !is_meta(id),
                };
                some |= self.values.get(*id as usize).is_some_and(|value| *value != 0.0);
            }
            if !ready {
                continue;
            }
            let value = match &meta.steps {
                Some(steps) if some => {
                    let hits = |id: u32| self.values.get(id as usize).copied().unwrap_or(0.0);
                    meta::evaluate(steps, &hits, !engine.set.net, &mut stack)
                }
                _ => meta.idle,
            };
            let Some(value) = value else {
                self.fault(&rule.name, "division by zero".into());
                continue;
            };
            // A rule that is off and would hit is never known, and what depends on it never evaluated.
            self.known[meta.rule as usize] = value == 0.0 || rule.score != 0.0;
            if value != 0.0 && rule.score != 0.0 {
                let value = if value > 0.0 { value } else { 1.0 };
                self.hit(meta.rule, Area::Other, 1, None);
                self.values[meta.rule as usize] = value;
                if let Some(hit) = self.outcome.hits.last_mut() {
                    hit.value = value;
                }
            }
        }
    }

    fn hit(&mut self, id: u32, area: Area, times: u32, evidence: Option<Evidence>) {
        let rule = &self.engine.rules[id as usize];
        if self.values[id as usize] != 0.0 && !rule.multiple {
            return;
        }
        self.values[id as usize] += f64::from(times);
        self.outcome.hits.push(Hit {
            name: rule.name.clone(),
            score: rule.score,
            times,
            value: self.values[id as usize],
            area,
            description: rule.description.clone(),
            evidence,
            found: Vec::new(),
        });
        if self.engine.may_stop && self.stop.is_none() {
            self.maybe_stop(rule);
        }
    }

    /// `shortcircuit`, and the scores beyond which nothing more is evaluated.
    fn maybe_stop(&mut self, rule: &Compiled) {
        let settings = &self.engine.settings;
        // What the rule itself scores does not count yet: the next one that hits finds it.
        let before = self.outcome.hits.len().saturating_sub(1);
        let scored = self.outcome.hits[..before].iter().filter(|hit| !hit.name.starts_with("__"));
        let score: f64 = scored.map(|hit| hit.score * f64::from(hit.times)).sum();
        let number = |name| settings.is_set(name).then(|| settings.number(name)).flatten();
        let low = number("shortcircuit_min_ham_score").is_some_and(|least| score < least);
        let high = number("shortcircuit_max_spam_score").is_some_and(|most| score > most);
        let (spam, points) = match rule.shortcircuit {
            Some(Shortcircuit::On) => (rule.score >= 0.0, if rule.score < 0.0 { -0.0001 } else { 0.0001 }),
            Some(Shortcircuit::Spam) => (true, settings.number("shortcircuit_spam_score").unwrap_or(100.0)),
            Some(Shortcircuit::Ham) => (false, settings.number("shortcircuit_ham_score").unwrap_or(-100.0)),
            None if low || high => (score >= 0.0, if score < 0.0 { -0.001 } else { 0.001 }),
            None => return,
        };
        self.stop = Some((rule.name.clone(), spam));
        self.hit_by_name("SHORTCIRCUIT", points, "Not all rules were run, due to a shortcircuited rule");
    }

    /// A hit that no rule's own work decides, with a score of its own.
    fn hit_by_name(&mut self, name: &str, score: f64, description: &str) {
        let rule = self.engine.index.get(name).map(|id| &self.engine.rules[*id as usize]);
        let described = rule.and_then(|rule| rule.description.clone());
        self.outcome.hits.push(Hit {
            name: rule.map_or_else(|| name.into(), |rule| rule.name.clone()),
            score,
            times: 1,
            value: 1.0,
            area: Area::Other,
            description: described.or_else(|| Some(description.into())),
            evidence: None,
            found: Vec::new(),
        });
    }
}
