//! `GET /api/v1/openapi.json`: the API's description, made from its handlers and types.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::auth::COOKIE;

/// What is not in a handler. Handlers that say nothing else take a token or a session.
#[derive(OpenApi)]
#[openapi(
    info(title = "Wakeline aggregator", description = "Queries, sites and live events."),
    security(("token" = []), ("session" = [])),
    modifiers(&Credentials)
)]
struct Base;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let session = ApiKey::Cookie(ApiKeyValue::new(COOKIE));
        components.add_security_scheme("token", SecurityScheme::Http(token));
        components.add_security_scheme("session", SecurityScheme::ApiKey(session));
    }
}

/// The description without any route.
pub(super) fn base() -> openapi::OpenApi {
    Base::openapi()
}
