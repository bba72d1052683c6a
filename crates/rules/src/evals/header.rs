//! SpamAssassin's HeaderEval: fields that do not fit together.

use std::collections::HashSet;

use super::pattern::{Fixed, fixed, groups, hits};
use super::{Function, Native, number, of, text};
use crate::texts::{ip, is_word, trim};

macro_rules! expressions {
    ($($name:ident = $text:expr;)*) => { $(static $name: Fixed = Fixed::new(|| fixed($text));)* };
}

expressions! {
    AOL = r"(?i) rly-[a-z][a-z]\d\d\.";
    AOL_WAY = r"/AOL-\d+\.\d+\.\d+\)|ESMTP id (?:RELAY|MAILRELAY|MAILIN)";
    WORD = r"=\?(.+?)\?.\?.*?\?=";
    EZMLM = r"(?m)^contact \S+@\S+; run by ezmlm$";
    EZMLM_TO = r"(?m)^mailing list \S+@\S+";
    QMAIL = r"qmail \d+ invoked (?:from network|by .{3,20})\); \d+ ... \d+";
    MSN_GROUPS = r"from groups\.msn\.com \(\S+\.msn\.com ";
    PICKUP = r"from mail pickup service by hotmail\.com with Microsoft SMTPSVC;";
    HOTMAIL_WAY = r"from (?:\S*\.)?hotmail.com \(\S+\.hotmail(?:\.msn)?\.com[ )]|from \S+ by \S+\.hotmail(?:\.msn)?\.com with HTTP;|from \[66\.218.\S+\] by \S+\.yahoo\.com|from \S*\.hotmail.com \(\[[0-9a-fA-F.:]+\][ ):]";
    OUTLOOK_WAY = r"from \S*\.outbound\.protection\.outlook\.com \(\S+\.outbound\.protection\.outlook\.com[ )]|from \S*\.(?:eur|nam)prd\d+\.prod\.outlook\.com \([0-9a-fA-F.:]+\)";
    HOTMAIL_HELO = r"(?:from |HELO |helo=)\S*hotmail\.com\b";
    HOTMAIL = r"(?i)\bhotmail\.com\n?\z";
    ORIGINATOR = r"hotmail\.com|msonline-outlook";
    GROUP_TO = r"(?i)<(\S+)@groups\.msn\.com>";
    GROUP_BY = r"from mail pickup service by ((?:p\d\d\.)groups\.msn\.com)\b";
    EUDORA = r"(?i)\beudoramail\.com\n?\z";
    WHOWHERE = r"by \S*whowhere.com;";
    YAHOO = r"(?i)\byahoo\.com\n?\z";
    YAHOO_TRUSTED = r" rdns=\S+\.yahoo\.com ";
    YAHOO_FIRST = r"^[^\]]+ rdns=\S+\.yahoo\.com ";
    YAHOO_WAY = r"by web\S+\.mail\S*\.yahoo\.com via HTTP|by sonic\S+\.consmr\.mail\S*\.yahoo\.com with HTTP|by smtp\S+\.yahoo\.com with SMTP|from \[[0-9a-fA-F.:]+\] by \S+\.(?:groups|scd|dcn)\.yahoo\.com with NNFMP|by \w+\.\w+\.yahoo\.com \(\d+\.\d+\.\d+/\d+\.\d+\.\d+\)(?: with ESMTP)? id \w+";
    YAHOO_BULK = r"\bmailer\d+\.bulk\.scd\.yahoo\.com\b";
    YAHOO_REPLY = r"(?i)@reply\.yahoo\.com\n?\z";
    JUNO = r"(?i)\bjuno\.com\n?\z";
    JUNO_WAY = r"from.*\b(?:juno|untd)\.com.*[\[(][0-9a-fA-F.:]+[\])].*by| cookie\.(?:juno|untd)\.com ";
    GMAIL = r"(?i)\bgmail\.com\n?\z";
    GMAIL_WAY = r"by 10\.\S+ with SMTP id \S+|by 2002:a\d\d:\w+:\S+ with SMTP id \S+";
    GMAIL_AUTH = r"by smtp\.googlemail\.com with ESMTPSA id \S+";
    GW05 = r"\nfrom\s(\S+)\sby\s(\S+)\swith\sESMTP;\s+\S\S\S,\s+\d+\s+\S\S\S\s+\d{4}\s+\d\d:\d\d:\d\d\s+[-+]*\d{4}\n\z";
    REPLY = r"(?i)^(?:(?:Re|Fwd|Fw|Aw|Antwort|WG|SV|VB|VS|VL):\s*)+";
    OWN_CAPITALS = r"(?i)=\?[-_a-z0-9]*(?:koi|jp|jis|euc|gb|big5|isoir|cp1251|windows-1251|georgianps|pt154|tis)[-_a-z0-9]*\?";
    OUTLOOK_ID = r"^<[0-9a-f]{4}([0-9a-f]{8})\$[0-9a-f]{8}\$[0-9a-f]{8}@";
    UNSUBSCRIBE = r"(?i)<mailto:(?:leave-\S+|\S+-unsubscribe)@\S+>\n?\z";
    UNUSABLE = r"/CWT/DCE\)|iPlanet Messaging Server";
    TEMPLATE = r"%[A-Z][A-Z_-]";
    TEMPLATE_FREE = r"(?i)^(?:X-VMS-To|X-UIDL|X-Face|To|Cc|From|Subject|References|In-Reply-To|(?:X-|Resent-|X-Original-)?Message-Id):";
    NAME_ID = r"<[A-Z]{28}\.([^>]+?)>";
    SRS = r"(?i)^SRS\d[=+-]";
}

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("check_for_fake_aol_relay_in_rcvd", |native, _| {
        let received = spaced(&native.value("Received"));
        of(hits(&AOL, &received) && !hits(&AOL_WAY, &received))
    }),
    ("check_for_faraway_charset_in_headers", |native, call| {
        let values = ["From:raw", "Subject:raw"].into_iter().flat_map(|name| native.values(name));
        let far = |value: bytes::Bytes| {
            let charsets = super::pattern::all(&WORD, &value);
            charsets.into_iter().any(|charset| !super::mime::is_near(charset, call.settings))
        };
        of(values.into_iter().any(far))
    }),
    ("check_for_unique_subject_id", |_, _| of(false)),
    ("check_illegal_chars", |native, call| {
        of(illegal(native, &text(call, 0), number(call, 1), number(call, 2)))
    }),
    ("gated_through_received_hdr_remover", |native, _| of(gated(native))),
    ("check_for_forged_hotmail_received_headers", |native, _| of(hotmail(native).0)),
    ("check_for_no_hotmail_received_headers", |native, _| of(hotmail(native).1)),
    ("check_for_msn_groups_headers", |native, _| of(msn_groups(native))),
    ("check_for_forged_eudoramail_received_headers", |native, _| {
        of(hits(&EUDORA, &native.value("From:addr")) && !gated(native) && {
            let known = has_ip(native, "X-Sender-Ip");
            !(known && hits(&WHOWHERE, &spaced(&native.value("Received"))))
        })
    }),
    ("check_for_forged_yahoo_received_headers", |native, _| of(yahoo(native))),
    ("check_for_forged_juno_received_headers", |native, _| of(juno(native))),
    ("check_for_forged_gmail_received_headers", |native, _| {
        let length = |name: &str| native.value(name).len();
        let signs = length("X-Gm-Message-State") >= 60 && length("X-Google-Smtp-Source") >= 60;
        let way =
            hits(&GMAIL_WAY, &native.value("X-Received")) || hits(&GMAIL_AUTH, &native.value("Received"));
        of(hits(&GMAIL, &native.value("From:addr")) && !way && !signs)
    }),
    ("check_for_matching_env_and_hdr_from", |native, _| {
        of(native.value("EnvelopeFrom:addr").eq_ignore_ascii_case(&native.value("From:addr")))
    }),
    ("sorted_recipients", |native, _| of(recipients(native).0)),
    ("similar_recipients", |native, call| {
        let (_, similar) = recipients(native);
        of((text(call, 0) == "undef" || similar >= number(call, 0))
            && (text(call, 1) == "undef" || similar < number(call, 1)))
    }),
    ("check_for_missing_to_header", |native, _| {
        of(native.value("To").is_empty() && native.value("Apparently-To").is_empty())
    }),
    ("check_for_forged_gw05_received_headers", |native, _| {
        let found = native.value("Received");
        of(groups(&GW05, &found).is_some_and(|found| found[2].is_some_and(|by| !by.contains(&b'.'))))
    }),
    ("subject_is_all_caps", |native, _| of(all_capitals(native))),
    ("check_for_to_in_subject", |native, call| of(to_in_subject(native, &text(call, 0)))),
    ("check_outlook_message_id", |native, _| of(outlook_id(native))),
    ("check_messageid_not_usable", |native, _| {
        of(hits(&UNSUBSCRIBE, &native.value("List-Unsubscribe"))
            || gated(native)
            || hits(&UNUSABLE, &native.value("Received")))
    }),
    ("check_header_count_range", |native, call| {
        let different: HashSet<_> = native.decoded(&text(call, 0)).into_iter().collect();
        of(different.len() as f64 >= number(call, 1) && different.len() as f64 <= number(call, 2))
    }),
    ("check_unresolved_template", |native, _| {
        let all = native.value("ALL");
        let mut lines = all.split(|octet| *octet == b'\n');
        of(lines.any(|line| hits(&TEMPLATE, line) && !hits(&TEMPLATE_FREE, line)))
    }),
    ("check_ratware_name_id", |native, _| {
        let id = native.value("MESSAGEID");
        let address = groups(&NAME_ID, &id).and_then(|found| found[1]);
        of(address.is_some_and(|address| named(&native.value("From"), address)))
    }),
    ("check_ratware_envelope_from", |native, _| of(ratware_envelope(native))),
    ("check_equal_from_domains", |native, _| {
        let (from, envelope) = (second_level(native, "From:addr"), second_level(native, "EnvelopeFrom:addr"));
        of(!from.is_empty() && !envelope.is_empty() && from != envelope)
    }),
];

