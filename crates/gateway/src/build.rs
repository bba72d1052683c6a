//! From a configuration to the parts that run: checks, policies, the pipeline. Everything is built before anything is
//! used, so that a bad configuration changes nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use gatepost_mail::Address;
use tokio::sync::watch;

use crate::checks::catalogue::{self, Resources};
use crate::checks::run::CheckSet;
use crate::config::Problem;
use crate::config::listen::ListenAddress;
use crate::config::next_hop::NextHop;
use crate::config::restrictions::Asks;
use crate::config::typed::{Config, Listener, Queue};
use crate::effects::callahead::CallAhead;
use crate::effects::notice::Notices;
use crate::effects::relay::{NextHops, Options};
use crate::effects::release::ReleaseHops;
use crate::effects::sign::Signing;
use crate::front::Front;
use crate::front::protect::Guard;
use crate::front::queue::Between;
use crate::noticing::Noticer;
use crate::pipeline::{Pipeline, Store};
use crate::records::{Lookups, Metrics, VerdictCounts};
use crate::reporting::Reporter;
use crate::resources::callahead::{AskNextHop, NoNextHop};
use crate::resources::dns::{Dns, DnsCounters, Resolve};
use crate::resources::notices::{NoNotice, Notify};
use crate::resources::state::Memory;
use crate::resources::tls::{ClientTls, ServerTls};
use crate::resources::verdicts::{VerdictCounters, Verdicts};
use crate::verdict::{Policies, Restrictions, RuleNames};

/// The judging part alone: what `scan` needs, and the daemon as well.
pub fn pipeline(
    config: &Config,
    store: Option<Store>,
    metrics: Arc<Metrics>,
) -> Result<Pipeline, Vec<Problem>> {
    let dns = Arc::new(Dns::counting(&config.checks.dns, counters(&metrics))?);
    let state = store.as_ref().map_or_else(Memory::small, |store| store.state.clone());
    let notices = notices(config);
    let VerdictCounts { hits, misses } = metrics.verdicts();
    let verdicts = Verdicts::new(&config.checks.verdict_cache, VerdictCounters { hits, misses });
    let resources = Resources { dns, state, next_hops: call_ahead(config), notices, verdicts };
    let symbols = catalogue::symbols(config);
    let checks = CheckSet::build(config, &resources);
    let (names, change) = checks.as_ref().map(CheckSet::more_symbols).unwrap_or_default();
    let rules = RuleNames { names, change: change || checks.is_err() };
    let known = symbols.iter().map(|symbol| (symbol.name.as_ref(), symbol.counts));
    let policies = Policies::with_rules(config, known, &rules);
    let names: Vec<&str> = symbols.iter().map(|symbol| symbol.name.as_ref()).collect();
    let restrictions = Restrictions::build(config, &names);
    let signing = Signing::build(config);
    match (checks, policies, restrictions, signing) {
        (Ok(checks), Ok(policies), Ok(restrictions), Ok(signing)) => {
            for Problem { key, message } in policies.doubtful() {
                tracing::warn!("{key}: {message}");
            }
            let pipeline = Pipeline::new(config, checks, policies, restrictions, store, metrics);
            Ok(pipeline.signed_by(Arc::new(signing)))
        }
        (checks, policies, restrictions, signing) => {
            let problems = [checks.err(), policies.err(), restrictions.err(), signing.err()];
            Err(problems.into_iter().flatten().flatten().collect())
        }
    }
}

/// The resolver's counters are among those that are shown.
fn counters(metrics: &Metrics) -> DnsCounters {
    let Lookups { questions, cached, timeouts, failures } = metrics.lookups();
    DnsCounters { questions, cached, timeouts, failures }
}

/// All that keeps a configuration from running, beyond what reading it has found.
pub fn problems(config: &Config) -> Vec<Problem> {
    let metrics = Arc::new(Metrics::new());
    let pipeline = match pipeline(config, None, metrics.clone()) {
        Ok(pipeline) => Arc::new(pipeline),
        Err(problems) => return problems,
    };
    let (_, never) = watch::channel(false);
    let mut problems =
        fronts(config, &pipeline, &metrics, &never).and_then(by_address).err().unwrap_or_default();
    if problems.is_empty() {
        problems.extend(noticer(config).err().into_iter().flatten());
    }
    problems
}

/// The resolver of a configuration, for whoever only looks names up.
pub fn resolver(config: &Config) -> Result<Arc<dyn Resolve>, String> {
    let told = |problems: Vec<Problem>| problems.iter().map(|problem| problem.message.as_str()).collect();
    Dns::build(&config.checks.dns).map(|dns| Arc::new(dns) as Arc<dyn Resolve>).map_err(told)
}

