//! `/metrics` and `/health` over HTTP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Metrics;

/// Named conditions that must hold for the daemon to be ready: `journal`, `vault`, `engine clamd:main`.
#[derive(Debug, Default)]
pub struct Health {
    conditions: Mutex<BTreeMap<String, Result<(), String>>>,
}

impl Health {
    /// No conditions: ready.
    pub fn new() -> Health {
        Health::default()
    }

    /// Sets a condition, good or with the reason why not.
    pub fn set(&self, name: &str, condition: Result<(), String>) {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), condition);
    }

    /// Forgets a condition, when what it spoke of is no longer configured.
    pub fn remove(&self, name: &str) {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Ready, or why not: `name: reason` each.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        let bad: Vec<String> = conditions
            .iter()
            .filter_map(|(name, condition)| Some(format!("{name}: {}", condition.as_ref().err()?)))
            .collect();
        if bad.is_empty() { Ok(()) } else { Err(bad) }
    }
}

/// `/metrics` in OpenMetrics text; `/health` says `ready` (200), or why not, one reason a line (503).
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
    match health.check() {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(reasons) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reasons.join("\n"))).into_response()
        }
    }
}
