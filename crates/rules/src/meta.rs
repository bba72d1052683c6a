//! The expressions of meta rules.
//!
//! SpamAssassin splits them with a lexer that skips what it does not know, and has Perl evaluate the rest; so the operators
//! are Perl's, with its precedence. An unknown rule is 0.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// The most names that `rules_matching` of all expressions may stand for.
const MAX_EXPANDED: usize = 1_000_000;
/// How deep parentheses may stand in each other.
const MAX_DEPTH: u32 = 100;
/// The most operators and names in one expression.
const MAX_TOKENS: usize = 20_000;

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It has a character that must not be in it.
    Characters,
    /// A token that is neither a name, nor a number, nor an operator.
    Token(String),
    /// Perl would not take it.
    Expression(String),
}

impl Refusal {
    /// As SpamAssassin words it.
    pub fn worded(&self, rule: &str, text: &str) -> String {
        match self {
            Refusal::Characters => format!("config: invalid meta {rule} rule: {text}"),
            Refusal::Token(token) => format!("config: invalid meta {rule} token: {token}"),
            Refusal::Expression(why) => {
                format!("config: invalid expression for rule {rule}: \"{text}\": {why}")
            }
        }
    }
}

/// A step of a parsed expression, in the order of evaluation over a stack; `R` tells which rule. A tree would be as deep as a
/// sum is long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step<R> {
    /// Puts a number there.
    Number(f64),
    /// Puts there how often a rule hit.
    Rule(R),
    /// `local_tests_only`.
    Local,
    /// `!`.
    Not,
    /// `-`.
    Negative,
    /// Takes two, puts the result.
    Two(Operator),
    /// `&&`, `||`: goes there and keeps the value if it is so; else drops it.
    Unless(bool, usize),
    /// `?`: drops the value and goes there if it is false.
    Else(usize),
    /// Goes there.
    Goto(usize),
}

/// An operator of two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `^`, of bits.
    Xor,
    /// `==`.
    Equal,
    /// `!=`.
    Different,
    /// `<`.
    Less,
    /// `<=`.
    AtMost,
    /// `>`.
    More,
    /// `>=`.
    AtLeast,
    /// `+`.
    Plus,
    /// `-`.
    Minus,
    /// `*`.
    Times,
    /// `/`.
    Over,
}

/// Whether an expression is valid.
pub fn check(text: &str) -> Result<(), Refusal> {
    if text.contains("::") || text.contains("->") || text.contains(['$', '@', '%', ';', '{', '}']) {
        return Err(Refusal::Characters);
    }
    let expanded = replace_globs(text, |_| " 0 ".into());
    let parsed = parse(&expanded, |_| ())?;
    match parsed.map(|steps| evaluate(&steps, &|()| 0.0, false, &mut Vec::new())) {
        Some(None) => Err(Refusal::Expression("division by zero possible".into())),
        _ => Ok(()),
    }
}

/// Replaces `rules_matching(GLOB)` in many expressions, and remembers what fits a glob.
pub struct Globs<'a> {
    names: &'a [&'a str],
    fitting: HashMap<String, Rc<[&'a str]>>,
    left: usize,
}

impl<'a> Globs<'a> {
    /// For rules of these names, sorted.
    pub fn new(names: &'a [&'a str]) -> Globs<'a> {
        Globs { names, fitting: HashMap::new(), left: MAX_EXPANDED }
    }

    /// Each by the sum of the rules whose names fit, `me` left out. `None`: all expressions together name more rules than is borne.
    pub fn expand(&mut self, text: &str, me: &str) -> Option<String> {
        let mut borne = true;
        let expanded = replace_globs(text, |glob| {
            // To look for a glob takes as long as to name all.
            if !self.fitting.contains_key(glob) {
                borne &= self.take(self.names.len());
                let fit =
                    self.names.iter().copied().filter(|name| borne && fits(glob.as_bytes(), name.as_bytes()));
                let fit: Rc<[&str]> = fit.collect();
                self.fitting.insert(glob.to_string(), fit);
            }
            let fit = self.fitting[glob].clone();
            borne &= self.take(fit.len());
            let others: Vec<&str> = fit.iter().copied().filter(|name| borne && *name != me).collect();
            if others.is_empty() { " (0) ".into() } else { format!(" ({}) ", others.join("+")) }
        });
        borne.then_some(expanded)
    }

    fn take(&mut self, count: usize) -> bool {
        let enough = self.left >= count;
        self.left = self.left.saturating_sub(count);
        enough
    }
}

