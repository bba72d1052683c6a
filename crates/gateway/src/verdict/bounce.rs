//! Who may be told by mail that a message was not delivered.
//!
//! A bounce goes to the envelope's sender, and anybody can write any sender into an envelope: a server that bounces what
//! it dislikes sends its notifications to strangers. So the default answer is no, and every yes has its reason here.

use std::collections::BTreeSet;

use gatepost_mail::{Address, Category, Direction, Finding, Mail, Message, Recipient, Via};

use crate::config::notices::is_machine;
use crate::config::units::is_among;

/// Findings that prove that the sender's domain has sent the message: each of them means that the domain of the
/// envelope's sender itself vouches for it, as SPF does. A check that finds such a thing adds its symbol here.
const PROOFS: &[&str] = &["SPF_PASS"];

/// Why no bounce may be sent for a message in these categories; None where one is safe. `domains` are ours.
pub(super) fn unsafe_because(
    mail: &Mail,
    findings: &[Finding],
    categories: &BTreeSet<Category>,
    domains: &[String],
) -> Option<&'static str> {
    let Some(sender) = &mail.envelope.sender else { return Some("the sender is empty") };
    if sender.local().eq_ignore_ascii_case("mailer-daemon") {
        return Some("the sender is a mail system");
    }
    let forging = [Category::Virus, Category::Unauthenticated, Category::Spam, Category::Spammy];
    if forging.iter().any(|category| categories.contains(category)) {
        return Some("viruses and spam come with forged senders");
    }
    if is_automatic(&mail.message) {
        return Some("no person sent the message");
    }
    if !is_proven(mail, sender, findings, domains) {
        return Some("the sender may be forged");
    }
    None
}

/// Whether a message's sender may be told by mail what became of it, once it was taken: a person, proven to be one of ours,
/// whatever was found in the message. No other domain's word counts for that, and nobody is told under a name that is not
/// ours, logged in or not: who has somebody's password writes under any sender.
pub fn may_tell(mail: &Mail, domains: &[String], after_queue: bool) -> bool {
    let Some(sender) = &mail.envelope.sender else { return false };
    let session = &mail.session;
    // After the queue the address may be our own mail server's; see `is_proven`.
    let inside = session.direction != Direction::Inbound && (session.via != Via::Direct || !after_queue);
    (session.user.is_some() || inside)
        && is_among(sender.domain(), domains)
        && !is_machine(sender.local())
        && !is_automatic(&mail.message)
        && mail.envelope.recipients.iter().any(is_wanted)
}

/// Whether a recipient's failure may be told of. NEVER, and lists without FAILURE, say no (RFC 3461 section 4.1).
pub(super) fn is_wanted(recipient: &Recipient) -> bool {
    let notify = recipient.parameters.iter().find_map(|parameter| {
        let (keyword, value) = parameter.split_once('=')?;
        keyword.eq_ignore_ascii_case("NOTIFY").then_some(value)
    });
    notify.is_none_or(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("FAILURE")))
}

/// Answers to programs and lists reach nobody, or everybody (RFC 3834 section 2).
fn is_automatic(message: &Message) -> bool {
    let headers = &message.headers;
    let word = |value: String| value.split([';', ' ', '(']).next().unwrap_or_default().to_ascii_lowercase();
    let mut submitted = headers.all("Auto-Submitted").map(|field| word(headers.value_text(field)));
    let mut precedence = headers.all("Precedence").map(|field| word(headers.value_text(field)));
    headers.get("List-Id").is_some()
        || submitted.any(|value| value != "no")
        || precedence.any(|value| ["bulk", "list", "junk"].contains(&value.as_str()))
}

