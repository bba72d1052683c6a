//! What can be said of a configuration without a look at the system, and the defaults that depend on other keys.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::next_hop::NextHopTls;
use super::typed::{Listener, ListenerProtocol, Queue, RefuseAfterQueue};
use super::{Config, ListenAddress, NextHop, Problem};

impl Config {
    /// The listeners, with every default filled in: one that leads to the built-in Maildir if mail comes in no other way,
    /// and a name and a next hop for each.
    pub fn listeners(&self) -> Vec<Listener> {
        let mut listeners = self.listener.clone();
        if listeners.is_empty() && self.queue.is_empty() {
            listeners.push(Listener::default());
        }
        let names = default_names(&listeners);
        for (listener, name) in listeners.iter_mut().zip(names) {
            if listener.name.is_empty() {
                listener.name = name;
            }
            if listener.next_hop.is_empty() && listener.protocol.brings_mail() {
                listener.next_hop.push(NextHop::Maildir(self.data.join("Maildir")).to_string());
            }
        }
        listeners
    }

    /// The queues, with a name for each.
    pub fn queues(&self) -> Vec<Queue> {
        let mut queues = self.queue.clone();
        for (place, queue) in queues.iter_mut().enumerate().filter(|(_, queue)| queue.name.is_empty()) {
            queue.name = if place == 0 { "queue".into() } else { format!("queue{}", place + 1) };
        }
        queues
    }

    /// The configuration with every default that depends on other keys filled in.
    pub fn resolved(&self) -> Config {
        let mut config = self.clone();
        config.listener = self.listeners();
        config.queue = self.queues();
        if config.default_policy.name.is_empty() {
            config.default_policy.name = "default".into();
        }
        config.quarantine.vault = Some(self.vault_folder());
        config.journal.path = Some(self.journal_path());
        config.state.path = Some(self.state_path());
        config
    }

    /// Names under which nobody outside may tell results of sender authentication: ours first.
    pub fn authserv_ids(&self) -> Vec<String> {
        let own = &self.authentication.id;
        let own = if own.is_empty() { &self.hostname } else { own };
        std::iter::once(own).chain(&self.authentication.remove).cloned().collect()
    }

    /// Folder of the vault.
    pub fn vault_folder(&self) -> PathBuf {
        self.quarantine.vault.clone().unwrap_or_else(|| self.data.join("vault"))
    }

    /// The journal's file.
    pub fn journal_path(&self) -> PathBuf {
        self.journal.path.clone().unwrap_or_else(|| self.data.join("journal.db"))
    }

    /// The file of what is remembered.
    pub fn state_path(&self) -> PathBuf {
        self.state.path.clone().unwrap_or_else(|| self.data.join("state.redb"))
    }

    /// Where the daemon answers commands that want to know what is remembered.
    pub fn state_socket(&self) -> PathBuf {
        self.data.join("state.sock")
    }

