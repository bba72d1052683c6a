//! Commands of SMTP and LMTP, read from one line (RFC 5321 4.1.1; extensions are named beside the code).
//!
//! Reading is tolerant where clients in use need it (case, a space after `FROM:`, an address without brackets), and
//! strict where tolerance would let two servers read one line differently (control characters, junk after an address).

use std::fmt;

use super::path::{self, PathError, Side};
use super::reply::Reply;
use super::xtext::{xtext_decode, xtext_octets};

/// Most parameters of one MAIL or RCPT, and most attributes of one XCLIENT or XFORWARD.
const PARAMS_LIMIT: usize = 32;
/// Longest name given with HELO, EHLO or LHLO, in octets (RFC 5321 4.5.3.1.2).
const HELO_LIMIT: usize = 255;
/// How much of an unknown verb is kept, in octets.
const VERB_LIMIT: usize = 32;

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `HELO name`.
    Helo(String),
    /// `EHLO name`.
    Ehlo(String),
    /// `LHLO name` (RFC 2033).
    Lhlo(String),
    /// `MAIL FROM:<path> parameters`.
    Mail(MailFrom),
    /// `RCPT TO:<path> parameters`.
    Rcpt(RcptTo),
    /// `DATA`.
    Data,
    /// `BDAT size [LAST]` (RFC 3030); `size` octets follow the command at once, whatever the answer will be.
    Bdat {
        /// Octets of this chunk.
        size: u64,
        /// Whether it is the last chunk of the message.
        last: bool,
    },
    /// `RSET`.
    Rset,
    /// `NOOP`, with or without text.
    Noop,
    /// `QUIT`.
    Quit,
    /// `HELP`, with or without text.
    Help,
    /// `VRFY text`.
    Vrfy(String),
    /// `EXPN text`.
    Expn(String),
    /// `ETRN text` (RFC 1985).
    Etrn(String),
    /// `STARTTLS` (RFC 3207).
    StartTls,
    /// `AUTH mechanism [initial response]` (RFC 4954).
    Auth {
        /// Upper case.
        mechanism: String,
        /// In base64; empty for `=`, which is an empty initial response.
        initial: Option<String>,
    },
    /// `XCLIENT name=value ...`: names upper case, values decoded, `None` for
    /// `[UNAVAILABLE]`, `[TEMPUNAVAIL]` and nothing.
    Xclient(Vec<(String, Option<String>)>),
    /// `XFORWARD name=value ...`: as XCLIENT.
    Xforward(Vec<(String, Option<String>)>),
    /// Another verb: upper case, at most 32 octets of it. The answer is 500 5.5.2.
    Unknown(String),
}

/// The sender, as given with MAIL. `Display` gives the command as it is sent on, without CRLF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailFrom {
    /// `local@domain` as typed, without brackets and source route; empty for `<>`.
    pub path: String,
    /// In the order typed, no keyword twice.
    pub params: Vec<Param>,
}

/// A recipient, as given with RCPT. `Display` gives the command as it is sent on, without CRLF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RcptTo {
    /// `local@domain` as typed, without brackets and source route, or `postmaster`; never empty.
    pub path: String,
    /// In the order typed, no keyword twice.
    pub params: Vec<Param>,
}

/// The type of content announced with `BODY=` (RFC 6152, RFC 3030).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// `BODY=7BIT`.
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
    /// `BODY=BINARYMIME`.
    BinaryMime,
}

impl MailFrom {
    /// The parameter of that upper-case keyword.
    pub fn param(&self, keyword: &str) -> Option<&Param> {
        self.params.iter().find(|p| p.keyword == keyword)
    }

    /// Octets announced with `SIZE=` (RFC 1870).
    pub fn size(&self) -> Option<u64> {
        // The grammar allows 20 digits; what does not fit in 64 bits is as large as can be.
        self.param("SIZE").and_then(|p| p.value.as_ref()).map(|v| v.parse().unwrap_or(u64::MAX))
    }

