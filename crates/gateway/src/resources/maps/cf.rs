//! The `.cf` files of Postfix's LDAP and SQL tables: `name = value` lines, and the `%` templates in them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lines::{TableError, is_space, logical_lines};
use super::{Form, Local};

/// The parameters of a table, with what was taken of them so far.
pub struct Parameters {
    values: BTreeMap<String, (u32, String)>,
}

impl Parameters {
    /// Reads a file in the form of main.cf; the last of several equal names counts.
    pub fn parse(text: &str) -> Result<Parameters, TableError> {
        let mut values = BTreeMap::new();
        for item in logical_lines(text) {
            let (line, text) = item?;
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| TableError::new(line, "is no parameter; write: name = value"))?;
            let (name, value) = (name.trim_matches(is_space), value.trim_matches(is_space));
            if name.is_empty() || name.contains(is_space) {
                return Err(TableError::new(line, format!("“{name}” is no name of a parameter")));
            }
            values.insert(name.to_owned(), (line, value.to_owned()));
        }
        Ok(Parameters { values })
    }

    /// Takes a text; None when it is not there or empty.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.values.remove(name).map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    /// Takes a text that must be there.
    pub fn needed(&mut self, name: &str) -> Result<String, TableError> {
        self.text(name).ok_or_else(|| TableError::new(0, format!("{name} is missing")))
    }

    /// Takes words that are parted by commas and spaces.
    pub fn words(&mut self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        let words = text.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    }

    /// Takes a number.
    pub fn number(&mut self, name: &str, otherwise: u32) -> Result<u32, TableError> {
        self.parsed(name, otherwise, "is no number", |text| text.parse().ok())
    }

    /// Takes `yes` or `no`.
    pub fn flag(&mut self, name: &str, otherwise: bool) -> Result<bool, TableError> {
        self.parsed(name, otherwise, "is neither yes nor no", |text| match text {
            "yes" | "1" | "true" => Some(true),
            "no" | "0" | "false" => Some(false),
            _ => None,
        })
    }

    /// Takes a number of seconds.
    pub fn seconds(&mut self, name: &str, otherwise: Duration) -> Result<Duration, TableError> {
        self.parsed(name, otherwise, "is no time in seconds", |text| {
            let number = text.strip_suffix('s').unwrap_or(text);
            number.parse().ok().filter(|n| (1..=3600).contains(n)).map(Duration::from_secs)
        })
    }

    fn parsed<T>(
        &mut self,
        name: &str,
        otherwise: T,
        wrong: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, TableError> {
        match self.values.remove(name) {
            Some((line, value)) => parse(value.to_ascii_lowercase().as_str())
                .ok_or_else(|| TableError::new(line, format!("{name}: “{value}” {wrong}"))),
            None => Ok(otherwise),
        }
    }

    /// Drops parameters that change nothing here.
    pub fn without(&mut self, names: &[&str]) {
        for name in names {
            self.values.remove(*name);
        }
    }

    /// All must have been taken: what is not known is not passed over in silence, since it may narrow what is found.
    pub fn end(self) -> Result<(), TableError> {
        match self.values.into_iter().next() {
            Some((name, (line, _))) => {
                Err(TableError::new(line, format!("{name} is not known to this kind of table here")))
            }
            None => Ok(()),
        }
    }
}

/// A text with `%s`, `%u`, `%d`, `%S`, `%U`, `%D`, `%1` … `%9` and `%%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Expansion(char),
}

impl Template {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match (c, if c == '%' { chars.next() } else { None }) {
                ('%', Some('%')) => plain.push('%'),
                ('%', Some(kind @ ('s' | 'u' | 'd' | 'S' | 'U' | 'D' | '1'..='9'))) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Expansion(kind));
                }
                ('%', other) => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("%{other} is not known; known are %s %u %d %S %U %D %1 … %9 %%"));
                }
                (c, _) => plain.push(c),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// Whether there is anything in it that is expanded.
    pub fn expands(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Expansion(_)))
    }

    /// Fills it. `value` is what `%s`, `%u` and `%d` speak of, `key` what `%S`, `%U`, `%D` and `%1` … do; in queries both
    /// are the key. None: something it asks for is not there, and nothing is to be looked up (or this value skipped).
    pub fn fill(&self, value: &str, key: &str, quote: impl Fn(&str) -> String) -> Option<String> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Expansion(kind) => filled.push_str(&quote(expansion(*kind, value, key)?)),
            }
        }
        Some(filled)
    }
}

