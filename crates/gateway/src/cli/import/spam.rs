//! What amavisd-new's configuration says about spam: `$sa_…` and `$final_spam_destiny`, as keys of ours.

use std::fmt::Write as _;

use super::amavis::Reader;
use super::perl::{Node, Value};
use super::written::text;

/// Variables that are translated.
const KNOWN: [&str; 11] = [
    "$sa_tag_level_deflt",
    "$sa_tag2_level_deflt",
    "$sa_kill_level_deflt",
    "$sa_spam_subject_tag",
    "$sa_spam_modifies_subj",
    "$sa_spam_report_header",
    "$sa_local_tests_only",
    "$sa_mail_body_size_limit",
    "$sa_configpath",
    "$sa_siteconfigpath",
    "$final_spam_destiny",
];

/// Variables that need no counterpart, and why.
const NEEDLESS: [(&str, &str); 6] = [
    ("$sa_dsn_cutoff_level", "spam is never bounced"),
    ("$sa_quarantine_cutoff_level", "what is held is held whatever its score; quarantine.keep_days ends it"),
    ("$sa_spam_level_char", "the level is written in stars"),
    ("$sa_tag3_level_deflt", "there is no third level"),
    ("$sa_debug", "gatepost rules explain MAIL tells what rules found"),
    ("$sa_num_instances", "all messages share one set of rules"),
];

/// More points than any mail has.
const NEVER: &str = "9999";

/// Settings about spam.
#[derive(Default)]
pub(super) struct Spam {
    /// Lines of `[default_policy]`.
    policy: String,
    /// Lines of `[checks.rules]` and of `[headers]`.
    rules: String,
    headers: String,
    /// Comments.
    needless: String,
}

/// Whether a variable, or a key of a policy bank, is about spam.
pub(super) fn is_about(name: &str) -> bool {
    let bare = name.trim_start_matches(['$', '@', '%']);
    bare == "final_spam_destiny"
        || bare.starts_with("sa_")
        || (bare.starts_with("spam_") && (bare.contains("level_maps") || bare.contains("subject_tag")))
}

impl Spam {
    /// Reads what is assigned.
    pub fn read(reader: &mut Reader) -> Spam {
        let mut spam = Spam::default();
        let levels = [
            ("$sa_tag_level_deflt", "headers_from", "-999"),
            ("$sa_tag2_level_deflt", "spammy_at", NEVER),
            ("$sa_kill_level_deflt", "spam_at", NEVER),
        ];
        let mut said: Vec<(&str, String)> = Vec::new();
        for (variable, key, undefined) in levels {
            if let Some(level) = number(reader, variable, undefined) {
                said.push((key, level));
            }
        }
        let level =
            |key: &str| said.iter().find(|(own, _)| *own == key).and_then(|(_, text)| text.parse().ok());
        let (spammy, kill): (Option<f64>, Option<f64>) = (level("spammy_at"), level("spam_at"));
        // What is spam in amavis need not be marked; here it has reached both levels.
        if let (spammy, Some(kill)) = (spammy.unwrap_or(6.31), kill)
            && spammy > kill
        {
            said.retain(|(key, _)| *key != "spammy_at");
            said.push(("spammy_at", kill.to_string()));
        }
        if let (Some(spammy), None) = (spammy, kill)
            && spammy > 10.0
        {
            said.push(("spam_at", spammy.to_string()));
        }
        for (key, level) in &said {
            spam.add(key, level);
        }
        spam.actions(reader);
        spam.checks(reader);
        spam.others(reader);
        spam
    }

    /// Whether nothing is assigned.
    pub fn is_empty(&self) -> bool {
        [&self.policy, &self.rules, &self.headers, &self.needless].iter().all(|lines| lines.is_empty())
    }

    /// Lines of `[default_policy]`.
    pub fn lines(&self) -> &str {
        &self.policy
    }

    /// All of it, where nothing else is written.
    pub fn write_alone(&self, out: &mut String) {
        if !self.policy.is_empty() {
            let _ = writeln!(out, "[default_policy]\n{}", self.policy);
        }
        self.write_tables(out);
    }

    /// What is no policy's.
    pub fn write_tables(&self, out: &mut String) {
        for (table, lines) in [("checks.rules", &self.rules), ("headers", &self.headers)] {
            if !lines.is_empty() {
                // Writing to a string does not fail.
                let _ = writeln!(out, "[{table}]\n{lines}");
            }
        }
        out.push_str(&self.needless);
    }

    fn add(&mut self, key: &str, value: &str) {
        let _ = writeln!(self.policy, "{key} = {value}");
    }

