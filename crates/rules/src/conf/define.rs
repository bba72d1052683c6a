//! The directives that define rules and what is said of rules.

use super::settings::Refused;
use super::text::{characters, first_word, is_rule_name, is_space, number, trimmed, words};
use super::{Arg, Definition, Expression, Place, Reader, Shortcircuit, Test, UriCondition, UriField, known};
use crate::regex::{self, Pattern};
use crate::texts::{HeaderRequest, blocks};

/// The longest name that a rule may have.
const MAX_NAME: usize = 100;

/// What may stand behind a field's name.
const MODIFIERS: [&str; 10] = ["", "raw", "addr", "name", "host", "domain", "ip", "revip", "first", "last"];

type Done = Result<(), Refused>;

impl Reader {
    /// Carries out a directive about rules or plugins; `None`: it is another.
    pub(super) fn define(&mut self, directive: &'static str, value: &[u8]) -> Option<Done> {
        Some(match directive {
            "header" | "body" | "rawbody" | "full" | "uri" | "meta" | "mimeheader" | "uri_detail" => {
                self.rule(directive, value)
            }
            "score" => self.score(value),
            "describe" => self.pair(value).map(|(name, text)| {
                self.descriptions.insert(name, text);
            }),
            "subjprefix" => self.pair(value).map(|(name, text)| {
                self.prefixes.insert(name, text);
            }),
            "tflags" => self.pair(value).map(|(name, flags)| {
                self.tflags.insert(name, flags);
            }),
            "priority" => self.priority(value),
            "shortcircuit" => self.shortcircuit(value),
            "reuse" => {
                if value.is_empty() || !words(value).all(is_rule_name) {
                    return Some(Err(Refused::Invalid));
                }
                let (name, _) = first_word(value);
                self.reused.insert(characters(name).into());
                self.declare(name);
                Ok(())
            }
            _ if blocks::DIRECTIVES.contains(&directive) => self.block(directive, value),
            "askdns" => self.asked(directive, value, 2),
            "uridnsbl" | "urirhsbl" | "urinsrhsbl" | "urifullnsrhsbl" => self.listed(directive, value, 3),
            "uridnssub" | "urirhssub" | "urinsrhssub" | "urifullnsrhssub" => self.listed(directive, value, 4),
            "test" => self.regression(value),
            "replace_rules" => {
                if value.is_empty() {
                    return Some(Err(Refused::Missing));
                }
                self.replaced.extend(words(value).map(|name| characters(name).into()));
                Ok(())
            }
            "loadplugin" | "tryplugin" => self.load(directive, value),
            _ => return None,
        })
    }

    fn pair(&self, value: &[u8]) -> Result<(Box<str>, String), Refused> {
        let (name, rest) = first_word(value);
        if rest.is_empty() { Err(Refused::Missing) } else { Ok((characters(name).into(), characters(rest))) }
    }

    fn rule(&mut self, directive: &str, value: &[u8]) -> Done {
        let (name, rest) = first_word(value);
        if name.is_empty() || name.len() == value.len() {
            return Err(Refused::Invalid);
        }
        let place = match directive {
            "header" => Some(Place::Header),
            "body" => Some(Place::Body),
            "rawbody" => Some(Place::RawBody),
            "full" => Some(Place::Full),
            _ => None,
        };
        let call = rest
            .strip_prefix(b"eval:")
            .or_else(|| rest.strip_prefix(b"rbleval:").filter(|_| directive == "header"));
        if let (Some(place), Some(call)) = (place, call) {
            return self.eval(name, place, call);
        }
        if !self.valid_name(name) {
            return Ok(());
        }
        let shown = characters(name);
        let definition = match directive {
            "header" => self.header(&shown, rest),
            "mimeheader" => self.mime_header(&shown, rest)?,
            "uri_detail" => Some(Definition::UriDetail(uri_conditions(rest).ok_or(Refused::Invalid)?)),
            "meta" => self.meta(&shown, rest)?,
            _ => self.expression(&shown, rest).map(|expression| match directive {
                "body" => Definition::Body(expression),
                "rawbody" => Definition::RawBody(expression),
                "full" => Definition::Full(expression),
                _ => Definition::Uri(expression),
            }),
        };
        if let Some(definition) = definition {
            self.put(&shown, definition);
        }
        Ok(())
    }