/// White space in single spaces.
fn spaced(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut blank = false;
    for &octet in text {
        let is_blank = octet.is_ascii_whitespace() || octet == 0x0b;
        if !is_blank {
            out.push(octet);
        } else if !blank {
            out.push(b' ');
        }
        blank = is_blank;
    }
    out
}

fn has_ip(native: &Native<'_>, name: &str) -> bool {
    ip::find(&native.value(name), 0).is_some()
}

fn illegal(native: &Native<'_>, name: &str, ratio: f64, least: f64) -> bool {
    let name = if name.ends_with(":raw") { name.to_string() } else { format!("{name}:raw") };
    let value = native.value(&name);
    let control = |octet: &u8| matches!(octet, 0..=8 | 0x0b | 0x0c | 0x0e..=0x1f);
    if trim(&value).is_empty() {
        return false;
    }
    if !value.is_ascii() && std::str::from_utf8(&value).is_ok() && !value.iter().any(control) {
        return false;
    }
    let mut count = value.iter().filter(|octet| control(octet) || **octet >= 0x7f).count();
    let signs = || value.iter().filter(|octet| matches!(octet, 0xa2 | 0xa3 | 0xae)).count();
    if count > 0 && name.eq_ignore_ascii_case("subject:raw") && signs() == 1 {
        count -= 1;
    }
    count as f64 / value.len() as f64 >= ratio && count as f64 >= least
}