    /// The type of content announced with `BODY=`.
    pub fn body(&self) -> Option<Body> {
        self.param("BODY").and_then(|p| p.value.as_deref()).and_then(parse_body)
    }

    /// Whether the client asked for SMTPUTF8 (RFC 6531).
    pub fn smtputf8(&self) -> bool {
        self.param("SMTPUTF8").is_some()
    }

    /// Whether the address holds characters outside ASCII, for which SMTPUTF8 must have been asked.
    pub fn is_utf8(&self) -> bool {
        !self.path.is_ascii()
    }
}

impl RcptTo {
    /// The parameter of that upper-case keyword.
    pub fn param(&self, keyword: &str) -> Option<&Param> {
        self.params.iter().find(|p| p.keyword == keyword)
    }

    /// Whether the address holds characters outside ASCII, for which SMTPUTF8 must have been asked with MAIL.
    pub fn is_utf8(&self) -> bool {
        !self.path.is_ascii()
    }
}

impl fmt::Display for MailFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MAIL FROM:<{}>", self.path)?;
        self.params.iter().try_for_each(|param| write!(f, " {param}"))
    }
}

impl fmt::Display for RcptTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RCPT TO:<{}>", self.path)?;
        self.params.iter().try_for_each(|param| write!(f, " {param}"))
    }
}

/// One parameter of MAIL or RCPT. `Display` gives it as it is sent: `KEYWORD=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Upper case: letters, digits and hyphens.
    pub keyword: String,
    /// As typed, xtext not decoded; never empty.
    pub value: Option<String>,
}

impl Param {
    /// The answer to a parameter that is well formed but not known: 555 5.5.4 (RFC 5321 4.1.1.11).
    pub fn unsupported(&self) -> SyntaxError {
        SyntaxError {
            code: 555,
            enhanced: "5.5.4",
            text: format!("Parameter {} not supported", self.keyword),
        }
    }
}

impl fmt::Display for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.keyword)?;
        self.value.iter().try_for_each(|value| write!(f, "={value}"))
    }
}

/// What is wrong with a line, as the reply to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// 500, 501 or 555.
    pub code: u16,
    /// Enhanced status code.
    pub enhanced: &'static str,
    /// Text in ASCII, one line; it repeats nothing of the input but keywords.
    pub text: String,
}

impl SyntaxError {
    fn new(enhanced: &'static str, text: impl Into<String>) -> SyntaxError {
        SyntaxError { code: 501, enhanced, text: text.into() }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.enhanced, self.text)
    }
}

impl std::error::Error for SyntaxError {}

impl From<SyntaxError> for Reply {
    fn from(error: SyntaxError) -> Reply {
        Reply::new(error.code, error.enhanced, error.text)
    }
}

/// Reads one command line, given without its CRLF.
///
/// # Errors
///
/// 500 5.5.2 for an empty line; 501 with 5.1.7 (sender), 5.1.3 (recipient), 5.5.2 (characters) or 5.5.4 (arguments)
/// for a known verb. An unknown verb is [`Command::Unknown`], no error. After an error in BDAT the octets that follow
/// cannot be told from commands: the connection must be closed.
pub fn parse(line: &[u8]) -> Result<Command, SyntaxError> {
    let text =
        std::str::from_utf8(line).map_err(|_| SyntaxError::new("5.5.2", "Command is not valid UTF-8"))?;
    // Those beyond ASCII too: U+0080 to U+009F.
    if text.contains(char::is_control) {
        return Err(SyntaxError::new("5.5.2", "Control characters are not allowed in a command"));
    }
    let text = text.trim_end_matches(' ');
    let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
    let argument = argument.trim_start_matches(' ');
    let verb = verb.to_ascii_uppercase();
    match verb.as_str() {
        "" => Err(SyntaxError { code: 500, enhanced: "5.5.2", text: "Command missing".into() }),
        "MAIL" => mail(argument).map(Command::Mail),
        "RCPT" => rcpt(argument).map(Command::Rcpt),
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        _ => other(&verb, argument),
    }
}