fn expansion<'a>(kind: char, value: &'a str, key: &'a str) -> Option<&'a str> {
    let of = if kind.is_ascii_lowercase() { value } else { key };
    let parts = of.rsplit_once('@');
    match kind {
        's' | 'S' => Some(of).filter(|text| !text.is_empty()),
        'u' | 'U' => Some(parts.map_or(of, |(local, _)| local)).filter(|text| !text.is_empty()),
        'd' | 'D' => parts.map(|(_, domain)| domain).filter(|text| !text.is_empty()),
        digit => {
            let place = digit.to_digit(10)? as usize;
            let domain = key.rsplit_once('@').map(|(_, domain)| domain)?;
            // All that are asked for must be there, so no component of an address that has too few is taken.
            domain.rsplit('.').nth(place.checked_sub(1)?).filter(|text| !text.is_empty())
        }
    }
}

/// What LDAP and SQL tables have in common: which keys are asked for, and how results are shown.
pub struct Common {
    domain: Vec<Pattern>,
    limited: bool,
    format: Template,
    expansion_limit: u32,
}

enum Pattern {
    Is(bool, String),
    In(bool, Local),
}

impl Common {
    /// Takes `domain`, `result_format` and `expansion_limit`.
    pub fn take(parameters: &mut Parameters) -> Result<Common, TableError> {
        let older = parameters.text("result_filter");
        let format = parameters.text("result_format").or(older).unwrap_or_else(|| "%s".into());
        let format =
            Template::parse(&format).map_err(|why| TableError::new(0, format!("result_format: {why}")))?;
        let expansion_limit = parameters.number("expansion_limit", 0)?;
        let mut domain = Vec::new();
        for word in parameters.words("domain") {
            patterns(&word, &mut domain).map_err(|why| TableError::new(0, format!("domain: {why}")))?;
        }
        Ok(Common { limited: !domain.is_empty(), domain, format, expansion_limit })
    }

    /// Whether a key is asked for at all. With `domain`, only addresses with a local part in those domains are.
    pub fn asks(&self, key: &str) -> Result<bool, TableError> {
        if key.is_empty() || key.contains('\0') {
            return Ok(false);
        }
        if !self.limited {
            return Ok(true);
        }
        let Some((local, domain)) = key.rsplit_once('@') else { return Ok(false) };
        if local.is_empty() {
            return Ok(false);
        }
        for pattern in &self.domain {
            let (wanted, matches) = match pattern {
                Pattern::Is(wanted, name) => (*wanted, name == domain),
                Pattern::In(wanted, table) => (*wanted, table.get(domain)?.is_some()),
            };
            if matches {
                return Ok(wanted);
            }
        }
        Ok(false)
    }

    /// The results as Postfix shows them: each in its format, joined by commas. None: there are none.
    pub fn join<'v>(
        &self,
        key: &str,
        values: impl Iterator<Item = &'v str>,
    ) -> Result<Option<String>, String> {
        let mut joined: Option<String> = None;
        let mut count = 0_u32;
        for value in values.filter(|value| !value.is_empty()) {
            let Some(shown) = self.format.fill(value, key, str::to_owned) else { continue };
            count += 1;
            if self.expansion_limit > 0 && count > self.expansion_limit {
                return Err(format!("more than {} results (expansion_limit)", self.expansion_limit));
            }
            match &mut joined {
                Some(all) if all.len() + shown.len() > LONGEST => {
                    return Err(format!("the results are longer than {LONGEST} bytes"));
                }
                Some(all) => {
                    all.push(',');
                    all.push_str(&shown);
                }
                None => joined = Some(shown),
            }
        }
        Ok(joined)
    }
}

/// Longest that all results of a look-up may be together, in bytes.
const LONGEST: usize = 1 << 20;

