//! From verdicts to what is done and what is answered.
//!
//! "Refuse, or take responsibility; never neither": a positive answer is given only for recipients to whose next hop
//! the message has gone, or for whom it is held in the vault (or, where that is configured, thrown away). Where one
//! answer must do for recipients with different verdicts, the message is taken, delivered to some and held for the
//! others; and where anything is uncertain the sender is asked to come again, since a message that arrives twice is
//! better than one that is lost.

use gatepost_mail::{Action, Reply, Verdict};

/// How the protocol answers the end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// One reply for all recipients: SMTP.
    One,
    /// A reply for each recipient: LMTP (RFC 2033), or SMTP with PRDR.
    Each,
    /// One reply, and one copy for all: the mail server that asks has the message and can change it only as a whole
    /// (milter, AM.PDP, queue files). Where verdicts ask for different edits, those of the strictest are made for all.
    OneCopy,
}

/// What is to be done with a message. In this order: put it in the vault for [`Plan::hold`] and [`Plan::keep`], and if
/// that fails go on with [`Plan::without_vault`] instead; send [`Plan::deliveries`]; then [`Plan::conclude`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What is sent to the next hop.
    pub deliveries: Vec<Delivery>,
    /// Verdicts whose recipients get nothing now: the message is held in the vault for them.
    pub hold: Vec<usize>,
    /// Verdicts that want a copy in the vault besides, and those whose recipients get a message without parts, be it, with
    /// [`Answers::OneCopy`], only because another's verdict takes them out: what was taken out must be somewhere.
    pub keep: Vec<usize>,
    /// Recipients of [`Plan::keep`].
    kept_for: Vec<usize>,
    /// Recipients who get a message of which something was taken out, in order.
    stripped: Vec<usize>,
    answers: Answers,
    /// What is meant to become of it for each recipient.
    fates: Vec<Fate>,
    /// The answer for all that stands already, whatever the next hop would say: refused or put off as a whole.
    fixed: Option<Reply>,
}

/// One message to the next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The verdict whose extension applies.
    pub verdict: usize,
    /// The verdict whose edits apply; the same one, but with [`Answers::OneCopy`].
    pub edits: usize,
    /// Places in the envelope; of several verdicts where their edits and extensions are the same.
    pub recipients: Vec<usize>,
}

/// What is meant to become of the message for one recipient, with the reply that its verdict gives.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// At `place` of the recipients of `delivery`.
    Deliver {
        delivery: usize,
        place: usize,
    },
    /// In the vault, as the verdict says.
    Hold(Reply),
    /// In the vault, since it is taken for others; alone it would have been refused.
    HoldInstead,
    Discard(Reply),
    /// Not delivered, and the sender is told by mail.
    Bounce(Reply),
    Refuse(Reply),
    Defer(Reply),
}

/// Combines verdicts. `recipients` is their number in the envelope; a recipient that no verdict is for is deferred.
///
/// Where there is one answer for all:
/// - if any verdict defers, everything is deferred: the sender has one message, and keeps it for all or for none;
/// - if all refuse, the worst verdict's reply is given;
/// - else the message is taken. Those whose verdict refuses find it held in the vault, never lost.
///
/// That is `mixed = "split"`. With `mixed = "defer-others"` recipients of other policies were sent away at RCPT
/// already; should verdicts differ all the same, because a finding speaks of one recipient only, it is too late for
/// that and they are split, too.
pub fn plan(verdicts: &[Verdict], recipients: usize, answers: Answers) -> Plan {
    let mut of = vec![None; recipients];
    for (place, verdict) in verdicts.iter().enumerate() {
        for recipient in &verdict.recipients {
            if let Some(of) = of.get_mut(*recipient) {
                *of = Some(place);
            }
        }
    }
    let fixed = match answers {
        Answers::One | Answers::OneCopy => fixed_reply(verdicts, of.contains(&None)),
        Answers::Each => None,
    };
    let deferred = fixed.as_ref().is_some_and(Reply::is_transient);
    let mut plan = Plan {
        deliveries: Vec::new(),
        hold: Vec::new(),
        keep: Vec::new(),
        kept_for: Vec::new(),
        stripped: Vec::new(),
        answers,
        fates: Vec::new(),
        fixed,
    };
    for (recipient, verdict) in of.into_iter().enumerate() {
        let fate = match (&plan.fixed, verdict) {
            (Some(reply), _) if deferred => Fate::Defer(reply.clone()),
            (Some(reply), _) => Fate::Refuse(reply.clone()),
            (None, Some(verdict)) => plan.place(recipient, verdict, verdicts),
            (None, None) => {
                Fate::Defer(Reply::new(451, "4.3.0", "Not judged for this recipient, try again later"))
            }
        };
        plan.fates.push(fate);
    }
    let gets_stripped = |place: usize| {
        verdicts[place].recipients.iter().any(|recipient| plan.stripped.binary_search(recipient).is_ok())
    };
    let kept = |&place: &usize| {
        (verdicts[place].keep || gets_stripped(place)) && !plan.hold.contains(&place) && !deferred
    };
    plan.keep = (0..verdicts.len()).filter(kept).collect();
    plan.kept_for = plan.keep.iter().flat_map(|&place| verdicts[place].recipients.iter().copied()).collect();
    plan
}

