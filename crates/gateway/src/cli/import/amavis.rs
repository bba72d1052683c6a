//! amavisd-new's configuration: its rules about attachments, which tables there are, and which count for whom. What it says
//! about spam is read in `spam.rs`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::lookup::{Key, Lookup, all};
use super::perl::{Node, Pattern, Value, statements};
use super::spam::{self, Spam};
use super::written::{Policy, set_name, text};
use super::{Imported, Notes};

/// Translates files, in the order in which amavisd reads them.
pub(super) fn import(files: &[(PathBuf, String)]) -> Imported {
    let mut imported = Imported::default();
    let config = Config::read(files, &mut imported.notes);
    let spam = Spam::read(&mut Reader { config: &config, notes: &mut imported.notes });
    if !config.values.keys().any(|name| name.contains("banned") && !is_elsewhere(name)) {
        if spam.is_empty() {
            let file = files.last().map(|(file, _)| file.as_path()).unwrap_or(Path::new("-"));
            let what = "nothing about banned attachments or spam is assigned here or in the files before";
            imported.notes.add(file, 1, what);
        }
        spam.write_alone(&mut imported.toml);
        return imported;
    }
    let mut reader = Reader { config: &config, notes: &mut imported.notes };
    let tables = reader.tables();
    let paths = reader.rules("$banned_namepath_re", true);
    let names = reader.lookups("banned_filename_maps", Reader::names);
    let names = names.unwrap_or_else(|| vec![Lookup::Constant(vec!["DEFAULT".to_owned()])]);
    let yes = |reader: &mut Reader, node: &Node, _: usize| reader.is_true(node);
    let bypass = reader.lookups("bypass_banned_checks_maps", yes);
    let bypass = bypass.unwrap_or_else(|| reader.old_lookups("bypass_banned_checks"));
    let lovers = reader.lookups("banned_files_lovers_maps", yes);
    let lovers = lovers.unwrap_or_else(|| reader.old_lookups("banned_files_lovers"));
    let destiny = reader.destiny("$final_banned_destiny", "$banned_files_quarantine_method");
    let mut writer =
        Writer { tables: &tables, paths: &paths, spam: &spam, sets: Vec::new(), out: String::new() };
    let settings = |key: &Key| Settings {
        names: all(&names, key).into_iter().flatten().collect(),
        bypassed: all(&bypass, key).first() == Some(&true),
        loved: all(&lovers, key).first() == Some(&true),
    };
    let keys = names.iter().flat_map(Lookup::keys);
    let keys = keys.chain(bypass.iter().chain(&lovers).flat_map(Lookup::keys));
    let mut keys: Vec<Key> = keys.filter(|key| **key != Key::All).cloned().collect();
    keys.sort_by_key(|key| (key.width(), key.clone()));
    keys.dedup();
    writer.policies(&keys, settings, destiny);
    imported.toml = writer.out;
    spam.write_tables(&mut imported.toml);
    imported
}

/// What is assigned in the files: the last of each.
#[derive(Default)]
struct Config {
    values: HashMap<String, (PathBuf, Node)>,
}

impl Config {
    fn read(files: &[(PathBuf, String)], notes: &mut Notes) -> Config {
        let mut config = Config::default();
        for (file, text) in files {
            for statement in statements(text) {
                let about =
                    |name: &String| (name.contains("banned") && !is_elsewhere(name)) || spam::is_about(name);
                match (statement.target, statement.value) {
                    (Some(target), Some(value)) => {
                        let node = Node { line: statement.line, value };
                        if target == "$banned_admin" || (is_elsewhere(&target) && is_telling(&target)) {
                            let what = "nobody is written to about banned attachments by these lines; see the manual";
                            notes.add(file, statement.line, format!("{target}: {what}"));
                        }
                        config.values.insert(target, (file.clone(), node));
                    }
                    _ if statement.names.iter().any(about) => {
                        let about = statement.names.iter().find(|name| about(name)).cloned();
                        let about = about.unwrap_or_default();
                        notes.add(file, statement.line, format!("{about}: is code, or in a policy bank"));
                    }
                    _ => {}
                }
            }
        }
        config
    }

