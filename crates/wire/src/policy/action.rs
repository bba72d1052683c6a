//! Answers: what access(5) tables of Postfix may say, and how it is kept in one line.

/// Longest text of an answer, in octets: with code, address and class around it Postfix's reply stays one line.
pub const TEXT_LIMIT: usize = 400;

/// Longest header field that is prepended, in octets. Postfix folds what is too long for a line of SMTP.
pub const HEADER_LIMIT: usize = 8 * 1024;

/// What Postfix is to do. Texts may be empty: Postfix has its own then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing to say: the next restriction decides.
    Dunno,
    /// Accepted: no further restriction of this list is asked.
    Ok,
    /// Refused, with this code of 400 to 599, enhanced code (may be empty) and text.
    Reply(u16, String, String),
    /// Refused with Postfix's `access_map_reject_code` (554).
    Reject(String),
    /// Put off with Postfix's `access_map_defer_code` (450).
    Defer(String),
    /// Put off, unless a later restriction refuses it for good.
    DeferIfPermit(String),
    /// What a later restriction refuses for good is put off instead.
    DeferIfReject(String),
    /// Taken and thrown away, for all its recipients.
    Discard(String),
    /// Kept in Postfix's hold queue, for all its recipients.
    Hold(String),
    /// A header field, name and value, is put on top of the message; the next restriction decides. Postfix takes none at
    /// CONNECT, EHLO, HELO and END-OF-MESSAGE, and one in an answer.
    Prepend(String, String),
    /// The message goes to this address instead of its recipients.
    Redirect(String),
    /// A copy goes to this address.
    Bcc(String),
    /// The message goes through this content filter, `transport:destination`.
    Filter(String),
    /// A line in Postfix's log, as a warning.
    Warn(String),
    /// A line in Postfix's log.
    Info(String),
}

impl Action {
    /// The whole answer with its empty line. Whatever the texts hold, it is one line: line ends and other control
    /// characters become spaces, and what is too long is cut.
    pub fn answer(&self) -> Vec<u8> {
        let mut out = String::with_capacity(64);
        out.push_str("action=");
        match self {
            Action::Dunno => out.push_str("DUNNO"),
            Action::Ok => out.push_str("OK"),
            Action::Reply(code, enhanced, text) => {
                out.push_str(&code.clamp(&400, &599).to_string());
                put(&mut out, enhanced, TEXT_LIMIT);
                // Postfix takes a code alone for an access map's "OK".
                put(&mut out, if text.trim().is_empty() { "Access denied" } else { text }, TEXT_LIMIT);
            }
            Action::Reject(text) => word(&mut out, "REJECT", text),
            Action::Defer(text) => word(&mut out, "DEFER", text),
            Action::DeferIfPermit(text) => word(&mut out, "DEFER_IF_PERMIT", text),
            Action::DeferIfReject(text) => word(&mut out, "DEFER_IF_REJECT", text),
            Action::Discard(text) => word(&mut out, "DISCARD", text),
            Action::Hold(text) => word(&mut out, "HOLD", text),
            Action::Warn(text) => word(&mut out, "WARN", text),
            Action::Info(text) => word(&mut out, "INFO", text),
            Action::Redirect(address) => word(&mut out, "REDIRECT", address),
            Action::Bcc(address) => word(&mut out, "BCC", address),
            Action::Filter(filter) => word(&mut out, "FILTER", filter),
            Action::Prepend(name, value) if is_field_name(name) => {
                out.push_str("PREPEND ");
                out.push_str(name);
                out.push(':');
                put(&mut out, value, HEADER_LIMIT);
            }
            Action::Prepend(..) => out.push_str("DUNNO"),
        }
        out.push_str("\n\n");
        out.into_bytes()
    }
}

fn word(out: &mut String, word: &str, text: &str) {
    out.push_str(word);
    put(out, text, TEXT_LIMIT);
}

/// A space and the text, if there is one. Folded lines become one: line ends with the white space behind them are one
/// space.
fn put(out: &mut String, text: &str, most: usize) {
    let text = text.trim();
    let text = &text[..text.floor_char_boundary(most)];
    if text.is_empty() {
        return;
    }
    out.push(' ');
    let mut broken = false;
    for c in text.chars() {
        let space = c == ' ' || c.is_control();
        if broken && space {
            continue;
        }
        broken = c == '\r' || c == '\n';
        out.push(if space { ' ' } else { c });
    }
}

/// RFC 5322 section 2.2.
fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':')
}
