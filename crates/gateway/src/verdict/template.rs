//! Texts with fields in braces: replies to the client, the text put in place of a stripped attachment, the name of one
//! that is renamed, texts about a mail as a whole, and the text of a bounce.

use gatepost_mail::Reply;

/// Longest text of a reply, in bytes. RFC 5321 section 4.5.3.1.5 allows 512 for the line, code and CRLF included.
const MAX_REPLY_TEXT: usize = 450;
/// Longest value that a field of a reply may take, in bytes.
const MAX_REPLY_VALUE: usize = 200;
/// Longest value that a field of a notice may take, in characters.
const MAX_NOTICE_VALUE: usize = 500;

/// A field that stands in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Reason,
    Category,
    Score,
    Policy,
    Hostname,
    Name,
    Recipients,
}

/// Fields of replies.
const REPLY_FIELDS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("reason", Field::Reason),
    ("category", Field::Category),
    ("score", Field::Score),
    ("policy", Field::Policy),
    ("hostname", Field::Hostname),
];

/// Fields of the text in place of an attachment.
const NOTICE_FIELDS: &[(&str, Field)] =
    &[("id", Field::Id), ("reason", Field::Reason), ("name", Field::Name), ("hostname", Field::Hostname)];

/// Fields of texts about a mail: what wraps it, what stands at its top.
const MAIL_FIELDS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("reason", Field::Reason),
    ("category", Field::Category),
    ("score", Field::Score),
    ("hostname", Field::Hostname),
];

/// Fields of the new name of an attachment.
const NAME_FIELDS: &[(&str, Field)] = &[("name", Field::Name), ("id", Field::Id)];

/// Fields of the text of a bounce.
const BOUNCE_FIELDS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("reason", Field::Reason),
    ("category", Field::Category),
    ("recipients", Field::Recipients),
    ("hostname", Field::Hostname),
];

/// A reply: code, enhanced code, and a text with fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplyTemplate {
    code: u16,
    enhanced: String,
    text: Template,
}

impl ReplyTemplate {
    /// Reads `550 5.7.1 text with {reason}`. The enhanced code may be left out; `enhanced` then gives its last two
    /// numbers (`7.1`), since a server that offers ENHANCEDSTATUSCODES sends one with every reply (RFC 2034 section 4).
    pub fn parse(text: &str, enhanced: &str) -> Result<ReplyTemplate, String> {
        if text.chars().any(|c| !matches!(c, ' '..='~')) {
            return Err("a reply is one line of printable ASCII".into());
        }
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let code = parse_code(code)?;
        let class = code / 100;
        let (first, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        let (enhanced, rest) = match parse_enhanced(first) {
            Some(given) if given == class => (first.to_owned(), behind),
            Some(_) => {
                return Err(format!("the enhanced code {first} must begin with {class}, as {code} does"));
            }
            None => (format!("{class}.{enhanced}"), rest),
        };
        let text = Template::parse(rest.trim(), REPLY_FIELDS)?;
        if text.pieces.is_empty() {
            return Err(format!("write a text behind {code}"));
        }
        Ok(ReplyTemplate { code, enhanced, text })
    }

    /// 4 or 5.
    pub fn class(&self) -> u16 {
        self.code / 100
    }

    /// The reply, its fields filled in. Values are made harmless: printable ASCII, of bounded length.
    pub fn fill(&self, value: impl Fn(Field) -> String) -> Reply {
        let text = self.text.fill(|field| ascii(&value(field), MAX_REPLY_VALUE));
        Reply::new(self.code, &self.enhanced, ascii(&text, MAX_REPLY_TEXT))
    }
}

fn parse_code(code: &str) -> Result<u16, String> {
    let well_formed = matches!(code.as_bytes(), [b'4' | b'5', b'0'..=b'5', b'0'..=b'9']);
    match code.parse() {
        Ok(421) => Err("421 would end the session; 450 or 451 asks the client to come again".into()),
        Ok(number) if well_formed => Ok(number),
        _ => Err(format!("“{code}” is not a reply code: begin with 4xx (try again) or 5xx (refused)")),
    }
}

/// The class of `5.7.1`, or None where it is no enhanced code (RFC 3463 section 2).
fn parse_enhanced(text: &str) -> Option<u16> {
    let mut numbers = text.split('.').map(|number| match number.len() {
        1..=3 if number.bytes().all(|byte| byte.is_ascii_digit()) => number.parse::<u16>().ok(),
        _ => None,
    });
    let class = numbers.next()??;
    numbers.next()??;
    numbers.next()??;
    numbers.next().is_none().then_some(class)
}

/// A text of several lines: put in place of an attachment, before a mail, or read in a bounce. Or a new name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice(Template);

impl Notice {
    /// Reads the text for a bounce.
    pub fn parse_bounce(text: &str) -> Result<Notice, String> {
        if text.trim().is_empty() {
            return Err("the text of a bounce must say something".into());
        }
        Template::parse(text, BOUNCE_FIELDS).map(Notice)
    }