    fn put(&mut self, name: &str, definition: Definition) {
        let expression = match &definition {
            Definition::Header { expression, .. }
            | Definition::Body(expression)
            | Definition::RawBody(expression)
            | Definition::Full(expression)
            | Definition::Uri(expression)
            | Definition::MimeHeader { expression, .. } => Some(expression),
            _ => None,
        };
        // What sets tags runs before all that may use them.
        if expression.is_some_and(|expression| expression.captures) {
            self.priorities.insert(name.into(), -10_000);
        }
        let test = Test { definition, file: self.file.clone(), line: self.line };
        self.tests.insert(name.into(), test);
    }

    fn valid_name(&mut self, name: &[u8]) -> bool {
        let shown = characters(name);
        if !is_rule_name(name) {
            let message = format!(
                "config: error: rule '{shown}' has invalid characters (not Alphanumeric + Underscore + starting with a \
                 non-digit)"
            );
            self.warn(Some(&shown), true, message);
            return false;
        }
        if name.len() > MAX_NAME {
            let message = format!(
                "config: error: rule '{shown}' is too long (recommended maximum length is 22 characters)"
            );
            self.warn(Some(&shown), true, message);
            return false;
        }
        if name.len() > 40 && !shown.starts_with("__") && !shown.starts_with("T_") {
            let message = format!(
                "config: warning: rule name '{shown}' is over 40 chars (recommended maximum length is 22 characters)"
            );
            self.warn(Some(&shown), true, message);
        }
        true
    }

    /// Reads an expression; what is wrong with it is a warning.
    fn expression(&mut self, rule: &str, text: &[u8]) -> Option<Expression> {
        match expression(text) {
            Ok((expression, pattern)) => {
                if pattern.is_wide() {
                    let message = format!(
                        "config: regexp for {rule} has a character beyond \\xff, which matches no byte: '{}'",
                        characters(text)
                    );
                    self.warn(Some(rule), false, message);
                }
                Some(expression)
            }
            Err(why) => {
                let message = format!("config: invalid regexp for {rule} '{}': {why}", characters(text));
                self.warn(Some(rule), true, message);
                None
            }
        }
    }

    fn header(&mut self, rule: &str, text: &[u8]) -> Option<Definition> {
        if let Some(field) = text.strip_prefix(b"exists:") {
            let name = field.strip_suffix(b":").unwrap_or(field);
            let valid = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
            if name.is_empty() || !name.iter().all(valid) {
                let message = format!("config: invalid head test {rule} header: {}", characters(field));
                self.warn(Some(rule), true, message);
                return None;
            }
            return Some(Definition::Exists(HeaderRequest::parse(&characters(name))));
        }
        let Some((field, negated, pattern)) = compared(text) else {
            let message = format!("config: invalid head test {rule}: {}", characters(text));
            self.warn(Some(rule), true, message);
            return None;
        };
        if !field.split(':').skip(1).all(|modifier| MODIFIERS.contains(&modifier)) {
            let message = format!("config: invalid header modifier for {rule}: {field}");
            self.warn(Some(rule), true, message);
            return None;
        }
        let (pattern, unset) = if_unset(pattern);
        let expression = self.expression(rule, pattern)?;
        let field = HeaderRequest::parse(&field);
        Some(Definition::Header { field, negated, unset: unset.map(Into::into), expression })
    }

