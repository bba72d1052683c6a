//! `regexp:` and `pcre:` tables (regexp_table(5), pcre_table(5)): expressions in order, the first that matches decides.

use std::time::{Duration, Instant};

use pcre2::bytes::{Captures, Regex, RegexBuilder};

use super::lines::{Found, TableError, is_space, logical_lines};
use super::posix;

/// Steps that one expression may take on one key; beyond it the look-up fails.
const STEPS: u32 = 200_000;

/// Deepest backtracking of one expression, and most memory of it in KiB.
const BACKTRACKING: u32 = 20_000;

/// Longest that all expressions of a table may take for one key; beyond it the look-up fails.
const TIME: Duration = Duration::from_millis(500);

/// Most expressions of a table: each is tried in turn.
const RULES: usize = 100_000;

/// How the expressions of a table are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// POSIX, `regexp:`.
    Posix,
    /// Perl's, `pcre:`.
    Perl,
}

/// A table of expressions.
#[derive(Debug)]
pub struct Patterns {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    regex: Regex,
    negated: bool,
    line: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    /// The result as it is written, and in pieces.
    Result(Box<str>, Vec<Piece>),
    /// A block: the rules behind this one up to `end`, which is not in it.
    Block { end: usize },
}

/// A piece of a result.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// What a group of the expression has matched.
    Group(usize),
}

impl Patterns {
    /// Reads a table.
    pub fn parse(text: &str, syntax: Syntax) -> Result<Patterns, TableError> {
        let mut rules: Vec<Rule> = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        for item in logical_lines(text) {
            let (line, text) = item?;
            let text = text.trim_matches(is_space);
            let failed = |message: String| TableError::new(line, message);
            if rules.len() == RULES {
                return Err(failed(format!("more than {RULES} expressions")));
            }
            if text.eq_ignore_ascii_case("endif") {
                let begun = open.pop().ok_or_else(|| failed("endif without if".into()))?;
                rules[begun].what = What::Block { end: rules.len() };
                continue;
            }
            let condition = text.get(..2).filter(|word| word.eq_ignore_ascii_case("if")).map(|_| &text[2..]);
            let pattern = condition.filter(|rest| !rest.starts_with(char::is_alphanumeric)).unwrap_or(text);
            let block = pattern.len() < text.len();
            let (negated, regex, result) =
                rule(pattern.trim_start_matches(is_space), syntax).map_err(failed)?;
            let what = if block && !result.is_empty() {
                return Err(failed(format!("“{result}” behind if")));
            } else if block {
                open.push(rules.len());
                What::Block { end: usize::MAX }
            } else if result.is_empty() {
                return Err(failed("the expression has no result".into()));
            } else {
                let groups = if negated { 0 } else { regex.captures_len() - 1 };
                What::Result(result.into(), pieces(result, groups).map_err(failed)?)
            };
            rules.push(Rule { regex, negated, line, what });
        }
        match open.last() {
            Some(&begun) => Err(TableError::new(rules[begun].line, "if without endif")),
            None => Ok(Patterns { rules }),
        }
    }

    /// What the table says of a key. The error: an expression needed more steps than it may take, or all of them more time.
    pub fn get(&self, key: &str) -> Result<Option<Found<'_>>, TableError> {
        self.get_within(key, TIME)
    }

    fn get_within(&self, key: &str, time: Duration) -> Result<Option<Found<'_>>, TableError> {
        let (mut at, began) = (0, Instant::now());
        while let Some(rule) = self.rules.get(at) {
            if at > 0 && began.elapsed() >= time {
                let message = format!("the expressions up to here took longer than {} ms", time.as_millis());
                return Err(TableError::new(rule.line, message));
            }
            let failed = |why: pcre2::Error| {
                TableError::new(rule.line, format!("the expression cannot be matched: {why}"))
            };
            at = match &rule.what {
                What::Block { end } => {
                    let matches = rule.regex.is_match(key.as_bytes()).map_err(failed)? != rule.negated;
                    if matches { at + 1 } else { (*end).max(at + 1) }
                }
                What::Result(text, pieces) => {
                    if let [Piece::Text(text)] = pieces.as_slice() {
                        if rule.regex.is_match(key.as_bytes()).map_err(failed)? != rule.negated {
                            return Ok(Some((text.as_str().into(), rule.line)));
                        }
                    } else if let Some(groups) = rule.regex.captures(key.as_bytes()).map_err(failed)? {
                        let result = filled(pieces, &groups);
                        if result.is_empty() {
                            let message = format!("the result “{text}” is empty for “{key}”");
                            return Err(TableError::new(rule.line, message));
                        }
                        return Ok(Some((result.into(), rule.line)));
                    }
                    at + 1
                }
            };
        }
        Ok(None)
    }

    /// All results as they are written, with their lines; without those that begin with what an expression matches.
    pub fn results(&self) -> impl Iterator<Item = (&str, u32)> {
        self.rules.iter().filter_map(|rule| match &rule.what {
            What::Result(text, pieces) if matches!(pieces.first(), Some(Piece::Text(_))) => {
                Some((text.as_ref(), rule.line))
            }
            _ => None,
        })
    }
}

