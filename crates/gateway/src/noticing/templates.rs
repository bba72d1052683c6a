//! The texts of notices: templates, built in or from a folder, and what they are filled with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gatepost_mail::{Action, Category, Direction};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, UndefinedBehavior, Value};

use super::row::{Context, Count, Found, Shown};
use crate::config::Problem;

/// Largest file of a template, in bytes, and most files.
const SIZE: u64 = 256 * 1024;
const FILES: usize = 200;
/// Steps that filling one template may take. One row takes some hundred.
const FUEL: u64 = 5_000_000;
/// Longest subject, in characters.
const SUBJECT: usize = 200;

macro_rules! built_in {
    ($($language:literal: $($file:literal)*;)*) => {
        &[$($(
            (concat!($language, "/", $file), include_str!(concat!("../../templates/", $language, "/", $file))),
        )*)*]
    };
}

/// The built-in templates, by language and file.
const BUILT_IN: &[(&str, &str)] = built_in! {
    "en": "_words.txt" "_tail.txt" "_tail.html" "admin.txt" "admin.html" "recipient.txt" "recipient.html" "sender.txt" "sender.html";
    "fr": "_words.txt" "_tail.txt" "_tail.html" "admin.txt" "admin.html" "recipient.txt" "recipient.html" "sender.txt" "sender.html";
    "de": "_words.txt" "_tail.txt" "_tail.html" "admin.txt" "admin.html" "recipient.txt" "recipient.html" "sender.txt" "sender.html";
};

/// The language of what a folder does not have.
const FALLBACK: &str = "en";

/// Whom a template is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Admin,
    Recipient,
    Sender,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Admin, Kind::Recipient, Kind::Sender];

    fn name(self) -> &'static str {
        match self {
            Kind::Admin => "admin",
            Kind::Recipient => "recipient",
            Kind::Sender => "sender",
        }
    }
}

/// A notice, filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rendered {
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
}

/// All templates.
pub(super) struct Templates {
    folder: PathBuf,
    all: Environment<'static>,
    /// The built-in ones alone: what is told when others fail.
    built_in: Environment<'static>,
    /// Files of the folder, as `fr/admin.txt`.
    own: BTreeSet<String>,
    languages: BTreeSet<String>,
}

impl Templates {
    /// The built-in templates and those of a folder over them, each tried with what it may have to show. Also gives what is
    /// wrong with those of the folder; then the built-in ones stand in for all.
    pub fn load(folder: Option<&Path>) -> (Templates, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut built_in = environment();
        for (name, source) in BUILT_IN {
            // A test fills each of them in.
            let _ = built_in.add_template(name, source);
        }
        let mut templates = Templates {
            folder: folder.unwrap_or(Path::new("")).to_owned(),
            all: built_in.clone(),
            built_in,
            own: BTreeSet::new(),
            languages: BUILT_IN
                .iter()
                .filter_map(|(name, _)| Some(name.split_once('/')?.0.to_owned()))
                .collect(),
        };
        let problem = |message: String| Problem::new("notices.templates", message);
        match folder.map(read_folder) {
            None => {}
            Some(Err(message)) => problems.push(problem(message)),
            Some(Ok(files)) => {
                for (name, source) in files {
                    match templates.all.add_template_owned(name.clone(), source) {
                        Ok(()) => {
                            templates
                                .languages
                                .extend(name.split_once('/').map(|(language, _)| language.to_owned()));
                            templates.own.insert(name);
                        }
                        Err(error) => problems.push(problem(describe(folder, &name, &error))),
                    }
                }
            }
        }
        if problems.is_empty() {
            problems.extend(templates.try_all().into_iter().map(problem));
        }
        (templates, problems)
    }

    /// Whether there is a language.
    pub fn has(&self, language: &str) -> bool {
        self.languages.contains(language)
    }

