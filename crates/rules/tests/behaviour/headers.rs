//! Rules over fields: where the value comes from, what is there, what is not.

use super::{Case, case, rules};

const MAIL: &str = "Received: from first.example.com (first.example.com [192.0.2.1])\n\tby mx.example.net (Postfix) with ESMTP id 1;\n\
    \tThu, 1 Jan 2026 00:00:01 +0000\nDelivered-To: inner@example.net\n\
    Received: from last.example.org (last.example.org [198.51.100.9]) by first.example.com\n\twith SMTP id 2; Thu, 1 Jan 2026 \
    00:00:00 +0000\nReturn-Path: <envelope@example.org>\nFrom: =?utf-8?q?J=C3=B6rg?= <a@mail.example.org>\n\
    To: one@example.net,\n\ttwo@example.net\nCc: three@example.com, Four <four@example.com>\nX-Twice: first value\n\
    X-Twice: second value\nX-Folded: a\n\tb\n  c\nSubject: Make it so\nMessage-ID: <id@host.example.org>\n\
    Resent-Message-ID: <re@sent.example.org>\nX-Empty:\nMIME-Version: 1.0\nContent-Type: text/plain\n\nHello.\n";

pub fn cases() -> Vec<Case> {
    let trusting = "trusted_networks 192.0.2.1\ninternal_networks 192.0.2.1";
    let mut cases = vec![rules(trusting, MAIL, RULES)];
    cases.extend(VALUES.iter().map(|(field, want)| case(trusting, MAIL, &format!("get {field}"), want)));
    cases.extend(
        ENVELOPES.iter().map(|(head, want)| case("", &format!("{head}\nx\n"), "get EnvelopeFrom", want)),
    );
    cases
}

const RULES: &[(&str, bool)] = &[
    ("header R exists:To", true),
    ("header R exists:Not-There", false),
    ("header R exists:X-Empty", true),
    ("header R Not-There =~ /./", false),
    ("header R Not-There =~ /^UNSET$/ [if-unset: UNSET]", true),
    ("header R Not-There =~ /^NOT$/ [if-unset: UNSET]", false),
    ("header R Subject =~ /^UNSET$/ [if-unset: UNSET]", false),
    // What an earlier definition says is forgotten.
    ("header R exists:Not-There\nheader R To =~ /nobody/", false),
    ("header R Not-There =~ /^UNSET$/ [if-unset: UNSET]\nheader R Not-There =~ /^UNSET$/", false),
    ("header R To !~ /./\nheader R To =~ /nobody/", false),
    ("header R X-Twice:first =~ /^first value$/", true),
    ("header R X-Twice:last =~ /^second value$/", true),
    ("header R X-Twice =~ /first.*second/s", true),
    ("header R X-Twice =~ /first.*second/", false),
    ("header R x-tWICE =~ /second/", true),
    ("header R ALL =~ /\\nX-Twice: first value\\nX-Twice: second/", true),
    ("header R ALL =~ /^Received: from first.*\\nDelivered-To: inner/", true),
    ("header R ALL-TRUSTED =~ /^Received: from first.*\\nDelivered-To/s", true),
    ("header R ALL-UNTRUSTED =~ /Delivered-To/", false),
    ("header R ALL-UNTRUSTED =~ /^Received: from last/", true),
    ("header R ALL-INTERNAL =~ /first/", true),
    ("header R ALL-EXTERNAL =~ /Delivered-To/", false),
    ("header R To:addr =~ /(?:@.*?){2}/s", true),
    ("header R To:addr =~ /(?:@.*?){3}/s", false),
    ("header R ToCc:addr =~ /(?:@.*?){4}/s", true),
    ("header R ToCc =~ /one.*three/s", true),
    ("header __S_R To:addr =~ /^.+$/m\ntflags __S_R multiple\nmeta R __S_R == 2", true),
    ("header R From:name =~ /^J\\xc3\\xb6rg$/", true),
    ("header R From:raw =~ /^ =\\?utf-8\\?q/", true),
    ("header R From =~ /^J\\xc3\\xb6rg </", true),
    ("header R MESSAGEID =~ /sent\\.example/", true),
    ("header R EnvelopeFrom:addr =~ /^envelope\\@/", false),
    ("header R X-Folded =~ /^a b c$/", true),
    ("header R X-Folded:raw =~ /^ a\\n\\tb\\n  c$/", true),
    ("header R Received =~ /first/", true),
    ("header R X-Spam-Relays-Untrusted =~ / helo=last\\.example\\.org /", true),
    ("header R X-Spam-Relays-Trusted =~ /^\\[ ip=192\\.0\\.2\\.1 /", true),
    ("header R Subject =~ m{^Make\\s}", true),
    ("header R Subject =~ m!SO$!i", true),
    ("header R Subject !~ /^Make/", false),
];

/// What is asked for, and the value.
const VALUES: &[(&str, &str)] = &[
    ("Subject", "Make it so\n"),
    ("Subject:raw", " Make it so\n"),
    ("Message-ID:host", "host.example.org"),
    ("Message-ID:domain", "example.org"),
    ("From:addr:host", "mail.example.org"),
    ("From:addr:domain", "example.org"),
    ("Received:ip", "192.0.2.1\n198.51.100.9"),
    ("Received:revip", "1.2.0.192\n9.100.51.198"),
    ("X-Twice", "first value\nsecond value\n"),
    ("X-Twice:raw", " first value\n second value\n"),
    ("X-Empty", "\n"),
    ("X-Nothing", "(none)"),
    (
        "X-Spam-Relays-Trusted",
        "[ ip=192.0.2.1 rdns=first.example.com helo=first.example.com by=mx.example.net ident= envfrom= intl=1 id= auth= msa=0 ]",
    ),
    ("X-AuthorDomain", "mail.example.org"),
];

/// Fields, and the envelope's sender by them.
const ENVELOPES: &[(&str, &str)] = &[
    ("Return-Path: <a@example.org>\n", "a@example.org"),
    ("Return-Path: <>\n", "(none)"),
    ("X-Envelope-From: <b@example.org>\n", "b@example.org"),
    ("Envelope-Sender: c@example.org\n", "c@example.org"),
    ("From: d@example.org\n", "(none)"),
    ("X-Sender: e@example.org\n", "(none)"),
    (
        "Received: from x.example.com (x.example.com [192.0.2.1]) by y.example.net with SMTP id 1\n\t(envelope-from \
         <f@example.org>); Thu, 1 Jan 2026 00:00:00 +0000\n",
        "f@example.org",
    ),
];
