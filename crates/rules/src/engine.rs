//! Evaluates rules over a message.
//!
//! Each text is passed over once with all literal texts of the rules that look at it (`prefilter`); only rules of which one was
//! found there are tried. Rules run in the order of their priorities, kinds within a priority in SpamAssassin's order, so that
//! `shortcircuit` and captured tags work as there. Expressions are compiled when they are first tried.

mod compile;
mod evaluate;
mod prefilter;
mod search;
mod tags;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::conf::{Arg, Expression, Place, Settings, Shortcircuit, UriField};
use crate::meta::Step;
use crate::regex::{Matcher, Pattern, Prefixes};
use crate::subject::Subject;
use crate::texts::{HeaderRequest, Tags};
use prefilter::Prefilter;

/// Which of the four scores of a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScoreSet {
    /// Questions are asked over the network.
    pub net: bool,
    /// There is a trained classifier.
    pub bayes: bool,
}

impl ScoreSet {
    /// Its number, 0 to 3.
    pub fn index(self) -> usize {
        usize::from(self.net) | usize::from(self.bayes) << 1
    }
}

/// Rules made ready for one score set.
#[derive(Debug)]
pub struct Engine {
    rules: Vec<Compiled>,
    index: HashMap<Arc<str>, u32>,
    settings: Settings,
    set: ScoreSet,
    bands: Vec<i64>,
    headers: Vec<Group>,
    mime: Vec<Group>,
    body: Texts,
    rawbody: Texts,
    full: Texts,
    uri: Texts,
    /// Rules that a pass over a text finds, with their priorities, in order.
    found: Vec<(i64, u32)>,
    /// Functions and what is as slow, by place, in order of priority.
    evals: Vec<(Place, u32)>,
    /// Meta rules, each behind those it depends on.
    metas: Vec<Meta>,
    /// Whether some rule can end the evaluation early.
    may_stop: bool,
    problems: Vec<Problem>,
}

/// A rule as the engine has it.
#[derive(Debug)]
struct Compiled {
    name: Arc<str>,
    score: f64,
    priority: i64,
    multiple: bool,
    most: u32,
    no_subject: bool,
    net: bool,
    learn: bool,
    shortcircuit: Option<Shortcircuit>,
    description: Option<Arc<str>>,
    work: Work,
}

/// What a rule does.
#[derive(Debug)]
enum Work {
    /// Looks for an expression in a text.
    Match { test: Test, negated: bool, unset: Option<Box<[u8]>> },
    /// Whether a field is there.
    Exists,
    /// A field of each part.
    Mime { test: Test, negated: bool, unset: Box<[u8]>, range: (usize, usize), concat: bool },
    /// Several properties of an address of a page.
    Uri(Vec<(UriField, bool, Test)>),
    /// Calls a function.
    Call { function: Box<str>, args: Vec<Arg>, place: Place },
    /// Others.
    Meta,
    /// Nothing by itself.
    Nothing,
}

/// An expression, compiled when it is first needed.
#[derive(Debug)]
struct Test {
    expression: Expression,
    /// Whether it can match the empty text.
    empty: bool,
    exact: bool,
    /// With templates: lists of texts of which each match contains one (`tags::hint`).
    hint: Vec<Vec<Vec<u8>>>,
    matcher: OnceLock<Result<Matcher, String>>,
}

impl Test {
    fn new(expression: &Expression, exact: bool, pattern: Option<&Pattern>) -> Test {
        let empty = pattern.is_none_or(Pattern::matches_empty);
        let hint = if expression.templates.is_empty() { Vec::new() } else { tags::hint(expression) };
        Test { expression: expression.clone(), empty, exact, hint, matcher: OnceLock::new() }
    }

    fn matcher(&self) -> Result<&Matcher, &String> {
        let compiled = self.matcher.get_or_init(|| {
            let pattern = Pattern::plain(&self.expression.inside, &self.expression.modifiers)?;
            if self.exact { pattern.compile_exact() } else { pattern.compile() }
        });
        compiled.as_ref()
    }
}

/// Rules that look at the same field.
#[derive(Debug)]
struct Group {
    field: HeaderRequest,
    texts: Texts,
}

/// Rules that look at the same texts.
#[derive(Debug, Default)]
struct Texts {
    prefilter: Option<Prefilter>,
    /// Beginnings of expressions without literal texts.
    prefixes: Option<Prefixes>,
    /// The rules of those beginnings.
    begun: Vec<u32>,
    /// Rules without literal texts, in order of priority.
    always: Vec<u32>,
    /// Rules that hit unless they match.
    negated: Vec<u32>,
}

/// A meta rule.
#[derive(Debug)]
struct Meta {
    rule: u32,
    /// `None`: `()`, or a rule that depends on itself.
    steps: Option<Box<[Step<u32>]>>,
    depends: Box<[u32]>,
    /// Its value if none of those hits; `None`: it divides by zero.
    idle: Option<f64>,
}

/// Stands for a rule that is not there.
const UNKNOWN: u32 = u32::MAX;

/// What is wrong with a rule that the reader could not see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The rule.
    pub rule: String,
    /// What is wrong.
    pub message: String,
}

/// Bounds of one evaluation.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The time for all rules together.
    pub time: Duration,
    /// How much of a matched text is told, in bytes.
    pub excerpt: usize,
    /// Whether the time of each rule is told.
    pub timed: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { time: Duration::from_secs(10), excerpt: 200, timed: false }
    }
}

