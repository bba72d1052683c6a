//! Restrictions: whether a client, a sender, a recipient is taken at all. Pure: it reads what checks have found.
//!
//! The lists are read in order, and in each the first restriction that matches decides. What would only put off
//! (a name that cannot be looked up now) does so at the end, if nothing refuses: a refusal for good saves the client's
//! coming again.

mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use gatepost_mail::{
    Access, Action, Category, Direction, Fault, Finding, Hit, OnFault, Recipient, Reply, Session, Verdict,
    Via,
};

pub use rules::Stage;
use rules::{Kind, ORDER, Parser, RATES, Rule, Text};

use crate::config::Problem;
use crate::config::typed::{Config, Listener, Restrictions as Settings};
use crate::config::units::{Net, is_among};

/// What is to be decided.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// How far the session is.
    pub stage: Stage,
    /// Who is on the line.
    pub session: &'a Session,
    /// The sender's address as text; empty for `<>`.
    pub sender: &'a str,
    /// The recipient, if one is named.
    pub recipient: Option<&'a Recipient>,
    /// What was found of session, sender and this recipient.
    pub findings: &'a [Finding],
    /// What could not be found out.
    pub faults: &'a [Fault],
    /// What access maps say.
    pub access: &'a [Hit],
    /// Checks that have been asked on the way.
    pub asked: &'a [&'static str],
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It is decided.
    Decided(Admission),
    /// It depends on what this check has to say (`on_admit`).
    Ask(&'static str),
}

/// A decision: refused, or taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Admission {
    /// What the client hears if it is refused or put off.
    pub refusal: Option<Reply>,
    /// What happens to a message for this recipient, where an access map says so: discarded or held.
    pub action: Option<Action>,
    /// The restriction that decided, as it is configured; empty if none matched.
    pub rule: String,
    /// What it goes by.
    pub evidence: String,
    /// Restrictions that would have refused, but shall only be told of in the log.
    pub warnings: Vec<String>,
    /// Header fields that access maps put before the message.
    pub prepend: Vec<String>,
}

/// One list for each entry of [`ORDER`].
type Lists = [Vec<Rule>; ORDER.len()];

/// The restrictions of all listeners.
pub struct Restrictions {
    by_listener: BTreeMap<String, Lists>,
    networks: Vec<Net>,
    domains: Vec<String>,
    on_fault: OnFault,
    show_id: bool,
    /// Listeners on which users log in.
    with_login: BTreeSet<String>,
}