    /// What becomes of spam, and the subject's tag, which only marked mail has.
    fn actions(&mut self, reader: &mut Reader) {
        let action = reader.destiny("$final_spam_destiny", "$spam_quarantine_method");
        let modifies = match reader.assigned("$sa_spam_modifies_subj") {
            Some((_, node)) => reader.truth(&node.value) != Some(false),
            None => true,
        };
        let tag = subject_tag(reader).filter(|_| modifies);
        let action = match action.as_deref() {
            Some("deliver") if tag.is_some() => Some("mark"),
            // A bounce would go to a forged address.
            Some("bounce") => Some("quarantine"),
            other => other,
        };
        if let Some(action) = action {
            self.add("actions.spam", &text(action));
        }
        if let Some(tag) = tag {
            self.add("subject_tags.spammy", &text(&tag));
            if action == Some("mark") {
                self.add("subject_tags.spam", &text(&tag));
            }
        }
    }

    fn checks(&mut self, reader: &mut Reader) {
        let is_true = |reader: &Reader, name: &str| {
            reader.assigned(name).is_some_and(|(_, node)| reader.truth(&node.value) == Some(true))
        };
        let paths = ["$sa_configpath", "$sa_siteconfigpath"].map(|name| {
            let (_, node) = reader.assigned(name)?;
            reader.text(&node).filter(|path| path.starts_with('/'))
        });
        if let [Some(_), _] | [_, Some(_)] = &paths {
            let [rules, site] = paths;
            let rules = rules.unwrap_or_else(|| "/usr/share/spamassassin".into());
            let site = site.unwrap_or_else(|| "/etc/spamassassin".into());
            let _ = writeln!(self.rules, "paths = [{}, {}]", text(&rules), text(&site));
        }
        if is_true(reader, "$sa_local_tests_only") {
            self.rules.push_str("network = false\n");
        }
        if let Some(size) = number(reader, "$sa_mail_body_size_limit", "") {
            let _ = writeln!(self.rules, "max_size = {size}");
        }
        if is_true(reader, "$sa_spam_report_header") {
            self.headers.push_str("report = \"X-Spam-Report\"\n");
        }
    }

    /// What is not translated.
    fn others(&mut self, reader: &mut Reader) {
        for name in reader.variables().into_iter().filter(|name| is_about(name)) {
            let Some((file, node)) = reader.assigned(&name) else { continue };
            if let Some((_, why)) = NEEDLESS.iter().find(|(needless, _)| *needless == name) {
                let _ = writeln!(self.needless, "# {name}: {why}.");
            } else if name.starts_with('@') {
                let what = format!("{name}: is by recipient; write a [[policy]] with when.recipients");
                reader.notes.add(&file, node.line, what);
            } else if !KNOWN.contains(&name.as_str()) {
                reader.notes.add(&file, node.line, format!("{name}: has no counterpart"));
            }
        }
    }
}

/// A variable as a number; `undefined` stands for undef. What is none is told.
fn number(reader: &mut Reader, name: &str, undefined: &str) -> Option<String> {
    let (file, node) = reader.assigned(name)?;
    let said = match &node.value {
        Value::Undef => Some(undefined.to_owned()).filter(|text| !text.is_empty()),
        _ => plain(reader, &node),
    };
    if said.is_none() {
        reader.notes.add(&file, node.line, format!("{name}: is no plain number"));
    }
    said
}

fn plain(reader: &Reader, node: &Node) -> Option<String> {
    let text = reader.text(node)?;
    let number: f64 = text.trim().parse().ok()?;
    // Points have three decimals.
    let rounded = (number * 1000.0).round() / 1000.0;
    (number.is_finite() && number.abs() < 1e12).then(|| rounded.to_string())
}

/// The tag, if it is one that can be put there as it is.
fn subject_tag(reader: &mut Reader) -> Option<String> {
    let (file, node) = reader.assigned("$sa_spam_subject_tag")?;
    if matches!(node.value, Value::Undef) {
        return None;
    }
    let tag = reader.text(&node).unwrap_or_default();
    let is_macro =
        ["_SCORE_", "_REQD_", "_YESNO", "_HOSTNAME_", "_DATE_", "_U_", "_LOGID_", "_MAILID_", "_SUBJPREFIX_"]
            .iter()
            .any(|name| tag.contains(name));
    let fits = !tag.trim().is_empty() && tag.chars().count() <= 64 && !tag.chars().any(char::is_control);
    if is_macro || !fits {
        let what = "$sa_spam_subject_tag: only a plain text of 1 to 64 characters can be put before subjects";
        reader.notes.add(&file, node.line, what);
        return None;
    }
    Some(tag)
}
