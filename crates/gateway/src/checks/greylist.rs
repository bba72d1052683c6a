//! Greylisting: who is not known yet is asked to come again later. Decides as postgrey does ([`triplet`]), remembers in
//! the state store, and never waits for a disk.

mod lists;
pub mod triplet;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_mail::{
    Cause, Counts, Direction, Envelope, Fault, Finding, OnFault, Points, Recipient, Scope, Session,
};

use self::lists::{Lists, Subject};
use self::triplet::{Client, Knock, Rules, Triplet};
use super::catalogue::{Built, Resources};
use super::{Answer, Check, Found, SymbolInfo, looking};
use crate::config::typed::{Greylist as Settings, GreylistMode};
use crate::config::units::Net;
use crate::config::{Config, Problem};
use crate::resources::state::{Clock, Space, State, StateError};

const GREYLISTED: &str = "GREYLISTED";
const WAITED: &str = "GREYLIST_WAITED";

/// What it finds.
pub const SYMBOLS: &[SymbolInfo] = &[
    SymbolInfo::new(
        GREYLISTED,
        "client, sender and recipient are new together and must come again",
        Counts::Points(Points::ZERO),
    ),
    SymbolInfo::new(
        WAITED,
        "client, sender and recipient have come again after they were greylisted",
        Counts::Points(Points::ZERO),
    ),
];

/// Longest that the store may take.
const TIME: Duration = Duration::from_secs(5);

/// How often the store is asked anew when another connection was quicker.
const TRIES: u32 = 8;

/// Makes the check. It acts only where a restriction or a score asks for it.
pub fn build(config: &Config, resources: &Resources) -> Built {
    let greylist = Greylist::new(&config.checks.greylist, config, resources.state.clone(), Clock::system())?;
    Ok(vec![Box::new(greylist)])
}

/// Greylisting.
pub struct Greylist {
    rules: Rules,
    mode: GreylistMode,
    from_score: Option<Points>,
    known_good: Vec<Pattern>,
    suspicious: Vec<Pattern>,
    clients: Lists,
    recipients: Lists,
    /// Networks that never wait.
    ours: Vec<Net>,
    text: String,
    header: String,
    hostname: String,
    on_fault: OnFault,
    state: Arc<dyn State>,
    clock: Clock,
}

/// A symbol, or the beginning of some.
type Pattern = (String, bool);

/// What was decided, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Its client, recipient or both are on a list: the line.
    Exempt(String),
    /// The client's mail has come again often enough.
    KnownClient,
    /// The three are known.
    Known,
    /// The three have come again, so many seconds after the first time.
    CameAgain {
        /// Seconds since they came first.
        seconds: u64,
    },
    /// The three must wait.
    Wait {
        /// Seconds to wait yet.
        seconds: u64,
        /// Whether they came too early, and not for the first time.
        early: bool,
    },
}

impl Greylist {
    /// Greylisting as it is configured. Reads the whitelists.
    pub fn new(
        settings: &Settings,
        config: &Config,
        state: Arc<dyn State>,
        clock: Clock,
    ) -> Result<Greylist, Vec<Problem>> {
        let mut problems = settings_problems(settings);
        let mut lists = |subject, key: &str, files: &[_]| {
            let lists = Lists::read(subject, files);
            lists.map_err(|wrong| {
                let problem = |(place, text)| Problem::new(format!("checks.greylist.{key}[{place}]"), text);
                problems.extend(wrong.into_iter().map(problem));
            })
        };
        let clients = lists(Subject::Clients, "client_whitelists", &settings.client_whitelists);
        let recipients = lists(Subject::Recipients, "recipient_whitelists", &settings.recipient_whitelists);
        let (Ok(clients), Ok(recipients), true) = (clients, recipients, problems.is_empty()) else {
            return Err(problems);
        };
        let (ipv4_prefix, ipv6_prefix) = match settings.lookup_by_host {
            true => (32, 128),
            false => (settings.ipv4_prefix, settings.ipv6_prefix),
        };
        Ok(Greylist {
            rules: Rules {
                delay: settings.delay.seconds(),
                retry_window: settings.retry_window.seconds(),
                max_age: settings.max_age.seconds(),
                ipv4_prefix,
                ipv6_prefix,
                known_from: settings.auto_whitelist_clients,
            },
            mode: settings.mode,
            from_score: settings.from_score,
            known_good: settings.known_good.iter().map(|text| pattern(text)).collect(),
            suspicious: settings.suspicious.iter().map(|text| pattern(text)).collect(),
            clients,
            recipients,
            ours: config.networks.iter().chain(&settings.networks).cloned().collect(),
            text: settings.text.clone(),
            header: settings.header.clone(),
            hostname: config.hostname.clone(),
            on_fault: settings.on_fault,
            state,
            clock,
        })
    }