impl Restrictions {
    /// Compiles the restrictions of every listener that has some. `symbols` are all that may be found.
    pub fn build(config: &Config, symbols: &[&str]) -> Result<Restrictions, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut by_listener = BTreeMap::new();
        let mut parser = Parser { symbols, problems: &mut problems };
        let general = parsed(&config.restrictions, "restrictions", &mut parser);
        // It has no key of its own that could be wrong.
        let rates = parser.parse(&["limit_rates".to_owned()], ORDER[5].0, "");
        for (place, listener) in config.listeners().into_iter().enumerate() {
            if listener.after_queue || !listener.protocol.has_restrictions() {
                continue;
            }
            let mut lists =
                of_listener(&listener, general.clone(), &format!("listener[{place}]"), &mut parser);
            // Rates hold for everybody, whom other lists permit early included; where a list names them it says for whom.
            if !config.protection.rate.is_empty() && !lists.iter().flatten().any(Rule::is_rates) {
                lists[5].clone_from(&rates);
            }
            by_listener.insert(listener.name.clone(), lists);
        }
        let Settings { on_fault, show_id, .. } = config.restrictions;
        let (networks, domains) = (config.networks.clone(), config.domains.clone());
        let with_login = config.listeners().into_iter().filter(|listener| listener.auth);
        let with_login = with_login.map(|listener| listener.name).collect();
        let restrictions = Restrictions { by_listener, networks, domains, on_fault, show_id, with_login };
        if problems.is_empty() { Ok(restrictions) } else { Err(problems) }
    }

    /// Whether refusals carry the id of their record.
    pub fn show_id(&self) -> bool {
        self.show_id
    }

    /// Reads the lists as far as the session is.
    pub fn admit(&self, request: Request) -> Step {
        let mut admission = Admission::default();
        let Some(lists) = self.by_listener.get(&request.session.listener) else {
            return Step::Decided(admission);
        };
        let mut later = Later::default();
        for (list, (name, stage)) in lists.iter().zip(&ORDER) {
            // Whoever forwards mail to be looked at has decided about relaying already (Postfix's proxy filter).
            let decided = *name == "relay" && request.session.via == Via::Xforward;
            if *stage > request.stage || decided {
                continue;
            }
            match self.read(list, &request, &mut admission, &mut later) {
                Said::Refused(refusal, rule, evidence) => {
                    let said = (refusal, rule, evidence);
                    let (refusal, rule, evidence) =
                        later.instead.filter(|_| said.0.is_permanent()).unwrap_or(said);
                    return Step::Decided(Admission { refusal: Some(refusal), rule, evidence, ..admission });
                }
                Said::Permitted | Said::Nothing => {}
            }
        }
        // Only what nothing refuses is worth asking about, and worth being put off. What is put off counts on no rate.
        if let Some(check) = later.ask.filter(|check| *check != RATES || later.put_off.is_none()) {
            return Step::Ask(check);
        }
        if let Some((refusal, rule, evidence)) = later.put_off {
            return Step::Decided(Admission { refusal: Some(refusal), rule, evidence, ..admission });
        }
        Step::Decided(admission)
    }

    /// Reads one list.
    fn read(&self, list: &[Rule], request: &Request, admission: &mut Admission, later: &mut Later) -> Said {
        for rule in list {
            let said = self.apply(rule, request, admission, later);
            match said {
                Said::Nothing => {}
                Said::Refused(reply, text, evidence) if rule.warn => {
                    let warning = format!("{text}: {reply} ({evidence})");
                    if !admission.warnings.contains(&warning) {
                        admission.warnings.push(warning);
                    }
                }
                said => return said,
            }
        }
        Said::Nothing
    }

    fn apply(&self, rule: &Rule, request: &Request, admission: &mut Admission, later: &mut Later) -> Said {
        let refused =
            |reply: Reply, evidence: &str| Said::Refused(reply, rule.text.clone(), evidence.to_owned());
        let permitted_if = |yes| if yes { Said::Permitted } else { Said::Nothing };
        match &rule.kind {
            Kind::Permit => Said::Permitted,
            Kind::Reject => refused(Reply::new(554, "5.7.1", "Access denied"), ""),
            Kind::Defer => refused(Reply::new(450, "4.7.1", "Access denied, try again later"), ""),
            Kind::PermitNetworks => permitted_if(self.is_ours(request.session)),
            Kind::PermitAuthenticated => permitted_if(request.session.user.is_some()),
            Kind::PermitAuthDestination => {
                permitted_if(request.recipient.is_some_and(|recipient| self.is_for_us(recipient)))
            }
            Kind::RejectUnauthDestination => match request.recipient {
                // Without a list of our domains only the next hop knows them.
                Some(recipient) if !self.domains.is_empty() && !self.is_for_us(recipient) => {
                    let text = Text(554, "5.7.1", "<{recipient}>: Relay access denied");
                    refused(text.fill(request, ""), "not one of our domains")
                }
                _ => Said::Nothing,
            },
            Kind::Symbol { symbol, permits, text } => match found(request.findings, &|name| name == symbol) {
                None => Said::Nothing,
                Some(_) if *permits => Said::Permitted,
                Some(finding) => refused(text.fill(request, &finding.evidence), &finding.evidence),
            },
            Kind::Builtin(builtin) => {
                let known = found(request.findings, &|name| builtin.symbols.contains(&name));
                if let Some(finding) = known {
                    let own = request.access.iter().find_map(|hit| match &hit.access {
                        Access::Reply(reply) if hit.rule == rule.text => Some(reply.clone()),
                        _ => None,
                    });
                    let reply = own.unwrap_or_else(|| builtin.text.fill(request, &finding.evidence));
                    return refused(reply, &finding.evidence);
                }
                let fault = request.faults.iter().find(|fault| fault.check == builtin.fault);
                if let Some(fault) = fault {
                    // What is asked on the way has its own answer to its failure.
                    let general = if builtin.late { OnFault::Accept } else { self.on_fault };
                    if general.max(fault.answer) != OnFault::Accept && !rule.warn {
                        let text = builtin.text.put_off(request);
                        later.put_off.get_or_insert((text, rule.text.clone(), fault.detail.clone()));
                    }
                } else if builtin.late
                    && !request.asked.contains(&builtin.fault)
                    && request.stage == Stage::Recipient
                {
                    later.ask.get_or_insert(builtin.fault);
                }
                Said::Nothing
            }
            Kind::Access => {
                if let Some(hit) = request.access.iter().find(|hit| hit.rule == rule.text) {
                    return access(hit, rule, request, admission, later);
                }
                // A table that has not answered yet is not one that knows nothing.
                let is_its = |fault: &&Fault| fault.check.strip_prefix("access:") == Some(rule.map());
                let waiting =
                    request.faults.iter().find(is_its).filter(|fault| fault.answer != OnFault::Accept);
                if let Some(fault) = waiting.filter(|_| !rule.warn) {
                    let text = format!("<{}>: Temporary lookup failure", rule.subject(request));
                    let reply = Reply::new(450, "4.3.0", text);
                    later.put_off.get_or_insert((reply, rule.text.clone(), fault.detail.clone()));
                }
                Said::Nothing
            }
        }
    }

    fn is_ours(&self, session: &Session) -> bool {
        let inside = |client| self.networks.iter().any(|net| net.contains(client));
        // Where users log in, who has not is nobody yet, even on a port that is for our own users only.
        let by_port = session.direction != Direction::Inbound && !self.with_login.contains(&session.listener);
        by_port || session.is_local() || session.client.is_some_and(inside)
    }

    /// Whether mail to this address stays with us. Routes in the local part lead elsewhere, whatever the domain says.
    fn is_for_us(&self, recipient: &Recipient) -> bool {
        let (local, domain) = (recipient.address.local(), recipient.address.domain());
        let bare = domain.is_empty() && local.eq_ignore_ascii_case("postmaster");
        bare || (is_among(domain, &self.domains) && !has_route(local))
    }
}