/// The verbs whose arguments are plain ASCII.
fn other(verb: &str, argument: &str) -> Result<Command, SyntaxError> {
    let without = |command| if argument.is_empty() { Ok(command) } else { Err(no_argument(verb)) };
    let command = match verb {
        "DATA" => without(Command::Data),
        "RSET" => without(Command::Rset),
        "QUIT" => without(Command::Quit),
        "STARTTLS" => without(Command::StartTls),
        "HELO" => name(verb, argument).map(Command::Helo),
        "EHLO" => name(verb, argument).map(Command::Ehlo),
        "LHLO" => name(verb, argument).map(Command::Lhlo),
        "VRFY" => needed(verb, argument).map(Command::Vrfy),
        "EXPN" => needed(verb, argument).map(Command::Expn),
        "ETRN" => needed(verb, argument).map(Command::Etrn),
        "BDAT" => bdat(argument),
        "AUTH" => auth(argument),
        "XCLIENT" => attributes(verb, argument).map(Command::Xclient),
        "XFORWARD" => attributes(verb, argument).map(Command::Xforward),
        _ => return Ok(Command::Unknown(verb.chars().filter(char::is_ascii).take(VERB_LIMIT).collect())),
    };
    if !argument.is_ascii() {
        return Err(SyntaxError::new("5.5.2", format!("{verb} takes ASCII only")));
    }
    command
}

fn no_argument(verb: &str) -> SyntaxError {
    SyntaxError::new("5.5.4", format!("{verb} takes no argument"))
}

fn needed(verb: &str, argument: &str) -> Result<String, SyntaxError> {
    if argument.is_empty() {
        return Err(SyntaxError::new("5.5.4", format!("{verb} needs an argument")));
    }
    Ok(argument.to_owned())
}

/// A host's name; whether it is a good one is for checks to find.
fn name(verb: &str, argument: &str) -> Result<String, SyntaxError> {
    if argument.is_empty() || argument.contains(' ') {
        return Err(SyntaxError::new("5.5.4", format!("{verb} needs one host name")));
    }
    if argument.len() > HELO_LIMIT {
        return Err(SyntaxError::new("5.5.4", format!("Name given with {verb} is too long")));
    }
    Ok(argument.to_owned())
}

fn mail(argument: &str) -> Result<MailFrom, SyntaxError> {
    let (path, params) = path_and_params(argument, "MAIL", "FROM", Side::Reverse)?;
    Ok(MailFrom { path, params })
}

fn rcpt(argument: &str) -> Result<RcptTo, SyntaxError> {
    let (path, params) = path_and_params(argument, "RCPT", "TO", Side::Forward)?;
    Ok(RcptTo { path, params })
}

fn path_and_params(
    argument: &str,
    verb: &str,
    word: &str,
    side: Side,
) -> Result<(String, Vec<Param>), SyntaxError> {
    let Some(text) = after_word(argument, word) else {
        return Err(SyntaxError::new("5.5.4", format!("{verb} needs {word}:<address>")));
    };
    let enhanced = if side == Side::Reverse { "5.1.7" } else { "5.1.3" };
    let (path, rest) = path::take(text, side).map_err(|error| match error {
        PathError::Missing if text.is_empty() => {
            SyntaxError::new("5.5.4", format!("{verb} needs {word}:<address>"))
        }
        error => SyntaxError::new(enhanced, error.to_string()),
    })?;
    Ok((path.to_owned(), params(rest)?))
}

/// What stands after `FROM:`; spaces around the colon are taken.
fn after_word<'a>(argument: &'a str, word: &str) -> Option<&'a str> {
    let (typed, rest) = argument.split_at_checked(word.len())?;
    let rest = rest.trim_start_matches(' ').strip_prefix(':')?;
    typed.eq_ignore_ascii_case(word).then(|| rest.trim_start_matches(' '))
}

