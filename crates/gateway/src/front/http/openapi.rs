//! The description of the API (OpenAPI 3.1).

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi as _;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};

/// All of it.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "gatepost", description = "Judges mail over HTTP", license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    paths(super::v1::scan, super::v1::filter, super::rspamd::check, description, ping),
    modifiers(&Token),
    security((), ("bearer" = []), ("password" = []))
)]
struct Api;

struct Token;

impl utoipa::Modify for Token {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let password = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("Password")));
        components.add_security_scheme("password", password);
    }
}

/// This description.
#[utoipa::path(
    get,
    path = "/v1/openapi.json",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")),
    tag = "gatepost"
)]
#[allow(dead_code)]
fn description() {}

/// Whether somebody is there.
#[utoipa::path(
    get,
    path = "/ping",
    responses((status = 200, description = "pong", content_type = "text/plain")),
    security(()),
    tag = "gatepost"
)]
#[allow(dead_code)]
fn ping() {}

/// `GET /v1/openapi.json`.
pub(super) fn page() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        // Names and texts of our own; there is nothing in it that could not be written.
        Api::openapi().to_json().unwrap_or_default()
    });
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}
