//! As much of Perl as configurations of amavis are made of when they hold no code: assignments of texts, numbers,
//! expressions, lists, arrays and hashes. Whatever else stands there is skipped, and what it speaks of is told.

/// How deep lists may be nested.
const DEEPEST: usize = 50;

/// An assignment, or something that is none.
#[derive(Debug)]
pub(super) struct Statement {
    pub line: usize,
    /// `$banned_filename_re`, `%banned_rules`; None for what is no plain assignment.
    pub target: Option<String>,
    /// What is assigned; None, if it is no plain value.
    pub value: Option<Value>,
    /// Variables that are spoken of in it.
    pub names: Vec<String>,
}

/// A plain value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Undef,
    /// Text that stands for itself.
    Text(String),
    /// Text in which variables are replaced.
    Double(String),
    /// A word, such as D_PASS.
    Word(String),
    Regex(Pattern),
    /// `( … )`, `qw( … )`
    List(Vec<Node>),
    /// `[ … ]`
    Array(Vec<Node>),
    /// `{ … }`, keys and values.
    Hash(Vec<Node>),
    /// `new_RE( … )`
    Call(String, Vec<Node>),
    Variable(String),
    /// `\$name`
    Reference(Box<Value>),
}

/// A value, and the line in which it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub line: usize,
    pub value: Value,
}

/// `qr'…'i`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    pub text: String,
    pub flags: String,
    /// Between apostrophes, so that variables are not replaced.
    pub plain: bool,
}