/// It came through something that takes `Received` fields out.
fn gated(native: &Native<'_>) -> bool {
    let received = native.value("Received");
    let ezmlm = hits(&EZMLM, &native.value("Mailing-List"))
        && hits(&EZMLM_TO, &native.value("Delivered-To"))
        && hits(&QMAIL, &received);
    ezmlm || native.header("Received").is_none() || hits(&MSN_GROUPS, &received)
}

/// Whether `Received` fields of Hotmail are forged, and whether they are missing.
fn hotmail(native: &Native<'_>) -> (bool, bool) {
    let received = spaced(&native.value("Received"));
    let by_ip = || has_ip(native, "X-Originating-Ip") && hits(&HOTMAIL_WAY, &received);
    let by_name = || hits(&ORIGINATOR, &native.value("X-OriginatorOrg")) && hits(&OUTLOOK_WAY, &received);
    if hits(&PICKUP, &received) || msn_groups(native) || gated(native) || by_ip() || by_name() {
        return (false, false);
    }
    if hits(&HOTMAIL_HELO, &received) {
        return (true, false);
    }
    (false, hits(&HOTMAIL, &native.value("From:addr")))
}

fn msn_groups(native: &Native<'_>) -> bool {
    let (to, received) = (native.value("To"), native.value("Received"));
    let list = groups(&GROUP_TO, &to).and_then(|found| found[1]);
    let server = groups(&GROUP_BY, &received).and_then(|found| found[1]);
    let (Some(list), Some(server)) = (list, server) else { return false };
    let id = native.value("Message-Id");
    let holds = |text: &[u8], what: &[&[u8]]| memchr::memmem::find(text, &what.concat()).is_some();
    if list == b"notifications" {
        return id.starts_with(b"<") && holds(&id, &[b"@", server]);
    }
    id.starts_with(&[b"<", list, b"-"].concat())
        && holds(&id, &[b"@groups.msn.com>"])
        && holds(&native.value("EnvelopeFrom:addr"), &[list, b"-bounce@groups.msn.com"])
}

