//! What access maps say of a client, a name or an address: the right-hand sides of Postfix's access(5) and of Sendmail's
//! access database and virtusertable.

use crate::Reply;

/// What a map says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// This list of restrictions has nothing against it; relaying is not allowed by it.
    Ok,
    /// The same, and it may send through us.
    Relay,
    /// As if nothing were said; no further key of this map is tried.
    Dunno,
    /// Refused, with a text or the usual one.
    Reject(Option<String>),
    /// Put off, with a text or the usual one.
    Defer(Option<String>),
    /// Put off if nothing later refuses it. The text may begin with an enhanced code, see [`split_status`].
    DeferIfPermit(Option<String>),
    /// Put off if something later refuses it. The text may begin with an enhanced code, see [`split_status`].
    DeferIfReject(Option<String>),
    /// This reply, 4xx or 5xx.
    Reply(Reply),
    /// The message is taken and thrown away.
    Discard(Option<String>),
    /// The message is held.
    Hold(Option<String>),
    /// Only the log hears of it.
    Warn(Option<String>),
    /// This header field is put before the message.
    Prepend(String),
}

/// What a map says of what a restriction asked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The restriction as it is configured: `check_client_access cidr:/etc/gatepost/clients`.
    pub rule: String,
    /// The key that was found.
    pub key: String,
    /// What is said of it.
    pub access: Access,
    /// File and line of the entry, `/etc/gatepost/clients:12`; None where the table is no file of lines.
    pub place: Option<String>,
}

/// What REJECT says when it has an enhanced code and therefore becomes a reply (Postfix's `access_map_reject_code`).
const REJECT_CODE: u16 = 554;

/// The same for DEFER (Postfix's `access_map_defer_code`).
const DEFER_CODE: u16 = 450;

/// Actions of access(5) that are not done here, and what to do instead.
const UNSUPPORTED: [(&str, &str); 5] = [
    ("BCC", "a copy to somebody else is the next hop's to make"),
    ("FILTER", "where mail goes on to is the listener's `next_hop`"),
    ("REDIRECT", "other recipients are the next hop's to name (virtual_alias_maps)"),
    ("DELAY", "write HOLD, or DEFER"),
    ("HANGUP", "write `421 text` or `521 text`"),
];

impl Access {
    /// Reads a right-hand side as Postfix's access(5) has it; case does not count. The error says what is wrong with it,
    /// for the administrator.
    ///
    /// A bare number such as `550` is OK there (“all-numerical”), and here, too.
    pub fn parse(text: &str) -> Result<Access, String> {
        let text = text.trim();
        let (word, rest) = split_word(text);
        let told = (!rest.is_empty()).then(|| rest.to_owned());
        let access = match word.to_ascii_uppercase().as_str() {
            "" => return Err("nothing is said; write OK, DUNNO, REJECT …".into()),
            "OK" => Access::Ok,
            "RELAY" => Access::Relay,
            "DUNNO" => Access::Dunno,
            "REJECT" => coded(rest, REJECT_CODE).map_or(Access::Reject(told), Access::Reply),
            "DEFER" => coded(rest, DEFER_CODE).map_or(Access::Defer(told), Access::Reply),
            "DEFER_IF_PERMIT" => Access::DeferIfPermit(told),
            "DEFER_IF_REJECT" => Access::DeferIfReject(told),
            "DISCARD" => Access::Discard(told),
            "HOLD" => Access::Hold(told),
            "WARN" | "INFO" => Access::Warn(told),
            "PREPEND" if is_field(rest) => Access::Prepend(rest.to_owned()),
            "PREPEND" => return Err(format!("PREPEND needs `Name: text`, not “{rest}”")),
            _ if text.bytes().all(|b| b.is_ascii_digit()) => Access::Ok,
            upper => match reply_code(word) {
                Some(code) => Access::Reply(coded(rest, code).unwrap_or_else(|| default_reply(code, rest))),
                None => return restriction(upper, text),
            },
        };
        Ok(access)
    }