    /// What is wrong with the values, as far as that can be said without a look at the system. Policies, the names of
    /// header fields, patterns and sockets are judged by those who use them.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        self.validate_general(&mut problems);
        self.validate_listeners(&mut problems);
        self.validate_limits(&mut problems);
        self.validate_keeping(&mut problems);
        problems.0.extend(self.protection_problems());
        problems.0.extend(self.notices_problems());
        for (key, message) in self.update.problems() {
            problems.add(key, message);
        }
        if let Some(message) = self.dmarc_reports.problem() {
            problems.add("dmarc_reports.email", message);
        }
        for (place, server) in self.checks.dns.servers.iter().enumerate() {
            if server.parse::<SocketAddr>().is_err() && server.parse::<IpAddr>().is_err() {
                let message = format!("{server:?} is not a name server; write 127.0.0.1:53 or [::1]:53");
                problems.add(format!("checks.dns.servers[{place}]"), message);
            }
        }
        problems.0
    }

    fn validate_general(&self, problems: &mut Problems) {
        if self.data.as_os_str().is_empty() {
            problems.add("data", "is empty; name a folder");
        }
        if !is_host_name(&self.hostname) {
            problems
                .add("hostname", format!("{:?} is not a host name; write mail.example.org", self.hostname));
        }
        for (place, domain) in self.domains.iter().enumerate() {
            if !is_host_name(domain.strip_prefix('.').unwrap_or(domain)) {
                problems.add(
                    format!("domains[{place}]"),
                    format!("{domain:?} is not a domain; write example.org"),
                );
            }
        }
        let levels = ["error", "warn", "info", "debug", "trace"];
        if !levels.contains(&self.log.level.as_str()) {
            problems.add("log.level", format!("{:?} is none of {}", self.log.level, levels.join(", ")));
        }
        if !self.metrics.listen.is_empty() {
            match self.metrics.listen.parse() {
                Ok(ListenAddress::Tcp(_)) => {}
                Ok(_) => {
                    problems.add("metrics.listen", "is TCP only; write 127.0.0.1:8025, or \"\" for none")
                }
                Err(message) => problems.add("metrics.listen", message),
            }
        }
    }

    fn validate_listeners(&self, problems: &mut Problems) {
        let mut names = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        let default_names = default_names(&self.listener);
        for ((place, listener), name) in self.listener.iter().enumerate().zip(default_names) {
            let key = |name: &str| format!("listener[{place}].{name}");
            if listener.originating && self.domains.is_empty() {
                problems.add(
                    key("originating"),
                    "needs domains: without them nobody can tell which way mail goes",
                );
            }
            let name = if listener.name.is_empty() { name } else { listener.name.clone() };
            if !names.insert(name.clone()) {
                problems.add(key("name"), format!("{name:?} is the name of another listener too"));
            }
            if listener.listen.is_empty() {
                problems.add(key("listen"), "is empty; name at least one address, 127.0.0.1:2525");
            }
            for (index, text) in listener.listen.iter().enumerate() {
                let key = format!("listener[{place}].listen[{index}]");
                match text.parse::<ListenAddress>() {
                    Err(message) => problems.add(key, message),
                    Ok(ListenAddress::Tcp(address)) if address.port() == 0 => {}
                    Ok(address) if !addresses.insert(address.to_string()) => {
                        problems.add(key, format!("{text:?} is listened on already"));
                    }
                    Ok(_) => {}
                }
            }
            problems.next_hops(&key("next_hop"), &listener.next_hop);
            match (&listener.tls_certificate, &listener.tls_key) {
                (Some(_), None) => problems.add(key("tls_certificate"), "needs tls_key beside it"),
                (None, Some(_)) => problems.add(key("tls_key"), "needs tls_certificate beside it"),
                _ => {}
            }
            validate_protocol(listener, &key, problems);
            validate_auth(listener, &key, problems);
            if listener.refuse_after_queue == RefuseAfterQueue::Refuse && !listener.after_queue {
                problems.add(key("refuse_after_queue"), "says nothing without after_queue = true");
            }
            if listener.banner.chars().any(char::is_control) || listener.banner.len() > 200 {
                problems.add(key("banner"), "is one line of at most 200 bytes");
            }
        }
        problems.next_hops("quarantine.release_to", &self.quarantine.release_to);
        self.validate_queues(names, problems);
    }

    fn validate_queues(&self, mut names: BTreeSet<String>, problems: &mut Problems) {
        let mut folders = BTreeSet::new();
        for (place, queue) in self.queues().into_iter().enumerate() {
            let key = |name: &str| format!("queue[{place}].{name}");
            if !names.insert(queue.name.clone()) {
                problems.add(
                    key("name"),
                    format!("{:?} is the name of a listener or another queue too", queue.name),
                );
            }
            for (name, folder) in [("incoming", &queue.incoming), ("outgoing", &queue.outgoing)] {
                if !folder.is_absolute() {
                    problems.add(key(name), format!("{folder:?} is not the full path of a folder"));
                }
            }
            if queue.incoming == queue.outgoing {
                problems
                    .add(key("outgoing"), "is the incoming folder too: nobody could tell what was judged");
            }
            if !folders.insert(queue.incoming.clone()) {
                problems.add(key("incoming"), "is the incoming folder of another queue too");
            }
            if queue.interval.seconds() == 0 {
                problems.add(key("interval"), "is 0; at least 1");
            }
            if queue.at_once == 0 {
                problems.add(key("at_once"), "is 0; nothing would ever be judged");
            }
        }
    }

    fn validate_keeping(&self, problems: &mut Problems) {
        let quarantine = &self.quarantine;
        let mut days = vec![
            ("quarantine.keep_days".to_owned(), quarantine.keep_days),
            ("quarantine.keep_days_virus".to_owned(), quarantine.keep_days_virus),
            ("journal.keep_days".to_owned(), self.journal.keep_days),
        ];
        let by_category = quarantine.keep_days_for.iter();
        days.extend(
            by_category.map(|(category, days)| (format!("quarantine.keep_days_for.{category}"), *days)),
        );
        for (key, _) in days.into_iter().filter(|(_, days)| *days == 0) {
            problems.add(
                key,
                "is 0: all would be deleted at once; write at least 1, or a large number to keep it",
            );
        }
    }

    fn validate_limits(&self, problems: &mut Problems) {
        let limits = &self.limits;
        for (name, value) in [
            ("limits.sessions", u64::from(limits.sessions)),
            ("limits.judging", u64::from(limits.judging)),
            ("limits.idle_commands", u64::from(limits.idle_commands)),
            ("limits.errors", u64::from(limits.errors)),
            ("limits.recipients", u64::from(limits.recipients)),
            ("limits.message_size", limits.message_size.bytes()),
            ("limits.messages", u64::from(limits.messages)),
            ("limits.command_time", limits.command_time.seconds()),
            ("limits.data_time", limits.data_time.seconds()),
            ("limits.message_time", limits.message_time.seconds()),
            ("limits.judging_time", limits.judging_time.seconds()),
            ("limits.next_hop_time", limits.next_hop_time.seconds()),
            ("limits.next_hop_data_time", limits.next_hop_data_time.seconds()),
            ("state.entries", self.state.entries),
            ("reading.depth", u64::from(self.reading.depth)),
            ("reading.parts", u64::from(self.reading.parts)),
            ("reading.bytes", self.reading.bytes.bytes()),
            ("reading.ratio", u64::from(self.reading.ratio)),
            ("reading.time", self.reading.time.seconds()),
            ("reading.memory", self.reading.memory.bytes()),
            ("worker.recycle", u64::from(self.worker.recycle)),
            ("checks.dns.time", self.checks.dns.time.seconds()),
            ("checks.embedded.time", self.checks.embedded.time.seconds()),
            ("checks.rules.time", self.checks.rules.time.seconds()),
            ("checks.rules.network_time", self.checks.rules.network_time.seconds()),
            ("checks.rules.max_size", self.checks.rules.max_size.bytes()),
        ] {
            if value == 0 {
                problems.add(name, "is 0; nothing would ever be within it");
            }
        }
        for (name, clamd) in &self.checks.clamd {
            let key = |last: &str| format!("checks.clamd.{}.{last}", super::tree::key_text(name));
            if clamd.connections == 0 {
                problems.add(key("connections"), "is 0; at least one is needed");
            }
            if clamd.time.seconds() == 0 {
                problems.add(key("time"), "is 0; no scan would ever be within it");
            }
        }
        for (name, list) in &self.checks.dnsbl {
            let key = |last: &str| format!("checks.dnsbl.{}.{last}", super::tree::key_text(name));
            if let Some(message) = list.key_problem() {
                problems.add(key("key"), message);
            } else if !is_host_name(&list.full_zone()) {
                problems.add(key("zone"), format!("{:?} is not a zone; write zen.spamhaus.org", list.zone));
            }
            if list.time.seconds() == 0 {
                problems.add(key("time"), "is 0; no answer would ever be within it");
            }
        }
    }
}