/// The rules that an expression names, each once.
pub fn names(text: &str) -> Vec<Box<str>> {
    let mut seen = HashSet::new();
    let mut names: Vec<Box<str>> = Vec::new();
    for token in tokens(text) {
        if is_name(&token) && token != "local_tests_only" && seen.insert(token.clone()) {
            names.push(token.into());
        }
    }
    names
}

/// Parses an expression whose globs are expanded. `None`: it is `()`, a rule that something else makes hit.
pub fn parse<R>(text: &str, rule: impl FnMut(&str) -> R) -> Result<Option<Box<[Step<R>]>>, Refusal> {
    let tokens = tokens(text);
    if tokens.len() > MAX_TOKENS {
        return Err(Refusal::Expression("too long".into()));
    }
    if tokens == ["(", ")"] {
        return Ok(None);
    }
    for token in &tokens {
        let sign = token.len() <= 2 && token.bytes().all(|b| b.is_ascii_punctuation());
        if !(is_name(token) || is_number(token) || sign) {
            return Err(Refusal::Token(token.clone()));
        }
    }
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, rule, steps: Vec::new() };
    parser.choice()?;
    if parser.at < tokens.len() {
        return Err(parser.error());
    }
    Ok(Some(parser.steps.into()))
}

/// The value; `None`: it divides by zero.
pub fn evaluate<R: Copy>(
    steps: &[Step<R>],
    hits: &impl Fn(R) -> f64,
    local: bool,
    stack: &mut Vec<f64>,
) -> Option<f64> {
    let truth = |yes: bool| f64::from(u8::from(yes));
    stack.clear();
    let mut at = 0;
    while let Some(step) = steps.get(at) {
        at += 1;
        match *step {
            Step::Number(number) => stack.push(number),
            Step::Rule(rule) => stack.push(hits(rule)),
            Step::Local => stack.push(truth(local)),
            Step::Not => {
                let value = stack.pop()?;
                stack.push(truth(value == 0.0));
            }
            Step::Negative => {
                let value = stack.pop()?;
                stack.push(-value);
            }
            Step::Unless(wanted, to) => {
                if (*stack.last()? != 0.0) == wanted {
                    at = to;
                } else {
                    stack.pop();
                }
            }
            Step::Else(to) => {
                if stack.pop()? == 0.0 {
                    at = to;
                }
            }
            Step::Goto(to) => at = to,
            Step::Two(operator) => {
                let (right, left) = (stack.pop()?, stack.pop()?);
                stack.push(operator.of(left, right)?);
            }
        }
    }
    stack.pop()
}

impl Operator {
    fn of(self, left: f64, right: f64) -> Option<f64> {
        let truth = |yes: bool| f64::from(u8::from(yes));
        Some(match self {
            Operator::Xor => ((left as i64) ^ (right as i64)) as f64,
            Operator::Equal => truth(left == right),
            Operator::Different => truth(left != right),
            Operator::Less => truth(left < right),
            Operator::AtMost => truth(left <= right),
            Operator::More => truth(left > right),
            Operator::AtLeast => truth(left >= right),
            Operator::Plus => left + right,
            Operator::Minus => left - right,
            Operator::Times => left * right,
            Operator::Over if right == 0.0 => return None,
            Operator::Over => left / right,
        })
    }
}

fn is_name(token: &str) -> bool {
    name_bytes(token.as_bytes())
}

