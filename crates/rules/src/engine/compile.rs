//! Makes rules ready.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::prefilter::{Lists, Prefilter};
use super::{Compiled, Engine, Group, Meta, Problem, ScoreSet, Test, Texts, UNKNOWN, Work, tags};
use crate::conf::{Definition, Expression, Place, Rule, RuleSet};
use crate::meta;
use crate::regex::{Beginning, Pattern, Prefixes, rarity};
use crate::texts::HeaderRequest;

/// The most hits of one rule with `multiple` and no `maxhits`.
const MAX_HITS: u32 = 1_000;
/// The most unsolved dependencies of one rule that are told.
const MAX_TOLD: usize = 20;
/// How seldom literal texts must be for a rule to be found by them (`regex::rarity`).
const RARE: f64 = 4.5;
/// How seldom those beside the first list must be, to be looked for as well.
const RARER: f64 = 4.5;
/// How many texts such a list may have.
const MAX_OTHERS: usize = 24;

impl Engine {
    /// Makes rules ready for a score set. Rules with a score of 0 in it are off.
    pub fn new(rules: &RuleSet, set: ScoreSet) -> Engine {
        let names: Vec<Arc<str>> = rules.rules.keys().map(|name| Arc::from(&**name)).collect();
        let index: HashMap<Arc<str>, u32> = names.iter().cloned().zip(0..).collect();
        let mut builder = Builder::default();
        let compiled: Vec<Compiled> = rules
            .rules
            .values()
            .zip(&names)
            .zip(0..)
            .map(|((rule, name), id)| builder.rule(rule, name.clone(), id, set))
            .collect();
        let mut bands: Vec<i64> =
            compiled.iter().filter(|rule| rule.score != 0.0).map(|rule| rule.priority).collect();
        bands.sort_unstable();
        bands.dedup();
        let (metas, problems) = metas(rules, &index, set);
        let limited = ["shortcircuit_min_ham_score", "shortcircuit_max_spam_score"];
        let may_stop = compiled.iter().any(|rule| rule.shortcircuit.is_some() && rule.score != 0.0)
            || limited.iter().any(|name| rules.settings.is_set(name));
        let mut evals = builder.evals;
        evals.sort_by_key(|(place, id)| (compiled[*id as usize].priority, *place, *id));
        let headers = builder.headers.all.iter().chain(&builder.mime.all).map(|(_, pending)| pending);
        let texts = [&builder.body, &builder.rawbody, &builder.full, &builder.uri].into_iter().chain(headers);
        let ids = texts.flat_map(|all| {
            let begun = all.begun.iter().map(|(id, _)| *id);
            all.literal.iter().map(|(id, _)| *id).chain(begun)
        });
        let mut found: Vec<(i64, u32)> = ids.map(|id| (compiled[id as usize].priority, id)).collect();
        found.sort_unstable();
        let texts = |pending: Pending| pending.build(&compiled);
        let group =
            |(field, pending): (HeaderRequest, Pending)| Group { field, texts: pending.build(&compiled) };
        Engine {
            headers: builder.headers.all.into_iter().map(group).collect(),
            mime: builder.mime.all.into_iter().map(group).collect(),
            body: texts(builder.body),
            rawbody: texts(builder.rawbody),
            full: texts(builder.full),
            uri: texts(builder.uri),
            rules: compiled,
            index,
            settings: rules.settings.clone(),
            set,
            bands,
            found,
            evals,
            metas,
            may_stop,
            problems,
        }
    }

    /// The memory that the passes over texts take, in bytes.
    pub fn prefilter_memory(&self) -> usize {
        let groups = self.headers.iter().chain(&self.mime).map(|group| &group.texts);
        let texts = [&self.body, &self.rawbody, &self.full, &self.uri].into_iter().chain(groups);
        texts.filter_map(|texts| texts.prefilter.as_ref()).map(Prefilter::memory).sum()
    }
}

/// Rules of one kind of text, sorted out.
#[derive(Default)]
struct Pending {
    literal: Vec<(u32, Lists)>,
    begun: Vec<(u32, Beginning)>,
    always: Vec<u32>,
    negated: Vec<u32>,
}

impl Pending {
    /// A rule over a longer text: found by literal texts, or else by the beginning of what it looks for.
    fn add_long(&mut self, id: u32, pattern: Option<&Pattern>, test: &Test) {
        let before = self.always.len();
        self.add(id, required(pattern, test), false);
        if self.always.len() > before
            && let Some(beginning) = pattern.and_then(Beginning::telling)
        {
            self.always.pop();
            self.begun.push((id, beginning));
        }
    }