/// A key that its protocol has no use for is a mistake: somebody expects something of it.
fn validate_protocol(listener: &Listener, key: &impl Fn(&str) -> String, problems: &mut Problems) {
    use ListenerProtocol::{AmPdp, Clamd, Http, Milter, Policy};
    let (protocol, usual) = (listener.protocol, Listener::default());
    let bringing = [
        ("tls_certificate", listener.tls_certificate.is_some()),
        ("xclient_from", !listener.xclient_from.is_empty()),
        ("xforward_from", !listener.xforward_from.is_empty()),
        ("proxy_protocol_from", !listener.proxy_protocol_from.is_empty()),
        ("after_queue", listener.after_queue && protocol != Http),
        ("greet_pause", !listener.greet_pause.duration().is_zero()),
        ("banner", listener.banner != usual.banner),
    ];
    for (name, _) in bringing.into_iter().filter(|(_, set)| *set && !protocol.brings_mail()) {
        problems.add(key(name), "is for protocol = \"smtp\" and \"lmtp\" only");
    }
    if listener.mixed != usual.mixed && !protocol.brings_mail() && protocol != Milter {
        problems.add(key("mixed"), "is for protocol = \"smtp\", \"lmtp\" and \"milter\" only");
    }
    if listener.allow_from != usual.allow_from && protocol.brings_mail() {
        problems
            .add(key("allow_from"), "is not for protocol = \"smtp\" and \"lmtp\": anybody may bring mail");
    }
    if protocol == Http {
        validate_token(listener, key, problems);
    } else if !listener.token.is_empty() {
        problems.add(key("token"), "is for protocol = \"http\" only");
    }
    if listener.quarantine != usual.quarantine && !matches!(protocol, Milter | AmPdp) {
        problems.add(key("quarantine"), "is for protocol = \"milter\" and \"am-pdp\" only");
    }
    if listener.mail_folders != usual.mail_folders && protocol != AmPdp {
        problems.add(key("mail_folders"), "is for protocol = \"am-pdp\" only");
    }
    if let Some(folder) = listener.mail_folders.iter().find(|folder| !folder.is_absolute()) {
        problems
            .add(key("mail_folders"), format!("{folder:?} is not a whole path; write /var/lib/amavis/tmp"));
    }
    if listener.require_secret && protocol != AmPdp {
        problems.add(key("require_secret"), "is for protocol = \"am-pdp\" only");
    }
    if listener.delay_reject != usual.delay_reject && !protocol.has_restrictions() {
        let message = "is for protocol = \"smtp\", \"lmtp\", \"milter\" and \"policy\" only";
        problems.add(key("delay_reject"), message);
    }
    if listener.prepend != usual.prepend && protocol != Policy {
        problems.add(key("prepend"), "is for protocol = \"policy\" only");
    }
    if listener.report_banned && protocol != Clamd {
        problems.add(key("report_banned"), "is for protocol = \"clamd\" only");
    }
    if !listener.scan_folders.is_empty() && protocol != Clamd {
        problems.add(key("scan_folders"), "is for protocol = \"clamd\" only");
    }
    for (place, folder) in
        listener.scan_folders.iter().enumerate().filter(|(_, folder)| !folder.is_absolute())
    {
        let message = format!("{folder:?} is not absolute; write /var/spool/exim4/scan");
        problems.add(key(&format!("scan_folders[{place}]")), message);
    }
}

