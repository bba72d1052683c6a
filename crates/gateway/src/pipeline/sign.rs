//! What sender authentication came to is told, and what leaves is signed.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost_auth::authentication::Authentication;
use gatepost_mail::{Cause, Edit, Fault, Mail, Verdict};

use super::Pipeline;
use crate::checks::Found;
use crate::effects::sign::Signing;

/// Messages from this size on are signed on a thread of its own.
const LARGE: usize = 256 << 10;

impl Pipeline {
    /// Adds the `Authentication-Results` field to what is put on top of the message.
    pub(super) fn tell(&self, found: &mut Found) {
        let Some(authentication) = found.authentication.as_ref().filter(|known| !known.is_empty()) else {
            return;
        };
        if self.tells_results {
            let value = authentication.results(&self.authserv_ids[0]).value();
            found.fields.insert(0, ("Authentication-Results".into(), value));
        }
    }

    /// Signs what is delivered, as it will leave: one more edit on top of a verdict's own.
    ///
    /// Errors: what should be signed cannot be.
    pub(super) async fn sign(
        &self,
        mail: &Mail,
        found: &Found,
        verdicts: &mut [Verdict],
    ) -> Result<(), Fault> {
        let direction = mail.session.direction;
        let signing = self.signing.as_ref();
        let Some(signing) = signing.filter(|signing| signing.is_for(direction) || signing.seals(direction))
        else {
            return Ok(());
        };
        // Most verdicts ask for the same changes.
        let mut done: Vec<(Vec<Edit>, Vec<Edit>)> = Vec::new();
        for verdict in verdicts.iter_mut().filter(|verdict| verdict.action.delivers()) {
            let known = done.iter().position(|(edits, _)| *edits == verdict.edits);
            let place = match known {
                Some(place) => place,
                None => {
                    let signed = self.signatures(signing, mail, found, &verdict.edits).await?;
                    done.push((verdict.edits.clone(), signed));
                    done.len() - 1
                }
            };
            verdict.edits.splice(0..0, done[place].1.iter().cloned());
        }
        Ok(())
    }

    async fn signatures(
        &self,
        signing: &Arc<Signing>,
        mail: &Mail,
        found: &Found,
        edits: &[Edit],
    ) -> Result<Vec<Edit>, Fault> {
        let work = Work {
            signing: signing.clone(),
            mail: mail.clone(),
            authentication: found.authentication.clone(),
            edits: edits.to_vec(),
            id: self.authserv_ids[0].clone(),
        };
        let signed = if mail.message.raw.len() < LARGE {
            work.signatures()
        } else {
            let work = tokio::task::spawn_blocking(move || work.signatures());
            work.await.unwrap_or_else(|error| Err(error.to_string()))
        };
        signed.map_err(|detail| Fault {
            check: "signing".into(),
            cause: Cause::Unavailable,
            detail,
            answer: signing.on_fault(),
        })
    }
}

/// Verdicts after a fault of signing, `fresh`, in place of those that deliver; what was put off, held or refused already
/// stays so.
pub(super) fn after_fault(verdicts: Vec<Verdict>, fresh: Vec<Verdict>) -> Vec<Verdict> {
    let (open, mut all): (Vec<Verdict>, Vec<Verdict>) =
        verdicts.into_iter().partition(|verdict| verdict.action.delivers());
    for mut verdict in fresh {
        let is_open = |place: &usize| open.iter().any(|one| one.recipients.contains(place));
        let without_envelope = verdict.recipients.is_empty() && !open.is_empty();
        verdict.recipients.retain(is_open);
        if without_envelope || !verdict.recipients.is_empty() {
            all.push(verdict);
        }
    }
    all
}

/// All that a signature depends on.
struct Work {
    signing: Arc<Signing>,
    mail: Mail,
    authentication: Option<Arc<Authentication>>,
    edits: Vec<Edit>,
    /// Our authserv-id.
    id: String,
}

impl Work {
    fn signatures(&self) -> Result<Vec<Edit>, String> {
        let (message, direction) = (&self.mail.message, self.mail.session.direction);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let mut on_top = match self.signing.is_for(direction) {
            true => self.signing.sign(message, &self.edits, now)?,
            false => Vec::new(),
        };
        let known = self.authentication.as_deref();
        let chain = known.and_then(|known| Some((known, known.arc.as_ref()?)));
        if let Some((known, chain)) = chain.filter(|_| self.signing.seals(direction)) {
            // A chain of which nobody knows for now whether it holds must not be called broken for ever.
            if !chain.temporary {
                let edits = [on_top.as_slice(), &self.edits].concat();
                let results = known.results(&self.id).value();
                match self.signing.seal(message, &edits, chain, &results, now) {
                    Ok(sealed) => drop(on_top.splice(0..0, sealed)),
                    // A seal is for those behind us who forward; mail from outside does not wait for it.
                    Err(why) => tracing::error!("a message goes unsealed: {why}"),
                }
            }
        }
        Ok(on_top)
    }
}

#[cfg(test)]
mod tests {
    use gatepost_mail::{Action, Bounce, Category, Points, Reply};

    use super::*;

    fn verdict(recipients: &[usize], action: Action) -> Verdict {
        Verdict {
            recipients: recipients.to_vec(),
            policy: "default".into(),
            category: Category::Clean,
            score: Points::thousandths(0),
            weighed: Vec::new(),
            action,
            keep: false,
            edits: Vec::new(),
            treated: Vec::new(),
            extension: None,
            reply: Reply::new(250, "2.0.0", "Ok"),
            reason: String::new(),
            bounce: Bounce::default(),
        }
    }

    #[test]
    fn a_fault_changes_only_what_would_be_delivered() {
        use Action::{Defer, Deliver, Discard, Quarantine};
        for (before, fresh, after) in [
            // Who was put off by greylisting, or is held, stays so.
            (
                vec![(vec![0], Deliver), (vec![1], Defer)],
                (vec![0, 1], Quarantine),
                vec![(vec![1], Defer), (vec![0], Quarantine)],
            ),
            (vec![(vec![0, 1], Discard)], (vec![0, 1], Defer), vec![(vec![0, 1], Discard)]),
            (vec![(vec![0, 1], Deliver)], (vec![0, 1], Defer), vec![(vec![0, 1], Defer)]),
            // Without an envelope.
            (vec![(vec![], Deliver)], (vec![], Defer), vec![(vec![], Defer)]),
            (vec![(vec![], Discard)], (vec![], Defer), vec![(vec![], Discard)]),
        ] {
            let before = before.iter().map(|(places, action)| verdict(places, *action)).collect();
            let found = after_fault(before, vec![verdict(&fresh.0, fresh.1)]);
            let found: Vec<_> = found.into_iter().map(|one| (one.recipients, one.action)).collect();
            assert_eq!(found, after);
        }
    }
}
