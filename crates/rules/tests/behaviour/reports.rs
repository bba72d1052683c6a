//! What is written: tags of templates, fields, reports, subjects.

use super::{Case, case};

const RULES: &str = "header A_RULE Subject =~ /Hi/\nscore A_RULE 2.5\ndescribe A_RULE The first letter\nbody B_RULE /beta/\nscore B_RULE 4.75\n\
    body __SUB /alpha/\nbody __TWICE /a/\ntflags __TWICE multiple maxhits=2\nheader NOT_NICE From =~ /nobody/\n\
    meta GOOD A_RULE && B_RULE\nscore GOOD -0.125\ndescribe GOOD A description that is so long that it has to be broken into more than only one line\n";
const MAIL: &str = "From: a@example.org\nSubject: Hi\n\nalpha beta\n";

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    cases.extend(
        TEMPLATES.iter().map(|(template, want)| case(RULES, MAIL, &format!("fill {template}"), want)),
    );
    cases.extend(FIELDS.iter().map(|(conf, want)| {
        // The first field tells the version and the host.
        let conf = format!("{RULES}clear_headers\n{conf}");
        case(&conf, MAIL, "fields", want)
    }));
    cases.extend(
        REPORTS
            .iter()
            .map(|(conf, want)| case(&format!("{RULES}clear_report_template\n{conf}"), MAIL, "report", want)),
    );
    cases
}

const TEMPLATES: &[(&str, &str)] = &[
    ("_YESNO_, score=_SCORE_ required=_REQD_", "Yes, score=7.1 required=5.0"),
    ("_YESNO(spam,ham)_ _YESNOCAPS_", "spam YES"),
    ("_YESNO( possible,)_ _YESNO(, NOT)_", " possible "),
    ("_SCORE(0)_ _SCORE(00)_ _SCORE( )_ _HITS_", "07.1 007.1  7.1 7.1"),
    ("_TESTS_", "A_RULE,B_RULE,GOOD"),
    ("_TESTS( )_ _TESTS(; )_", "A_RULE B_RULE GOOD A_RULE; B_RULE; GOOD"),
    ("_TESTSSCORES_", "A_RULE=2.5,B_RULE=4.75,GOOD=-0.125"),
    ("_SUBTESTS_", "__SUB,__TWICE,__TWICE"),
    ("_SUBTESTSCOLLAPSED_", "__SUB,__TWICE(2)"),
    ("_STARS_ _STARS(+)_ _STARS(*)_", "******* +++++++ *******"),
    ("_HEADER(From)_|_HEADER(To)_|", "a@example.org\n||"),
    ("_NO_SUCH_TAG_ _no_ __ _", "_NO_SUCH_TAG_ _no_ __ _"),
    ("_SUBJPREFIX_", ""),
    ("_VERSION_", "4.0.1"),
    (
        "_SUMMARY_",
        " 2.5 A_RULE                 The first letter\n 4.8 B_RULE                 BODY: No description available.\n-0.1 GOOD                   A description that is so long that it has to be broken into more\n                             than only one line\n",
    ),
];

const FIELDS: &[(&str, &str)] = &[
    ("", ""),
    ("add_header all Level _STARS(*)_", "X-Spam-Level: *******\n"),
    ("add_header spam Flag _YESNOCAPS_\nadd_header ham Other x", "X-Spam-Flag: YES\n"),
    ("add_header all A a\nadd_header all B b\nremove_header all A", "X-Spam-B: b\n"),
    ("add_header all A a\nadd_header all A c", "X-Spam-A: c\n"),
    ("add_header all Quoted \" two  words \"", "X-Spam-Quoted:  two  words \n"),
    ("add_header all Tabbed \"one\\ttwo\"", "X-Spam-Tabbed: one\ttwo\n"),
    ("add_header all Lines one\\ntwo", "X-Spam-Lines: one\n\ttwo\n"),
    ("fold_headers 0\nadd_header all Lines one\\ntwo", "X-Spam-Lines: one two\n"),
    (
        "add_header all Status \"_YESNO_, score=_SCORE_ required=_REQD_ tests=_TESTS_ learnt=_NOTHING_ version=_VERSION_\"",
        "X-Spam-Status: Yes, score=7.1 required=5.0 tests=A_RULE,B_RULE,GOOD\n\tlearnt=_NOTHING_ version=4.0.1\n",
    ),
    (
        "add_header all Report _REPORT_",
        "X-Spam-Report: \n\t*  2.5 A_RULE The first letter\n\t*  4.8 B_RULE BODY: No description available.\n\t* -0.1 GOOD A description \
         that is so long that it has to be broken into\n\t*      more than only one line\n",
    ),
];

const REPORTS: &[(&str, &str)] = &[
    ("report one\nreport two", "one\ntwo\n\n"),
    (
        "report \" indented\"\nreport\nreport _SCORE_ points, _REQD_ required",
        " indented\n\n7.1 points, 5.0 required\n\n",
    ),
    (
        "report It is_YESNO(, NOT)_ spam\nreport_contact us@example.org\nreport _CONTACTADDRESS_",
        "It is spam\nus@example.org\n\n",
    ),
    ("report x\nclear_report_template\nreport y", "y\n\n"),
    ("subjprefix A_RULE [A]\nsubjprefix B_RULE [B]\nreport (_SUBJPREFIX_)", "()\n\n"),
    (
        "rewrite_header Subject x\nsubjprefix A_RULE [A]\nsubjprefix NOT_NICE [N]\nsubjprefix B_RULE [A]\nreport (_SUBJPREFIX_)",
        "([A] )\n\n",
    ),
];
