//! What policies say about parts: `parts`, `language`, `disclaimer`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done with a part in which something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PartAction {
    /// It gets the name that `rename_to` says.
    Rename,
    /// What acts by itself is taken out of it: macros of documents, scripts of pages. Where that cannot be done, or what
    /// was found is still there afterwards, it is replaced.
    Clean,
    /// A text stands in its place.
    Replace,
}

/// A language of the texts that are built in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    #[default]
    En,
    /// French.
    Fr,
    /// German.
    De,
}

impl Language {
    /// All of them.
    #[cfg(test)]
    pub const ALL: [Language; 3] = [Language::En, Language::Fr, Language::De];

    /// The name in configuration, and of the folder of its templates.
    pub const fn name(self) -> &'static str {
        match self {
            Language::En => "en",
            Language::Fr => "fr",
            Language::De => "de",
        }
    }
}

/// Added at the bottom of what is delivered, to the text and to the HTML of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Disclaimer {
    /// For plain text. Where only `html` is given it is made of that. `""`: none, where `default_policy` has one.
    pub text: Option<String>,
    /// For HTML: elements that may stand in a body. Where only `text` is given it is made of that.
    pub html: Option<String>,
}