/// Whether the sender is known to be who it says: a user who has logged in; somebody in our networks who writes under a
/// domain of ours; or a domain that vouches for the message.
///
/// After the queue our own server is at the other end, so its address says nothing about the client's: that must have
/// been told. A listener that is `originating` says whose mail it is, not who the client was: the same holds there. And
/// what our networks hand in may have come from elsewhere (fetchmail, a second MX), under any sender.
fn is_proven(mail: &Mail, sender: &Address, findings: &[Finding], domains: &[String]) -> bool {
    let session = &mail.session;
    let inside = session.direction != Direction::Inbound && session.via != Via::Direct;
    session.user.is_some()
        || (inside && is_among(sender.domain(), domains))
        || findings.iter().any(|finding| PROOFS.contains(&finding.symbol.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::testing::{PLAIN, mail};
    use gatepost_mail::Session;

    fn why(raw: &str, sender: &str, session: Session, symbols: &str, category: Category) -> &'static str {
        let mut mail = mail(raw, &["user@elsewhere.test"]);
        mail.envelope.sender = Address::new(sender);
        mail.session = session;
        let findings: Vec<Finding> =
            symbols.split_whitespace().map(|symbol| Finding::mail(symbol.to_owned(), "")).collect();
        let domains = ["example.org".to_owned()];
        unsafe_because(&mail, &findings, &[Category::Clean, category].into(), &domains).unwrap_or("")
    }

    fn told(direction: Direction) -> Session {
        Session { direction, via: Via::Xforward, ..Session::default() }
    }

    #[test]
    fn senders() {
        let user = || Session { user: Some("alice".into()), ..Session::default() };
        use {Category::*, Direction::*};
        for (sender, session, symbols, category, expected) in [
            ("", user(), "", Banned, "the sender is empty"),
            ("MAILER-DAEMON@example.org", user(), "", Banned, "the sender is a mail system"),
            ("a@example.org", user(), "", Banned, ""),
            ("a@elsewhere.test", user(), "", Banned, ""),
            ("a@example.org", user(), "", Virus, "viruses and spam come with forged senders"),
            ("a@example.org", user(), "", Spam, "viruses and spam come with forged senders"),
            ("a@example.org", user(), "", Spammy, "viruses and spam come with forged senders"),
            ("a@example.org", user(), "", Oversized, ""),
            ("a@example.org", told(Inbound), "", Banned, "the sender may be forged"),
            ("a@example.org", told(Outbound), "", Banned, ""),
            ("a@Example.ORG", told(Internal), "", Banned, ""),
            // From our networks, but under somebody else's name: fetchmail, a second MX.
            ("a@elsewhere.test", told(Internal), "", Banned, "the sender may be forged"),
            // The address is our own server's.
            (
                "a@example.org",
                Session { direction: Outbound, ..Session::default() },
                "",
                Banned,
                "the sender may be forged",
            ),
            ("a@elsewhere.test", told(Inbound), "OTHER SPF_PASS", Banned, ""),
            (
                "a@elsewhere.test",
                told(Inbound),
                "SPF_PASS",
                Virus,
                "viruses and spam come with forged senders",
            ),
            ("", told(Inbound), "SPF_PASS", Banned, "the sender is empty"),
        ] {
            let found = why(PLAIN, sender, session.clone(), symbols, category);
            assert_eq!(found, expected, "{sender} {session:?} {symbols} {category}");
        }
    }

    #[test]
    fn whom_notices_may_reach() {
        let user = Session { user: Some("alice".into()), ..Session::default() };
        let direct = Session { direction: Direction::Outbound, ..Session::default() };
        let vacation = format!("Auto-Submitted: auto-replied\r\n{PLAIN}");
        for (raw, sender, session, after_queue, expected) in [
            (PLAIN, "a@example.org", &user, false, true),
            (PLAIN, "a@example.org", &user, true, true),
            (PLAIN, "a@elsewhere.test", &user, false, false),
            (PLAIN, "", &user, false, false),
            (PLAIN, "owner-list@example.org", &user, false, false),
            (vacation.as_str(), "a@example.org", &user, false, false),
            (PLAIN, "a@example.org", &direct, false, true),
            (PLAIN, "a@example.org", &direct, true, false),
            (PLAIN, "a@example.org", &told(Direction::Outbound), true, true),
            (PLAIN, "a@elsewhere.test", &direct, false, false),
            (PLAIN, "a@example.org", &told(Direction::Inbound), false, false),
        ] {
            let mut mail = mail(raw, &["user@elsewhere.test"]);
            mail.envelope.sender = Address::new(sender);
            mail.session = session.clone();
            let domains = ["example.org".to_owned()];
            assert_eq!(
                may_tell(&mail, &domains, after_queue),
                expected,
                "{sender} {session:?} {after_queue}"
            );
            mail.envelope.recipients[0].parameters = vec!["NOTIFY=NEVER".into()];
            assert!(!may_tell(&mail, &domains, after_queue), "who says NEVER means it");
        }
    }

    #[test]
    fn programs_and_lists() {
        for (field, automatic) in [
            ("Auto-Submitted: no", false),
            ("Auto-Submitted: NO (really)", false),
            ("Auto-Submitted: auto-replied", true),
            ("auto-submitted: auto-generated; owner-email=x", true),
            ("Auto-Submitted: no\r\nAuto-Submitted: auto-replied", true),
            ("Precedence: bulk", true),
            ("Precedence: LIST", true),
            ("Precedence:\r\n junk", true),
            ("Precedence: first-class", false),
            ("List-Id: <x.example.org>", true),
            ("X-List-Id: x", false),
        ] {
            let raw = format!("{field}\r\n{PLAIN}");
            let session = Session { user: Some("alice".into()), ..Session::default() };
            let expected = if automatic { "no person sent the message" } else { "" };
            assert_eq!(why(&raw, "a@example.org", session, "", Category::Banned), expected, "{field}");
        }
    }

    #[test]
    fn what_recipients_want() {
        for (parameters, wanted) in [
            ("", true),
            ("ORCPT=rfc822;a@b", true),
            ("NOTIFY=FAILURE", true),
            ("ORCPT=rfc822;a@b notify=success,Failure", true),
            ("NOTIFY=NEVER", false),
            ("notify=never", false),
            ("NOTIFY=SUCCESS,DELAY", false),
        ] {
            let recipient = Recipient {
                address: Address::new("a@b.test").unwrap(),
                parameters: parameters.split_whitespace().map(str::to_owned).collect(),
            };
            assert_eq!(is_wanted(&recipient), wanted, "{parameters}");
        }
    }
}