/// What one listener needs to serve, before it is bound.
pub struct Planned {
    /// The addresses it shall listen on.
    pub addresses: Vec<ListenAddress>,
    /// What its sessions share.
    pub front: Front,
}

/// The listeners of a configuration around one pipeline.
pub fn fronts(
    config: &Config,
    pipeline: &Arc<Pipeline>,
    metrics: &Arc<Metrics>,
    draining: &watch::Receiver<bool>,
) -> Result<Vec<Planned>, Vec<Problem>> {
    let mut planned = Vec::new();
    let mut problems = Vec::new();
    let (hops, releases) = all_hops(config, &mut problems);
    let guard = guard(config);
    for (place, (listener, hops)) in config.listeners().into_iter().zip(hops).enumerate() {
        let addresses = parse_all(&listener.listen, &format!("listener[{place}].listen"), &mut problems);
        let tls = certificate(&listener, place, &mut problems);
        let front = Front {
            limits: config.limits.clone(),
            hostname: config.hostname.clone(),
            networks: config.networks.clone(),
            domains: config.domains.clone(),
            spool: spool(config),
            pipeline: pipeline.clone(),
            hops,
            releases: releases.clone(),
            tls,
            told: Arc::default(),
            guard: guard.clone(),
            metrics: metrics.clone(),
            draining: draining.clone(),
            listener,
        };
        planned.push(Planned { addresses, front });
    }
    if problems.is_empty() { Ok(planned) } else { Err(problems) }
}

/// The pairs of queues of a configuration around one pipeline.
pub fn queues(
    config: &Config,
    pipeline: &Arc<Pipeline>,
    metrics: &Arc<Metrics>,
    draining: &watch::Receiver<bool>,
) -> Vec<Between> {
    let (_, releases) = all_hops(config, &mut Vec::new());
    let guard = guard(config);
    let between = |queue: Queue| {
        let front = Front {
            limits: config.limits.clone(),
            hostname: config.hostname.clone(),
            networks: config.networks.clone(),
            domains: config.domains.clone(),
            spool: spool(config),
            pipeline: pipeline.clone(),
            hops: Arc::new(NextHops::new(Vec::new(), options(config, true))),
            releases: releases.clone(),
            tls: None,
            told: Arc::default(),
            guard: guard.clone(),
            metrics: metrics.clone(),
            draining: draining.clone(),
            listener: Listener { name: queue.name.clone(), after_queue: true, ..Listener::default() },
        };
        Between { queue, front }
    };
    config.queues().into_iter().map(between).collect()
}

/// Where released messages go: `quarantine.release_to`, else where the listener would have sent them.
pub fn release_hops(config: &Config) -> Result<Arc<ReleaseHops>, Vec<Problem>> {
    let mut problems = Vec::new();
    let (_, releases) = all_hops(config, &mut problems);
    if problems.is_empty() { Ok(releases) } else { Err(problems) }
}

/// What makes and sends DMARC reports: by the next hop of released mail, which without `quarantine.release_to` is that of
/// the first listener that has one.
pub fn reporter(config: &Config) -> Result<Reporter, Vec<Problem>> {
    Ok(Reporter {
        settings: config.dmarc_reports.clone(),
        hostname: config.hostname.clone(),
        dns: Arc::new(Dns::build(&config.checks.dns)?),
        hops: release_hops(config)?,
        listener: own_mail_by(config),
    })
}

/// What makes and sends notices, by the same way; None where nobody is to be told of anything.
pub fn noticer(config: &Config) -> Result<Option<Noticer>, Vec<Problem>> {
    Noticer::new(config, release_hops(config)?, own_mail_by(config))
}

/// The listener whose next hop takes mail of our own: the first that has one.
fn own_mail_by(config: &Config) -> String {
    let listeners = config.listeners();
    let with_hop = listeners.iter().find(|listener| !listener.next_hop.is_empty());
    with_hop.or(listeners.first()).map(|listener| listener.name.clone()).unwrap_or_default()
}

/// Folder for messages too large for memory.
pub fn spool(config: &Config) -> PathBuf {
    config.data.join("spool")
}

/// What keeps clients from using up this host.
fn guard(config: &Config) -> Arc<Guard> {
    Arc::new(Guard::new(&config.protection, vec![config.data.clone(), spool(config)]))
}

