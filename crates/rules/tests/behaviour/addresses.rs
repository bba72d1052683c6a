//! Addresses and names in fields.

use super::{Case, case};

pub fn cases() -> Vec<Case> {
    FIELDS
        .iter()
        .flat_map(|(value, all)| {
            all.iter().map(move |(form, want)| {
                case("", &format!("To: {value}\n\nx\n"), &format!("get To{form}"), want)
            })
        })
        .collect()
}

type Field = (&'static str, &'static [(&'static str, &'static str)]);

/// A field's value, and what forms make of it.
const FIELDS: &[Field] = &[
    ("<a@b>", &[(":addr", "a@b"), (":name", "(none)")]),
    ("a@b", &[(":addr", "a@b"), (":name", "(none)")]),
    ("a@b (Ann Bee)", &[(":addr", "a@b"), (":name", "Ann Bee")]),
    (
        "a@b, c@d",
        &[
            (":addr", "a@b\nc@d"),
            (":name", "(none)"),
            (":addr:first", "a@b\nc@d"),
            (":addr:last", "a@b\nc@d"),
        ],
    ),
    ("list: a@b (Ann Bee), c@d ;", &[(":addr", "a@b\nc@d"), (":name", "Ann Bee")]),
    ("Ann Bee <a@b>", &[(":addr", "a@b"), (":name", "Ann Bee"), (":host", "(none)")]),
    ("\"Ann Bee\" <a@b>", &[(":addr", "a@b"), (":name", "Ann Bee")]),
    ("\"Ann Bee\" (<a@b>)", &[(":addr", "(none)"), (":name", "Ann Bee")]),
    ("Ann Bee (<a@b>)", &[(":addr", "a@b"), (":name", "(none)")]),
    ("\"Ann\" \"Bee\" (see <a@b>), c@d", &[(":addr", "c@d"), (":name", "Ann Bee")]),
    ("\"'Ann Bee'\" <a@b>", &[(":addr", "a@b"), (":name", "Ann Bee")]),
    ("\"_$B!z8=6b$=_(B_$B$?$k!_(B\" <a@b>", &[(":addr", "a@b"), (":name", "_$B!z8=6b$=_(B_$B$?$k!_(B")]),
    ("\"Ann Bee\" <\"Cee Dee\"@b>", &[(":addr", "\"Cee Dee\"@b"), (":name", "Ann Bee")]),
    ("\"Ann Bee\"@b", &[(":addr", "\"Ann Bee\"@b"), (":name", "(none)")]),
    ("\"Ann Bee <c@d>\" <a@b>", &[(":addr", "a@b"), (":name", "Ann Bee <c@d>")]),
    ("\"Ann Bee <\\\"Cee Dee\\\"@d>\" <a@b>", &[(":addr", "a@b"), (":name", "Ann Bee <\"Cee Dee\"@d>")]),
    (
        "   one  \n  two\n\tthree \n ",
        &[("", "one   two three\n"), (":raw", "    one  \n  two\n\tthree \n \n")],
    ),
    ("=?ISO-2022-JP?B?GyRCQjw+ZRsoQiAbJEI1V0JlGyhC?= <a@b>", &[(":addr", "a@b"), (":name", "村上 久代")]),
    ("\"joe+foobar@example.com\"", &[(":addr", "joe+foobar@example.com"), (":name", "(none)")]),
    ("Ann Bee", &[(":addr", "(none)"), (":name", "Ann Bee")]),
    (
        "<a@b>, \"'Ann Bee'\" <c@d>, =?utf-8?Q?'C=C3=A4cilie'?= <e@fgh>",
        &[(":addr", "a@b\nc@d\ne@fgh"), (":name", "Ann Bee\nCäcilie"), (":name:last", "Ann Bee\nCäcilie")],
    ),
    (
        "=?utf-8?Q?\"C=C3=A4c=C3=A4_=28cc=40example.?= =?utf-8?Q?com=29\"?= <a@b>",
        &[(":addr", "a@b"), (":name", "Cäcä (cc@example.com)")],
    ),
    (
        "\"Mr., Bee\"<a@(comment)b.example(comment)>(comment)",
        &[(":addr", "a@b.example"), (":name", "Mr., Bee")],
    ),
    (
        "\"Mr. <Bee> (c@d)\\\\\\\"\" <a@b.example> (comment)",
        &[(":addr", "a@b.example"), (":name", "Mr. <Bee> (c@d)\"")],
    ),
    (
        "\"Ann \\(via List\\)\" <a@b>, \"Cee (via List)\" <a@b>",
        &[(":addr", "a@b\na@b"), (":name", "Ann (via List)\nCee (via List)")],
    ),
    (
        "Ann Bee <a@Mail.Example.CO.UK>",
        &[(":addr:host", "Mail.Example.CO.UK"), (":addr:domain", "example.co.uk")],
    ),
    ("x@[192.0.2.1], see 192.0.2.7", &[(":ip", "192.0.2.1"), (":revip", "1.2.0.192")]),
];
