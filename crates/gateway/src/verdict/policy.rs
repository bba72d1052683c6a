//! Policies: the configuration's `default_policy` and `policy` tables, checked and compiled.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use gatepost_mail::{Action, Address, Category, Counts, Finding, Points, Session};

use super::attachments;
use super::parts::{self, PartLayer, PartRules};
use super::template::{Notice, ReplyTemplate};
use super::texts;
use super::when::{self, Folded, When};
use crate::config::Problem;
use crate::config::typed::{self, Config, HeaderNames, RefuseAfterQueue};

/// All policies, in the order in which they are asked; the last is `default_policy`, which is for everybody.
#[derive(Debug)]
pub struct Policies {
    list: Vec<Policy>,
    /// Names of the listeners that refuse even after the queue.
    refusing: BTreeSet<String>,
    /// Our domains.
    pub(super) domains: Vec<String>,
    /// Names of symbols that nothing finds now, but rules may once they have changed.
    doubtful: Vec<Problem>,
}

/// Names of rules, whose symbols are not in the catalogue of checks.
#[derive(Clone, Debug, Default)]
pub struct RuleNames {
    /// The names.
    pub names: BTreeSet<Box<str>>,
    /// They are in files that change without the configuration: a name that is not there may have been yesterday, and may be
    /// again tomorrow.
    pub change: bool,
}

/// Which of [`Policies`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(usize);

impl Policies {
    /// Checks and compiles the policies of a configuration. `symbols` are those that its checks may find, with what
    /// they count for; a symbol that comes twice, once with points and once with a category, counts as both.
    ///
    /// Errors: every problem, each with the key it stands at.
    pub fn build<'a>(
        config: &Config,
        symbols: impl IntoIterator<Item = (&'a str, Counts)>,
    ) -> Result<Policies, Vec<Problem>> {
        Policies::with_rules(config, symbols, &RuleNames::default())
    }

    /// The same where rules find symbols besides, which bring their points along.
    pub fn with_rules<'a>(
        config: &Config,
        symbols: impl IntoIterator<Item = (&'a str, Counts)>,
        rules: &RuleNames,
    ) -> Result<Policies, Vec<Problem>> {
        let catalogue = Catalogue::new(symbols, rules);
        let mut problems = Vec::new();
        check_headers(&config.headers, &mut problems);
        let base = Layer::read("default_policy".into(), &config.default_policy, &catalogue, &mut problems);
        let layers: Vec<_> = (config.policy.iter().enumerate())
            .map(|(place, typed)| Layer::read(format!("policy[{place}]"), typed, &catalogue, &mut problems))
            .collect();
        let listeners = listener_names(config);
        let mut names = BTreeMap::new();
        let mut list = Vec::with_capacity(layers.len() + 1);
        for (place, layer) in layers.iter().enumerate() {
            check_name(layer, &mut names, &mut problems);
            let when_key = format!("{}.when", layer.key);
            let when = When::compile(&layer.typed.when, &when_key, &listeners, &mut problems);
            if when::is_empty(&layer.typed.when) && place + 1 < layers.len() {
                problems.push(Problem::new(
                    when_key,
                    "a policy without conditions is for everybody, so those behind it are never asked: \
                     make it the last, or put what it says into default_policy",
                ));
            }
            let policy = Policy::compile(&[layer, &base], when, &catalogue, &mut problems);
            list.push(policy.muting(attachments::muted(config, [layer.typed, base.typed])));
        }
        if !when::is_empty(&config.default_policy.when) {
            let message = "default_policy is for whatever no other policy matches; \
                           give conditions to a policy of its own, [[policy]]";
            problems.push(Problem::new("default_policy.when", message));
        }
        check_name(&base, &mut names, &mut problems);
        let last = Policy::compile(&[&base], When::default(), &catalogue, &mut problems);
        list.push(last.muting(attachments::muted(config, [base.typed])));
        attachments::check(config, &mut problems);
        let refusing = (config.listeners().into_iter())
            .filter(|listener| listener.refuse_after_queue == RefuseAfterQueue::Refuse)
            .map(|listener| listener.name);
        let doubtful = catalogue.doubtful.into_inner();
        let policies =
            Policies { list, refusing: refusing.collect(), domains: config.domains.clone(), doubtful };
        if problems.is_empty() { Ok(policies) } else { Err(problems) }
    }

    /// What may be a slip: names of symbols that no check and no rule finds, where rules may change.
    pub fn doubtful(&self) -> &[Problem] {
        &self.doubtful
    }

    /// Whether what comes by this listener is refused though the sender is gone.
    pub(super) fn refuses_after_queue(&self, listener: &str) -> bool {
        self.refusing.contains(listener)
    }

    /// The policy for a recipient: the first whose conditions hold. Known at RCPT.
    pub fn find(&self, session: &Session, sender: Option<&Address>, recipient: &Address) -> PolicyId {
        self.first(session, sender, Some(recipient))
    }

    /// The policy for a mail without recipients, such as a file judged by itself. Policies with a condition on
    /// recipients are not for it, unless that is `*`.
    pub fn without_recipient(&self, session: &Session, sender: Option<&Address>) -> PolicyId {
        self.first(session, sender, None)
    }

    /// Whether each policy that the recipients still to come may have refuses mail with one of these findings, whatever
    /// else it says. `sender` is `None` before MAIL, `Some(None)` for the empty sender.
    pub fn all_refuse(
        &self,
        session: &Session,
        sender: Option<Option<&Address>>,
        findings: &[Finding],
    ) -> bool {
        let sender = sender.map(|sender| sender.map(Folded::from));
        let sender = sender.as_ref().map(Option::as_ref);
        for policy in &self.list {
            let foreseen = policy.when.foresee(session, sender);
            if foreseen != Some(false) && !policy.refuses(findings) {
                return false;
            }
            if foreseen == Some(true) {
                break;
            }
        }
        true
    }

