//! The shape of rspamd's `/checkv2`, so that its clients (rspamc, Haraka, maddy …) can ask here instead.
//!
//! Its actions are fewer than ours, and a client may know no more of them than "reject". So whatever shall not be
//! delivered is `reject` there, and what its fields cannot say is never passed over in silence: see the page on the HTTP
//! API for how verdicts map.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use gatepost_mail::{Action, Bounce, Category, Changes, HeaderChange, Message, Place, Reply, Verdict, text};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Front;
use super::super::handback::{Fate, Form, HandBack};
use super::super::local;
use super::ask::Ask;
use super::body::Pieces;
use super::{Failure, Request, v1};
use crate::checks::CHECKS;
use crate::config::Config;
use crate::pipeline::{Carrier, Judged, Shipment};
use crate::verdict::Answers;

/// Text parts that are looked through for links, and links and addresses that are told.
const MOST_PARTS: usize = 20;
const MOST_LINKS: usize = 200;

/// `POST /checkv2`.
#[utoipa::path(
    post,
    path = "/checkv2",
    request_body(content = String, content_type = "message/rfc822"),
    params(
        ("Ip" = Option<String>, Header, description = "Address of the client"),
        ("Helo" = Option<String>, Header, description = "What it said in HELO"),
        ("Hostname" = Option<String>, Header, description = "Its name"),
        ("From" = Option<String>, Header, description = "Envelope sender"),
        ("Rcpt" = Option<String>, Header, description = "Envelope recipient; may be given several times"),
        ("User" = Option<String>, Header, description = "Authenticated user"),
        ("Queue-Id" = Option<String>, Header, description = "Given back as queue-id"),
        ("Flags" = Option<String>, Header, description = "body_block: the client can take a new body"),
    ),
    responses(
        (status = 200, description = "Judged", body = Checked),
        (status = "default", description = "Not judged", body = super::Error),
    ),
    tag = "rspamd"
)]
pub(super) async fn check(front: &Arc<Front>, request: Request) -> Result<Response, Failure> {
    let began = Instant::now();
    let (head, body) = request.into_parts();
    let ask = Ask::of_rspamd(front, &head)?;
    // Nothing can be held for nobody: then it is an opinion that is asked for.
    let holds = ask.hold && !ask.envelope.recipients.is_empty();
    let takes_body = flags(&head.headers).contains(&"body_block");
    let arrival = v1::arrival(front, &head.headers, ask, body).await?;
    let (judged, fate) = if holds {
        let mut judged = front.pipeline.judge(arrival).await;
        refuse_for_all(&mut judged);
        let mut hand = Hand { hand: HandBack::new("rspamd client", Form::Instructions), takes_body };
        let conclusion = front.pipeline.settle(&judged, Answers::OneCopy, &mut hand).await;
        let fate = hand.hand.fate(&conclusion);
        (judged, fate)
    } else {
        let judged = front.pipeline.advise(arrival).await;
        let fate = opinion(&judged);
        (judged, fate)
    };
    let looked = tokio::task::spawn_blocking(move || {
        let links = Links::of(&judged.mail.message);
        (judged, links)
    });
    let (judged, links) = looked.await.map_err(|error| {
        tracing::error!(%error, "links cannot be told; please report it");
        Failure::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "internal error")
    })?;
    let mut checked = Checked::new(front, &judged, &fate, links);
    checked.queue_id = head.headers.get("queue-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into());
    checked.time_real = began.elapsed().as_secs_f64();
    let body = match fate {
        Fate::Continue { changes: Changes { body: Some(body), .. }, .. } => Some(body),
        _ => None,
    };
    Ok(match body {
        None => Json(checked).into_response(),
        Some(body) => with_body(&checked, &judged.mail.message, body)?,
    })
}

/// Hands a message on to a client of rspamd; one that can change header fields only gets none whose body must change.
struct Hand {
    hand: HandBack,
    takes_body: bool,
}

impl Carrier for Hand {
    fn name(&self) -> String {
        self.hand.name()
    }

    fn carry<'a>(&'a mut self, shipment: Shipment<'a>) -> BoxFuture<'a, Vec<Reply>> {
        if self.takes_body {
            return self.hand.carry(shipment);
        }
        if shipment.needs_body {
            return Box::pin(async { vec![not_to_be_mended()] });
        }
        let edits = local::of_header(shipment.edits);
        Box::pin(async move { self.hand.carry(Shipment { edits: &edits, ..shipment }).await })
    }
}

fn not_to_be_mended() -> Reply {
    Reply::new(554, "5.6.0", "A part must be changed, and the client of this check cannot do that")
}

