//! Tests of what is imported.

use super::*;
use crate::config::Config;

fn imported(import: fn(&[(PathBuf, String)]) -> Imported, text: &str) -> Imported {
    import(&[(PathBuf::from("conf"), text.to_owned())])
}

/// What was made of a file is a configuration that loads.
#[track_caller]
fn config(imported: &Imported) -> Config {
    let config: Config =
        toml::from_str(&imported.toml).unwrap_or_else(|why| panic!("{why}\n{}", imported.toml));
    crate::checks::attachments::AttachmentRules::build(&config.checks.attachments)
        .unwrap_or_else(|problems| panic!("{problems:?}\n{}", imported.toml));
    let symbols = crate::checks::attachments::symbols(&config);
    let symbols = symbols.iter().map(|symbol| (symbol.name.as_ref(), symbol.counts));
    crate::verdict::Policies::build(&config, symbols)
        .unwrap_or_else(|problems| panic!("{problems:?}\n{}", imported.toml));
    config
}

/// Made for this test, in the form of amavis's.
const AMAVIS: &str = r##"
use strict;
# $banned_filename_re = new_RE( qr'nothing' );
=head1 Words

$banned_filename_re = new_RE( qr'nothing' );

=cut
$mydomain = 'example.org';
my($x) = 1;
if ($x) { $x = { a => 1 } }
$banned_filename_re = new_RE(
  # qr'^UNDECIPHERABLE$',
  qr'\.[^./]*\.(exe|scr)\.?$'i,
  [ qr'^\.(zip|rar)$' => 0 ],  # let in
  qr'.\.( com | pif |   # old
         bat )$'xi,
  qr/(?# no programs )^\.exe(?!-unix)/,
  [ qr{^application/hta\z}i => 'DISCARD' ],
  qr/^$mydomain/,
  [ qr'^x' => undef ],
  "^\\.lha\$",
);
%banned_rules = (
  'NOEXE' => new_RE( qr'^\.exe-ms$' ),
  "PASSALL" => new_RE( [ qr'^' => 0 ] ),
  DEFAULT => $banned_filename_re,
);
@banned_filename_maps = (
  { "lab\@$mydomain" => 'PASSALL', '.lax.example.net' => 'NOEXE,DEFAULT', '.' => 'DEFAULT' },
);
$banned_namepath_re = new_RE(
  [ qr'(?# paths) ^ (.*\t)? T=(arj) (\t.*)? $'xmi => 1 ],
);
@bypass_banned_checks_maps = ( [ "!not\@free.example.com", '.free.example.com' ] );
%banned_files_lovers = ( 'lover@example.org' => 1, 'user@' => 1 );
$final_banned_destiny = D_DISCARD;
$banned_files_quarantine_method = undef;
$policy_bank{'ORIGINATING'} = { banned_filename_maps => ['NOEXE'] };
push(@banned_filename_maps, 'X');
$warnbannedsender = 1;
1;
"##;

