//! Kinds of rules, flags, metas, tags, priorities, short circuits, scores.

use super::{Case, case, rules};

const MAIL: &str = "Received: from web.example.com (web.example.com [192.0.2.1]) by mx.example.net with SMTP id 1;\n\tThu, 1 Jan 2026 \
    00:00:00 +0000\nFrom: Ximenes <x@ximenes.example.com>\nTo: a@example.net\nSubject: --Buy-- now --Buy-- cheap\n\
    Message-ID: <1.abc@mail.ximenes.example.com>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n\
    This is the release of Ximenes 1.4\nand more. See http://www.XIMENES.example.com/ and\nhttp://www.ximenes.example.com/two \
    and\nhttp://ftp.example.org/pub\n\nSecond paragraph: \u{91d1}\u{878d}\u{6a5f} release\n";

pub fn cases() -> Vec<Case> {
    let replacing = "loadplugin Mail::SpamAssassin::Plugin::ReplaceTags\nreplace_tag A [a\\xe4@4]\nreplace_tag E [e3]\n\
        replace_tag AE <A><E>\nreplace_pre P1 \\W?\nreplace_inter I1 \\W?\nreplace_post Q1 {1,2}";
    let details = "loadplugin Mail::SpamAssassin::Plugin::URIDetail";
    let mut cases = vec![
        rules("", MAIL, KINDS),
        rules("", MAIL, METAS),
        rules("", MAIL, CAPTURES),
        rules(replacing, "Subject: v1@gr4 m-e-e-t\n\nme\u{e4}t m3et meaat\n", REPLACED),
        rules(details, PAGE, DETAILS),
    ];
    cases.extend(STOPS.iter().flat_map(|(conf, hits, score)| {
        let conf = format!("loadplugin Mail::SpamAssassin::Plugin::Shortcircuit\n{STOPPING}{conf}");
        [case(&conf, MAIL, "hits", hits), case(&conf, MAIL, "score", score)]
    }));
    cases.extend(SCORES.iter().map(|(conf, score)| case(conf, MAIL, "score", score)));
    cases.extend(SETS.iter().map(|(conf, scores)| case(conf, MAIL, "scores FOO", scores)));
    cases.extend(
        PRIORITIES.iter().map(|(rule, priority)| case(ORDERED, "\n", &format!("priority {rule}"), priority)),
    );
    cases
}

const KINDS: &[(&str, bool)] = &[
    ("header R Received =~ /web\\.example/", true),
    ("header R MESSAGEID =~ /ximenes/", true),
    ("body R /Buy-- cheap/", true),
    ("body R /release of Ximenes 1\\.4 and more/", true),
    ("body R /more\\. See.*Second/s", false),
    ("body R /^--Buy/", true),
    ("body R /^--Buy/\ntflags R nosubject", false),
    ("rawbody R /1\\.4\\nand more/", true),
    ("rawbody R /^and more/m", true),
    ("rawbody R /^--Buy/", false),
    ("full R /^Received: from/", true),
    ("full R /\\n\\nThis is/", true),
    ("uri R /ximenes\\.example\\.com\\/two$/", true),
    ("uri R /ftp\\.example/", true),
    ("uri R /mailto/", false),
    ("body R /\\xe9\\x87\\x91\\xe8\\x9e\\x8d\\xe6\\xa9\\x9f/", true),
    ("body R /\u{91d1}\u{878d}(?:xyz|\u{6a5f})/", true),
    ("body R /.\\x87(?:\\x91|\\x00)[\\xe8\\x00]\\x9e/", true),
    ("body R /\\x{91d1}/", false),
    // As often as it hits.
    ("header __N_R Subject =~ /--/\ntflags __N_R multiple\nmeta R __N_R == 4", true),
    ("header __N_R Subject =~ /--/\nmeta R __N_R == 1", true),
    ("header __N_R Subject =~ /--/\ntflags __N_R multiple maxhits=3\nmeta R __N_R == 3", true),
    ("header __N_R Subject =~ /--/\ntflags __N_R multiple maxhits=1\nmeta R __N_R > 1", false),
    ("body __N_R /ximenes/i\ntflags __N_R multiple\nmeta R __N_R == 3", true),
    ("body __N_R /ximenes/i\ntflags __N_R multiple maxhits=2\nmeta R __N_R == 2", true),
    ("rawbody __N_R /ximenes/i\ntflags __N_R multiple\nmeta R __N_R == 3", true),
    ("rawbody __N_R /ximenes/i\ntflags __N_R multiple maxhits=2\nmeta R __N_R > 2", false),
    ("full __N_R /ximenes/i\ntflags __N_R multiple\nmeta R __N_R == 6", true),
    ("full __N_R /ximenes/i\nmeta R __N_R == 1", true),
    ("uri __N_R /ximenes/i\ntflags __N_R multiple\nmeta R __N_R == 2", true),
    ("uri __N_R /ximenes/i\ntflags __N_R multiple maxhits=1\nmeta R __N_R == 1", true),
    ("body __N_R /(?=e)/\ntflags __N_R multiple\nmeta R __N_R > 5", true),
];

