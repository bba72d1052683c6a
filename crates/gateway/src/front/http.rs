//! HTTP: whoever has a message asks what is to be done about it. Our own API (`/v1/…`), and the shape that clients of
//! rspamd know (`/checkv2`).
//!
//! The asker has the message until it has heard us, so nothing is lost here; and where a verdict holds a message, it is
//! on disk before the answer goes out.

mod ask;
mod body;
mod openapi;
mod rspamd;
mod timed;
mod v1;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Front;
use super::listen::Place;
use crate::resources::net::Stream;
use timed::Timed;

type Request = hyper::Request<Incoming>;

/// Longest that the head of a request may take, and the pause between two requests.
const HEAD_TIME: Duration = Duration::from_secs(60);

/// Most bytes of a request's head.
const HEAD_SIZE: usize = 256 << 10;

/// What a path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Scan,
    Filter,
    Rspamd,
    OpenApi,
    Ping,
}

/// All there is.
const ENDPOINTS: &[(&str, Method, Endpoint)] = &[
    ("/v1/scan", Method::POST, Endpoint::Scan),
    ("/v1/filter", Method::POST, Endpoint::Filter),
    ("/checkv2", Method::POST, Endpoint::Rspamd),
    ("/symbols", Method::POST, Endpoint::Rspamd),
    ("/v1/openapi.json", Method::GET, Endpoint::OpenApi),
    ("/ping", Method::GET, Endpoint::Ping),
];

/// Serves one connection to its end.
pub(super) async fn serve(front: Arc<Front>, stream: Stream, peer: Option<SocketAddr>, place: Place) {
    let _place = place;
    let mut draining = front.draining.clone();
    let limits = &front.limits;
    let head_time = limits.command_time.duration().min(HEAD_TIME);
    let stream = Timed::new(stream, limits.data_time.duration());
    let headers = (limits.recipients as usize).saturating_add(100).min(10_000);
    let requests = AtomicU32::new(0);
    let service = service_fn(|request: Request| async {
        let mut response = answer(&front, request).await;
        let served = requests.fetch_add(1, Ordering::Relaxed) + 1;
        if served >= front.limits.messages || *front.draining.borrow() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_headers(headers)
        .max_buf_size(HEAD_SIZE)
        // Who has sent a request may close that side and wait for the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let told_to_stop = async {
        let _ = draining.wait_for(|draining| *draining).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told_to_stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(listener = front.listener.name, ?peer, %error, "connection ended");
    }
}

async fn answer(front: &Arc<Front>, request: Request) -> Response {
    let answered = match route(front, &request) {
        Ok(Endpoint::Ping) => return "pong\r\n".into_response(),
        Ok(Endpoint::OpenApi) => return openapi::page(),
        Ok(endpoint) => {
            // In a task of its own: what was begun is ended and recorded though the asker goes away.
            let front = front.clone();
            let work = tokio::spawn(async move {
                match endpoint {
                    Endpoint::Scan => v1::scan(&front, request).await,
                    Endpoint::Filter => v1::filter(&front, request).await,
                    _ => rspamd::check(&front, request).await,
                }
            });
            work.await.unwrap_or_else(|error| {
                tracing::error!(%error, "a request could not be answered; please report it");
                Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error"))
            })
        }
        Err(failure) => Err(failure),
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

/// What is asked for, if it may be asked now and by this client.
fn route(front: &Front, request: &Request) -> Result<Endpoint, Failure> {
    let path = request.uri().path();
    let mut here = ENDPOINTS.iter().filter(|(known, ..)| *known == path).peekable();
    if here.peek().is_none() {
        return Err(Failure::new(StatusCode::NOT_FOUND, format!("there is no {path:?} here")));
    }
    let endpoint = match here.find(|(_, method, _)| method == request.method()) {
        Some((.., endpoint)) => *endpoint,
        None => return Err(Failure::new(StatusCode::METHOD_NOT_ALLOWED, wrong_method(path))),
    };
    if endpoint == Endpoint::Ping {
        return Ok(endpoint);
    }
    if !is_authorized(&front.listener.token, request.headers()) {
        return Err(Failure::new(StatusCode::UNAUTHORIZED, "no token, or not the listener's"));
    }
    // Any page in a browser on this host could have it send mail to a port that asks for no token.
    if front.listener.token.is_empty() && request.headers().contains_key(header::ORIGIN) {
        return Err(Failure::new(StatusCode::FORBIDDEN, "web pages are not answered without a token"));
    }
    if *front.draining.borrow() {
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, "gatepost is going down; ask again later"));
    }
    Ok(endpoint)
}

fn wrong_method(path: &str) -> String {
    let methods = ENDPOINTS.iter().filter(|(known, ..)| *known == path);
    let methods: Vec<&str> = methods.map(|(_, method, _)| method.as_str()).collect();
    format!("{path} takes {}", methods.join(", "))
}

/// Whether the token is shown: as a bearer (RFC 6750), or as the password of rspamd's clients. Digests are compared, so
/// that the time it takes tells nothing about the token.
fn is_authorized(token: &str, headers: &HeaderMap) -> bool {
    if token.is_empty() {
        return true;
    }
    let bearer = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|value| {
        let (scheme, rest) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(rest.trim_ascii())
    });
    let password = headers.get("Password").map(HeaderValue::as_bytes);
    let wanted = Sha256::digest(token.as_bytes());
    bearer.into_iter().chain(password).any(|shown| {
        let shown = Sha256::digest(shown);
        wanted.iter().zip(shown.iter()).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
    })
}

/// Why a request is not answered.
#[derive(Debug)]
struct Failure {
    status: StatusCode,
    error: String,
}

impl Failure {
    fn new(status: StatusCode, error: impl Into<String>) -> Failure {
        Failure { status, error: error.into() }
    }

    /// The request is wrong.
    fn bad(error: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, error)
    }
}

/// What every failure looks like.
#[derive(Serialize, utoipa::ToSchema)]
struct Error<'a> {
    /// What is wrong, in a few words.
    error: &'a str,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response<Body> {
        let mut response = (self.status, Json(Error { error: &self.error })).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                let methods = self.error.rsplit(" takes ").next().unwrap_or_default();
                if let Ok(methods) = HeaderValue::from_str(methods) {
                    headers.insert(header::ALLOW, methods);
                }
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_shown_as_bearer_or_password() {
        for (token, name, value, expected) in [
            ("", "X", "", true),
            ("secret", "X", "", false),
            ("secret", "Authorization", "Bearer secret", true),
            ("secret", "authorization", "bearer  secret", true),
            ("secret", "Authorization", "Bearer secre", false),
            ("secret", "Authorization", "Bearer ", false),
            ("secret", "Authorization", "Basic secret", false),
            ("secret", "Authorization", "secret", false),
            ("secret", "Password", "secret", true),
            ("secret", "Password", "Secret", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(
                axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static(value),
            );
            assert_eq!(is_authorized(token, &headers), expected, "{token:?} {name}: {value}");
        }
    }
}