#[test]
fn a_configuration_of_amavis() {
    let imported = imported(amavis::import, AMAVIS);
    let config = config(&imported);
    let policies: Vec<_> = (config.policy.iter())
        .map(|policy| {
            let action = policy.actions.get(&gatepost_mail::Category::Banned).map(|action| action.name());
            (policy.when.recipients.join(" "), policy.attachments.clone().unwrap().join(" "), action)
        })
        .collect();
    let policy = |to: &str, sets: &str, action| (to.to_owned(), sets.to_owned(), action);
    assert_eq!(
        policies,
        [
            policy("lab@example.org", "passall-default", None),
            policy("lover@example.org", "amavis", Some("deliver")),
            policy("not@free.example.com", "amavis", None),
            policy("free.example.com .free.example.com", "", None),
            policy("lax.example.net .lax.example.net", "noexe-default", None),
        ],
        "{}",
        imported.toml
    );
    assert_eq!(config.default_policy.attachments, Some(vec!["amavis".to_owned()]));
    assert_eq!(config.default_policy.actions[&gatepost_mail::Category::Banned].name(), "discard");
    let rules = &config.checks.attachments.set["amavis"].rule;
    let written: Vec<_> = rules
        .iter()
        .map(|rule| {
            (rule.amavis.as_deref().or(rule.amavis_path.as_deref()).unwrap(), rule.allow, rule.name.as_str())
        })
        .collect();
    assert_eq!(written[0], (r"(?i)\.[^./]*\.(exe|scr)\.?$", false, ""));
    assert_eq!(written[1], (r"^\.(zip|rar)$", true, ""));
    assert!(written[2].0.starts_with(r"(?xi).\.( com | pif |   # old"), "{written:?}");
    assert_eq!(written[3], (r"(?# no programs )^\.exe(?!-unix)", false, "no programs"));
    assert_eq!(written[4], (r"(?i)^application/hta\z", false, ""));
    assert_eq!(written[5], (r"^\.lha$", false, ""));
    assert_eq!(written[6].2, "paths");
    assert!(rules[6].amavis_path.is_some() && rules.len() == 7, "{written:?}");
    assert_eq!(config.checks.attachments.set["noexe-default"].rule.len(), 8);
}

#[test]
fn what_amavis_says_by_code_is_named_by_line() {
    let imported = imported(amavis::import, AMAVIS);
    let line = |part: &str| AMAVIS.lines().position(|line| line.contains(part)).unwrap() + 1;
    for (part, told) in [
        ("/^$mydomain/", "value of $mydomain"),
        ("=> undef ],", "undef"),
        ("'user@'", "neither an address nor a domain"),
        ("$policy_bank", "policy bank"),
        ("push(", "is code"),
        ("$warnbannedsender", "nobody is written to"),
    ] {
        let want = format!("conf:{}: ", line(part));
        let found = imported.notes.0.iter().any(|note| note.starts_with(&want) && note.contains(told));
        assert!(found, "{part}: {:?}", imported.notes);
    }
    assert_eq!(imported.notes.0.len(), 6, "{:?}", imported.notes);
}

