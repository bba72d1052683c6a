//! Asks what rules want to know of the DNS: all questions at once, and those that answers raise as soon as they are raised.

use std::panic::resume_unwind;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gatepost_rules::net::{Answers, Data, Kind, Plan, Query, Record, Reply, response_code};
use tokio::task::JoinError;
use tokio::time::{Instant, timeout_at};

use crate::resources::dns::{DnsError, RecordData, Records, Resolve};

/// Octets of an answer up to which it is evaluated where it arrives.
const LIGHT: usize = 2 << 10;

/// Asks the questions of one message, for no longer than `time`. What has no answer by then is told
/// (`Answers::unanswered`) and is no hit; the resolver goes on asking, so that the next message may find the answer.
pub async fn ask(resolver: &dyn Resolve, mut plan: Plan, time: Duration) -> Answers {
    let end = Instant::now() + time;
    // What came in time has as long again to be evaluated.
    plan.until((end + time).into_std());
    let mut asking = FuturesUnordered::new();
    loop {
        asking.extend(plan.due().into_iter().map(|(number, query)| one(resolver, number, query)));
        match timeout_at(end, asking.next()).await {
            Ok(Some((number, Some(reply)))) => plan = replied(plan, number, reply).await,
            Ok(Some((_, None))) => {}
            Ok(None) | Err(_) => break,
        }
    }
    drop(asking);
    plan.finish()
}

/// Rules may look through an answer with expressions: where it is long, on a thread where that keeps nobody waiting.
async fn replied(mut plan: Plan, number: usize, reply: Reply) -> Plan {
    let octets: usize = reply.records.iter().map(|record| record.text().len()).sum();
    if octets <= LIGHT {
        plan.reply(number, reply);
        return plan;
    }
    let evaluating = tokio::task::spawn_blocking(move || {
        plan.reply(number, reply);
        plan
    });
    match evaluating.await.map_err(JoinError::try_into_panic) {
        Ok(plan) => plan,
        Err(Ok(panic)) => resume_unwind(panic),
        // The runtime is shutting down, and ends this, too.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Asks one question. None: no server has answered it.
async fn one(resolver: &dyn Resolve, number: usize, query: Query) -> (usize, Option<Reply>) {
    let said = resolver.records(&query.name, query.kind.name()).await;
    let code = |code| Some(Reply { code, ..Reply::default() });
    let reply = match said {
        Ok(records) => Some(reply(records)),
        Err(DnsError::NoData) => code(0),
        Err(DnsError::NoName) => response_code("NXDOMAIN").and_then(code),
        Err(DnsError::Timeout) => None,
        // What a server said is known by its name; all else is trouble on the way.
        Err(DnsError::Failed(why)) => response_code(&why).and_then(code),
    };
    (number, reply)
}

fn reply(records: Records) -> Reply {
    let of = |record: gatepost_auth::dns::Record| Record {
        kind: Kind::parse(&record.kind).unwrap_or(Kind::OTHER),
        data: match record.data {
            RecordData::Address(address) => Data::Address(address),
            RecordData::Strings(strings) => Data::Strings(strings),
            RecordData::Text(text) => Data::Text(text),
        },
    };
    let missing = matches!(&records.zone, Some((false, _)));
    Reply {
        code: if missing { 3 } else { 0 },
        records: records.list.into_iter().map(of).collect(),
        primary: records.zone.map(|(_, primary)| primary),
    }
}
