//! What SpamAssassin 4.0.1 knows: its settings, eval functions and features, by plugin. `known.txt` is the table.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The kind of value that a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// None.
    None,
    /// Text to the end of the line.
    String,
    /// A number.
    Number,
    /// `1`, `yes`, `0` or `no`.
    Bool,
    /// A line of a template, appended.
    Template,
    /// Globs of mail addresses, appended.
    Addresses,
    /// A key and a value.
    Pairs,
    /// Words, appended.
    Strings,
    /// Networks, appended.
    Networks,
    /// Seconds, or a number with s, m, h, d or w.
    Duration,
    /// A syntax of its own.
    Own,
}

/// A setting.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its present name; others lead to it.
    pub name: &'static str,
    /// The plugin that brings it, without `Mail::SpamAssassin::Plugin::`; `Conf`: always there.
    pub plugin: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its value before anything is set.
    pub default: &'static str,
}

/// A function of eval rules.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// The plugin that brings it.
    pub plugin: &'static str,
    /// `header`, `body`, `full`, or `-` for any.
    pub place: &'static str,
}

/// The whole table.
pub struct Known {
    /// By every name that they may be written with; a plugin may bring a setting that another has, too.
    pub settings: HashMap<&'static str, Vec<Setting>>,
    /// By name.
    pub functions: HashMap<&'static str, Function>,
    /// What `can()` knows: plugin and name.
    pub features: Vec<(&'static str, &'static str)>,
    /// The plugins that are there.
    pub plugins: Vec<&'static str>,
}

/// The table.
pub static KNOWN: LazyLock<Known> = LazyLock::new(|| read(include_str!("known.txt")));

/// The module name of a plugin with nothing before it, if it is one of SpamAssassin's.
pub fn plugin(module: &str) -> Option<&'static str> {
    let name = match module.strip_prefix("Mail::SpamAssassin::Plugin::")? {
        "Dmarc" => "DMARC",
        "WhiteListSubject" => "WelcomeListSubject",
        name => name,
    };
    KNOWN.plugins.iter().find(|known| **known == name).copied()
}

fn read(table: &'static str) -> Known {
    let mut known = Known {
        settings: HashMap::new(),
        functions: HashMap::new(),
        features: Vec::new(),
        plugins: Vec::new(),
    };
    let mut plugin = "Conf";
    for line in table.lines() {
        let mut words = line.splitn(5, ' ');
        let (what, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match what {
            "set" => {
                let kind = kind(words.next().unwrap_or_default());
                let others = words.next().unwrap_or("-");
                let setting = Setting { name, plugin, kind, default: words.next().unwrap_or_default() };
                for name in others.split(',').filter(|other| *other != "-").chain([name]) {
                    known.settings.entry(name).or_default().push(setting.clone());
                }
            }
            "eval" => {
                known.functions.insert(name, Function { plugin, place: words.next().unwrap_or("-") });
            }
            "can" => known.features.push((plugin, name)),
            _ => {
                if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                    plugin = section;
                    known.plugins.push(section);
                }
            }
        }
    }
    known
}

fn kind(word: &str) -> Kind {
    match word {
        "none" => Kind::None,
        "string" => Kind::String,
        "number" => Kind::Number,
        "bool" => Kind::Bool,
        "template" => Kind::Template,
        "addresses" => Kind::Addresses,
        "pairs" => Kind::Pairs,
        "strings" => Kind::Strings,
        "networks" => Kind::Networks,
        "duration" => Kind::Duration,
        _ => Kind::Own,
    }
}
