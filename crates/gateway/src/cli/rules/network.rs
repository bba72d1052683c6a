//! Asking the DNS what rules want to know of a mail.

use std::panic::resume_unwind;
use std::time::Duration;

use gatepost_rules::engine::Fault;
use gatepost_rules::evals::Known;
use gatepost_rules::net::{Answers, Plan};
use gatepost_rules::texts::Texts;
use tokio::runtime::Runtime;

use super::Failure;
use crate::checks::rules::dns::ask;
use crate::config::typed::Dns as DnsConfig;
use crate::resources::dns::Dns;
use crate::resources::rules::Rules;

/// The most questions without an answer that are told by name.
const MOST_TOLD: usize = 5;

/// Whether the DNS is asked.
#[derive(Debug, clap::Args)]
pub(super) struct Network {
    /// Ask the DNS what rules want to know (lists of relays, domains and hashes), and count points as if the network were
    /// there. Waits for answers as long as the rules' `rbl_timeout` says.
    #[arg(long)]
    pub network: bool,
    /// Name server to ask, with its port if that is not 53; may be given several times. Default: the system's.
    #[arg(long = "dns", value_name = "ADDRESS", requires = "network")]
    servers: Vec<String>,
}

/// Who asks.
pub(super) struct Asker {
    /// Of its own: commands about rules compute, on threads where nobody else may wait. Only missing while it is dropped.
    runtime: Option<Runtime>,
    dns: Dns,
}

impl Drop for Asker {
    /// Leaves questions that are still on their way alone.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Network {
    /// Who asks, if somebody is to.
    pub fn asker(&self) -> Result<Option<Asker>, Failure> {
        if !self.network {
            return Ok(None);
        }
        let config = DnsConfig { servers: self.servers.clone(), ..DnsConfig::default() };
        let dns = Dns::build(&config).map_err(|problems| {
            let texts: Vec<String> = problems.iter().map(|problem| problem.message.clone()).collect();
            Failure::Usage(texts.join("; "))
        })?;
        let runtime = Runtime::new().map_err(|why| Failure::Records(why.to_string()))?;
        Ok(Some(Asker { runtime: Some(runtime), dns }))
    }
}

impl Asker {
    /// Asks what rules want to know of a mail, and enters it; what was not answered is told.
    pub fn enter(&self, rules: &Rules, texts: &Texts<'_>, known: &mut Known) -> Vec<Fault> {
        let answers = self.ask(rules.net.plan(texts, known), rules.net.time());
        let told = faults(&answers);
        answers.enter(known);
        told
    }

    /// Waits on a thread of its own, since this one may be one of a runtime, which must not wait.
    fn ask(&self, plan: Plan, time: Duration) -> Answers {
        let Some(runtime) = &self.runtime else { return Answers::default() };
        let asked = std::thread::scope(|scope| {
            scope.spawn(|| runtime.block_on(async { ask(&self.dns, plan, time).await })).join()
        });
        asked.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// What was not answered.
fn faults(answers: &Answers) -> Vec<Fault> {
    let mut faults: Vec<Fault> = answers
        .faults
        .iter()
        .map(|(rule, message)| Fault { rule: rule.as_str().into(), message: message.clone() })
        .collect();
    let mut tell = |message: String| faults.push(Fault { rule: "network".into(), message });
    if !answers.unanswered.is_empty() {
        let names: Vec<String> = answers.unanswered.iter().take(MOST_TOLD).map(ToString::to_string).collect();
        let more = if answers.unanswered.len() > MOST_TOLD { " …" } else { "" };
        tell(format!("{} questions without an answer: {}{more}", answers.unanswered.len(), names.join(", ")));
    }
    if answers.left_out > 0 {
        tell(format!("{} questions more than may be asked for one mail", answers.left_out));
    }
    faults
}
