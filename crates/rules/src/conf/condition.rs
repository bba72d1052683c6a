//! The conditions of `if` and `ifplugin`.

use super::known::{KNOWN, plugin};

/// SpamAssassin's version as conditions see it.
pub const VERSION: f64 = 4.000_001;
/// Perl's version as conditions see it: that of the expressions which are understood.
pub const PERL_VERSION: f64 = 5.036;
/// How deep parentheses may stand in each other.
const MAX_DEPTH: u32 = 50;

/// What a condition may ask for.
pub struct World<'a> {
    /// Plugins that were loaded, as modules.
    pub loaded: &'a dyn Fn(&str) -> bool,
    /// Flags of `enable_compat`.
    pub compat: &'a dyn Fn(&str) -> bool,
    /// Whether no question is asked over the network.
    pub local: bool,
}

/// Whether the condition holds. The error is worded without a place.
pub fn holds(text: &str, world: &World<'_>) -> Result<bool, String> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, world };
    let value = parser.either()?;
    if parser.at < tokens.len() {
        return Err(format!("error parsing conditional: {text}"));
    }
    Ok(value != 0.0)
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Number(f64),
    Word(String),
    Sign(String),
}

/// Splits as SpamAssassin's lexer does, which skips what it does not know.
fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let bytes = text.as_bytes();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let run = |f: &dyn Fn(u8) -> bool| bytes[at..].iter().take_while(|b| f(**b)).count();
        if byte.is_ascii_digit() || byte == b'.' {
            let length = run(&|b| b.is_ascii_digit() || b == b'.');
            let number = &text[at..at + length];
            tokens.push(Token::Number(number.parse().map_err(|_| format!("unparseable value '{number}'"))?));
            at += length;
        } else if byte.is_ascii_alphabetic() || byte == b'_' {
            let length = run(&|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'));
            tokens.push(Token::Word(text[at..at + length].to_string()));
            at += length;
        } else {
            let two = bytes.get(at..at + 2).unwrap_or_default();
            let length = if matches!(two, b"||" | b"&&" | b">=" | b"<=" | b"==" | b"!=") { 2 } else { 1 };
            if length == 2 || b"()!<>+-*/?:^".contains(&byte) {
                tokens.push(Token::Sign(text[at..at + length].to_string()));
            }
            at += if text.is_char_boundary(at + length) { length } else { 1 };
        }
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: u32,
    world: &'a World<'a>,
}

