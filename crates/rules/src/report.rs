//! What is written into a message about the rules that hit: `X-Spam-…` fields and the report, from SpamAssassin's templates.

use std::collections::HashMap;
use std::fmt::Write;

use crate::conf::{Definition, RuleSet, Settings, Which};
use crate::engine::{Hit, Outcome};

/// The most stars that are written.
const MAX_STARS: f64 = 50.0;
/// The longest text that tags make of a template, in bytes.
const MAX_TEXT: usize = 256 * 1024;

/// What tags of templates are replaced by.
pub struct Report<'a> {
    /// What the evaluation came to.
    pub outcome: &'a Outcome,
    /// The rules, with the templates.
    pub set: &'a RuleSet,
    /// The score from which on mail is spam.
    pub required: f64,
    /// Tags with other values: `HOSTNAME`, `VERSION`, `DATE`, `AUTOLEARN`, `PREVIEW`, `RELAYSUNTRUSTED` …
    pub tags: HashMap<String, String>,
    /// The value of a field, for `_HEADER(NAME)_`.
    pub field: &'a dyn Fn(&str) -> Option<String>,
}

impl Report<'_> {
    /// Whether the score reaches the required one.
    pub fn is_spam(&self) -> bool {
        self.outcome.score >= self.required
    }

    /// The fields that the configuration asks for: names with `X-Spam-`, values folded with a newline and a tab.
    pub fn headers(&self) -> Vec<(String, String)> {
        let which = if self.is_spam() { Which::Spam } else { Which::Ham };
        let all = self.settings().headers(which).iter();
        all.map(|(name, template)| (format!("X-Spam-{name}"), self.header(name, template))).collect()
    }

    fn header(&self, name: &str, template: &str) -> String {
        let text = self.filled(template);
        let text = text.trim_end_matches(['\r', '\n']);
        if !self.settings().flag("fold_headers") {
            return text.replace('\n', " ");
        }
        if text.contains('\n') {
            let lines = text.split('\n').map(str::trim_ascii).filter(|line| !line.is_empty());
            let folded = lines.collect::<Vec<_>>().join("\n\t");
            return if text.starts_with('\n') { format!("\n\t{folded}") } else { folded };
        }
        // Two characters stand for the colon and the blank, at which a line must not be broken.
        let whole = wrapped(&format!("X-Spam-{name}!!{text}"), "\t", "", 79, Break::BehindBlankOrComma);
        let lines: Vec<&str> = whole.split('\n').filter(|line| !line.trim_ascii().is_empty()).collect();
        lines.join("\n").split_once("!!").map(|(_, value)| value.to_string()).unwrap_or_default()
    }

    /// The report as the body of a message.
    pub fn body(&self) -> String {
        let template = self.settings().get("report").unwrap_or("(no report template found)");
        format!("{}\n\n", self.filled(template).trim_end_matches('\n'))
    }

    /// What a field is rewritten with (`rewrite_header`), if it is to be: `Subject`, `From` or `To`.
    pub fn rewritten(&self, field: &str) -> Option<String> {
        let template = self.settings().pairs("rewrite_header")?.get(field)?;
        Some(self.filled(template).replace('\n', " "))
    }

    /// A template with its tags replaced; those that are not known stay.
    pub fn filled(&self, template: &str) -> String {
        let mut result = String::new();
        let mut rest = template;
        while let Some(at) = rest.find('_') {
            result.push_str(&rest[..at]);
            rest = &rest[at..];
            match tag_at(rest) {
                Some((name, argument, length)) => {
                    match self.tag(name, argument) {
                        Some(value) => result.push_str(&value),
                        None => result.push_str(&rest[..length]),
                    }
                    rest = &rest[length..];
                }
                None => {
                    result.push('_');
                    rest = &rest[1..];
                }
            }
            if result.len() > MAX_TEXT {
                break;
            }
        }
        result.push_str(rest);
        let mut end = result.len().min(MAX_TEXT);
        while !result.is_char_boundary(end) {
            end -= 1;
        }
        result.truncate(end);
        result
    }

    /// The value of a tag.
    fn tag(&self, name: &str, argument: Option<&str>) -> Option<String> {
        if let Some(value) = self.tags.get(name) {
            return Some(value.clone());
        }
        let separator = argument.filter(|text| !text.is_empty() && *text != "0").unwrap_or(",");
        Some(match name {
            "YESNO" => self.yes_or_no(argument),
            "YESNOCAPS" => self.yes_or_no(argument).to_uppercase(),
            "SCORE" | "HITS" => self.score(argument),
            "REQD" => format!("{:.1}", self.required),
            "STARS" => {
                let stars = self.outcome.score.clamp(0.0, MAX_STARS) as usize;
                argument.filter(|text| !text.is_empty()).unwrap_or("*").repeat(stars)
            }
            "TESTS" => joined(&self.outcome.names(), separator),
            "TESTSSCORES" => {
                let scored = |name: &&str| format!("{name}={}", number(self.score_of(name)));
                let all: Vec<String> = self.outcome.names().iter().map(scored).collect();
                joined(&all.iter().map(String::as_str).collect::<Vec<_>>(), separator)
            }
            "SUBTESTS" => self.subtests_joined(separator),
            "SUBTESTSCOLLAPSED" => self.subtests_collapsed(separator),
            "REPORT" => format!("\n{}", self.report()),
            "SUMMARY" => self.summary(),
            "SUBJPREFIX" => self.subject_prefix(),
            "CONTACTADDRESS" => self.settings().get("report_contact").unwrap_or_default().to_string(),
            "HOSTNAME" => self.settings().get("report_hostname").unwrap_or("localhost").to_string(),
            "RULESVERSION" => self.settings().rules_version(),
            "VERSION" => "4.0.1".into(),
            "SUBVERSION" => "gatepost".into(),
            "AUTOLEARN" => "unavailable".into(),
            "AUTOLEARNSCORE" => String::new(),
            "BAYES" => "0.5".into(),
            "REMOTEHOSTNAME" => "localhost".into(),
            "REMOTEHOSTADDR" => "127.0.0.1".into(),
            "HEADER" => argument.and_then(|field| (self.field)(field)).unwrap_or_default(),
            "SC" => match &self.outcome.shortcircuit {
                Some((rule, spam)) => format!("{rule} ({})", if *spam { "spam" } else { "ham" }),
                None => "no".into(),
            },
            "SCRULE" => {
                self.outcome.shortcircuit.as_ref().map_or("none".into(), |(rule, _)| rule.to_string())
            }
            "SCTYPE" => match &self.outcome.shortcircuit {
                Some((_, true)) => "spam".into(),
                Some((_, false)) => "ham".into(),
                None => "no".into(),
            },
            _ if KNOWN_EMPTY.contains(&name) && !self.outcome.tags.contains_key(name) => String::new(),
            _ => {
                let values = self.outcome.tags.get(name)?;
                values.iter().map(|value| crate::conf::characters(value)).collect::<Vec<_>>().join(" ")
            }
        })
    }

    /// What rules put before the subject, each text once; nothing, unless subjects are rewritten.
    fn subject_prefix(&self) -> String {
        if self.settings().pairs("rewrite_header").is_none_or(|pairs| !pairs.contains_key("Subject")) {
            return String::new();
        }
        let own = |hit: &Hit| self.set.rules.get(&*hit.name)?.subject_prefix.as_ref();
        let mut all = String::new();
        for prefix in self.outcome.hits.iter().filter_map(own) {
            if !all.contains(prefix) {
                all.push_str(prefix);
                all.push(' ');
            }
        }
        all
    }

    fn subtests_joined(&self, separator: &str) -> String {
        let mut names: Vec<&str> =
            self.subtests().flat_map(|hit| std::iter::repeat_n(&*hit.name, hit.times as usize)).collect();
        names.sort_unstable();
        joined(&names, separator)
    }

    fn subtests_collapsed(&self, separator: &str) -> String {
        let shown = |hit: &Hit| match hit.times {
            1 => hit.name.to_string(),
            times => format!("{}({times})", hit.name),
        };
        let mut names: Vec<String> = self.subtests().map(shown).collect();
        names.sort_unstable();
        joined(&names.iter().map(String::as_str).collect::<Vec<_>>(), separator)
    }

    fn subtests(&self) -> impl Iterator<Item = &Hit> {
        self.outcome.hits.iter().filter(|hit| hit.name.starts_with("__"))
    }

    fn score_of(&self, name: &str) -> f64 {
        self.outcome.hits.iter().find(|hit| &*hit.name == name).map_or(0.0, |hit| hit.score)
    }

    fn yes_or_no(&self, argument: Option<&str>) -> String {
        let (yes, no) = match argument.map(|text| text.split_once(',').unwrap_or((text, "No"))) {
            Some((yes, no)) => (yes, no),
            None => ("Yes", "No"),
        };
        if self.is_spam() { yes } else { no }.to_string()
    }

    fn score(&self, padding: Option<&str>) -> String {
        let mut score = format!("{:.1}", self.outcome.score);
        let required = format!("{:.1}", self.required);
        // What is no spam never looks as if it had reached the limit.
        if !self.is_spam() && score == required {
            score = format!("{:.1}", self.required - 0.1);
        }
        let padding = padding.filter(|pad| pad.bytes().all(|b| b == b'0') || pad.bytes().all(|b| b == b' '));
        match padding {
            Some(pad) => {
                let missing = (pad.len() + 3).saturating_sub(score.len()).min(pad.len());
                format!("{}{score}", &pad[..missing])
            }
            None => score,
        }
    }

    fn scored(&self) -> impl Iterator<Item = &Hit> {
        let all = self.outcome.hits.iter().filter(|hit| !hit.name.starts_with("__"));
        all.flat_map(|hit| std::iter::repeat_n(hit, hit.times as usize))
    }

    fn width(&self) -> usize {
        self.settings()
            .number("report_wrap_width")
            .filter(|width| *width >= 1.0)
            .map_or(77, |width| width as usize)
    }

    fn settings(&self) -> &Settings {
        &self.set.settings
    }

    /// What stands before the description. Functions that ask the DNS answer late, when nobody knows any more which kind of rule
    /// has called them.
    fn prefix(&self, hit: &Hit) -> &'static str {
        match self.set.rules.get(&*hit.name).map(|rule| &rule.definition) {
            Some(Definition::Eval { function, .. })
                if &**function == "check_uridnsbl" || function.starts_with("check_hashbl_") =>
            {
                ""
            }
            _ => hit.area.prefix(),
        }
    }

    /// The rules that hit, for a field.
    fn report(&self) -> String {
        let mut text = String::new();
        for hit in self.scored() {
            let (score, area) = (points(hit.score), self.prefix(hit));
            let first = 4 + hit.name.len() + score.len() + area.len();
            let described = self.described(hit, first, "*      ");
            writeln!(text, "* {score} {} {area}{described}", hit.name).unwrap_or_default();
            let mut lines = String::new();
            found(hit, |line| writeln!(lines, "[{line}]").unwrap_or_default());
            if !lines.is_empty() {
                text.push_str("*      ");
                text.push_str(&lines);
            }
        }
        text
    }

    /// The rules that hit, for a body.
    fn summary(&self) -> String {
        let mut text = String::new();
        for hit in self.scored() {
            let (score, area) = (points(hit.score), self.prefix(hit));
            let first = 3 + hit.name.len() + score.len() + area.len();
            let described = self.described(hit, first, &" ".repeat(28));
            writeln!(text, "{score} {:<22} {area}{described}", hit.name).unwrap_or_default();
            found(hit, |line| {
                if line.len() > 47 {
                    writeln!(text, "{:>78}", format!("[{line}]")).unwrap_or_default();
                } else {
                    writeln!(text, "{:27} [{line}]", "").unwrap_or_default();
                }
            });
        }
        text
    }

    fn described(&self, hit: &Hit, first: usize, prefix: &str) -> String {
        let description = hit.description.as_deref().unwrap_or("No description available.");
        let text = wrapped(description, prefix, &" ".repeat(first), self.width(), Break::AtBlank);
        text.trim_ascii_start().to_string()
    }
}