    fn get(&self, name: &str) -> Option<&(PathBuf, Node)> {
        self.values.get(name)
    }
}

/// Variables about banned attachments that are not rules: notices, quarantine, subjects.
fn is_elsewhere(name: &str) -> bool {
    ["warn", "admin", "quarantine", "defang", "addr_extension", "destiny", "subject", "notify"]
        .iter()
        .any(|word| name.contains(word))
}

fn is_telling(name: &str) -> bool {
    name.contains("banned") && (name.contains("warn") || name.contains("admin") || name.contains("notify"))
}

/// One of amavis's rules, in our terms.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    name: String,
    pattern: String,
    allow: bool,
    /// About the path of parts.
    path: bool,
}

/// What counts for some recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settings {
    names: Vec<String>,
    bypassed: bool,
    loved: bool,
}

pub(super) struct Reader<'a> {
    config: &'a Config,
    pub notes: &'a mut Notes,
}

impl Reader<'_> {
    /// What is assigned to a variable, and in which file.
    pub(super) fn assigned(&self, name: &str) -> Option<(PathBuf, Node)> {
        self.config.get(name).cloned()
    }

    /// The variables that are assigned, by name.
    pub(super) fn variables(&self) -> Vec<String> {
        let mut names: Vec<String> = self.config.values.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// `%banned_rules`; without it `$banned_filename_re` under the name DEFAULT.
    fn tables(&mut self) -> BTreeMap<String, Vec<Rule>> {
        let mut tables = BTreeMap::new();
        let Some((file, node)) = self.config.get("%banned_rules") else {
            tables.insert("DEFAULT".into(), self.rules("$banned_filename_re", false));
            return tables;
        };
        let Value::List(items) = &node.value else {
            self.notes.add(file, node.line, "%banned_rules: is no list of names and tables");
            return tables;
        };
        for pair in items.chunks(2) {
            let [name, table] = pair else { continue };
            let (Some(name), line) = (self.text(name), table.line) else {
                self.notes.add(file, name.line, "%banned_rules: a name is no plain text");
                continue;
            };
            let mut rules = Vec::new();
            self.collect(file, &table.value, line, false, &mut rules, 0);
            tables.insert(name, rules);
        }
        tables
    }

    /// The rules of a variable that holds a table.
    fn rules(&mut self, variable: &str, path: bool) -> Vec<Rule> {
        let mut rules = Vec::new();
        if let Some((file, node)) = self.config.get(variable) {
            self.collect(file, &node.value, node.line, path, &mut rules, 0);
        }
        rules
    }

    /// Adds the rules of a table: `new_RE( … )`, a variable, or several in brackets.
    fn collect(
        &mut self,
        file: &Path,
        value: &Value,
        line: usize,
        path: bool,
        into: &mut Vec<Rule>,
        depth: u8,
    ) {
        const DEEPEST: u8 = 8;
        match value {
            _ if depth > DEEPEST => self.notes.add(file, line, "variables that name each other"),
            Value::Undef => {}
            Value::Call(name, items) if name == "new_RE" => {
                for item in items {
                    match self.rule(item, path) {
                        Ok(rule) => into.push(rule),
                        Err(why) => self.notes.add(file, item.line, why),
                    }
                }
            }
            Value::Variable(name) => match self.config.get(name) {
                Some((file, node)) => self.collect(file, &node.value, node.line, path, into, depth + 1),
                None => self.notes.add(file, line, format!("{name} is not assigned in these files")),
            },
            Value::Reference(value) => self.collect(file, value, line, path, into, depth + 1),
            Value::Array(items) | Value::List(items) => items
                .iter()
                .for_each(|item| self.collect(file, &item.value, item.line, path, into, depth + 1)),
            _ => self.notes.add(file, line, "a table that is not written as new_RE( … )"),
        }
    }

    /// `qr'…'` bans, `[ qr'…' => 0 ]` allows.
    fn rule(&mut self, item: &Node, path: bool) -> Result<Rule, String> {
        let (key, value) = match &item.value {
            Value::Array(pair) => match pair.as_slice() {
                [key] => (key, None),
                [key, value] => (key, Some(value)),
                _ => return Err("a rule that is no pair of an expression and a value".into()),
            },
            _ => (item, None),
        };
        let pattern = match &key.value {
            Value::Regex(pattern) => translated(pattern)?,
            Value::Text(text) => text.clone(),
            Value::Double(_) => self.text(key).ok_or("an expression made of variables")?,
            _ => return Err("an expression that is not written as qr'…'".into()),
        };
        crate::checks::attachments::check_perl(&pattern)
            .map_err(|why| format!("{why}: {}", super::one_line(&pattern)))?;
        let allow = match value.map(|value| &value.value) {
            Some(Value::Undef) => return Err("a rule that leaves open what it decides (undef)".into()),
            Some(value) => !self.truth(value).ok_or("a rule whose value is no plain one")?,
            None => false,
        };
        Ok(Rule { name: comments(&pattern), pattern, allow, path })
    }

    /// The look-ups of a list `@…_maps`; None if it is not assigned.
    fn lookups<T: Clone>(
        &mut self,
        name: &str,
        read: impl Fn(&mut Self, &Node, usize) -> T + Copy,
    ) -> Option<Vec<Lookup<T>>> {
        let (file, node) = self.config.get(&format!("@{name}"))?;
        let items = match &node.value {
            Value::List(items) => items.clone(),
            _ => vec![node.clone()],
        };
        let mut lookups = Vec::new();
        for item in &items {
            self.lookup(file, item, read, &mut lookups, 0);
        }
        Some(lookups)
    }

    /// `%name`, `@name_acl`, `$name_re`: what the lists stand for unless they are assigned.
    fn old_lookups(&mut self, name: &str) -> Vec<Lookup<bool>> {
        let mut lookups = Vec::new();
        for variable in [format!("%{name}"), format!("@{name}_acl"), format!("${name}_re")] {
            if let Some((file, node)) = self.config.get(&variable) {
                let item =
                    Node { line: node.line, value: Value::Reference(Value::Variable(variable).into()) };
                let yes = |reader: &mut Self, node: &Node, _: usize| reader.is_true(node);
                self.lookup(file, &item, yes, &mut lookups, 0);
            }
        }
        lookups
    }

    fn lookup<T: Clone>(
        &mut self,
        file: &Path,
        item: &Node,
        read: impl Fn(&mut Self, &Node, usize) -> T + Copy,
        into: &mut Vec<Lookup<T>>,
        depth: u8,
    ) {
        const DEEPEST: u8 = 8;
        match &item.value {
            _ if depth > DEEPEST => self.notes.add(file, item.line, "variables that name each other"),
            Value::Undef => {}
            Value::Text(_) | Value::Double(_) | Value::Word(_) => {
                into.push(Lookup::Constant(read(self, item, item.line)));
            }
            Value::Hash(pairs) => into.push(Lookup::Hash(self.pairs(file, pairs, read))),
            Value::Array(entries) => into.push(Lookup::Acl(self.acl(file, entries, read))),
            Value::Reference(value) => {
                let Value::Variable(name) = &**value else {
                    return self.notes.add(file, item.line, "a look-up that is no plain table");
                };
                // What is not assigned is empty.
                let Some((file, node)) = self.config.get(name) else { return };
                match (&node.value, name.as_bytes().first()) {
                    (Value::List(pairs), Some(b'%')) => {
                        into.push(Lookup::Hash(self.pairs(file, pairs, read)))
                    }
                    (Value::List(entries), Some(b'@')) => {
                        into.push(Lookup::Acl(self.acl(file, entries, read)))
                    }
                    (_, Some(b'$')) => self.lookup(file, node, read, into, depth + 1),
                    _ => self.notes.add(file, node.line, format!("{name}: is no plain table")),
                }
            }
            Value::Call(name, items) if name == "read_hash" => match items.as_slice() {
                [path] => {
                    let path = self.text(path).map(PathBuf::from);
                    let read_file = path.and_then(|path| Some((super::read(&path).ok()?, path)));
                    match read_file {
                        Some((text, path)) => into.push(Lookup::Hash(self.file(&path, &text, read))),
                        None => {
                            self.notes.add(file, item.line, "a file that cannot be read here (read_hash)")
                        }
                    }
                }
                _ => self.notes.add(file, item.line, "a file that is not named plainly (read_hash)"),
            },
            Value::Call(name, _) => self.notes.add(
                file,
                item.line,
                format!("{name}( … ): only plain addresses and domains can be conditions of a policy"),
            ),
            _ => self.notes.add(file, item.line, "a look-up that is no plain table"),
        }
    }

    fn pairs<T>(
        &mut self,
        file: &Path,
        pairs: &[Node],
        read: impl Fn(&mut Self, &Node, usize) -> T,
    ) -> Vec<(Key, T)> {
        let mut entries = Vec::new();
        for pair in pairs.chunks(2) {
            let [name, value] = pair else { continue };
            match self.text(name).as_deref().and_then(Key::read) {
                Some(key) => entries.push((key, read(self, value, value.line))),
                None => self.notes.add(file, name.line, "a key that is neither an address nor a domain"),
            }
        }
        entries
    }

    /// Entries of an access list: those with a `!` say no.
    fn acl<T>(
        &mut self,
        file: &Path,
        entries: &[Node],
        read: impl Fn(&mut Self, &Node, usize) -> T,
    ) -> Vec<(Key, T)> {
        let mut list = Vec::new();
        for entry in entries {
            let text = self.text(entry).unwrap_or_default();
            let bare = text.trim_start_matches('!');
            let yes = (text.len() - bare.len()).is_multiple_of(2);
            match Key::read(bare) {
                Some(key) => {
                    let said = Value::Word(if yes { "1" } else { "0" }.into());
                    list.push((key, read(self, &Node { line: entry.line, value: said }, entry.line)));
                }
                None => self.notes.add(file, entry.line, "an entry that is neither an address nor a domain"),
            }
        }
        list
    }

    /// A file for `read_hash`: a key and a value in each line.
    fn file<T>(
        &mut self,
        path: &Path,
        text: &str,
        read: impl Fn(&mut Self, &Node, usize) -> T,
    ) -> Vec<(Key, T)> {
        let mut entries = Vec::new();
        for (place, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, "1"));
            if line.is_empty() {
                continue;
            }
            let value = Node { line: place + 1, value: Value::Text(value.trim().to_owned()) };
            match Key::read(key) {
                Some(key) => entries.push((key, read(self, &value, place + 1))),
                None => self.notes.add(path, place + 1, "a key that is neither an address nor a domain"),
            }
        }
        entries
    }

    /// Names of tables: `'A,B'`.
    fn names(&mut self, node: &Node, _: usize) -> Vec<String> {
        let names = |text: String| {
            text.split([',', ' ', '\t']).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        match &node.value {
            Value::Array(items) | Value::List(items) => items
                .iter()
                .flat_map(|item| match &item.value {
                    // A table itself instead of its name.
                    Value::Variable(name) if name == "$banned_filename_re" => vec!["DEFAULT".to_owned()],
                    _ => self.text(item).map(names).unwrap_or_default(),
                })
                .collect(),
            _ => self.text(node).map(names).unwrap_or_default(),
        }
    }

    /// The action for `$final_…_destiny`; what is discarded is kept where a quarantine is not turned off.
    pub(super) fn destiny(&mut self, variable: &str, quarantine: &str) -> Option<String> {
        let (file, node) = self.config.get(variable)?;
        let kept = match self.config.get(quarantine) {
            Some((_, node)) => self.truth(&node.value) != Some(false),
            None => true,
        };
        let action = match &node.value {
            Value::Word(word) => match word.as_str() {
                "D_PASS" | "1" => "deliver",
                "D_DISCARD" | "0" if kept => "quarantine",
                "D_DISCARD" | "0" => "discard",
                "D_REJECT" | "-1" => "refuse",
                "D_BOUNCE" | "-2" => "bounce",
                "D_TEMPFAIL" => "defer",
                _ => "",
            },
            _ => "",
        };
        if action.is_empty() {
            let what = format!("{variable}: is none of D_PASS, D_DISCARD, D_REJECT, D_BOUNCE");
            self.notes.add(file, node.line, what);
        }
        Some(action.to_owned()).filter(|action| !action.is_empty())
    }

    fn is_true(&mut self, node: &Node) -> bool {
        self.truth(&node.value).unwrap_or(true)
    }

    pub(super) fn truth(&self, value: &Value) -> Option<bool> {
        let said = |text: &str| !matches!(text.trim(), "" | "0");
        match value {
            Value::Undef => Some(false),
            Value::Word(text) | Value::Text(text) | Value::Double(text) => Some(said(text)),
            _ => None,
        }
    }

    /// A plain text, variables replaced by the plain texts that they hold.
    pub(super) fn text(&self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text) | Value::Word(text) => Some(text.clone()),
            Value::Double(text) => self.filled(text),
            _ => None,
        }
    }

    fn filled(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['$', '@', '\\']) {
            out.push_str(&rest[..at]);
            let mark = rest[at..].chars().next()?;
            rest = &rest[at + 1..];
            if mark == '\\' {
                let next = rest.chars().next()?;
                if next.is_ascii_alphanumeric() {
                    return None;
                }
                out.push(next);
                rest = &rest[next.len_utf8()..];
                continue;
            }
            let bare = rest.strip_prefix('{').unwrap_or(rest);
            let length = bare.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(bare.len());
            let (name, behind) = bare.split_at(length);
            let (_, value) = self.config.get(&format!("${name}")).filter(|_| mark == '$')?;
            let (Value::Text(value) | Value::Double(value)) = &value.value else { return None };
            if value.contains(['$', '@', '\\']) {
                return None;
            }
            out.push_str(value);
            rest = if bare.len() < rest.len() { behind.strip_prefix('}')? } else { behind };
        }
        out.push_str(rest);
        Some(out)
    }
}