    /// Reads a right-hand side of Sendmail's access database. `SKIP` is [`Access::Dunno`]; `FRIEND` and `HATER` of
    /// `Spam:` are OK and DUNNO.
    pub fn parse_sendmail(text: &str) -> Result<Access, String> {
        let text = text.trim();
        let is = |word: &str| text.eq_ignore_ascii_case(word);
        if is("OK") || is("FRIEND") {
            return Ok(Access::Ok);
        } else if is("RELAY") {
            return Ok(Access::Relay);
        } else if is("REJECT") {
            return Ok(Access::Reject(None));
        } else if is("DISCARD") {
            return Ok(Access::Discard(None));
        } else if is("SKIP") || is("HATER") {
            return Ok(Access::Dunno);
        }
        if let Some(reason) = strip_word(text, "QUARANTINE:") {
            return Ok(Access::Hold(Some(unquoted(reason).to_owned())));
        }
        if let Some(rest) = strip_word(text, "ERROR:") {
            return sendmail_error(rest).map(Access::Reply);
        }
        let (word, rest) = split_word(unquoted(text));
        match reply_code(word) {
            Some(code) => Ok(Access::Reply(coded(rest, code).unwrap_or_else(|| default_reply(code, rest)))),
            None => Err(format!(
                "“{text}” is none of OK, RELAY, REJECT, DISCARD, SKIP, QUARANTINE:text, ERROR:5.7.1:550 text, 550 text"
            )),
        }
    }
}

/// Reads what follows `error:` in Sendmail's maps: `5.7.1:550 text`, `550 text`, `"550 5.7.1 text"`,
/// `nouser No such user here`.
pub fn sendmail_error(text: &str) -> Result<Reply, String> {
    let text = unquoted(text.trim());
    if let Some((status, rest)) = text.split_once(':')
        && is_status(status)
    {
        let rest = unquoted(rest.trim());
        let (word, message) = split_word(rest);
        let (code, message) = match reply_code(word) {
            Some(code) => (code, message),
            None => (if status.starts_with('4') { 451 } else { 550 }, rest),
        };
        return Ok(Reply::new(code, &in_class(status, code), or_usual(message, code)));
    }
    let (word, rest) = split_word(text);
    if let Some(code) = reply_code(word) {
        return Ok(coded(rest, code).unwrap_or_else(|| default_reply(code, rest)));
    }
    let keyword = KEYWORDS.iter().find(|(name, ..)| name.eq_ignore_ascii_case(word));
    let Some((_, status, code, usual)) = keyword else {
        return Err(format!("“{text}” is no error of Sendmail's; write 5.7.1:550 text, or nouser text"));
    };
    let (first, message) = split_word(unquoted(rest));
    let (code, message) = reply_code(first).map_or((*code, unquoted(rest)), |code| (code, message));
    let message = if message.is_empty() { (*usual).to_owned() } else { message.to_owned() };
    Ok(Reply::new(code, &in_class(status, code), message))
}

/// Sendmail's words for kinds of errors, with the status, the code and the text where none is given.
const KEYWORDS: [(&str, &str, u16, &str); 8] = [
    ("nouser", "5.1.1", 550, "User unknown"),
    ("nohost", "5.1.2", 550, "Host unknown"),
    ("usage", "5.5.4", 550, "Address not accepted"),
    ("unavailable", "5.0.0", 550, "Not available"),
    ("software", "5.3.0", 550, "Not accepted"),
    ("protocol", "5.5.0", 550, "Not accepted"),
    ("config", "5.3.5", 550, "Not accepted"),
    ("tempfail", "4.0.0", 451, "Please try again later"),
];

/// An enhanced code (RFC 3463) at the beginning of a text, or the usual one of that class, and the rest of the text.
/// `class` is 4 or 5; a code of the other class is moved into it, as Postfix does.
pub fn split_status(text: &str, class: u16) -> (String, &str) {
    let (word, rest) = split_word(text);
    match is_status(word) {
        true => (in_class(word, class * 100), rest),
        false => (format!("{class}.7.1"), text),
    }
}

