//! What is done with parts and texts, as tables.

use gatepost_mail::{Action, Defang, Edit, Finding, PartId, Place, Verdict};

use crate::verdict::testing::{ATTACHED, PLAIN, one};

/// Findings from names in capitals: `VIRUS@2` stands in part 2.
fn findings(names: &str) -> Vec<Finding> {
    let finding = |name: &str| match name.split_once('@') {
        Some((symbol, part)) => {
            Finding::part(symbol.to_owned(), PartId(part.parse().unwrap()), symbol.to_lowercase())
        }
        None => Finding::mail(name.to_owned(), name.to_lowercase()),
    };
    names.split_whitespace().map(finding).collect()
}

/// What a verdict does to the content, an edit each.
fn shown(verdict: &Verdict) -> String {
    let line = |edit: &Edit| match edit {
        Edit::ReplacePart { part, text } => Some(format!("replace {}: {text}", part.0)),
        Edit::RenamePart { part, name } => Some(format!("rename {}: {name}", part.0)),
        Edit::CleanPart { part, text } => Some(format!("clean {}: {text}", part.0)),
        Edit::DefangPart { part, what } => Some(format!("defang {}: {what:?}", part.0)),
        Edit::AddText { text, html, place } => {
            let place = if *place == Place::Top { "top" } else { "bottom" };
            Some(format!("{place}: {text}{html}").replace('\n', "|"))
        }
        Edit::Wrap { text } => Some(format!("wrap: {text}")),
        edit => {
            assert!(!edit.changes_body());
            None
        }
    };
    verdict.edits.iter().filter_map(line).collect::<Vec<_>>().join("; ")
}

/// Two pages, a document in an archive, a page that is attached.
fn pages() -> String {
    let part = |kind: &str, body: &str| format!("--x\r\nContent-Type: {kind}\r\n\r\n{body}\r\n");
    [
        "From: a@a.test\r\nSubject: Hello\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n",
        &part("text/plain", "Text."),
        &part("text/html", "<p>One"),
        &part("text/html\r\nContent-Disposition: attachment; filename=a.html", "<form>"),
        "--x--\r\n",
    ]
    .concat()
}

#[test]
fn what_is_done_with_a_part() {
    let head = "[default_policy]\nstrip_text = '{name}: {reason}'\n";
    let strip = "actions = {virus = 'strip', banned = 'strip', unchecked = 'mark'}\n";
    for (config, names, action, edits, done) in [
        // By category, where it is stripped.
        ("", "VIRUS@2", Action::Strip, "replace 2: a.exe: virus", "replaced"),
        ("parts.banned = 'rename'", "VIRUS@2", Action::Strip, "replace 2: a.exe: virus", "replaced"),
        (
            "parts.banned = 'rename'",
            "BANNED@2",
            Action::Strip,
            "rename 2: a.exe.disarmed",
            "renamed to a.exe.disarmed",
        ),
        ("parts.banned = 'clean'", "BANNED@2", Action::Strip, "clean 2: a.exe: banned", "cleaned"),
        // Of several, replacing goes before the others, and those go together.
        (
            "parts.banned = 'rename'",
            "BANNED@2 VIRUS@2",
            Action::Strip,
            "replace 2: a.exe: banned, virus",
            "replaced",
        ),
        (
            "parts = {banned = 'rename', NOTHING = 'clean'}",
            "BANNED@2 NOTHING@2",
            Action::Strip,
            "clean 2: a.exe: banned, nothing; rename 2: a.exe.disarmed",
            "cleaned, renamed to a.exe.disarmed",
        ),
        // A symbol goes before its category.
        (
            "parts = {virus = 'rename', VIRUS = 'clean'}",
            "VIRUS@2",
            Action::Strip,
            "clean 2: a.exe: virus",
            "cleaned",
        ),
        // A symbol without category: whenever it is delivered, whatever it counts.
        ("parts.NOTHING = 'clean'", "NOTHING@2", Action::Deliver, "clean 2: a.exe: nothing", "cleaned"),
        ("parts.ONE = 'clean'", "ONE@2 UNCHECKED", Action::Mark, "clean 2: a.exe: one", "cleaned"),
        ("parts.NOTHING = 'clean'", "NOTHING@2 SPAM", Action::Refuse, "", ""),
        ("parts.NOTHING = 'clean'", "NOTHING", Action::Deliver, "", ""),
        ("parts.NOTHING = 'clean'", "ONE@2", Action::Deliver, "", ""),
        // What lies in something that is replaced needs nothing of its own.
        (
            "parts.NOTHING = 'clean'",
            "VIRUS@0 NOTHING@2",
            Action::Strip,
            "replace 0: without a name: virus",
            "replaced",
        ),
        // No place of its own: a multipart cannot be cleaned.
        (
            "parts.banned = 'clean'",
            "BANNED@0",
            Action::Strip,
            "replace 0: without a name: banned",
            "replaced (it has no place of its own)",
        ),
        // In no part that there is.
        ("parts.NOTHING = 'clean'", "NOTHING@99", Action::Quarantine, "", ""),
        // Names.
        (
            "parts.banned = 'rename'\nrename_to = '{id}-{name}_'",
            "BANNED@2",
            Action::Strip,
            "rename 2: l1bnIZN88okd-a.exe_",
            "renamed to l1bnIZN88okd-a.exe_",
        ),
        (
            "parts.banned = 'rename'",
            "BANNED@1",
            Action::Strip,
            "rename 1: attachment.disarmed",
            "renamed to attachment.disarmed",
        ),
    ] {
        let verdict = one(&format!("{head}{strip}{config}"), ATTACHED, &findings(names), &[]);
        assert_eq!((verdict.action, shown(&verdict).as_str()), (action, edits), "{config} {names}");
        let treated: Vec<String> = verdict.treated.iter().map(ToString::to_string).collect();
        assert_eq!(treated.join(", "), done, "{config} {names}");
        assert_eq!(verdict.takes_out(), !done.is_empty(), "{config} {names}");
    }
}

