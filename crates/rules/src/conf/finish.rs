//! What is done when all files are read: tags in expressions, default scores, priorities and flags that follow from others.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Definition, Expression, Network, Reader, Rule, RuleSet, Test};
use crate::meta;
use crate::regex::Pattern;

/// How often tags that come out of tags are replaced.
const MAX_PASSES: usize = 6;
/// The longest expression that tags may make, in bytes.
const MAX_LENGTH: usize = 1024 * 1024;

impl Reader {
    /// Puts together what was read.
    pub fn finish(mut self) -> RuleSet {
        if self.plugins.contains("ReplaceTags") {
            self.replace_tags();
        }
        if self.plugins.contains("Reuse") {
            self.reuse();
        }
        let depends = self.dependencies();
        self.fix_priorities(&depends);
        self.inherit_net(&depends);
        self.check_networks();
        let mut rules = BTreeMap::new();
        let mut tests: Vec<(Box<str>, Test)> = self.tests.drain().collect();
        tests.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, test) in tests {
            let rule = self.rule_of(name, test);
            rules.insert(rule.name.clone(), rule);
        }
        self.settings.plugins = self.plugins.clone();
        RuleSet {
            rules,
            settings: self.settings,
            plugins: self.plugins,
            warnings: self.warnings,
            more_warnings: self.more_warnings,
            scored: self.scores,
            options: self.options,
        }
    }

    fn rule_of(&mut self, name: Box<str>, test: Test) -> Rule {
        let tflags: Vec<Box<str>> = self
            .tflags
            .get(&name)
            .map(|all| all.split_whitespace().map(Into::into).collect())
            .unwrap_or_default();
        let nice = tflags.iter().any(|flag| &**flag == "nice");
        let net = tflags.iter().any(|flag| &**flag == "net");
        let default = if name.starts_with("T_") { 0.01 } else { 1.0 };
        let default = if nice { -default } else { default };
        let scored = self.scores.get(&name).copied();
        let priority = self.priorities.get(&name).copied().unwrap_or(0);
        Rule {
            definition: test.definition,
            file: test.file,
            line: test.line,
            priority: if priority == 0 && net { -100 } else { priority },
            tflags,
            scores: scored.unwrap_or([default; 4]),
            scored: scored.is_some(),
            description: self.descriptions.get(&name).cloned(),
            subject_prefix: self.prefixes.get(&name).cloned(),
            shortcircuit: self.shortcircuits.get(&name).copied(),
            tests: self.regressions.remove(&name).unwrap_or_default(),
            name,
        }
    }

    /// Reuse takes all rules of the network as named by `reuse`, too. Of the hits of an earlier run it knows only within
    /// `mass-check`, so a name without a rule is a rule that never hits; or, if that is asked for, all other rules are left out.
    fn reuse(&mut self) {
        let net = self.tflags.iter().filter(|(_, flags)| flags.split_whitespace().any(|flag| flag == "net"));
        self.reused.extend(net.map(|(name, _)| name.clone()));
        if self.settings.flag("run_reuse_tests_only") {
            self.tests.retain(|name, _| self.reused.contains(name));
            return;
        }
        for name in &self.reused {
            let test = Test { definition: Definition::Empty, file: "".into(), line: 0 };
            self.tests.entry(name.clone()).or_insert(test);
        }
    }

    /// The rules that each meta rule names.
    fn dependencies(&self) -> HashMap<Box<str>, Vec<Box<str>>> {
        let mut names: Vec<&str> = self.scores.keys().chain(self.tests.keys()).map(|name| &**name).collect();
        names.sort_unstable();
        names.dedup();
        let mut metas: Vec<(&Box<str>, &str)> = Vec::new();
        for (name, test) in &self.tests {
            if let Definition::Meta(text) = &test.definition {
                metas.push((name, text));
            }
        }
        metas.sort_unstable();
        let mut globs = meta::Globs::new(&names);
        // The engine says of which too many rules are named.
        let known = metas.into_iter().filter_map(|(name, text)| {
            let expanded = globs.expand(text, name)?;
            Some((name.clone(), meta::names(&expanded)))
        });
        known.collect()
    }

    /// What a rule depends on must not run later than the rule.
    fn fix_priorities(&mut self, depends: &HashMap<Box<str>, Vec<Box<str>>>) {
        let mut order: Vec<Box<str>> = self.tests.keys().cloned().collect();
        let of = |all: &HashMap<Box<str>, i64>, name: &str| all.get(name).copied().unwrap_or(0);
        order.sort_by_key(|name| (of(&self.priorities, name), name.clone()));
        for name in order {
            let base = of(&self.priorities, &name);
            for other in depends.get(&name).into_iter().flatten() {
                if !self.tests.contains_key(other) || of(&self.priorities, other) <= base {
                    continue;
                }
                let net =
                    self.tflags.get(other).is_some_and(|flags| flags.split_whitespace().any(|f| f == "net"));
                self.priorities.insert(other.clone(), if base < -100 && net { -100 } else { base });
            }
        }
    }

    /// A meta rule that names a rule of the network is one, too.
    fn inherit_net(&mut self, depends: &HashMap<Box<str>, Vec<Box<str>>>) {
        let has = |all: &HashMap<Box<str>, String>, name: &str| {
            all.get(name).is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "net"))
        };
        let mut names: Vec<&Box<str>> = depends.keys().collect();
        names.sort_unstable();
        for name in names {
            if !has(&self.tflags, name) && depends[name].iter().any(|other| has(&self.tflags, other)) {
                let flags = self.tflags.entry(name.clone()).or_default();
                *flags = format!("{flags} net").trim_start().to_string();
            }
        }
    }

    /// Internal and submission networks must be trusted.
    fn check_networks(&mut self) {
        let (outer, name) =
            match (self.settings.networks("trusted_networks"), self.settings.networks("internal_networks")) {
                (Some(trusted), _) => (trusted, "trusted_networks"),
                (None, Some(internal)) => (internal, "internal_networks"),
                _ => return,
            };
        // By length and address: whether one covers another takes as many look-ups as there are lengths.
        let masked = |address: u128, prefix: u8| {
            if prefix == 0 { 0 } else { address >> (128 - u32::from(prefix.min(128))) }
        };
        let outer: HashSet<(u8, u128)> = outer
            .iter()
            .filter(|net| !net.exclude)
            .map(|net| (net.prefix, masked(net.address, net.prefix)))
            .collect();
        let covered = |net: &Network| {
            (0..=net.prefix).any(|prefix| outer.contains(&(prefix, masked(net.address, prefix))))
        };
        for inner in ["internal_networks", "msa_networks"] {
            let missing: Vec<String> = self
                .settings
                .networks(inner)
                .filter(|_| inner != name)
                .into_iter()
                .flatten()
                .filter(|net| !net.exclude && !covered(net))
                .map(ToString::to_string)
                .collect();
            for net in missing {
                (self.file, self.line) = ("".into(), 0);
                self.warn(None, true, format!("{name} doesn't contain {inner} entry '{net}'"));
            }
        }
    }

    fn replace_tags(&mut self) {
        let tags = Tags {
            start: self.settings.get("replace_start").unwrap_or("<").as_bytes().to_vec(),
            end: self.settings.get("replace_end").unwrap_or(">").as_bytes().to_vec(),
            maps: ["replace_tag", "replace_pre", "replace_inter", "replace_post"]
                .map(|name| self.settings.pairs(name).cloned().unwrap_or_default()),
        };
        let mut names: Vec<Box<str>> = self.replaced.iter().cloned().collect();
        names.sort_unstable();
        for name in names {
            let Some(test) = self.tests.get_mut(&name) else { continue };
            let (Definition::Header { expression, .. }
            | Definition::Body(expression)
            | Definition::RawBody(expression)
            | Definition::Full(expression)
            | Definition::Uri(expression)) = &mut test.definition
            else {
                continue;
            };
            let replaced = match tags.replaced(expression) {
                Some(replaced) => Pattern::plain(&replaced, &expression.modifiers).map(|_| replaced),
                None => Err(format!("with its tags it is longer than {MAX_LENGTH} bytes")),
            };
            match replaced {
                Ok(replaced) => expression.inside = replaced.into(),
                Err(why) => {
                    (self.file, self.line) = (test.file.clone(), test.line);
                    let message = format!("replacetags: regexp compilation failed for {name}: {why}");
                    self.warn(Some(&name), false, message);
                }
            }
        }
    }
}

