//! From what is known of a message to what DMARC says of it (RFC 9989 section 5.3).

use ring::digest;

use super::name::{self, ascii, registered};
use super::record::shown;
use super::walk::{Found, Walk, Walker};
use super::{
    Aligned, Dmarc, Identifier, MAX_AUTHORS, MAX_IDENTIFIERS, Method, Mode, Outcome, Policy, Problem, Proof,
    Query, Record, Softened, Tag,
};
use crate::dns::{DnsError, Resolve};

/// Most identifiers for which a walk up the tree is made; each costs at most eight look-ups.
const MAX_WALKS: usize = 8;

/// Judges a message. Never fails: what cannot be found out is a result too.
///
/// A message with several author domains is judged for each of them, and the result that asks for most stands (RFC 9989
/// section 10.5), so that it passes only if all of them do.
pub async fn evaluate(dns: &dyn Resolve, query: &Query<'_>) -> Dmarc {
    let authors = query.authors;
    let mut walker = Walker::new(dns, query.guard);
    let mut all = Vec::new();
    for domain in authors.domains.iter().take(MAX_AUTHORS) {
        all.push(author(&mut walker, domain, query).await);
    }
    let unread = authors.domains.len() > MAX_AUTHORS || authors.problems.contains(&Problem::TooMany);
    if all.is_empty() || unread {
        let mut nobody = Dmarc::of("");
        nobody.result = Outcome::PermError;
        nobody.crowded = unread;
        nobody.why = match authors.problems.iter().map(|problem| problem.text()).reduce(|first, _| first) {
            _ if unread => Problem::TooMany.text().to_owned(),
            Some(problem) => problem.to_owned(),
            None => Problem::NoDomain.text().to_owned(),
        };
        all.push(nobody);
    }
    // The first of those that ask for most, so that the order of From decides among equals.
    let worst = (0..all.len()).rev().max_by_key(|at| all[*at].weight()).unwrap_or(0);
    let mut result = all.remove(worst);
    if !all.is_empty() && !result.domain.is_empty() {
        result.why = format!("of several author domains, {} decides: {}", result.domain, result.why);
    }
    result.others = all;
    result.notes.extend(walker.notes);
    result.trace = walker.trace;
    result
}

/// The organizational domain of a name (RFC 9989 section 4.10.2).
pub async fn organizational(dns: &dyn Resolve, name: &str, guard: bool) -> Result<String, DnsError> {
    let walk = Walker::new(dns, guard).climb(name).await;
    walk.organizational(name).map_err(|(_, why)| why)
}

impl Dmarc {
    fn of(domain: &str) -> Dmarc {
        Dmarc {
            result: Outcome::None,
            policy: Policy::None,
            published: None,
            tag: Tag::P,
            softened: None,
            domain: domain.to_owned(),
            organizational: None,
            policy_domain: None,
            record: None,
            aligned: Vec::new(),
            why: String::new(),
            notes: Vec::new(),
            trace: Vec::new(),
            crowded: false,
            others: Vec::new(),
        }
    }

    /// How much it asks for, compared with the results of other author domains.
    fn weight(&self) -> u8 {
        match (self.result, self.policy) {
            (Outcome::Fail, Policy::Reject) => 8,
            (Outcome::Fail, Policy::Quarantine) => 7,
            (Outcome::PermError, _) if self.crowded => 6,
            (Outcome::TempError, _) if self.is_in_doubt() => 5,
            (Outcome::TempError, _) => 4,
            (Outcome::PermError, _) => 3,
            (Outcome::Fail, Policy::None) => 2,
            (Outcome::None, _) => 1,
            (Outcome::Pass, _) => 0,
        }
    }

    fn failed(mut self, name: &str, why: &DnsError) -> Dmarc {
        self.result = Outcome::TempError;
        self.why = format!("the look-up of _dmarc.{name} failed: {why}");
        self
    }
}

