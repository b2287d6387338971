//! HTTP in front of the [core](crate::core): the router, and what each request passes on its way.

pub(crate) mod app;
pub(crate) mod auth;
mod body;
mod control;
mod envelope;
mod extract;
mod handlers;
pub(crate) mod history;
mod inject;
pub(crate) mod network;
pub(crate) mod observe;
mod query;
mod quirk;
pub(crate) mod rate_limit;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get};

use self::app::App;
use crate::settings::BASE_PATH;

/// Where the CA's certificate is served, without a credential.
pub(crate) const CA_PATH: &str = "/__shieldcert/ca.pem";

pub(crate) fn router(app: Arc<App>) -> Router {
    let certificates = format!("{BASE_PATH}/zones/{{zone_id}}/client_certificates");
    let certificate = format!("{certificates}/{{certificate_id}}");
    let control = if app.service.settings.control {
        control::router(app.clone())
    } else {
        Router::new().route(control::ALL, any(control::not_served))
    };
    Router::new()
        .route(&certificates, get(handlers::list).post(handlers::create))
        .route(
            &certificate,
            get(handlers::details)
                .patch(handlers::edit)
                .delete(handlers::revoke),
        )
        .route(CA_PATH, get(handlers::ca))
        .fallback(handlers::no_route)
        .method_not_allowed_fallback(handlers::no_method)
        .layer(from_fn_with_state(app.clone(), handlers::respond))
        .merge(control)
        .layer(from_fn_with_state(app.clone(), inject::inject))
        .with_state(app)
}
