//! How MIME is read: parts, encodings, fields of parts, missing separators.

use super::{Case, case, rules};

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    cases.extend(TREES.iter().map(|(mail, want)| case("", mail, "types", want)));
    cases.extend(DECODED.iter().map(|(mail, want)| case("", mail, "rawbody", want)));
    cases.extend(
        SUBJECTS
            .iter()
            .map(|(subject, want)| case("", &format!("Subject: {subject}\n\n"), "get Subject", want)),
    );
    cases.extend(PRISTINE.iter().map(|(mail, want)| case("", mail, "pristine", want)));
    cases.push(rules("loadplugin Mail::SpamAssassin::Plugin::MIMEHeader", MAIL, FIELDS));
    cases.extend(SEPARATORS.iter().map(|(mail, hits)| {
        let conf = "loadplugin Mail::SpamAssassin::Plugin::MIMEEval\nheader LAST X-Last =~ /^foo$/\n\
                    body NOSEP eval:check_msg_parse_flags('missing_head_body_separator')";
        case(conf, mail, "hits", hits)
    }));
    cases
}

/// A mail, and the types of its parts.
const TREES: &[(&str, &str)] = &[
    ("\nx\n", "text/plain"),
    ("Content-Type: audio/basic\n\nx\n", "audio/basic"),
    (
        "Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n--a\nContent-Type: image/pgm\n\nx\n--a--\n",
        "multipart/mixed text/plain image/pgm",
    ),
    (
        "Content-Type: multipart/alternative; boundary=a\n\n--a\n\nx\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ny\n--b--\n--a\n\
         Content-Type: application/x\n\nz\n--a--\n",
        "multipart/alternative text/plain multipart/mixed text/plain application/x",
    ),
    ("Content-Type: multipart/mixed; boundary=a\n\n--a\n\nx\n", "multipart/mixed text/plain"),
    (
        "Content-Type: multipart/mixed; boundary=\"a b\"\n\n--a b\n\nx\n--a b--\n",
        "multipart/mixed text/plain",
    ),
    ("Content-Type: TEXT/HTML\n\nx\n", "text/html"),
];

const DECODED: &[(&str, &str)] = &[
    ("Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\nSGVsbG8=\n", "Hello"),
    (
        "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\na=3Db=\nc=C3=A9\n",
        "a=bc\u{e9}\n",
    ),
    ("Content-Type: text/plain\nContent-Transfer-Encoding: Base64\n\nSGVs\n bG8=\n", "Hello"),
    ("Content-Type: application/x\n\nHello\n", ""),
    ("Content-Type: text\n\nHello\n", "Hello\n"),
    ("Content-Type: multipart/mixed; boundary=a\n\npreamble\n--a\n\nx\n--a--\nepilogue\n", "x"),
];

const SUBJECTS: &[(&str, &str)] = &[
    ("=?ISO-8859-1?Q?a?=", "a\n"),
    ("=?ISO-8859-1?Q?a?= b", "a b\n"),
    ("=?ISO-8859-1?Q?a?=   \t =?ISO-8859-1?Q?b?=", "ab\n"),
    ("=?ISO-8859-1?Q?a?=\n =?ISO-8859-1?Q?_b?=", "a b\n"),
    ("=?ISO-8859-1?Q?a?=\n =?ISO-8859-1?Q?_b?= mem_brain =?  invalid ?=", "a b mem_brain =?  invalid ?=\n"),
    (
        "=?iso-8859-2*sl?Q?Doma=e8e?=\n =?utf-8*sl?Q?_omre=C5?=\n =?utf-8*sl?Q?=BEje?=",
        "Dom\u{61}\u{10d}e omre\u{17e}je\n",
    ),
    ("=?UTF-8?B?44CQ6YeN6KaB6KiK5oGv44CR?=", "\u{3010}\u{91cd}\u{8981}\u{8a0a}\u{606f}\u{3011}\n"),
];

