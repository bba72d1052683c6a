//! POSIX regular expressions, as `regexp:` tables have them (regex(7), with the GNU library's additions), written in
//! PCRE's syntax.

/// Deepest nesting of groups; PCRE itself takes no more than 250.
const DEPTH: usize = 200;

/// Most repetitions of an interval (RE_DUP_MAX of the GNU library).
const REPETITIONS: u32 = 0x7fff;

/// Names of character classes.
const CLASSES: [&str; 12] = [
    "alpha", "digit", "alnum", "upper", "lower", "space", "blank", "punct", "print", "graph", "cntrl",
    "xdigit",
];

/// The same expression in PCRE's syntax. `extended`: an ERE, else a BRE.
pub fn to_pcre(pattern: &str, extended: bool) -> Result<String, String> {
    let mut translation =
        Translation { rest: pattern, extended, out: String::new(), groups: Vec::new(), atom: None };
    while let Some(token) = translation.next_token()? {
        translation.take(token)?;
    }
    if translation.groups.is_empty() { Ok(translation.out) } else { Err("a ( has no )".into()) }
}

struct Translation<'p> {
    rest: &'p str,
    extended: bool,
    out: String,
    /// Where the open groups begin in `out`.
    groups: Vec<usize>,
    /// What a repetition would repeat.
    atom: Option<Atom>,
}

#[derive(Clone, Copy)]
struct Atom {
    /// Where it begins in `out`.
    start: usize,
    /// It is repeated already, so that another repetition must see it as a group.
    repeated: bool,
}

enum Token {
    Open,
    Close,
    Or,
    Any,
    /// `^`, `$`, and what matches between characters, in PCRE's syntax.
    Between(&'static str),
    /// A repetition in PCRE's syntax.
    Repeat(String),
    /// What matches one character or more, in PCRE's syntax.
    Atom(String),
    Literal(char),
}

impl Translation<'_> {
    fn next_token(&mut self) -> Result<Option<Token>, String> {
        let mut chars = self.rest.chars();
        let Some(c) = chars.next() else { return Ok(None) };
        self.rest = chars.as_str();
        let token = match c {
            '\\' => return self.escaped().map(Some),
            '.' => Token::Any,
            '[' => Token::Atom(self.bracket()?),
            '*' if self.extended || self.atom.is_some() => Token::Repeat("*".into()),
            '^' if self.extended || self.at_start() => Token::Between("^"),
            '$' if self.extended || self.at_end() => Token::Between("$"),
            '(' if self.extended => Token::Open,
            // Without a group to close it is itself.
            ')' if self.extended && !self.groups.is_empty() => Token::Close,
            '|' if self.extended => Token::Or,
            '+' | '?' if self.extended => Token::Repeat(c.into()),
            '{' if self.extended => Token::Repeat(self.interval("}")?),
            c => Token::Literal(c),
        };
        Ok(Some(token))
    }

    fn escaped(&mut self) -> Result<Token, String> {
        let mut chars = self.rest.chars();
        let Some(c) = chars.next() else { return Err("ends with a backslash".into()) };
        self.rest = chars.as_str();
        Ok(match c {
            '<' => Token::Between(r"\b(?=\w)"),
            '>' => Token::Between(r"\b(?<=\w)"),
            '`' => Token::Between(r"\A"),
            '\'' => Token::Between(r"\z"),
            'b' => Token::Between(r"\b"),
            'B' => Token::Between(r"\B"),
            'w' | 'W' | 's' | 'S' => Token::Atom(format!("\\{c}")),
            '1'..='9' => Token::Atom(format!("\\g{{{c}}}")),
            '(' if !self.extended => Token::Open,
            ')' if !self.extended => Token::Close,
            '|' if !self.extended => Token::Or,
            '+' | '?' if !self.extended => Token::Repeat(c.into()),
            '{' if !self.extended => Token::Repeat(self.interval("\\}")?),
            c => Token::Literal(c),
        })
    }