    fn add(&mut self, id: u32, mut lists: Lists, negated: bool) {
        if lists.first().is_none_or(|texts| texts.iter().any(|text| rarity(text) < RARE)) {
            self.always.push(id);
            return;
        }
        let mut first = true;
        lists.retain(|texts| {
            let rare = || texts.len() <= MAX_OTHERS && texts.iter().all(|text| rarity(text) >= RARER);
            std::mem::take(&mut first) || rare()
        });
        self.literal.push((id, lists));
        if negated {
            self.negated.push(id);
        }
    }

    fn build(mut self, rules: &[Compiled]) -> Texts {
        let ids: Vec<u32> = self.literal.iter().map(|(id, _)| *id).collect();
        let prefilter = Prefilter::new(self.literal.into_iter());
        if prefilter.is_none() {
            self.always.extend(ids);
            self.negated.clear();
        }
        let (mut begun, beginnings): (Vec<u32>, Vec<Beginning>) = self.begun.into_iter().unzip();
        let prefixes = Prefixes::new(beginnings);
        if prefixes.is_none() {
            self.always.append(&mut begun);
        }
        self.always.sort_by_key(|id| (rules[*id as usize].priority, *id));
        Texts { prefilter, prefixes, begun, always: self.always, negated: self.negated }
    }
}

#[derive(Default)]
struct Builder {
    headers: Groups,
    mime: Groups,
    body: Pending,
    rawbody: Pending,
    full: Pending,
    uri: Pending,
    evals: Vec<(Place, u32)>,
}

impl Builder {
    fn rule(&mut self, rule: &Rule, name: Arc<str>, id: u32, set: ScoreSet) -> Compiled {
        let score = rule.scores[set.index()];
        let multiple = rule.has_flag("multiple");
        let most =
            rule.flag_value("maxhits").and_then(|most| most.parse().ok()).unwrap_or(MAX_HITS).min(MAX_HITS);
        let off = score == 0.0;
        Compiled {
            name,
            score,
            priority: rule.priority,
            multiple,
            most: if multiple { most.max(1) } else { 1 },
            no_subject: rule.has_flag("nosubject"),
            net: rule.has_flag("net"),
            learn: rule.has_flag("learn"),
            shortcircuit: rule.shortcircuit,
            description: rule.description.as_deref().map(Arc::from),
            work: if off && !matches!(rule.definition, Definition::Meta(_)) {
                Work::Nothing
            } else {
                self.work(rule, id, multiple)
            },
        }
    }

    fn work(&mut self, rule: &Rule, id: u32, multiple: bool) -> Work {
        match &rule.definition {
            Definition::Header { field, negated, unset, expression } => {
                let pattern = pattern(expression);
                let group = group(&mut self.headers, field);
                let test = Test::new(expression, multiple, pattern.as_ref());
                match unset {
                    // The texts would have to be looked for there as well.
                    Some(_) => group.always.push(id),
                    None => group.add(id, required(pattern.as_ref(), &test), *negated),
                }
                Work::Match { test, negated: *negated, unset: unset.clone() }
            }
            Definition::Exists(field) => {
                group(&mut self.headers, field).always.push(id);
                Work::Exists
            }
            Definition::Body(expression) => matched(&mut self.body, id, expression, multiple),
            Definition::RawBody(expression) => matched(&mut self.rawbody, id, expression, multiple),
            Definition::Full(expression) => matched(&mut self.full, id, expression, multiple),
            Definition::Uri(expression) => matched(&mut self.uri, id, expression, multiple),
            Definition::MimeHeader { name, raw, negated, unset, expression } => {
                let field = HeaderRequest { name: name.to_string(), raw: *raw, ..HeaderRequest::default() };
                let (group, concat) = (group(&mut self.mime, &field), rule.has_flag("concat"));
                let pattern = pattern(expression);
                let test = Test::new(expression, multiple, pattern.as_ref());
                // What is looked for may not be in one of the values.
                if concat || *negated || !unset.is_empty() {
                    group.always.push(id);
                } else {
                    group.add(id, required(pattern.as_ref(), &test), false);
                }
                let range = range(rule.flag_value("range"));
                Work::Mime { test, negated: *negated, unset: unset.clone(), range, concat }
            }
            Definition::UriDetail(conditions) => {
                self.evals.push((Place::Body, id));
                let test = |expression| Test::new(expression, false, pattern(expression).as_ref());
                Work::Uri(
                    conditions.iter().map(|one| (one.field, one.negated, test(&one.expression))).collect(),
                )
            }
            Definition::Eval { place, function, args } => {
                self.evals.push((*place, id));
                Work::Call { function: function.clone(), args: args.clone(), place: *place }
            }
            Definition::Meta(_) => Work::Meta,
            Definition::Empty => Work::Nothing,
        }
    }
}

/// Rules by field, in the order in which fields are first asked for.
#[derive(Default)]
struct Groups {
    all: Vec<(HeaderRequest, Pending)>,
    places: HashMap<HeaderRequest, usize>,
}