fn yahoo(native: &Native<'_>) -> bool {
    let from = native.value("From:addr");
    if !hits(&YAHOO, &from) || gated(native) {
        return false;
    }
    let mut received = native.value("Received");
    if !native.value("Resent-From").is_empty() && !native.value("Resent-To").is_empty() {
        received = Some(native.value("X-Received")).filter(|value| !value.is_empty()).unwrap_or(received);
    }
    let received = spaced(&received);
    let relays = native.texts.relays();
    !(hits(&YAHOO_TRUSTED, &relays.trusted_text)
        || hits(&YAHOO_FIRST, &relays.untrusted_text)
        || hits(&YAHOO_WAY, &received)
        || hits(&YAHOO_BULK, &received) && hits(&YAHOO_REPLY, &from))
}

fn juno(native: &Native<'_>) -> bool {
    if !hits(&JUNO, &native.value("From:addr")) || gated(native) {
        return false;
    }
    let (received, mailer) = (native.value("Received"), native.value("X-Mailer"));
    if !native.value("X-Originating-IP").is_empty() {
        return !hits(&JUNO_WAY, &received) || memchr::memmem::find(&mailer, b"Juno ").is_none();
    }
    // Without an originating address every way that SpamAssassin tries ends in a hit.
    true
}

/// Whether many recipients are in order, and how similar they are.
fn recipients(native: &Native<'_>) -> (bool, f64) {
    const SORTED: usize = 7;
    const SIMILAR: usize = 5;
    let mut all = native.values("ToCc:addr");
    if all.len() < SIMILAR {
        all.extend(native.values("Bcc:addr"));
    }
    let end = all.iter().position(|one| one.is_empty() || one[..] == b"0"[..]).unwrap_or(all.len());
    all.truncate(end);
    all.dedup_by(|one, other| one.eq_ignore_ascii_case(other));
    all.truncate(256);
    let sorted = all.len() >= SORTED && all.is_sorted();
    if all.len() < SIMILAR {
        return (sorted, 0.0);
    }
    let begin = |text: &[u8]| text[..text.len().min(2)].to_vec();
    let host = |address: &[u8]| memchr::memchr(b'@', address).map(|at| address[at + 1..].to_vec());
    let users: Vec<Vec<u8>> = all.iter().map(|one| begin(one)).collect();
    let hosts: Vec<Vec<u8>> = all.iter().filter_map(|one| host(one)).collect();
    let (mut found, mut pairs) = (0, 0);
    for one in 0..all.len() {
        for other in one + 1..all.len() {
            found += usize::from(users[one] == users[other]);
            let both = hosts.get(one).zip(hosts.get(other));
            found += usize::from(both.is_some_and(|(one, other)| begin(one) == begin(other) && one != other));
            pairs += 1;
        }
    }
    (sorted, found as f64 / f64::from(pairs))
}

fn all_capitals(native: &Native<'_>) -> bool {
    let subject = native.value("Subject");
    let mut subject = trim(&subject);
    if let Some(found) = groups(&REPLY, subject).and_then(|found| found[0]) {
        subject = &subject[found.len()..];
    }
    let has_words = subject.iter().any(|octet| octet.is_ascii_whitespace());
    let mut letters = subject.iter().filter(|octet| octet.is_ascii_alphabetic()).peekable();
    has_words
        && subject.len() >= 10
        && letters.peek().is_some()
        && letters.all(u8::is_ascii_uppercase)
        && !hits(&OWN_CAPITALS, &native.value("Subject:raw"))
}