    fn take(&mut self, token: Token) -> Result<(), String> {
        let start = self.out.len();
        match token {
            Token::Open => {
                if self.groups.len() == DEPTH {
                    return Err(format!("groups are nested deeper than {DEPTH}"));
                }
                self.groups.push(start);
                self.out.push('(');
                self.atom = None;
                return Ok(());
            }
            Token::Close => {
                let began = self.groups.pop().ok_or("a ) has no (")?;
                self.out.push(')');
                self.atom = Some(Atom { start: began, repeated: false });
                return Ok(());
            }
            Token::Or => {
                self.out.push('|');
                self.atom = None;
                return Ok(());
            }
            Token::Between(text) => {
                self.out.push_str(text);
                self.atom = None;
                return Ok(());
            }
            Token::Repeat(text) => return self.repeat(&text),
            Token::Any => self.out.push('.'),
            Token::Atom(text) => self.out.push_str(&text),
            Token::Literal(c) => {
                if c.is_ascii_punctuation() {
                    self.out.push('\\');
                }
                self.out.push(c);
            }
        }
        self.atom = Some(Atom { start, repeated: false });
        Ok(())
    }

    fn repeat(&mut self, text: &str) -> Result<(), String> {
        let atom = self.atom.ok_or_else(|| format!("{text} has nothing to repeat"))?;
        if atom.repeated {
            // PCRE would take a second one for “lazy” or “possessive”.
            self.out.insert_str(atom.start, "(?:");
            self.out.push(')');
        }
        self.out.push_str(text);
        self.atom = Some(Atom { repeated: true, ..atom });
        Ok(())
    }

    /// Behind its opening brace: `n}`, `n,}`, `n,m}`, `,m}`.
    fn interval(&mut self, closing: &str) -> Result<String, String> {
        let (inside, rest) = self.rest.split_once(closing).ok_or_else(|| format!("a {{ has no {closing}"))?;
        let wrong = || format!("“{inside}” is no number of repetitions");
        let (least, most) = inside.split_once(',').map_or((inside, None), |(l, m)| (l, Some(m)));
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| text.parse::<u32>().ok()).flatten().filter(|n| *n <= REPETITIONS).ok_or_else(wrong)
        };
        let least = if least.is_empty() && most.is_some_and(|m| !m.is_empty()) { 0 } else { number(least)? };
        let text = match most {
            None => format!("{{{least}}}"),
            Some("") => format!("{{{least},}}"),
            Some(most) => {
                let most = number(most)?;
                if most < least {
                    return Err(wrong());
                }
                format!("{{{least},{most}}}")
            }
        };
        self.rest = rest;
        Ok(text)
    }

    /// Behind its opening bracket.
    fn bracket(&mut self) -> Result<String, String> {
        const OPEN: &str = "a [ has no ]";
        let mut out = String::from("[");
        if let Some(rest) = self.rest.strip_prefix('^') {
            self.rest = rest;
            out.push('^');
        }
        let mut first = true;
        loop {
            let mut chars = self.rest.chars();
            let c = chars.next().ok_or(OPEN)?;
            let after = chars.as_str();
            match c {
                ']' if !first => {
                    self.rest = after;
                    out.push(']');
                    return Ok(out);
                }
                '[' if after.starts_with([':', '.', '=']) => self.bracketed(&mut out)?,
                c => {
                    self.rest = after;
                    literal_in_bracket(c, &mut out);
                }
            }
            first = false;
        }
    }

    /// `[:class:]`, `[.x.]` or `[=x=]` inside of a bracket.
    fn bracketed(&mut self, out: &mut String) -> Result<(), String> {
        let kind = &self.rest[1..2];
        let closing = format!("{kind}]");
        let (name, rest) =
            self.rest[2..].split_once(&closing).ok_or_else(|| format!("a [{kind} has no {closing}"))?;
        let mut chars = name.chars();
        match (kind, chars.next(), chars.next()) {
            (":", ..) if CLASSES.contains(&name) => out.push_str(&format!("[:{name}:]")),
            ("." | "=", Some(c), None) => literal_in_bracket(c, out),
            _ => return Err(format!("“[{kind}{name}{closing}” is nothing that a bracket knows")),
        }
        self.rest = rest;
        Ok(())
    }

    /// Whether a `^` of a BRE is an anchor here.
    fn at_start(&self) -> bool {
        self.out.is_empty() || self.out.ends_with('|') && !self.out.ends_with("\\|") || self.group_begins()
    }

    fn group_begins(&self) -> bool {
        self.groups.last().is_some_and(|began| began + 1 == self.out.len())
    }

    /// Whether a `$` of a BRE is an anchor here.
    fn at_end(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with("\\)") || self.rest.starts_with("\\|")
    }
}