fn params(text: &str) -> Result<Vec<Param>, SyntaxError> {
    let mut params: Vec<Param> = Vec::new();
    for typed in text.split(' ').filter(|t| !t.is_empty()) {
        let param = param(typed)?;
        if params.iter().any(|p| p.keyword == param.keyword) {
            return Err(SyntaxError::new("5.5.4", format!("Parameter {} given twice", param.keyword)));
        }
        if params.len() == PARAMS_LIMIT {
            return Err(SyntaxError::new("5.5.4", "Too many parameters"));
        }
        params.push(param);
    }
    Ok(params)
}

/// One parameter: esmtp-param of RFC 5321 4.1.2; `=` within a value is taken.
fn param(typed: &str) -> Result<Param, SyntaxError> {
    let (keyword, value) = match typed.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value)),
        None => (typed, None),
    };
    let first = keyword.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if !first || !keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(SyntaxError::new("5.5.4", "Malformed parameter"));
    }
    let param = Param { keyword: keyword.to_ascii_uppercase(), value: value.map(str::to_owned) };
    if value_fits(&param) {
        Ok(param)
    } else {
        Err(SyntaxError::new("5.5.4", format!("Malformed value of parameter {}", param.keyword)))
    }
}

/// Whether the value is one the parameter's own document allows; values of other parameters need only be there.
fn value_fits(param: &Param) -> bool {
    let Some(value) = param.value.as_deref() else {
        return !matches!(
            param.keyword.as_str(),
            "SIZE" | "BODY" | "RET" | "ENVID" | "NOTIFY" | "ORCPT" | "AUTH"
        );
    };
    match param.keyword.as_str() {
        // RFC 1870 6.
        "SIZE" => (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit()),
        "BODY" => parse_body(value).is_some(),
        "SMTPUTF8" | "PRDR" => false,
        // RFC 3461 4.1 to 4.4.
        "RET" => value.eq_ignore_ascii_case("FULL") || value.eq_ignore_ascii_case("HDRS"),
        "NOTIFY" => notify_fits(value),
        "ENVID" => (1..=100).contains(&value.len()) && value.is_ascii() && xtext_decode(value).is_some(),
        // UTF-8 within an ORCPT of type utf-8 is allowed where SMTPUTF8 was asked for (RFC 6533 3).
        "ORCPT" => {
            value.len() <= 500 && value.split_once(';').is_some_and(|(t, a)| !t.is_empty() && !a.is_empty())
        }
        _ => !value.is_empty() && value.is_ascii(),
    }
}

/// `NEVER`, or a list of the others (RFC 3461 4.1).
fn notify_fits(value: &str) -> bool {
    value.eq_ignore_ascii_case("NEVER")
        || value
            .split(',')
            .all(|word| ["SUCCESS", "FAILURE", "DELAY"].iter().any(|w| word.eq_ignore_ascii_case(w)))
}

fn parse_body(value: &str) -> Option<Body> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Some(Body::SevenBit),
        "8BITMIME" => Some(Body::EightBitMime),
        "BINARYMIME" => Some(Body::BinaryMime),
        _ => None,
    }
}

fn bdat(argument: &str) -> Result<Command, SyntaxError> {
    let error = || SyntaxError::new("5.5.4", "BDAT needs a size and, on the last chunk, LAST");
    let mut words = argument.split_ascii_whitespace();
    let digits = words.next().filter(|w| w.bytes().all(|b| b.is_ascii_digit())).ok_or_else(error)?;
    let size = digits.parse().map_err(|_| error())?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(error()),
    };
    if words.next().is_some() { Err(error()) } else { Ok(Command::Bdat { size, last }) }
}