/// What is the body.
const PRISTINE: &[(&str, &str)] = &[
    ("Content-Type: text/plain; boundary=foo\nX-Last: foo\n", ""),
    ("Content-Type: text/plain;\n boundary=foo\nX-Last: foo\n--foo\n", "--foo\n"),
    ("Subject:x\none\ntwo\nthree\nX-Last:foo\n\ntest body\n", "test body\n"),
    ("Content-Type: text/plain;\n boundary=foo\n\n--foo\n", "--foo\n"),
];

const SEPARATORS: &[(&str, &str)] = &[
    ("Content-Type: text/plain; boundary=foo\nX-Last: foo\n", "LAST,NOSEP"),
    ("Content-Type: text/plain;\n boundary=foo\nX-Last: foo\n--foo\n", "LAST,NOSEP"),
    ("X-Last: foo\nContent-Type: text/plain; boundary=foo\n--foo\n", "LAST,NOSEP"),
    ("Subject:x\none\ntwo\nthree\nX-Last:foo\n\ntest body\n", "LAST"),
    (
        "Content-Type: multipart/related; boundary=\"foo:\"\n--foo:\nContent-Type: text/plain\nX\n--foo:--\n",
        "NOSEP",
    ),
    ("Content-Type: text/plain;\n boundary=foo\n\n--foo\n", ""),
];

const MAIL: &str = "X-One: a\nX-Two: b\nContent-Type: multipart/mixed;\n\tboundary=\"a\"\n\n--a\nContent-Type: multipart/alternative; boundary=b\nX-Three: c\n\n\
    --b\nContent-Type: text/plain; charset=\"iso-8859-2\"\n\nx\n--b\nContent-Type: text/html; charset=\"iso-8859-8\"\n\nx\n--b--\n--a\n\
    Content-Type: application/msword;\n\tname=\"Jurek.doc\"\nX-Four: d\n\nx\n--a--\n";

const FIELDS: &[(&str, bool)] = &[
    ("mimeheader R content-type =~ /application\\/msword/", true),
    ("mimeheader R content-type =~ m!APPLICATION/MSWORD!i", true),
    ("mimeheader R Content-Type =~ /msword; name/", true),
    ("mimeheader R Content-Type:raw =~ /msword;\\n\\tname/", true),
    ("mimeheader R nowhere =~ /foobar/", false),
    ("mimeheader R nowhere =~ /foobar/ [if-unset: xyzfoobarxyz]", true),
    ("mimeheader R Content-Type !~ /nowhere/", true),
    // SpamAssassin 4.0 does not look at what was found.
    ("mimeheader R Content-Type !~ /msword/", true),
    (
        "mimeheader R ALL =~ /\\nContent-Type: multipart\\/mixed;.*?\\nContent-Type: multipart\\/alternative;.*?\\nContent-Type: text\\/plain/s\ntflags R concat",
        true,
    ),
    ("mimeheader R Content-Type =~ /^multipart\\/mixed;/\ntflags R range=1", true),
    ("mimeheader R Content-Type =~ /^multipart\\/mixed;/\ntflags R range=2-", false),
    (
        "mimeheader R Content-Type =~ /^multipart\\/alternative.*?text\\/plain; charset=\"iso-8859-2\"$/s\ntflags R range=2-3 concat",
        true,
    ),
    ("mimeheader R Content-Type =~ /Jurek/\ntflags R range=2- concat", true),
    ("mimeheader R Content-Type =~ /Jurek/\ntflags R range=-10", true),
    ("mimeheader R Content-Type =~ /Jurek/\ntflags R range=-4", false),
    ("mimeheader __N_R Content-Type =~ /-[82]/\ntflags __N_R multiple\nmeta R __N_R == 2", true),
    ("mimeheader __N_R ALL =~ /^X-/m\ntflags __N_R multiple\nmeta R __N_R == 2", true),
    ("mimeheader R Content-Type =~ /(?<CAP>text\\/\\w+)/", true),
];