    /// Whether the policy of this recipient refuses mail with one of these findings, whatever else it says.
    pub fn refuses(
        &self,
        session: &Session,
        sender: Option<&Address>,
        recipient: &Address,
        findings: &[Finding],
    ) -> bool {
        self.policy(self.find(session, sender, recipient)).refuses(findings)
    }

    /// Its name, as records and replies show it.
    pub fn name(&self, id: PolicyId) -> &Arc<str> {
        &self.policy(id).name
    }

    /// The policy of a name, as verdicts show it.
    pub(super) fn named(&self, name: &str) -> Option<&Policy> {
        self.list.iter().find(|policy| &*policy.name == name)
    }

    /// From how many points on the policy of that name calls mail spammy, and spam. None if there is no such policy.
    pub fn thresholds(&self, name: &str) -> Option<(Points, Points)> {
        self.named(name).map(|policy| (policy.spammy_at, policy.spam_at))
    }

    pub(super) fn policy(&self, id: PolicyId) -> &Policy {
        &self.list[id.0]
    }

    fn first(&self, session: &Session, sender: Option<&Address>, recipient: Option<&Address>) -> PolicyId {
        let (sender, recipient) = (sender.map(Folded::from), recipient.map(Folded::from));
        let holds = |policy: &Policy| policy.when.holds(session, sender.as_ref(), recipient.as_ref());
        let found = self.list.iter().position(holds);
        PolicyId(found.unwrap_or(self.list.len() - 1))
    }
}

/// One policy with everything it takes from `default_policy` and from what is built in.
#[derive(Debug)]
pub(super) struct Policy {
    pub name: Arc<str>,
    when: When,
    pub spammy_at: Points,
    pub spam_at: Points,
    /// In bytes; None is no limit.
    pub max_size: Option<u64>,
    worth: HashMap<Box<str>, Worth>,
    /// Symbols whose points it sets itself.
    weighed: HashSet<Box<str>>,
    /// Symbols that are nothing to it, as if they had not been found.
    muted: HashSet<Box<str>>,
    actions: BTreeMap<Category, Action>,
    keep: BTreeSet<Category>,
    /// Replies of the categories whose action is refuse, bounce or defer.
    replies: BTreeMap<Category, ReplyTemplate>,
    pub subject_tags: BTreeMap<Category, String>,
    /// What rules put before the subject is put there.
    pub subject_prefixes: bool,
    pub extensions: BTreeMap<Category, String>,
    pub headers_from: Points,
    pub parts: PartRules,
    pub strip_text: Notice,
    pub bounce_text: Notice,
}

/// What a symbol is worth to a policy. Neither points nor category: it is turned off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Worth {
    pub points: Points,
    pub category: Option<Category>,
}

impl Policy {
    /// What a symbol is worth. `brought` are points that whoever found it brings along; they count unless the policy itself
    /// says what the symbol counts.
    pub fn worth(&self, symbol: &str, brought: Option<Points>) -> Worth {
        let known = self.worth.get(symbol).copied().unwrap_or_default();
        match brought {
            Some(points) if !self.weighed.contains(symbol) => Worth { points, ..known },
            _ => known,
        }
    }

    /// Whether it turns a symbol off by a weight of 0.
    pub fn turns_off(&self, symbol: &str) -> bool {
        self.weighed.contains(symbol) && self.worth(symbol, None) == Worth::default()
    }

    /// Whether a symbol is one of a set of attachment rules that does not count here.
    pub fn ignores(&self, symbol: &str) -> bool {
        self.muted.contains(symbol)
    }

    fn muting(mut self, muted: HashSet<Box<str>>) -> Policy {
        self.worth.retain(|symbol, _| !muted.contains(symbol));
        self.muted = muted;
        self
    }

    /// What happens to a category.
    pub fn action(&self, category: Category) -> Action {
        self.actions.get(&category).copied().unwrap_or(builtin_action(category))
    }

    /// Whether one of these findings is of a category for which mail is refused (or bounced, which is the same while
    /// its sender is on the line), and none of a worse one for which something else becomes of it.
    fn refuses(&self, findings: &[Finding]) -> bool {
        let categories = findings.iter().filter_map(|finding| self.worth(&finding.symbol, None).category);
        let blocking = categories.filter(|category| !self.action(*category).delivers()).max();
        blocking.is_some_and(|category| matches!(self.action(category), Action::Refuse | Action::Bounce))
    }

    /// Whether a copy of mail in this category is kept.
    pub fn keeps(&self, category: Category) -> bool {
        self.keep.contains(&category)
    }

    /// What the client is told when a category is refused, bounced or deferred; None for other actions.
    pub fn reply(&self, category: Category) -> Option<&ReplyTemplate> {
        self.replies.get(&category)
    }