/// What a function is asked.
pub struct Call<'a> {
    /// The rule that calls it.
    pub rule: &'a str,
    /// Its name.
    pub function: &'a str,
    /// Its arguments.
    pub args: &'a [Arg],
    /// The kind of rule.
    pub place: Place,
    /// The settings.
    pub settings: &'a Settings,
    /// Whether questions may be asked over the network.
    pub net: bool,
}

/// What a function says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// 0: no hit. Meta rules see it.
    pub value: f64,
    /// A score instead of the rule's.
    pub score: Option<f64>,
    /// A description instead of the rule's.
    pub description: Option<String>,
    /// What was found, for the report.
    pub found: Vec<String>,
    /// It could not be answered, and why.
    pub fault: Option<String>,
}

impl Answer {
    /// A hit, or none.
    pub fn of(hit: bool) -> Answer {
        Answer { value: f64::from(u8::from(hit)), ..Answer::default() }
    }
}

impl From<bool> for Answer {
    fn from(hit: bool) -> Answer {
        Answer::of(hit)
    }
}

/// Answers the `eval:` rules of one message.
pub trait Evals {
    /// The answer; `None`: there is no such function.
    fn call(&self, call: &Call<'_>) -> Option<Answer>;

    /// Hits of rules that nothing in the rules themselves decides (`askdns`, `reuse`), by name.
    fn others(&self) -> Vec<(String, Answer)> {
        Vec::new()
    }

    /// Tags that have values before any rule runs.
    fn tags(&self) -> Tags {
        Tags::new()
    }
}

/// Knows no function.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvals;

impl Evals for NoEvals {
    fn call(&self, _: &Call<'_>) -> Option<Answer> {
        None
    }
}

/// The texts that rules look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// A field, or a function of header rules.
    Header,
    /// The rendered text.
    Body,
    /// The decoded text.
    RawBody,
    /// The whole message.
    Full,
    /// Addresses of pages.
    Uri,
    /// Other rules, or none.
    Other,
}

impl Area {
    /// What SpamAssassin's report puts before the description.
    pub fn prefix(self) -> &'static str {
        match self {
            Area::Body => "BODY: ",
            Area::RawBody => "RAW: ",
            Area::Full => "FULL: ",
            Area::Uri => "URI: ",
            Area::Header | Area::Other => "",
        }
    }
}

/// A rule that hit.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its name.
    pub name: Arc<str>,
    /// Its points, for each time.
    pub score: f64,
    /// How often it counts: more than once with `tflags multiple`.
    pub times: u32,
    /// Its value for meta rules.
    pub value: f64,
    /// Where it looked.
    pub area: Area,
    /// In words.
    pub description: Option<Arc<str>>,
    /// What it found there.
    pub evidence: Option<Evidence>,
    /// What a function found.
    pub found: Vec<String>,
}

/// Where a rule matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The number of the paragraph, chunk, address or part, from 0.
    pub chunk: usize,
    /// The place in it, in bytes.
    pub range: Range<usize>,
    /// The text there, or its beginning.
    pub text: Vec<u8>,
}

/// What could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The rule.
    pub rule: Arc<str>,
    /// Why.
    pub message: String,
}

/// The result.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The sum of the points.
    pub score: f64,
    /// Rules that hit, subrules among them, in the order of hitting.
    pub hits: Vec<Hit>,
    /// Rules that could not be evaluated.
    pub faults: Vec<Fault>,
    /// Tags that rules captured.
    pub tags: HashMap<String, Vec<Vec<u8>>>,
    /// The rule that ended the evaluation early, and what it says the mail is.
    pub shortcircuit: Option<(Arc<str>, bool)>,
    /// Functions that are not native, each once.
    pub unknown: Vec<String>,
    /// The time that rules took, if it was asked for; those that were tried at all.
    pub times: HashMap<Arc<str>, Duration>,
}

impl Outcome {
    /// Names of the rules that hit and count, sorted, as often as they count.
    pub fn names(&self) -> Vec<&str> {
        let scored = self.hits.iter().filter(|hit| !hit.name.starts_with("__"));
        let mut names: Vec<&str> =
            scored.flat_map(|hit| std::iter::repeat_n(&*hit.name, hit.times as usize)).collect();
        names.sort_unstable();
        names
    }
}

impl Engine {
    /// The settings that the rules were read with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The score set.
    pub fn score_set(&self) -> ScoreSet {
        self.set
    }

    /// What is wrong with rules: dependencies that go in a circle.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many rules are tried on every text, because no literal text tells whether they may match.
    pub fn always_tried(&self) -> Vec<&str> {
        let all = [&self.body, &self.rawbody, &self.full, &self.uri];
        let ids = all.into_iter().flat_map(|texts| texts.always.iter());
        ids.map(|id| &*self.rules[*id as usize].name).collect()
    }

    /// Compiles all expressions now instead of when they are first tried; what cannot be compiled is told.
    pub fn warm(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for rule in &self.rules {
            let tests: Vec<&Test> = match &rule.work {
                Work::Match { test, .. } | Work::Mime { test, .. } => vec![test],
                Work::Uri(conditions) => conditions.iter().map(|(_, _, test)| test).collect(),
                _ => continue,
            };
            for test in tests.into_iter().filter(|test| test.expression.templates.is_empty()) {
                if let Err(message) = test.matcher() {
                    problems.push(Problem { rule: rule.name.to_string(), message: message.clone() });
                }
            }
        }
        problems
    }

    /// Evaluates all rules over a message.
    pub fn evaluate(&self, subject: &dyn Subject, evals: &dyn Evals, limits: Limits) -> Outcome {
        evaluate::run(self, subject, evals, limits)
    }
}