/// `!/pattern/flags result`: whether it is negated, the expression, the result.
fn rule(text: &str, syntax: Syntax) -> Result<(bool, Regex, &str), String> {
    let marks = text.len() - text.trim_start_matches('!').len();
    let text = text[marks..].trim_start_matches(is_space);
    let delimiter = text.chars().next().unwrap_or(' ');
    if delimiter.is_alphanumeric() || is_space(delimiter) || delimiter == '\\' {
        return Err(format!("“{text}” does not begin with an expression such as /pattern/"));
    }
    let inside = &text[delimiter.len_utf8()..];
    let end =
        closing(inside, delimiter).ok_or_else(|| format!("the expression has no {delimiter} at its end"))?;
    let rest = &inside[end + delimiter.len_utf8()..];
    let (flags, result) = rest.split_once(is_space).unwrap_or((rest, ""));
    let pattern = &inside[..end];
    let regex = match syntax {
        Syntax::Posix => posix_regex(pattern, flags),
        Syntax::Perl => perl_regex(pattern, flags),
    };
    Ok((marks % 2 == 1, regex?, result.trim_matches(is_space)))
}

/// Where the delimiter stands that is not behind a backslash.
fn closing(text: &str, delimiter: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(place, c)| {
        let ends = !escaped && c == delimiter;
        escaped = !escaped && c == '\\';
        ends.then_some(place)
    })
}

fn posix_regex(pattern: &str, flags: &str) -> Result<Regex, String> {
    let (mut caseless, mut lines, mut extended) = (true, false, true);
    for flag in flags.chars() {
        match flag {
            'i' => caseless = !caseless,
            'm' => lines = !lines,
            'x' => extended = !extended,
            other => return Err(format!("“{other}” is no flag; flags are i, m, x")),
        }
    }
    let mut builder = RegexBuilder::new();
    builder.caseless(caseless).multi_line(lines).dotall(true);
    compiled(&mut builder, &posix::to_pcre(pattern, extended)?)
}

fn perl_regex(pattern: &str, flags: &str) -> Result<Regex, String> {
    let (mut caseless, mut lines, mut dots, mut extended) = (true, false, true, false);
    let (mut anchored, mut ungreedy) = (false, false);
    for flag in flags.chars() {
        match flag {
            'i' => caseless = !caseless,
            'm' => lines = !lines,
            's' => dots = !dots,
            'x' => extended = !extended,
            'A' => anchored = !anchored,
            'U' => ungreedy = !ungreedy,
            // Keys have no newline, so where `$` matches before one does not matter; PCRE2 knows no X.
            'E' | 'X' => {}
            other => return Err(format!("“{other}” is no flag; flags are i, m, s, x, A, E, U")),
        }
    }
    let mut builder = RegexBuilder::new();
    builder.caseless(caseless).multi_line(lines).dotall(dots).extended(extended);
    let mut pattern = pattern.to_owned();
    if anchored {
        // The newline ends a comment, where those are allowed.
        pattern = format!("\\A(?:{pattern}{})", if extended { "\n" } else { "" });
    }
    if ungreedy {
        pattern.insert_str(0, "(?U)");
    }
    compiled(&mut builder, &pattern)
}

/// With limits, so that no key keeps a look-up busy. As in Postfix bytes are compared, and only ASCII has case.
pub(crate) fn compiled(builder: &mut RegexBuilder, pattern: &str) -> Result<Regex, String> {
    let limits = format!("(*LIMIT_MATCH={STEPS})(*LIMIT_DEPTH={BACKTRACKING})(*LIMIT_HEAP={BACKTRACKING})");
    builder.jit_if_available(true).build(&format!("{limits}{pattern}")).map_err(|why| {
        // Once more without the limits, for the right offset.
        let why = builder.build(pattern).err().unwrap_or(why);
        format!("the expression is wrong: {why}")
    })
}

/// A result in pieces: `$1`, `${1}`, `$(1)`, and `$$` for a dollar.
fn pieces(text: &str, groups: usize) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        plain.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            plain.push('$');
            rest = after;
            continue;
        }
        let (name, after) = match after.chars().next() {
            Some('{') => after[1..].split_once('}').ok_or("a ${ has no }")?,
            Some('(') => after[1..].split_once(')').ok_or("a $( has no )")?,
            _ => {
                after.split_at(after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len()))
            }
        };
        let number = name.parse::<usize>().ok().filter(|_| name.bytes().all(|b| b.is_ascii_digit()));
        match number {
            Some(number) if (1..=groups).contains(&number) => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Group(number));
            }
            Some(number) => {
                return Err(format!("${number}: the expression has {groups} groups that can be used"));
            }
            None => return Err(format!("“${name}” is no group; write $1, ${{1}}, or $$ for a dollar")),
        }
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