/// Who tells the postmaster. An address that is none is told of where the configuration is checked.
fn notices(config: &Config) -> Arc<dyn Notify> {
    let postmaster = config.postmaster().and_then(|address| Address::new(&address));
    if config.protection.rate.is_empty() || postmaster.is_none() {
        return Arc::new(NoNotice);
    }
    let (_, releases) = all_hops(config, &mut Vec::new());
    Arc::new(Notices { hostname: config.hostname.clone(), postmaster, releases })
}

/// Who is asked about recipients. What is wrong with the addresses is told of where mail goes there, and by the check.
fn call_ahead(config: &Config) -> Arc<dyn AskNextHop> {
    if config.asks("reject_unverified_recipient") == Asks::Nobody {
        return Arc::new(NoNextHop);
    }
    let mut told = Vec::new();
    let targets = parse_all(&config.callahead.next_hop, "callahead.next_hop", &mut told);
    let to = (!targets.is_empty()).then(|| NextHops::new(targets, options(config, true)));
    let own = |(place, listener): (usize, Listener)| {
        let hops = next_hops(config, &listener, place, &mut told);
        (listener.name, hops)
    };
    let listeners = config.listeners().into_iter().enumerate().map(own).collect();
    Arc::new(CallAhead::new(to, listeners))
}

/// The next hops of all listeners, in their order, and of released mail.
fn all_hops(config: &Config, problems: &mut Vec<Problem>) -> (Vec<Arc<NextHops>>, Arc<ReleaseHops>) {
    let listeners = config.listeners();
    let hops: Vec<Arc<NextHops>> = listeners
        .iter()
        .enumerate()
        .map(|(place, listener)| Arc::new(next_hops(config, listener, place, problems)))
        .collect();
    let targets = parse_all(&config.quarantine.release_to, "quarantine.release_to", problems);
    let to = (!targets.is_empty()).then(|| Arc::new(NextHops::new(targets, options(config, true))));
    let mut named: Vec<_> =
        listeners.into_iter().map(|listener| listener.name).zip(hops.iter().cloned()).collect();
    // A queue has no next hop, and no listener's may stand in for it.
    let none = Arc::new(NextHops::new(Vec::new(), options(config, true)));
    named.extend(config.queues().into_iter().map(|queue| (queue.name, none.clone())));
    (hops, Arc::new(ReleaseHops::new(to, named)))
}

fn next_hops(config: &Config, listener: &Listener, place: usize, problems: &mut Vec<Problem>) -> NextHops {
    let targets: Vec<NextHop> =
        parse_all(&listener.next_hop, &format!("listener[{place}].next_hop"), problems);
    let way_back = listener.after_queue;
    NextHops::new(targets, Options { way_back, ..options(config, listener.next_hop_verify) })
}

fn options(config: &Config, verify: bool) -> Options {
    Options {
        hostname: config.hostname.clone(),
        tls: ClientTls::new(verify),
        command_time: config.limits.next_hop_time.duration(),
        data_time: config.limits.next_hop_data_time.duration(),
        idle: config.limits.next_hop_idle as usize,
        way_back: false,
    }
}

fn certificate(listener: &Listener, place: usize, problems: &mut Vec<Problem>) -> Option<Arc<ServerTls>> {
    match (&listener.tls_certificate, &listener.tls_key) {
        (Some(certificate), Some(key)) => match ServerTls::load(certificate, key) {
            Ok(tls) => Some(Arc::new(tls)),
            Err(error) => {
                problems.push(Problem::new(format!("listener[{place}].tls_certificate"), error));
                None
            }
        },
        (None, None) => None,
        _ => {
            let message = "tls_certificate and tls_key are needed together";
            problems.push(Problem::new(format!("listener[{place}].tls_certificate"), message));
            None
        }
    }
}

fn parse_all<T: std::str::FromStr<Err = String>>(
    texts: &[String],
    key: &str,
    problems: &mut Vec<Problem>,
) -> Vec<T> {
    let mut parsed = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(value) => parsed.push(value),
            Err(error) => problems.push(Problem::new(format!("{key}[{place}]"), error)),
        }
    }
    parsed
}

/// Listening addresses by how they are written, each once.
pub fn by_address(planned: Vec<Planned>) -> Result<BTreeMap<String, (ListenAddress, Front)>, Vec<Problem>> {
    let mut map = BTreeMap::new();
    for Planned { addresses, front } in planned {
        for address in addresses {
            let replaced = map.insert(address.to_string(), (address.clone(), front.clone()));
            if replaced.is_some() {
                return Err(vec![Problem::new("listener", format!("{address} is listened on twice"))]);
            }
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests;