impl Parser<'_> {
    fn eat(&mut self, sign: &str) -> bool {
        let there = matches!(self.tokens.get(self.at), Some(Token::Sign(found)) if found == sign);
        self.at += usize::from(there);
        there
    }

    fn either(&mut self) -> Result<f64, String> {
        let mut value = self.both()?;
        while self.eat("||") {
            let other = self.both()?;
            value = if value != 0.0 { value } else { other };
        }
        Ok(value)
    }

    fn both(&mut self) -> Result<f64, String> {
        let mut value = self.compared()?;
        while self.eat("&&") {
            let other = self.compared()?;
            value = if value != 0.0 { other } else { value };
        }
        Ok(value)
    }

    fn compared(&mut self) -> Result<f64, String> {
        let left = self.sum()?;
        for (sign, holds) in COMPARISONS {
            if self.eat(sign) {
                let right = self.sum()?;
                return Ok(f64::from(u8::from(holds(left, right))));
            }
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<f64, String> {
        let mut value = self.single()?;
        loop {
            if self.eat("+") {
                value += self.single()?;
            } else if self.eat("-") {
                value -= self.single()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn single(&mut self) -> Result<f64, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("error parsing conditional: too deep".into());
        }
        let value = self.value();
        self.depth -= 1;
        value
    }

    fn value(&mut self) -> Result<f64, String> {
        if self.eat("!") {
            return Ok(f64::from(u8::from(self.single()? == 0.0)));
        }
        if self.eat("-") {
            return Ok(-self.single()?);
        }
        if self.eat("(") {
            let value = self.either()?;
            return if self.eat(")") {
                Ok(value)
            } else {
                Err("error parsing conditional: ) is missing".into())
            };
        }
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        match token {
            Some(Token::Number(number)) => Ok(number),
            Some(Token::Word(word)) => match word.as_str() {
                "version" => Ok(VERSION),
                "perl_version" => Ok(PERL_VERSION),
                "local_tests_only" => Ok(f64::from(u8::from(self.world.local))),
                "plugin" => Ok(f64::from(u8::from((self.world.loaded)(&self.argument("plugin")?)))),
                "can" | "has" => {
                    let name = self.argument(&word)?;
                    let Some((module, function)) = name.rsplit_once("::") else {
                        return Err(format!("bad 'if' line, cannot find '::' in {word}({name})"));
                    };
                    Ok(f64::from(u8::from(self.feature(module, function))))
                }
                other => Err(format!("unparseable value '{other}'")),
            },
            _ => Err("error parsing conditional: a value is missing".into()),
        }
    }

    /// What stands in parentheses; the lexer has taken the blanks away.
    fn argument(&mut self, function: &str) -> Result<String, String> {
        let open = self.eat("(");
        let name = match self.tokens.get(self.at) {
            Some(Token::Word(name)) => name.clone(),
            _ => return Err(format!("bad 'if' line, no argument to {function}()")),
        };
        self.at += 1;
        if open && !self.eat(")") {
            return Err("error parsing conditional: ) is missing".into());
        }
        Ok(name)
    }

    fn feature(&self, module: &str, function: &str) -> bool {
        let name = match module {
            "Mail::SpamAssassin::Conf" => "Conf",
            _ if !(self.world.loaded)(module) => return false,
            _ => match plugin(module) {
                Some(name) => name,
                None => return false,
            },
        };
        if name == "Conf"
            && let Some(flag) = function.strip_prefix("compat_")
        {
            return (self.world.compat)(flag);
        }
        KNOWN.features.contains(&(name, function))
            || KNOWN.functions.get(function).is_some_and(|known| known.plugin == name)
    }
}

type Comparison = (&'static str, fn(f64, f64) -> bool);

const COMPARISONS: [Comparison; 6] = [
    (">=", |a, b| a >= b),
    ("<=", |a, b| a <= b),
    (">", |a, b| a > b),
    ("<", |a, b| a < b),
    ("==", |a, b| a == b),
    ("!=", |a, b| a != b),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let world = World {
            loaded: &|module| module == "Mail::SpamAssassin::Plugin::DKIM",
            compat: &|flag| flag == "welcomelist_blocklist",
            local: false,
        };
        for (text, expected) in [
            ("(version >= 4.000000)", Ok(true)),
            ("version > 4.000001", Ok(false)),
            ("!((version >= 3.004000))", Ok(false)),
            ("perl_version >= 5.018000", Ok(true)),
            ("version >= 3.004 && perl_version < 5.010", Ok(false)),
            ("can(Mail::SpamAssassin::Conf::feature_bug6558_free)", Ok(true)),
            ("can(Mail::SpamAssassin::Conf::feature_of_tomorrow)", Ok(false)),
            ("can(Mail::SpamAssassin::Conf::compat_welcomelist_blocklist)", Ok(true)),
            ("!can(Mail::SpamAssassin::Conf::compat_other)", Ok(true)),
            ("plugin (Mail::SpamAssassin::Plugin::DKIM)", Ok(true)),
            ("plugin(Mail::SpamAssassin::Plugin::SPF) || local_tests_only", Ok(false)),
            ("can(Mail::SpamAssassin::Plugin::DKIM::has_arc)", Ok(true)),
            ("has(Mail::SpamAssassin::Plugin::DKIM::check_dkim_valid)", Ok(true)),
            ("can(Mail::SpamAssassin::Plugin::SPF::has_check_for_spf_errors)", Ok(false)),
            ("can(nothing)", Err(())),
            ("(version", Err(())),
            ("frobnicate", Err(())),
        ] {
            assert_eq!(holds(text, &world).map_err(|_| ()), expected, "{text}");
        }
    }
}