    /// `layers` from the nearest to `default_policy`; below them lies what is built in.
    fn compile(layers: &[&Layer], when: When, catalogue: &Catalogue, problems: &mut Vec<Problem>) -> Policy {
        let top = layers[0];
        let spammy_at = layers.iter().find_map(|l| l.typed.spammy_at).unwrap_or(Points::thousandths(6310));
        let spam_at = layers.iter().find_map(|l| l.typed.spam_at).unwrap_or(Points::thousandths(10_000));
        if spammy_at > spam_at && (top.typed.spammy_at.is_some() || top.typed.spam_at.is_some()) {
            let key = if top.typed.spam_at.is_some() { "spam_at" } else { "spammy_at" };
            problems.push(Problem::new(
                format!("{}.{key}", top.key),
                format!(
                    "mail would be spam (from {spam_at}) before it is spammy (from {spammy_at}): \
                         spammy_at may not be over spam_at"
                ),
            ));
        }
        let max_size = layers.iter().find_map(|l| l.typed.max_size).map(|size| size.bytes());
        let actions = Category::ALL.map(|category| {
            let typed = layers.iter().find_map(|layer| layer.typed.actions.get(&category));
            (category, typed.copied().unwrap_or(builtin_action(category)))
        });
        let actions = BTreeMap::from(actions);
        check_marks(top, &actions, problems);
        let worth = worths(layers, catalogue);
        let category_of = |symbol: &str| worth.get(symbol).map(|worth| worth.category);
        parts::check(&top.key, top.typed, &actions, category_of, problems);
        let of_parts: Vec<&PartLayer> = layers.iter().map(|layer| &layer.parts).collect();
        let keep = layers.iter().find_map(|l| l.typed.keep.as_ref()).into_iter().flatten().copied();
        Policy {
            name: top.name(),
            when,
            spammy_at,
            spam_at,
            max_size: max_size.filter(|size| *size > 0),
            worth,
            weighed: layers
                .iter()
                .flat_map(|layer| layer.typed.weights.keys())
                .map(|name| name.as_str().into())
                .collect(),
            muted: HashSet::new(),
            replies: replies(layers, &actions, problems),
            keep: keep.collect(),
            subject_tags: merged(layers, |typed| &typed.subject_tags),
            subject_prefixes: layers.iter().find_map(|layer| layer.typed.subject_prefixes).unwrap_or(true),
            extensions: merged(layers, |typed| &typed.extensions),
            headers_from: layers
                .iter()
                .find_map(|layer| layer.typed.headers_from)
                .unwrap_or(Points::thousandths(-999_000)),
            parts: PartRules::compile(&of_parts),
            strip_text: parts::nearest_text(&of_parts, |layer| layer.strip_text.as_ref(), texts::strip),
            bounce_text: parts::nearest_text(&of_parts, |layer| layer.bounce_text.as_ref(), texts::bounce),
            actions,
        }
    }
}

/// Symbols that may be found.
struct Catalogue<'a> {
    /// What they count for, as the checks declare it.
    declared: BTreeMap<String, Worth>,
    rules: &'a RuleNames,
    /// Names that are in neither, where that is no mistake for sure.
    doubtful: RefCell<Vec<Problem>>,
}

impl<'a> Catalogue<'a> {
    fn new<'s>(symbols: impl IntoIterator<Item = (&'s str, Counts)>, rules: &'a RuleNames) -> Catalogue<'a> {
        let mut declared: BTreeMap<String, Worth> = BTreeMap::new();
        for (name, counts) in symbols {
            let worth = declared.entry(name.to_owned()).or_default();
            match counts {
                Counts::As(category) => worth.category = Some(category),
                Counts::Points(points) => worth.points = points,
            }
        }
        Catalogue { declared, rules, doubtful: RefCell::default() }
    }

    /// Tells of a name that nothing finds.
    fn check(&self, key: String, name: &str, problems: &mut Vec<Problem>) {
        if self.declared.contains_key(name) || self.rules.names.contains(name) {
            return;
        }
        let known = self.declared.keys().map(String::as_str);
        let nearest = nearest(name, known.chain(self.rules.names.iter().map(|name| &**name)));
        if self.rules.change {
            let message = format!("no check and no rule finds a symbol {name} now{nearest}");
            self.doubtful.borrow_mut().push(Problem::new(key, message));
        } else {
            problems.push(Problem::new(key, format!("no check finds a symbol {name}{nearest}")));
        }
    }
}

/// What was typed for one policy, its texts compiled.
struct Layer<'a> {
    key: String,
    typed: &'a typed::Policy,
    replies: BTreeMap<Category, ReplyTemplate>,
    parts: PartLayer<'a>,
}

impl<'a> Layer<'a> {
    /// Checks all that can be checked without knowing the layers below.
    fn read(
        key: String,
        typed: &'a typed::Policy,
        catalogue: &Catalogue,
        problems: &mut Vec<Problem>,
    ) -> Layer<'a> {
        let is_symbol = |name: &&String| Category::ALL.iter().all(|category| category.name() != *name);
        let symbols = (typed.weights.keys().map(|name| ("weights", name)))
            .chain(typed.categories.keys().map(|name| ("categories", name)))
            .chain(typed.parts.keys().filter(is_symbol).map(|name| ("parts", name)));
        for (table, name) in symbols {
            catalogue.check(format!("{key}.{table}.{name}"), name, problems);
        }
        let mut problem = |part: String, message: String| {
            problems.push(Problem::new(format!("{key}.{part}"), message));
        };
        for (name, category) in &typed.categories {
            if typed.weights.get(name) == Some(&Points::ZERO) {
                let message = format!("weight 0 turns {name} off altogether, so it cannot be {category} too");
                problem(format!("categories.{name}"), message);
            }
        }
        for (category, action) in &typed.actions {
            if let Err(message) = check_action(*category, *action) {
                problem(format!("actions.{category}"), message);
            }
        }
        for (category, tag) in &typed.subject_tags {
            if tag.trim().is_empty() || tag.chars().count() > 64 || tag.chars().any(char::is_control) {
                let message = "a subject tag is 1 to 64 characters, none of them a control character";
                problem(format!("subject_tags.{category}"), message.into());
            }
        }
        for (category, extension) in &typed.extensions {
            if !is_extension(extension) {
                let message = format!(
                    "“{extension}” is not a delimiter and an extension such as +spam: letters, digits and -+_=#. only"
                );
                problem(format!("extensions.{category}"), message);
            }
        }
        let mut replies = BTreeMap::new();
        for (category, text) in &typed.replies {
            match ReplyTemplate::parse(text, builtin_enhanced(*category)) {
                Ok(template) => drop(replies.insert(*category, template)),
                Err(message) => problem(format!("replies.{category}"), message),
            }
        }
        let parts = PartLayer::read(&key, typed, problems);
        Layer { key, typed, replies, parts }
    }

    fn name(&self) -> Arc<str> {
        match self.typed.name.as_str() {
            "" if self.key == "default_policy" => "default".into(),
            name => name.into(),
        }
    }
}