fn name_bytes(token: &[u8]) -> bool {
    token.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        && token.len() <= 128
        && token.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

fn is_number(token: &str) -> bool {
    let (whole, fraction) = token.split_once('.').unwrap_or((token, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

fn tokens(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let run = |f: &dyn Fn(u8) -> bool| bytes[at..].iter().take_while(|b| f(**b)).count();
        let two = bytes.get(at..at + 2).unwrap_or_default();
        let length = if byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.') {
            run(&|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'))
        } else if byte.is_ascii_alphabetic() || byte == b'_' {
            run(&|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
        } else if matches!(two, b"||" | b"&&" | b"!=" | b">=" | b"<=" | b"==") {
            2
        } else if b"()^!<>*/?:".contains(&byte) {
            1
        } else {
            at += 1;
            continue;
        };
        tokens.push(String::from_utf8_lossy(&bytes[at..at + length]).into_owned());
        at += length;
    }
    tokens
}

struct Parser<'a, R, F> {
    tokens: &'a [String],
    at: usize,
    depth: u32,
    rule: F,
    steps: Vec<Step<R>>,
}

impl<R, F: FnMut(&str) -> R> Parser<'_, R, F> {
    fn error(&self) -> Refusal {
        let near = self.tokens.get(self.at).map_or("the end", String::as_str);
        Refusal::Expression(format!("syntax error, near \"{near}\""))
    }

    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn eat(&mut self, token: &str) -> bool {
        let there = self.peek() == token;
        self.at += usize::from(there);
        there
    }

    /// Puts a step there whose target is set later.
    fn open(&mut self, step: Step<R>) -> usize {
        self.steps.push(step);
        self.steps.len() - 1
    }

    fn choice(&mut self) -> Result<(), Refusal> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Refusal::Expression("parentheses stand too deep in each other".into()));
        }
        self.binary(0)?;
        if self.eat("?") {
            let no = self.open(Step::Else(0));
            self.choice()?;
            if !self.eat(":") {
                return Err(self.error());
            }
            let end = self.open(Step::Goto(0));
            self.steps[no] = Step::Else(self.steps.len());
            self.choice()?;
            self.steps[end] = Step::Goto(self.steps.len());
        }
        self.depth -= 1;
        Ok(())
    }

    /// Operators of one level and all that bind tighter, from left to right.
    fn binary(&mut self, level: usize) -> Result<(), Refusal> {
        // `||` and `&&`, which look at the second operand only if need be.
        let short = match level {
            0 => Some(("||", true)),
            1 => Some(("&&", false)),
            _ => None,
        };
        if let Some((sign, wanted)) = short {
            self.binary(level + 1)?;
            while self.eat(sign) {
                let open = self.open(Step::Unless(wanted, 0));
                self.binary(level + 1)?;
                self.steps[open] = Step::Unless(wanted, self.steps.len());
            }
            return Ok(());
        }
        let Some(operators) = LEVELS.get(level - 2) else { return self.unary() };
        self.binary(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(sign, _)| *sign == self.peek()) {
            self.at += 1;
            self.binary(level + 1)?;
            self.steps.push(Step::Two(*operator));
        }
        Ok(())
    }

    fn unary(&mut self) -> Result<(), Refusal> {
        let first = self.at;
        while matches!(self.peek(), "!" | "-" | "+") {
            self.at += 1;
        }
        let signs = first..self.at;
        self.primary()?;
        for sign in self.tokens[signs].iter().rev() {
            match sign.as_str() {
                "!" => self.steps.push(Step::Not),
                "-" => self.steps.push(Step::Negative),
                _ => {}
            }
        }
        Ok(())
    }

    fn primary(&mut self) -> Result<(), Refusal> {
        if self.eat("(") {
            self.choice()?;
            return if self.eat(")") { Ok(()) } else { Err(self.error()) };
        }
        let token = self.peek().to_string();
        let step = if token == "local_tests_only" {
            Step::Local
        } else if is_name(&token) {
            Step::Rule((self.rule)(&token))
        } else if is_number(&token) {
            Step::Number(token.parse().map_err(|_| self.error())?)
        } else {
            return Err(self.error());
        };
        self.steps.push(step);
        self.at += 1;
        Ok(())
    }
}

/// Operators of numbers, from those that bind least.
const LEVELS: [&[(&str, Operator)]; 5] = [
    &[("^", Operator::Xor)],
    &[("==", Operator::Equal), ("!=", Operator::Different)],
    &[("<", Operator::Less), ("<=", Operator::AtMost), (">", Operator::More), (">=", Operator::AtLeast)],
    &[("+", Operator::Plus), ("-", Operator::Minus)],
    &[("*", Operator::Times), ("/", Operator::Over)],
];