/// What is assigned; the lines of `[default_policy]`; what follows them; what is told.
#[test]
fn what_amavis_says_about_spam() {
    let debian = "$sa_spam_subject_tag = '***SPAM*** ';\n$sa_tag_level_deflt  = 2.0;\n$sa_tag2_level_deflt = 6.31;\n\
        $sa_kill_level_deflt = 6.31;\n$sa_dsn_cutoff_level = 10;\n$sa_mail_body_size_limit = 200*1024;\n\
        $sa_local_tests_only = 0;\n$final_spam_destiny = D_PASS;\n";
    for (text, policy, rest, told) in [
        (
            debian,
            "headers_from=2|spammy_at=6.31|spam_at=6.31|actions.spam=\"mark\"|subject_tags.spammy=\"***SPAM*** \"|\
             subject_tags.spam=\"***SPAM*** \"",
            "[checks.rules] max_size=204800|# $sa_dsn_cutoff_level: spam is never bounced.",
            "",
        ),
        (
            "$sa_tag_level_deflt = undef; $sa_kill_level_deflt = undef;",
            "headers_from=-999|spam_at=9999",
            "",
            "",
        ),
        ("$sa_tag2_level_deflt = 8; $sa_kill_level_deflt = 5;", "spam_at=5|spammy_at=5", "", ""),
        ("$sa_kill_level_deflt = 5;", "spam_at=5|spammy_at=5", "", ""),
        ("$sa_tag2_level_deflt = 12.5;", "spammy_at=12.5|spam_at=12.5", "", ""),
        (
            "$sa_tag_level_deflt = -2.5; $sa_local_tests_only = 1;",
            "headers_from=-2.5",
            "[checks.rules] network=false",
            "",
        ),
        (
            "$sa_spam_subject_tag = '[S] '; $sa_spam_modifies_subj = 0; $final_spam_destiny = D_PASS;",
            "actions.spam=\"deliver\"",
            "",
            "",
        ),
        ("$final_spam_destiny = D_DISCARD;", "actions.spam=\"quarantine\"", "", ""),
        (
            "$final_spam_destiny = D_DISCARD; $spam_quarantine_method = undef;",
            "actions.spam=\"discard\"",
            "",
            "",
        ),
        ("$final_spam_destiny = D_BOUNCE;", "actions.spam=\"quarantine\"", "", ""),
        ("$final_spam_destiny = D_REJECT;", "actions.spam=\"refuse\"", "", ""),
        (
            "$sa_siteconfigpath = '/etc/sa'; $sa_spam_report_header = 1;",
            "",
            "[checks.rules] paths=[\"/usr/share/spamassassin\", \"/etc/sa\"] |[headers] report=\"X-Spam-Report\"",
            "",
        ),
        ("$sa_quarantine_cutoff_level = 25;", "", "# $sa_quarantine_cutoff_level: what is held", ""),
        ("$sa_spam_subject_tag = 'SPAM (_SCORE_) ';", "", "", "only a plain text"),
        ("$sa_kill_level_deflt = $x + 1;", "", "", "is code"),
        ("$sa_kill_level_deflt = 'high';", "", "", "no plain number"),
        ("$sa_mail_body_size_limit = undef;", "", "", "no plain number"),
        ("$sa_timeout = 30;", "", "", "no counterpart"),
        ("@spam_kill_level_maps = ( 8 );", "", "", "when.recipients"),
        ("$policy_bank{'X'} = { spam_kill_level_maps => 8 };", "", "", "policy bank"),
    ] {
        let imported = imported(amavis::import, text);
        let config = config(&imported);
        let said = imported.toml.replace(" = ", "=").replace("]\n", "] ");
        let said: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
        let said = said.join("|");
        let (said, tables) = said.strip_prefix("[default_policy] ").map_or(("", said.as_str()), |said| {
            let end = said.find("|[").or(said.find("|#")).unwrap_or(said.len());
            (&said[..end], said[end..].trim_start_matches('|'))
        });
        assert_eq!(said, policy, "{text}\n{}", imported.toml);
        assert!(tables.starts_with(rest) && rest.is_empty() == tables.is_empty(), "{text}: {tables}");
        let notes = imported.notes.0.join("; ");
        assert!(notes.contains(told) && told.is_empty() == notes.is_empty(), "{text}: {notes}");
        assert!(config.checks.rules.enabled);
    }
    // Beside what is said about attachments it is one policy.
    let both = imported(amavis::import, &format!("{AMAVIS}\n$sa_kill_level_deflt = 8;"));
    let config = config(&both);
    assert_eq!(config.default_policy.spam_at, Some("8".parse().unwrap()));
    assert_eq!(config.default_policy.attachments, Some(vec!["amavis".to_owned()]));
}

/// What makes no sense is told of and harms nothing.
#[test]
fn broken_files() {
    for text in [
        "",
        "$banned_filename_re = new_RE(",
        "$banned_filename_re = new_RE( qr'(' );",
        "$banned_filename_re = new_RE( qr'a'z, qr, \\\\\\\\\\$x );",
        "$banned_filename_re = 'x",
        "$banned_filename_re = $banned_filename_re;",
        "@banned_filename_maps = (\\@banned_filename_maps);",
        "%banned_rules = ( 'A' );",
        "}}}} )))) ;;;; '",
        "@banned_filename_maps = ({'a@b.c' => });",
        "= cut\n=cut",
        "$banned_filename_re = new_RE( qr{ );",
    ] {
        config(&imported(amavis::import, text));
        // A table of that name is not there.
        imported(mailscanner::import, text);
    }
    let deep = format!("@banned_filename_maps = ({}", "[".repeat(100_000));
    config(&imported(amavis::import, &deep));
}