/// The rules of a field.
fn group<'a>(groups: &'a mut Groups, field: &HeaderRequest) -> &'a mut Pending {
    let next = groups.all.len();
    let place = *groups.places.entry(field.clone()).or_insert(next);
    if place == next {
        groups.all.push((field.clone(), Pending::default()));
    }
    &mut groups.all[place].1
}

fn matched(texts: &mut Pending, id: u32, expression: &Expression, multiple: bool) -> Work {
    let pattern = pattern(expression);
    let test = Test::new(expression, multiple, pattern.as_ref());
    texts.add_long(id, pattern.as_ref(), &test);
    Work::Match { test, negated: false, unset: None }
}

/// Lists of texts of which each match contains one of each.
fn required(pattern: Option<&Pattern>, test: &Test) -> Lists {
    pattern.map_or_else(|| tags::fixed(&test.hint), Pattern::all_required)
}

/// The expression, read again; with templates in it nothing can be said ahead.
fn pattern(expression: &Expression) -> Option<Pattern> {
    if !expression.templates.is_empty() {
        return None;
    }
    Pattern::plain(&expression.inside, &expression.modifiers).ok()
}

/// `range=1-3` of mimeheader: the first and last part, from 1.
fn range(text: Option<&str>) -> (usize, usize) {
    let all = (0, 1000);
    let Some(text) = text else { return all };
    let number = |text: &str, default| if text.is_empty() { Some(default) } else { text.parse().ok() };
    let found = match text.split_once('-') {
        Some((first, last)) => number(first, 0).zip(number(last, 1000)),
        None => text.parse().ok().map(|only| (only, only)),
    };
    found.unwrap_or(all)
}

/// Meta rules, each behind those it depends on. Those that depend on each other in a circle never hit.
fn metas(rules: &RuleSet, index: &HashMap<Arc<str>, u32>, set: ScoreSet) -> (Vec<Meta>, Vec<Problem>) {
    let mut names: Vec<&str> = rules.scored.keys().chain(rules.rules.keys()).map(|name| &**name).collect();
    names.sort_unstable();
    names.dedup();
    let never = |rule| Meta { rule, steps: None, depends: Box::default(), idle: Some(0.0) };
    let mut open: BTreeMap<u32, Meta> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut globs = meta::Globs::new(&names);
    for (rule, id) in rules.rules.values().zip(0..) {
        let Definition::Meta(text) = &rule.definition else { continue };
        let id_of = |name: &str| index.get(name).copied().unwrap_or(UNKNOWN);
        let Some(expanded) = globs.expand(text, &rule.name) else {
            let message =
                format!("rules: excluding meta test {}, rules_matching() names too many rules", rule.name);
            problems.push(Problem { rule: rule.name.to_string(), message });
            open.insert(id, never(id));
            continue;
        };
        let steps = meta::parse(&expanded, id_of).ok().flatten();
        let depends = meta::names(&expanded).iter().map(|name| id_of(name)).collect();
        let idle = match &steps {
            Some(steps) => meta::evaluate(steps, &|_| 0.0, !set.net, &mut Vec::new()),
            None => Some(0.0),
        };
        open.insert(id, Meta { rule: id, steps, depends, idle });
    }
    let mut waiting: HashMap<u32, usize> = HashMap::new();
    let mut needed_by: HashMap<u32, Vec<u32>> = HashMap::new();
    for (id, meta) in &open {
        let needs: Vec<u32> = meta.depends.iter().copied().filter(|other| open.contains_key(other)).collect();
        waiting.insert(*id, needs.len());
        needs.into_iter().for_each(|other| needed_by.entry(other).or_default().push(*id));
    }
    let mut ready: Vec<u32> = open.keys().rev().copied().filter(|id| waiting[id] == 0).collect();
    let mut ordered = Vec::with_capacity(open.len());
    while let Some(id) = ready.pop() {
        ordered.extend(open.remove(&id));
        for other in needed_by.get(&id).into_iter().flatten() {
            if let Some(count) = waiting.get_mut(other) {
                *count -= 1;
                if *count == 0 {
                    ready.push(*other);
                }
            }
        }
    }
    let by_id: Vec<&str> = rules.rules.keys().map(|name| &**name).collect();
    let name = |id: u32| by_id.get(id as usize).copied().unwrap_or_default();
    for meta in open.values() {
        let unsolved = meta.depends.iter().filter(|id| open.contains_key(id));
        let others: Vec<&str> = unsolved.take(MAX_TOLD).map(|id| name(*id)).collect();
        let rule = name(meta.rule).to_string();
        let message =
            format!("rules: excluding meta test {rule}, unsolved meta dependencies: {}", others.join(", "));
        problems.push(Problem { rule, message });
    }
    ordered.extend(open.into_keys().map(never));
    (ordered, problems)
}
