//! Puts the questions of sender authentication, in the order in which one needs the other's answer.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use gatepost_auth::arc::{self, Chain};
use gatepost_auth::authentication::{Authentication, Overridden};
use gatepost_auth::dkim::{self, Settings, Signature};
use gatepost_auth::dmarc::{self, Authors, Dmarc, Identifier, Problem, Proof};
use gatepost_auth::report::Override;
use gatepost_auth::results::{Results, parse};
use gatepost_auth::spf::{self, Identity, Limits, Query, Spf};
use tokio::time::{Instant, sleep};

use super::patience::Until;
use crate::config::Config;
use crate::config::auth::{ArcCheck, DkimCheck, DmarcCheck, SpfCheck};
use crate::config::units::is_among;
use crate::resources::dns::Resolve;

/// Messages from this size on are hashed on a thread of its own.
const LARGE: usize = 256 << 10;

/// The settings of all four.
pub struct Assessor {
    pub(super) spf: SpfCheck,
    pub(super) dkim: DkimCheck,
    pub(super) dmarc: DmarcCheck,
    pub(super) arc: ArcCheck,
    hostname: String,
    /// Judge signatures by what was good before RFC 8301: for old mail that somebody looks into.
    pub historic: bool,
}

/// Who sends.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The client's address, where there is one.
    pub client: Option<IpAddr>,
    /// What it said in HELO.
    pub helo: &'a str,
    /// The envelope sender; empty for `<>`.
    pub from: &'a str,
}

impl Assessor {
    /// By a configuration.
    pub fn new(config: &Config) -> Assessor {
        let checks = &config.checks;
        Assessor {
            spf: checks.spf.clone(),
            dkim: checks.dkim.clone(),
            dmarc: checks.dmarc.clone(),
            arc: checks.arc.clone(),
            hostname: config.hostname.clone(),
            historic: false,
        }
    }

    /// SPF for HELO and MAIL FROM, side by side. `now` is in seconds since 1970.
    pub async fn sender(&self, dns: &dyn Resolve, sender: &Sender<'_>, now: i64) -> Authentication {
        let mut authentication = Authentication { client: sender.client, ..Authentication::default() };
        let Some(ip) = sender.client.map(|client| client.to_canonical()) else { return authentication };
        if !self.spf.enabled || self.is_skipped(ip) {
            return authentication;
        }
        let limits = Limits { lookups: self.spf.lookups, voids: self.spf.voids, ..Limits::default() };
        let query = |identity| Query {
            ip,
            helo: sender.helo,
            identity,
            receiver: &self.hostname,
            now: u64::try_from(now).unwrap_or(0),
            limits,
        };
        let time = self.spf.time.duration();
        let (helo, from) = (query(Identity::Helo), query(Identity::MailFrom(sender.from)));
        let (helo, from) = tokio::join!(
            spf::check_until(dns, &helo, time, sleep(time)),
            spf::check_until(dns, &from, time, sleep(time))
        );
        authentication.spf = vec![helo, from];
        authentication
    }

    /// DKIM and ARC side by side, then DMARC with what they and SPF (in `known`) have found.
    pub async fn message(
        &self,
        dns: &dyn Resolve,
        known: &Authentication,
        raw: Bytes,
        now: i64,
    ) -> Authentication {
        let (dkim, arc) = tokio::join!(self.dkim(dns, raw.clone(), now), self.arc(dns, raw.clone(), now));
        let mut authentication = Authentication { dkim, arc, ..known.clone() };
        if self.dmarc.enabled {
            let authors = Authors::of_header(&raw);
            authentication.dmarc = self.dmarc(dns, &authors, &authentication).await;
            authentication.overridden = self.overridden(&authentication, &authors);
            authentication.author = authors.problems;
        }
        authentication
    }

    async fn dkim(&self, dns: &dyn Resolve, raw: Bytes, now: i64) -> Option<Vec<Signature>> {
        if !self.dkim.enabled {
            return None;
        }
        let settings = self.settings(now);
        let prepared = prepared(raw, move |raw| dkim::Prepared::new(raw, &settings)).await;
        Some(prepared.finish(&until(dns, self.dkim.time.duration())).await)
    }

    async fn arc(&self, dns: &dyn Resolve, raw: Bytes, now: i64) -> Option<Chain> {
        if !self.arc.enabled {
            return None;
        }
        let settings = self.settings(now);
        let prepared = prepared(raw, move |raw| arc::Prepared::new(raw, &settings)).await;
        Some(prepared.finish(&until(dns, self.arc.time.duration())).await)
    }

    pub(super) fn settings(&self, now: i64) -> Settings {
        let settings = Settings {
            min_bits: self.dkim.min_bits as usize,
            max: self.dkim.signatures as usize,
            lengths: self.dkim.lengths,
            ..Settings::new(now)
        };
        if !self.historic {
            return settings;
        }
        let Settings { sha1, historic, min_bits, .. } = Settings::historic(now);
        Settings { sha1, historic, min_bits, ..settings }
    }

    fn is_skipped(&self, client: IpAddr) -> bool {
        self.spf.skip.iter().any(|network| network.contains(client))
    }

    /// None where nothing can be said: it does not pass, but SPF was not asked, and it might have passed.
    async fn dmarc(&self, dns: &dyn Resolve, authors: &Authors, known: &Authentication) -> Option<Dmarc> {
        let spf: Vec<Identifier> = known.mail_from().map(by_spf).into_iter().collect();
        let dkim: Vec<Identifier> = known.dkim.iter().flatten().map(by_dkim).collect();
        let draw = known.mail_from().map(|spf| spf.sender.clone()).unwrap_or_default();
        let query = dmarc::Query {
            authors,
            spf: &spf,
            dkim: &dkim,
            draw: self.dmarc.pct.then_some(draw.as_str()),
            guard: self.dmarc.public_suffixes,
        };
        let result = dmarc::evaluate(&until(dns, self.dmarc.time.duration()), &query).await;
        let skipped = known.client.is_some_and(|client| self.is_skipped(client));
        let half = known.spf.is_empty() && !skipped && result.result == dmarc::Outcome::Fail;
        (!half).then_some(result)
    }

