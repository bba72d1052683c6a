//! Verifying.

use std::collections::{BTreeSet, HashMap};

use futures_util::future::join_all;

use super::canon::{Bodies, BodyHash};
use super::header::{Field, Message, Stacks};
use super::read::{self, Claim, Rules};
use super::record::{LARGEST, Record};
use super::tags::{base64, plain};
use super::{Outcome, Settings, Signature};
use crate::dns::{DnsError, Resolve};

/// Most canonicalized header under one signature, in bytes.
const HEADER: usize = 1024 * 1024;

/// How much of a record is shown, in characters; one of an RSA key of 4096 bits has 750.
const TEXT: usize = 1000;

/// Most records under one name that are read, and most keys in them that are tried: there should be one.
const RECORDS: usize = 4;
const TRIED: usize = 2;

/// Verifies every `DKIM-Signature` of `message`: one result for each, in their order; the look-ups run side by side.
/// Lines of the message may end with CR LF or LF. Never fails: what cannot be done is a result. Signatures beyond
/// [`Settings::max`] are one last result together.
pub async fn verify(dns: &dyn Resolve, message: &[u8], settings: &Settings) -> Vec<Signature> {
    Prepared::new(message, settings).finish(dns).await
}

/// Signatures read and hashes computed; only the keys are missing.
#[derive(Debug)]
pub struct Prepared {
    entries: Vec<(Signature, Option<Job>)>,
    settings: Settings,
}

impl Prepared {
    /// Reads the signatures and hashes header and body: all that takes long, and nothing that waits.
    pub fn new(message: &[u8], settings: &Settings) -> Prepared {
        let message = Message::new(message);
        let fields: Vec<&Field> = message.fields.iter().filter(|field| field.is("DKIM-Signature")).collect();
        let looked_at = fields.get(..settings.max.min(fields.len())).unwrap_or_default();
        let mut entries = Job::prepare(&message, looked_at, Rules::Dkim, settings);
        let more = fields.len() - looked_at.len();
        if more > 0 {
            let reason = format!("{more} more signatures were not looked at: {} are enough", settings.max);
            entries.push((Signature { reason, ..read::blank() }, None));
        }
        Prepared { entries, settings: settings.clone() }
    }

    /// Looks the keys up and verifies.
    pub async fn finish(self, dns: &dyn Resolve) -> Vec<Signature> {
        let names =
            self.entries.iter().filter_map(|(_, job)| job.as_ref()).map(|job| job.claim.name.as_str());
        let keys = look_up(dns, names).await;
        let conclude = |(mut signature, job): (Signature, Option<Job>)| {
            if let Some(job) = job {
                job.conclude(&mut signature, &keys, &self.settings);
            }
            signature
        };
        self.entries.into_iter().map(conclude).collect()
    }
}

/// What the look-ups of keys gave.
pub(crate) type Keys = HashMap<String, Result<Vec<String>, DnsError>>;

/// Looks keys up, each once, side by side.
pub(crate) async fn look_up(dns: &dyn Resolve, names: impl Iterator<Item = &str>) -> Keys {
    let names: BTreeSet<&str> = names.collect();
    join_all(names.into_iter().map(async |name| (name.to_owned(), dns.txt(name).await)))
        .await
        .into_iter()
        .collect()
}

/// A signature that only wants its key.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) claim: Claim,
    /// The canonicalized header.
    data: Vec<u8>,
    /// What is wrong with the body; `None` if it is not signed.
    body: Option<Result<(), String>>,
}