/// The replacements of ReplaceTags.
struct Tags {
    start: Vec<u8>,
    end: Vec<u8>,
    /// Of `replace_tag`, `replace_pre`, `replace_inter`, `replace_post`.
    maps: [BTreeMap<String, String>; 4],
}

impl Tags {
    /// The expression with its tags replaced; `None`: that is too long.
    fn replaced(&self, expression: &Expression) -> Option<Vec<u8>> {
        let mut text = expression.inside.to_vec();
        for _ in 0..MAX_PASSES {
            let pre = self.modifier(&mut text, "pre", 1);
            let post = self.modifier(&mut text, "post", 3);
            let inter = self.modifier(&mut text, "inter", 2);
            let mut again = false;
            let mut result = Vec::new();
            for mut part in parts(&text) {
                if part.is_empty() {
                    result.extend_from_slice(&inter);
                    if result.len() > MAX_LENGTH {
                        return None;
                    }
                    continue;
                }
                if let Some((start, end)) = self.tag(&part) {
                    let mut around = part[..start].to_vec();
                    around.extend_from_slice(&pre);
                    around.extend_from_slice(&part[start..end]);
                    around.extend_from_slice(&post);
                    around.extend_from_slice(&part[end..]);
                    part = around;
                    again |= self.replace(&mut part);
                }
                result.extend(part);
                if result.len() > MAX_LENGTH {
                    return None;
                }
            }
            text = result;
            if !again {
                break;
            }
        }
        Some(text)
    }