fn literal_in_bracket(c: char, out: &mut String) {
    if matches!(c, '\\' | ']' | '[' | '^') {
        out.push('\\');
    }
    out.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_expressions() {
        for (pattern, expected) in [
            ("^a.b$", "^a.b$"),
            (r"a\.b@c-d", r"a\.b\@c\-d"),
            ("(a|b)+?", "(?:(a|b)+)?"),
            ("a**", "(?:a*)*"),
            ("a{2,}{3}", "(?:a{2,}){3}"),
            ("a{,3}", "a{0,3}"),
            ("[]a\\]", r"[\]a\\]"),
            ("[^]x[:alpha:]-]", r"[^\]x[:alpha:]-]"),
            ("[[.-.][=a=][]", r"[-a\[]"),
            (r"\<a\>\d", r"\b(?=\w)a\b(?<=\w)d"),
            (r"(a)\1", r"(a)\g{1}"),
            ("a)", r"a\)"),
            ("#x y", r"\#x y"),
            ("a||b()", "a||b()"),
        ] {
            assert_eq!(to_pcre(pattern, true).as_deref(), Ok(expected), "{pattern}");
        }
        for pattern in [
            "*a",
            "a|*b",
            "(+a)",
            "(?i)a",
            "(a",
            "[a",
            "[[:nope:]]",
            "a{2",
            "a{x}",
            "a{3,2}",
            "a{40000}",
            "a\\",
            "^*",
        ] {
            assert!(to_pcre(pattern, true).is_err(), "{pattern}");
        }
    }

    #[test]
    fn basic_expressions() {
        for (pattern, expected) in [
            (r"a\(b\|c\)\{2\}", "a(b|c){2}"),
            ("*a+?(x){1}|", r"\*a\+\?\(x\)\{1\}\|"),
            (r"\(*a\)\+", r"(\*a)+"),
            ("^*a$b^$", r"^\*a\$b\^$"),
            (r"\(^a$\)", "(^a$)"),
        ] {
            assert_eq!(to_pcre(pattern, false).as_deref(), Ok(expected), "{pattern}");
        }
        for pattern in [r"\(a", r"a\)", r"a\{2", r"\{2\}"] {
            assert!(to_pcre(pattern, false).is_err(), "{pattern}");
        }
    }

    proptest::proptest! {
        /// What is written compiles, whatever came in; only references to groups that are none may not.
        #[test]
        fn what_is_written_is_an_expression(pattern in "[a-c*+?{}0-3,()|\\[\\]:.=^$\\\\<>\\-é]{0,24}", extended: bool) {
            if let Ok(written) = to_pcre(&pattern, extended) {
                let compiled = pcre2::bytes::RegexBuilder::new().utf(true).build(&written);
                let excused = written.contains("\\g{") || written.contains('[');
                proptest::prop_assert!(compiled.is_ok() || excused, "{} → {}: {:?}", pattern, written, compiled.err());
            }
        }
    }
}
