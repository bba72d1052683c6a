//! Our own API.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::Front;
use super::super::local::{self, Filtered};
use super::ask::Ask;
use super::body::{self, Pieces};
use super::{Failure, Request};
use crate::pipeline::Arrival;
use crate::records::Scanned;
use crate::records::text::clean;
use crate::verdict::Answers;

/// `POST /v1/scan`: an opinion. What `gatepost scan --json` prints.
#[utoipa::path(
    post,
    path = "/v1/scan",
    request_body(content = String, content_type = "message/rfc822"),
    params(
        ("ip" = Option<String>, Query, description = "Address of the client; also in the field Ip"),
        ("helo" = Option<String>, Query, description = "What it said in HELO; also in the field Helo"),
        ("hostname" = Option<String>, Query, description = "Its name; also in the field Hostname"),
        ("from" = Option<String>, Query, description = "Envelope sender; also in the field From"),
        ("rcpt" = Option<Vec<String>>, Query, description = "Envelope recipient, once for each; also in fields Rcpt"),
        ("user" = Option<String>, Query, description = "Authenticated user; also in the field User"),
        ("file" = Option<String>, Query, description = "What the message is called in the answer"),
    ),
    responses(
        (status = 200, description = "The record of the message", body = Scanned),
        (status = "default", description = "Not judged", body = super::Error),
    ),
    tag = "gatepost"
)]
pub(super) async fn scan(front: &Front, request: Request) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let ask = Ask::ours(front, &head)?;
    let file = ask.file.clone();
    let arrival = arrival(front, &head.headers, ask, body).await?;
    let judged = front.pipeline.advise(arrival).await;
    Ok(Json(Scanned { file: &file, record: &judged.record(None) }).into_response())
}

/// `POST /v1/filter`: the message as it shall be delivered, or word that it shall not.
///
/// Fields of the answer: Gatepost-Id, Gatepost-Action, Gatepost-Category, Gatepost-Score, Gatepost-Reason,
/// Gatepost-Reply, and a Gatepost-Rcpt for each recipient that the message is for.
#[utoipa::path(
    post,
    path = "/v1/filter",
    request_body(content = String, content_type = "message/rfc822"),
    params(
        ("ip" = Option<String>, Query, description = "Address of the client; also in the field Ip"),
        ("helo" = Option<String>, Query, description = "What it said in HELO; also in the field Helo"),
        ("hostname" = Option<String>, Query, description = "Its name; also in the field Hostname"),
        ("from" = Option<String>, Query, description = "Envelope sender; also in the field From"),
        ("rcpt" = Option<Vec<String>>, Query, description = "Envelope recipient, once for each; also in fields Rcpt"),
        ("user" = Option<String>, Query, description = "Authenticated user; also in the field User"),
        ("hold" = Option<String>, Query, description = "no: nothing is held or kept back, X-Gatepost-Action tells"),
        ("split" = Option<String>, Query, description = "no: 409 where the message is not for all recipients alike"),
    ),
    responses(
        (status = 200, description = "The message, to be delivered", body = String, content_type = "message/rfc822"),
        (status = 204, description = "Not to be delivered: refused, deferred, held or discarded"),
        (status = "default", description = "Not judged", body = super::Error),
    ),
    tag = "gatepost"
)]
pub(super) async fn filter(front: &Arc<Front>, request: Request) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let ask = Ask::ours(front, &head)?;
    if ask.hold && ask.envelope.recipients.is_empty() {
        return Err(Failure::bad("rcpt is missing: whatever is held is held for somebody; or say hold=no"));
    }
    let (hold, split) = (ask.hold, ask.split);
    let arrival = arrival(front, &head.headers, ask, body).await?;
    let filtered = match hold {
        false => local::mark(&front.pipeline, arrival).await,
        true => local::filter(&front.pipeline, arrival, split).await.ok_or_else(|| {
            let error = "verdicts differ by recipient; ask for each of them alone";
            Failure::new(StatusCode::CONFLICT, error)
        })?,
    };
    let headers = facts(&filtered);
    Ok(match filtered.message {
        Some(message) => {
            let kind = [(header::CONTENT_TYPE, "message/rfc822")];
            (kind, headers, Body::new(Pieces::new(message))).into_response()
        }
        None => (StatusCode::NO_CONTENT, headers).into_response(),
    })
}

/// Reads the message and makes an arrival of it.
pub(super) async fn arrival(
    front: &Front,
    headers: &HeaderMap,
    ask: Ask,
    body: hyper::body::Incoming,
) -> Result<Arrival, Failure> {
    let began = Instant::now();
    let content = body::read(front, headers, body).await?;
    let (pipeline, answers, after_queue) = (&front.pipeline, Answers::OneCopy, front.listener.after_queue);
    let receiving = began.elapsed();
    Ok(local::arrival(pipeline, ask.session, ask.envelope, content, answers, after_queue, receiving).await)
}

/// Header fields of the answer that tell what was found and done.
fn facts(filtered: &Filtered) -> HeaderMap {
    let verdict = filtered.judged.worst();
    let mut headers = HeaderMap::new();
    add(&mut headers, "gatepost-id", &filtered.judged.id);
    add(&mut headers, "gatepost-action", filtered.action.name());
    add(&mut headers, "gatepost-category", verdict.category.name());
    add(&mut headers, "gatepost-score", &verdict.score.to_string());
    if !verdict.reason.is_empty() {
        add(&mut headers, "gatepost-reason", &verdict.reason);
    }
    add(&mut headers, "gatepost-reply", &filtered.reply.to_string());
    for recipient in &filtered.recipients {
        add(&mut headers, "gatepost-rcpt", &recipient.to_string());
    }
    headers
}

fn add(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(clean(value, 1000).as_bytes()) {
        headers.append(HeaderName::from_static(name), value);
    }
}