/// The client delivers to all recipients or to none. Where verdicts deliver to some only, nobody gets the message: its
/// sender hears of it, nothing is held, and the client may ask for each recipient alone. Not where something is put
/// off: that is put off for all anyway.
fn refuse_for_all(judged: &mut Judged) {
    let of = |wanted: fn(Action) -> bool| judged.verdicts.iter().any(|verdict| wanted(verdict.action));
    let all_alike = !of(Action::delivers) || !of(|action| !action.delivers());
    if all_alike || of(|action| action == Action::Defer) {
        return;
    }
    let strictest = judged.verdicts.iter().max_by_key(|verdict| (verdict.action, verdict.category));
    let reply = strictest.filter(|verdict| verdict.action == Action::Refuse).map_or_else(
        || Reply::new(550, "5.7.1", format!("Message is not for all of its recipients (id {})", judged.id)),
        |verdict| verdict.reply.clone(),
    );
    for verdict in &mut judged.verdicts {
        verdict.action = Action::Refuse;
        verdict.reply = reply.clone();
        (verdict.keep, verdict.extension, verdict.bounce) = (false, None, Bounce::None);
        verdict.edits.clear();
        verdict.treated.clear();
    }
}

/// What would be done, where nothing is. Parts cannot be replaced: the original would be kept nowhere.
fn opinion(judged: &Judged) -> Fate {
    let Some(verdict) = judged.verdicts.iter().max_by_key(|verdict| verdict.action) else {
        return Fate::Reply(Reply::new(451, "4.3.0", "Not judged, try again later"));
    };
    match verdict.action {
        Action::Refuse | Action::Defer => Fate::Reply(verdict.reply.clone()),
        // We would have told the sender; here nobody does, so nobody may forget it.
        Action::Quarantine | Action::Bounce => Fate::Hold(verdict.reason.clone()),
        Action::Discard => Fate::Discard,
        _ if verdict.needs_body() => Fate::Reply(not_to_be_mended()),
        Action::Deliver | Action::Mark | Action::Wrap | Action::Strip => {
            let edits = local::of_header(&verdict.edits);
            let changes = gatepost_mail::changes(&judged.mail.message, &edits);
            Fate::Continue { recipients: Vec::new(), changes, message: Vec::new() }
        }
    }
}

fn flags(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all("flags").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).collect()
}

/// As rspamd gives back a message whose body it has changed: behind the JSON, from the offset that a field tells. The
/// header is the old one; what changes of it is among the instructions.
fn with_body(checked: &Checked, message: &Message, body: Vec<Bytes>) -> Result<Response, Failure> {
    let json = serde_json::to_vec(checked).map_err(|error| {
        tracing::error!(%error, "a verdict cannot be written");
        Failure::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "internal error")
    })?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::HeaderName::from_static("message-offset"), HeaderValue::from(json.len())),
    ];
    let head = message.raw.slice(..message.headers.raw.len().min(message.raw.len()));
    let pieces = [json.into(), head, Bytes::from_static(b"\r\n")].into_iter().chain(body);
    Ok((headers, Body::new(Pieces::new(pieces))).into_response())
}

/// What rspamd's clients are told.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Checked {
    /// Never: everything is judged.
    is_skipped: bool,
    /// Sum of the points.
    score: f64,
    /// From so many points on mail is spam.
    required_score: f64,
    /// `no action`, `add header`, `rewrite subject`, `soft reject` or `reject`.
    action: &'static str,
    /// From so many points on which action is taken, as far as points decide.
    thresholds: BTreeMap<&'static str, f64>,
    /// What was found, by name.
    symbols: BTreeMap<String, Symbol>,
    /// What a client may be told.
    messages: BTreeMap<&'static str, String>,
    /// The new subject, with `rewrite subject`.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Changes of the header.
    milter: Milter,
    /// Hosts of links.
    urls: BTreeSet<String>,
    /// Addresses in links.
    emails: BTreeSet<String>,
    /// The message's own id, without angle brackets.
    #[serde(rename = "message-id")]
    message_id: String,
    /// The mail server's id of the message, as the request told it.
    #[serde(rename = "queue-id", skip_serializing_if = "Option::is_none")]
    queue_id: Option<String>,
    /// Seconds it took.
    time_real: f64,
    /// The record's id: `gatepost explain ID`.
    gatepost_id: String,
    /// Our own action.
    gatepost_action: &'static str,
    /// Our own category.
    gatepost_category: &'static str,
}

/// What was found under one name.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Symbol {
    name: String,
    /// Points it counted.
    score: f64,
    /// Points it counted.
    metric_score: f64,
    /// What it means.
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    /// Proof, once for each time it was found.
    options: Vec<String>,
}