    /// Takes out `<pre NAME>` and gives what NAME stands for.
    fn modifier(&self, text: &mut Vec<u8>, word: &str, map: usize) -> Vec<u8> {
        let open = [self.start.as_slice(), word.as_bytes(), b" "].concat();
        let Some(at) = memchr::memmem::find(text, &open) else { return Vec::new() };
        let from = at + open.len();
        let Some(length) = memchr::memmem::find(&text[from..], &self.end).filter(|length| *length > 0) else {
            return Vec::new();
        };
        let name = super::characters(&text[from..from + length]);
        text.drain(at..from + length + self.end.len());
        self.maps[map].get(&name).map(|value| value.clone().into_bytes()).unwrap_or_default()
    }

    /// Where the first tag stands.
    fn tag(&self, part: &[u8]) -> Option<(usize, usize)> {
        let start = memchr::memmem::find(part, &self.start)?;
        let inside = start + self.start.len();
        let length = memchr::memmem::find(part.get(inside + 1..)?, &self.end)? + 1;
        Some((start, inside + length + self.end.len()))
    }

    /// Replaces the tag in it; whether there are tags in what came.
    fn replace(&self, part: &mut Vec<u8>) -> bool {
        let Some((start, end)) = self.tag(part) else { return false };
        let name = super::characters(&part[start + self.start.len()..end - self.end.len()]);
        let Some(value) = self.maps[0].get(&name).filter(|value| !value.is_empty()) else { return false };
        let written = part[start..end].to_vec();
        let mut result = Vec::new();
        let mut rest = part.as_slice();
        while let Some(at) = memchr::memmem::find(rest, &written).filter(|_| result.len() <= MAX_LENGTH) {
            result.extend_from_slice(&rest[..at]);
            result.extend_from_slice(value.as_bytes());
            rest = &rest[at + written.len()..];
        }
        result.extend_from_slice(rest);
        *part = result;
        parts(value.as_bytes()).len() > 1
    }
}

/// Splits at `<…>`, which are parts of their own; between two that touch there is an empty part. Empty parts at the end are
/// left out, as Perl's `split` does.
fn parts(text: &[u8]) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut from = 0;
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'<' {
            let inside =
                text[at + 1..].iter().position(|b| matches!(b, b'<' | b'>')).filter(|length| *length > 0);
            if let Some(length) = inside.filter(|length| text[at + 1 + length] == b'>') {
                parts.push(text[from..at].to_vec());
                parts.push(text[at..at + length + 2].to_vec());
                at += length + 2;
                from = at;
                continue;
            }
        }
        at += 1;
    }
    parts.push(text[from..].to_vec());
    while parts.last().is_some_and(Vec::is_empty) {
        parts.pop();
    }
    parts
}