    fn mime_header(&mut self, rule: &str, text: &[u8]) -> Result<Option<Definition>, Refused> {
        let (field, negated, pattern) = compared_any(text).ok_or(Refused::Invalid)?;
        let (name, raw) = match field.strip_suffix(":raw") {
            Some(name) => (name, true),
            None => (field.strip_suffix(':').unwrap_or(&field), false),
        };
        if name.contains(':') {
            return Err(Refused::Invalid);
        }
        let (pattern, unset) = if_unset(pattern);
        let Some(expression) = self.expression(rule, pattern) else { return Ok(None) };
        let unset = unset.unwrap_or_default().into();
        Ok(Some(Definition::MimeHeader { name: name.into(), raw, negated, unset, expression }))
    }

    fn meta(&mut self, rule: &str, text: &[u8]) -> Result<Option<Definition>, Refused> {
        let text = characters(text);
        let mut before = None;
        for c in text.chars().filter(|c| !c.is_ascii_whitespace()) {
            if c == '*' && before == Some('*') {
                return Err(Refused::Invalid);
            }
            before = Some(c);
        }
        match crate::meta::check(&text) {
            Ok(()) => Ok(Some(Definition::Meta(text.into()))),
            Err(why) => {
                let message = why.worded(rule, &text);
                self.warn(Some(rule), true, message);
                Ok(None)
            }
        }
    }