    /// Why a failure, or doubt that comes from one, is not treated as the author's domain asks, if it is not.
    pub(super) fn overridden(
        &self,
        authentication: &Authentication,
        authors: &Authors,
    ) -> Option<Overridden> {
        let dmarc = authentication.dmarc.as_ref()?;
        if dmarc.result != dmarc::Outcome::Fail && !dmarc.is_in_doubt() {
            return None;
        }
        let trusted = |why: String| Some(Overridden { kind: Override::TrustedForwarder, why });
        let client = authentication.client.map(|client| client.to_canonical());
        if let Some(client) = client {
            if self.dmarc.forwarders.iter().any(|network| network.contains(client)) {
                return trusted(format!("{client} is in checks.dmarc.forwarders"));
            }
            if self.is_skipped(client) {
                return trusted(format!("{client} is in checks.spf.skip"));
            }
        }
        // Who writes From so that readers differ about it has something to hide from those who vouch for the message.
        let hidden = [Problem::SeveralFields, Problem::HiddenName, Problem::TooMany, Problem::Unbalanced];
        if dmarc.crowded || authors.problems.iter().any(|problem| hidden.contains(problem)) {
            return None;
        }
        let named = |domain: &str| is_among(domain, &self.dmarc.forwarder_domains);
        let spf = authentication.mail_from().filter(|spf| spf.result == spf::Outcome::Pass);
        if let Some(spf) = spf.filter(|spf| named(&spf.domain)) {
            return trusted(format!(
                "SPF passes for {}, which is in checks.dmarc.forwarder_domains",
                spf.domain
            ));
        }
        let mut passed = authentication.dkim.iter().flatten();
        let signed =
            |signature: &&Signature| signature.outcome == dkim::Outcome::Pass && named(&signature.domain);
        if let Some(signature) = passed.find(signed) {
            let domain = &signature.domain;
            return trusted(format!("signed by {domain}, which is in checks.dmarc.forwarder_domains"));
        }
        self.rescued(authentication.arc.as_ref()?, authors)
    }

    /// Whether trusted sealers say that the message passed before the first of them changed it (RFC 8617 section 7.2).
    fn rescued(&self, chain: &Chain, authors: &Authors) -> Option<Overridden> {
        let trusted = |sealer: &str| is_among(sealer, &self.arc.trusted);
        if chain.status != arc::Status::Pass || !chain.sealers().all(trusted) {
            return None;
        }
        let first = chain.first_results().and_then(|text| parse(text.as_bytes()).ok())?;
        let said: Option<Vec<_>> =
            authors.domains.iter().map(|author| said_to_pass(&first, author)).collect();
        let what = *said?.first()?;
        // The comment of RFC 8617 section 7.2.2.
        let sets = chain.sets.iter().rev();
        let sealers: Vec<String> = sets
            .map(|set| format!("as[{0}].d={1} as[{0}].s={2}", set.instance, set.domain, set.selector))
            .collect();
        let why = format!("arc=pass {}; {what} before", sealers.join(" "));
        Some(Overridden { kind: Override::LocalPolicy, why })
    }
}

/// Whether results say that the author's domain was authenticated.
fn said_to_pass(results: &Results, author: &str) -> Option<&'static str> {
    let domain = |value: &str| value.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    for (method, what, properties) in [
        ("dmarc", "dmarc=pass", &[("header", "from")][..]),
        ("dkim", "dkim=pass", &[("header", "d"), ("header", "i")]),
        ("spf", "spf=pass", &[("smtp", "mailfrom")]),
    ] {
        let passed = results.entries.iter().filter(|entry| {
            entry.method.eq_ignore_ascii_case(method) && entry.result.eq_ignore_ascii_case("pass")
        });
        for entry in passed {
            let value = properties.iter().find_map(|(kind, name)| entry.property(kind, name));
            if value.is_some_and(|value| domain(value) == author) {
                return Some(what);
            }
        }
    }
    None
}

fn by_spf(spf: &Spf) -> Identifier {
    let proof = match spf.result {
        spf::Outcome::Pass => Proof::Pass,
        spf::Outcome::TempError => Proof::TempError,
        _ => Proof::Fail,
    };
    Identifier { domain: spf.domain.clone(), proof }
}

fn by_dkim(signature: &Signature) -> Identifier {
    let proof = match signature.outcome {
        dkim::Outcome::Pass => Proof::Pass,
        dkim::Outcome::TempError => Proof::TempError,
        _ => Proof::Fail,
    };
    Identifier { domain: signature.domain.clone(), proof }
}

fn until(dns: &dyn Resolve, time: Duration) -> Until<'_> {
    Until { dns, deadline: Instant::now() + time }
}

/// Hashing a long message must not keep other sessions waiting.
async fn prepared<T: Send + 'static>(raw: Bytes, prepare: impl Fn(&[u8]) -> T + Send + Clone + 'static) -> T {
    if raw.len() >= LARGE {
        let (raw, prepare) = (raw.clone(), prepare.clone());
        if let Ok(done) = tokio::task::spawn_blocking(move || prepare(&raw)).await {
            return done;
        }
    }
    prepare(&raw)
}