fn auth(argument: &str) -> Result<Command, SyntaxError> {
    let mut words = argument.split_ascii_whitespace();
    // RFC 4422 3.1: sasl-mech.
    let mechanism =
        |w: &&str| w.len() <= 20 && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let Some(mechanism) = words.next().filter(mechanism) else {
        return Err(SyntaxError::new("5.5.4", "AUTH needs a mechanism"));
    };
    let initial = match words.next() {
        None => None,
        Some("=") => Some(String::new()),
        Some(word) if word.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)) => {
            Some(word.to_owned())
        }
        Some(_) => return Err(SyntaxError::new("5.5.2", "Initial response is not base64")),
    };
    if words.next().is_some() {
        return Err(SyntaxError::new("5.5.4", "AUTH takes a mechanism and one initial response"));
    }
    Ok(Command::Auth { mechanism: mechanism.to_ascii_uppercase(), initial })
}

/// The attributes of XCLIENT and XFORWARD.
fn attributes(verb: &str, argument: &str) -> Result<Vec<(String, Option<String>)>, SyntaxError> {
    let mut attributes = Vec::new();
    for typed in argument.split_ascii_whitespace() {
        let Some((name, value)) = typed.split_once('=').filter(|(name, _)| is_attribute_name(name)) else {
            return Err(SyntaxError::new("5.5.4", format!("{verb} needs name=value")));
        };
        if attributes.len() == PARAMS_LIMIT {
            return Err(SyntaxError::new("5.5.4", format!("Too many attributes of {verb}")));
        }
        let name = name.to_ascii_uppercase();
        let Some(value) = attribute_value(value) else {
            return Err(SyntaxError::new("5.5.4", format!("Malformed value of attribute {name}")));
        };
        attributes.push((name, value));
    }
    if attributes.is_empty() {
        return Err(SyntaxError::new("5.5.4", format!("{verb} needs name=value")));
    }
    Ok(attributes)
}

/// The decoded value, itself `None` where the client says it knows none; `None` for malformed xtext.
///
/// What is not printable becomes `?`: the value is what some third host said of itself, and refusing the command for it
/// would hold up that host's mail at the server that only passes it on.
fn attribute_value(typed: &str) -> Option<Option<String>> {
    if ["", "[UNAVAILABLE]", "[TEMPUNAVAIL]"].iter().any(|none| typed.eq_ignore_ascii_case(none)) {
        return Some(None);
    }
    let decoded = xtext_octets(typed)?;
    let printable = |c: char| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '?' } else { c };
    Some(Some(String::from_utf8_lossy(&decoded).chars().map(printable).collect()))
}