    fn eval(&mut self, name: &[u8], place: Place, call: &[u8]) -> Done {
        let shown = characters(name);
        let end = call.iter().position(|b| !(b.is_ascii_alphanumeric() || *b == b'_')).unwrap_or(call.len());
        let (function, rest) = call.split_at(end);
        let inside = rest.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")"));
        let (Some(inside), false) = (inside, function.is_empty()) else { return Err(Refused::Invalid) };
        if !self.valid_name(name) {
            return Ok(());
        }
        let rbl = function.starts_with(b"check_rbl") || function.starts_with(b"check_dns");
        let place = if place == Place::Header && rbl { Place::Rbl } else { place };
        let Some(args) = arguments(inside) else {
            let message = format!("syntax error for eval function {shown}: {}", characters(call));
            self.warn(Some(&shown), true, message);
            return Ok(());
        };
        let function = characters(function);
        if let Some(known) = known::KNOWN.functions.get(function.as_str()) {
            let fits = matches!(
                (known.place, place),
                ("-", _)
                    | ("header", Place::Header | Place::Rbl)
                    | ("body", Place::Body | Place::RawBody)
                    | ("full", Place::Full)
            );
            if !fits {
                let message = format!("wrong rule type defined for {shown}, expected '{}'", known.place);
                self.warn(Some(&shown), true, message);
                return Ok(());
            }
        }
        self.put(&shown, Definition::Eval { place, function: function.into(), args });
        Ok(())
    }

    fn score(&mut self, value: &[u8]) -> Done {
        let mut all = words(value);
        let name = all.next().ok_or(Refused::Missing)?;
        let written: Vec<&[u8]> = all.collect();
        if !matches!(written.len(), 1 | 4) {
            return Err(Refused::Missing);
        }
        let mut relative = false;
        let mut scores = [0.0; 4];
        for (index, word) in written.iter().enumerate() {
            let inside = word.strip_prefix(b"(").and_then(|word| word.strip_suffix(b")"));
            relative |= inside.is_some();
            scores[index] = number(inside.unwrap_or(word), b"-", false).ok_or(Refused::Invalid)?;
        }
        if written.len() == 1 {
            scores = [scores[0]; 4];
        }
        let name: Box<str> = characters(name).into();
        if relative {
            let before = self.scores.get(&name).ok_or(Refused::Invalid)?;
            scores = std::array::from_fn(|set| before[set] + scores[set]);
        }
        self.scores.insert(name, scores);
        Ok(())
    }

    fn priority(&mut self, value: &[u8]) -> Done {
        let (name, rest) = first_word(value);
        if rest.is_empty() {
            return Err(Refused::Missing);
        }
        let digits = rest.strip_prefix(b"-").unwrap_or(rest);
        if !is_rule_name(name) || digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Refused::Invalid);
        }
        let priority = characters(rest).parse().map_err(|_| Refused::Invalid)?;
        self.priorities.insert(characters(name).into(), priority);
        Ok(())
    }

    fn shortcircuit(&mut self, value: &[u8]) -> Done {
        let (name, kind) = first_word(value);
        if name.is_empty() {
            return Err(Refused::Missing);
        }
        let name: Box<str> = characters(name).into();
        let (kind, flags) = match kind {
            b"on" => (Shortcircuit::On, ""),
            b"ham" => (Shortcircuit::Ham, "nice noautolearn"),
            b"spam" => (Shortcircuit::Spam, "noautolearn"),
            b"off" => {
                self.shortcircuits.remove(&name);
                return Ok(());
            }
            _ => return Err(Refused::Invalid),
        };
        if kind != Shortcircuit::On {
            let priority = self.priorities.entry(name.clone()).or_default();
            if *priority == 0 {
                *priority = -200;
            }
            let all = self.tflags.entry(name.clone()).or_default();
            *all = format!("{all} {flags}").trim_start().to_string();
        }
        self.shortcircuits.insert(name, kind);
        Ok(())
    }

    /// A rule of which something else says whether it hits, unless it is already defined.
    fn declare(&mut self, name: &[u8]) {
        if self.valid_name(name) {
            let shown = characters(name);
            if !self.tests.contains_key(shown.as_str()) {
                self.put(&shown, Definition::Empty);
            }
        }
    }

    /// A line of URILocalBL, which defines its rule.
    fn block(&mut self, directive: &'static str, value: &[u8]) -> Done {
        let (name, rest) = first_word(value);
        let mut all = characters(rest);
        if matches!(directive, "uri_block_cc" | "uri_block_cont") {
            // All lines of a rule are one list.
            let before = self.settings.lines(directive).iter().filter_map(|line| {
                let (other, codes) = line.split_once(char::is_whitespace)?;
                (other.as_bytes() == name).then_some(codes)
            });
            all = before.chain([all.as_str()]).collect::<Vec<_>>().join(" ");
        }
        if !is_rule_name(name) || rest.is_empty() || !blocks::is_valid(directive, &all) {
            return Err(Refused::Invalid);
        }
        if self.valid_name(name) {
            let shown = characters(name);
            let (place, function) = (Place::Body, "check_uri_local_bl".into());
            self.put(&shown, Definition::Eval { place, function, args: Vec::new() });
            self.priorities.insert(shown.into(), -100);
        }
        self.settings.set(directive, known::Kind::Own, value)
    }

    fn asked(&mut self, directive: &'static str, value: &[u8], least: usize) -> Done {
        if value.is_empty() {
            return Err(Refused::Missing);
        }
        if words(value).count() < least {
            return Err(Refused::Invalid);
        }
        let (name, _) = first_word(value);
        if self.valid_name(name) {
            let shown = characters(name);
            self.put(&shown, Definition::Empty);
        }
        self.settings.set(directive, known::Kind::Own, value)
    }

    /// A line of URIDNSBL; its rule is defined by a line `body NAME eval:check_uridnsbl('NAME')`.
    fn listed(&mut self, directive: &'static str, value: &[u8], least: usize) -> Done {
        match words(value).count() {
            0 => Err(Refused::Missing),
            count if count < least || least == 3 && count > 3 => Err(Refused::Invalid),
            _ => self.settings.set(directive, known::Kind::Own, value),
        }
    }

    fn regression(&mut self, value: &[u8]) -> Done {
        let (name, rest) = first_word(value);
        let (kind, text) = first_word(rest);
        let ok = match kind {
            b"ok" => true,
            b"fail" => false,
            _ => return Err(Refused::Invalid),
        };
        self.regressions.entry(characters(name).into()).or_default().push((ok, characters(text)));
        Ok(())
    }

    fn load(&mut self, directive: &str, value: &[u8]) -> Done {
        let mut all = words(value);
        let module = characters(all.next().ok_or(Refused::Missing)?);
        let path = all.next().map(characters);
        let named =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let file = path.as_ref().is_none_or(|path| path.to_ascii_lowercase().ends_with(".pm"));
        if !module.split("::").all(named) || !file || all.next().is_some() {
            return Err(Refused::Invalid);
        }
        if let Some(name) = known::plugin(&module) {
            self.plugins.insert(name);
            self.conditions.clear();
        } else if directive == "loadplugin" {
            let message = format!(
                "plugin: {module} is not among those that are built in; Perl modules cannot be loaded"
            );
            self.warn(None, true, message);
        }
        Ok(())
    }
}

