//! A verdict for protocols that know only a score and whether it is bad: those that ask for an opinion and do with the
//! mail what they like.

use gatepost_mail::{Action, Category, Points, Verdict};

use super::policy::Policies;

/// What there is to say of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opinion {
    /// It is spam, or worse.
    pub bad: bool,
    /// Its points. What is bad for another reason than its points has as many as make spam.
    pub score: Points,
    /// The points from which on a mail is bad: where the policy marks.
    pub threshold: Points,
}

/// The opinion that follows from a verdict.
pub fn opinion(verdict: &Verdict, policies: &Policies) -> Opinion {
    let (spammy_at, spam_at) = match policies.named(&verdict.policy) {
        Some(policy) => (policy.spammy_at, policy.spam_at),
        // Not reached: a verdict names the policy that it was made by.
        None => (Points::ZERO, Points::ZERO),
    };
    let by_points = verdict.score >= spammy_at;
    let otherwise = is_bad(verdict.category, verdict.action);
    let as_spam = otherwise && (!by_points || verdict.category != Category::Spammy);
    Opinion {
        bad: by_points || otherwise,
        score: if as_spam { verdict.score.max(spam_at) } else { verdict.score },
        threshold: spammy_at,
    }
}

/// Whether a category is bad news, with what a policy does about it: spam in any case, an attachment or a virus unless
/// it is plainly let through, and whatever else is not delivered.
pub(super) fn is_bad(category: Category, action: Action) -> bool {
    match category {
        Category::Spammy | Category::Spam => true,
        Category::Banned | Category::Virus => action != Action::Deliver,
        _ => !action.delivers(),
    }
}

#[cfg(test)]
mod tests {
    use gatepost_mail::{Edit, Finding, Mail};

    use super::super::testing::{PLAIN, case, mail, policies};
    use super::super::{Case, judge};
    use super::*;
    use crate::config::typed::HeaderNames;

    fn advised(toml: &str, symbols: &[&'static str]) -> (Verdict, Opinion) {
        let (mail, policies): (Mail, _) = (mail(PLAIN, &["user@in.test"]), policies(toml));
        let findings: Vec<_> = symbols.iter().map(|symbol| Finding::mail(*symbol, "proof")).collect();
        let case = Case { advice: true, ..case(&mail, &findings, &[]) };
        let verdict = judge(&case, &policies, &HeaderNames::default()).remove(0);
        let opinion = opinion(&verdict, &policies);
        (verdict, opinion)
    }

    #[test]
    fn what_is_said_of_each_category() {
        let delivering = "default_policy.actions = {virus = \"mark\", banned = \"deliver\", unchecked = \"refuse\", spam = \"defer\"}";
        for (toml, symbols, bad, score) in [
            ("", "", false, "0"),
            ("", "ONE", false, "1"),
            ("", "FIVE ONE HALF", true, "6.5"),
            ("", "FIVE SPAMMY", true, "10"),
            ("", "FIVE SPAM", true, "10"),
            ("", "VIRUS", true, "10"),
            ("", "BANNED ONE", true, "10"),
            ("", "OVERSIZED", true, "10"),
            ("", "BAD_HEADER", false, "0"),
            ("", "BAD_HEADER FIVE ONE HALF", true, "6.5"),
            ("", "UNCHECKED", false, "0"),
            (delivering, "UNCHECKED", true, "10"),
            (delivering, "BANNED", false, "0"),
            (delivering, "VIRUS", true, "10"),
        ] {
            let symbols: Vec<_> = symbols.split_whitespace().collect();
            let (_, opinion) = advised(toml, &symbols);
            let expected = Opinion { bad, score: score.parse().unwrap(), threshold: "6.31".parse().unwrap() };
            assert_eq!(opinion, expected, "{toml} {symbols:?}");
        }
    }

    /// Who asks may deliver what the policy refuses, and its users see it by these fields.
    #[test]
    fn what_is_not_to_be_delivered_is_marked_all_the_same() {
        for (symbols, status) in [
            (
                &["VIRUS"][..],
                Some("Yes, score=0.0 tag=-999 tag2=6.31 kill=10 tests=[VIRUS=0.0] autolearn=no"),
            ),
            (
                &["SPAM", "ONE"],
                Some("Yes, score=1.0 tag=-999 tag2=6.31 kill=10 tests=[SPAM=0.0, ONE=1.0] autolearn=no"),
            ),
            (
                &["UNCHECKED"],
                Some("No, score=0.0 tag=-999 tag2=6.31 kill=10 tests=[UNCHECKED=0.0] autolearn=no"),
            ),
        ] {
            let (verdict, _) = advised("", symbols);
            let value = |wanted: &str| {
                verdict.edits.iter().find_map(|edit| match edit {
                    Edit::AddHeader { name, value, .. } if name == wanted => Some(value.as_str()),
                    _ => None,
                })
            };
            assert_eq!(value("X-Spam-Status"), status, "{symbols:?}");
            assert_eq!(
                value("X-Spam-Flag").is_some(),
                status.is_some_and(|status| status.starts_with("Yes"))
            );
        }
    }
}