    /// Reads the text for an attachment, of any number of lines.
    pub fn parse(text: &str) -> Result<Notice, String> {
        if text.trim().is_empty() {
            return Err("the text that stands for an attachment must say something".into());
        }
        Template::parse(text, NOTICE_FIELDS).map(Notice)
    }

    /// Reads a text about a mail, of any number of lines.
    pub fn parse_about_mail(text: &str) -> Result<Notice, String> {
        if text.trim().is_empty() {
            return Err("the text must say something".into());
        }
        Template::parse(text, MAIL_FIELDS).map(Notice)
    }

    /// Reads the pattern of new names.
    pub fn parse_name(text: &str) -> Result<Notice, String> {
        let unfit = |c: char| c.is_control() || matches!(c, '/' | '\\' | '"');
        if text.trim() != text || text.contains(unfit) || text.chars().count() > 100 {
            return Err("a pattern of names is at most 100 characters, without spaces around it, slashes, quotes and \
                        control characters"
                .into());
        }
        let name = Template::parse(text, NAME_FIELDS)?;
        match name.pieces.contains(&Piece::Field(Field::Name)) && name.pieces.len() > 1 {
            true => Ok(Notice(name)),
            false => {
                Err("the new name must hold {name} and something besides, as {name}.disarmed does".into())
            }
        }
    }

    /// The text, its fields filled in: without control characters and of bounded length, but any script.
    pub fn fill(&self, value: impl Fn(Field) -> String) -> String {
        self.0.fill(|field| plain(&value(field), MAX_NOTICE_VALUE))
    }
}

/// Text and fields, in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

impl Template {
    /// `{{` and `}}` stand for braces.
    fn parse(text: &str, fields: &[(&str, Field)]) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let behind = &rest[at + 1..];
            if let Some(after) = behind.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let (name, after) = match behind.split_once('}') {
                Some(field) if brace == "{" => field,
                _ => return Err(format!("a lone {brace}; write {brace}{brace} for the character itself")),
            };
            let Some((_, field)) = fields.iter().find(|(known, _)| *known == name) else {
                let known: Vec<_> = fields.iter().map(|(name, _)| format!("{{{name}}}")).collect();
                return Err(format!("unknown field {{{name}}}; there are {}", known.join(", ")));
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Field(*field));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template { pieces })
    }

    fn fill(&self, value: impl Fn(Field) -> String) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Field(field) => value(*field),
            })
            .collect()
    }
}

/// Printable ASCII only: what a sender wrote into a name must not end a reply's line or begin another.
pub(super) fn ascii(value: &str, most: usize) -> String {
    let clean: String = value
        .chars()
        .take(most + 1)
        .map(|c| match c {
            ' '..='~' => c,
            _ if c.is_whitespace() || c.is_control() => ' ',
            _ => '?',
        })
        .collect();
    shorten(&clean, most)
}