/// Reads an expression with delimiters, after its templates were protected.
pub(super) fn expression(text: &[u8]) -> Result<(Expression, Pattern), String> {
    let (text, templates) = templates(text);
    let pattern = Pattern::literal(&text)?;
    let (inside, modifiers) = regex::delimited(&text)?;
    if let Some(why) = regex::always_matches(inside) {
        return Err(format!("always matching regexp: {why}"));
    }
    let captures = pattern.names().iter().any(|name| name.starts_with(|c: char| c.is_ascii_uppercase()));
    Ok((Expression { inside: inside.into(), modifiers: modifiers.into(), templates, captures }, pattern))
}

/// `%{NAME}` becomes `%\{NAME\}`, which is no quantifier; the names are told.
fn templates(text: &[u8]) -> (Vec<u8>, Vec<Box<str>>) {
    let mut result = Vec::with_capacity(text.len());
    let (mut names, mut at): (Vec<Box<str>>, usize) = (Vec::new(), 0);
    while let Some(&byte) = text.get(at) {
        let rest = &text[at..];
        let inside = rest.strip_prefix(b"%{").and_then(|rest| {
            let end = rest.iter().position(|b| *b == b'}')?;
            Some(&rest[..end])
        });
        let escaped = at > 0 && text[at - 1] == b'\\';
        match inside.filter(|name| !escaped && is_tag(name)) {
            Some(name) => {
                result.extend_from_slice(b"%\\{");
                result.extend_from_slice(name);
                result.extend_from_slice(b"\\}");
                let name: Box<str> = characters(name).into();
                at += name.len() + 3;
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            None => {
                result.push(byte);
                at += 1;
            }
        }
    }
    (result, names)
}

/// Whether it is the name of a tag, perhaps with an argument: `BODY_NAME`, `HEADER(From)`.
fn is_tag(name: &[u8]) -> bool {
    let end = name.iter().position(|b| *b == b'(').unwrap_or(name.len());
    let (name, argument) = name.split_at(end);
    let part =
        |part: &[u8]| !part.is_empty() && part.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    name.first().is_some_and(u8::is_ascii_uppercase)
        && name.split(|b| *b == b'_').all(part)
        && (argument.is_empty() || argument.ends_with(b")"))
}

/// `Field:modifier =~ rest`: the field with its modifiers, whether it is `!~`, what follows.
fn compared(text: &[u8]) -> Option<(String, bool, &[u8])> {
    let (field, negated, pattern) = compared_any(text)?;
    let mut parts = field.split(':');
    let name = parts.next()?;
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let modifiers: Vec<&str> = parts.collect();
    let lower = |part: &&str| part.bytes().all(|b| b.is_ascii_lowercase());
    let fits =
        !name.is_empty() && name.bytes().all(valid) && modifiers.len() <= 2 && modifiers.iter().all(lower);
    fits.then_some((field, negated, pattern))
}

fn compared_any(text: &[u8]) -> Option<(String, bool, &[u8])> {
    let end = text.iter().position(|b| is_space(b) || matches!(b, b'=' | b'!'))?;
    let field = characters(&text[..end]);
    let rest = trimmed(&text[end..]);
    let negated = match rest.get(..2)? {
        b"=~" => false,
        b"!~" => true,
        _ => return None,
    };
    let pattern = trimmed(&rest[2..]);
    (!field.is_empty() && !pattern.is_empty()).then_some((field, negated, pattern))
}

/// `pattern [if-unset: text]`: both.
fn if_unset(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let inside = text.strip_suffix(b"]").and_then(|text| {
        let at = memchr::memmem::find(text, b"[if-unset:")?;
        let value = &text[at + b"[if-unset:".len()..];
        let blank = at > 0 && is_space(&text[at - 1]) && value.first().is_some_and(is_space);
        let value = &value[value.iter().position(|b| !is_space(b))?..];
        blank.then(|| (trimmed(&text[..at]), Some(value)))
    });
    inside.unwrap_or((text, None))
}

/// `key =~ /…/ key !~ m{…}i …` of a uri_detail rule; the last of the same key counts.
fn uri_conditions(text: &[u8]) -> Option<Vec<UriCondition>> {
    let mut found: Vec<UriCondition> = Vec::new();
    let mut rest = trimmed(text);
    while !rest.is_empty() {
        let (key, negated, behind) = compared_any(rest)?;
        let field = match key.as_str() {
            "raw" => UriField::Raw,
            "type" => UriField::Type,
            "cleaned" => UriField::Cleaned,
            "text" => UriField::Text,
            "domain" => UriField::Domain,
            "host" => UriField::Host,
            _ => return None,
        };
        let length = expression_length(behind)?;
        let (expression, _) = expression(&behind[..length]).ok()?;
        found.retain(|other| other.field != field);
        found.push(UriCondition { field, negated, expression });
        rest = trimmed(&behind[length..]);
    }
    (!found.is_empty()).then_some(found)
}

/// How long the expression is that the text begins with: to the first delimiter that only modifiers and white space follow.
fn expression_length(text: &[u8]) -> Option<usize> {
    let (start, delimiter) = match text {
        [b'/', ..] => (1, b'/'),
        [b'm', delimiter, ..] => (2, *delimiter),
        _ => return None,
    };
    let delimiter = match delimiter {
        b'{' => b'}',
        b'(' => b')',
        b'[' => b']',
        b'<' => b'>',
        other => other,
    };
    (start..text.len()).filter(|at| text[*at] == delimiter).find_map(|at| {
        let modifiers = text[at + 1..].iter().take_while(|b| b"imsx".contains(b)).count();
        let end = at + 1 + modifiers;
        text.get(end).is_none_or(is_space).then_some(end)
    })
}

/// Arguments of a function: quoted texts, numbers, addresses and names, commas between; `None`: they are not such.
fn arguments(text: &[u8]) -> Option<Vec<Arg>> {
    let mut args = Vec::new();
    let mut rest = trimmed(text);
    while !rest.is_empty() {
        let (arg, behind) = match rest[0] {
            quote @ (b'\'' | b'"') => {
                let ends = |at: &usize| {
                    let behind = trimmed(&rest[at + 1..]);
                    rest[*at] == quote && (behind.is_empty() || behind[0] == b',')
                };
                let end = (1..rest.len()).find(ends)?;
                (&rest[1..end], &rest[end + 1..])
            }
            _ => {
                let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-');
                let end = rest.iter().position(|b| !plain(b)).unwrap_or(rest.len());
                if end == 0 {
                    return None;
                }
                rest.split_at(end)
            }
        };
        args.push(Arg(arg.into()));
        rest = match trimmed(behind) {
            [] => &[],
            [b',', behind @ ..] => trimmed(behind),
            _ => return None,
        };
    }
    Some(args)
}