/// `user%other@ours`, `other!user@ours`, `@other:user@ours`, `user@other@ours`: roads by which mail leaves again on servers
/// that still know them; quotes do not keep Postfix from looking (`resolve_dequoted_address`).
fn has_route(local: &str) -> bool {
    local.contains(['%', '!', ':', '@'])
}

/// Lets access maps decide about some recipients, by their place: what would be delivered to them is held or discarded.
pub fn force(verdicts: &mut Vec<Verdict>, forced: &[(usize, Action, String)]) {
    for (recipient, action, reason) in forced {
        let Some(at) = verdicts.iter().position(|verdict| verdict.recipients.contains(recipient)) else {
            continue;
        };
        if !verdicts[at].action.delivers() {
            continue;
        }
        let mut own = verdicts[at].clone();
        own.recipients = vec![*recipient];
        (own.action, own.reason) = (*action, reason.clone());
        (own.category, own.edits, own.extension) = (Category::Restricted, Vec::new(), None);
        own.treated.clear();
        own.reply = Reply::new(250, "2.0.0", "Ok");
        verdicts[at].recipients.retain(|place| place != recipient);
        if verdicts[at].recipients.is_empty() {
            verdicts[at] = own;
        } else {
            verdicts.push(own);
        }
    }
}

/// What a restriction says.
enum Said {
    Nothing,
    Permitted,
    /// The reply, the restriction, and what it goes by.
    Refused(Reply, String, String),
}

/// What waits for the end, when nothing has refused.
#[derive(Default)]
struct Later {
    ask: Option<&'static str>,
    put_off: Option<(Reply, String, String)>,
    /// What is said instead of a refusal for good.
    instead: Option<(Reply, String, String)>,
}