/// What a mail server shall change, in the words of rspamd's milter.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Milter {
    /// By name: value, and before which field it stands (0 the first; left out: at the end). A list where there are
    /// several of a name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    add_headers: BTreeMap<String, OneOrMore<Added>>,
    /// By name: which of several, from 1; 0 is all of them. A list where several are meant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object)]
    remove_headers: BTreeMap<String, OneOrMore<usize>>,
    /// `discard`: the message is in the vault or was to be thrown away. Take it and forget it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reject: Option<&'static str>,
}

/// Not every client expects a list where one would do.
#[derive(Debug)]
struct OneOrMore<T>(Vec<T>);

impl<T> Default for OneOrMore<T> {
    fn default() -> OneOrMore<T> {
        OneOrMore(Vec::new())
    }
}

impl<T: Serialize> Serialize for OneOrMore<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

#[derive(Debug, Serialize)]
struct Added {
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<usize>,
}

impl Checked {
    fn new(front: &Front, judged: &Judged, fate: &Fate, links: Links) -> Checked {
        let verdict = judged.worst();
        let (spammy_at, spam_at) = front.pipeline.policies.thresholds(&verdict.policy).unwrap_or_default();
        let message_id = judged.mail.message.message_id();
        let mut checked = Checked {
            score: verdict.score.as_f64(),
            required_score: spam_at.as_f64(),
            thresholds: [("add header", spammy_at.as_f64()), ("reject", spam_at.as_f64())].into(),
            symbols: symbols(judged, verdict),
            urls: links.hosts,
            emails: links.addresses,
            message_id: message_id.trim_matches(['<', '>']).to_owned(),
            gatepost_id: judged.id.clone(),
            gatepost_action: local::action(judged, fate).name(),
            gatepost_category: verdict.category.name(),
            ..Checked::default()
        };
        checked.tell(judged, fate);
        checked
    }

    /// The action, and what comes with it.
    fn tell(&mut self, judged: &Judged, fate: &Fate) {
        let id = &judged.id;
        match fate {
            Fate::Reply(reply) => {
                self.action = if reply.is_permanent() { "reject" } else { "soft reject" };
                self.messages.insert("smtp_message", reply.text.replace('\n', " "));
            }
            Fate::Discard => {
                self.action = "reject";
                self.milter.reject = Some("discard");
                self.messages.insert("smtp_message", format!("Message is not delivered (id {id})"));
            }
            // An opinion: it is held nowhere, so nobody may forget it.
            Fate::Hold(_) => {
                self.action = "reject";
                self.messages.insert("smtp_message", format!("Message would be held (id {id})"));
            }
            Fate::Continue { changes, .. } => {
                let spam = [Category::Spammy, Category::Spam];
                let is_spam = judged
                    .verdicts
                    .iter()
                    .any(|verdict| verdict.action.delivers() && spam.contains(&verdict.category));
                self.subject = changes.headers.iter().find_map(|change| match change {
                    HeaderChange::Change { name, value, .. } if name.eq_ignore_ascii_case("subject") => {
                        Some(unfolded(value))
                    }
                    _ => None,
                });
                self.action = match (&self.subject, is_spam) {
                    (Some(_), _) => "rewrite subject",
                    (None, true) => "add header",
                    (None, false) => "no action",
                };
                self.milter.change(&judged.mail.message, changes, self.subject.is_some());
            }
        }
    }
}

impl Milter {
    /// `retold`: the subject is told elsewhere.
    fn change(&mut self, message: &Message, changes: &Changes, retold: bool) {
        let mut top = 0;
        for change in &changes.headers {
            let (HeaderChange::Change { name, .. }
            | HeaderChange::Remove { name, .. }
            | HeaderChange::Insert { name, .. }) = change;
            if retold && name.eq_ignore_ascii_case("subject") {
                continue;
            }
            match change {
                HeaderChange::Remove { name, nth } => {
                    self.remove_headers.entry(name.clone()).or_default().0.push(nth + 1);
                }
                HeaderChange::Change { name, nth, value } => {
                    self.remove_headers.entry(name.clone()).or_default().0.push(nth + 1);
                    self.add(name, value, None);
                }
                HeaderChange::Insert { place: Place::Top, name, value } => {
                    self.add(name, value, Some(top));
                    top += 1;
                }
                HeaderChange::Insert { place: Place::Bottom, name, value } => self.add(name, value, None),
            }
        }
        for (name, places) in &mut self.remove_headers {
            if places.0.len() == message.headers.all(name).count() {
                places.0 = vec![0];
            }
        }
    }

    fn add(&mut self, name: &str, value: &str, order: Option<usize>) {
        let added = Added { value: value.replace("\r\n", "\n"), order };
        self.add_headers.entry(name.to_owned()).or_default().0.push(added);
    }
}

fn unfolded(value: &str) -> String {
    value.replace("\r\n", "")
}