/// A reply whose text begins with an enhanced code; None where it does not.
fn coded(text: &str, code: u16) -> Option<Reply> {
    let (word, rest) = split_word(text);
    is_status(word).then(|| Reply::new(code, &in_class(word, code), or_usual(rest, code)))
}

fn default_reply(code: u16, text: &str) -> Reply {
    Reply::new(code, &format!("{}.7.1", code / 100), or_usual(text, code))
}

fn or_usual(text: &str, code: u16) -> String {
    match text.trim() {
        "" if code / 100 == 4 => "Service unavailable".into(),
        "" => "Access denied".into(),
        text => text.to_owned(),
    }
}

/// A status in the class of a code: both must say the same of whether to try again (RFC 2034 section 4).
fn in_class(status: &str, code: u16) -> String {
    let rest = status.split_once('.').map_or("0.0", |(_, rest)| rest);
    format!("{}.{rest}", code / 100)
}

/// What is left: names of restrictions. Only those that decide by themselves can be said in a map.
fn restriction(upper: &str, text: &str) -> Result<Access, String> {
    if let Some((word, instead)) = UNSUPPORTED.iter().find(|(word, _)| *word == upper) {
        return Err(format!("{word} is not done here: {instead}"));
    }
    match text.split([',', ' ', '\t']).find(|word| !word.is_empty()).unwrap_or_default() {
        word if word.eq_ignore_ascii_case("permit") => Ok(Access::Ok),
        word if word.eq_ignore_ascii_case("reject") => Ok(Access::Reject(None)),
        word if word.eq_ignore_ascii_case("defer") => Ok(Access::Defer(None)),
        word => Err(format!(
            "“{word}” is no action such as OK, DUNNO or REJECT; names of restrictions stand in [restrictions], not in maps"
        )),
    }
}

/// The first word, and what follows it without the space between.
fn split_word(text: &str) -> (&str, &str) {
    text.split_once([' ', '\t']).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let head = text.get(..word.len())?;
    head.eq_ignore_ascii_case(word).then(|| &text[word.len()..])
}

fn unquoted(text: &str) -> &str {
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(text)
}

/// `4NN` or `5NN`.
fn reply_code(word: &str) -> Option<u16> {
    let bytes = word.as_bytes();
    let plain = bytes.len() == 3 && bytes.iter().all(u8::is_ascii_digit) && matches!(bytes[0], b'4' | b'5');
    plain.then(|| word.parse().ok()).flatten()
}

/// `4.x.y` or `5.x.y`, each of one to three digits (RFC 3463 section 2).
fn is_status(word: &str) -> bool {
    let mut numbers = word.split('.');
    matches!(numbers.next(), Some("4" | "5"))
        && numbers.clone().count() == 2
        && numbers.all(|number| (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()))
}