fn to_in_subject(native: &Native<'_>, what: &str) -> bool {
    let (to, subject) = (native.value("To:addr"), native.value("Subject"));
    if to.is_empty() {
        return false;
    }
    let lower = subject.to_ascii_lowercase();
    let user = &to[..memchr::memchr(b'@', &to).unwrap_or(to.len())];
    let wanted = if what == "address" { &to[..] } else { user }.to_ascii_lowercase();
    let mut places = memchr::memmem::find_iter(&lower, &wanted);
    let edge = |at: usize| {
        let word = |at: Option<usize>| at.and_then(|at| lower.get(at)).is_some_and(|octet| is_word(*octet));
        word(at.checked_sub(1)) != word(Some(at))
    };
    match what {
        "address" => places.any(|at| edge(at) && edge(at + wanted.len())),
        "user" => {
            let subject = subject.strip_suffix(b"\n").unwrap_or(&subject);
            places.any(|at| user_stands(subject, user, at, at + wanted.len()))
        }
        _ => false,
    }
}

/// Whether the user that stands at that place of a subject is spoken to there.
fn user_stands(subject: &[u8], user: &[u8], start: usize, end: usize) -> bool {
    static BEGIN: Fixed = Fixed::new(|| fixed(r"(?i)^(?:re|fw):\s*(?:\w+\s+)?\z"));
    static COMMA: Fixed = Fixed::new(|| fixed(r"^,\s*\z"));
    static GREETING: Fixed = Fixed::new(|| fixed(r"^\s*[,:;!?-](?:\z|\s)"));
    let (before, rest) = (&subject[..start], &subject[end.min(subject.len())..]);
    let alone = start == 0 && rest.is_empty();
    let reply = rest.is_empty() && hits(&BEGIN, before);
    let greeted = start == 0 && subject.starts_with(user) && hits(&GREETING, rest);
    let last = matches!(rest, [b',' | b':' | b';' | b'!' | b'?' | b'-']) && hits(&COMMA, before);
    alone || reply || greeted || last
}

/// The time in a Message-ID of Outlook is not that of the message.
fn outlook_id(native: &Native<'_>) -> bool {
    let id = native.value("MESSAGEID");
    let Some(token) = groups(&OUTLOOK_ID, &id).and_then(|found| found[1]) else { return false };
    let token = std::str::from_utf8(token).ok().and_then(|token| i64::from_str_radix(token, 16).ok());
    let Some(token) = token else { return false };
    let off = |name: &str| {
        let time = super::dates::parse(&native.value(name)).unwrap_or(0);
        let expected = (time as f64 * 0.002_328_306_436_538_7 + 27_111_902.832_984_9).trunc() as i64;
        (token - expected).abs() >= 250
    };
    off("Date") && off("Received")
}

/// `"name" <address>`
fn named(from: &[u8], address: &[u8]) -> bool {
    let wanted = [b"<", address, b">"].concat();
    memchr::memmem::find_iter(from, &wanted).any(|at| {
        let before = super::super::texts::trim_end(&from[..at]);
        let Some(quoted) = before.strip_suffix(b"\"") else { return false };
        memchr::memrchr(b'"', quoted).is_some_and(|open| open + 1 < quoted.len())
    })
}

fn ratware_envelope(native: &Native<'_>) -> bool {
    let (to, from) = (native.value("To:addr"), native.value("EnvelopeFrom:addr").to_ascii_lowercase());
    if from.is_empty() || hits(&SRS, &from) {
        return false;
    }
    let to = to.to_ascii_lowercase();
    let Some(at) = memchr::memchr(b'@', &to).filter(|at| *at > 0 && at + 1 < to.len()) else { return false };
    let registry = &native.texts.settings().registry;
    let domain = registry.trim_domain(&to[at + 1..]);
    if !registry.is_domain_valid(&domain) {
        return false;
    }
    let tail = [&to[..at], b"@"].concat();
    memchr::memmem::find_iter(&from, &domain).any(|start| {
        let behind = start + domain.len() + 1;
        (start == 0 || !is_word(from[start - 1]))
            && from.get(behind - 1).is_some()
            && from.get(behind..).is_some_and(|rest| rest.starts_with(&tail))
    })
}

/// The last two labels of the domain of an address, in lower case.
fn second_level(native: &Native<'_>, name: &str) -> Vec<u8> {
    let address = native.value(name);
    let Some(at) = memchr::memrchr(b'@', &address) else { return Vec::new() };
    let domain = address[at + 1..].to_ascii_lowercase();
    let mut labels: Vec<&[u8]> = domain.split(|octet| *octet == b'.').collect();
    if labels.len() > 2 && labels.iter().rev().take(2).all(|label| !label.is_empty()) {
        labels.drain(..labels.len() - 2);
    }
    labels.join(&b'.')
}