/// Reads the statements of a file.
pub(super) fn statements(text: &str) -> Vec<Statement> {
    let tokens = Lexer { text: text.as_bytes(), at: 0, line: 1 }.tokens();
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let mut all = Vec::new();
    while parser.at < tokens.len() {
        let begin = parser.at;
        let line = tokens[begin].1;
        let assigned = parser.assignment();
        let plain = assigned.is_some() && parser.ends();
        if !plain {
            parser.at = begin;
            parser.skip();
        }
        parser.at = parser.at.max(begin + 1);
        let names = tokens[begin..parser.at.min(tokens.len())].iter().filter_map(|(token, _)| match token {
            Token::Variable(name) => Some(name.clone()),
            // Keys of policy banks.
            Token::Word(name) => Some(name.clone()),
            _ => None,
        });
        let names = names.collect();
        let target = match &tokens[begin].0 {
            Token::Variable(name) if tokens.get(begin + 1).is_some_and(|next| next.0 == Token::Sign('=')) => {
                Some(name.clone())
            }
            _ => None,
        };
        all.push(Statement { line, target, value: assigned.filter(|_| plain), names });
    }
    all
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Variable(String),
    Word(String),
    Text(String),
    Double(String),
    Words(Vec<String>),
    Regex(Pattern),
    /// `=>` is a comma.
    Sign(char),
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl Lexer<'_> {
    fn tokens(mut self) -> Vec<(Token, usize)> {
        let mut tokens = Vec::new();
        while self.space() {
            let line = self.line;
            let Some(token) = self.token() else { break };
            if token == Token::Word("__END__".into()) || token == Token::Word("__DATA__".into()) {
                break;
            }
            tokens.push((token, line));
        }
        tokens
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn bump(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    /// Skips white space, comments and documentation. False at the end.
    fn space(&mut self) -> bool {
        loop {
            let fresh = self.at == 0 || self.text[self.at - 1] == b'\n';
            match self.peek(0) {
                _ if self.at >= self.text.len() => return false,
                b'#' => self.skip_line(),
                b'=' if fresh && self.peek(1).is_ascii_alphabetic() => self.skip_pod(),
                byte if byte.is_ascii_whitespace() => drop(self.bump()),
                _ => return true,
            }
        }
    }

    fn skip_line(&mut self) {
        while self.bump().is_some_and(|byte| byte != b'\n') {}
    }

    fn skip_pod(&mut self) {
        loop {
            let cut = self.text[self.at..].starts_with(b"=cut");
            self.skip_line();
            if cut || self.at >= self.text.len() {
                return;
            }
        }
    }

    fn token(&mut self) -> Option<Token> {
        let byte = self.peek(0);
        match byte {
            b'\'' => Some(Token::Text(unescaped(&self.delimited()?.0))),
            b'"' => Some(Token::Double(self.delimited()?.0)),
            b'$' | b'@' | b'%' if self.peek(1).is_ascii_alphabetic() || self.peek(1) == b'_' => {
                self.at += 1;
                let name = self.word();
                Some(Token::Variable(format!("{}{name}", char::from(byte))))
            }
            b'=' if self.peek(1) == b'>' => {
                self.at += 2;
                Some(Token::Sign(','))
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'_' => self.word_or_quote(),
            _ => {
                let rest = &self.text[self.at..];
                let width = rest.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
                self.at += width.map_or(1, char::len_utf8);
                Some(Token::Sign(width.unwrap_or('\u{fffd}')))
            }
        }
    }

    fn word_or_quote(&mut self) -> Option<Token> {
        let (at, line) = (self.at, self.line);
        let word = self.word();
        let quote = matches!(word.as_str(), "q" | "qq" | "qw" | "qr" | "m");
        if quote && self.peek(0).is_ascii_whitespace() {
            self.space();
        }
        let begins = self.peek(0).is_ascii_punctuation() && !matches!(self.peek(0), b',' | b';' | b')');
        let comma = self.peek(0) == b'=' && self.peek(1) == b'>';
        if !quote || !begins || comma {
            if quote {
                (self.at, self.line) = (at + word.len(), line);
            }
            return Some(Token::Word(word));
        }
        let (text, delimiter) = self.delimited()?;
        Some(match word.as_str() {
            "q" => Token::Text(unescaped(&text)),
            "qq" => Token::Double(text),
            "qw" => Token::Words(text.split_whitespace().map(str::to_owned).collect()),
            _ => {
                let mut flags = String::new();
                while self.peek(0).is_ascii_alphabetic() {
                    flags.extend(self.bump().map(char::from));
                }
                Token::Regex(Pattern { text, flags, plain: delimiter == b'\'' })
            }
        })
    }

    /// Letters, digits, underscores, and the colons between packages.
    fn word(&mut self) -> String {
        let begin = self.at;
        loop {
            let byte = self.peek(0);
            if byte.is_ascii_alphanumeric() || byte == b'_' {
                self.at += 1;
            } else if byte == b':' && self.peek(1) == b':' {
                self.at += 2;
            } else {
                return String::from_utf8_lossy(&self.text[begin..self.at]).into_owned();
            }
        }
    }

    /// What stands between delimiters, backslashes left as they are, and the first of the two. None if it never ends.
    fn delimited(&mut self) -> Option<(String, u8)> {
        let open = self.bump()?;
        let close = match open {
            b'(' => b')',
            b'[' => b']',
            b'{' => b'}',
            b'<' => b'>',
            same => same,
        };
        let (begin, mut depth) = (self.at, 1_usize);
        loop {
            match self.bump()? {
                b'\\' => drop(self.bump()?),
                byte if byte == close => depth -= 1,
                byte if byte == open => depth += 1,
                _ => {}
            }
            if depth == 0 {
                let inside = &self.text[begin..self.at - 1];
                return Some((String::from_utf8_lossy(inside).into_owned(), open));
            }
        }
    }
}

/// Text between apostrophes: only they and backslashes are escaped.
fn unescaped(text: &str) -> String {
    text.replace("\\'", "'").replace("\\\\", "\\")
}

struct Parser<'a> {
    tokens: &'a [(Token, usize)],
    at: usize,
}

impl Parser<'_> {
    /// `$name = value`, without what ends it.
    fn assignment(&mut self) -> Option<Value> {
        let Token::Variable(_) = self.next()? else { return None };
        if *self.next()? != Token::Sign('=') {
            return None;
        }
        self.value(0).map(|node| node.value)
    }

    /// Takes what ends a statement.
    fn ends(&mut self) -> bool {
        match self.peek() {
            Some(Token::Sign(';')) => {
                self.at += 1;
                true
            }
            other => other.is_none(),
        }
    }

    /// Skips to behind the end of a statement or block.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.next() {
            match token {
                Token::Sign('(' | '[' | '{') => depth += 1,
                Token::Sign(closing @ (')' | ']' | '}')) => {
                    let block = *closing == '}';
                    depth = depth.saturating_sub(1);
                    let goes_on = matches!(self.peek(), Some(Token::Sign(_)));
                    if depth == 0 && block && !goes_on {
                        return;
                    }
                }
                Token::Sign(';') if depth == 0 => return,
                _ => {}
            }
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn next(&mut self) -> Option<&Token> {
        let token = self.tokens.get(self.at).map(|(token, _)| token);
        self.at += 1;
        token
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        if depth > DEEPEST {
            return None;
        }
        let (token, line) = self.tokens.get(self.at).cloned()?;
        self.at += 1;
        let texts = |words: Vec<String>| {
            words.into_iter().map(|word| Node { line, value: Value::Text(word) }).collect()
        };
        let value = match token {
            Token::Text(text) => Value::Text(text),
            Token::Double(text) => Value::Double(text),
            Token::Words(words) => Value::List(texts(words)),
            Token::Regex(pattern) => Value::Regex(pattern),
            Token::Variable(name) => Value::Variable(name),
            Token::Word(word) => match self.peek() {
                Some(Token::Sign('(')) => {
                    self.at += 1;
                    Value::Call(word, self.items(')', depth)?)
                }
                Some(Token::Sign(',')) if word != "undef" => Value::Word(word),
                _ if word == "undef" => Value::Undef,
                _ => Value::Word(self.number(word)),
            },
            Token::Sign('\\') => Value::Reference(Box::new(self.value(depth + 1)?.value)),
            Token::Sign('(') => Value::List(self.items(')', depth)?),
            Token::Sign('[') => Value::Array(self.items(']', depth)?),
            Token::Sign('{') => Value::Hash(self.items('}', depth)?),
            Token::Sign('-') => match self.value(depth + 1)?.value {
                Value::Word(number) => Value::Word(format!("-{number}")),
                _ => return None,
            },
            Token::Sign(_) => return None,
        };
        // What goes on behind a value makes it code: a point, an arrow, an index.
        let ends = match self.peek() {
            None => true,
            Some(Token::Sign(sign)) => matches!(sign, ',' | ';' | ')' | ']' | '}'),
            Some(_) => false,
        };
        ends.then_some(Node { line, value })
    }

    /// A number such as `6.31`, or `200*1024` multiplied out; any other word as it is.
    fn number(&mut self, word: String) -> String {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(&word) {
            return word;
        }
        let next = |parser: &Parser, sign| match (parser.peek(), parser.tokens.get(parser.at + 1)) {
            (Some(Token::Sign(other)), Some((Token::Word(word), _))) if *other == sign && digits(word) => {
                Some(word.clone())
            }
            _ => None,
        };
        if let Some(decimals) = next(self, '.') {
            self.at += 2;
            return format!("{word}.{decimals}");
        }
        let mut product = word;
        while let Some(factor) = next(self, '*') {
            let (Ok(one), Ok(other)) = (product.parse::<u64>(), factor.parse::<u64>()) else { break };
            let Some(both) = one.checked_mul(other) else { break };
            product = both.to_string();
            self.at += 2;
        }
        product
    }

    fn items(&mut self, close: char, depth: usize) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            match self.peek()? {
                Token::Sign(sign) if *sign == close => {
                    self.at += 1;
                    return Some(items);
                }
                Token::Sign(',') => self.at += 1,
                _ => items.push(self.value(depth + 1)?),
            }
        }
    }
}