/// Who may ask over HTTP can learn what gets through and fill the vault: without a token that is this host alone.
fn validate_token(listener: &Listener, key: &impl Fn(&str) -> String, problems: &mut Problems) {
    if !listener.token.is_empty() {
        if listener.token.len() > 1000 || !listener.token.bytes().all(|byte| byte.is_ascii_graphic()) {
            problems.add(key("token"), "is one word of at most 1000 visible ASCII characters");
        }
        return;
    }
    let open = listener.listen.iter().find(|text| match text.parse() {
        Ok(ListenAddress::Tcp(address)) => !address.ip().to_canonical().is_loopback(),
        _ => false,
    });
    if let Some(address) = open {
        let message = format!(
            "is needed: {address} can be reached from other hosts; set it, or listen on 127.0.0.1 or a unix socket"
        );
        problems.add(key("token"), message);
    } else if let Some(network) = listener.allow_from.iter().find(|network| !network.is_loopback()) {
        let message = format!("is needed: allow_from names {network}, and that is not this host alone");
        problems.add(key("token"), message);
    }
}

/// Users can log in where the next hop knows them and nobody else reads along.
fn validate_auth(listener: &Listener, key: &impl Fn(&str) -> String, problems: &mut Problems) {
    let hops: Vec<NextHop> = listener.next_hop.iter().filter_map(|hop| hop.parse().ok()).collect();
    let knows_users = |hop: &NextHop| matches!(hop, NextHop::Smtp { .. });
    if listener.auth_without_tls && !listener.auth {
        problems.add(key("auth_without_tls"), "says nothing without auth = true");
    }
    if !listener.auth {
        return;
    }
    if listener.protocol != ListenerProtocol::Smtp {
        problems.add(key("auth"), "is for protocol = \"smtp\" only");
    } else if listener.after_queue {
        problems
            .add(key("auth"), "is for users, and after_queue says that only our own mail server comes here");
    } else if !hops.iter().any(knows_users) {
        problems.add(key("auth"), "needs an SMTP server in next_hop, which knows the users");
    } else if listener.tls_certificate.is_none() && !listener.auth_without_tls {
        problems.add(
            key("auth"),
            "is offered on encrypted connections only: set tls_certificate and tls_key, or auth_without_tls = true",
        );
    } else if let Some(hop) = hops.iter().find(|hop| goes_in_clear(hop))
        && !listener.auth_without_tls
    {
        let message = format!(
            "would send passwords in clear to {hop}: write smtp+starttls:// in next_hop, or auth_without_tls = true"
        );
        problems.add(key("auth"), message);
    }
}