/// An expression with its flags at its beginning.
fn translated(pattern: &Pattern) -> Result<String, String> {
    let mut flags = String::new();
    for flag in pattern.flags.chars() {
        match flag {
            'i' | 'm' | 's' | 'x' if !flags.contains(flag) => flags.push(flag),
            // They change nothing here.
            'i' | 'm' | 's' | 'x' | 'o' | 'u' | 'a' | 'p' => {}
            other => return Err(format!("an expression with the flag {other}")),
        }
    }
    if !pattern.plain
        && let Some(name) = interpolated(&pattern.text)
    {
        return Err(format!("an expression into which Perl puts the value of {name}"));
    }
    Ok(if flags.is_empty() { pattern.text.clone() } else { format!("(?{flags}){}", pattern.text) })
}

/// A variable that Perl would replace.
fn interpolated(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let next = bytes.get(at + 1).copied().unwrap_or(0);
        match bytes[at] {
            b'\\' => at += 1,
            mark @ (b'$' | b'@') if next.is_ascii_alphabetic() || next == b'_' || next == b'{' => {
                let end =
                    bytes[at + 1..].iter().position(|b| !b.is_ascii_alphanumeric() && !b"_{".contains(b));
                let name = &text[at + 1..end.map_or(text.len(), |end| at + 1 + end)];
                return Some(format!("{}{name}", char::from(mark)));
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Its comments, `(?# … )`, by which amavis calls a rule.
fn comments(pattern: &str) -> String {
    let found = pattern.split("(?#").skip(1).filter_map(|rest| rest.split(')').next()).map(str::trim);
    super::one_line(&found.collect::<Vec<_>>().join(" "))
}

struct Writer<'a> {
    tables: &'a BTreeMap<String, Vec<Rule>>,
    paths: &'a [Rule],
    spam: &'a Spam,
    /// Sets that were written: what they hold, and their names.
    sets: Vec<(Vec<Rule>, String)>,
    out: String,
}

impl Writer<'_> {
    fn policies(&mut self, keys: &[Key], settings: impl Fn(&Key) -> Settings, destiny: Option<String>) {
        let mut policies: Vec<Policy> = Vec::new();
        for key in keys {
            let mut policy = self.policy(&settings(key));
            policy.recipients = key.recipients();
            policy.name = format!("amavis {}", policy.recipients[0]);
            // Those that stand behind each other and want the same are one.
            match policies
                .last_mut()
                .filter(|last| (&last.attachments, &last.banned) == (&policy.attachments, &policy.banned))
            {
                Some(last) => last.recipients.append(&mut policy.recipients),
                None => policies.push(policy),
            }
        }
        let mut default = self.policy(&settings(&Key::All));
        default.banned = default.banned.or(destiny);
        let mut out = String::new();
        for policy in &policies {
            policy.write(&mut out);
        }
        // Comments, so that nobody wonders where our own rules went.
        out.push_str("# With \"default\" in it, too, gatepost's built-in list counts as well.\n");
        default.write_default(self.spam.lines(), &mut out);
        self.write_sets(&mut out);
        self.out = out;
    }

    fn policy(&mut self, settings: &Settings) -> Policy {
        let banned = settings.loved.then(|| "deliver".to_owned());
        let mut attachments = Vec::new();
        if !settings.bypassed {
            let mut known: Vec<&str> = Vec::new();
            let mut rules: Vec<Rule> = Vec::new();
            for name in &settings.names {
                let Some(table) = self.tables.get(name).filter(|_| !known.contains(&name.as_str())) else {
                    continue;
                };
                known.push(name);
                rules.extend(table.iter().cloned());
            }
            rules.extend(self.paths.iter().cloned());
            if !rules.is_empty() {
                attachments.push(self.set(rules, &known.join("-")));
            }
        }
        Policy { attachments, banned, ..Policy::default() }
    }

    /// The name of the set with these rules.
    fn set(&mut self, rules: Vec<Rule>, wanted: &str) -> String {
        if let Some((_, name)) = self.sets.iter().find(|(known, _)| *known == rules) {
            return name.clone();
        }
        let taken: Vec<String> = self.sets.iter().map(|(_, name)| name.clone()).collect();
        let name = set_name(if matches!(wanted, "" | "DEFAULT") { "amavis" } else { wanted }, &taken);
        self.sets.push((rules, name.clone()));
        name
    }

    fn write_sets(&self, out: &mut String) {
        for (rules, set) in &self.sets {
            for rule in rules {
                // Writing to a string does not fail.
                let _ = writeln!(out, "[[checks.attachments.set.{set}.rule]]");
                if !rule.name.is_empty() {
                    let _ = writeln!(out, "name = {}", text(&rule.name));
                }
                let key = if rule.path { "amavis_path" } else { "amavis" };
                let _ = writeln!(out, "{key} = {}", text(&rule.pattern));
                if rule.allow {
                    out.push_str("allow = true\n");
                }
                out.push('\n');
            }
        }
    }
}