/// Replaces each `rules_matching(GLOB)`.
fn replace_globs(text: &str, mut by: impl FnMut(&str) -> String) -> String {
    const WORD: &str = "rules_matching(";
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(WORD) {
        let (before, behind) = (&rest[..at], &rest[at + WORD.len()..]);
        let glob = behind.find(')').map(|end| (behind[..end].trim(), end));
        let valid = |glob: &str| {
            glob.starts_with(|c: char| !c.is_ascii_digit())
                && glob.len() <= 128
                && glob.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'*' | b'?'))
        };
        let apart = !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        result.push_str(before);
        match glob.filter(|(glob, _)| apart && valid(glob)) {
            Some((glob, end)) => {
                result.push_str(&by(glob));
                rest = &behind[end + 1..];
            }
            None => {
                result.push_str(WORD);
                rest = behind;
            }
        }
    }
    result.push_str(rest);
    result
}

/// Whether a name fits a glob of `*` and `?`.
pub fn fits(glob: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match glob.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&c) if c == b'?' || c == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((place, tried)) => {
                    star = Some((place, tried + 1));
                    (at, from) = (place + 1, tried + 1);
                }
                None => return false,
            },
        }
    }
    glob[at..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, hits: &[(&str, f64)]) -> Option<f64> {
        let steps = parse(text, |name| hits.iter().position(|(other, _)| *other == name)).unwrap().unwrap();
        evaluate(
            &steps,
            &|rule: Option<usize>| rule.map_or(0.0, |index| hits[index].1),
            true,
            &mut Vec::new(),
        )
    }

    #[test]
    fn values_are_those_of_perl() {
        for (text, expected) in [
            ("A && B", 2.0),
            ("B && A", 1.0),
            ("C || B", 2.0),
            ("!C", 1.0),
            ("!A", 0.0),
            ("A + B * 3 > 6", 1.0),
            ("(A + B) * 3 == 9", 1.0),
            ("A + B >= 3 && !C", 1.0),
            ("A + !C + UNKNOWN", 2.0),
            ("8 - 2 - 1", 5.0),
            ("B / 4", 0.5),
            ("C ? 5 : B", 2.0),
            ("A == 1 || C == 1 && C", 1.0),
            ("(3 * A - 2 * B) < 0", 1.0),
            ("1 ^ B", 3.0),
            ("local_tests_only", 1.0),
        ] {
            assert_eq!(value(text, &[("A", 1.0), ("B", 2.0), ("C", 0.0)]), Some(expected), "{text}");
        }
        assert_eq!(value("A / C", &[("A", 1.0), ("C", 0.0)]), None);
    }

    #[test]
    fn what_is_refused() {
        for (text, valid) in [
            ("A && (B || C)", true),
            ("A &&", false),
            ("(A", false),
            ("A B", false),
            ("A -1", false),
            ("A - 1", true),
            ("A == 2.5", true),
            ("1 / A", false),
            ("$x", false),
            ("A->b", false),
            ("()", true),
            ("rules_matching(__FOO_*) >= 2", true),
            ("rules_matching(__FOO_*", false),
        ] {
            assert_eq!(check(text).is_ok(), valid, "{text}: {:?}", check(text));
        }
        assert!(check(&"(".repeat(100_000)).is_err());
        assert!(check(&("!".repeat(10_000) + "A")).is_ok());
    }

    #[test]
    fn globs() {
        let names = ["__FOO_1", "__FOO_2", "__FOOD", "BAR"];
        let expanded = Globs::new(&names).expand("rules_matching(__FOO_*) > 1", "__FOO_2").unwrap();
        assert_eq!(expanded, " (__FOO_1)  > 1");
        assert_eq!(Globs::new(&names).expand("rules_matching(X*)", "A").unwrap(), " (0) ");
        for (glob, name, expected) in [
            ("*", "", true),
            ("A?C", "ABC", true),
            ("A*C*E", "ABCDE", true),
            ("A*C", "ABCD", false),
            ("?", "", false),
        ] {
            assert_eq!(fits(glob.as_bytes(), name.as_bytes()), expected, "{glob} {name}");
        }
    }
}