    /// The languages that there are, for people.
    pub fn languages(&self) -> String {
        self.languages.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// A notice in a language. Where a template of the folder fails, which [`Templates::load`] has tried, the built-in one
    /// is used, and the log says so.
    pub fn render(&self, language: &str, kind: Kind, context: &Context) -> Result<Rendered, String> {
        let value = Value::from(Serde(context));
        self.fill(&self.all, language, kind, &value).or_else(|error| {
            tracing::error!(error, "a template of a notice fails; the built-in one is used");
            self.fill(&self.built_in, language, kind, &value)
        })
    }

    fn fill(
        &self,
        environment: &Environment,
        language: &str,
        kind: Kind,
        value: &Value,
    ) -> Result<Rendered, String> {
        let name = |language: &str, ending: &str| format!("{language}/{}.{ending}", kind.name());
        let exists = |name: &String| environment.get_template(name).is_ok();
        let in_language = |ending: &str| Some(name(language, ending)).filter(exists);
        let text_name = in_language("txt").unwrap_or_else(|| name(FALLBACK, "txt"));
        let html_name = in_language("html").unwrap_or_else(|| name(FALLBACK, "html"));
        let filled = |name: &str| {
            let filled = environment.get_template(name).and_then(|template| template.render(value.clone()));
            filled.map_err(|error| describe(Some(&self.folder), name, &error))
        };
        let text = filled(&text_name)?;
        let (subject, text) = split_subject(&text).ok_or_else(|| {
            let file = self.folder.join(&text_name);
            format!("{}:1: it does not begin with a line “Subject: …” and an empty one", file.display())
        })?;
        // Words of ours beside words of theirs would tell two things.
        let text_alone = self.own.contains(&text_name) && !self.own.contains(&html_name);
        let html = if text_alone { None } else { Some(filled(&html_name)?) };
        Ok(Rendered { subject, text, html })
    }

    /// Fills each template in with all that may come: nothing, one message, many, every category and action.
    fn try_all(&self) -> Vec<String> {
        let samples: Vec<Value> = samples().iter().map(|sample| Value::from(Serde(sample))).collect();
        let mut wrong: Vec<String> = Vec::new();
        for language in &self.languages {
            for kind in Kind::ALL {
                let tried = samples.iter().map(|sample| self.fill(&self.all, language, kind, sample));
                wrong.extend(tried.filter_map(Result::err).take(1));
            }
        }
        wrong.dedup();
        wrong
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // A misspelt name is an error when templates are read, not a hole in somebody's mail.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        environment.set_syntax(syntax);
    }
    environment
}

/// The files of a folder's folders, as `fr/admin.txt`, and what is in them.
fn read_folder(folder: &Path) -> Result<Vec<(String, String)>, String> {
    let mut files = Vec::new();
    for language in entries(folder)? {
        let path = folder.join(&language);
        // Other files may lie beside the folders.
        if !path.is_dir() {
            continue;
        }
        for file in entries(&path)? {
            let whole = path.join(&file);
            let ending = Path::new(&file).extension().and_then(|ending| ending.to_str());
            // What editors leave behind, and texts about the templates.
            if !matches!(ending, Some("txt" | "html")) || file.starts_with('.') {
                continue;
            }
            let stem = file.rsplit_once('.').map_or(file.as_str(), |(stem, _)| stem);
            if !stem.starts_with('_') && !Kind::ALL.iter().any(|kind| kind.name() == stem) {
                return Err(format!(
                    "{}: it is none of admin, recipient and sender; let the name of a file that others include begin with _",
                    whole.display()
                ));
            }
            if files.len() >= FILES {
                return Err(format!("{}: it has more than {FILES} files", folder.display()));
            }
            files.push((format!("{language}/{file}"), read_file(&whole)?));
        }
    }
    Ok(files)
}

fn entries(folder: &Path) -> Result<Vec<String>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

fn read_file(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if std::fs::metadata(path).map_err(failed)?.len() > SIZE {
        return Err(format!("{}: it has more than {SIZE} bytes", path.display()));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// An error with the file and line where it is: that of an included file, where it is there.
fn describe(folder: Option<&Path>, name: &str, error: &Error) -> String {
    let mut innermost = error;
    while let Some(inner) =
        std::error::Error::source(innermost).and_then(|inner| inner.downcast_ref::<Error>())
    {
        innermost = inner;
    }
    let name = innermost.name().unwrap_or(name);
    let file = folder.unwrap_or(Path::new("")).join(name);
    let line = innermost.line().unwrap_or(1);
    let detail = innermost.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{}:{line}: {}{detail}", file.display(), innermost.kind())
}

/// The subject in the first line, and what stands behind an empty one.
fn split_subject(text: &str) -> Option<(String, String)> {
    let (first, rest) = text.trim_start().split_once('\n')?;
    let subject = first.trim_end().strip_prefix("Subject:")?.trim();
    let rest = rest.strip_prefix('\n').or_else(|| rest.strip_prefix("\r\n"))?;
    let subject: String = subject.chars().filter(|c| !c.is_control()).take(SUBJECT).collect();
    (!subject.is_empty()).then(|| (subject, rest.to_owned()))
}

/// What templates are tried with.
fn samples() -> Vec<Context<'static>> {
    let context = |rows: Vec<Shown>, more: u64, full: bool| Context {
        hostname: "mx.example.org",
        postmaster: if full { "postmaster@example.org" } else { "" },
        name: if full { "security" } else { "" },
        address: "user@example.org".into(),
        footer: if full { "Example" } else { "" },
        ask: if full { "Write to help@example.org." } else { "" },
        total: rows.len() as u64 + more,
        more,
        capped: full,
        last: full,
        per_day: 4,
        since: "2026-03-01 12:30".into(),
        categories: Category::ALL
            .iter()
            .map(|category| Count { category: category.name(), count: 1 })
            .collect(),
        rows,
    };
    let actions = Action::ALL.into_iter().cycle();
    let all: Vec<Shown> =
        Category::ALL.into_iter().zip(actions).map(|(category, action)| sample(category, action)).collect();
    let empty = Shown {
        found: Vec::new(),
        recipients: Vec::new(),
        held: false,
        ..sample(Category::Spam, Action::Quarantine)
    };
    vec![
        context(vec![sample(Category::Virus, Action::Strip)], 0, false),
        context(all, 312, true),
        context(vec![empty], 0, true),
    ]
}

fn sample(category: Category, action: Action) -> Shown {
    Shown {
        id: "l1bnIZN88okd".into(),
        time: "2026-03-01 12:30".into(),
        sender: "sender@example.net".into(),
        from: "Sender <sender@example.net>".into(),
        recipients: vec!["user@example.org".into()],
        more_recipients: 1,
        subject: "Your invoice".into(),
        message_id: "<m1@example.net>".into(),
        reason: "Eicar-Test-Signature".into(),
        category: category.name(),
        action: action.name(),
        held: true,
        size: "12 KiB".into(),
        bytes: 12_288,
        client: "192.0.2.1".into(),
        direction: Direction::Inbound,
        found: vec![Found {
            symbol: "VIRUS".into(),
            name: "Eicar-Test-Signature".into(),
            file: "a.exe".into(),
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context<'static> {
        samples().swap_remove(1)
    }

    #[test]
    fn the_built_in_ones_say_all_of_it_in_each_language() {
        let (templates, problems) = Templates::load(None);
        assert_eq!(problems, []);
        assert_eq!(templates.languages(), "de, en, fr");
        for (name, source) in BUILT_IN {
            assert!(environment().add_template(name, source).is_ok(), "{name}");
        }
        for language in ["en", "fr", "de"] {
            for kind in Kind::ALL {
                let mut context = context();
                context.rows[0].subject = "<b>x & y</b>".into();
                let Rendered { subject, text, html } = templates.render(language, kind, &context).unwrap();
                let html = html.expect("HTML");
                assert!(!subject.is_empty() && subject.len() < 120, "{subject}");
                for part in ["2026-03-01 12:30", "l1bnIZN88okd", "12 KiB", "312", " 24 ", "Example"] {
                    assert!(text.contains(part), "{language} {kind:?}: {part} is not in\n{text}");
                    assert!(html.contains(part), "{language} {kind:?}: {part} is not in\n{html}");
                }
                assert!(html.contains("&lt;b&gt;x &amp; y") && !html.contains("<b>x"), "{html}");
                assert!(!html.contains("href") && !html.contains("mailto"), "{html}");
                assert!(text.contains("<b>x & y</b>"), "{text}");
                if kind != Kind::Sender {
                    let release = if kind == Kind::Admin { "gatepost quarantine release" } else { "help@" };
                    assert!(text.contains(release) && html.contains(release), "{text}\n{html}");
                }
            }
        }
    }

    #[test]
    fn own_ones_stand_in_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("README.txt", "about");
        write("en/admin.txt", "Subject: {{ total }} on {{ hostname }}\n\n{% include 'en/_end.txt' %}\n");
        write("en/_end.txt", "The end, {{ name }}");
        write("fr/_tail.txt", "Voilà, {{ closing }}");
        write("it/recipient.txt", "Subject: Posta\n\nCiao\n");
        write("it/recipient.html", "<p>{{ rows[0].subject }}</p>");
        let (templates, problems) = Templates::load(Some(folder.path()));
        assert_eq!(problems, []);
        let mut context = context();
        context.rows[0].subject = "<script>".into();
        let admin = templates.render("en", Kind::Admin, &context).unwrap();
        assert_eq!(
            (admin.subject.as_str(), admin.text.as_str()),
            ("322 on mx.example.org", "The end, security")
        );
        assert_eq!(admin.html, None, "the built-in HTML would say something else");
        let french = templates.render("fr", Kind::Recipient, &context).unwrap();
        assert!(french.text.trim_end().ends_with("Voilà, Write to help@example.org."), "{}", french.text);
        let italian = templates.render("it", Kind::Recipient, &context).unwrap();
        assert_eq!(italian.html.as_deref(), Some("<p>&lt;script&gt;</p>"));
        assert!(
            templates.render("it", Kind::Sender, &context).unwrap().text.contains("held"),
            "English else"
        );
    }

    #[test]
    fn mistakes_are_told_with_file_and_line() {
        for (name, text, expected) in [
            ("en/admin.txt", "Subject: x\n\n{% if %}", "en/admin.txt:3: syntax error"),
            ("en/admin.txt", "Subject: x\n\n\n{{ hostnam }}", "en/admin.txt:4: undefined value"),
            ("en/admin.txt", "Hello\n\nx", "en/admin.txt:1: it does not begin with"),
            ("en/_words.txt", "\n{% macro category(name) %}{{ nam }}{% endmacro %}", "en/_words.txt:"),
            ("en/admn.txt", "Subject: x\n\nx", "en/admn.txt: it is none of admin"),
            ("fr/sender.html", "{{ rows[0].subject | nofilter }}", "fr/sender.html:1: unknown filter"),
            (
                "en/admin.txt",
                "Subject: x\n\n{% for i in range(90000) %}{% for j in range(900) %}{% endfor %}{% endfor %}",
                "en/admin.txt:3: engine ran out of fuel",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            let (_, problems) = Templates::load(Some(folder.path()));
            let expected = folder.path().join(expected).display().to_string();
            assert!(
                problems.iter().any(|problem| problem.message.starts_with(&expected)),
                "{expected}: {problems:?}"
            );
        }
        let (_, problems) = Templates::load(Some(Path::new("/nonexistent/templates")));
        assert!(problems[0].message.starts_with("/nonexistent/templates: No such file"), "{problems:?}");
    }
}