#[test]
fn a_configuration_of_mailscanner() {
    let folder = tempfile::tempdir().unwrap();
    let etc = folder.path().display().to_string();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("names.conf", "deny\t\\.exe$\tProgram\tNo programs\n");
    write("all.conf", "allow\t.*\t-\t-\n");
    write("filetype.rules.conf", "deny\texecutable\tProgram\t-\npost@example.org\tELF\tx\ty\n");
    write(
        "names.rules",
        "# who\nFrom:\t127.0.0.1\tETC/all.conf\nTo: *@*.lax.example  ETC/all.conf\nFrom: 192.168. and To: a@b.example ETC/all.conf\n\
         To: /regexp/ ETC/all.conf\nFromOrTo:\tdefault\tETC/names.conf\n"
            .replace("ETC", &etc)
            .as_str(),
    );
    write("scan.rules", "FromOrTo: *@free.example no\nFromOrTo: default yes\n");
    let conf = format!(
        "%etc-dir% = {etc}\n# a comment\nFilename Rules = %etc-dir%/names.rules\n\
         Filetype Rules = %etc-dir%/filetype.rules.conf\nArchives: Filename Rules = %etc-dir%/names.conf\n\
         Dangerous Content Scanning = %etc-dir%/scan.rules\n\n\
         Deny Filenames = \\.com$\nAllow Filenames =\ninclude %etc-dir%/conf.d/*\n"
    )
    .replace("include %etc-dir%", &format!("include {etc}"));
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    write("conf.d/own", "Default Rename Pattern = __FILENAME__.off\ninclude /dev/zero\n");
    let imported = mailscanner::import(&[(folder.path().join("MailScanner.conf"), conf)]);
    // A line that nobody can carry out: the daemon would not take the file.
    let told = |part: &str| imported.notes.0.iter().any(|note| note.contains(part));
    assert!(
        told("filetype.rules.conf:2: “post@example.org” sends the message to others"),
        "{:?}",
        imported.notes
    );
    assert!(told("names.rules:5: “/regexp/” cannot be a condition"), "{:?}", imported.notes);
    assert!(told("MailScanner.conf:8: “\\.com$”"), "{:?}", imported.notes);
    assert_eq!(imported.notes.0.len(), 3, "{:?}", imported.notes);

    write("filetype.rules.conf", "deny\texecutable\tProgram\t-\n");
    let config = config(&imported);
    let policies: Vec<_> = (config.policy.iter())
        .map(|policy| {
            let when = &policy.when;
            let networks: Vec<String> = when.networks.iter().map(ToString::to_string).collect();
            let whom = [networks, when.senders.clone(), when.recipients.clone()].concat().join(" ");
            (whom, policy.attachments.clone().unwrap().join(" "))
        })
        .collect();
    let policy = |whom: &str, sets: &str| (whom.to_owned(), sets.to_owned());
    assert_eq!(
        policies,
        [
            policy("127.0.0.1/32", "mailscanner"),
            policy(".lax.example", "mailscanner"),
            policy("192.168.0.0/16 a@b.example", "mailscanner"),
            policy("free.example", ""),
            policy("free.example", ""),
        ]
    );
    assert_eq!(config.default_policy.attachments, Some(vec!["mailscanner-2".to_owned()]));
    let set = &config.checks.attachments.set["mailscanner-2"];
    assert_eq!(set.mailscanner_filenames, [folder.path().join("names.conf")]);
    assert_eq!(set.mailscanner_rename, "__FILENAME__.off");
}

/// Tables by themselves make one set.
#[test]
fn tables_of_mailscanner_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["filename.rules.conf", "filetype.rules.conf", "archives.filename.rules.conf"].map(|name| {
        let text = "# x\ndeny\t\\.exe$\tProgram\tNo programs\n";
        std::fs::write(folder.path().join(name), text).unwrap();
        (folder.path().join(name), text.to_owned())
    });
    let imported = mailscanner::import(&files);
    assert!(imported.notes.0.is_empty(), "{:?}", imported.notes);
    let config = config(&imported);
    let set = &config.checks.attachments.set["mailscanner"];
    assert_eq!(set.mailscanner_filenames, [files[0].0.clone()]);
    assert_eq!(set.mailscanner_filetypes, [files[1].0.clone()]);
    assert_eq!(set.mailscanner_archive_filenames, [files[2].0.clone()]);
}