fn filled(pieces: &[Piece], groups: &Captures<'_>) -> String {
    let mut result = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => result.push_str(text),
            Piece::Group(number) => {
                let matched = groups.get(*number).map(|found| found.as_bytes()).unwrap_or_default();
                result.push_str(&String::from_utf8_lossy(matched));
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_match_decides() {
        let text = "# a table\n/^postmaster@/ OK\nif /@example\\.org$/\n!/^[a-z.]+@/ 550 only\n letters\n\
                    /^(.)(.*)@(.*)$/ 550 ${2}$(1)@$3 $$5\nendif\n/UPPER/i REJECT\nif !/@/\n~a/b~ DUNNO\nendif\n";
        for syntax in [Syntax::Posix, Syntax::Perl] {
            let table = Patterns::parse(text, syntax).unwrap();
            for (key, expected) in [
                ("Postmaster@example.org", Some(("OK", 2))),
                ("a1@example.org", Some(("550 only letters", 4))),
                ("abc@example.org", Some(("550 bca@example.org $5", 6))),
                ("upper@x", None),
                ("UPPER@x", Some(("REJECT", 8))),
                ("xa/by", Some(("DUNNO", 10))),
                ("xa/by@", None),
            ] {
                let expected = expected.map(|(text, line)| (text.into(), line));
                assert_eq!(table.get(key), Ok(expected), "{key} {syntax:?}");
            }
        }
    }

    #[test]
    fn errors_name_their_lines() {
        for (text, part) in [
            ("\n\na OK", "does not begin"),
            ("\n\n/a OK", "has no /"),
            ("\n\n/a/ ", "no result"),
            ("\n\n/a/q OK", "no flag"),
            ("\n\n/(/ OK", ""),
            ("\n\n/a/ $1", "has 0 groups"),
            ("\n\n/(a)/ $1x", "is no group"),
            ("\n\n!/(a)/ 550 $1", "has 0 groups"),
            ("\n\n/(a)/ ${1", "has no }"),
            ("\n\nif /a/", "without endif"),
            ("\n\nendif", "without if"),
            ("\n\nif /a/ OK\nendif", "behind if"),
        ] {
            for syntax in [Syntax::Posix, Syntax::Perl] {
                let error = Patterns::parse(text, syntax).unwrap_err();
                assert!(error.line == 3 && error.message.contains(part), "{text:?}: {error:?}");
            }
        }
    }

    #[test]
    fn flags_of_perl() {
        for (text, key, expected) in [
            ("/^(a+)(a*)$/U 550 $1-$2", "aaa", Some("550 a-aa")),
            ("/b|a/A OK", "ab", Some("OK")),
            ("/b/A OK", "ab", None),
            ("/a b # c/xA OK", "ab", Some("OK")),
            ("/(?<!x)a/ OK", "xa", None),
        ] {
            let table = Patterns::parse(text, Syntax::Perl).unwrap();
            assert_eq!(table.get(key).unwrap().map(|found| found.0).as_deref(), expected, "{text}");
        }
    }

    /// An expression that would take years fails soon, and that is no "not found".
    #[test]
    fn no_key_keeps_it_busy() {
        let table = Patterns::parse("/^(a|a)*b.*(c|c)+$/ OK", Syntax::Perl).unwrap();
        let error = table.get(&format!("{}c", "a".repeat(60))).unwrap_err();
        assert!(error.line == 1 && error.message.contains("cannot be matched"), "{error:?}");
    }

    #[test]
    fn all_expressions_together_have_a_time() {
        let table = Patterns::parse("/a/ OK\n/b/ OK\n/c/ OK", Syntax::Perl).unwrap();
        let found = |key, time| table.get_within(key, time).map(|found| found.is_some());
        assert_eq!(found("a", Duration::ZERO), Ok(true));
        let error = found("c", Duration::ZERO).unwrap_err();
        assert!(error.line == 2 && error.message.contains("took longer"), "{error:?}");
        assert_eq!(found("c", Duration::from_secs(3600)), Ok(true));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "(if |endif|!|/|\\(|\\)|a|\\$1| OK|\n|[ -~]){0,20}", key in "\\PC{0,20}") {
            for syntax in [Syntax::Posix, Syntax::Perl] {
                if let Ok(table) = Patterns::parse(&text, syntax) {
                    let _ = table.get(&key);
                }
            }
        }
    }
}