/// The policy of one author domain, and what it makes of the message.
async fn author(walker: &mut Walker<'_>, domain: &str, query: &Query<'_>) -> Dmarc {
    let mut dmarc = Dmarc::of(domain);
    let record = match discover(walker, &mut dmarc).await {
        Ok(Some(record)) => record,
        Ok(None) => {
            dmarc.why = format!("{domain} has no policy: there is no record for it or a domain above it");
            return dmarc;
        }
        Err((name, why)) => return dmarc.failed(&name, &why),
    };
    let at = dmarc.policy_domain.clone().unwrap_or_default();
    for problem in record.problems.iter().take(8) {
        dmarc.notes.push(format!("the record of {at}: {problem}"));
    }
    dmarc.record = Some(record.clone());
    if record.void {
        dmarc.result = Outcome::PermError;
        dmarc.why = format!("the record of {at} has a policy that is none, and asks for no reports");
        return dmarc;
    }
    let compared = compare(walker, &mut dmarc, &record, query).await;
    if !dmarc.aligned.is_empty() {
        dmarc.result = Outcome::Pass;
        let ways: Vec<String> = dmarc.aligned.iter().map(|aligned| passed(aligned, domain)).collect();
        dmarc.why = ways.join("; ");
    } else if let Err(why) = compared {
        dmarc.result = Outcome::TempError;
        dmarc.why = why;
    }
    if dmarc.result != Outcome::None {
        // What would have been asked for is told, but no look-up is worth it.
        let (tag, published) = policy(&record, domain == at, true);
        (dmarc.tag, dmarc.published) = (tag, Some(published));
        return dmarc;
    }
    ask_for(walker, &mut dmarc, &record, query).await
}

/// The record that applies to an author domain, its own, its organizational domain's or its public suffix's (RFC 9989
/// section 4.10.1); tells in `dmarc` where it stands.
async fn discover(walker: &mut Walker<'_>, dmarc: &mut Dmarc) -> Result<Option<Record>, (String, DnsError)> {
    let domain = dmarc.domain.clone();
    match walker.at(&domain).await {
        Found::Record(record) => {
            dmarc.policy_domain = Some(domain);
            return Ok(Some(*record));
        }
        Found::Failed(why) => return Err((domain, why)),
        Found::Nothing => {}
    }
    let walk = walker.climb(&domain).await;
    let organizational = walk.organizational(&domain)?;
    told(&mut dmarc.notes, &domain, &organizational, &walk);
    let found = match walk.record(&organizational) {
        Some(record) => Some((organizational.clone(), record.clone())),
        None => walk.suffix().cloned(),
    };
    dmarc.organizational = Some(organizational);
    Ok(found.map(|(name, record)| {
        dmarc.policy_domain = Some(name);
        record
    }))
}

/// Notes where the public suffix list would have said otherwise.
fn told(notes: &mut Vec<String>, domain: &str, organizational: &str, walk: &Walk) {
    let Some(registered) = registered(domain).filter(|registered| *registered != organizational) else {
        return;
    };
    if !walk.records.is_empty() {
        notes.push(format!(
            "the organizational domain of {domain} is {organizational} by the walk up the tree (RFC 9989); by the public \
             suffix list it would be {registered}"
        ));
    }
}