/// Tags that are there without a value as long as nothing sets them.
const KNOWN_EMPTY: [&str; 27] = [
    "RBL",
    "PREVIEW",
    "DATE",
    "TIMING",
    "ASN",
    "ASNCIDR",
    "AWL",
    "AWLMEAN",
    "AWLCOUNT",
    "AWLPRESCORE",
    "DCCB",
    "DCCR",
    "DCCREP",
    "PYZOR",
    "DKIMIDENTITY",
    "DKIMDOMAIN",
    "DKIMSELECTOR",
    "BAYESTC",
    "BAYESTCLEARNED",
    "BAYESTCSPAMMY",
    "BAYESTCHAMMY",
    "HAMMYTOKENS",
    "SPAMMYTOKENS",
    "TOKENSUMMARY",
    "LANGUAGES",
    "RELAYSTRUSTED",
    "RELAYSUNTRUSTED",
];

/// `X-Spam-Status` as amavis writes it: `Yes, score=7.1 tag=-999 tag2=6.31 kill=6.31 tests=[A=5, B=2.1] autolearn=no`.
pub fn amavis_status(outcome: &Outcome, levels: [f64; 3], autolearn: &str) -> String {
    let score = |name: &&str| {
        let points = outcome.hits.iter().find(|hit| &*hit.name == *name).map_or(0.0, |hit| hit.score);
        format!("{name}={}", number(points))
    };
    let tests: Vec<String> = outcome.names().iter().map(score).collect();
    let [tag, tag2, kill] = levels.map(number);
    let yes = if outcome.score >= levels[1] { "Yes" } else { "No" };
    let sum = number((outcome.score * 1000.0).round() / 1000.0);
    format!(
        "{yes}, score={sum} tag={tag} tag2={tag2} kill={kill} tests=[{}] autolearn={autolearn}",
        tests.join(", ")
    )
}