fn is_attribute_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= VERB_LIMIT
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(typed: &[&str]) -> Vec<Param> {
        let split = |p: &&str| match p.split_once('=') {
            Some((keyword, value)) => Param { keyword: keyword.into(), value: Some(value.into()) },
            None => Param { keyword: (*p).into(), value: None },
        };
        typed.iter().map(split).collect()
    }

    fn mail(path: &str, typed: &[&str]) -> Command {
        Command::Mail(MailFrom { path: path.into(), params: params(typed) })
    }

    fn rcpt(path: &str, typed: &[&str]) -> Command {
        Command::Rcpt(RcptTo { path: path.into(), params: params(typed) })
    }

    fn attributes(list: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
        list.iter().map(|(name, value)| ((*name).into(), value.map(String::from))).collect()
    }

    fn auth(mechanism: &str, initial: Option<&str>) -> Command {
        Command::Auth { mechanism: mechanism.into(), initial: initial.map(String::from) }
    }

    #[test]
    fn verbs() {
        for (line, expected) in [
            ("HELO mx.example", Command::Helo("mx.example".into())),
            ("EHLO [192.0.2.1]", Command::Ehlo("[192.0.2.1]".into())),
            ("ehlo  mx.example ", Command::Ehlo("mx.example".into())),
            ("LHLO mx_1.example", Command::Lhlo("mx_1.example".into())),
            ("DATA", Command::Data),
            ("data ", Command::Data),
            ("RSET", Command::Rset),
            ("NOOP", Command::Noop),
            ("NOOP anything é", Command::Noop),
            ("QUIT", Command::Quit),
            ("HELP MAIL", Command::Help),
            ("VRFY Some One", Command::Vrfy("Some One".into())),
            ("EXPN list", Command::Expn("list".into())),
            ("ETRN #queue", Command::Etrn("#queue".into())),
            ("StartTLS", Command::StartTls),
            ("BDAT 0 LAST", Command::Bdat { size: 0, last: true }),
            ("bdat 18446744073709551615 last", Command::Bdat { size: u64::MAX, last: true }),
            ("BDAT 1000", Command::Bdat { size: 1000, last: false }),
            ("AUTH login", auth("LOGIN", None)),
            ("AUTH PLAIN AGEAYg==", auth("PLAIN", Some("AGEAYg=="))),
            ("AUTH EXTERNAL =", auth("EXTERNAL", Some(""))),
            ("FOO bar", Command::Unknown("FOO".into())),
            ("GET / HTTP/1.1", Command::Unknown("GET".into())),
            (" NOOP é", Command::Unknown(String::new())),
            ("MAILFROM:<>", Command::Unknown("MAILFROM:<>".into())),
        ] {
            match parse(line.as_bytes()) {
                Err(error) if line.starts_with(' ') => {
                    assert_eq!((error.code, error.enhanced), (500, "5.5.2"))
                }
                found => assert_eq!(found, Ok(expected), "{line}"),
            }
        }
        let Ok(Command::Unknown(verb)) = parse(&[b'X'; 500]) else { panic!("an unknown verb") };
        assert_eq!(verb.len(), 32);
    }

    #[test]
    fn mail_and_rcpt() {
        for (line, expected) in [
            ("MAIL FROM:<>", mail("", &[])),
            ("mail from:<a@b.example>", mail("a@b.example", &[])),
            ("MAIL FROM: <a@b.example>", mail("a@b.example", &[])),
            ("MAIL FROM : <a@b.example>", mail("a@b.example", &[])),
            ("MAIL  FROM:a@b.example  SIZE=5 ", mail("a@b.example", &["SIZE=5"])),
            ("MAIL FROM:<@x.example:a@b.example>", mail("a@b.example", &[])),
            ("MAIL FROM:<\"a b\"@c.example> body=8bitmime", mail("\"a b\"@c.example", &["BODY=8bitmime"])),
            ("MAIL FROM:<> AUTH=<> RET=hdrs ENVID=a+2Bb", mail("", &["AUTH=<>", "RET=hdrs", "ENVID=a+2Bb"])),
            ("MAIL FROM:<é@ü.example> SMTPUTF8", mail("é@ü.example", &["SMTPUTF8"])),
            ("MAIL FROM:<> X-THING X=a=b", mail("", &["X-THING", "X=a=b"])),
            ("RCPT TO:<a@b.example>", rcpt("a@b.example", &[])),
            ("rcpt to: a@b.example", rcpt("a@b.example", &[])),
            ("RCPT TO:<Postmaster>", rcpt("Postmaster", &[])),
            (
                "RCPT TO:<a@b.example> NOTIFY=success,DELAY ORCPT=rfc822;a@b.example",
                rcpt("a@b.example", &["NOTIFY=success,DELAY", "ORCPT=rfc822;a@b.example"]),
            ),
            ("RCPT TO:<a@b.example> ORCPT=utf-8;é@b", rcpt("a@b.example", &["ORCPT=utf-8;é@b"])),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(expected.clone()), "{line}");
            let again = match &expected {
                Command::Mail(mail) => mail.to_string(),
                Command::Rcpt(rcpt) => rcpt.to_string(),
                other => panic!("{other:?}"),
            };
            assert_eq!(parse(again.as_bytes()), Ok(expected), "{line} sent on as {again}");
        }
    }

    #[test]
    fn sent_on() {
        let mail = MailFrom { path: "a@b.example".into(), params: params(&["SIZE=5", "SMTPUTF8"]) };
        assert_eq!(mail.to_string(), "MAIL FROM:<a@b.example> SIZE=5 SMTPUTF8");
        let rcpt = RcptTo { path: "a@b.example".into(), params: params(&["NOTIFY=NEVER"]) };
        assert_eq!(rcpt.to_string(), "RCPT TO:<a@b.example> NOTIFY=NEVER");
    }

    #[test]
    fn facts_of_a_sender() {
        let sender = |line: &str| match parse(line.as_bytes()) {
            Ok(Command::Mail(mail)) => mail,
            other => panic!("{line}: {other:?}"),
        };
        let mail = sender("MAIL FROM:<é@b.example> SIZE=7 BODY=8BitMime SMTPUTF8 RET=FULL");
        assert_eq!((mail.size(), mail.body(), mail.smtputf8()), (Some(7), Some(Body::EightBitMime), true));
        assert!(mail.is_utf8());
        let typed: Vec<String> = mail.params.iter().map(Param::to_string).collect();
        assert_eq!(typed, ["SIZE=7", "BODY=8BitMime", "SMTPUTF8", "RET=FULL"]);
        let mail = sender("MAIL FROM:<a@b.example> SIZE=99999999999999999999");
        assert_eq!((mail.size(), mail.body(), mail.smtputf8()), (Some(u64::MAX), None, false));
        assert!(!mail.is_utf8());
        assert_eq!(mail.params[0].unsupported().to_string(), "555 5.5.4 Parameter SIZE not supported");
    }

    #[test]
    fn malformed_lines() {
        refused(&[
            (b"", 500, "5.5.2"),
            (b"   ", 500, "5.5.2"),
            (b"NOOP\0", 501, "5.5.2"),
            (b"MAIL\tFROM:<>", 501, "5.5.2"),
            (b"EHLO a\rMAIL FROM:<>", 501, "5.5.2"),
            (b"EHLO a\x7f", 501, "5.5.2"),
            (b"MAIL FROM:<\xc2\x85@a.example>", 501, "5.5.2"),
            (b"MAIL FROM:<\xff@a.example>", 501, "5.5.2"),
            (b"EHLO \xc3\xa9.example", 501, "5.5.2"),
            (b"VRFY \xc3\xa9", 501, "5.5.2"),
            (b"EHLO", 501, "5.5.4"),
            (b"HELO my computer", 501, "5.5.4"),
            (b"DATA now", 501, "5.5.4"),
            (b"RSET x", 501, "5.5.4"),
            (b"QUIT x", 501, "5.5.4"),
            (b"STARTTLS x", 501, "5.5.4"),
            (b"VRFY", 501, "5.5.4"),
            (b"EXPN ", 501, "5.5.4"),
            (b"BDAT", 501, "5.5.4"),
            (b"BDAT x", 501, "5.5.4"),
            (b"BDAT +1", 501, "5.5.4"),
            (b"BDAT -1 LAST", 501, "5.5.4"),
            (b"BDAT 18446744073709551616", 501, "5.5.4"),
            (b"BDAT 1 LASTLY", 501, "5.5.4"),
            (b"BDAT 1 LAST LAST", 501, "5.5.4"),
            (b"AUTH", 501, "5.5.4"),
            (b"AUTH PL*IN", 501, "5.5.4"),
            (b"AUTH PLAIN a b", 501, "5.5.4"),
            (b"AUTH PLAIN a!b", 501, "5.5.2"),
        ]);
        assert!(parse(format!("EHLO {}", "x".repeat(256)).as_bytes()).is_err());
    }

    #[test]
    fn malformed_paths_and_parameters() {
        refused(&[
            (b"MAIL", 501, "5.5.4"),
            (b"MAIL FROM <a@b.example>", 501, "5.5.4"),
            (b"MAIL FROM:", 501, "5.5.4"),
            (b"MAIL TO:<a@b.example>", 501, "5.5.4"),
            (b"MAIL FR\xc3\xa9:<a@b.example>", 501, "5.5.4"),
            (b"MAIL FROM:<a@b.example", 501, "5.1.7"),
            (b"MAIL FROM:<a>", 501, "5.1.7"),
            (b"MAIL FROM:<a b@c.example>", 501, "5.1.7"),
            (b"MAIL FROM:<a@b.example>SIZE=1", 501, "5.1.7"),
            (b"MAIL FROM:a b@c.example", 501, "5.1.7"),
            (b"RCPT TO:<>", 501, "5.1.3"),
            (b"RCPT TO:", 501, "5.5.4"),
            (b"RCPT TO:<root>", 501, "5.1.3"),
            (b"RCPT TO:<a@[1.2.3]>", 501, "5.1.3"),
            (b"MAIL FROM:<> SIZE", 501, "5.5.4"),
            (b"MAIL FROM:<> SIZE=", 501, "5.5.4"),
            (b"MAIL FROM:<> SIZE=1k", 501, "5.5.4"),
            (b"MAIL FROM:<> SIZE=-1", 501, "5.5.4"),
            (b"MAIL FROM:<> SIZE=1 SIZE=2", 501, "5.5.4"),
            (b"MAIL FROM:<> BODY=9BIT", 501, "5.5.4"),
            (b"MAIL FROM:<> SMTPUTF8=yes", 501, "5.5.4"),
            (b"MAIL FROM:<> RET=ALL", 501, "5.5.4"),
            (b"MAIL FROM:<> ENVID=+", 501, "5.5.4"),
            (b"MAIL FROM:<> X=\xc3\xa9", 501, "5.5.4"),
            (b"MAIL FROM:<> =x", 501, "5.5.4"),
            (b"MAIL FROM:<> -X=x", 501, "5.5.4"),
            (b"MAIL FROM:<> a_b=x", 501, "5.5.4"),
            (b"RCPT TO:<a@b.example> NOTIFY=NEVER,DELAY", 501, "5.5.4"),
            (b"RCPT TO:<a@b.example> NOTIFY=", 501, "5.5.4"),
            (b"RCPT TO:<a@b.example> ORCPT=a@b.example", 501, "5.5.4"),
            (b"XCLIENT", 501, "5.5.4"),
            (b"XCLIENT NAME", 501, "5.5.4"),
            (b"XCLIENT =x", 501, "5.5.4"),
            (b"XFORWARD NAME=a+b", 501, "5.5.4"),
        ]);
        let many: String = (0..33).map(|n| format!(" X{n}=1")).collect();
        assert!(parse(format!("MAIL FROM:<>{many}").as_bytes()).is_err());
        assert!(parse(format!("XCLIENT{many}").as_bytes()).is_err());
    }

    fn refused(table: &[(&[u8], u16, &str)]) {
        for (line, code, enhanced) in table {
            let found = parse(line).map_err(|e| (e.code, e.enhanced));
            assert_eq!(found, Err((*code, *enhanced)), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn forwarded_attributes() {
        let all = attributes(&[
            ("NAME", None),
            ("ADDR", Some("IPV6:::1")),
            ("HELO", Some("a b=c")),
            ("IDENT", None),
        ]);
        let typed = "NAME=[UNAVAILABLE] addr=IPV6:::1 HELO=a+20b+3Dc IDENT=[tempunavail]";
        assert_eq!(parse(format!("XCLIENT {typed}").as_bytes()), Ok(Command::Xclient(all.clone())));
        assert_eq!(parse(format!("xforward {typed}").as_bytes()), Ok(Command::Xforward(all)));
        let odd = attributes(&[("LOGIN", None), ("HELO", Some("a??b?"))]);
        assert_eq!(parse(b"XCLIENT LOGIN= HELO=a+0D+0Ab+FF"), Ok(Command::Xclient(odd)));
    }

    #[test]
    fn an_error_is_a_reply() {
        let Err(error) = parse(b"RCPT TO:<a>") else { panic!("an address without domain") };
        assert_eq!(Reply::from(error), Reply::new(501, "5.1.3", "Address needs a domain"));
    }
}
