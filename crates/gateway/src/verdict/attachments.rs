//! Which sets of attachment rules count for whom: `attachments` of a policy.

use std::collections::HashSet;

use crate::config::Problem;
use crate::config::attachments::{DEFAULT_SET, DEFAULT_SYMBOLS, set_symbols};
use crate::config::typed::{Config, Policy};

/// What counts where nobody says anything.
const BUILTIN: &[&str] = &[DEFAULT_SET];

/// Tells of sets that do not exist, that are named twice, and that no policy names.
pub(super) fn check(config: &Config, problems: &mut Vec<Problem>) {
    let known = || config.checks.attachments.set.keys().map(String::as_str).chain([DEFAULT_SET]);
    let mut named = HashSet::new();
    let policies = config.policy.iter().enumerate();
    let keyed = policies.map(|(place, policy)| (format!("policy[{place}]"), policy));
    for (key, policy) in keyed.chain([("default_policy".to_owned(), &config.default_policy)]) {
        let list = policy.attachments.iter().flatten();
        for (place, name) in list.enumerate() {
            let mut wrong =
                |message| problems.push(Problem::new(format!("{key}.attachments[{place}]"), message));
            if !known().any(|known| known == name) {
                let nearest = super::policy::nearest(name, known());
                wrong(format!("there is no set [checks.attachments.set.{name}]{nearest}"));
            } else if policy.attachments.iter().flatten().take(place).any(|other| other == name) {
                wrong("is named twice".into());
            }
            named.insert(name.as_str());
        }
    }
    for set in config.checks.attachments.set.keys().filter(|set| !named.contains(set.as_str())) {
        let message = "counts for nobody: name it in `attachments` of a policy or of default_policy";
        problems.push(Problem::new(format!("checks.attachments.set.{set}"), message));
    }
}

/// The symbols of the sets that do not count, by what is typed from the nearest layer to `default_policy`.
pub(super) fn muted<'a>(config: &Config, layers: impl IntoIterator<Item = &'a Policy>) -> HashSet<Box<str>> {
    let typed = layers.into_iter().find_map(|layer| layer.attachments.as_ref());
    let counts = |set: &str| match typed {
        Some(typed) => typed.iter().any(|name| name == set),
        None => BUILTIN.contains(&set),
    };
    let named = config.checks.attachments.set.keys().filter(|set| !counts(set));
    let mut muted: HashSet<Box<str>> =
        named.flat_map(|set| set_symbols(set)).map(String::into_boxed_str).collect();
    if !counts(DEFAULT_SET) {
        muted.extend(DEFAULT_SYMBOLS.map(Box::from));
    }
    muted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::testing::{ATTACHED, build, case, mail};
    use crate::verdict::{Policies, judge};
    use gatepost_mail::{Action, Category, Counts, Finding, PartId};

    /// Sets, and what they find.
    const SETS: &str =
        "[checks.attachments.set.strict]\nbuiltin = true\n[checks.attachments.set.lab]\nbuiltin = true\n";
    const SYMBOLS: &[(&str, Counts)] = &[
        ("BANNED_NAME", Counts::As(Category::Banned)),
        ("BANNED_BY_STRICT", Counts::As(Category::Banned)),
        ("BANNED_BY_LAB", Counts::As(Category::Banned)),
    ];

    #[test]
    fn only_sets_that_a_policy_names_count() {
        let table = [
            ("", [true, false, false]),
            ("attachments = ['default', 'strict']", [true, true, false]),
            ("attachments = ['lab']", [false, false, true]),
            ("attachments = []", [false, false, false]),
        ];
        for (line, counts) in table {
            // All sets are named by somebody.
            let all = "[default_policy]\nattachments = ['lab', 'strict', 'default']\n";
            let other = "[[policy]]\nname = 'other'\nwhen.recipients = ['other.test']\n";
            let typed = match line {
                "" => format!("{SETS}{other}attachments = ['strict', 'lab']\n"),
                line => format!("{SETS}{all}[[policy]]\nname = 'it'\n{line}\n"),
            };
            let config: Config = toml::from_str(&typed).unwrap();
            let policies = Policies::build(&config, SYMBOLS.iter().copied()).unwrap();
            for ((symbol, _), counts) in SYMBOLS.iter().zip(counts) {
                let findings = [Finding::part(*symbol, PartId(2), "a.exe")];
                let mail = mail(ATTACHED, &["user@in.test"]);
                let verdicts = judge(&case(&mail, &findings, &[]), &policies, &config.headers);
                assert_eq!(verdicts[0].action == Action::Refuse, counts, "{line}: {symbol}");
                assert_eq!(verdicts[0].category == Category::Banned, counts, "{line}: {symbol}");
            }
        }
    }

    #[test]
    fn mistakes_name_the_key() {
        for (toml, key, part) in [
            (
                "default_policy.attachments = ['strickt']",
                "default_policy.attachments[0]",
                "the nearest is strict",
            ),
            ("default_policy.attachments = ['strict', 'strict']", "default_policy.attachments[1]", "twice"),
            (
                "default_policy.attachments = ['default']",
                "checks.attachments.set.strict",
                "counts for nobody",
            ),
            (
                "[[policy]]\nname = 'a'\nattachments = ['strict', 'of']\n",
                "policy[0].attachments[1]",
                "there is no set",
            ),
        ] {
            let set = "checks.attachments.set.strict = { builtin = true }\n";
            let problems = build(&format!("{set}{toml}")).unwrap_err();
            let told = problems.iter().find(|problem| problem.key == key);
            assert!(told.is_some_and(|problem| problem.message.contains(part)), "{toml}: {problems:?}");
        }
    }
}