/// The one answer, where the verdicts alone decide it.
fn fixed_reply(verdicts: &[Verdict], unjudged: bool) -> Option<Reply> {
    if let Some(verdict) = worst(verdicts.iter().filter(|verdict| verdict.action == Action::Defer)) {
        return Some(verdict.reply.clone());
    }
    if unjudged || verdicts.is_empty() {
        return Some(Reply::new(451, "4.3.0", "Not judged, try again later"));
    }
    let all_refuse = verdicts.iter().all(|verdict| verdict.action == Action::Refuse);
    worst(verdicts.iter()).filter(|_| all_refuse).map(|verdict| verdict.reply.clone())
}

/// Of the verdicts that deliver, the one that does most to the message.
fn strictest(verdicts: &[Verdict]) -> Option<usize> {
    let delivering = (0..verdicts.len()).filter(|&place| verdicts[place].action.delivers());
    delivering.max_by_key(|&place| {
        let verdict = &verdicts[place];
        // What takes out what is bad goes before what only marks it.
        let takes = (verdict.takes_out(), verdict.action == Action::Wrap, !verdict.treated.is_empty());
        (takes, verdict.action, verdict.category, verdict.score, std::cmp::Reverse(place))
    })
}

fn worst<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Option<&'a Verdict> {
    // Of equals, the first.
    verdicts.reduce(
        |worst, other| {
            if (other.category, other.score) > (worst.category, worst.score) { other } else { worst }
        },
    )
}

impl Plan {
    /// What becomes of it for a recipient, when not all is refused or deferred as a whole.
    fn place(&mut self, recipient: usize, verdict: usize, verdicts: &[Verdict]) -> Fate {
        let judged = &verdicts[verdict];
        let reply = judged.reply.clone();
        let mut hold = || {
            if !self.hold.contains(&verdict) {
                self.hold.push(verdict);
            }
        };
        match (judged.action, self.answers) {
            (Action::Deliver | Action::Mark | Action::Wrap | Action::Strip, _) => {
                self.deliver(recipient, verdict, verdicts)
            }
            (Action::Quarantine, _) => {
                hold();
                Fate::Hold(reply)
            }
            (Action::Discard, _) => Fate::Discard(reply),
            (Action::Bounce, _) => Fate::Bounce(reply),
            (Action::Defer, _) => Fate::Defer(reply),
            (Action::Refuse, Answers::Each) => Fate::Refuse(reply),
            // The one reply will be positive, and behind it there must be the message.
            (Action::Refuse, Answers::One | Answers::OneCopy) => {
                hold();
                Fate::HoldInstead
            }
        }
    }

    fn deliver(&mut self, recipient: usize, verdict: usize, verdicts: &[Verdict]) -> Fate {
        let edits = match self.answers {
            Answers::OneCopy => strictest(verdicts).unwrap_or(verdict),
            Answers::One | Answers::Each => verdict,
        };
        if verdicts[edits].takes_out() {
            self.stripped.push(recipient);
        }
        let same = |delivery: &Delivery| {
            let one = (&verdicts[delivery.verdict].extension, &verdicts[delivery.edits].edits);
            one == (&verdicts[verdict].extension, &verdicts[edits].edits)
        };
        let delivery = self.deliveries.iter().position(same).unwrap_or_else(|| {
            self.deliveries.push(Delivery { verdict, edits, recipients: Vec::new() });
            self.deliveries.len() - 1
        });
        let recipients = &mut self.deliveries[delivery].recipients;
        recipients.push(recipient);
        Fate::Deliver { delivery, place: recipients.len() - 1 }
    }

    /// Recipients whom the vault's entry names, so that releasing gives them the original; `more` are held besides, since
    /// the next hop refused it for them. Those it is held for and those who get it stripped; where there are none, it is
    /// a mere copy, of those whose verdict wants that.
    pub fn entry(&self, verdicts: &[Verdict], more: &[usize]) -> Vec<usize> {
        let held = self.hold.iter().flat_map(|&place| verdicts[place].recipients.iter());
        let mut named: Vec<usize> = held.chain(more).chain(&self.stripped).copied().collect();
        if self.hold.is_empty() && more.is_empty() {
            named.extend(&self.kept_for);
        }
        named.sort_unstable();
        named.dedup();
        named
    }

    /// The plan for when the vault cannot take the message: whatever needed it is deferred, and nothing is lost. What
    /// is refused is still refused, without a copy.
    pub fn without_vault(&self, verdicts: &[Verdict]) -> Plan {
        let mut verdicts = verdicts.to_vec();
        for (place, verdict) in verdicts.iter_mut().enumerate() {
            let copy_needed = self.keep.contains(&place) && verdict.action != Action::Refuse;
            if self.hold.contains(&place) || copy_needed {
                verdict.action = Action::Defer;
                verdict.reply = no_room();
            }
            verdict.keep = false;
        }
        plan(&verdicts, self.fates.len(), self.answers)
    }

