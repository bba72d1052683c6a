//! What the tests of this module share: a small catalogue, policies from TOML, mails from text.

use bytes::Bytes;
use gatepost_mail::{
    Address, Budget, Category, Cause, Counts, Envelope, Fault, Limits, Mail, Message, OnFault, Points,
    Recipient, Session, Verdict,
};

use super::{Case, Policies, judge};
use crate::config::typed::HeaderNames;
use crate::config::{Config, Problem};
use gatepost_mail::Finding;

/// Symbols of the tests: one for each category under its name in capitals, and some with points.
pub const CATALOGUE: &[(&str, Counts)] = &[
    ("CLEAN", Counts::As(Category::Clean)),
    ("SPAMMY", Counts::As(Category::Spammy)),
    ("SPAM", Counts::As(Category::Spam)),
    ("UNAUTHENTICATED", Counts::As(Category::Unauthenticated)),
    ("RESTRICTED", Counts::As(Category::Restricted)),
    ("BAD_HEADER", Counts::As(Category::BadHeader)),
    ("OVERSIZED", Counts::As(Category::Oversized)),
    ("UNCHECKED", Counts::As(Category::Unchecked)),
    ("BANNED", Counts::As(Category::Banned)),
    ("VIRUS", Counts::As(Category::Virus)),
    ("ATTACHMENT_TO_RENAME", Counts::Points(Points::ZERO)),
    ("HALF", Counts::Points(Points::thousandths(500))),
    ("ONE", Counts::Points(Points::thousandths(1000))),
    ("FIVE", Counts::Points(Points::thousandths(5000))),
    ("MINUS_TWO", Counts::Points(Points::thousandths(-2000))),
    ("NOTHING", Counts::Points(Points::ZERO)),
];

pub const ID: &str = "l1bnIZN88okd";
pub const PLAIN: &str = "From: a@a.test\r\nSubject: Hello\r\n\r\nText.\r\n";

/// A message with an attachment; parts 1 and 2 are its text and the attachment.
pub const ATTACHED: &str = "From: a@a.test\r\nSubject: Hello\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nText.\r\n\
    --x\r\nContent-Type: application/octet-stream\r\n\
    Content-Disposition: attachment; filename=\"a.exe\"\r\n\r\nMZbad\r\n--x--\r\n";

pub fn build(toml: &str) -> Result<Policies, Vec<Problem>> {
    let config: Config = toml::from_str(toml).expect("well-formed TOML");
    Policies::build(&config, CATALOGUE.iter().copied())
}

pub fn policies(toml: &str) -> Policies {
    build(toml).unwrap_or_else(|problems| panic!("{toml}: {problems:?}"))
}

pub fn mail(raw: &str, recipients: &[&str]) -> Mail {
    let raw = Bytes::copy_from_slice(raw.as_bytes());
    let address = |text: &&str| Recipient::from(Address::new(text).expect("an address"));
    Mail {
        session: Session::default(),
        envelope: Envelope {
            sender: Address::new("sender@out.test"),
            recipients: recipients.iter().map(address).collect(),
            ..Envelope::default()
        },
        message: Message::read(raw, &mut Budget::new(&Limits::default())),
    }
}

pub fn fault(check: &str, answer: OnFault) -> Fault {
    Fault { check: check.into(), cause: Cause::Timeout, detail: "10.0.0.7 is silent".into(), answer }
}

pub fn case<'a>(mail: &'a Mail, findings: &'a [Finding], faults: &'a [Fault]) -> Case<'a> {
    Case {
        id: ID,
        hostname: "mx.test",
        mail,
        findings,
        faults,
        after_queue: false,
        advice: false,
        fields: &[],
        prefixes: &[],
        authserv_ids: &[],
    }
}

/// The verdict on a message for one recipient.
pub fn one(toml: &str, raw: &str, findings: &[Finding], faults: &[Fault]) -> Verdict {
    let mail = mail(raw, &["user@in.test"]);
    let mut verdicts = judge(&case(&mail, findings, faults), &policies(toml), &HeaderNames::default());
    assert_eq!(verdicts.len(), 1);
    verdicts.remove(0)
}