fn symbols(judged: &Judged, verdict: &Verdict) -> BTreeMap<String, Symbol> {
    static MEANINGS: LazyLock<BTreeMap<String, &'static str>> = LazyLock::new(|| {
        let symbols = CHECKS.iter().flat_map(|entry| entry.symbols(&Config::default()));
        let symbols = symbols.filter_map(|symbol| match symbol.meaning {
            std::borrow::Cow::Borrowed(meaning) => Some((symbol.name.into_owned(), meaning)),
            std::borrow::Cow::Owned(_) => None,
        });
        symbols.collect()
    });
    let mut symbols: BTreeMap<String, Symbol> = BTreeMap::new();
    for (place, finding) in judged.found.findings.iter().enumerate() {
        let name = finding.symbol.to_string();
        let points = verdict.weighed.iter().filter(|weighed| weighed.finding == place);
        let score: f64 = points.map(|weighed| weighed.points).sum::<gatepost_mail::Points>().as_f64();
        let symbol = symbols.entry(name.clone()).or_default();
        let known = MEANINGS.get(&name).copied().unwrap_or_default();
        symbol.description = finding.meaning.as_deref().unwrap_or(known).to_owned();
        symbol.name = name;
        symbol.score += score;
        symbol.metric_score += score;
        if !finding.evidence.is_empty() {
            symbol.options.push(finding.evidence.clone());
        }
    }
    symbols
}

/// Where links lead.
#[derive(Default)]
struct Links {
    hosts: BTreeSet<String>,
    addresses: BTreeSet<String>,
}

impl Links {
    fn of(message: &Message) -> Links {
        let mut links = Links::default();
        for text in message.parts.iter().filter_map(text::of).take(MOST_PARTS) {
            for link in text.links.iter().take(MOST_LINKS) {
                links.add(link);
            }
        }
        links
    }

    fn add(&mut self, link: &str) {
        if self.hosts.len() + self.addresses.len() >= MOST_LINKS {
            return;
        }
        if let Some(address) = link.strip_prefix("mailto:") {
            let address = address.split('?').next().unwrap_or_default();
            if address.contains('@') {
                self.addresses.insert(address.to_owned());
            }
            return;
        }
        let rest = link.split_once("://").map_or(link, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        if !host.is_empty() {
            self.hosts.insert(host.to_lowercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use gatepost_mail::Edit;
    use gatepost_mail::{Budget, Limits};
    use serde_json::json;

    use super::*;

    #[test]
    fn hosts_and_addresses_of_links() {
        for (link, host, address) in [
            ("http://Example.COM/x?y", "example.com", ""),
            ("https://user:word@host.test:8443/", "host.test", ""),
            ("www.example.org", "www.example.org", ""),
            ("https://[2001:db8::1]/", "[2001:db8::1]", ""),
            ("https://[2001:db8::1]:80/", "[2001:db8::1]", ""),
            ("mailto:a@b.test?subject=x", "", "a@b.test"),
            ("mailto:nobody", "", ""),
            ("http:///path", "", ""),
            ("", "", ""),
        ] {
            let mut links = Links::default();
            links.add(link);
            assert_eq!(links.hosts.into_iter().collect::<String>(), host, "{link}");
            assert_eq!(links.addresses.into_iter().collect::<String>(), address, "{link}");
        }
    }

    #[test]
    fn changes_in_the_words_of_the_milter() {
        let raw = "Subject: a\r\nX-A: 1\r\nX-B: 1\r\nX-B: 2\r\nX-B: 3\r\nX-C: 1\r\n\r\nb\r\n";
        let message = Message::read(Bytes::from(raw), &mut Budget::new(&Limits::default()));
        let add = |name: &str, value: &str, place| Edit::AddHeader {
            name: name.into(),
            value: value.into(),
            place,
        };
        let remove = |name: &str, nth| Edit::RemoveHeader { name: name.into(), nth };
        let change =
            |name: &str, nth, value: &str| Edit::ChangeHeader { name: name.into(), nth, value: value.into() };
        let edits = [
            add("X-New", "one", Place::Top),
            add("X-New", "two", Place::Top),
            add("X-Last", "end", Place::Bottom),
            remove("X-A", 0),
            remove("X-B", 0),
            remove("X-B", 2),
            change("X-C", 0, "other"),
            change("Subject", 0, "tagged"),
        ];
        let changes = gatepost_mail::changes(&message, &edits);
        let mut milter = Milter::default();
        milter.change(&message, &changes, true);
        let told = serde_json::to_value(milter).unwrap();
        assert_eq!(
            told,
            json!({
                "add_headers": {
                    "X-New": [{"value": "one", "order": 0}, {"value": "two", "order": 1}],
                    "X-Last": {"value": "end"},
                    "X-C": {"value": "other"}
                },
                "remove_headers": {"X-A": 0, "X-B": [3, 1], "X-C": 0}
            })
        );
    }
}