    /// What is answered, and what became of it for whom. `results` holds for each delivery either one reply of the
    /// next hop, or one for each of its recipients; where one is missing it counts as 451.
    pub fn conclude(&self, results: &[Vec<Reply>]) -> Conclusion {
        let outcomes: Vec<Outcome> = self.fates.iter().map(|fate| outcome(fate, results)).collect();
        match (self.answers, &self.fixed) {
            (Answers::One | Answers::OneCopy, Some(reply)) => {
                Conclusion::same_for_all(reply.clone(), outcomes)
            }
            (Answers::One | Answers::OneCopy, None) => self.conclude_one(outcomes),
            (Answers::Each, _) => self.conclude_each(outcomes),
        }
    }

    fn conclude_one(&self, mut outcomes: Vec<Outcome>) -> Conclusion {
        let put_off = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Deferred(reply) => Some(reply.clone()),
            _ => None,
        });
        if let Some(reply) = put_off {
            // Those who got it will get it again. Better than those who did not never getting it.
            return Conclusion::put_off(reply, outcomes);
        }
        let refused = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Refused(reply) => Some(reply.clone()),
            _ => None,
        });
        let taken = self.fates.iter().zip(&outcomes).find_map(|fate| match fate {
            (_, Outcome::Delivered(reply)) => Some(reply.clone()),
            _ => None,
        });
        let taken = taken.or_else(|| {
            self.fates.iter().find_map(|fate| match fate {
                Fate::Hold(reply) | Fate::Discard(reply) | Fate::Bounce(reply) => Some(reply.clone()),
                _ => None,
            })
        });
        match (taken, refused) {
            (Some(one), _) => {
                // "Refuse, or take responsibility": the reply for all is positive, so those whom the next hop refused
                // must find the message in the vault.
                let mut hold_after = Vec::new();
                for (recipient, outcome) in outcomes.iter_mut().enumerate() {
                    if let Outcome::Refused(reply) = outcome {
                        *outcome = Outcome::Held(Some(reply.clone()));
                        hold_after.push(recipient);
                    }
                }
                Conclusion {
                    each: vec![one.clone(); outcomes.len()],
                    one,
                    outcomes,
                    hold_after,
                    drop_held: false,
                    answers: Answers::One,
                }
            }
            // All refuse it, by verdict or at the next hop: then so do we, and hold nothing.
            (None, Some(reply)) => {
                outcomes.fill(Outcome::Refused(reply.clone()));
                Conclusion { drop_held: true, ..Conclusion::same_for_all(reply, outcomes) }
            }
            // Not reached: without a fixed reply something is taken or sent to the next hop.
            (None, None) => Conclusion::put_off(no_answer(), outcomes),
        }
    }

    fn conclude_each(&self, outcomes: Vec<Outcome>) -> Conclusion {
        let each: Vec<Reply> = (self.fates.iter().zip(&outcomes))
            .map(|(fate, outcome)| match (fate, outcome) {
                (_, Outcome::Delivered(reply) | Outcome::Refused(reply) | Outcome::Deferred(reply)) => {
                    reply.clone()
                }
                (Fate::Hold(reply) | Fate::Discard(reply) | Fate::Bounce(reply), _) => reply.clone(),
                // Not reached: only these are held, discarded or bounced here.
                _ => no_answer(),
            })
            .collect();
        // Copies for those alone who will get it with the next try: that one will be kept then, and not both.
        let comes_again = |&recipient: &usize| matches!(outcomes.get(recipient), Some(Outcome::Deferred(_)));
        let drop_held =
            self.hold.is_empty() && !self.keep.is_empty() && self.kept_for.iter().all(comes_again);
        let one = one_of(&each);
        Conclusion { one, each, outcomes, hold_after: Vec::new(), drop_held, answers: Answers::Each }
    }
}

/// What became of the message for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The next hop took it, with this reply.
    Delivered(Reply),
    /// Held in the vault; with the next hop's reply, if that refused it and it had been taken for others.
    Held(Option<Reply>),
    /// Thrown away, as configured.
    Discarded,
    /// Not delivered: the sender is to be told by mail, or was, with the next hop's reply to that mail.
    Bounced(Option<Reply>),
    /// Not taken, for good.
    Refused(Reply),
    /// Not taken now.
    Deferred(Reply),
}

/// As records show it.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Delivered(reply) => write!(f, "delivered: {reply}"),
            Outcome::Held(None) => f.write_str("held"),
            Outcome::Held(Some(reply)) => write!(f, "held, the next hop refused it: {reply}"),
            Outcome::Discarded => f.write_str("discarded"),
            Outcome::Bounced(None) => f.write_str("bounced"),
            Outcome::Bounced(Some(reply)) => write!(f, "bounced: {reply}"),
            Outcome::Refused(reply) => write!(f, "refused: {reply}"),
            Outcome::Deferred(reply) => write!(f, "deferred: {reply}"),
        }
    }
}

/// How a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// The reply to the end of the message, where there is one for all; with PRDR, the last one.
    pub one: Reply,
    /// The reply for each recipient, in the order of the envelope. Where there is one for all, it is that one.
    pub each: Vec<Reply>,
    /// What became of it for each recipient.
    pub outcomes: Vec<Outcome>,
    /// Recipients for whom the message must be put in the vault before the answer is given: the next hop refused it
    /// for them while it was taken for others, or a bounce could not be sent. If that fails, see
    /// [`Conclusion::without_vault`].
    pub hold_after: Vec<usize>,
    /// What was put in the vault for [`Plan::hold`] and [`Plan::keep`] may be taken out again: the sender was not told
    /// that the message was taken, so it still has it.
    pub drop_held: bool,
    answers: Answers,
}