/// Whether others may read what is sent there.
fn goes_in_clear(hop: &NextHop) -> bool {
    let NextHop::Smtp { host, tls: NextHopTls::None, .. } = hop else { return false };
    host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What is spoken there, and a number from the second of a protocol on: `smtp`, `milter`, `smtp2` …
fn default_names(listeners: &[Listener]) -> Vec<String> {
    let nth = |place: usize| {
        let protocol = listeners[place].protocol;
        listeners[..=place].iter().filter(|listener| listener.protocol == protocol).count()
    };
    let name = |place: usize| match (listeners[place].protocol.name(), nth(place)) {
        (name, 1) => name.to_owned(),
        (name, number) => format!("{name}{number}"),
    };
    (0..listeners.len()).map(name).collect()
}

/// Whether it can be a host name or domain (letters, digits, hyphens, underscores and dots; or not ASCII, for IDNA).
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || !c.is_ascii())
    };
    name.len() <= 253 && name.strip_suffix('.').unwrap_or(name).split('.').all(label)
}

/// Problems as they are found.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem::new(key, message));
    }

    fn next_hops(&mut self, key: &str, hops: &[String]) {
        for (place, hop) in hops.iter().enumerate() {
            if let Err(message) = hop.parse::<NextHop>() {
                self.add(format!("{key}[{place}]"), message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_resolve_to_the_built_in_maildir() {
        let config = Config { hostname: "gate.example.org".into(), ..Config::default() };
        assert_eq!(config.validate(), []);
        let listeners = config.listeners();
        assert_eq!(listeners.len(), 1);
        assert_eq!(listeners[0].name, "smtp");
        assert_eq!(listeners[0].listen, ["127.0.0.1:2525"]);
        assert_eq!(listeners[0].next_hop, ["maildir:gatepost-data/Maildir"]);
        assert_eq!(config.resolved().journal.path, Some("gatepost-data/journal.db".into()));
    }

    #[test]
    fn milter_tells_recipients_apart_too() {
        let text = "hostname = \"gate.example.org\"\n\
                    listener = [{protocol = \"milter\", mixed = \"defer-others\"}]";
        let config: Config = toml::from_str(text).expect("a configuration");
        assert_eq!(config.validate(), []);
    }

    #[test]
    fn each_wrong_value_is_told() {
        for (text, key, part) in [
            ("data = \"\"", "data", "name a folder"),
            ("hostname = \"a b\"", "hostname", "not a host name"),
            ("domains = [\"a.org\", \"@b.org\"]", "domains[1]", "not a domain"),
            ("log.level = \"loud\"", "log.level", "none of error, warn"),
            ("metrics.listen = \"8025\"", "metrics.listen", "not an address"),
            ("metrics.listen = \"unix:/x\"", "metrics.listen", "TCP only"),
            (
                "listener = [{}, {name = \"smtp\", listen = [\"[::1]:25\"]}]",
                "listener[1].name",
                "another listener",
            ),
            ("listener = [{}, {}]", "listener[1].listen[0]", "already"),
            ("listener = [{listen = []}]", "listener[0].listen", "at least one"),
            ("listener = [{listen = [\"[::]:25\", \"25\"]}]", "listener[0].listen[1]", "not an address"),
            ("listener = [{next_hop = [\"localhost:25\"]}]", "listener[0].next_hop[0]", "not a next hop"),
            ("listener = [{originating = true}]", "listener[0].originating", "needs domains"),
            ("listener = [{tls_key = \"/k\"}]", "listener[0].tls_key", "needs tls_certificate"),
            ("listener = [{tls_certificate = \"/c\"}]", "listener[0].tls_certificate", "needs tls_key"),
            ("listener = [{protocol = \"milter\", after_queue = true}]", "listener[0].after_queue", "only"),
            ("listener = [{protocol = \"http\", quarantine = \"mta\"}]", "listener[0].quarantine", "only"),
            ("listener = [{protocol = \"http\", mixed = \"defer-others\"}]", "listener[0].mixed", "only"),
            ("listener = [{mail_folders = []}]", "listener[0].mail_folders", "only"),
            (
                "listener = [{protocol = \"am-pdp\", mail_folders = [\"tmp\"]}]",
                "listener[0].mail_folders",
                "whole path",
            ),
            ("listener = [{require_secret = true}]", "listener[0].require_secret", "only"),
            ("listener = [{protocol = 'http', delay_reject = false}]", "listener[0].delay_reject", "only"),
            ("listener = [{prepend = ['X-A']}]", "listener[0].prepend", "only"),
            ("queue = [{incoming = \"in\"}]", "queue[0].incoming", "full path"),
            ("queue = [{incoming = \"/q\", outgoing = \"/q\"}]", "queue[0].outgoing", "what was judged"),
            ("queue = [{}, {outgoing = \"/q\"}]", "queue[1].incoming", "another queue"),
            ("listener = [{}]\nqueue = [{name = \"smtp\"}]", "queue[0].name", "name of a listener"),
            ("queue = [{interval = 0}]", "queue[0].interval", "at least 1"),
            ("queue = [{at_once = 0}]", "queue[0].at_once", "nothing would"),
            ("listener = [{token = \"x\"}]", "listener[0].token", "only"),
            (
                "listener = [{protocol = \"http\", listen = [\"0.0.0.0:80\"]}]",
                "listener[0].token",
                "0.0.0.0:80 can be reached",
            ),
            (
                "listener = [{protocol = \"http\", listen = [\"[::1]:80\"], allow_from = [\"10.0.0.0/8\"]}]",
                "listener[0].token",
                "allow_from names 10.0.0.0/8",
            ),
            ("listener = [{protocol = \"http\", token = \"a b\"}]", "listener[0].token", "one word"),
            ("listener = [{allow_from = []}]", "listener[0].allow_from", "anybody may bring mail"),
            ("listener = [{report_banned = true}]", "listener[0].report_banned", "only"),
            ("listener = [{scan_folders = [\"/a\"]}]", "listener[0].scan_folders", "only"),
            (
                "listener = [{protocol = \"clamd\", scan_folders = [\"/a\", \"b\"]}]",
                "listener[0].scan_folders[1]",
                "not absolute",
            ),
            ("listener = [{auth_without_tls = true}]", "listener[0].auth_without_tls", "without auth"),
            ("listener = [{auth = true, protocol = \"lmtp\"}]", "listener[0].auth", "smtp"),
            ("listener = [{auth = true, after_queue = true}]", "listener[0].auth", "our own mail server"),
            ("listener = [{auth = true}]", "listener[0].auth", "knows the users"),
            (
                "listener = [{auth = true, next_hop = [\"smtp://127.0.0.1:1\"]}]",
                "listener[0].auth",
                "encrypted",
            ),
            (
                "listener = [{auth = true, tls_certificate = \"/c\", tls_key = \"/k\", \
                 next_hop = [\"smtp://[::1]\", \"smtp://localhost\", \"smtps://a.test\", \"smtp://b.test:25\"]}]",
                "listener[0].auth",
                "in clear to smtp://b.test:25",
            ),
            (
                "listener = [{refuse_after_queue = \"refuse\"}]",
                "listener[0].refuse_after_queue",
                "without after_queue",
            ),
            ("listener = [{banner = \"a\\nb\"}]", "listener[0].banner", "one line"),
            ("quarantine.release_to = [\"x\"]", "quarantine.release_to[0]", "not a next hop"),
            ("limits.sessions = 0", "limits.sessions", "is 0"),
            ("reading.depth = 0", "reading.depth", "is 0"),
            ("worker.recycle = 0", "worker.recycle", "is 0"),
            ("checks.clamd.main.connections = 0", "checks.clamd.main.connections", "at least one"),
            ("checks.clamd.\"a.b\".time = 0", "checks.clamd.\"a.b\".time", "is 0"),
            ("checks.dnsbl.zen = {}", "checks.dnsbl.zen.zone", "not a zone"),
            ("checks.dnsbl.zen = {zone = \"{key}.zen.example\"}", "checks.dnsbl.zen.key", "is missing"),
            (
                "checks.dnsbl.zen = {zone = \"zen.example\", key = \"k\"}",
                "checks.dnsbl.zen.key",
                "has no place",
            ),
            ("checks.dns.servers = [\"dns\"]", "checks.dns.servers[0]", "not a name server"),
            ("quarantine.keep_days = 0", "quarantine.keep_days", "deleted at once"),
            ("quarantine.keep_days_virus = 0", "quarantine.keep_days_virus", "deleted at once"),
            ("quarantine.keep_days_for.spam = 0", "quarantine.keep_days_for.spam", "deleted at once"),
            ("journal.keep_days = 0", "journal.keep_days", "deleted at once"),
        ] {
            let mut config: Config = toml::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            if !text.starts_with("hostname") {
                config.hostname = "gate.example.org".into();
            }
            let problems = config.validate();
            let [problem] = &problems[..] else { panic!("{text}: {problems:?}") };
            assert_eq!(problem.key, key, "{text}");
            assert!(problem.message.contains(part), "{text}: {}", problem.message);
        }
    }
}
