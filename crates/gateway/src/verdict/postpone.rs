//! Recipients who would get a message, but whose sender shall come again first: each gets a verdict of its own.

use gatepost_mail::{Action, Bounce, Edit, Fault, Finding, OnFault, Place, Reply, Scope, Verdict};

/// What was found about the recipients of one verdict after it was made.
pub struct Late<'a> {
    /// Whose sender shall come again, by the symbol `GREYLISTED`.
    pub findings: &'a [Finding],
    /// What could not be found out.
    pub faults: &'a [Fault],
    /// Header fields for those who get the message.
    pub fields: &'a [(String, String)],
}

/// Puts those off whose sender shall come again. `at` is the place of the verdict that `late` is about.
pub fn postpone(verdicts: &mut Vec<Verdict>, at: usize, late: &Late) {
    let verdict = &mut verdicts[at];
    if !verdict.action.delivers() {
        return;
    }
    for (name, value) in late.fields {
        let (name, value) = (name.clone(), value.clone());
        verdict.edits.push(Edit::AddHeader { name, value, place: Place::Top });
    }
    let fault = late.faults.iter().find(|fault| fault.answer == OnFault::Defer);
    let mut own = Vec::new();
    verdict.recipients.retain(|place| {
        let greylisted =
            |finding: &&Finding| finding.symbol == "GREYLISTED" && finding.scope == Scope::Recipient(*place);
        let (text, reason) = match (late.findings.iter().find(greylisted), fault) {
            (Some(finding), _) => (finding.evidence.clone(), "greylisted".to_owned()),
            (None, Some(fault)) => (
                "Cannot be looked at now, try again later".to_owned(),
                format!("{}: {}", fault.check, fault.detail),
            ),
            (None, None) => return true,
        };
        own.push((*place, text, reason));
        false
    });
    let model = verdict.clone();
    let put_off = |(place, text, reason): (usize, String, String)| Verdict {
        recipients: vec![place],
        action: Action::Defer,
        keep: false,
        edits: Vec::new(),
        treated: Vec::new(),
        extension: None,
        reply: Reply::new(451, "4.7.1", text),
        reason,
        bounce: Bounce::None,
        ..model.clone()
    };
    let own: Vec<Verdict> = own.into_iter().map(put_off).collect();
    if !own.is_empty() && verdict.recipients.is_empty() {
        verdicts.remove(at);
    }
    verdicts.extend(own);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::typed::HeaderNames;
    use crate::verdict::{judge, testing};
    use gatepost_mail::Cause;

    #[test]
    fn those_who_must_wait_get_their_own() {
        let policies = testing::policies("");
        let mail = testing::mail(testing::PLAIN, &["a@in.test", "b@in.test", "c@in.test"]);
        let case = testing::case(&mail, &[], &[]);
        let judged = || judge(&case, &policies, &HeaderNames::default());
        let greylisted =
            |place| Finding::recipient("GREYLISTED", place, "Greylisted, try again in 5 seconds");
        let fault =
            |answer| Fault { check: "greylist".into(), cause: Cause::Limit, detail: "full".into(), answer };
        let field = ("X-Greylist".to_owned(), "delayed".to_owned());
        let summary = |verdicts: &[Verdict]| -> Vec<String> {
            let one = |v: &Verdict| {
                let added =
                    v.edits.iter().any(|e| matches!(e, Edit::AddHeader { name, .. } if name == "X-Greylist"));
                format!("{:?} {} {} {added}", v.recipients, v.action, v.reply.code)
            };
            verdicts.iter().map(one).collect()
        };
        for (findings, faults, fields, expected) in [
            (vec![], vec![], vec![], vec!["[0, 1, 2] deliver 250 false"]),
            (vec![], vec![fault(OnFault::Accept)], vec![field.clone()], vec!["[0, 1, 2] deliver 250 true"]),
            (
                vec![greylisted(1)],
                vec![],
                vec![field],
                vec!["[0, 2] deliver 250 true", "[1] defer 451 false"],
            ),
            (
                vec![greylisted(0), greylisted(1), greylisted(2)],
                vec![],
                vec![],
                vec!["[0] defer 451 false", "[1] defer 451 false", "[2] defer 451 false"],
            ),
            (
                vec![],
                vec![fault(OnFault::Defer)],
                vec![],
                vec!["[0] defer 451 false", "[1] defer 451 false", "[2] defer 451 false"],
            ),
        ] {
            let mut verdicts = judged();
            assert_eq!(verdicts.len(), 1);
            postpone(&mut verdicts, 0, &Late { findings: &findings, faults: &faults, fields: &fields });
            assert_eq!(summary(&verdicts), expected);
        }
    }
}