/// What symbols are worth, from the catalogue upwards: a weight replaces whatever lies below, a category what lies
/// below of category only, and `clean` is no category.
fn worths(layers: &[&Layer], catalogue: &Catalogue) -> HashMap<Box<str>, Worth> {
    let mut worths: HashMap<Box<str>, Worth> =
        catalogue.declared.iter().map(|(name, worth)| (name.as_str().into(), *worth)).collect();
    for layer in layers.iter().rev() {
        for (name, points) in &layer.typed.weights {
            worths.insert(name.as_str().into(), Worth { points: *points, category: None });
        }
        for (name, category) in &layer.typed.categories {
            let worth = worths.entry(name.as_str().into()).or_default();
            worth.category = Some(*category).filter(|category| *category != Category::Clean);
        }
    }
    worths
}

/// The reply of each category that is refused, bounced (which before the queue is refused) or deferred. A typed one must
/// be of the action's class.
fn replies(
    layers: &[&Layer],
    actions: &BTreeMap<Category, Action>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<Category, ReplyTemplate> {
    let mut replies = BTreeMap::new();
    for (category, action) in actions {
        let typed = layers.iter().find_map(|layer| Some((layer, layer.replies.get(category)?)));
        let class = match action {
            Action::Refuse | Action::Bounce => 5,
            Action::Defer => 4,
            _ => {
                if layers[0].replies.contains_key(category) {
                    let key = format!("{}.replies.{category}", layers[0].key);
                    let message = format!(
                        "never sent, since the action for {category} is {action}, which takes the mail"
                    );
                    problems.push(Problem::new(key, message));
                }
                continue;
            }
        };
        let template = match typed {
            Some((layer, template)) if template.class() != class => {
                problems.push(Problem::new(
                    format!("{}.replies.{category}", layers[0].key),
                    format!(
                        "the action for {category} is {action}, so its reply must be {class}xx, \
                         but {}.replies.{category} is {}xx",
                        layer.key,
                        template.class()
                    ),
                ));
                continue;
            }
            Some((_, template)) => template.clone(),
            None => builtin_reply(*category, class),
        };
        replies.insert(*category, template);
    }
    replies
}

fn merged<T: Clone>(
    layers: &[&Layer],
    table: impl Fn(&typed::Policy) -> &BTreeMap<Category, T>,
) -> BTreeMap<Category, T> {
    let mut all = BTreeMap::new();
    for layer in layers.iter().rev() {
        all.extend(table(layer.typed).iter().map(|(category, value)| (*category, value.clone())));
    }
    all
}

/// Which actions make sense for a category.
pub(super) fn check_action(category: Category, action: Action) -> Result<(), String> {
    use {Action::*, Category::*};
    match (category, action) {
        (Clean, Deliver | Mark | Quarantine) => Ok(()),
        (Clean, _) => Err(format!("clean mail cannot be met with {action}: deliver, mark or quarantine it")),
        (Virus | Banned | Unchecked, Strip) => Ok(()),
        (_, Strip) => Err(format!(
            "{category} is not about a part that could be stripped; \
                                   strip is for virus, banned and unchecked"
        )),
        _ => Ok(()),
    }
}

/// Subject tags and extensions stand only where the action is `mark` or `wrap`; elsewhere they would silently do nothing.
fn check_marks(top: &Layer, actions: &BTreeMap<Category, Action>, problems: &mut Vec<Problem>) {
    let tags = top.typed.subject_tags.keys().map(|category| ("subject_tags", category));
    for (table, category) in tags.chain(top.typed.extensions.keys().map(|c| ("extensions", c))) {
        let action = actions.get(category).copied().unwrap_or(builtin_action(*category));
        if !matches!(action, Action::Mark | Action::Wrap) {
            problems.push(Problem::new(
                format!("{}.{table}.{category}", top.key),
                format!(
                    "only marked mail gets this, and the action for {category} is {action}: \
                         set actions.{category} = \"mark\""
                ),
            ));
        }
    }
}

fn check_name(layer: &Layer, names: &mut BTreeMap<Arc<str>, String>, problems: &mut Vec<Problem>) {
    let name = layer.name();
    let key = format!("{}.name", layer.key);
    if name.trim().is_empty() {
        problems.push(Problem::new(key, "a policy needs a name: records and the log speak of it"));
    } else if name.chars().any(char::is_control) || name.chars().count() > 100 {
        problems
            .push(Problem::new(key, "a name is at most 100 characters, none of them a control character"));
    } else if let Some(other) = names.insert(name.clone(), key.clone()) {
        problems
            .push(Problem::new(key, format!("“{name}” is already the name at {other}; names are unique")));
    }
}

/// A delimiter and at least one more character, all of them such as may stand unquoted in a local part.
fn is_extension(extension: &str) -> bool {
    let Some(delimiter) = extension.chars().next() else { return false };
    let rest = &extension[delimiter.len_utf8()..];
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '_' | '=' | '#' | '.');
    !delimiter.is_ascii_alphanumeric()
        && allowed(delimiter)
        && (1..=32).contains(&rest.len())
        && rest.chars().all(allowed)
        && !extension.contains("..")
        && !extension.ends_with('.')
}