impl Conclusion {
    /// Recipients of whom the sender must be told by mail before the answer is given; how that went, tell
    /// [`Conclusion::bounced`].
    pub fn to_bounce(&self) -> Vec<usize> {
        let bounced = |place: &usize| matches!(self.outcomes.get(*place), Some(Outcome::Bounced(_)));
        (0..self.outcomes.len()).filter(bounced).collect()
    }

    /// The conclusion once the sender was told by mail, with the next hop's reply to that mail. Where it will never take
    /// it, or there is no way to send one (None), the message is held instead; where it cannot take it now, the message
    /// has to come again.
    pub fn bounced(mut self, reply: Option<Reply>) -> Conclusion {
        let told = self.to_bounce();
        match reply {
            Some(reply) if reply.is_positive() => {
                told.iter().for_each(|&place| self.outcomes[place] = Outcome::Bounced(Some(reply.clone())));
                self
            }
            Some(reply) if !reply.is_permanent() => {
                self.put_off_some(if reply.is_transient() { reply } else { no_answer() }, &told)
            }
            reply => {
                told.iter().for_each(|&place| self.outcomes[place] = Outcome::Held(reply.clone()));
                // The entry is needed now, also where all others will get the message with the next try.
                self.drop_held &= told.is_empty();
                self.hold_after.extend(told);
                self
            }
        }
    }

    /// The conclusion when the vault did not take the message for [`Conclusion::hold_after`]: the sender has to come
    /// again, also with what was in the vault before, since one entry is for all.
    pub fn without_vault(mut self) -> Conclusion {
        if std::mem::take(&mut self.hold_after).is_empty() {
            return self;
        }
        let held = |place: &usize| matches!(self.outcomes[*place], Outcome::Held(_));
        let held: Vec<usize> = (0..self.outcomes.len()).filter(held).collect();
        self.put_off_some(no_room(), &held)
    }

    /// 4xx for some: where there is one answer, that is for all.
    fn put_off_some(mut self, reply: Reply, recipients: &[usize]) -> Conclusion {
        if self.answers == Answers::One {
            return Conclusion::put_off(reply, self.outcomes);
        }
        for &place in recipients {
            self.each[place] = reply.clone();
            self.outcomes[place] = Outcome::Deferred(reply.clone());
        }
        self.one = one_of(&self.each);
        self
    }

    /// 4xx for all. Whoever has the message already may get it twice.
    fn put_off(one: Reply, mut outcomes: Vec<Outcome>) -> Conclusion {
        for outcome in &mut outcomes {
            if !matches!(outcome, Outcome::Delivered(_) | Outcome::Deferred(_)) {
                *outcome = Outcome::Deferred(one.clone());
            }
        }
        Conclusion { drop_held: true, ..Conclusion::same_for_all(one, outcomes) }
    }

    fn same_for_all(one: Reply, outcomes: Vec<Outcome>) -> Conclusion {
        Conclusion {
            each: vec![one.clone(); outcomes.len()],
            one,
            outcomes,
            hold_after: Vec::new(),
            drop_held: false,
            answers: Answers::One,
        }
    }
}

/// The reply that stands for all: the best of them.
fn one_of(each: &[Reply]) -> Reply {
    let one = [Reply::is_positive, Reply::is_transient, Reply::is_permanent]
        .into_iter()
        .find_map(|kind| each.iter().find(|reply| kind(reply)));
    one.cloned().unwrap_or_else(no_answer)
}

fn outcome(fate: &Fate, results: &[Vec<Reply>]) -> Outcome {
    match fate {
        Fate::Hold(_) | Fate::HoldInstead => Outcome::Held(None),
        Fate::Discard(_) => Outcome::Discarded,
        Fate::Bounce(_) => Outcome::Bounced(None),
        Fate::Refuse(reply) => Outcome::Refused(reply.clone()),
        Fate::Defer(reply) => Outcome::Deferred(reply.clone()),
        Fate::Deliver { delivery, place } => {
            let replies = results.get(*delivery).map(Vec::as_slice).unwrap_or_default();
            let reply = if let [one] = replies { Some(one) } else { replies.get(*place) };
            match reply.cloned() {
                Some(reply) if reply.is_positive() => Outcome::Delivered(reply),
                Some(reply) if reply.is_permanent() => Outcome::Refused(reply),
                Some(reply) if reply.is_transient() => Outcome::Deferred(reply),
                // Nothing, or nothing that is an answer to a message.
                _ => Outcome::Deferred(no_answer()),
            }
        }
    }
}

fn no_answer() -> Reply {
    Reply::new(451, "4.4.2", "No answer from the next mail server, try again later")
}

