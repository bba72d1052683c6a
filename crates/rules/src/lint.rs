//! What `--lint` says, and what it cannot say: which functions are not native, how expressions are evaluated.

use std::collections::BTreeMap;

use crate::conf::{Definition, RuleSet, Warning};
use crate::engine::{Engine, ScoreSet};
use crate::net::Net;
use crate::regex::{Kind, Pattern};

/// The result of looking through rules.
#[derive(Debug, Clone, Default)]
pub struct Lint {
    /// What is wrong, in the order of files and lines.
    pub warnings: Vec<Warning>,
    /// How many of them SpamAssassin would count as errors.
    pub errors: usize,
    /// Functions that nothing answers, with the rules that call them.
    pub not_native: BTreeMap<String, Vec<String>>,
    /// Rules by kind.
    pub kinds: BTreeMap<&'static str, usize>,
    /// Expressions that take linear time.
    pub linear: usize,
    /// Expressions that need PCRE2.
    pub backtracking: usize,
    /// Expressions that neither can evaluate, by rule.
    pub unusable: BTreeMap<String, String>,
    /// Rules that are tried on every text.
    pub always_tried: Vec<String>,
}

impl Lint {
    /// Looks through rules; `native` says whether a function is answered. All expressions are compiled.
    pub fn of(rules: &RuleSet, engine: &Engine, native: &dyn Fn(&str) -> bool) -> Lint {
        let mut lint = Lint { warnings: rules.warnings.clone(), ..Lint::default() };
        let message = |rule: &str, text: String| {
            let known = rules.rules.get(rule);
            Warning {
                file: known.map(|rule| rule.file.to_string()).unwrap_or_default(),
                line: known.map_or(0, |rule| rule.line),
                rule: Some(rule.to_string()),
                error: true,
                message: text,
            }
        };
        lint.warnings
            .extend(engine.problems().iter().map(|problem| message(&problem.rule, problem.message.clone())));
        for problem in engine.warm() {
            let text = format!("config: regexp for {} cannot be used: {}", problem.rule, problem.message);
            lint.warnings.push(message(&problem.rule, text));
            lint.unusable.insert(problem.rule, problem.message);
        }
        let net = Net::new(rules, ScoreSet { net: true, bayes: false });
        lint.warnings.extend(net.problems().iter().map(|(rule, why)| Warning {
            error: false,
            ..message(rule, format!("config: {rule} asks nothing over the network: {why}"))
        }));
        for rule in rules.rules.values() {
            let (kind, expression) = kind(&rule.definition);
            *lint.kinds.entry(kind).or_default() += 1;
            if let Some(expression) = expression.filter(|expression| expression.templates.is_empty())
                && let Ok(pattern) = Pattern::plain(&expression.inside, &expression.modifiers)
            {
                match pattern.kind() {
                    Kind::Linear => lint.linear += 1,
                    Kind::Backtracking => lint.backtracking += 1,
                }
            }
            if let Definition::Eval { function, .. } = &rule.definition
                && !native(function)
            {
                lint.not_native.entry(function.to_string()).or_default().push(rule.name.to_string());
            }
        }
        lint.always_tried = engine.always_tried().iter().map(ToString::to_string).collect();
        lint.errors = lint.warnings.iter().filter(|warning| warning.error).count() + rules.more_warnings;
        lint
    }

    /// Whether SpamAssassin would say that the rules are in order.
    pub fn is_clean(&self) -> bool {
        self.errors == 0
    }
}

/// The kind of a rule, and its expression.
fn kind(definition: &Definition) -> (&'static str, Option<&crate::conf::Expression>) {
    match definition {
        Definition::Header { expression, .. } => ("header", Some(expression)),
        Definition::Exists(_) => ("header", None),
        Definition::Body(expression) => ("body", Some(expression)),
        Definition::RawBody(expression) => ("rawbody", Some(expression)),
        Definition::Full(expression) => ("full", Some(expression)),
        Definition::Uri(expression) => ("uri", Some(expression)),
        Definition::MimeHeader { expression, .. } => ("mimeheader", Some(expression)),
        Definition::UriDetail(_) => ("uri_detail", None),
        Definition::Eval { .. } => ("eval", None),
        Definition::Meta(_) => ("meta", None),
        Definition::Empty => ("declared", None),
    }
}
