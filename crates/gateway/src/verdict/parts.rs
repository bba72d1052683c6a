//! What policies say about parts and about texts in the mail, checked and compiled.

use std::collections::{BTreeMap, BTreeSet};

use gatepost_mail::{Action, Category, Defang, Message, holds_text, text};

use super::template::Notice;
use super::texts;
use crate::config::Problem;
use crate::config::attachments;
use crate::config::parts::{Disclaimer, Language, PartAction};
use crate::config::typed;

/// In `warnings`: the text that is built in.
const BUILT_IN: &str = "built-in";
/// Longest disclaimer, in bytes.
const MAX_DISCLAIMER: usize = 64 << 10;

/// What one policy says, with all it takes from below.
#[derive(Debug)]
pub(super) struct PartRules {
    /// By symbol or by the name of a category.
    actions: BTreeMap<String, PartAction>,
    pub rename_to: Notice,
    defang: BTreeMap<Category, Vec<Defang>>,
    warnings: BTreeMap<Category, Notice>,
    pub disclaimer: Option<Footer>,
    pub wrap_text: Notice,
}

impl PartRules {
    /// What is done with a part in which a symbol of this category was found, where that category is stripped.
    pub fn of(&self, symbol: &str, category: Category) -> PartAction {
        let own = self.of_symbol(symbol).or_else(|| self.actions.get(category.name()).copied());
        own.unwrap_or(PartAction::Replace)
    }

    /// What is said of a symbol itself. Those of rules that rename need nothing said.
    pub fn of_symbol(&self, symbol: &str) -> Option<PartAction> {
        let renames = || attachments::is_rename(symbol).then_some(PartAction::Rename);
        self.actions.get(symbol).copied().or_else(renames)
    }

    /// What is taken out of HTML in mail of these categories, each kind once.
    pub fn defang(&self, categories: &BTreeSet<Category>) -> Vec<Defang> {
        let all = categories.iter().filter_map(|category| self.defang.get(category)).flatten().copied();
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Warnings for mail of these categories, of the worst first.
    pub fn warnings(&self, categories: &BTreeSet<Category>) -> impl Iterator<Item = (Category, &Notice)> {
        let worst_first = categories.iter().rev();
        worst_first.filter_map(|category| Some((*category, self.warnings.get(category)?)))
    }

    /// `layers` from the nearest to `default_policy`.
    pub fn compile(layers: &[&PartLayer]) -> PartRules {
        let nearest_first = || layers.iter().copied();
        let from_below = || layers.iter().rev().copied();
        let language = nearest_first().find_map(|layer| layer.typed.language).unwrap_or_default();
        let mut actions = BTreeMap::new();
        let mut defang = BTreeMap::new();
        let mut warnings = BTreeMap::new();
        for layer in from_below() {
            actions.extend(layer.typed.parts.iter().map(|(key, action)| (key.clone(), *action)));
            defang.extend(layer.typed.defang.iter().map(|(category, what)| (*category, what.clone())));
            for (category, warning) in &layer.warnings {
                match warning {
                    Warning::None => drop(warnings.remove(category)),
                    Warning::BuiltIn => drop(warnings.insert(*category, texts::warning(language))),
                    Warning::Own(text) => drop(warnings.insert(*category, text.clone())),
                }
            }
        }
        let disclaimer = nearest_first().map(|layer| &layer.typed.disclaimer).find(|own| is_given(own));
        PartRules {
            actions,
            rename_to: nearest_first()
                .find_map(|layer| layer.rename_to.clone())
                .unwrap_or_else(|| Notice::parse_name("{name}.disarmed").expect("a pattern of names")),
            defang,
            warnings,
            disclaimer: disclaimer.and_then(Footer::new),
            wrap_text: nearest_text(layers, |layer| layer.wrap_text.as_ref(), texts::wrap),
        }
    }
}

/// The nearest text: of each layer its own, or else that of its language.
pub(super) fn nearest_text<'l>(
    layers: &[&'l PartLayer],
    own: impl Fn(&'l PartLayer) -> Option<&'l Notice>,
    built_in: fn(Language) -> Notice,
) -> Notice {
    let of_layer = |layer: &&'l PartLayer| own(layer).cloned().or_else(|| layer.typed.language.map(built_in));
    layers.iter().find_map(of_layer).unwrap_or_else(|| built_in(Language::default()))
}

/// What was typed for one policy, its texts compiled.
pub(super) struct PartLayer<'a> {
    typed: &'a typed::Policy,
    rename_to: Option<Notice>,
    warnings: BTreeMap<Category, Warning>,
    wrap_text: Option<Notice>,
    pub strip_text: Option<Notice>,
    pub bounce_text: Option<Notice>,
}

enum Warning {
    None,
    BuiltIn,
    Own(Notice),
}

impl<'a> PartLayer<'a> {
    /// Checks all that can be checked without knowing the layers below. `key` is that of the policy.
    pub fn read(key: &str, typed: &'a typed::Policy, problems: &mut Vec<Problem>) -> PartLayer<'a> {
        let mut warnings = BTreeMap::new();
        for (category, text) in &typed.warnings {
            let warning = match text.as_str() {
                "" => Some(Warning::None),
                BUILT_IN => Some(Warning::BuiltIn),
                text => Notice::parse_about_mail(text)
                    .map_err(|message| {
                        problems.push(Problem::new(format!("{key}.warnings.{category}"), message));
                    })
                    .ok()
                    .map(Warning::Own),
            };
            warnings.extend(warning.map(|warning| (*category, warning)));
        }
        for (field, text) in [("text", &typed.disclaimer.text), ("html", &typed.disclaimer.html)] {
            if text.as_ref().is_some_and(|text| text.len() > MAX_DISCLAIMER) {
                let message = format!("longer than {MAX_DISCLAIMER} bytes");
                problems.push(Problem::new(format!("{key}.disclaimer.{field}"), message));
            }
        }
        let mut text = |field: &str, own: &Option<String>, parse: fn(&str) -> Result<Notice, String>| {
            let refused = |message| problems.push(Problem::new(format!("{key}.{field}"), message));
            own.as_deref().and_then(|text| parse(text).map_err(refused).ok())
        };
        PartLayer {
            typed,
            rename_to: text("rename_to", &typed.rename_to, Notice::parse_name),
            wrap_text: text("wrap_text", &typed.wrap_text, Notice::parse_about_mail),
            strip_text: text("strip_text", &typed.strip_text, Notice::parse),
            bounce_text: text("bounce_text", &typed.bounce_text, Notice::parse_bounce),
            warnings,
        }
    }
}

/// Checks the keys of `parts`, which would otherwise silently do nothing. `category_of` tells the category of a symbol in
/// this policy; None if there is no such symbol.
pub(super) fn check(
    key: &str,
    typed: &typed::Policy,
    actions: &BTreeMap<Category, Action>,
    category_of: impl Fn(&str) -> Option<Option<Category>>,
    problems: &mut Vec<Problem>,
) {
    for name in typed.parts.keys() {
        let category = Category::ALL.into_iter().find(|category| category.name() == name);
        let counts_as = match (category, category_of(name)) {
            (Some(category), _) => Some(category),
            (None, Some(category)) => category,
            // Told with the other symbols.
            (None, None) => continue,
        };
        let Some(counts_as) = counts_as else { continue };
        let action = actions.get(&counts_as).copied();
        if action == Some(Action::Strip) {
            continue;
        }
        let action = action.map_or("deliver", Action::name);
        let message = match category {
            Some(category) if super::policy::check_action(category, Action::Strip).is_err() => {
                format!("{category} is not about a part; parts is for virus, banned, unchecked and symbols")
            }
            Some(category) => format!(
                "only stripped mail gets this, and the action for {category} is {action}: set \
                 actions.{category} = \"strip\""
            ),
            None => format!(
                "{name} counts as {counts_as}, whose action is {action}, so this is never done: set \
                 actions.{counts_as} = \"strip\", or categories.{name} = \"clean\""
            ),
        };
        problems.push(Problem::new(format!("{key}.parts.{name}"), message));
    }
}

/// A disclaimer, ready to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// For plain text; empty if it is to be made of the other.
    pub text: String,
    /// For HTML; empty if it is to be made of the other.
    pub html: String,
    /// What a reader sees of it.
    shown: String,
}

impl Footer {
    /// None if it says nothing.
    fn new(typed: &Disclaimer) -> Option<Footer> {
        let own = |text: &Option<String>| match text.as_deref().unwrap_or_default() {
            blank if blank.trim().is_empty() => String::new(),
            text => text.replace("\r\n", "\n").trim_matches('\n').to_owned() + "\n",
        };
        let (text, html) = (own(&typed.text), own(&typed.html));
        let shown = if text.is_empty() { text::html(&html).text } else { text.clone() };
        (!(text.is_empty() && html.is_empty())).then_some(Footer { text, html, shown })
    }