/// The beginning of the text as `_PREVIEW_` shows it; the body's first paragraph is the subject.
pub fn preview(body: &[bytes::Bytes]) -> String {
    let mut text = String::new();
    for line in body.iter().skip(1).take(3) {
        if text.len() >= 200 {
            break;
        }
        text.push_str(&crate::conf::characters(line));
    }
    let shorten = |line: &str| match line.char_indices().nth(200) {
        Some((end, _)) if line.chars().count() > 200 => format!("{} [...]", &line[..end]),
        _ => line.to_string(),
    };
    let lines: Vec<String> = text.trim_end_matches('\n').split('\n').map(shorten).collect();
    let text = lines.join(" ").replace("This is a multi-part message in MIME format.", "");
    let words: Vec<&str> = text.split_ascii_whitespace().filter(|word| !is_rule(word)).collect();
    let whole = wrapped(&words.join(" "), "  ", "Content preview:  ", 75, Break::AtBlank);
    format!("{}\n", whole.trim_start_matches("Content preview:").trim_ascii_start())
}

/// Whether a word is only a line of dashes.
fn is_rule(word: &str) -> bool {
    word.len() >= 10 && word.bytes().all(|b| matches!(b, b'-' | b'_' | b'*' | b'.'))
}

fn joined(names: &[&str], separator: &str) -> String {
    if names.is_empty() { "none".into() } else { names.join(separator) }
}