/// Without control characters (C0, C1, and those that turn the direction of writing), at most so many characters.
pub(super) fn plain(value: &str, most: usize) -> String {
    let clean: String = value
        .chars()
        .take(most + 1)
        .map(|c| match c {
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
            '\u{2028}' | '\u{2029}' => ' ',
            _ if c.is_control() => ' ',
            _ => c,
        })
        .collect();
    shorten(&clean, most)
}

/// At most `most` characters, the last three of them dots where something was left out.
fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(3)).collect();
    short.push_str("...");
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str, reason: &str) -> String {
        let value = |field| match field {
            Field::Id => "l1bnIZN88okd".to_owned(),
            Field::Reason => reason.to_owned(),
            _ => "x".to_owned(),
        };
        match ReplyTemplate::parse(text, "7.1") {
            Ok(template) => template.fill(value).to_string(),
            Err(problem) => format!("error: {problem}"),
        }
    }

    #[test]
    fn replies_are_read_and_filled() {
        for (text, expected) in [
            ("550 5.7.1 Virus: {reason} (id {id})", "550 5.7.1 Virus: Eicar (id l1bnIZN88okd)"),
            ("550 Virus {{here}}", "550 5.7.1 Virus {here}"),
            ("451 Later, please", "451 4.7.1 Later, please"),
            ("552 5.3.4 {category}", "552 5.3.4 x"),
            ("550 1.2.3.4 is no enhanced code", "550 5.7.1 1.2.3.4 is no enhanced code"),
        ] {
            assert_eq!(reply(text, "Eicar"), expected);
        }
    }

    #[test]
    fn bad_replies_say_what_would_be_right() {
        for (text, part) in [
            ("", "is not a reply code"),
            ("Virus", "is not a reply code"),
            ("250 2.0.0 fine", "is not a reply code"),
            ("570 no", "is not a reply code"),
            ("5500 no", "is not a reply code"),
            ("421 4.3.0 bye", "would end the session"),
            ("550", "write a text behind 550"),
            ("550 5.7.1", "write a text behind 550"),
            ("550 4.7.1 no", "must begin with 5"),
            ("451 5.7.1 no", "must begin with 4"),
            ("550 5.7.1 {virus}", "unknown field {virus}; there are {id}, {reason}"),
            ("550 5.7.1 {name}", "unknown field {name}"),
            ("550 5.7.1 {reason", "a lone {"),
            ("550 5.7.1 reason}", "a lone }"),
            ("550 5.7.1 a\r\n250 b", "one line of printable ASCII"),
            ("550 5.7.1 für", "one line of printable ASCII"),
        ] {
            let problem = reply(text, "");
            assert!(problem.starts_with("error: ") && problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn values_cannot_break_out_of_a_reply() {
        let filled = reply("550 5.7.1 {reason}", "a\r\n250 2.0.0 Ok\u{0}\u{85}\u{2028}ü");
        assert_eq!(filled, "550 5.7.1 a  250 2.0.0 Ok   ?");
        let long = reply("550 5.7.1 {reason} {reason} {reason} {reason}", &"é".repeat(100_000));
        assert!(long.len() <= 512 - 2 && long.ends_with("..."), "{} bytes", long.len());
    }

    #[test]
    fn notices_keep_their_lines_and_script() {
        let notice = Notice::parse("Removed: {name}\nWhy: {reason}\n").unwrap();
        let text = notice.fill(|field| match field {
            Field::Name => "Bücher\r\n\u{202e}fdp.exe".into(),
            _ => "x".repeat(9999),
        });
        assert!(text.starts_with("Removed: Bücher  ?fdp.exe\nWhy: xxx"));
        assert!(text.len() < 600);
        assert!(Notice::parse("{score}").is_err());
        assert!(Notice::parse(" \n").is_err());
    }
}