/// RFC 5321 section 4.2.3: insufficient system storage.
fn no_room() -> Reply {
    Reply::new(452, "4.3.1", "No room to hold this message, try again later")
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatepost_mail::{Category, Edit, Place, Points};

    /// A verdict for recipients, in one word: `deliver`, `refuse` … with `*` behind it if a copy is kept, and with `+x`
    /// for an extension.
    fn verdict(word: &str, recipients: &[usize], category: Category) -> Verdict {
        let (word, extension) = match word.split_once('+') {
            Some((word, extension)) => (word, Some(format!("+{extension}"))),
            None => (word, None),
        };
        let keep = word.ends_with('*');
        let name = word.trim_end_matches('*');
        let action = Action::ALL.into_iter().find(|action| action.name() == name).expect("an action");
        let reply = match action {
            Action::Refuse => Reply::new(550, "5.7.1", format!("refused as {category}")),
            Action::Defer => Reply::new(451, "4.7.1", "later"),
            _ => Reply::new(250, "2.0.0", "taken, id x"),
        };
        Verdict {
            recipients: recipients.to_vec(),
            policy: "p".into(),
            category,
            score: Points::ZERO,
            weighed: Vec::new(),
            action,
            keep,
            edits: Vec::new(),
            treated: Vec::new(),
            extension,
            reply,
            reason: String::new(),
            bounce: gatepost_mail::Bounce::None,
        }
    }

    /// One verdict for each word, each for one recipient, the later the worse.
    fn verdicts(words: &str) -> Vec<Verdict> {
        use Category::*;
        let categories = [Spammy, Spam, BadHeader, Oversized, Unchecked, Banned, Virus];
        let words = words.split(' ').zip(categories).enumerate();
        words.map(|(place, (word, category))| verdict(word, &[place], category)).collect()
    }

    /// `250 Ok 1` from the next hop for 2, a refusal for 5, a deferral for 4, nothing for 0.
    fn results(classes: &str) -> Vec<Vec<Reply>> {
        let reply = |(place, class): (usize, char)| match class {
            '2' => vec![Reply::new(250, "2.0.0", format!("Ok {place}"))],
            '4' => vec![Reply::new(452, "4.2.2", "full")],
            '5' => vec![Reply::new(552, "5.2.2", "never")],
            '3' => vec![Reply::new(354, "", "go on")],
            _ => Vec::new(),
        };
        classes.chars().enumerate().map(reply).collect()
    }

    fn shown(conclusion: &Conclusion) -> String {
        let outcomes = conclusion.outcomes.iter().map(|outcome| match outcome {
            Outcome::Delivered(_) => "delivered",
            Outcome::Held(None) => "held",
            Outcome::Held(Some(_)) => "held-after",
            Outcome::Discarded => "discarded",
            Outcome::Bounced(_) => "bounced",
            Outcome::Refused(_) => "refused",
            Outcome::Deferred(_) => "deferred",
        });
        outcomes.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_answer_for_all() {
        let table = [
            // verdicts, next hop's answers by delivery, answer, outcomes
            ("deliver", "2", "250 2.0.0 Ok 0", "delivered"),
            ("deliver", "4", "452 4.2.2 full", "deferred"),
            ("deliver", "5", "552 5.2.2 never", "refused"),
            ("deliver", "0", "451 4.4.2 No answer from the next mail server, try again later", "deferred"),
            ("deliver", "3", "451 4.4.2 No answer from the next mail server, try again later", "deferred"),
            ("deliver", "", "451 4.4.2 No answer from the next mail server, try again later", "deferred"),
            ("mark", "2", "250 2.0.0 Ok 0", "delivered"),
            ("strip*", "2", "250 2.0.0 Ok 0", "delivered"),
            ("quarantine", "", "250 2.0.0 taken, id x", "held"),
            ("discard", "", "250 2.0.0 taken, id x", "discarded"),
            ("refuse", "", "550 5.7.1 refused as spammy", "refused"),
            ("defer", "", "451 4.7.1 later", "deferred"),
            // All refuse: the worst says why.
            ("refuse refuse refuse", "", "550 5.7.1 refused as bad-header", "refused refused refused"),
            // They differ: delivered, and held for the others.
            ("deliver refuse", "2", "250 2.0.0 Ok 0", "delivered held"),
            ("refuse mark refuse", "2", "250 2.0.0 Ok 0", "held delivered held"),
            ("quarantine refuse", "", "250 2.0.0 taken, id x", "held held"),
            ("discard refuse", "", "250 2.0.0 taken, id x", "discarded held"),
            ("deliver discard quarantine", "2", "250 2.0.0 Ok 0", "delivered discarded held"),
            // One defers: nothing is taken, nobody is refused for good.
            ("deliver defer", "", "451 4.7.1 later", "deferred deferred"),
            ("refuse defer discard quarantine", "", "451 4.7.1 later", "deferred deferred deferred deferred"),
            // The next hop refuses what it took for others.
            ("deliver deliver+x", "22", "250 2.0.0 Ok 0", "delivered delivered"),
            ("deliver deliver+x", "25", "250 2.0.0 Ok 0", "delivered held-after"),
            ("deliver deliver+x", "52", "250 2.0.0 Ok 1", "held-after delivered"),
            ("deliver deliver+x", "55", "552 5.2.2 never", "refused refused"),
            ("deliver deliver+x", "24", "452 4.2.2 full", "delivered deferred"),
            ("deliver deliver+x", "45", "452 4.2.2 full", "deferred deferred"),
            (
                "deliver deliver+x",
                "2",
                "451 4.4.2 No answer from the next mail server, try again later",
                "delivered deferred",
            ),
            // Nobody takes it: it is refused, not held.
            ("deliver refuse", "5", "552 5.2.2 never", "refused refused"),
            ("deliver quarantine", "5", "250 2.0.0 taken, id x", "held-after held"),
            ("deliver discard", "5", "250 2.0.0 taken, id x", "held-after discarded"),
            ("deliver refuse", "4", "452 4.2.2 full", "deferred deferred"),
            ("deliver discard quarantine", "4", "452 4.2.2 full", "deferred deferred deferred"),
            ("bounce", "", "250 2.0.0 taken, id x", "bounced"),
            ("bounce deliver", "2", "250 2.0.0 Ok 0", "bounced delivered"),
            ("bounce refuse", "", "250 2.0.0 taken, id x", "bounced held"),
            ("bounce deliver", "5", "250 2.0.0 taken, id x", "bounced held-after"),
            // Nobody is told of what will come again.
            ("bounce deliver", "4", "452 4.2.2 full", "deferred deferred"),
            ("bounce defer", "", "451 4.7.1 later", "deferred deferred"),
        ];
        for (words, classes, answer, outcomes) in table {
            let verdicts = verdicts(words);
            let conclusion = plan(&verdicts, verdicts.len(), Answers::One).conclude(&results(classes));
            assert_eq!(conclusion.one.to_string(), answer, "{words}, {classes}");
            assert_eq!(shown(&conclusion), outcomes, "{words}, {classes}");
            assert!(conclusion.each.iter().all(|reply| *reply == conclusion.one));
            check_responsibility(&conclusion, &format!("{words}, {classes}"));
        }
    }

    /// Behind a positive reply the message is somewhere; and after any other, nothing needs to be kept.
    fn check_responsibility(conclusion: &Conclusion, what: &str) {
        for (recipient, (reply, outcome)) in conclusion.each.iter().zip(&conclusion.outcomes).enumerate() {
            let somewhere = matches!(
                outcome,
                Outcome::Delivered(_) | Outcome::Held(_) | Outcome::Discarded | Outcome::Bounced(_)
            );
            assert!(!reply.is_positive() || somewhere, "{what}: lost for {recipient}");
            let after = conclusion.hold_after.contains(&recipient);
            assert!(!after || matches!(outcome, Outcome::Held(_)), "{what}: {recipient}");
            assert!(after || !matches!(outcome, Outcome::Held(Some(_))), "{what}: {recipient}");
        }
        let held = conclusion.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Held(_)));
        assert!(!conclusion.drop_held || !held, "{what}");
    }

    fn check_without_vault(conclusion: &Conclusion, answers: Answers, what: &str) {
        let without = conclusion.clone().without_vault();
        assert!(without.hold_after.is_empty() && without.drop_held >= conclusion.drop_held, "{what}");
        let put_off = conclusion.hold_after.iter().all(|&place| without.each[place].is_transient());
        assert!(put_off && (answers == Answers::Each || without.one == without.each[0]), "{what}");
        check_responsibility(&without, what);
    }

    /// Whatever becomes of a bounce, those it was to tell of are told of, held, or put off.
    fn check_bounces(conclusion: &Conclusion, answers: Answers, what: &str) {
        let told = conclusion.to_bounce();
        for answer in [None, Some(250), Some(354), Some(452), Some(554)] {
            let reply = answer.map(|code| Reply::new(code, "", "says the next hop"));
            let after = conclusion.clone().bounced(reply);
            check_responsibility(&after, what);
            check_without_vault(&after, answers, what);
            for &place in &told {
                let right = match (answer, &after.outcomes[place]) {
                    (None | Some(554), Outcome::Held(_)) => after.each[place].is_positive(),
                    (Some(250), Outcome::Bounced(Some(_))) => after.each[place].is_positive(),
                    (Some(354 | 452), Outcome::Deferred(_)) => after.each[place].is_transient(),
                    _ => false,
                };
                assert!(right, "{what}: {answer:?} {after:?}");
            }
        }
    }

    /// Whoever does not get the whole message can be given it from the vault, whatever else is held there.
    fn check_originals(plan: &Plan, verdicts: &[Verdict], what: &str) {
        let one_copy = plan.answers == Answers::OneCopy;
        for (delivery, recipient) in plan
            .deliveries
            .iter()
            .flat_map(|delivery| delivery.recipients.iter().map(move |place| (delivery, place)))
        {
            let verdict = verdicts.iter().position(|verdict| verdict.recipients.contains(recipient)).unwrap();
            let edits = if one_copy { delivery.edits } else { verdict };
            let strips = verdicts[edits].action == Action::Strip;
            for more in [&[][..], &[2]] {
                assert!(!strips || plan.entry(verdicts, more).contains(recipient), "{what}: {recipient}");
            }
            assert!(!strips || plan.keep.contains(&verdict), "{what}: {recipient}");
        }
        for held in plan.hold.iter().flat_map(|&place| &verdicts[place].recipients) {
            assert!(plan.entry(verdicts, &[]).contains(held), "{what}: {held}");
        }
    }

    #[test]
    fn no_combination_loses_a_message() {
        let names = Action::ALL.map(Action::name);
        for (a, b, c) in (0..512).map(|n| (names[n % 8], names[n / 8 % 8], names[n / 64])) {
            let words = format!("{a} {b}+x {c}+y");
            let verdicts = verdicts(&words);
            for answers in [Answers::One, Answers::Each, Answers::OneCopy] {
                let plan = plan(&verdicts, 3, answers);
                check_originals(&plan, &verdicts, &format!("{words}, {answers:?}"));
                for n in 0..64 {
                    let classes: String = [n % 4, n / 4 % 4, n / 16]
                        .map(|class| "2450".as_bytes()[class] as char)
                        .iter()
                        .collect();
                    let what = format!("{words}, {classes}, {answers:?}");
                    let conclusion = plan.conclude(&results(&classes));
                    check_responsibility(&conclusion, &what);
                    check_without_vault(&conclusion, answers, &what);
                    if !conclusion.to_bounce().is_empty() {
                        check_bounces(&conclusion, answers, &what);
                    }
                }
                let dry = plan.without_vault(&verdicts);
                assert!(dry.hold.is_empty() && dry.keep.is_empty(), "{words}");
            }
        }
    }

    #[test]
    fn an_answer_for_each() {
        let words = "deliver refuse quarantine discard defer deliver+x";
        let conclusion = plan(&verdicts(words), 6, Answers::Each).conclude(&results("25"));
        let each: Vec<_> = conclusion.each.iter().map(Reply::to_string).collect();
        let expected = [
            "250 2.0.0 Ok 0",
            "550 5.7.1 refused as spam",
            "250 2.0.0 taken, id x",
            "250 2.0.0 taken, id x",
            "451 4.7.1 later",
            "552 5.2.2 never",
        ];
        assert_eq!(each, expected);
        assert_eq!(shown(&conclusion), "delivered refused held discarded deferred refused");
        assert_eq!(conclusion.one.to_string(), "250 2.0.0 Ok 0");
        assert!(conclusion.hold_after.is_empty() && !conclusion.drop_held);

        for (words, classes, one) in
            [("refuse defer", "", 451), ("refuse refuse", "", 550), ("refuse deliver", "4", 452)]
        {
            let conclusion = plan(&verdicts(words), 2, Answers::Each).conclude(&results(classes));
            assert_eq!(conclusion.one.code, one, "{words}");
        }
    }

    #[test]
    fn an_lmtp_next_hop_answers_each_of_a_delivery() {
        let verdicts =
            [verdict("deliver", &[0, 2], Category::Clean), verdict("mark", &[1], Category::Spammy)];
        for answers in [Answers::One, Answers::Each] {
            let plan = plan(&verdicts, 3, answers);
            // The edits are the same, so they go together, in the order of the envelope.
            assert_eq!(plan.deliveries, [Delivery { verdict: 0, edits: 0, recipients: vec![0, 1, 2] }]);
            let replies = results("255").into_iter().flatten().collect();
            let conclusion = plan.conclude(&[replies]);
            let expected = match answers {
                Answers::One => "delivered held-after held-after",
                _ => "delivered refused refused",
            };
            assert_eq!(shown(&conclusion), expected);
        }
    }

    #[test]
    fn what_differs_is_delivered_separately() {
        let mut verdicts = verdicts("deliver deliver+spam deliver mark");
        verdicts[2].edits = vec![Edit::AddHeader { name: "A".into(), value: "b".into(), place: Place::Top }];
        let plan = plan(&verdicts, 4, Answers::One);
        let expected = [(0, vec![0, 3]), (1, vec![1]), (2, vec![2])];
        let expected = expected.map(|(verdict, recipients)| Delivery { verdict, edits: verdict, recipients });
        assert_eq!(plan.deliveries, expected);
    }

    #[test]
    fn one_copy_has_the_edits_of_the_strictest_for_all() {
        let mut verdicts = verdicts("deliver strip mark+spam refuse");
        let edit =
            |name: &str| vec![Edit::AddHeader { name: name.into(), value: "b".into(), place: Place::Top }];
        verdicts[0].edits = edit("Deliver");
        verdicts[1].edits = edit("Strip");
        verdicts[2].edits = edit("Mark");
        let plan = plan(&verdicts, 4, Answers::OneCopy);
        let expected = [(0, vec![0, 1]), (2, vec![2])];
        let expected = expected.map(|(verdict, recipients)| Delivery { verdict, edits: 1, recipients });
        assert_eq!(plan.deliveries, expected);
        // Who would have been refused finds it held, as with one reply in SMTP.
        assert_eq!(plan.hold, [3]);
        // All others get it stripped, though only one verdict says so: the original is there for each of them.
        assert_eq!(plan.keep, [0, 1, 2]);
        assert_eq!(plan.entry(&verdicts, &[]), [0, 1, 2, 3]);
        // Without the vault nobody gets a stripped one.
        let dry = plan.without_vault(&verdicts);
        assert!(dry.deliveries.is_empty() && dry.entry(&verdicts, &[]).is_empty());
        assert!(plan.conclude(&results("22")).one.is_positive());
    }

    /// With one copy, what takes something out goes before what only marks: nobody gets what another's policy takes out of it.
    #[test]
    fn one_copy_lacks_what_any_policy_takes_out() {
        use gatepost_mail::{Defang, PartId, Treated, Treatment};
        let treated = |how| vec![Treated { part: PartId(1), how, note: String::new(), findings: Vec::new() }];
        for (words, how, strictest, kept) in [
            ("deliver mark", Treatment::Cleaned, 0, &[0, 1][..]),
            ("deliver wrap", Treatment::Renamed("x".into()), 0, &[0, 1]),
            ("deliver mark", Treatment::Defanged(vec![Defang::Scripts]), 0, &[]),
            ("deliver wrap", Treatment::Defanged(vec![Defang::Scripts]), 1, &[]),
            ("deliver strip", Treatment::Defanged(vec![Defang::Scripts]), 1, &[0, 1]),
        ] {
            let mut verdicts = verdicts(words);
            verdicts[0].treated = treated(how);
            verdicts[0].edits =
                vec![Edit::AddHeader { name: "A".into(), value: "b".into(), place: Place::Top }];
            let plan = plan(&verdicts, 2, Answers::OneCopy);
            assert!(plan.deliveries.iter().all(|delivery| delivery.edits == strictest), "{words}: {plan:?}");
            assert_eq!(plan.entry(&verdicts, &[]), kept, "{words}");
        }
    }

    #[test]
    fn copies_of_what_is_deferred_are_dropped() {
        for (words, classes, dropped) in [
            ("strip*", "4", true),
            ("strip*", "2", false),
            ("strip*", "5", false),
            ("strip* deliver", "42", true),
            ("strip* mark*", "4", true),
            ("strip* refuse*", "4", false),
            ("strip* quarantine", "4", false),
            ("deliver", "4", false),
        ] {
            let verdicts = verdicts(words);
            let conclusion = plan(&verdicts, verdicts.len(), Answers::Each).conclude(&results(classes));
            assert_eq!(conclusion.drop_held, dropped, "{words} {classes}");
        }
    }

    #[test]
    fn whom_the_entry_names() {
        for (answers, words, more, named) in [
            (Answers::One, "deliver* deliver", &[][..], "0"),
            (Answers::One, "deliver* quarantine", &[], "1"),
            (Answers::One, "deliver* deliver", &[1], "1"),
            (Answers::One, "strip* deliver* quarantine", &[], "02"),
            (Answers::One, "strip* deliver deliver+x", &[2], "02"),
            (Answers::Each, "strip* quarantine refuse*", &[1], "01"),
            (Answers::OneCopy, "strip* deliver mark", &[], "012"),
            (Answers::OneCopy, "strip* deliver discard quarantine", &[0], "013"),
            (Answers::OneCopy, "mark deliver quarantine", &[], "2"),
            (Answers::OneCopy, "strip* defer", &[], ""),
        ] {
            let verdicts = verdicts(words);
            let entry = plan(&verdicts, verdicts.len(), answers).entry(&verdicts, more);
            let shown: String = entry.iter().map(usize::to_string).collect();
            assert_eq!(shown, named, "{words} {more:?}");
        }
    }

    #[test]
    fn what_the_vault_gets() {
        let table = [
            // verdicts, held, kept, outcomes without the vault
            (Answers::One, "deliver", "", "", "deferred"),
            (Answers::One, "deliver*", "", "0", "deferred"),
            (Answers::One, "strip* refuse", "1", "0", "deferred deferred"),
            (Answers::One, "quarantine* deliver", "0", "", "deferred deferred"),
            (Answers::One, "refuse* refuse", "", "0", "refused refused"),
            (Answers::One, "refuse* defer deliver*", "", "", "deferred deferred deferred"),
            (
                Answers::Each,
                "strip* refuse* quarantine deliver",
                "2",
                "01",
                "deferred refused deferred deferred",
            ),
        ];
        for (answers, words, held, kept, outcomes) in table {
            let verdicts = verdicts(words);
            let plan = plan(&verdicts, verdicts.len(), answers);
            let digits = |places: &[usize]| places.iter().map(usize::to_string).collect::<String>();
            assert_eq!((digits(&plan.hold).as_str(), digits(&plan.keep).as_str()), (held, kept), "{words}");
            let conclusion = plan.without_vault(&verdicts).conclude(&[]);
            assert_eq!(shown(&conclusion), outcomes, "{words}");
        }
    }

    #[test]
    fn a_recipient_without_verdict_is_deferred() {
        let verdicts = [verdict("deliver", &[0, 7], Category::Clean)];
        let one = plan(&verdicts, 2, Answers::One);
        assert!(one.deliveries.is_empty());
        assert_eq!(one.conclude(&[]).one.code, 451);
        let each = plan(&verdicts, 2, Answers::Each).conclude(&results("2"));
        assert_eq!(shown(&each), "delivered deferred");
        assert_eq!(plan(&[], 1, Answers::One).conclude(&[]).one.code, 451);
    }
}