/// Finds the identifiers that passed and are aligned. What could not be found out is an error, which counts only if none
/// is aligned.
async fn compare(
    walker: &mut Walker<'_>,
    dmarc: &mut Dmarc,
    record: &Record,
    query: &Query<'_>,
) -> Result<(), String> {
    let mut uncertain = Ok(());
    let mut walks = 0;
    let lists = [(Method::Spf, query.spf, record.aspf), (Method::Dkim, query.dkim, record.adkim)];
    for (method, identifiers, mode) in lists {
        let mut seen: Vec<(String, Proof)> = Vec::new();
        for identifier in
            identifiers.iter().take(MAX_IDENTIFIERS).filter(|identifier| identifier.proof != Proof::Fail)
        {
            let Some(name) = ascii(&identifier.domain) else {
                dmarc.notes.push(format!(
                    "{} of {} is of no domain",
                    method.name(),
                    shown(&identifier.domain)
                ));
                continue;
            };
            if seen.contains(&(name.clone(), identifier.proof)) {
                continue;
            }
            seen.push((name.clone(), identifier.proof));
            let aligned = if name == dmarc.domain {
                Ok(Some(Mode::Strict))
            } else if mode == Mode::Strict || !may_align(&name, &dmarc.domain) {
                Ok(None)
            } else {
                relaxed(walker, dmarc, &name, &mut walks).await.map(|same| same.then_some(Mode::Relaxed))
            };
            match (aligned, identifier.proof) {
                (Ok(Some(mode)), Proof::Pass) => dmarc.aligned.push(Aligned { method, domain: name, mode }),
                (Ok(Some(_)), _) => {
                    uncertain = Err(format!(
                        "{} of {name}, which is aligned, could not be checked this time",
                        method.name()
                    ));
                }
                (Ok(None), _) => {}
                (Err(why), _) => uncertain = Err(why),
            }
        }
    }
    uncertain
}

/// Names without a label in common at their end have no organizational domain in common: nothing need be looked up.
fn may_align(one: &str, other: &str) -> bool {
    one.rsplit('.').next() == other.rsplit('.').next()
}

/// Whether both names have one organizational domain; no as well after too many walks, `walks` by now.
async fn relaxed(
    walker: &mut Walker<'_>,
    dmarc: &mut Dmarc,
    name: &str,
    walks: &mut usize,
) -> Result<bool, String> {
    let failed = |(at, why): (String, DnsError)| format!("the look-up of _dmarc.{at} failed: {why}");
    let author = dmarc.domain.clone();
    let own = match &dmarc.organizational {
        Some(own) => own.clone(),
        None => {
            let walk = walker.climb(&author).await;
            let own = walk.organizational(&author).map_err(failed)?;
            told(&mut dmarc.notes, &author, &own, &walk);
            dmarc.organizational = Some(own.clone());
            own
        }
    };
    // Only what lies at or below the author's organizational domain can have the same.
    if name != own && !name::is_below(name, &own) {
        return Ok(false);
    }
    if *walks == MAX_WALKS {
        dmarc.notes.push(format!("{name} was not compared: too many domains"));
        return Ok(false);
    }
    *walks += 1;
    let theirs = walker.climb(name).await.organizational(name).map_err(failed)?;
    let same = theirs == own;
    if same
        && let (Some(one), Some(other)) = (registered(name), registered(&author))
        && one != other
    {
        dmarc.notes.push(format!(
            "{name} and {author} are aligned by {own} (RFC 9989); by the public suffix list they are {one} and {other}, \
             which are not one organization's"
        ));
    }
    Ok(same)
}

/// The policy for a message that failed.
async fn ask_for(walker: &mut Walker<'_>, dmarc: &mut Dmarc, record: &Record, query: &Query<'_>) -> Dmarc {
    let is_own = dmarc.policy_domain.as_ref() == Some(&dmarc.domain);
    let (mut tag, mut asked) = policy(record, is_own, true);
    let absent = policy(record, is_own, false);
    if absent != (tag, asked) {
        match walker.exists(&dmarc.domain).await {
            Ok(true) => {}
            Ok(false) => (tag, asked) = absent,
            // Whether it exists makes no difference if both ask for the same.
            Err(_) if absent.1 == asked => {}
            Err(why) => {
                dmarc.result = Outcome::TempError;
                (dmarc.tag, dmarc.published) =
                    if absent.1 > asked { (absent.0, Some(absent.1)) } else { (tag, Some(asked)) };
                dmarc.why = format!("whether {} exists could not be found out: {why}", dmarc.domain);
                return dmarc.clone();
            }
        }
    }
    dmarc.result = Outcome::Fail;
    (dmarc.tag, dmarc.published, dmarc.policy) = (tag, Some(asked), asked);
    soften(dmarc, record, query.draw);
    dmarc.why = reason(dmarc, query);
    dmarc.clone()
}