#[test]
fn pages_are_defanged_by_category() {
    let config = "default_policy.defang = {clean = ['scripts'], spammy = ['forms', 'scripts'], unchecked = ['links'], \
        virus = []}\ndefault_policy.actions.virus = 'strip'\n";
    for (names, edits) in [
        ("", "defang 2: [Scripts]; defang 3: [Scripts]"),
        ("SPAMMY", "defang 2: [Scripts, Forms]; defang 3: [Scripts, Forms]"),
        ("SPAMMY UNCHECKED", "defang 2: [Scripts, Forms, Links]; defang 3: [Scripts, Forms, Links]"),
        ("BAD_HEADER", ""),
        ("SPAM", ""),
        ("SPAMMY VIRUS@3", "replace 3: gone; defang 2: [Scripts, Forms]"),
    ] {
        let config = format!("{config}default_policy.strip_text = 'gone'");
        let verdict = one(&config, &pages(), &findings(names), &[]);
        assert_eq!(shown(&verdict), edits, "{names}");
        assert_eq!(verdict.takes_out(), names.contains("VIRUS"), "{names}");
    }
    let nearer = format!("{config}[[policy]]\nname = 'near'\ndefang.clean = []\n");
    assert_eq!(shown(&one(&nearer, &pages(), &[], &[])), "");
    let verdict = one(config, PLAIN, &[], &[]);
    assert!(verdict.treated.is_empty());
    let what = vec![Defang::Scripts];
    assert!(one(config, &pages(), &[], &[]).edits.contains(&Edit::DefangPart { part: PartId(2), what }));
}