/// What an access map's word comes to.
fn access(hit: &Hit, rule: &Rule, request: &Request, admission: &mut Admission, later: &mut Later) -> Said {
    let evidence = match &hit.place {
        Some(place) => format!("{} is in {place}", hit.key),
        None => format!("{} is in {}", hit.key, rule.map()),
    };
    let text = |text: &Option<String>, usual: &str| text.clone().unwrap_or_else(|| usual.to_owned());
    let refused = |reply| Said::Refused(reply, rule.text.clone(), evidence.clone());
    let usual = format!("<{}>: {} rejected: Access denied", rule.subject(request), rule.what());
    let put_off = |own: &Option<String>| {
        let said = text(own, &usual);
        let (status, rest) = gatepost_mail::split_status(&said, 4);
        Reply::new(450, &status, rest)
    };
    match &hit.access {
        Access::Dunno => Said::Nothing,
        Access::Relay => Said::Permitted,
        // That nothing is held against it opens no relay.
        Access::Ok if rule.list == "relay" => Said::Nothing,
        Access::Ok => Said::Permitted,
        Access::Reject(own) => refused(Reply::new(554, "5.7.1", text(own, &usual))),
        Access::Defer(own) => refused(put_off(own)),
        Access::DeferIfPermit(own) | Access::DeferIfReject(own) if rule.warn => {
            admission.warnings.push(format!("{}: {evidence}: {}", rule.text, put_off(own)));
            Said::Nothing
        }
        Access::DeferIfPermit(own) => {
            later.put_off.get_or_insert((put_off(own), rule.text.clone(), evidence));
            Said::Nothing
        }
        Access::DeferIfReject(own) => {
            later.instead.get_or_insert((put_off(own), rule.text.clone(), evidence));
            Said::Nothing
        }
        Access::Reply(reply) => refused(reply.clone()),
        Access::Discard(_) | Access::Hold(_) if rule.warn => {
            admission.warnings.push(format!("{}: {evidence}: would be held or discarded", rule.text));
            Said::Nothing
        }
        Access::Discard(_) => {
            admission.action = Some(Action::Discard);
            (admission.rule, admission.evidence) = (rule.text.clone(), evidence);
            Said::Nothing
        }
        Access::Hold(_) => {
            admission.action.get_or_insert(Action::Quarantine);
            (admission.rule, admission.evidence) = (rule.text.clone(), evidence);
            Said::Nothing
        }
        Access::Warn(own) => {
            admission.warnings.push(format!("{}: {evidence}: {}", rule.text, text(own, "")));
            Said::Nothing
        }
        Access::Prepend(field) => {
            if !admission.prepend.contains(field) {
                admission.prepend.push(field.clone());
            }
            Said::Nothing
        }
    }
}

fn found<'a>(findings: &'a [Finding], wanted: &dyn Fn(&str) -> bool) -> Option<&'a Finding> {
    findings.iter().find(|finding| wanted(&finding.symbol))
}

/// The lists of a configuration.
fn parsed(settings: &Settings, key: &str, parser: &mut Parser) -> Lists {
    let Settings { client, helo, sender, relay, recipient, .. } = settings;
    let mut lists = Lists::default();
    for (place, list) in [client, helo, sender, relay, recipient].into_iter().enumerate() {
        let name = ORDER[place].0;
        lists[place] = parser.parse(list, name, &format!("{key}.{name}"));
    }
    lists
}

/// A listener's own lists in place of the general ones.
fn of_listener(listener: &Listener, mut lists: Lists, key: &str, parser: &mut Parser) -> Lists {
    let own = [
        &listener.client_restrictions,
        &listener.helo_restrictions,
        &listener.sender_restrictions,
        &listener.relay_restrictions,
        &listener.recipient_restrictions,
    ];
    if !listener.protocol.brings_mail() {
        lists[3].clear();
    }
    for (place, own) in own.into_iter().enumerate() {
        if let Some(own) = own {
            let name = ORDER[place].0;
            lists[place] = parser.parse(own, name, &format!("{key}.{name}_restrictions"));
        }
    }
    lists
}