    /// Whether the message holds it already, as an answer does that quotes our own mail.
    pub fn is_in(&self, message: &Message) -> bool {
        !self.shown.trim().is_empty() && holds_text(message, &self.shown)
    }
}

fn is_given(disclaimer: &Disclaimer) -> bool {
    disclaimer.text.is_some() || disclaimer.html.is_some()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PLAIN, mail};
    use super::*;

    fn footer(text: Option<&str>, html: Option<&str>) -> Option<Footer> {
        Footer::new(&Disclaimer { text: text.map(str::to_owned), html: html.map(str::to_owned) })
    }

    #[test]
    fn a_disclaimer_says_something() {
        let made = |text, html| footer(text, html).map(|footer| (footer.text, footer.html, footer.shown));
        let three = |text: &str, html: &str, shown: &str| Some((text.into(), html.into(), shown.into()));
        assert_eq!(made(Some("A & B\r\n<c>\n\n"), None), three("A & B\n<c>\n", "", "A & B\n<c>\n"));
        assert_eq!(
            made(None, Some("<p>A &amp; <b>B</b></p>")),
            three("", "<p>A &amp; <b>B</b></p>\n", "A & B")
        );
        assert_eq!(made(Some("a"), Some("<i>b</i>")), three("a\n", "<i>b</i>\n", "a\n"));
        assert_eq!(made(Some(" \n"), Some("")), None);
        assert_eq!(made(None, None), None);
    }

    #[test]
    fn a_disclaimer_is_known_when_it_is_quoted() {
        let footer =
            footer(Some("This mail is for its recipient\nalone. Example Ltd."), None).expect("a footer");
        let head = "From: a@a.test\r\nSubject: Re: x\r\n";
        for (body, known) in [
            ("No.\r\n", false),
            ("Yes.\r\n> This mail is for its\r\n> recipient alone. Example\r\n> Ltd.\r\n", true),
            ("This mail is for its recipient\r\n", false),
        ] {
            let mail = mail(&format!("{head}\r\n{body}"), &[]);
            assert_eq!(footer.is_in(&mail.message), known, "{body}");
        }
        assert!(!footer.is_in(&mail(PLAIN, &[]).message));
    }
}
