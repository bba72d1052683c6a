//! Validating a chain (RFC 8617 section 5.2).

use super::sets::{Fields, Sets, results, seal_says, unfolded};
use super::{Chain, Set, Status};
use crate::dkim::header::{Field, Message};
use crate::dkim::read::{self, Rules};
use crate::dkim::tags::plain;
use crate::dkim::verify::{Job, Keys, look_up};
use crate::dkim::{Canon, Outcome, Settings, Signature};
use crate::dns::Resolve;

/// Validates the chain of `message` (RFC 8617 section 5.2); the look-ups run side by side. Never fails: what cannot be
/// done is a result. Of the settings, the clock, `min_bits` and `lengths` count, and `max`: how many of the newest
/// message signatures are looked at. SHA-1 and keys under 1024 bits never pass: ARC is younger than RFC 8301.
pub async fn verify(dns: &dyn Resolve, message: &[u8], settings: &Settings) -> Chain {
    Prepared::new(message, settings).finish(dns).await
}

/// Sets read and hashes computed; only the keys are missing.
#[derive(Debug)]
pub struct Prepared {
    chain: Chain,
    links: Vec<Link>,
    settings: Settings,
}

/// Most that is told of the results in a set, in characters.
const RESULTS: usize = 16 * 1024;

/// The signatures of one set.
#[derive(Debug)]
struct Link {
    seal: (Signature, Option<Job>),
    /// `None`: it is too old to be looked at.
    message: Option<(Signature, Option<Job>)>,
}

impl Prepared {
    /// Reads the sets and hashes header and body: all that takes long, and nothing that waits.
    pub fn new(message: &[u8], settings: &Settings) -> Prepared {
        let settings = &Settings {
            sha1: false,
            historic: false,
            min_bits: settings.min_bits.max(1024),
            ..settings.clone()
        };
        let message = Message::new(message);
        let sets = Sets::new(&message.fields);
        let mut chain = Chain {
            status: Status::Fail,
            reason: String::new(),
            temporary: false,
            sets: Vec::new(),
            oldest_pass: None,
            highest: sets.highest,
            failed: sets.failed,
            steps: Vec::new(),
        };
        let links = match sets.sets {
            Err(why) => {
                chain.reason = why;
                Vec::new()
            }
            Ok(sets) if sets.is_empty() => {
                chain.status = Status::None;
                chain.reason = "there is no ARC field".into();
                Vec::new()
            }
            Ok(sets) => {
                chain.sets = std::iter::zip(1.., &sets)
                    .map(|(instance, fields)| set(instance, fields, settings))
                    .collect();
                match claims(&chain.sets) {
                    Ok(()) => links(&message, &sets, settings),
                    Err(why) => {
                        chain.reason = why;
                        Vec::new()
                    }
                }
            }
        };
        Prepared { chain, links, settings: settings.clone() }
    }

    /// Looks the keys up and verifies.
    pub async fn finish(self, dns: &dyn Resolve) -> Chain {
        let Prepared { mut chain, links, settings } = self;
        if links.is_empty() {
            return chain;
        }
        let keys = look_up(dns, links.iter().flat_map(Link::names)).await;
        for (set, link) in chain.sets.iter_mut().zip(links) {
            link.conclude(set, &keys, &settings, &mut chain.steps);
        }
        judge(&mut chain);
        chain
    }
}

/// What a set says, before anything is verified.
fn set(instance: u32, fields: &Fields<'_>, settings: &Settings) -> Set {
    let unknown = || (Outcome::Neutral, "it was not looked at".to_owned());
    let value = String::from_utf8_lossy(fields.results.value);
    let said = seal_says(&fields.seal);
    let (seal, _) = read::read(&fields.seal, Rules::Seal, settings);
    let (message, _) = read::read(&fields.message, Rules::Arc, settings);
    Set {
        instance,
        domain: seal.domain,
        selector: seal.selector,
        cv: [Status::None, Status::Pass, Status::Fail]
            .into_iter()
            .find(|status| said.as_deref() == Some(status.as_str())),
        message_domain: message.domain,
        message: unknown(),
        seal: unknown(),
        results: results(&value).map(|(_, rest)| plain(&unfolded(rest), RESULTS)).unwrap_or_default(),
    }
}

