//! `/metrics` and `/health` over HTTP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Metrics;

/// Named conditions that must hold for the daemon to be ready: `journal`, `vault`, `clamd:main`; and others that are told
/// beside: a DNS list without which mail goes on.
#[derive(Debug, Default)]
pub struct Health {
    conditions: Mutex<BTreeMap<String, Condition>>,
}

#[derive(Debug)]
struct Condition {
    vital: bool,
    state: Result<(), String>,
}

impl Health {
    /// No conditions: ready.
    pub fn new() -> Health {
        Health::default()
    }

    /// Sets a condition, good or with the reason why not.
    pub fn set(&self, name: &str, state: Result<(), String>) {
        self.enter(name, Condition { vital: true, state });
    }

    /// Sets a condition that does not keep us from being ready.
    pub fn set_aside(&self, name: &str, state: Result<(), String>) {
        self.enter(name, Condition { vital: false, state });
    }

    fn enter(&self, name: &str, condition: Condition) {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), condition);
    }

    /// Forgets a condition, when what it spoke of is no longer configured.
    pub fn remove(&self, name: &str) {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Ready, or why not: `name: reason` each.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let bad = self.bad(true);
        if bad.is_empty() { Ok(()) } else { Err(bad) }
    }

    /// What is not as it should be, of what keeps us from being ready or of the rest.
    fn bad(&self, vital: bool) -> Vec<String> {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = conditions.iter().filter(|(_, condition)| condition.vital == vital);
        asked
            .filter_map(|(name, condition)| Some(format!("{name}: {}", condition.state.as_ref().err()?)))
            .collect()
    }
}

/// `/metrics` in OpenMetrics text; `/health` says `ready` (200), or why not, one reason a line (503). What is not as it should
/// be and does not keep us from being ready follows in either case.
pub fn router(metrics: Arc<Metrics>, health: Arc<Health>) -> Router {
    Router::new()
        .route("/metrics", get(async move || metrics_page(&metrics)))
        .route("/health", get(async move || health_page(&health)))
}

fn metrics_page(metrics: &Metrics) -> Response {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, OPENMETRICS)], metrics.encode()).into_response()
}

fn health_page(health: &Health) -> Response {
    let aside = health.bad(false);
    let (status, mut lines) = match health.check() {
        Ok(()) => (StatusCode::OK, vec!["ready".to_owned()]),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, reasons),
    };
    lines.extend(aside);
    (status, format!("{}\n", lines.join("\n"))).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn get_page(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn health_and_metrics_are_served() {
        let (metrics, health) = (Arc::new(Metrics::new()), Arc::new(Health::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = router(metrics.clone(), health.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await });

        let page = get_page(address, "/health").await;
        assert!(page.starts_with("HTTP/1.1 200 ") && page.ends_with("\r\n\r\nready\n"), "{page}");
        health.set("vault", Err("the disk is full".into()));
        health.set("journal", Ok(()));
        health.set("engine clamd:main", Err("no answer".into()));
        let page = get_page(address, "/health").await;
        assert!(page.starts_with("HTTP/1.1 503 "), "{page}");
        assert!(page.ends_with("\r\n\r\nengine clamd:main: no answer\nvault: the disk is full\n"), "{page}");
        health.set("vault", Ok(()));
        health.remove("engine clamd:main");
        health.set_aside("dnsbl:zen", Err("out of use".into()));
        let page = get_page(address, "/health").await;
        assert!(
            page.starts_with("HTTP/1.1 200 ") && page.ends_with("\r\n\r\nready\ndnsbl:zen: out of use\n"),
            "{page}"
        );

        metrics.session_opened();
        let page = get_page(address, "/metrics").await;
        assert!(
            page.to_lowercase().contains("content-type: application/openmetrics-text; version=1.0.0"),
            "{page}"
        );
        assert!(page.contains("\ngatepost_sessions 1\n") && page.trim_end().ends_with("# EOF"), "{page}");
        assert!(get_page(address, "/other").await.starts_with("HTTP/1.1 404 "));
        server.abort();
    }
}
