//! The report as XML, in the order of RFC 9990 appendix A.

use std::fmt::Write as _;

use super::{Discovery, DkimResult, Override, Published, Reason, Report, Row, SpfResult};

/// Longest text of an element; more is cut.
const LONGEST: usize = 2000;

/// Most signatures of a row (RFC 9990 section 2.1.4).
const SIGNATURES: usize = 100;

impl Report {
    /// The XML document.
    pub fn xml(&self) -> String {
        let mut out = Out(String::with_capacity(1024 + self.rows.len() * 768));
        out.0.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n");
        out.text(1, "version", "1.0");
        out.within(1, "report_metadata", |out| {
            out.text(2, "org_name", &self.org_name);
            out.text(2, "email", &self.email);
            out.maybe(2, "extra_contact_info", self.extra_contact.as_deref());
            out.text(2, "report_id", &self.id);
            out.within(2, "date_range", |out| {
                out.text(3, "begin", &self.begin.to_string());
                out.text(3, "end", &self.end.to_string());
            });
            out.maybe(2, "error", self.error.as_deref());
            out.maybe(2, "generator", self.generator.as_deref());
        });
        self.published.write(&mut out);
        self.rows.iter().for_each(|row| row.write(&mut out));
        out.0.push_str("</feedback>\n");
        out.0
    }
}

impl Published {
    fn write(&self, out: &mut Out) {
        out.within(1, "policy_published", |out| {
            out.text(2, "domain", &self.domain);
            out.maybe(2, "discovery_method", self.discovery.map(Discovery::name));
            out.text(2, "p", self.p.name());
            // What is not said has its default value, which for policies is the one before.
            let sp = self.sp.unwrap_or(self.p);
            out.text(2, "sp", sp.name());
            out.text(2, "np", self.np.unwrap_or(sp).name());
            out.maybe(2, "fo", self.fo.as_deref());
            out.text(2, "adkim", self.adkim.letter());
            out.text(2, "aspf", self.aspf.letter());
            out.text(2, "testing", if self.testing { "y" } else { "n" });
        });
    }
}

impl Row {
    fn write(&self, out: &mut Out) {
        let passed = |passed| if passed { "pass" } else { "fail" };
        out.within(1, "record", |out| {
            out.within(2, "row", |out| {
                out.text(3, "source_ip", &self.source.to_canonical().to_string());
                out.text(3, "count", &self.count.to_string());
                out.within(3, "policy_evaluated", |out| {
                    out.text(4, "disposition", self.disposition.name());
                    out.text(4, "dkim", passed(self.dkim_aligned));
                    out.text(4, "spf", passed(self.spf_aligned));
                    self.reasons.iter().for_each(|reason| reason.write(out));
                });
            });
            out.within(2, "identifiers", |out| {
                out.text(3, "header_from", &self.header_from);
                out.maybe(3, "envelope_from", self.envelope_from.as_deref());
                out.maybe(3, "envelope_to", self.envelope_to.as_deref());
            });
            out.within(2, "auth_results", |out| {
                self.chosen().into_iter().for_each(|signature| signature.write(out));
                self.spf.iter().for_each(|spf| spf.write(out));
            });
        });
    }

    /// The signatures that are told of, those that matter most first (RFC 9990 section 2.1.4).
    fn chosen(&self) -> Vec<&DkimResult> {
        let mut all: Vec<&DkimResult> = self.dkim.iter().collect();
        all.sort_by_key(|signature| {
            let (passed, own) = (signature.result == "pass", signature.domain == self.header_from);
            match (passed, own) {
                (true, true) => 0,
                // Of the author's family; whether aligned or not is a matter of policy, and of order here only.
                (true, false) if related(&signature.domain, &self.header_from) => 1,
                (true, false) => 2,
                (false, _) => 3,
            }
        });
        all.truncate(SIGNATURES);
        all
    }
}