/// Whether the seals say what seals of a good chain say (RFC 8617 section 5.2 steps 2 and 3).
fn claims(sets: &[Set]) -> Result<(), String> {
    for set in sets.iter().rev() {
        let wanted = if set.instance == 1 { Status::None } else { Status::Pass };
        match set.cv {
            Some(cv) if cv == wanted => {}
            Some(Status::Fail) => {
                return Err(format!(
                    "the ARC-Seal with i={} says that the chain failed there (cv=fail)",
                    set.instance
                ));
            }
            Some(cv) => {
                let i = set.instance;
                return Err(format!(
                    "the ARC-Seal with i={i} says cv={cv}, and {wanted} is the only right value"
                ));
            }
            None => {
                return Err(format!("the ARC-Seal with i={} has no cv= of none, pass or fail", set.instance));
            }
        }
    }
    Ok(())
}

fn links(message: &Message<'_>, sets: &[Fields<'_>], settings: &Settings) -> Vec<Link> {
    let skipped = sets.len().saturating_sub(settings.max.max(1));
    let newest: Vec<&Field> = sets.iter().skip(skipped).map(|set| &set.message).collect();
    let mut messages = Job::prepare(message, &newest, Rules::Arc, settings).into_iter();
    // A seal covers all sets up to its own, oldest first, each canonicalized relaxed (RFC 8617 section 5.1.1).
    let mut before = Vec::new();
    let mut links = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        Canon::Relaxed.field(&set.results, &mut before);
        Canon::Relaxed.field(&set.message, &mut before);
        let (mut signature, claim) = read::read(&set.seal, Rules::Seal, settings);
        let job = claim.map(|claim| {
            let mut data = before.clone();
            Canon::Relaxed.signature(&set.seal, &claim.place, &mut data);
            Job::of_header(claim, data)
        });
        let job =
            job.map_err(|(outcome, reason)| (signature.outcome, signature.reason) = (outcome, reason)).ok();
        Canon::Relaxed.field(&set.seal, &mut before);
        let message = if at >= skipped { messages.next() } else { None };
        links.push(Link { seal: (signature, job), message });
    }
    links
}

impl Link {
    /// Names of the keys.
    fn names(&self) -> impl Iterator<Item = &str> {
        let jobs = self.seal.1.iter().chain(self.message.iter().filter_map(|(_, job)| job.as_ref()));
        jobs.map(|job| job.claim.name.as_str())
    }

    fn conclude(self, set: &mut Set, keys: &Keys, settings: &Settings, steps: &mut Vec<String>) {
        let mut conclude = |(mut signature, job): (Signature, Option<Job>), name: &str| {
            if let Some(job) = job {
                job.conclude(&mut signature, keys, settings);
            }
            steps.extend(signature.steps.drain(..).map(|step| format!("{name} i={}: {step}", set.instance)));
            signature
        };
        let seal = conclude(self.seal, "ARC-Seal");
        set.seal = (seal.outcome, seal.reason);
        if let Some(message) = self.message {
            let message = conclude(message, "ARC-Message-Signature");
            set.message = (message.outcome, message.reason);
        }
    }
}

/// The result (RFC 8617 section 5.2 steps 4 to 7).
fn judge(chain: &mut Chain) {
    let messages =
        chain.sets.iter().rev().take(1).map(|set| ("ARC-Message-Signature", set.instance, &set.message));
    let seals = chain.sets.iter().rev().map(|set| ("ARC-Seal", set.instance, &set.seal));
    let broken = messages.chain(seals).find(|(_, _, (outcome, _))| *outcome != Outcome::Pass);
    if let Some((name, instance, (outcome, why))) = broken {
        chain.temporary = *outcome == Outcome::TempError;
        chain.reason = format!("the {name} with i={instance} does not count ({outcome}): {why}");
        return;
    }
    chain.status = Status::Pass;
    let passing = chain.sets.iter().rev().take_while(|set| set.message.0 == Outcome::Pass);
    let oldest = passing.last().map_or(0, |set| set.instance);
    chain.oldest_pass = Some(if oldest == 1 { 0 } else { oldest });
    let sealers: Vec<&str> = chain.sealers().collect();
    chain.reason = format!("good chain, sealed by {}", sealers.join(", before by "));
}