/// A score in four columns.
fn points(score: f64) -> String {
    if score.abs() >= 10.0 { format!("{score:4.0}") } else { format!("{score:4.1}") }
}

/// A number as Perl writes it: up to 15 digits that count.
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".into();
    }
    let whole = value.abs().log10().floor().max(0.0) as usize + 1;
    let text = format!("{value:.*}", 15usize.saturating_sub(whole));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

/// What a function found, in pieces of at most 48 characters.
fn found(hit: &Hit, mut each: impl FnMut(&str)) {
    for text in &hit.found {
        let mut rest = text.as_str();
        loop {
            let blank = rest
                .char_indices()
                .enumerate()
                .take(49)
                .filter(|(count, (_, c))| *count >= 30 && c.is_ascii_whitespace())
                .map(|(_, (at, _))| at)
                .last();
            let Some(at) = blank else { break };
            each(&rest[..at]);
            rest = &rest[at + 1..];
        }
        each(rest);
    }
}

/// A tag at the start of the text: its name, its argument, its length with both underscores.
fn tag_at(text: &str) -> Option<(&str, Option<&str>, usize)> {
    let inside = text.strip_prefix('_')?;
    let run =
        inside.bytes().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_').count();
    let mut end = inside[..run].find("__").unwrap_or(run);
    if !inside.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    if inside[..end].ends_with('_') {
        end -= 1;
    }
    if end == run && inside[run..].starts_with('(') {
        let line = inside[run..].split('\n').next().unwrap_or_default();
        if let Some(close) = line.find(")_") {
            return Some((&inside[..run], Some(&line[1..close]), 1 + run + close + 2));
        }
    }
    loop {
        if inside[end..].starts_with('_') {
            return Some((&inside[..end], None, end + 2));
        }
        end = inside[..end].rfind('_')?;
    }
}