/// `example.org`, `!example.org`, `/file/of/names`, `hash:/table`.
fn patterns(word: &str, all: &mut Vec<Pattern>) -> Result<(), String> {
    let (wanted, word) = word.strip_prefix('!').map_or((true, word), |rest| (false, rest));
    if let Some((form, path)) = word.split_once(':') {
        let form = Form::named(form).ok_or_else(|| format!("“{word}” is no table of a file"))?;
        all.push(Pattern::In(wanted, Local::open(form, path.as_ref())?));
    } else if word.starts_with('/') {
        let text = std::fs::read_to_string(word).map_err(|why| format!("{word}: {why}"))?;
        for item in logical_lines(&text) {
            let (_, line) = item.map_err(|error| format!("{word}:{}: {}", error.line, error.message))?;
            let names = line.split([',', ' ', '\t']).filter(|name| !name.is_empty());
            all.extend(names.map(|name| Pattern::Is(wanted, name.to_lowercase())));
        }
    } else {
        all.push(Pattern::Is(wanted, word.to_lowercase()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(text: &str) -> Common {
        let mut parameters = Parameters::parse(text).unwrap();
        let common = Common::take(&mut parameters).unwrap();
        parameters.end().unwrap();
        common
    }

    #[test]
    fn parameters_are_typed_and_none_is_passed_over() {
        let text = "# file\nhosts = a, b\n c\nlimit=5\nbind = YES\ntimeout = 3s\nempty =\n";
        let mut parameters = Parameters::parse(text).unwrap();
        assert_eq!(parameters.words("hosts"), ["a", "b", "c"]);
        assert_eq!(parameters.number("limit", 1), Ok(5));
        assert_eq!(parameters.number("limit", 1), Ok(1));
        assert_eq!(parameters.flag("bind", false), Ok(true));
        assert_eq!(parameters.seconds("timeout", Duration::ZERO), Ok(Duration::from_secs(3)));
        assert_eq!(parameters.text("empty"), None);
        assert_eq!(parameters.needed("query").unwrap_err().message, "query is missing");
        assert_eq!(parameters.end(), Ok(()));
        assert_eq!(Parameters::parse("a = b\nc\n").err().unwrap().line, 2);
        let mut parameters = Parameters::parse("a = b\nlimit = x\n").unwrap();
        assert_eq!(parameters.number("limit", 1).unwrap_err().line, 2);
        assert_eq!(parameters.end().unwrap_err().line, 1);
    }

    #[test]
    fn templates() {
        let quote = |text: &str| format!("<{text}>");
        for (template, key, expected) in [
            ("m=%s", "a@b.example", Some("m=<a@b.example>")),
            ("%u at %d", "a@b.example", Some("<a> at <b.example>")),
            ("%u", "plain", Some("<plain>")),
            ("%u", "@b", None),
            ("%d", "plain", None),
            ("%d", "a@", None),
            ("%1.%2", "a@x.b.example", Some("<example>.<b>")),
            ("%3", "a@b.example", None),
            ("%1", "plain", None),
            ("100%%", "", Some("100%")),
            ("%S%U%D", "a@b", Some("<a@b><a><b>")),
            ("%s", "", None),
        ] {
            let filled = Template::parse(template).unwrap().fill(key, key, quote);
            assert_eq!(filled.as_deref(), expected, "{template} {key}");
        }
        assert!(Template::parse("%x").is_err() && Template::parse("50%").is_err());
    }

    #[test]
    fn results_are_formatted_and_joined() {
        let shown = |text: &str, values: &[&str]| common(text).join("k@key.example", values.iter().copied());
        for (text, values, expected) in [
            ("", &["a", "", "b"][..], Ok(Some("a,b"))),
            ("", &[], Ok(None)),
            ("result_format = smtp:[%s] %U", &["a", "b"], Ok(Some("smtp:[a] k,smtp:[b] k"))),
            ("result_format = %d", &["plain", "x@y"], Ok(Some("y"))),
            ("result_filter = <%s>", &["x"], Ok(Some("<x>"))),
            ("expansion_limit = 1", &["a", "b"], Err("more than 1 results (expansion_limit)")),
        ] {
            let joined = shown(text, values);
            let joined = joined.as_ref().map(Option::as_deref).map_err(String::as_str);
            assert_eq!(joined, expected, "{text}");
        }
    }

    #[test]
    fn keys_that_are_asked_for() {
        let limited = common("domain = !no.example, example.org\n  b.example\n");
        for (key, expected) in [
            ("a@example.org", true),
            ("a@b.example", true),
            ("a@no.example", false),
            ("a@sub.example.org", false),
            ("@example.org", false),
            ("example.org", false),
            ("", false),
        ] {
            assert_eq!(limited.asks(key), Ok(expected), "{key}");
        }
        assert_eq!(common("").asks("anything"), Ok(true));
        assert_eq!(common("").asks("nul\0"), Ok(false));
    }
}
