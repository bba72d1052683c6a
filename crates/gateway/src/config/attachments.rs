//! `[checks.attachments]`: rules about the names and types of attachments, in sets that policies choose from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gatepost_mail::OnFault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Size;

/// Attachment rules.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Attachments {
    /// Use them.
    pub enabled: bool,
    /// Use the built-in list of dangerous names and types (programs, scripts, shortcuts, double extensions, CLSIDs).
    pub builtin: bool,
    /// Own rules, tried in order before the built-in list; the first that matches a part decides.
    pub rule: Vec<AttachmentRule>,
    /// Further sets of rules, by name, for policies that name them in `attachments`. Each has a symbol of its own:
    /// `BANNED_BY_STRICT` for the set `strict`.
    pub set: BTreeMap<String, AttachmentSet>,
    /// What happens to a message it fails on.
    pub on_fault: OnFault,
}

impl Default for Attachments {
    fn default() -> Attachments {
        Attachments {
            enabled: true,
            builtin: true,
            rule: Vec::new(),
            set: BTreeMap::new(),
            on_fault: OnFault::Defer,
        }
    }
}

/// A set of rules. Its own rules come first, the first that matches a part decides. Else MailScanner's tables are asked,
/// where it has any: the one about names and the one about types each for itself, and one that denies is enough. Then the
/// built-in list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AttachmentSet {
    /// Use the built-in list, too.
    pub builtin: bool,
    /// Its rules, in their order.
    pub rule: Vec<AttachmentRule>,
    /// Tables in the form of MailScanner's `filename.rules.conf`, one behind the other. Read again when they change.
    pub mailscanner_filenames: Vec<PathBuf>,
    /// Tables in the form of MailScanner's `filetype.rules.conf`.
    pub mailscanner_filetypes: Vec<PathBuf>,
    /// As `mailscanner_filenames`, in its place for what lies in archives and documents.
    pub mailscanner_archive_filenames: Vec<PathBuf>,
    /// As `mailscanner_filetypes`, in its place for what lies in archives and documents.
    pub mailscanner_archive_filetypes: Vec<PathBuf>,
    /// New name where a table says `rename` alone, as MailScanner's `Default Rename Pattern`: `__FILENAME__` stands for
    /// the name.
    pub mailscanner_rename: String,
}

impl Default for AttachmentSet {
    fn default() -> AttachmentSet {
        AttachmentSet {
            builtin: false,
            rule: Vec::new(),
            mailscanner_filenames: Vec::new(),
            mailscanner_filetypes: Vec::new(),
            mailscanner_archive_filenames: Vec::new(),
            mailscanner_archive_filetypes: Vec::new(),
            mailscanner_rename: "__FILENAME__.disarmed".into(),
        }
    }
}

impl AttachmentSet {
    /// All files it reads, with their keys.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let all = [
            ("mailscanner_filenames", &self.mailscanner_filenames),
            ("mailscanner_filetypes", &self.mailscanner_filetypes),
            ("mailscanner_archive_filenames", &self.mailscanner_archive_filenames),
            ("mailscanner_archive_filetypes", &self.mailscanner_archive_filetypes),
        ];
        all.into_iter().flat_map(|(key, files)| files.iter().map(move |file| (key, file)))
    }
}

/// All conditions that are given must hold; patterns are regular expressions without case, unless they say otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AttachmentRule {
    /// Name of the rule, shown as evidence.
    pub name: String,
    /// `true`: what matches is let in. `false`: banned.
    pub allow: bool,
    /// What matches gets this name instead of being banned: `{name}.disarmed`, where `{name}` stands for its own. Only what
    /// stands in the message itself can be renamed; in archives the rule does nothing.
    pub rename: Option<String>,
    /// What the recipient and the sender are told, before the path. Empty: the rule's name.
    pub report: String,
    /// Pattern for any of the part's names.
    pub filename: Option<String>,
    /// Pattern for the path with all the containers it lies in, `invoice.zip/invoice.pdf.exe`.
    pub path: Option<String>,
    /// What it lies in, at any depth: types by content, by short name or family, or names with stars:
    /// `["zip", "rar", "archive", "*.iso"]`. One of them is enough.
    pub inside: Vec<String>,
    /// Declared media types, `application/x-msdownload`, `image/*`.
    pub declared: Vec<String>,
    /// Types by content, by short name or family: `exe`, `executable`, `script`, `zip`, `archive`.
    pub detected: Vec<String>,
    /// Encrypted, or not.
    pub encrypted: Option<bool>,
    /// Nested deeper than this.
    pub deeper_than: Option<u32>,
    /// Larger than this.
    pub larger_than: Option<Size>,
    /// Pattern of Perl's kind, as in amavis's `$banned_filename_re`: matched against each name, each declared type and
    /// each short type with a dot before it (`.exe`) of a part and of all it lies in. Asked of the innermost parts only.
    pub amavis: Option<String>,
    /// Pattern of Perl's kind, as in amavis's `$banned_namepath_re`: matched against the lines that describe a part and
    /// all it lies in.
    pub amavis_path: Option<String>,
}

/// The set that `[[checks.attachments.rule]]` and the built-in list make.
pub const DEFAULT_SET: &str = "default";

/// What rules of the default set find.
pub const RULE: &str = "BANNED_RULE";

/// Its rules that rename.
pub const RENAME: &str = "ATTACHMENT_TO_RENAME";

/// All that the default set finds.
pub const DEFAULT_SYMBOLS: [&str; 6] =
    ["BANNED_NAME", "BANNED_TYPE", "BANNED_DOUBLE_EXTENSION", "BANNED_CLSID", RULE, RENAME];

/// What a named set finds where it bans, and where it renames: `BANNED_BY_STRICT`, `ATTACHMENT_TO_RENAME_BY_STRICT`.
pub fn set_symbols(set: &str) -> [String; 2] {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = set.chars().map(plain).collect();
    [format!("BANNED_BY_{name}"), format!("{RENAME}_BY_{name}")]
}

/// Whether a symbol says that a part shall get another name; what name, [`new_name`] tells.
pub fn is_rename(symbol: &str) -> bool {
    symbol.strip_prefix(RENAME).is_some_and(|rest| rest.is_empty() || rest.starts_with("_BY_"))
}

/// Stands before the new name, at the end of the evidence. No new name has it.
pub const ARROW: &str = " \u{2192} ";

/// The new name that a finding of a rule that renames asks for, by its evidence: `why: path → new name`.
pub fn new_name(evidence: &str) -> Option<&str> {
    evidence.rsplit_once(ARROW).map(|(_, name)| name).filter(|name| !name.is_empty())
}