    /// Decides about a client (with the name that its address leads to and back, if there is one), a sender (empty for
    /// `<>`) and a recipient, and remembers that they came.
    pub async fn decide(
        &self,
        client: IpAddr,
        name: Option<&str>,
        sender: &str,
        recipient: &str,
    ) -> Result<Decision, StateError> {
        let client = client.to_canonical();
        if let Some(line) = self.clients.client(client, name).or_else(|| self.recipients.recipient(recipient))
        {
            return Ok(Decision::Exempt(line));
        }
        let now = self.clock.seconds();
        let client_key = client.to_string();
        let key = self.rules.key(client, sender, recipient);
        let (known, old) =
            tokio::join!(self.client(client_key.as_bytes()), self.state.get(Space::Triplets, &key));
        let known = known?;
        if self.rules.is_known(known.as_ref(), now) {
            self.count_success(&client_key, now).await;
            return Ok(Decision::KnownClient);
        }
        let decision = match self.knock(client, &key, old?, now).await? {
            Knock::Wait { seconds, early } => Decision::Wait { seconds, early },
            Knock::Known => Decision::Known,
            Knock::CameAgain { seconds } => {
                if self.rules.known_from > 0 {
                    self.count_success(&client_key, now).await;
                }
                Decision::CameAgain { seconds }
            }
        };
        Ok(decision)
    }

    /// The three of this key knock, of whom `old` was remembered. That is changed in one step, whoever else does so at the
    /// same time.
    async fn knock(
        &self,
        client: IpAddr,
        key: &[u8],
        mut old: Option<Vec<u8>>,
        now: u64,
    ) -> Result<Knock, StateError> {
        for _ in 0..TRIES {
            let (next, knock) =
                self.rules.knock(old.as_deref().and_then(Triplet::decode).as_ref(), client, now);
            let life = Duration::from_secs(self.rules.life(&next));
            if self.state.swap(Space::Triplets, key, old.as_deref(), &next.encode(), life).await? {
                return Ok(knock);
            }
            old = self.state.get(Space::Triplets, key).await?;
        }
        Err(StateError::Unavailable(
            "too many connections about the same client, sender and recipient".into(),
        ))
    }

    async fn client(&self, key: &[u8]) -> Result<Option<Client>, StateError> {
        Ok(self.state.get(Space::Clients, key).await?.as_deref().and_then(Client::decode))
    }

    /// Counts for a client that its mail has come again. Where that cannot be kept it is only learnt later.
    async fn count_success(&self, client: &str, now: u64) {
        if let Err(error) = self.try_count_success(client.as_bytes(), now).await {
            tracing::warn!("greylisting: that mail of [{client}] has come again is not remembered: {error}");
        }
    }

    async fn try_count_success(&self, key: &[u8], now: u64) -> Result<(), StateError> {
        let old = self.state.get(Space::Clients, key).await?;
        let Some(client) = self.rules.seen(old.as_deref().and_then(Client::decode).as_ref(), now) else {
            return Ok(());
        };
        let life = Duration::from_secs(self.rules.max_age.saturating_add(1));
        // Once an hour counts, so whoever was quicker has counted for both.
        self.state.swap(Space::Clients, key, old.as_deref(), &client.encode(), life).await?;
        Ok(())
    }

    /// Whether somebody is looked at at all: not our own users and networks, and not whom others speak for.
    fn applies(&self, session: &Session, known: &Found) -> Option<IpAddr> {
        let client = session.client?.to_canonical();
        let ours = session.user.is_some()
            || session.direction != Direction::Inbound
            || self.ours.iter().any(|net| net.contains(client));
        (!ours && !any(&self.known_good, known)).then_some(client)
    }

    /// Decides about one recipient at its place, and says it in findings.
    async fn look(
        &self,
        client: IpAddr,
        session: &Session,
        envelope: &Envelope,
        (place, recipient): (usize, &Recipient),
        known: &Found,
    ) -> Result<Found, Fault> {
        let name = known.client_name.as_deref().or(session.client_name.as_deref());
        let sender = envelope.sender.as_ref().map(ToString::to_string).unwrap_or_default();
        let recipient = recipient.address.to_string();
        let decision = self.decide(client, name, &sender, &recipient).await;
        Ok(match decision.map_err(|error| self.fault(&error))? {
            Decision::Wait { seconds, .. } => {
                vec![Finding::recipient(GREYLISTED, place, self.text(seconds, &recipient))].into()
            }
            Decision::CameAgain { seconds } => {
                let findings = vec![Finding::recipient(WAITED, place, format!("after {seconds} seconds"))];
                Found { findings, fields: self.field(seconds).into_iter().collect(), ..Found::default() }
            }
            Decision::Exempt(_) | Decision::KnownClient | Decision::Known => Found::default(),
        })
    }

    /// The text for whoever must wait.
    fn text(&self, seconds: u64, recipient: &str) -> String {
        let domain = recipient.rsplit_once('@').map_or("", |(_, domain)| domain);
        self.text.replace("%s", &seconds.to_string()).replace("%r", domain)
    }