fn related(one: &str, other: &str) -> bool {
    crate::dmarc::is_below(one, other) || crate::dmarc::is_below(other, one)
}

impl Reason {
    fn write(&self, out: &mut Out) {
        out.within(4, "reason", |out| {
            // What RFC 9990 no longer has is told as what it has.
            let kind = match self.kind {
                Override::SampledOut | Override::Forwarded => Override::Other,
                kind => kind,
            };
            out.text(5, "type", kind.name());
            match (self.comment.as_str(), self.kind == kind) {
                ("", true) => {}
                ("", false) => out.text(5, "comment", self.kind.name()),
                (comment, _) => out.text(5, "comment", comment),
            }
        });
    }
}

impl DkimResult {
    fn write(&self, out: &mut Out) {
        out.within(3, "dkim", |out| {
            out.text(4, "domain", &self.domain);
            out.text(4, "selector", self.selector.as_deref().unwrap_or_default());
            let known = ["none", "pass", "fail", "policy", "neutral", "temperror", "permerror"];
            out.text(4, "result", known.into_iter().find(|known| *known == self.result).unwrap_or("neutral"));
            out.maybe(4, "human_result", self.human.as_deref());
        });
    }
}

impl SpfResult {
    fn write(&self, out: &mut Out) {
        out.within(3, "spf", |out| {
            out.text(4, "domain", &self.domain);
            // Only MAIL FROM is of interest to DMARC, and the only scope there is.
            out.maybe(4, "scope", self.scope.as_deref().filter(|scope| *scope == "mfrom"));
            let known = ["none", "pass", "fail", "softfail", "policy", "neutral", "temperror", "permerror"];
            out.text(4, "result", known.into_iter().find(|known| *known == self.result).unwrap_or("neutral"));
            out.maybe(4, "human_result", self.human.as_deref());
        });
    }
}

impl Discovery {
    /// As it stands in a report.
    pub fn name(self) -> &'static str {
        match self {
            Discovery::Psl => "psl",
            Discovery::TreeWalk => "treewalk",
        }
    }
}

impl Override {
    /// All of them.
    pub const ALL: [Override; 7] = [
        Override::LocalPolicy,
        Override::MailingList,
        Override::Other,
        Override::TestMode,
        Override::TrustedForwarder,
        Override::SampledOut,
        Override::Forwarded,
    ];

    /// As it stands in a report.
    pub fn name(self) -> &'static str {
        match self {
            Override::LocalPolicy => "local_policy",
            Override::MailingList => "mailing_list",
            Override::Other => "other",
            Override::TestMode => "policy_test_mode",
            Override::TrustedForwarder => "trusted_forwarder",
            Override::SampledOut => "sampled_out",
            Override::Forwarded => "forwarded",
        }
    }

    /// A kind by its name; what is unknown is `other`.
    pub fn from_name(name: &str) -> Override {
        Override::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(Override::Other)
    }
}

struct Out(String);

impl Out {
    fn within(&mut self, depth: usize, name: &str, inside: impl FnOnce(&mut Out)) {
        // Writing to a String cannot fail.
        _ = writeln!(self.0, "{:1$}<{name}>", "", depth * 2);
        inside(self);
        _ = writeln!(self.0, "{:1$}</{name}>", "", depth * 2);
    }

    fn maybe(&mut self, depth: usize, name: &str, text: Option<&str>) {
        text.into_iter().for_each(|text| self.text(depth, name, text));
    }

    fn text(&mut self, depth: usize, name: &str, text: &str) {
        // What no XML document may hold, not even as a reference (XML 1.0 section 2.2).
        let is_sound = |c: char| !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'));
        let sound: String = text.chars().take(LONGEST).map(|c| if is_sound(c) { c } else { '?' }).collect();
        _ = writeln!(self.0, "{:1$}<{name}>{2}</{name}>", "", depth * 2, quick_xml::escape::escape(&sound));
    }
}