#[test]
fn texts_are_added_by_category() {
    let config = "[default_policy]
        actions = {unchecked = 'deliver', spam = 'wrap', banned = 'strip'}
        warnings = {unchecked = '{category} {reason} {id}', spammy = 'Careful: {score}', spam = 'Spam.'}
        disclaimer.text = 'Ours.'
        strip_text = 'gone'
        wrap_text = 'Inside: {category}'
        ";
    let signed = "From: a@a.test\r\nContent-Type: multipart/signed; boundary=x; protocol=\"application/pkcs7-signature\"\r\n\
        \r\n--x\r\n\r\nText.\r\n--x\r\nContent-Type: application/pkcs7-signature\r\n\r\nMIAG\r\n--x--\r\n";
    for (raw, names, action, edits) in [
        (PLAIN, "", Action::Deliver, "bottom: Ours.|"),
        (
            PLAIN,
            "UNCHECKED",
            Action::Deliver,
            "top: unchecked UNCHECKED: unchecked l1bnIZN88okd|; bottom: Ours.|",
        ),
        (
            PLAIN,
            "UNCHECKED FIVE ONE HALF",
            Action::Mark,
            "top: unchecked UNCHECKED: unchecked l1bnIZN88okd||Careful: 6.5|; bottom: Ours.|",
        ),
        (PLAIN, "SPAM", Action::Wrap, "wrap: Inside: spam; top: Spam.|; bottom: Ours.|"),
        (
            ATTACHED,
            "SPAM BANNED@2",
            Action::Strip,
            "replace 2: gone; wrap: Inside: spam; top: Spam.|; bottom: Ours.|",
        ),
        (PLAIN, "VIRUS", Action::Refuse, ""),
        // Never to what is signed; what wraps it is ours.
        (signed, "UNCHECKED", Action::Deliver, ""),
        (signed, "SPAM", Action::Wrap, "wrap: Inside: spam; top: Spam.|; bottom: Ours.|"),
        // Not twice.
        ("Subject: Re: x\r\n\r\nYes.\r\n> Ours.\r\n", "", Action::Deliver, ""),
    ] {
        let verdict = one(config, raw, &findings(names), &[]);
        assert_eq!((verdict.action, shown(&verdict).as_str()), (action, edits), "{names}");
        assert!(verdict.needs_body() == matches!(action, Action::Wrap | Action::Strip), "{names}");
    }
}

#[test]
fn texts_speak_the_language_of_the_nearest_policy() {
    let strip =
        "actions = {virus = 'strip', spammy = 'wrap', unchecked = 'mark'}\nwarnings.unchecked = 'built-in'\n";
    for (below, above, text) in [
        ("", "", "The attachment a.exe was removed"),
        ("language = 'fr'", "", "La pièce jointe a.exe a été retirée"),
        ("language = 'fr'", "language = 'de'", "Der Anhang a.exe wurde von mx.test"),
        ("strip_text = 'Own.'\nlanguage = 'fr'", "", "Own."),
        ("strip_text = 'Own.'", "language = 'de'", "Der Anhang a.exe"),
        ("language = 'de'", "strip_text = 'Own.'", "Own."),
    ] {
        let config = format!("[default_policy]\n{strip}{below}\n[[policy]]\nname = 'near'\n{above}\n");
        let edits = shown(&one(&config, ATTACHED, &findings("VIRUS@2"), &[]));
        assert!(edits.starts_with(&format!("replace 2: {text}")), "{edits}");
    }
    for (language, wrapped, warned) in [
        ("en", "wrap: mx.test takes the message", "top: Warning by mx.test"),
        ("fr", "wrap: mx.test considère", "top: Avertissement de mx.test"),
        ("de", "wrap: mx.test hält", "top: Warnung von mx.test"),
    ] {
        let config = format!("[default_policy]\n{strip}language = '{language}'");
        let edits = shown(&one(&config, ATTACHED, &findings("SPAMMY UNCHECKED"), &[]));
        assert!(edits.contains(wrapped) && edits.contains(warned), "{edits}");
    }
}

#[test]
fn a_nearer_policy_can_take_texts_back() {
    let below = "[default_policy]\nwarnings.clean = 'Outside.'\ndisclaimer.text = 'Ours.'\n[[policy]]\nname = 'near'\n";
    for (above, edits) in [
        ("", "top: Outside.|; bottom: Ours.|"),
        ("warnings.clean = ''", "bottom: Ours.|"),
        ("disclaimer.text = ''", "top: Outside.|"),
        ("disclaimer.html = '<i>Other.</i>'", "top: Outside.|; bottom: <i>Other.</i>|"),
    ] {
        assert_eq!(shown(&one(&format!("{below}{above}"), PLAIN, &[], &[])), edits, "{above}");
    }
}

#[test]
fn a_rule_that_renames_says_how() {
    for (config, expected) in [
        ("", "rename 2: b.txt"),
        ("parts.ATTACHMENT_TO_RENAME = 'replace'\nstrip_text = '{name}'", "replace 2: a.exe"),
    ] {
        let why = "no programs: a.zip/a.exe \u{2192} b.txt";
        let found = Finding::part("ATTACHMENT_TO_RENAME", PartId(2), why);
        let verdict = one(&format!("[default_policy]\n{config}\n"), ATTACHED, &[found], &[]);
        assert_eq!((verdict.action, shown(&verdict).as_str()), (Action::Deliver, expected), "{config}");
    }
}
