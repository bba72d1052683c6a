//! What contents are able to do: macros, scripts, things hidden in documents. Each kind of feature is a symbol, named as
//! the feature is. [`counts`] says what each counts for unless a policy says otherwise.

use std::time::Duration;

use gatepost_mail::{Counts, FeatureKind, Finding, Mail, OnFault, Points};

use super::catalogue::{Built, Resources};
use super::{Answer, Check, Found, SymbolInfo, looked};
use crate::config::Config;

/// One symbol for each kind of feature.
pub fn symbols(_: &Config) -> Vec<SymbolInfo> {
    FeatureKind::ALL.iter().map(|&kind| SymbolInfo::new(kind.name(), kind.meaning(), counts(kind))).collect()
}

/// Makes the check. It belongs to `checks.structure`: both tell what reading found.
pub fn build(config: &Config, _: &Resources) -> Built {
    Ok(if config.checks.structure.enabled { vec![Box::new(Content)] } else { Vec::new() })
}

struct Content;

impl Check for Content {
    fn name(&self) -> &str {
        "content"
    }

    fn time(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn on_fault(&self) -> OnFault {
        OnFault::Defer
    }

    fn on_mail<'a>(&'a self, mail: &'a Mail, _: &'a Found) -> Answer<'a> {
        let features = &mail.message.features;
        if features.is_empty() {
            return None;
        }
        let finding = |feature: &gatepost_mail::Feature| {
            Finding::part(feature.kind.name(), feature.part, feature.detail.as_str())
        };
        looked(Ok(features.iter().map(finding).collect::<Vec<_>>().into()))
    }
}

/// What a kind of feature counts for unless a policy says otherwise. Macros and scripts are sent in good faith every
/// day; what nobody sends in good faith counts for more.
fn counts(kind: FeatureKind) -> Counts {
    use FeatureKind::*;
    Counts::Points(Points::thousandths(match kind {
        Macro | EmbeddedFile | HtmlScript | PdfJavaScript | PdfOpenAction | QrLink => 0,
        MacroAuto | MacroXlm | HtmlForm | LinkMismatch | Polyglot | RiskyObject => 1000,
        MacroSuspicious | Dde | ExternalTemplate | PdfLaunch | PasswordInMail => 2500,
        MacroStomped | HtmlSmuggling | ShortcutCommand => 4000,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use gatepost_mail::{PartId, Scope};

    #[tokio::test]
    async fn each_feature_is_a_finding_of_its_part() {
        let mut mail = testing::mail("Subject: a\r\n\r\n", &[("text/plain", ""), ("text/html", "")]);
        assert!(Content.on_mail(&mail, &Found::default()).is_none());
        mail.message.feature(FeatureKind::Macro, PartId(1), "Module1");
        mail.message.feature(FeatureKind::Macro, PartId(1), "again");
        mail.message.feature(FeatureKind::Dde, PartId(0), "cmd");
        let found = Content.on_mail(&mail, &Found::default()).expect("an answer").await.expect("no fault");
        let told: Vec<_> = found
            .findings
            .iter()
            .map(|finding| (finding.symbol.to_string(), finding.scope, finding.evidence.to_string()))
            .collect();
        assert_eq!(
            told,
            [
                ("MACRO".to_owned(), Scope::Part(PartId(1)), "Module1".to_owned()),
                ("DDE".to_owned(), Scope::Part(PartId(0)), "cmd".to_owned()),
            ]
        );
    }
}