/// Fields without which a message is another message: a pattern that removes one is a slip.
const VITAL: &[&str] = &[
    "From",
    "To",
    "Cc",
    "Date",
    "Subject",
    "Message-ID",
    "Reply-To",
    "References",
    "In-Reply-To",
    "Received",
    "Return-Path",
    "DKIM-Signature",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
];

fn check_headers(headers: &HeaderNames, problems: &mut Vec<Problem>) {
    let own = [
        ("id", &headers.id),
        ("scanned", &headers.scanned),
        ("flag", &headers.flag),
        ("score", &headers.score),
        ("level", &headers.level),
        ("status", &headers.status),
        ("report", &headers.report),
    ];
    let mut seen = BTreeMap::new();
    for (key, name) in own.into_iter().filter(|(_, name)| !name.is_empty()) {
        check_header_name(&format!("headers.{key}"), name, problems);
        if let Some(other) = seen.insert(name.to_ascii_lowercase(), key) {
            let message = format!("{name} is already the name at headers.{other}");
            problems.push(Problem::new(format!("headers.{key}"), message));
        }
    }
    for (place, pattern) in headers.remove.iter().enumerate() {
        check_header_name(&format!("headers.remove[{place}]"), pattern, problems);
    }
    if !headers.rename_prefix.is_empty() && !is_header_name(&headers.rename_prefix) {
        let message = format!("“{}” cannot begin a header field's name", headers.rename_prefix);
        problems.push(Problem::new("headers.rename_prefix", message));
    }
}

fn check_header_name(key: &str, pattern: &str, problems: &mut Vec<Problem>) {
    let stem = match key.starts_with("headers.remove") {
        true => pattern.strip_suffix('*').unwrap_or(pattern),
        false => pattern,
    };
    if !is_header_name(stem) {
        let message =
            format!("“{pattern}” is not the name of a header field: printable ASCII without colon or space");
        problems.push(Problem::new(key, message));
    } else if let Some(vital) = VITAL.iter().find(|vital| super::rewrite::matches(pattern, vital)) {
        problems.push(Problem::new(key, format!("“{pattern}” would remove {vital} from every message")));
    }
}

/// RFC 5322 section 2.2: printable ASCII but the colon. The star is for patterns.
pub(super) fn is_header_name(name: &str) -> bool {
    (1..=70).contains(&name.len()) && name.bytes().all(|b| matches!(b, 33..=126) && b != b':' && b != b'*')
}

/// Names that `when.listeners` may use: of listeners, of queues, and `scan` for files.
fn listener_names(config: &Config) -> Vec<String> {
    let listeners = config.listeners().into_iter().map(|listener| listener.name);
    let queues = config.queues().into_iter().map(|queue| queue.name);
    listeners.chain(queues).chain(["scan".to_owned()]).collect()
}

/// `; the nearest is X`, if something is near.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|known| (strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| format!("; the nearest is {known}"))
        .unwrap_or_default()
}

fn builtin_action(category: Category) -> Action {
    match category {
        Category::Clean | Category::BadHeader => Action::Deliver,
        Category::Spammy | Category::Unchecked => Action::Mark,
        Category::Spam
        | Category::Unauthenticated
        | Category::Restricted
        | Category::Oversized
        | Category::Banned
        | Category::Virus => Action::Refuse,
    }
}

/// Subject and detail of the enhanced code (RFC 3463) where a reply gives none.
fn builtin_enhanced(category: Category) -> &'static str {
    match category {
        Category::Oversized => "3.4",
        Category::BadHeader => "6.0",
        // RFC 7372 section 3.3.
        Category::Unauthenticated => "7.26",
        _ => "7.1",
    }
}

