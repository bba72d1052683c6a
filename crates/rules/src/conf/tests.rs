//! What is read of configuration files: rules, settings, warnings.

use super::*;

fn read(text: &str) -> RuleSet {
    let mut reader = Reader::new(Options { language: "de_DE".into(), ..Options::default() });
    reader.read("etc/local.cf", text.as_bytes(), &mut |name| match name {
        "etc/more.cf" => Ok(b"body MORE /more/\nbroken\n".to_vec()),
        "etc/self.cf" => Ok(b"include self.cf\n".to_vec()),
        _ => Err("no such file".into()),
    });
    reader.finish()
}

#[test]
fn warnings_are_worded_as_by_lint() {
    for (text, expected) in [
        ("frobnicate 1", "config: failed to parse line in etc/local.cf (line 1): frobnicate 1"),
        (
            "\nrequired_score abc",
            "config: invalid 'required_score' value in etc/local.cf (line 2): required_score abc",
        ),
        ("describe A", "config: missing 'describe' value in etc/local.cf (line 1): describe A"),
        ("endif", "config: missing starting 'if' for 'endif' in etc/local.cf (line 1): endif"),
        ("if (version > 1)", "config: unclosed 'if' found in etc/local.cf (line 1)"),
        ("body A /(/", "config: invalid regexp for A '/(/': Unmatched ( in regex"),
        ("body A no", "config: invalid regexp for A 'no': missing regexp delimiters"),
        ("body A /a||b/", "config: invalid regexp for A '/a||b/': always matching regexp: contains '||'"),
        ("header A From:foo =~ /x/", "config: invalid header modifier for A: From:foo"),
        ("header A nothing", "config: invalid head test A: nothing"),
        ("body 1A /x/", "config: error: rule '1A' has invalid characters"),
        ("meta A B &&", "config: invalid expression for rule A: \"B &&\": syntax error"),
        ("meta A B -1", "config: invalid meta A token: -1"),
        ("full A eval:check_for_missing_to_header()", "wrong rule type defined for A, expected 'header'"),
        ("header A eval:f('x' y)", "syntax error for eval function A: f('x' y)"),
        ("score A (1)", "config: invalid 'score' value"),
        ("score A 1 2", "config: missing 'score' value"),
        ("include none.cf", "config: cannot include 'etc/none.cf': no such file"),
        ("include more.cf", "config: failed to parse line in etc/more.cf (line 2): broken"),
        ("include self.cf", "config: files include each other in etc/self.cf (line 1)"),
        ("trusted_networks 300.1.1.1", "netset: illegal IP address given: '300.1.1.1'"),
        (
            "internal_networks 10/8\ntrusted_networks 192.0.2.1",
            "trusted_networks doesn't contain internal_networks entry '10.0.0.0/8'",
        ),
        ("loadplugin My::Own /x.pm", "plugin: My::Own is not among those that are built in"),
        ("mimeheader A X =~ /x/", "config: failed to parse line"),
    ] {
        let found: Vec<String> = read(text).warnings.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{text}: {}", found[0]);
    }
}

#[test]
fn what_counts_of_files() {
    for (text, rules) in [
        ("body A /x/ # comment\nbody B /a\\#b/", "A,B"),
        ("if (version >= 4.0)\nbody A /x/\nelse\nbody B /x/\nendif", "A"),
        (
            "if (version < 4.0)\nif (version > 1)\nbody A /x/\nelse\nbody B /x/\nendif\nelse\nbody C /x/\nendif",
            "C",
        ),
        ("ifplugin Mail::SpamAssassin::Plugin::DKIM\nbody A /x/\nendif\nbody B /x/", "B"),
        (
            "loadplugin Mail::SpamAssassin::Plugin::DKIM\nifplugin Mail::SpamAssassin::Plugin::DKIM\nbody A /x/\nendif",
            "A",
        ),
        ("enable_compat x\nif can(Mail::SpamAssassin::Conf::compat_x)\nbody A /x/\nendif", "A"),
        ("lang de body A /x/\nlang fr body B /x/\nlang de_DE body C /x/", "A,C"),
        ("include more.cf", "MORE"),
        ("require_version 9.9\nbody A /x/", ""),
        ("require_version 4.000001\nbody A /x/", "A"),
        ("reuse A B\nbody C /x/", "A,C"),
        ("loadplugin Mail::SpamAssassin::Plugin::Reuse\nreuse A B-C\nbody C /x/\ntflags D net", "C,D"),
        (
            "loadplugin Mail::SpamAssassin::Plugin::Reuse\nbody A /x/\nbody B /x/\nreuse B C\nbody D /x/\ntflags D net\n\
             run_reuse_tests_only 1",
            "B,D",
        ),
        (
            "loadplugin Mail::SpamAssassin::Plugin::URILocalBL\nuri_block_cc A cn\nuri_block_cidr B 192.0.2.0/24\n\
             uri_block_cc C !fi se\nuri_block_isp D \"\"\nuri_block_cc A !fi\nuri_block_cc E",
            "A,B",
        ),
    ] {
        let set = read(text);
        assert_eq!(set.rules.keys().map(|name| &**name).collect::<Vec<_>>().join(","), rules, "{text}");
    }
}

