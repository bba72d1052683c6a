//! From a configuration to the parts that run: checks, policies, the pipeline. Everything is built before anything is
//! used, so that a bad configuration changes nothing.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::checks::catalogue::{self, Resources};
use crate::checks::run::CheckSet;
use crate::config::Problem;
use crate::config::listen::ListenAddress;
use crate::config::next_hop::NextHop;
use crate::config::typed::{Config, Dns as DnsConfig, Listener};
use crate::effects::relay::{NextHops, Options};
use crate::front::Front;
use crate::pipeline::{Pipeline, Store};
use crate::records::Metrics;
use crate::resources::dns::{Dns, DnsError, Resolve};
use crate::resources::tls::{ClientTls, ServerTls};
use crate::verdict::Policies;

/// The judging part alone: what `scan` needs, and the daemon as well.
pub fn pipeline(
    config: &Config,
    store: Option<Store>,
    metrics: Arc<Metrics>,
) -> Result<Pipeline, Vec<Problem>> {
    let resources = Resources { dns: Arc::new(Dns::build(&config.checks.dns)?) };
    let symbols = catalogue::symbols(config);
    let checks = CheckSet::build(config, &resources);
    let policies =
        Policies::build(config, symbols.iter().map(|symbol| (symbol.name.as_ref(), symbol.counts)));
    match (checks, policies) {
        (Ok(checks), Ok(policies)) => Ok(Pipeline::new(config, checks, policies, store, metrics)),
        (checks, policies) => Err(checks.err().into_iter().chain(policies.err()).flatten().collect()),
    }
}

/// All that keeps a configuration from running, beyond what reading it has found.
pub fn problems(config: &Config) -> Vec<Problem> {
    let metrics = Arc::new(Metrics::new());
    let pipeline = match pipeline(config, None, metrics.clone()) {
        Ok(pipeline) => Arc::new(pipeline),
        Err(problems) => return problems,
    };
    let (_, never) = watch::channel(false);
    fronts(config, &pipeline, &metrics, &never).and_then(by_address).err().unwrap_or_default()
}

/// IPv4 addresses of a name, by the resolver of a configuration; none if there is no such name.
pub async fn addresses(config: DnsConfig, name: String) -> Result<Vec<Ipv4Addr>, String> {
    let dns = Dns::build(&config)
        .map_err(|problems| problems.iter().map(|p| p.message.clone()).collect::<String>())?;
    match dns.lookup_a(&name).await {
        Ok(addresses) => Ok(addresses),
        Err(DnsError::NotFound) => Ok(Vec::new()),
        Err(error) => Err(error.to_string()),
    }
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
    for (place, listener) in config.listeners().into_iter().enumerate() {
        let addresses = parse_all(&listener.listen, &format!("listener[{place}].listen"), &mut problems);
        let hops = next_hops(config, &listener, place, &mut problems);
        let tls = certificate(&listener, place, &mut problems);
        let front = Front {
            limits: config.limits.clone(),
            hostname: config.hostname.clone(),
            networks: config.networks.clone(),
            domains: config.domains.clone(),
            spool: spool(config),
            pipeline: pipeline.clone(),
            hops: Arc::new(hops),
            tls,
            metrics: metrics.clone(),
            draining: draining.clone(),
            listener,
        };
        planned.push(Planned { addresses, front });
    }
    if problems.is_empty() { Ok(planned) } else { Err(problems) }
}

/// Where released messages go: `quarantine.release_to`, else where the listener would have sent them.
pub fn release_hops(config: &Config, listener: &str) -> Result<NextHops, Vec<Problem>> {
    let mut problems = Vec::new();
    let listeners = config.listeners();
    let place = listeners.iter().position(|candidate| candidate.name == listener).unwrap_or(0);
    let hops = if config.quarantine.release_to.is_empty() {
        if listeners[place].next_hop.is_empty() {
            let message = format!(
                "released mail of the listener {listener} has nowhere to go: name quarantine.release_to, or its next_hop"
            );
            return Err(vec![Problem::new("quarantine.release_to", message)]);
        }
        next_hops(config, &listeners[place], place, &mut problems)
    } else {
        let targets = parse_all(&config.quarantine.release_to, "quarantine.release_to", &mut problems);
        NextHops::new(targets, options(config, true, false))
    };
    if problems.is_empty() { Ok(hops) } else { Err(problems) }
}

/// Folder for messages too large for memory.
pub fn spool(config: &Config) -> PathBuf {
    config.data.join("spool")
}

fn next_hops(config: &Config, listener: &Listener, place: usize, problems: &mut Vec<Problem>) -> NextHops {
    let targets: Vec<NextHop> =
        parse_all(&listener.next_hop, &format!("listener[{place}].next_hop"), problems);
    NextHops::new(targets, options(config, listener.next_hop_verify, listener.after_queue))
}

fn options(config: &Config, verify: bool, way_back: bool) -> Options {
    Options {
        hostname: config.hostname.clone(),
        tls: ClientTls::new(verify),
        command_time: config.limits.next_hop_time.duration(),
        data_time: config.limits.next_hop_data_time.duration(),
        idle: config.limits.next_hop_idle as usize,
        way_back,
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