/// The tag that applies and what it says: `p=` for the record's own domain, else `np=`, `sp=` and `p=`, in that order,
/// the first only if the domain does not exist.
fn policy(record: &Record, is_own: bool, exists: bool) -> (Tag, Policy) {
    match (is_own, exists, record.np, record.sp) {
        (false, false, Some(np), _) => (Tag::Np, np),
        (false, _, _, Some(sp)) => (Tag::Sp, sp),
        _ => (Tag::P, record.p),
    }
}

/// Takes `t=y` and, where it is asked for, `pct=` into account.
fn soften(dmarc: &mut Dmarc, record: &Record, draw: Option<&str>) {
    if dmarc.policy == Policy::None {
        return;
    }
    if record.testing {
        dmarc.policy = dmarc.policy.softer();
        dmarc.softened = Some(Softened::Testing);
    } else if let Some(pct) = record.pct.filter(|pct| *pct < 100) {
        match draw {
            Some(seed) if number(seed) >= pct => {
                dmarc.policy = dmarc.policy.softer();
                dmarc.softened = Some(Softened::NotDrawn);
                dmarc.notes.push(format!("pct={pct} of RFC 7489: this message was not drawn"));
            }
            Some(_) => dmarc.notes.push(format!("pct={pct} of RFC 7489: this message was drawn")),
            None => {
                dmarc.notes.push(format!("pct={pct} is historic and not honoured (RFC 9989 appendix A.7)"))
            }
        }
    }
}

/// A number below 100, evenly spread over the seeds.
fn number(seed: &str) -> u8 {
    let digest = digest::digest(&digest::SHA256, seed.as_bytes());
    let word = digest.as_ref().iter().take(4).fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    u8::try_from(word % 100).unwrap_or(0)
}

impl Method {
    /// As it is written: `SPF`, `DKIM`.
    pub fn name(self) -> &'static str {
        match self {
            Method::Spf => "SPF",
            Method::Dkim => "DKIM",
        }
    }
}

fn passed(aligned: &Aligned, domain: &str) -> String {
    let (method, name) = (aligned.method.name(), &aligned.domain);
    match aligned.mode {
        Mode::Strict => format!("{method} passed for {name}, the author's domain"),
        Mode::Relaxed => format!("{method} passed for {name}, of the same organization as {domain}"),
    }
}

/// Why nothing is aligned, and what the owner asks for.
fn reason(dmarc: &Dmarc, query: &Query<'_>) -> String {
    let ways = [(Method::Spf, query.spf), (Method::Dkim, query.dkim)].map(|(method, identifiers)| {
        let passed = identifiers.iter().find(|identifier| identifier.proof == Proof::Pass);
        match (passed, identifiers.first()) {
            (Some(Identifier { domain, .. }), _) => {
                format!("{} passed for {}, which is not aligned", method.name(), shown(domain))
            }
            (None, Some(Identifier { domain, .. })) => {
                format!("{} of {} did not pass", method.name(), shown(domain))
            }
            (None, None) => format!("there is no {}", method.name()),
        }
    });
    let at = dmarc.policy_domain.as_deref().unwrap_or_default();
    let asked = dmarc.published.unwrap_or_default();
    let softened = match dmarc.softened {
        Some(Softened::Testing) => format!(", which t=y makes {}", dmarc.policy),
        Some(Softened::NotDrawn) => format!(", which pct= makes {}", dmarc.policy),
        None => String::new(),
    };
    format!(
        "nothing proves {}: {}; {at} asks for {}={asked}{softened}",
        dmarc.domain,
        ways.join(", "),
        dmarc.tag.name()
    )
}