#[test]
fn tags_in_expressions() {
    let set = read(
        "loadplugin Mail::SpamAssassin::Plugin::ReplaceTags\nreplace_tag A [a\\xe4]\nreplace_tag B <A>b\nreplace_pre P \\W\n\
         replace_inter I _\nreplace_post Q +\nbody X /<A>c<B>/i\nbody Y /<inter I><A><A>/\nbody Z /<post Q>x<A>/\nbody N /<A>/\n\
         replace_rules X Y Z",
    );
    for (name, expected) in
        [("X", r"[a\xe4]c[a\xe4]b"), ("Y", r"_[a\xe4]_[a\xe4]"), ("Z", r"x[a\xe4]+"), ("N", "<A>")]
    {
        let Definition::Body(expression) = &set.rules[name].definition else { panic!("{name}") };
        assert_eq!(characters(&expression.inside), expected, "{name}");
    }
}

#[test]
fn what_is_said_of_rules() {
    let set = read(
        "body A /x/\ndescribe A In words\nlang de describe A In Worten\ntflags A nice multiple maxhits=3\npriority A -5\n\
         body NET /x/\ntflags NET net\nmeta M NET || A\nheader E eval:f('a, b', \"c'd\", 12.5, 192.0.2.1)\ntest A ok some text",
    );
    let rule = &set.rules["A"];
    assert_eq!(rule.description.as_deref(), Some("In Worten"));
    assert_eq!((rule.priority, rule.flag_value("maxhits"), rule.scores), (-5, Some("3"), [-1.0; 4]));
    assert_eq!(rule.tests, [(true, "some text".to_string())]);
    assert_eq!((set.rules["NET"].priority, set.rules["M"].has_flag("net")), (-100, true));
    let Definition::Eval { args, .. } = &set.rules["E"].definition else { panic!() };
    assert_eq!(args.iter().map(Arg::text).collect::<Vec<_>>(), ["a, b", "c'd", "12.5", "192.0.2.1"]);
}

#[test]
fn lines_of_plugins_that_do_nothing_here_are_known() {
    let set = read(
        "loadplugin Mail::SpamAssassin::Plugin::PhishTag\ntrigger_ratio 0.1\ntrigger_config /etc/phish.conf\n\
         trigger_target A http://www.example.org/\nbody A /x/\n\
         loadplugin Mail::SpamAssassin::Plugin::Reuse\nreuse A OLD_A\nrun_reuse_tests_only 0\n\
         loadplugin Mail::SpamAssassin::Plugin::URILocalBL\nuri_block_cc CC a2 cn\nuri_block_cc CC ru\nuri_block_cont EU eu\n\
         uri_block_isp ISP \"Some ISP\"\nuri_block_cidr NET 192.0.2.0/24\nuri_block_exclude NET www.example.com\nscore NET 2",
    );
    assert_eq!(set.warnings, []);
    assert_eq!((set.rules["NET"].priority, set.rules["NET"].scores), (-100, [2.0; 4]));
}

#[test]
fn lists_and_headers() {
    let set = read(
        "whitelist_from *@Example.org a@b.c\nunwelcomelist_from a@b.c\nwelcomelist_from_rcvd x@y.z mx.y.z\n\
         enlist_uri_host (L) !a.example example\nenlist_addrlist (M) q@r.s\nblacklist_uri_host bad.example\n\
         clear_headers\nadd_header all Foo \"a\\tb\"\nadd_header spam Bar x\nremove_header spam foo\n\
         rewrite_header from (X) y\nreport one\nreport \" two\"\nrequired_hits 6.31\nfreemail_domains a.b\n\
         loadplugin Mail::SpamAssassin::Plugin::FreeMail\nfreemail_domains A.b c.d",
    );
    let settings = &set.settings;
    assert_eq!(settings.addresses("welcomelist_from").unwrap().keys().collect::<Vec<_>>(), ["*@example.org"]);
    assert_eq!(settings.addresses("welcomelist_from_rcvd").unwrap()["x@y.z"], ["mx.y.z"]);
    assert!(settings.addresses("M").is_some());
    assert_eq!(
        (settings.hosts("L").unwrap()["a.example"], settings.hosts("BLOCK").unwrap()["bad.example"]),
        (false, true)
    );
    let names = |which| settings.headers(which).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
    assert_eq!(names(Which::Spam), ["Checker-Version", "Bar"]);
    assert_eq!(settings.headers(Which::Ham)[1], ("Foo".to_string(), "a\tb".to_string()));
    assert_eq!(settings.pairs("rewrite_header").unwrap()["From"], "[X] y");
    assert_eq!(settings.get("report"), Some("one\n two\n"));
    assert_eq!((settings.number("required_score"), settings.number("report_safe")), (Some(6.31), Some(1.0)));
    assert_eq!(settings.words("freemail_domains").unwrap().len(), 2);
    assert_eq!(set.warnings.len(), 1, "without its plugin a setting is not known");
}