/// Where lines may be broken.
#[derive(Clone, Copy, PartialEq)]
enum Break {
    /// At white space, which goes away at the end of a line.
    AtBlank,
    /// Behind white space and commas.
    BehindBlankOrComma,
}

/// Breaks a text into lines of at most `width` columns, a tab counting eight. `first` stands before it and `prefix` before
/// each further line.
fn wrapped(text: &str, prefix: &str, first: &str, width: usize, at: Break) -> String {
    let columns = |text: &str| text.len() + 7 * text.bytes().filter(|b| *b == b'\t').count();
    let mut lines: Vec<String> = Vec::new();
    let mut current = first.to_string();
    let (mut grown, mut begun, mut used) = (false, !first.is_empty(), columns(first));
    for piece in pieces(text, at) {
        let length = columns(piece);
        if begun {
            let sum = if grown { used + length } else { used };
            let fresh = !grown && !lines.is_empty();
            if sum > width && !fresh {
                lines.push(current.trim_ascii_end().to_string());
                current = prefix.to_string();
                used = columns(prefix);
            }
            grown = true;
        }
        begun = true;
        current.push_str(piece);
        used += length;
    }
    lines.push(current);
    lines.join("\n")
}

fn pieces(text: &str, at: Break) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for (place, c) in text.char_indices() {
        let behind = place + c.len_utf8();
        match at {
            Break::AtBlank if c.is_ascii_whitespace() => {
                pieces.extend([&text[from..place], &text[place..behind]]);
                from = behind;
            }
            Break::BehindBlankOrComma if c.is_ascii_whitespace() || c == ',' => {
                pieces.push(&text[from..behind]);
                from = behind;
            }
            _ => {}
        }
    }
    pieces.push(&text[from..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{Options, Reader};
    use crate::engine::Area;

    fn outcome(hits: &[(&str, f64, &str)]) -> Outcome {
        let hit = |(name, score, description): &(&str, f64, &str)| Hit {
            name: (*name).into(),
            score: *score,
            times: 1,
            value: 1.0,
            area: Area::Body,
            description: Some((*description).into()),
            evidence: None,
            found: Vec::new(),
        };
        let hits: Vec<Hit> = hits.iter().map(hit).collect();
        Outcome { score: hits.iter().map(|hit| hit.score).sum(), hits, ..Outcome::default() }
    }

    fn with<T>(conf: &str, outcome: &Outcome, each: impl FnOnce(&Report<'_>) -> T) -> T {
        let mut reader = Reader::new(Options::default());
        reader.read("t.cf", conf.as_bytes(), &mut |_| Err(String::new()));
        let set = reader.finish();
        assert_eq!(set.warnings, []);
        let field = |name: &str| (name == "From").then(|| "a@example.org".to_string());
        let tags = HashMap::from([("AUTOLEARN".into(), "no".into()), ("HOSTNAME".into(), "mx".into())]);
        each(&Report { outcome, set: &set, required: 5.0, tags, field: &field })
    }

    #[test]
    fn tags_of_templates() {
        let outcome = outcome(&[("B_RULE", 2.5, ""), ("A_RULE", 4.75, ""), ("__SUB", 1.0, "")]);
        let outcome = Outcome { score: 7.25, ..outcome };
        for (template, expected) in [
            ("_YESNO_, score=_SCORE_ required=_REQD_", "Yes, score=7.2 required=5.0"),
            ("_YESNO(spam,ham)_ _YESNOCAPS_", "spam YES"),
            ("_SCORE(0)_ _SCORE(00)_", "07.2 007.2"),
            ("tests=_TESTS_", "tests=A_RULE,B_RULE"),
            ("_TESTS( )_", "A_RULE B_RULE"),
            ("_TESTSSCORES_", "A_RULE=4.75,B_RULE=2.5"),
            ("_SUBTESTS_", "__SUB"),
            ("_STARS(+)_ _STARS_", "+++++++ *******"),
            ("_HEADER(From)_ _HEADER(To)_.", "a@example.org ."),
            ("_NO_SUCH_TAG_ _no_ __ _", "_NO_SUCH_TAG_ _no_ __ _"),
            ("_YESNO_REQD", "YesREQD"),
            ("_AUTOLEARN_ _HOSTNAME_", "no mx"),
        ] {
            assert_eq!(with("", &outcome, |report| report.filled(template)), expected, "{template}");
        }
    }

    #[test]
    fn what_is_no_spam_does_not_look_like_it() {
        let outcome = outcome(&[("A", 4.96, "")]);
        assert_eq!(with("", &outcome, |report| report.filled("_YESNO_ _SCORE_")), "No 4.9");
    }

    #[test]
    fn fields_and_reports() {
        let outcome = outcome(&[
            (
                "A_RULE_WITH_A_LONG_NAME",
                3.0,
                "A description that is so long that it does not fit on one line any more",
            ),
            ("B", 12.0, "Short"),
        ]);
        let conf = "clear_headers\nadd_header all Status _YESNO_, score=_SCORE_ required=_REQD_ tests=_TESTS_ \
                    autolearn=_AUTOLEARN_ version=_VERSION_\nadd_header spam Report _REPORT_\nadd_header ham Only x\n\
                    report Points _SCORE_\nreport _SUMMARY_";
        let (fields, body) = with(conf, &outcome, |report| (report.headers(), report.body()));
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let status = "X-Spam-Status: Yes, score=15.0 required=5.0 tests=A_RULE_WITH_A_LONG_NAME,B\n\tautolearn=no version=4.0.1";
        assert_eq!(fields[1], status);
        assert_eq!(
            fields[2],
            "X-Spam-Report: \n\t*  3.0 A_RULE_WITH_A_LONG_NAME BODY: A description that is so long that it\n\t*      does \
             not fit on one line any more\n\t*   12 B BODY: Short"
        );
        assert_eq!(fields.len(), 3);
        assert!(body.starts_with("Points 15.0\n 3.0 A_RULE_WITH_A_LONG_NAME BODY: A description"), "{body}");
        assert!(body.ends_with("  12 B                      BODY: Short\n\n"), "{body}");
    }

    #[test]
    fn numbers_as_perl_writes_them() {
        for (value, text) in
            [(1.0, "1"), (2.0000999999999998, "2.0001"), (-0.5, "-0.5"), (0.001, "0.001"), (100.0, "100")]
        {
            assert_eq!(number(value), text);
        }
        assert_eq!(
            amavis_status(&outcome(&[("B", 2.0, ""), ("A", 5.8, "")]), [-999.0, 6.31, 6.31], "spam"),
            "Yes, score=7.8 tag=-999 tag2=6.31 kill=6.31 tests=[A=5.8, B=2] autolearn=spam"
        );
    }
}