    /// The header field of mail that has waited.
    fn field(&self, seconds: u64) -> Option<(String, String)> {
        let (name, value) = self.header.split_once(':')?;
        let now = i64::try_from(self.clock.seconds()).ok()?;
        let now = jiff::Timestamp::from_second(now).ok()?.to_zoned(jiff::tz::TimeZone::system());
        let value = value
            .trim()
            .replace("%t", &seconds.to_string())
            .replace("%h", &self.hostname)
            .replace("%d", &now.strftime("%a, %d %b %Y %H:%M:%S %z").to_string());
        Some((name.trim().to_owned(), value))
    }

    fn fault(&self, error: &StateError) -> Fault {
        let cause = match error {
            StateError::Full | StateError::TooLong => Cause::Limit,
            StateError::Unavailable(_) => Cause::Unavailable,
        };
        Fault { check: "greylist".into(), cause, detail: error.to_string(), answer: self.on_fault }
    }
}

impl Check for Greylist {
    fn name(&self) -> &str {
        "greylist"
    }

    fn time(&self) -> Duration {
        TIME
    }

    fn on_fault(&self) -> OnFault {
        self.on_fault
    }

    fn on_admit<'a>(
        &'a self,
        session: &'a Session,
        envelope: &'a Envelope,
        recipient: &'a Recipient,
        known: &'a Found,
    ) -> Answer<'a> {
        let client = self.applies(session, known)?;
        if self.mode == GreylistMode::Suspicious && !any(&self.suspicious, known) {
            return None;
        }
        let place = envelope.recipients.len();
        looking(self.look(client, session, envelope, (place, recipient), known))
    }

    fn after_data<'a>(
        &'a self,
        session: &'a Session,
        envelope: &'a Envelope,
        recipients: &'a [usize],
        score: Points,
        known: &'a Found,
    ) -> Answer<'a> {
        let wanted =
            self.mode == GreylistMode::Suspicious && self.from_score.is_some_and(|from| score >= from);
        let client = self.applies(session, known).filter(|_| wanted)?;
        looking(async move {
            let mut found = Found::default();
            for &place in recipients {
                // For whom RCPT has looked already, the sender has waited.
                let waited =
                    |finding: &Finding| finding.symbol == WAITED && finding.scope == Scope::Recipient(place);
                if let Some(recipient) = envelope.recipients.get(place)
                    && !known.findings.iter().any(waited)
                {
                    found.merge(self.look(client, session, envelope, (place, recipient), known).await?);
                }
            }
            found.fields.truncate(1);
            Ok(found)
        })
    }

    fn reload(&self) {
        self.clients.reload();
        self.recipients.reload();
    }
}

/// `DNSBL_*` stands for all symbols that begin so.
fn pattern(text: &str) -> Pattern {
    match text.strip_suffix('*') {
        Some(beginning) => (beginning.to_owned(), true),
        None => (text.to_owned(), false),
    }
}

fn any(patterns: &[Pattern], known: &Found) -> bool {
    known.findings.iter().any(|finding| {
        patterns.iter().any(|(text, beginning)| match beginning {
            true => finding.symbol.starts_with(text.as_str()),
            false => finding.symbol == text.as_str(),
        })
    })
}

fn settings_problems(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong =
        |key: &str, text: String| problems.push(Problem::new(format!("checks.greylist.{key}"), text));
    if settings.delay.seconds() == 0 {
        wrong("delay", "is 0: nobody would ever wait".into());
    }
    if settings.retry_window < settings.delay {
        wrong(
            "retry_window",
            format!("is shorter than delay = {}: nobody could ever come again in time", settings.delay),
        );
    }
    if settings.max_age < settings.delay {
        wrong(
            "max_age",
            format!("is shorter than delay = {}: everybody would be new each time", settings.delay),
        );
    }
    for (key, prefix, most) in
        [("ipv4_prefix", settings.ipv4_prefix, 32), ("ipv6_prefix", settings.ipv6_prefix, 128)]
    {
        if prefix == 0 || prefix > most {
            wrong(key, format!("{prefix} is no length of a network; write 1 to {most}"));
        }
    }
    let one_line = |text: &str| !text.bytes().any(|byte| byte.is_ascii_control());
    if settings.text.trim().is_empty() || !one_line(&settings.text) || settings.text.len() > 400 {
        wrong("text", "is one line of at most 400 bytes".into());
    }
    let name = settings.header.split_once(':').map(|(name, _)| name.trim());
    let is_field = name.is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic()));
    if !settings.header.is_empty()
        && (!is_field || !one_line(&settings.header) || settings.header.len() > 400)
    {
        wrong(
            "header",
            format!("“{}” is no header field; write X-Greylist: delayed %t seconds", settings.header),
        );
    }
    if settings.on_fault == OnFault::Quarantine {
        wrong(
            "on_fault",
            "“quarantine” is not possible before there is a message; write accept or defer".into(),
        );
    }
    if settings.mode == GreylistMode::Always && settings.from_score.is_some() {
        wrong("from_score", "is for mode = \"suspicious\"".into());
    }
    problems
}

#[cfg(test)]
mod tests;
