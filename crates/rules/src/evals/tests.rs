//! Functions over mails, and what they are made of.

use gatepost_mail::{Budget, Limits, Message};

use super::*;
use crate::conf::{Arg, Options, Place, Reader};
use crate::subject::text_settings;
use crate::texts::Given;

const CONF: &str = "loadplugin Mail::SpamAssassin::Plugin::FreeMail\nutil_rb_tld com\nfreemail_domains free.com other.com\nwelcomelist_from *@good.com\n\
    enlist_uri_host (BAD) bad.com\n";

/// A header, a body, a function with its arguments, and whether it hits.
const CASES: &[(&str, &str, &str, &[&str], bool)] = &[
    ("From: a@good.com", "", "check_from_in_welcomelist", &[], true),
    ("From: a@bad.com", "", "check_from_in_whitelist", &[], false),
    ("From: a@free.com", "", "check_freemail_from", &[], true),
    ("From: a1@free.com", "", "check_freemail_header", &["From", "\\d@"], true),
    ("From: a@free.com", "", "check_freemail_header", &["From", "\\d@"], false),
    ("From: a@free.com\nReply-To: b@other.com", "", "check_freemail_replyto", &["replyto"], true),
    ("From: a@x.com", "see http://www.bad.com/ now", "check_uri_host_listed", &["BAD"], true),
    ("Subject: ALL IN CAPITALS", "", "subject_is_all_caps", &[], true),
    ("Subject: Re: Not in capitals", "", "subject_is_all_caps", &[], false),
    ("From: a@x.com", "", "check_for_missing_to_header", &[], true),
    ("From: a@x.com", "", "check_no_relays", &[], true),
    ("From: a@x.com", "", "check_all_trusted", &[], false),
    ("Content-Type: text/html", "<img src=x>", "html_tag_exists", &["img"], true),
    ("Content-Type: text/html", "<b>x", "html_tag_balance", &["b", "!= 0"], true),
    ("Content-Type: text/html", "<b>x</b>", "html_tag_balance", &["b", "!= 0"], false),
    ("Content-Type: text/html", "x", "check_for_mime_html_only", &[], true),
    ("From: a@x.com", "abc", "check_body_length", &["10"], true),
    ("From: a@x.com", "", "check_for_spf_pass", &[], false),
    (
        "Return-Path: <a@università.com>\nReceived: from mx.università.com (mx.università.com [192.0.2.1])\n\
         \tby x.com (Postfix) with ESMTP id 1; Thu, 1 Jan 2026 00:00:00 +0000",
        "",
        "check_mailfrom_matches_rcvd",
        &[],
        true,
    ),
];

#[test]
fn functions() {
    let mut reader = Reader::new(Options { local: true, ..Options::default() });
    reader.read("test.cf", CONF.as_bytes(), &mut |_| Err("none".into()));
    let set = reader.finish();
    let text = text_settings(&set.settings);
    let (known, patterns) = (Known::default(), Patterns::default());
    for (head, body, function, args, expected) in CASES {
        let raw = format!("{head}\n\n{body}\n");
        let message = Message::read(raw.into(), &mut Budget::new(&Limits::default()));
        let texts = Texts::new(&message, Given::default(), &text);
        let native = Native::new(&texts, &set.settings, &known, &patterns);
        let args: Vec<Arg> = args.iter().map(|arg| Arg(arg.as_bytes().into())).collect();
        let settings = &set.settings;
        let call = Call { rule: "R", function, args: &args, place: Place::Header, settings, net: false };
        let hit = native.call(&call).is_some_and(|answer| answer.value != 0.0);
        assert_eq!(hit, *expected, "{head}: {function}");
    }
}