const METAS: &[(&str, bool)] = &[
    (
        "body __FOO_1 /a/\nbody __FOO_2 /b/\nbody __FOO_33 /c/\nbody __FOO_4 /nowhere/\nmeta R __FOO_1 + __FOO_2 + __FOO_33 + __FOO_4 == 3",
        true,
    ),
    ("meta R rules_matching(__FOO_*) == 3", true),
    ("meta R __FOO_4 + rules_matching(__FOO_?) == 2", true),
    ("meta R __FOO_1 + __FOO_2 == 1", false),
    ("meta R (R00 + R01 + R03) == 2", true),
    ("meta R !NEVER_DEFINED", true),
    ("meta R !NEVER_DEFINED || NEVER_DEFINED", true),
    ("body OFF1 /a/\nscore OFF1 0\nmeta R !OFF1", true),
    ("meta R !OFF1 || OFF1", true),
    ("meta OFF2 0\nmeta R !OFF2", true),
    ("meta R !OFF2 && __FOO_1", true),
    ("meta R __FOO_1 + NEVER_DEFINED == 2", false),
    ("meta R __FOO_1 + NEVER_DEFINED + __FOO_2 == 2", true),
    ("meta R __FOO_1 + NEVER_DEFINED + __FOO_2 > 1", true),
    ("meta R NEVER_DEFINED || local_tests_only", true),
    (
        "body __BAR_5 /a/\npriority __BAR_5 -1000\nbody __BAR_6 /b/\nbody __BAR_7 /c/\npriority __BAR_7 1000\nmeta R __BAR_5 && __BAR_6 && __BAR_7",
        true,
    ),
    ("meta R __BAR_5 && __BAR_6 && R15\npriority R -2000", true),
    ("meta R __BAR_6 && __BAR_7 && R16", true),
    ("meta R __BAR_5 && __BAR_7 && R17\npriority R 2000", true),
    ("meta R R15 && R16 && R17 && R18", true),
    ("meta __H1 6\nmeta __H2 2\nmeta __H3 1\nmeta R (__H1 > 2) && (__H2 > 1) && __H3", true),
    ("meta __K (1 || OFF1 || OFF2)\nmeta R __K", true),
    ("meta R (__FOO_1 && (__FOO_4 || !__FOO_4))", true),
    ("meta R __FOO_1 * 3 - 1 >= 2", true),
    ("meta R 6 / 4 > 1.4", true),
    ("meta R __FOO_4 ? 0 : 1", true),
    ("meta R __FOO_1 ^ 1", false),
    ("meta R -1", false),
    ("meta R !!__FOO_1", true),
    ("meta R __FOO_1 &&\t!__FOO_4", true),
    ("meta CIRCLE_A CIRCLE_B\nmeta CIRCLE_B CIRCLE_A\nmeta R CIRCLE_A", false),
    ("meta R !__FOO_1 == 0", true),
];

const CAPTURES: &[(&str, bool)] = &[
    ("body R /release of (?<CAP1>\\w+)/", true),
    ("rawbody R /release of (?<CAP2>\\w+)/", true),
    ("uri R /ftp\\.(?<CAP3>[\\w.]+)/", true),
    ("header R Message-ID =~ /@(?<CAP4>\\w+)/", true),
    ("full R /Subject.* paragraph: \\S+ (?<CAP5>\\w+)/s", true),
    ("body R m,www\\.%{CAP1}\\.,i", true),
    ("body R m,www\\.%{CAP3}\\.,i", false),
    ("body R m{www\\.%{HEADER(From:addr:host)}/}i", true),
    ("body R m,www\\.\\%{CAP1}\\.,i", false),
    ("header R From =~ /%{CAP1}/i", true),
    ("header R From =~ /%{NO_SUCH_TAG}/", false),
    ("header R From !~ /%{NO_SUCH_TAG}/", false),
    ("uri R /%{CAP4}\\./", false),
];

/// Tags in expressions; the mail has `v1@gr4`, `m-e-e-t` and several spellings of `meet`.
const REPLACED: &[(&str, bool)] = &[
    ("header R Subject =~ /v1<A>gr<A>/\nreplace_rules R", true),
    ("header R Subject =~ /v1<A>gr<A>/", false),
    ("header R Subject =~ /<inter I1>m<E><E>t/\nreplace_rules R", false),
    ("header R Subject =~ /m\\W<inter I1><E><E>\\Wt/\nreplace_rules R", true),
    ("header R Subject =~ /m<pre P1><E>-e-t/\nreplace_rules R", true),
    ("body R /m<E><E>t/\nreplace_rules R", true),
    ("body R /m<post Q1>e<A>t/\nreplace_rules R", true),
    ("body R /m<AE>t/\nreplace_rules R", false),
    ("body R /m3<NONE>/\nreplace_rules R", false),
    ("body R /me<A>{2}t/\nreplace_rules R", true),
];

