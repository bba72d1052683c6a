//! Counters, gauges and histograms for Prometheus.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use gatepost_mail::{Action, Category, Cause, Reply};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Record;
use super::vault::Usage;

/// Seconds, from a header-only check to a scanner at its limit.
const BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0, 120.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Judged {
    category: &'static str,
    action: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Check {
    check: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Faulted {
    check: String,
    cause: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Engine {
    engine: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Died {
    cause: String,
}

/// Counters of workers.
#[derive(Clone, Debug, Default)]
pub struct WorkerCounts {
    /// Workers that run.
    pub alive: Gauge,
    /// Messages that workers have unpacked.
    pub messages: Counter,
    deaths: Family<Died, Counter>,
}

impl WorkerCounts {
    /// A worker died or had to be killed.
    pub fn died(&self, cause: Cause) {
        self.deaths.get_or_create(&Died { cause: cause.to_string() }).inc();
    }
}

/// Counters of name look-ups.
#[derive(Clone, Debug, Default)]
pub struct Lookups {
    /// Names looked up.
    pub questions: Counter,
    /// Of these, answered from the cache.
    pub cached: Counter,
    /// Of these, answered by no server in time.
    pub timeouts: Counter,
    /// Of these, failed by the servers.
    pub failures: Counter,
}

/// Counters of what malware engines need not see again.
#[derive(Clone, Debug, Default)]
pub struct VerdictCounts {
    /// Contents that were known.
    pub hits: Counter,
    /// Contents that an engine had to look at.
    pub misses: Counter,
}

/// All metrics of the daemon. Every method is cheap: an atomic addition, for labels behind a read lock.
pub struct Metrics {
    registry: Registry,
    messages: Family<Judged, Counter>,
    message_seconds: Histogram,
    check_seconds: Family<Check, Histogram, fn() -> Histogram>,
    faults: Family<Faulted, Counter>,
    sessions: Gauge,
    sessions_total: Counter,
    refused_recipients: Counter,
    protected: Family<Reason, Counter>,
    next_hop_replies: Family<Class, Counter>,
    engine_up: Family<Engine, Gauge>,
    vault_bytes: Gauge<u64, AtomicU64>,
    vault_messages: Gauge<u64, AtomicU64>,
    journal_dropped: Counter,
    lookups: Lookups,
    verdicts: VerdictCounts,
    workers: WorkerCounts,
    resident: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// All at zero. Every category and action there is appears from the start.
    pub fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::default(),
            messages: Family::default(),
            message_seconds: seconds(),
            check_seconds: Family::new_with_constructor(seconds),
            faults: Family::default(),
            sessions: Gauge::default(),
            sessions_total: Counter::default(),
            refused_recipients: Counter::default(),
            protected: Family::default(),
            next_hop_replies: Family::default(),
            engine_up: Family::default(),
            vault_bytes: Gauge::default(),
            vault_messages: Gauge::default(),
            journal_dropped: Counter::default(),
            lookups: Lookups::default(),
            verdicts: VerdictCounts::default(),
            workers: WorkerCounts::default(),
            resident: Gauge::default(),
        };
        metrics.register();
        for (category, action) in
            Category::ALL.into_iter().flat_map(|c| Action::ALL.map(|action| (c, action)))
        {
            // A rate over a series that only appears with its first message misses that message.
            drop(
                metrics.messages.get_or_create(&Judged { category: category.name(), action: action.name() }),
            );
        }
        metrics
    }

    fn register(&mut self) {
        // Counters get their suffix _total from the encoder.
        let registry = &mut self.registry;
        registry.register("gatepost_messages", "Messages by category and action", self.messages.clone());
        registry.register(
            "gatepost_message_seconds",
            "From end of data to the reply, in seconds",
            self.message_seconds.clone(),
        );
        registry.register(
            "gatepost_check_seconds",
            "Time of each check and stage on a message, in seconds",
            self.check_seconds.clone(),
        );
        registry.register("gatepost_faults", "Checks that could not look, by cause", self.faults.clone());
        registry.register("gatepost_sessions", "Sessions open now", self.sessions.clone());
        // A gauge of the same name forbids the counter the plain name, so it carries its suffix.
        registry.register("gatepost_sessions_opened", "Sessions since start", self.sessions_total.clone());
        registry.register(
            "gatepost_refused_recipients",
            "Recipients refused at RCPT, by us or the next hop",
            self.refused_recipients.clone(),
        );
        registry.register(
            "gatepost_protection",
            "What was delayed, put off or refused to protect this host and others, by reason",
            self.protected.clone(),
        );
        registry.register(
            "gatepost_next_hop_replies",
            "Replies of next hops to messages, by class",
            self.next_hop_replies.clone(),
        );
        registry.register(
            "gatepost_engine_up",
            "1 when a scanner or a list answers, else 0",
            self.engine_up.clone(),
        );
        registry.register("gatepost_vault_bytes", "Size of the vault on disk", self.vault_bytes.clone());
        registry.register("gatepost_vault_messages", "Messages in the vault", self.vault_messages.clone());
        registry.register(
            "gatepost_journal_dropped",
            "Records lost because the journal could not be written",
            self.journal_dropped.clone(),
        );
        self.register_resources();
    }

    /// Workers, what malware engines said before, name look-ups, memory.
    fn register_resources(&mut self) {
        let registry = &mut self.registry;
        let workers = &self.workers;
        registry.register("gatepost_workers", "Workers that run", workers.alive.clone());
        registry.register(
            "gatepost_worker_messages",
            "Messages that workers have unpacked",
            workers.messages.clone(),
        );
        registry.register(
            "gatepost_worker_deaths",
            "Workers that died or had to be killed, by cause",
            workers.deaths.clone(),
        );
        let verdicts = &self.verdicts;
        registry.register(
            "gatepost_verdict_cache_hits",
            "Contents that a malware engine need not see, for it has seen them before",
            verdicts.hits.clone(),
        );
        registry.register(
            "gatepost_verdict_cache_misses",
            "Contents that a malware engine had to look at",
            verdicts.misses.clone(),
        );
        let dns = &self.lookups;
        registry.register("gatepost_dns_questions", "Names looked up", dns.questions.clone());
        registry.register("gatepost_dns_cached", "Of these, answered from the cache", dns.cached.clone());
        registry.register(
            "gatepost_dns_timeouts",
            "Of these, answered by no server in time",
            dns.timeouts.clone(),
        );
        registry.register("gatepost_dns_failures", "Of these, failed by the servers", dns.failures.clone());
        registry.register("process_resident_memory_bytes", "Resident memory", self.resident.clone());
    }

    /// A message is done: counts it with its times and faults.
    pub fn record(&self, record: &Record, elapsed: Duration) {
        self.message(record.category, record.action, elapsed);
        for (check, microseconds) in &record.times_us {
            self.check(check, Duration::from_micros(*microseconds));
        }
        for fault in &record.faults {
            self.fault(&fault.check, fault.cause);
        }
    }

    /// A message is done.
    pub fn message(&self, category: Category, action: Action, elapsed: Duration) {
        self.messages.get_or_create(&Judged { category: category.name(), action: action.name() }).inc();
        self.message_seconds.observe(elapsed.as_secs_f64());
    }

    /// A check or stage took so long.
    pub fn check(&self, check: &str, elapsed: Duration) {
        self.check_seconds.get_or_create(&Check { check: check.to_owned() }).observe(elapsed.as_secs_f64());
    }

    /// A check could not look.
    pub fn fault(&self, check: &str, cause: Cause) {
        let cause = cause.to_string();
        self.faults.get_or_create(&Faulted { check: check.to_owned(), cause }).inc();
    }

    /// Somebody was delayed, put off or refused for this reason.
    pub fn protected(&self, reason: &'static str) {
        self.protected.get_or_create(&Reason { reason }).inc();
    }

    /// A session began.
    pub fn session_opened(&self) {
        self.sessions.inc();
        self.sessions_total.inc();
    }

    /// A session ended.
    pub fn session_closed(&self) {
        self.sessions.dec();
    }

    /// Sessions open now.
    pub fn sessions(&self) -> i64 {
        self.sessions.get()
    }

    /// A recipient was refused.
    pub fn refused_recipient(&self) {
        self.refused_recipients.inc();
    }

    /// A next hop replied to a message.
    pub fn next_hop_reply(&self, reply: &Reply) {
        let class = match reply.code / 100 {
            2 => "2xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        };
        self.next_hop_replies.get_or_create(&Class { class }).inc();
    }

    /// Whether a scanner answers.
    pub fn engine_up(&self, engine: &str, up: bool) {
        self.engine_up.get_or_create(&Engine { engine: engine.to_owned() }).set(i64::from(up));
    }

    /// A scanner is no longer configured.
    pub fn engine_gone(&self, engine: &str) {
        self.engine_up.remove(&Engine { engine: engine.to_owned() });
    }

    /// What the vault holds.
    pub fn vault(&self, usage: Usage) {
        self.vault_bytes.set(usage.bytes);
        self.vault_messages.set(usage.messages);
    }

    /// The counter of lost records, for [`super::Journal::open_counting`].
    pub fn journal_dropped(&self) -> Counter {
        self.journal_dropped.clone()
    }

    /// The counters of the resolver.
    pub fn lookups(&self) -> Lookups {
        self.lookups.clone()
    }

    /// The counters of what malware engines said before.
    pub fn verdicts(&self) -> VerdictCounts {
        self.verdicts.clone()
    }

    /// The counters of workers.
    pub fn workers(&self) -> WorkerCounts {
        self.workers.clone()
    }

    /// All metrics in OpenMetrics text.
    pub fn encode(&self) -> String {
        if let Some(bytes) = resident_bytes() {
            self.resident.set(bytes);
        }
        let mut text = String::new();
        // Writing to a String cannot fail.
        encode(&mut text, &self.registry).unwrap_or_default();
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn seconds() -> Histogram {
    Histogram::new(BUCKETS)
}

/// Resident memory of this process; None where /proc is not to be had.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    pages.checked_mul(u64::try_from(page).ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::samples::record;
    use super::*;

    #[test]
    fn everything_is_counted_under_its_name() {
        let metrics = Metrics::new();
        metrics.record(&record("a1"), Duration::from_millis(7));
        metrics.record(&record("a2"), Duration::from_millis(7));
        metrics.session_opened();
        metrics.session_opened();
        metrics.session_closed();
        metrics.refused_recipient();
        for code in [250, 354, 451, 550] {
            metrics.next_hop_reply(&Reply::new(code, "", ""));
        }
        metrics.engine_up("clamd:main", true);
        metrics.engine_up("clamd:\"odd\"", false);
        metrics.vault(Usage { messages: 3, bytes: 4096 });
        metrics.journal_dropped().inc_by(5);
        metrics.lookups().cached.inc_by(4);
        metrics.verdicts().hits.inc();
        metrics.workers().alive.inc();
        metrics.workers().died(Cause::Limit);
        metrics.workers().messages.inc();
        let text = metrics.encode();
        for line in [
            r#"gatepost_messages_total{category="virus",action="refuse"} 2"#,
            r#"gatepost_messages_total{category="clean",action="deliver"} 0"#,
            r#"gatepost_message_seconds_count 2"#,
            r#"gatepost_message_seconds_bucket{le="0.01"} 2"#,
            r#"gatepost_message_seconds_bucket{le="0.005"} 0"#,
            r#"gatepost_check_seconds_count{check="clamd:main"} 2"#,
            r#"gatepost_faults_total{check="clamd:second",cause="timeout"} 2"#,
            r#"gatepost_sessions 1"#,
            r#"gatepost_sessions_opened_total 2"#,
            r#"gatepost_refused_recipients_total 1"#,
            r#"gatepost_next_hop_replies_total{class="2xx"} 1"#,
            r#"gatepost_next_hop_replies_total{class="4xx"} 1"#,
            r#"gatepost_next_hop_replies_total{class="5xx"} 1"#,
            r#"gatepost_next_hop_replies_total{class="other"} 1"#,
            r#"gatepost_engine_up{engine="clamd:main"} 1"#,
            r#"gatepost_engine_up{engine="clamd:\"odd\""} 0"#,
            r#"gatepost_vault_bytes 4096"#,
            r#"gatepost_vault_messages 3"#,
            r#"gatepost_journal_dropped_total 5"#,
            r#"gatepost_dns_cached_total 4"#,
            r#"gatepost_verdict_cache_hits_total 1"#,
            r#"gatepost_verdict_cache_misses_total 0"#,
            r#"gatepost_workers 1"#,
            r#"gatepost_worker_messages_total 1"#,
            r#"gatepost_worker_deaths_total{cause="limit"} 1"#,
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        let resident = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        assert!(resident.unwrap().parse::<u64>().unwrap() > 1 << 20);
    }
}
