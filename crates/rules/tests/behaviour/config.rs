//! The configuration: conditions, what is refused and in which words.

use super::{Case, case};

pub fn cases() -> Vec<Case> {
    let hits = CONDITIONS.iter().map(|(conf, hits)| case(conf, "\nx\n", "hits", hits));
    let said = REFUSED.iter().map(|(conf, said)| case(conf, "", "lint", said));
    let expressions = EXPRESSIONS.iter().map(|(expression, said)| {
        let said = if said.is_empty() {
            String::new()
        } else {
            format!("config: invalid regexp for A '{expression}': {said}")
        };
        case(&format!("body A {expression}"), "", "lint", &said)
    });
    hits.chain(said).chain(expressions).collect()
}

/// What is read, and the rules that hit: each matches everything.
const CONDITIONS: &[(&str, &str)] = &[
    ("if (0)\nbody A /./\nendif\nbody B /./", "B"),
    ("if (1)\nbody A /./\nendif", "A"),
    ("if (0)\nbody A /./\nelse\nbody B /./\nendif", "B"),
    ("if (1)\nbody A /./\nelse\nbody B /./\nendif", "A"),
    ("if (1)\nif (1)\nbody A /./\nelse\nbody B /./\nendif\nelse\nbody C /./\nendif", "A"),
    ("if (0)\nif (0)\nbody A /./\nelse\nbody B /./\nendif\nelse\nbody C /./\nendif", "C"),
    ("if (0)\nif (1)\nbody A /./\nelse\nif (1)\nbody B /./\nendif\nendif\nelse\nbody C /./\nendif", "C"),
    (
        "if (1)\nif (0)\nbody A /./\nelse\nif (0)\nbody B /./\nelse\nif (0)\nbody C /./\nelse\nbody D /./\nendif\nendif\nendif\nendif",
        "D",
    ),
    ("if (version > 9.99999)\nbody A /./\nendif\nif (version <= 9.99999)\nbody B /./\nendif", "B"),
    ("if version >= 4.000000 && perl_version >= 5.010\nbody A /./\nendif", "A"),
    ("if !(version < 3.0)\nbody A /./\nendif", "A"),
    (
        "if can(Mail::SpamAssassin::Conf::feature_local_tests_only) && local_tests_only\nbody A /./\nendif",
        "A",
    ),
    (
        "if can(Mail::SpamAssassin::Conf::feature_local_tests_only) && !local_tests_only\nbody A /./\nendif",
        "",
    ),
    ("if can(Mail::SpamAssassin::Conf::feature_of_tomorrow)\nbody A /./\nendif", ""),
    ("if !can(Mail::SpamAssassin::Conf::feature_of_tomorrow)\nbody A /./\nendif", "A"),
    ("if can(Mail::SpamAssassin::Plugin::NoSuch::thing)\nbody A /./\nelse\nbody B /./\nendif", "B"),
    ("ifplugin Mail::SpamAssassin::Plugin::Check\nbody A /./\nendif", "A"),
    ("ifplugin Mail::SpamAssassin::Plugin::DKIM\nbody A /./\nendif", ""),
    ("if plugin(Mail::SpamAssassin::Plugin::Check)\nbody A /./\nendif", "A"),
    ("if !plugin(Mail::SpamAssassin::Plugin::DKIM)\nbody A /./\nendif", "A"),
    (
        "loadplugin Mail::SpamAssassin::Plugin::WelcomeListSubject\nifplugin Mail::SpamAssassin::Plugin::WhiteListSubject\nbody A /./\nendif",
        "A",
    ),
    ("enable_compat foo_x\nif can(Mail::SpamAssassin::Conf::compat_foo_x)\nbody A /./\nendif", "A"),
    ("if can(Mail::SpamAssassin::Conf::compat_foo_x)\nbody A /./\nendif", ""),
    ("body A /./ # comment\nbody B /\\#/\n# body C /./", "A"),
    ("  body\tA\t /./  ", "A"),
    ("Body A /./", "A"),
    ("lang zz body A /./\nlang en body B /./", "B"),
    ("body A /./\nbody A /nothing/", ""),
    ("body A /nothing/\nheader A exists:X-No\nrawbody A /./", "A"),
];