/// `Name: text` with a name of printable characters (RFC 5322 section 2.2), and nothing that would begin another line.
fn is_field(text: &str) -> bool {
    let name = text.split_once(':').map_or("", |(name, _)| name);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()) && !text.contains(['\r', '\n', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, status: &str, text: &str) -> Result<Access, String> {
        Ok(Access::Reply(Reply::new(code, status, text)))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn right_hand_sides_of_postfix() {
        for (text, expected) in [
            ("OK", Ok(Access::Ok)),
            ("ok whatever follows", Ok(Access::Ok)),
            ("RELAY", Ok(Access::Relay)),
            ("1234567", Ok(Access::Ok)),
            ("550", Ok(Access::Ok)),
            ("DUNNO ", Ok(Access::Dunno)),
            ("REJECT", Ok(Access::Reject(None))),
            ("reject go away", Ok(Access::Reject(some("go away")))),
            ("REJECT 5.1.1 no such user", reply(554, "5.1.1", "no such user")),
            ("REJECT 4.1.1 wrong class", reply(554, "5.1.1", "wrong class")),
            ("REJECT 5.1 no status", Ok(Access::Reject(some("5.1 no status")))),
            ("DEFER", Ok(Access::Defer(None))),
            ("DEFER 4.2.0 later", reply(450, "4.2.0", "later")),
            ("DEFER_IF_PERMIT later", Ok(Access::DeferIfPermit(some("later")))),
            ("DEFER_IF_REJECT", Ok(Access::DeferIfReject(None))),
            ("550 no", reply(550, "5.7.1", "no")),
            ("450\t4.7.1\tnot now", reply(450, "4.7.1", "not now")),
            ("450 5.7.1 not now", reply(450, "4.7.1", "not now")),
            ("521 5.7.1", reply(521, "5.7.1", "Access denied")),
            ("DISCARD", Ok(Access::Discard(None))),
            ("HOLD let me see", Ok(Access::Hold(some("let me see")))),
            ("WARN x", Ok(Access::Warn(some("x")))),
            ("INFO", Ok(Access::Warn(None))),
            ("PREPEND X-A: b", Ok(Access::Prepend("X-A: b".into()))),
            ("permit", Ok(Access::Ok)),
            ("reject, permit", Ok(Access::Reject(None))),
        ] {
            assert_eq!(Access::parse(text), expected, "{text}");
        }
        for (text, part) in [
            ("", "nothing is said"),
            ("PREPEND", "PREPEND needs"),
            ("PREPEND no field", "PREPEND needs"),
            ("bcc a@example.org", "BCC is not done here"),
            ("FILTER smtp:[127.0.0.1]", "FILTER is not done here"),
            ("REDIRECT a@example.org", "REDIRECT is not done here"),
            ("reject_unknown_client_hostname", "names of restrictions"),
            ("check_client_access hash:/x", "names of restrictions"),
            ("250 fine", "no action"),
            ("650 what", "no action"),
        ] {
            let error = Access::parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn right_hand_sides_of_sendmail() {
        for (text, expected) in [
            ("RELAY", Ok(Access::Relay)),
            ("ok", Ok(Access::Ok)),
            ("SKIP", Ok(Access::Dunno)),
            ("REJECT", Ok(Access::Reject(None))),
            ("DISCARD", Ok(Access::Discard(None))),
            ("QUARANTINE:look at it", Ok(Access::Hold(some("look at it")))),
            ("ERROR:5.7.1:550 Go away", reply(550, "5.7.1", "Go away")),
            ("ERROR:4.2.1:450 later", reply(450, "4.2.1", "later")),
            ("ERROR:5.7.1:Go away", reply(550, "5.7.1", "Go away")),
            ("ERROR:\"550 We do not accept mail\"", reply(550, "5.7.1", "We do not accept mail")),
            ("ERROR:\"550 5.7.9 no\"", reply(550, "5.7.9", "no")),
            ("ERROR:5.2.1:\"550 full\"", reply(550, "5.2.1", "full")),
            ("error:nouser User not here", reply(550, "5.1.1", "User not here")),
            ("ERROR:nouser 551 moved", reply(551, "5.1.1", "moved")),
            ("error:tempfail", reply(451, "4.0.0", "Please try again later")),
            ("550 no", reply(550, "5.7.1", "no")),
            ("\"451 later\"", reply(451, "4.7.1", "later")),
        ] {
            assert_eq!(Access::parse_sendmail(text), expected, "{text}");
        }
        for text in ["", "what", "REJECT me", "250 ok", "ERROR:", "ERROR:what", "ERROR:5.7:x"] {
            assert!(Access::parse_sendmail(text).is_err(), "{text}");
        }
    }

    #[test]
    fn status_at_the_beginning() {
        for (text, class, expected) in [
            ("4.2.0 wait", 4, ("4.2.0", "wait")),
            ("5.2.0 wait", 4, ("4.2.0", "wait")),
            ("wait", 4, ("4.7.1", "wait")),
            ("no", 5, ("5.7.1", "no")),
        ] {
            let (status, rest) = split_status(text, class);
            assert_eq!((status.as_str(), rest), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC{0,40}") {
            for access in [Access::parse(&text), Access::parse_sendmail(&text)] {
                if let Ok(Access::Reply(reply)) = access {
                    proptest::prop_assert!((400..600).contains(&reply.code));
                    let class = reply.code / 100;
                    proptest::prop_assert!(reply.enhanced.starts_with(&class.to_string()), "{}", reply);
                }
            }
        }
    }
}
