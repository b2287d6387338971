//! The control of a running emulator, for tests in any language: outside the API's paths, and off unless
//! it is asked for.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};

use crate::chaos::Chaos;
use crate::routes::no_method;
use crate::service::Service;

/// `GET` and `PUT /__shieldcert/chaos`, a chaos specification in plain text; `GET /__shieldcert/history`, JSON.
pub(crate) fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/__shieldcert/chaos", get(chaos).put(set_chaos))
        .route("/__shieldcert/history", get(history))
        .method_not_allowed_fallback(no_method)
}

async fn chaos(State(service): State<Arc<Service>>) -> String {
    service.chaos().to_string()
}

async fn set_chaos(State(service): State<Arc<Service>>, specification: String) -> Response {
    match specification.parse::<Chaos>() {
        Ok(chaos) => {
            let set = chaos.to_string();
            service.set_chaos(chaos);
            set.into_response()
        }
        Err(why) => {
            let why = format!("{why}\nThe body is plain text, such as: lose-answer=5%, html=1%\n");
            (StatusCode::BAD_REQUEST, why).into_response()
        }
    }
}

async fn history(State(service): State<Arc<Service>>) -> Response {
    let events = serde_json::to_vec(&service.history.events())
        .expect("strings and numbers always serialize");
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], events).into_response()
}