impl Job {
    /// Reads signatures and hashes what they sign. Those without a job are decided.
    pub(crate) fn prepare(
        message: &Message<'_>,
        fields: &[&Field<'_>],
        rules: Rules,
        settings: &Settings,
    ) -> Vec<(Signature, Option<Job>)> {
        if fields.is_empty() {
            return Vec::new();
        }
        let stacks = Stacks::new(&message.fields);
        let read: Vec<_> = fields.iter().map(|field| (*field, read::read(field, rules, settings))).collect();
        let claims = read.iter().filter_map(|(_, (_, claim))| claim.as_ref().ok());
        let wanted: Vec<_> = claims.map(Claim::wanted).collect();
        let bodies = Bodies::hash(&wanted, std::iter::once(message.body));
        let job = |(field, (mut signature, claim)): (&Field, (Signature, Result<Claim, _>))| {
            let job = claim.and_then(|claim| Job::new(field, claim, &stacks, &bodies, &mut signature));
            let job =
                job.map_err(|(outcome, reason)| (signature.outcome, signature.reason) = (outcome, reason));
            (signature, job.ok())
        };
        read.into_iter().map(job).collect()
    }

    fn new(
        field: &Field<'_>,
        claim: Claim,
        stacks: &Stacks<'_>,
        bodies: &Bodies,
        signature: &mut Signature,
    ) -> Result<Job, read::Refusal> {
        let mut data = Vec::new();
        for field in stacks.choose(&signature.signed) {
            claim.canon.0.field(&field, &mut data);
            if data.len() > HEADER {
                return Err((Outcome::Neutral, format!("it signs more than {HEADER} bytes of header")));
            }
        }
        claim.canon.0.signature(field, &claim.place, &mut data);
        let body = match bodies.get(&claim.wanted()) {
            Some(hash) => compare(&claim, hash, signature),
            None => Err("the body was not hashed".into()),
        };
        Ok(Job { claim, data, body: Some(body) })
    }

    /// A job over a header that is canonicalized already, and over no body.
    pub(crate) fn of_header(claim: Claim, data: Vec<u8>) -> Job {
        Job { claim, data, body: None }
    }

    /// Decides, once the keys are there.
    pub(crate) fn conclude(self, signature: &mut Signature, keys: &Keys, settings: &Settings) {
        let (outcome, reason) = match self.key(signature, keys, settings) {
            Ok((record, verified)) => self.judge(signature, &record, verified, settings),
            Err((outcome, reason)) => match &self.body {
                Some(Err(why)) => (outcome, format!("{reason}; besides, {why}")),
                _ => (outcome, reason),
            },
        };
        (signature.outcome, signature.reason) = (outcome, reason);
    }

    /// The key that verifies the header, or, if none does, the first that could; and whether it does.
    fn key(
        &self,
        signature: &mut Signature,
        keys: &Keys,
        settings: &Settings,
    ) -> Result<(Record, bool), read::Refusal> {
        let name = &self.claim.name;
        let texts = match keys.get(name) {
            Some(Ok(texts)) => texts,
            Some(Err(why)) => {
                signature.steps.push(format!("look-up of {name}: {why}"));
                return Err(match why.is_nothing() {
                    true => (Outcome::PermError, format!("there is no key at {name}: {why}")),
                    false => (Outcome::TempError, format!("the key at {name} cannot be looked up: {why}")),
                });
            }
            None => return Err((Outcome::TempError, format!("the key at {name} was not looked up"))),
        };
        let mut usable: Option<(Record, bool)> = None;
        let (mut refused, mut tried) = (None, 0);
        for text in texts.iter().take(RECORDS) {
            signature.steps.push(format!("key at {name}: {}", plain(text, TEXT)));
            match Record::parse(text).and_then(|record| fits(record, &self.claim, signature, settings)) {
                Ok(record) if record.key.verify(self.claim.hash, &self.data, &self.claim.b) => {
                    return Ok((record, true));
                }
                Ok(record) => {
                    usable.get_or_insert((record, false));
                    tried += 1;
                    if tried == TRIED {
                        break;
                    }
                }
                Err(why) => {
                    signature.steps.push(format!("the record at {name} {why}"));
                    refused.get_or_insert(why);
                }
            }
        }
        let why = refused.unwrap_or_else(|| "is not there".into());
        usable.ok_or_else(|| (Outcome::PermError, format!("the record at {name} {why}")))
    }

    fn judge(
        &self,
        signature: &mut Signature,
        record: &Record,
        verified: bool,
        settings: &Settings,
    ) -> read::Refusal {
        let bits = record.key.bits();
        signature.key_bits = Some(bits);
        signature.testing = record.testing;
        let names = signature.signed.join(":");
        signature.steps.push(match verified {
            true => format!("the signature over the fields {names} verifies"),
            false => format!("the signature over the fields {names} does not verify"),
        });
        if !verified || matches!(self.body, Some(Err(_))) {
            return self.fail(verified);
        }
        if self.claim.key == "rsa" && bits < settings.min_bits {
            let least = settings.min_bits;
            return (
                Outcome::Policy,
                format!("good, but its RSA key has {bits} bits; {least} are asked for"),
            );
        }
        if self.claim.hash == super::canon::Hash::Sha1 && !settings.sha1 {
            return (
                Outcome::Policy,
                "good, but made with SHA-1, which proves nothing any more (RFC 8301)".into(),
            );
        }
        if signature.unsigned > 0 && !settings.lengths {
            let unsigned = signature.unsigned;
            return (Outcome::Policy, format!("good, but {unsigned} bytes of the body are not signed (l=)"));
        }
        (Outcome::Pass, praise(signature, self.claim.key, bits))
    }

    /// What to say when body or header are not what was signed; `header`: whether the header is.
    fn fail(&self, header: bool) -> read::Refusal {
        let reason = match &self.body {
            Some(Err(why)) if header => format!("{why}; the header is as it was signed"),
            Some(Err(why)) => format!("{why}; the signature of the header did not verify either"),
            None => "signature did not verify: an ARC field was changed, or the key is another one".into(),
            Some(Ok(())) => {
                "signature did not verify: a signed header field was changed, or the key is another one; \
                       the body is as it was signed"
                    .into()
            }
        };
        (Outcome::Fail, reason)
    }
}

/// Compares the body's hash with the one in the signature.
fn compare(claim: &Claim, hash: &BodyHash, signature: &mut Signature) -> Result<(), String> {
    let (canon, total) = (claim.canon.1.as_str(), hash.total);
    if let Some(length) = claim.length {
        if length > total {
            return Err(format!(
                "the body was cut: {length} bytes of it are signed (l=), and there are {total}"
            ));
        }
        signature.unsigned = total - length;
    }
    let (said, found) = (base64(&claim.bh), base64(&hash.digest));
    signature.steps.push(format!("the body ({canon}, {total} bytes) has the hash {found}"));
    match said == found {
        true => Ok(()),
        false => Err(format!(
            "body hash did not verify: the signature says {said}, the body ({canon}) has {found}"
        )),
    }
}

/// Whether a key may be used for a signature.
fn fits(record: Record, claim: &Claim, signature: &Signature, settings: &Settings) -> Result<Record, String> {
    let (kind, bits) = (record.key.kind(), record.key.bits());
    if kind != claim.key {
        return Err(format!("has a key of the kind {kind}, and the signature is {}", signature.algorithm));
    }
    if bits > LARGEST {
        return Err(format!("has an RSA key of {bits} bits; {LARGEST} are the most"));
    }
    let hash = claim.hash.as_str();
    if record.hashes.as_ref().is_some_and(|hashes| !hashes.iter().any(|one| one.eq_ignore_ascii_case(hash))) {
        return Err(format!("does not allow {hash} (h=)"));
    }
    let (local, domain) = signature.identity.rsplit_once('@').unwrap_or_default();
    if record.strict && !domain.eq_ignore_ascii_case(&signature.domain) {
        let identity = &signature.identity;
        return Err(format!("is for the domain itself only (t=s), and the identity is {identity}"));
    }
    match &record.granularity {
        Some(pattern) if settings.historic && !grain(pattern, local) => Err(format!(
            "is for the local part {pattern:?} only (g=), and the identity is {}",
            signature.identity
        )),
        _ => Ok(record),
    }
}

/// Whether `g=` matches a local part: one `*` stands for anything, an empty pattern for nothing (RFC 4871).
fn grain(pattern: &str, local: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, behind)) => local.strip_prefix(before).is_some_and(|rest| rest.ends_with(behind)),
        None => !pattern.is_empty() && pattern == local,
    }
}

/// What to say of a good signature.
fn praise(signature: &Signature, kind: &str, bits: usize) -> String {
    let mut text = match kind {
        "rsa" => format!("good signature of {} with an RSA key of {bits} bits", signature.domain),
        _ => format!("good signature of {} with an Ed25519 key", signature.domain),
    };
    if signature.unsigned > 0 {
        text += &format!("; {} bytes of the body are not signed (l=)", signature.unsigned);
    }
    if signature.testing {
        text += "; the domain is testing DKIM (t=y)";
    }
    text
}