fn builtin_reply(category: Category, class: u16) -> ReplyTemplate {
    let text = match (class, category) {
        (4, _) => "451 Message not taken now, try again later (id {id})",
        (_, Category::Virus) => "550 Virus detected by gatepost: {reason} (id {id})",
        (_, Category::Banned) => "550 Attachment not accepted: {reason} (id {id})",
        (_, Category::Unchecked) => {
            "550 Content that cannot be looked into is not accepted: {reason} (id {id})"
        }
        (_, Category::Oversized) => "552 Message too large: {reason} (id {id})",
        (_, Category::BadHeader) => "550 Malformed message not accepted: {reason} (id {id})",
        (_, Category::Unauthenticated) => {
            "550 Not authenticated as its author's domain asks: {reason} (id {id})"
        }
        (_, Category::Restricted) => "550 Refused by local policy: {reason} (id {id})",
        (_, Category::Spam | Category::Spammy) => "550 Message looks like spam and is not accepted (id {id})",
        (_, Category::Clean) => "550 Message not accepted (id {id})",
    };
    ReplyTemplate::parse(text, builtin_enhanced(category)).expect("a built-in reply is well-formed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::testing::{build, policies};
    use gatepost_mail::Direction;

    /// Configuration, key of the problem, part of what is told.
    const PROBLEMS: &[(&str, &str, &str)] = &[
        // Symbols.
        ("default_policy.weights.FIVEE = 1", "default_policy.weights.FIVEE", "the nearest is FIVE"),
        (
            "default_policy.weights.QQQQQQ = 1",
            "default_policy.weights.QQQQQQ",
            "no check finds a symbol QQQQQQ",
        ),
        (
            "policy = [{name = 'a', categories = {VIRUZ = 'virus'}}]",
            "policy[0].categories.VIRUZ",
            "the nearest is VIRUS",
        ),
        (
            "default_policy = {weights = {FIVE = 0}, categories = {FIVE = 'spam'}}",
            "default_policy.categories.FIVE",
            "turns FIVE off",
        ),
        // Thresholds.
        ("default_policy = {spammy_at = 11}", "default_policy.spammy_at", "may not be over spam_at"),
        ("default_policy = {spam_at = 5}", "default_policy.spam_at", "before it is spammy"),
        (
            "default_policy = {spammy_at = 8}\npolicy = [{name = 'a', spam_at = 7}]",
            "policy[0].spam_at",
            "from 7.0",
        ),
        // Actions.
        (
            "default_policy.actions.clean = 'refuse'",
            "default_policy.actions.clean",
            "cannot be met with refuse",
        ),
        (
            "default_policy.actions.clean = 'defer'",
            "default_policy.actions.clean",
            "cannot be met with defer",
        ),
        ("default_policy.actions.clean = 'discard'", "default_policy.actions.clean", "deliver, mark or"),
        ("default_policy.actions.spam = 'strip'", "default_policy.actions.spam", "not about a part"),
        // Replies.
        (
            "default_policy.replies.virus = '550 5.7.1 {virus}'",
            "default_policy.replies.virus",
            "unknown field {virus}",
        ),
        ("default_policy.replies.virus = 'Virus!'", "default_policy.replies.virus", "is not a reply code"),
        ("default_policy.replies.virus = '451 later'", "default_policy.replies.virus", "must be 5xx"),
        ("default_policy.replies.clean = '550 no'", "default_policy.replies.clean", "never sent"),
        (
            "default_policy.replies.virus = '554 no'\npolicy = [{name = 'a', actions = {virus = 'defer'}}]",
            "policy[0].replies.virus",
            "must be 4xx, but default_policy.replies.virus is 5xx",
        ),
        // Marks.
        ("default_policy.subject_tags.spam = '[S] '", "default_policy.subject_tags.spam", "is refuse"),
        ("default_policy.subject_tags.spammy = ' '", "default_policy.subject_tags.spammy", "1 to 64"),
        (
            "default_policy.subject_tags.spammy = \"a\\r\\nb\"",
            "default_policy.subject_tags.spammy",
            "control",
        ),
        ("default_policy.extensions.spam = '+spam'", "default_policy.extensions.spam", "is refuse"),
        ("default_policy.extensions.spammy = 'spam'", "default_policy.extensions.spammy", "such as +spam"),
        ("default_policy.extensions.spammy = '+'", "default_policy.extensions.spammy", "such as +spam"),
        ("default_policy.extensions.spammy = '+a@b'", "default_policy.extensions.spammy", "such as +spam"),
        ("default_policy.strip_text = '{score}'", "default_policy.strip_text", "unknown field {score}"),
        ("default_policy.bounce_text = '{name}'", "default_policy.bounce_text", "unknown field {name}"),
        ("default_policy.bounce_text = ' '", "default_policy.bounce_text", "must say something"),
        (
            "default_policy.actions.clean = 'bounce'",
            "default_policy.actions.clean",
            "cannot be met with bounce",
        ),
        (
            "default_policy = {actions = {virus = 'bounce'}, replies = {virus = '451 no'}}",
            "default_policy.replies.virus",
            "must be 5xx",
        ),
        // Parts and texts.
        ("default_policy.parts.MACROO = 'clean'", "default_policy.parts.MACROO", "no check finds a symbol"),
        ("default_policy.parts.FIVEE = 'clean'", "default_policy.parts.FIVEE", "the nearest is FIVE"),
        ("default_policy.parts.banned = 'rename'", "default_policy.parts.banned", "set actions.banned"),
        ("default_policy.parts.spam = 'clean'", "default_policy.parts.spam", "not about a part"),
        (
            "default_policy.parts.BANNED = 'clean'",
            "default_policy.parts.BANNED",
            "counts as banned, whose action is refuse",
        ),
        (
            "default_policy = {actions = {banned = 'strip'}, parts = {banned = 'clean'}}\n\
             policy = [{name = 'a', parts = {BANNED = 'rename'}, actions = {banned = 'mark'}}]",
            "policy[0].parts.BANNED",
            "whose action is mark",
        ),
        ("default_policy.rename_to = 'x'", "default_policy.rename_to", "must hold {name}"),
        ("default_policy.rename_to = '{name}'", "default_policy.rename_to", "something besides"),
        ("default_policy.rename_to = '../{name}.x'", "default_policy.rename_to", "slashes"),
        ("default_policy.rename_to = '{reason}{name}'", "default_policy.rename_to", "unknown field {reason}"),
        (
            "default_policy.warnings.spammy = '{name}'",
            "default_policy.warnings.spammy",
            "unknown field {name}",
        ),
        ("default_policy.warnings.spammy = ' '", "default_policy.warnings.spammy", "must say something"),
        ("default_policy.wrap_text = ''", "default_policy.wrap_text", "must say something"),
        ("default_policy.actions.clean = 'wrap'", "default_policy.actions.clean", "cannot be met with wrap"),
        // Names and conditions.
        ("policy = [{}]", "policy[0].name", "needs a name"),
        (
            "policy = [{name = 'a', when = {authenticated = true}}, {name = 'a'}]",
            "policy[1].name",
            "already the name at policy[0].name",
        ),
        ("policy = [{name = 'default'}]", "default_policy.name", "already the name at policy[0].name"),
        ("default_policy.when.authenticated = true", "default_policy.when", "is for whatever no other"),
        ("policy = [{name = 'a'}, {name = 'b'}]", "policy[0].when", "without conditions"),
        (
            "policy = [{name = 'a', when = {recipients = ['x.test', '*@x.test']}}]",
            "policy[0].when.recipients[1]",
            "write user@example.org",
        ),
        ("policy = [{name = 'a', when = {recipients = ['<>']}}]", "policy[0].when.recipients[0]", "a sender"),
        (
            "listener = [{name = 'mx'}, {}]\npolicy = [{name = 'a', when = {listeners = ['smtp2', 'mxx', 'scan']}}]",
            "policy[0].when.listeners[1]",
            "the nearest is mx",
        ),
        // Header fields.
        ("headers.flag = 'X Spam'", "headers.flag", "is not the name of a header field"),
        ("headers.flag = 'X-Spam-Score'", "headers.score", "already the name at headers.flag"),
        ("headers.scanned = 'Received'", "headers.scanned", "would remove Received"),
        ("headers.remove = ['X-Spam-*', '*']", "headers.remove[1]", "is not the name"),
        ("headers.remove = ['re*']", "headers.remove[0]", "would remove Reply-To"),
        ("headers.rename_prefix = 'X:'", "headers.rename_prefix", "cannot begin"),
    ];

    #[test]
    fn problems_are_told_with_their_keys() {
        for (toml, key, part) in PROBLEMS {
            let problems = build(toml).map(drop).expect_err(toml);
            let found = problems.iter().find(|problem| problem.key == *key);
            assert!(found.is_some_and(|problem| problem.message.contains(part)), "{toml}: {problems:?}");
            assert_eq!(problems.len(), 1, "{toml}: {problems:?}");
        }
    }

    #[test]
    fn what_is_built_in_stands() {
        let policies = policies("");
        let policy = policies.policy(PolicyId(0));
        assert_eq!(policy.name.as_ref(), "default");
        assert_eq!(
            (policy.spammy_at.to_string(), policy.spam_at.to_string()),
            ("6.31".into(), "10.0".into())
        );
        let actions = Category::ALL.map(|category| policy.action(category).name());
        let expected = [
            "deliver", "mark", "refuse", "refuse", "refuse", "deliver", "refuse", "mark", "refuse", "refuse",
        ];
        assert_eq!(actions, expected);
    }

    #[test]
    fn layers_of_weights_and_categories() {
        let config = "
            default_policy.weights = {ONE = 2, VIRUS = 0.1, BANNED = 0}
            default_policy.categories = {FIVE = 'spam'}
            [[policy]]
            name = 'a'
            weights = {FIVE = 4, BANNED = 1}
            categories = {ONE = 'bad-header', UNCHECKED = 'clean', HALF = 'banned'}
        ";
        let policies = policies(config);
        let table = [
            // symbol, worth in `a`, worth in the default policy
            ("ONE", (2000, Some(Category::BadHeader)), (2000, None)),
            ("VIRUS", (100, None), (100, None)),
            ("BANNED", (1000, None), (0, None)),
            ("FIVE", (4000, None), (5000, Some(Category::Spam))),
            ("UNCHECKED", (0, None), (0, Some(Category::Unchecked))),
            ("HALF", (500, Some(Category::Banned)), (500, None)),
            ("UNHEARD_OF", (0, None), (0, None)),
        ];
        for (symbol, a, default) in table {
            for (place, (points, category)) in [a, default].into_iter().enumerate() {
                let worth = Worth { points: Points::thousandths(points), category };
                assert_eq!(
                    policies.policy(PolicyId(place)).worth(symbol, None),
                    worth,
                    "{symbol} in {place}"
                );
            }
        }
    }

    #[test]
    fn a_symbol_may_count_as_points_and_as_category() {
        let symbols = [("L", Counts::Points(Points::thousandths(3000))), ("L", Counts::As(Category::Spam))];
        let policies = Policies::build(&Config::default(), symbols).unwrap();
        let worth = Worth { points: Points::thousandths(3000), category: Some(Category::Spam) };
        assert_eq!(policies.policy(PolicyId(0)).worth("L", None), worth);
    }

    #[test]
    fn the_first_policy_that_matches_decides() {
        let policies = policies(
            "
            listener = [{name = 'mx'}, {name = 'submission'}]
            [[policy]]
            name = 'bounces'
            when = {senders = ['<>'], recipients = ['in.test']}
            [[policy]]
            name = 'boss'
            when.recipients = ['boss@in.test', 'ceo@in.test']
            [[policy]]
            name = 'office'
            when = {networks = ['192.0.2.0/24', '2001:db8::/32'], authenticated = false}
            [[policy]]
            name = 'roaming'
            when = {authenticated = true, listeners = ['submission']}
            [[policy]]
            name = 'out'
            when.directions = ['outbound']
            [[policy]]
            name = 'subdomains'
            when.recipients = ['.in.test']
            [[policy]]
            name = 'partner'
            when = {senders = ['partner.test'], recipients = ['*']}
            ",
        );
        let base = || Session { listener: "mx".into(), ..Session::default() };
        let office = |client: &str| Session { client: Some(client.parse().unwrap()), ..base() };
        let user = |listener: &str| Session { user: Some("u".into()), listener: listener.into(), ..base() };
        let table = [
            (base(), "", "user@in.test", "bounces"),
            (base(), "", "boss@in.test", "bounces"),
            (base(), "", "user@other.test", "default"),
            (base(), "a@a.test", "BOSS@IN.TEST", "boss"),
            (base(), "a@a.test", "boss2@in.test", "default"),
            (office("192.0.2.9"), "a@a.test", "user@in.test", "office"),
            (office("::ffff:192.0.2.9"), "a@a.test", "user@in.test", "office"),
            (office("2001:db8::1"), "a@a.test", "user@in.test", "office"),
            (office("192.0.3.9"), "a@a.test", "user@in.test", "default"),
            (office("192.0.2.9"), "a@a.test", "boss@in.test", "boss"),
            (
                Session { user: Some("u".into()), ..office("192.0.2.9") },
                "a@a.test",
                "user@in.test",
                "default",
            ),
            (user("submission"), "a@a.test", "user@in.test", "roaming"),
            (user("mx"), "a@a.test", "user@in.test", "default"),
            (Session { direction: Direction::Outbound, ..base() }, "a@a.test", "user@in.test", "out"),
            (base(), "a@a.test", "user@sub.in.test", "subdomains"),
            (base(), "a@partner.test", "user@in.test", "partner"),
            (base(), "a@partner.test", "", "partner"),
            (base(), "", "", "default"),
        ];
        for (session, sender, recipient, expected) in table {
            let sender = Address::new(sender);
            let id = match Address::new(recipient) {
                Some(recipient) => policies.find(&session, sender.as_ref(), &recipient),
                None => policies.without_recipient(&session, sender.as_ref()),
            };
            assert_eq!(policies.name(id).as_ref(), expected, "{session:?} {sender:?} {recipient}");
        }
    }

    #[test]
    fn refused_early_only_where_every_policy_that_may_match_refuses() {
        let spam = [Finding::mail("SPAM", "listed")];
        let office = Session { client: "192.0.2.9".parse().ok(), ..Session::default() };
        let user = Session { user: Some("u".into()), direction: Direction::Outbound, ..Session::default() };
        let nobody = Session::default();
        let known = Address::new("a@partner.test");
        let unknown = Address::new("a@other.test");
        let (before, known, unknown) = (None, Some(known.as_ref()), Some(unknown.as_ref()));
        let empty = Some(None);
        // Conditions of a policy that delivers spam, session, sender; whether it is refused before a recipient is known.
        for (when, session, sender, expected) in [
            ("recipients = ['postmaster@in.test']", &nobody, before, false),
            ("recipients = ['postmaster@in.test']", &nobody, unknown, false),
            ("senders = ['partner.test']", &nobody, before, false),
            ("senders = ['partner.test']", &nobody, known, false),
            ("senders = ['partner.test']", &nobody, unknown, true),
            ("senders = ['partner.test']", &nobody, empty, true),
            ("senders = ['<>']", &nobody, before, false),
            ("senders = ['<>']", &nobody, empty, false),
            ("senders = ['<>']", &nobody, unknown, true),
            ("authenticated = true", &nobody, before, false),
            ("authenticated = true", &nobody, unknown, true),
            ("authenticated = true", &user, unknown, false),
            ("authenticated = false", &user, before, false),
            ("authenticated = false", &user, unknown, true),
            ("directions = ['outbound']", &nobody, before, false),
            ("directions = ['outbound']", &nobody, unknown, true),
            ("directions = ['internal']", &user, unknown, false),
            ("directions = ['inbound']", &user, unknown, true),
            ("networks = ['192.0.2.0/24']", &nobody, before, true),
            ("networks = ['192.0.2.0/24']", &office, before, false),
            ("networks = ['192.0.2.0/24'], recipients = ['in.test']", &nobody, before, true),
            ("senders = ['*'], recipients = ['*']", &nobody, before, false),
        ] {
            let policies = policies(&format!(
                "policy = [{{name = 'a', when = {{{when}}}, actions.spam = 'deliver'}}]\n\
                 default_policy.actions.spam = 'refuse'"
            ));
            assert_eq!(policies.all_refuse(session, sender, &spam), expected, "{when} {sender:?}");
            assert!(!policies.all_refuse(session, sender, &[]), "{when}");
        }
        // What is for everybody hides those behind it; what refuses as well is no reason to wait.
        for (text, expected) in [
            (
                "policy = [{name = 'a', when = {senders = ['*']}, actions.spam = 'refuse'}]\n\
                 default_policy.actions.spam = 'deliver'",
                true,
            ),
            (
                "policy = [{name = 'a', when = {senders = ['x.test']}, actions.spam = 'bounce'}]\n\
                 default_policy.actions.spam = 'refuse'",
                true,
            ),
            ("default_policy.actions.spam = 'quarantine'", false),
        ] {
            assert_eq!(policies(text).all_refuse(&nobody, before, &spam), expected, "{text}");
        }
    }

    #[test]
    fn every_built_in_reply_is_well_formed() {
        for category in Category::ALL {
            for class in [4, 5] {
                let reply = builtin_reply(category, class).fill(|_| "x".into());
                assert_eq!(reply.code / 100, class, "{reply}");
                assert!(reply.enhanced.starts_with(&class.to_string()), "{reply}");
                assert!(reply.text.contains("(id x)"), "{reply}");
            }
        }
    }
}