/// What is read, and what is said of it.
const REFUSED: &[(&str, &str)] = &[
    ("body A /x/", ""),
    ("nonsense 1", "config: failed to parse line in test.cf (line 4): nonsense 1"),
    ("required_score abc", "config: invalid 'required_score' value in test.cf (line 4): required_score abc"),
    ("describe A", "config: missing 'describe' value in test.cf (line 4): describe A"),
    ("endif", "config: missing starting 'if' for 'endif' in test.cf (line 4): endif"),
    ("else", "config: 'else' missing starting if in test.cf (line 4): else"),
    ("if (1)\nbody A /x/", "config: unclosed 'if' found in test.cf (line 4)"),
    ("score A (1)", "config: invalid 'score' value in test.cf (line 4): score A (1)"),
    ("score A 1 2", "config: missing 'score' value in test.cf (line 4): score A 1 2"),
    ("header A nothing", "config: invalid head test A: nothing"),
    ("header A exists:a b", "config: invalid head test A header: a b"),
    ("header A From:foo =~ /x/", "config: invalid header modifier for A: From:foo"),
    (
        "body 1A /x/",
        "config: error: rule '1A' has invalid characters (not Alphanumeric + Underscore + starting with a non-digit)",
    ),
    (
        "body A-B /x/",
        "config: error: rule 'A-B' has invalid characters (not Alphanumeric + Underscore + starting with a non-digit)",
    ),
    ("meta A B -1", "config: invalid meta A token: -1"),
    ("meta A B; C", "config: invalid meta A rule: B; C"),
    ("report_safe 3", "config: invalid 'report_safe' value in test.cf (line 4): report_safe 3"),
    ("add_header none X y", "config: invalid 'add_header' value in test.cf (line 4): add_header none X y"),
    ("priority A x", "config: invalid 'priority' value in test.cf (line 4): priority A x"),
    ("util_rb_2tld com", "config: invalid 'util_rb_2tld' value in test.cf (line 4): util_rb_2tld com"),
    ("clear_headers x", "config: invalid 'clear_headers' value in test.cf (line 4): clear_headers x"),
    ("header A eval:", "config: invalid 'header' value in test.cf (line 4): header A eval:"),
    ("body A /x/\ntflags A", "config: missing 'tflags' value in test.cf (line 5): tflags A"),
];

/// An expression, and what is wrong with it.
const EXPRESSIONS: &[(&str, &str)] = &[
    ("/foo bar/im", ""),
    ("m!foo bar!is", ""),
    ("m{foo bar}is", ""),
    ("m(foo bar)is", ""),
    ("m<foo bar>is", ""),
    ("/test\\//", ""),
    ("m{test.{0,10}}", ""),
    ("m[foo[bar]]", ""),
    ("m(foo(?:bar)x)", ""),
    ("m/(foo|bar)baz/", ""),
    ("/(|bar)baz/", ""),
    ("/(foo|)baz/", ""),
    ("/foo\\||bar/", ""),
    ("/\\||bar/", ""),
    ("foo bar", "missing regexp delimiters"),
    ("/test//", "unquoted delimiter '/' found"),
    ("m!test!xyz!i", "unquoted delimiter '!' found"),
    ("/foo(?{1})bar/", "eval (?{}) found"),
    ("m!foo(??{1})bar!", "eval (?{}) found"),
    ("//", "always matching regexp: empty"),
    ("m!|foo!", "always matching regexp: starts or ends with '|'"),
    ("/foo|/", "always matching regexp: starts or ends with '|'"),
    ("/foo||bar/", "always matching regexp: contains '||'"),
    ("/(foo||bar)baz/", "always matching regexp: contains '||'"),
];