const PAGE: &str = "Content-Type: text/html\n\n<html><body><a href=\"http://one.example.com/a\">Click</a> <img src=\"http://two.example.net/\">\
    <a href=\"http://192.0.2.1/%41\">Your bank</a> http://three.example.org/</body></html>\n";

const DETAILS: &[(&str, bool)] = &[
    ("uri_detail R cleaned =~ /192\\.0\\.2\\.1/ text =~ /bank/", true),
    ("uri_detail R cleaned =~ /192\\.0\\.2\\.1/ text =~ /Click/", false),
    ("uri_detail R text =~ /bank/ cleaned !~ /one/", true),
    ("uri_detail R raw =~ /%41$/", true),
    ("uri_detail R cleaned =~ /1\\/A$/", true),
    ("uri_detail R type =~ /^a$/ domain =~ /^example\\.com$/", true),
    ("uri_detail R type =~ /^img$/ host =~ /^two/", true),
    ("uri_detail R type =~ /^img$/ host =~ /^one/", false),
    ("uri_detail R type =~ /^parsed$/ host =~ /^three/", true),
    ("uri_detail R text =~ /click/i domain =~ /example/", true),
];

const STOPPING: &str = "body A /release/\nheader B From =~ /Ximenes/\nbody C /cheap/\npriority C 10\n\
    header SHORTCIRCUIT eval:check_shortcircuit()\ntflags SHORTCIRCUIT userconf noautolearn\n";

/// What is added, the rules that hit, the score.
const STOPS: &[(&str, &str, &str)] = &[
    ("", "A,B,C", "3.000"),
    ("shortcircuit B spam\n", "B,SHORTCIRCUIT", "101.000"),
    ("shortcircuit B ham\n", "B,SHORTCIRCUIT", "-101.000"),
    ("shortcircuit B spam\nshortcircuit_spam_score 20\n", "B,SHORTCIRCUIT", "21.000"),
    ("shortcircuit B on\nscore B 50\npriority B -100\n", "B,SHORTCIRCUIT", "50.000"),
    // Rules that a meta needs run before it.
    ("meta M (A && B)\npriority M -1000\nshortcircuit M spam\n", "A,B,M,SHORTCIRCUIT", "103.000"),
    ("shortcircuit B off\n", "A,B,C", "3.000"),
    ("shortcircuit NOBODY spam\n", "A,B,C", "3.000"),
    ("score B 16\npriority B -5\nshortcircuit_max_spam_score 15\n", "A,B,SHORTCIRCUIT", "17.001"),
    ("score B -16\npriority B -5\nshortcircuit_min_ham_score -15\n", "A,B,SHORTCIRCUIT", "-15.001"),
    ("score B 14\npriority B -5\nshortcircuit_max_spam_score 15\n", "A,B,C", "16.000"),
];

const SCORES: &[(&str, &str)] = &[
    ("body A /release/", "1.000"),
    ("body A /release/\ntflags A nice", "-1.000"),
    ("body T_A /release/", "0.010"),
    ("body __A /release/\nscore __A 3", "0.000"),
    ("body A /release/\nscore A 0", "0.000"),
    ("body A /release/\nscore A 1.5\nscore A (0.25)", "1.750"),
    ("body A /release/\nscore A -2.125", "-2.125"),
    ("body A /release/\ntflags A multiple\nscore A 1.5", "3.000"),
    ("body A /release/\nmeta B A\nmeta C B", "3.000"),
];

const SETS: &[(&str, &str)] = &[
    ("body FOO /foo/", "1 1 1 1"),
    ("body FOO /foo/\nscore FOO 2", "2 2 2 2"),
    ("body FOO /foo/\nscore FOO 1 2 3 4", "1 2 3 4"),
    ("body FOO /foo/\nscore FOO 1 2 3 4\nscore FOO (1)", "2 3 4 5"),
    ("body FOO /foo/\nscore FOO 1\nscore FOO (1.0) (2) (3) (4.0)", "2 3 4 5"),
    ("body FOO /foo/\nscore FOO 1\nscore FOO (-1.0) (-2.5) (-3.25) (-4)", "0 -1.5 -2.25 -3"),
    ("score FOO 3\nbody FOO /foo/", "3 3 3 3"),
];

const ORDERED: &str = "body A /a/\npriority A -23\nmeta M (A && B)\nmeta B (C && D)\nmeta C (1)\nbody D /d/\npriority M -28\n\
    body E /e/\nheader F From =~ /(?<CAP>x)/\nbody N /n/\ntflags N net\nmeta L E\npriority L 500\nbody S /s/\nshortcircuit S spam\n\
    loadplugin Mail::SpamAssassin::Plugin::Shortcircuit\nbody T /t/\nshortcircuit T spam";

const PRIORITIES: &[(&str, &str)] =
    &[("A", "-28"), ("D", "-28"), ("E", "0"), ("F", "-10000"), ("N", "-100"), ("T", "-200"), ("S", "0")];
