//! The admin API: `GET /v1/status` and `POST /v1/reload`.
//!
//! Every request carries the manifest's token, on loopback too. Like the probes it
//! has a thread of its own and is bounded against clients that are slow or many.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::digest;
use crate::manifest::Admin;
use crate::reload::{Answer, Handle};
use crate::server::{self, Limits, Server};

/// A reload is answered once it is over, and compiling a large module takes seconds.
const LIMITS: Limits =
    Limits { connections: 8, head: Duration::from_secs(2), lifetime: Duration::from_secs(120), request: 16 * 1024 };

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct AdminServer {
    _server: Server,
}

/// Binds the address; nothing is served yet.
///
/// # Errors
/// If it cannot be bound, with the address in the message.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = server::bind("the admin API", addr)?;
    tracing::info!(listen = %listener.local_addr()?, "admin API");
    Ok(listener)
}

/// Serves on `listener` until the answer is dropped.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(listener: TcpListener, admin: &Admin, reload: Handle) -> io::Result<AdminServer> {
    let router = router(digest::of(admin.token.reveal().as_bytes()), reload);
    Ok(AdminServer { _server: Server::start("admin", listener, router, LIMITS)? })
}

fn router(token: [u8; 32], reload: Handle) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/reload", post(reloads))
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(from_fn_with_state(token, authorised))
        .with_state(reload)
}

async fn status(State(reload): State<Handle>) -> Response {
    answer(StatusCode::OK, &reload.status().to_json())
}

async fn reloads(State(reload): State<Handle>) -> Response {
    let said = tokio::task::spawn_blocking(move || reload.reload()).await.ok().flatten();
    let Some(said) = said else {
        return answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "reason": "too many reloads wait" }));
    };
    let status = match said {
        Answer::Switched(_) | Answer::Unchanged(_) => StatusCode::OK,
        Answer::Failed(..) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    answer(status, &said.to_json())
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn authorised(State(token): State<[u8; 32]>, request: Request, next: Next) -> Response {
    if is_authorised(&token, request.headers()) {
        return next.run(request).await;
    }
    let mut refused = answer(StatusCode::UNAUTHORIZED, &json!({ "reason": "the token is missing or wrong" }));
    refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    refused
}

/// Digests are compared, all of their bytes whatever the first ones are: the time that
/// it takes says nothing about the token.
fn is_authorised(token: &[u8; 32], headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let Some(given) = given.and_then(|value| value.strip_prefix(b"Bearer ")) else { return false };
    let given = digest::of(given);
    let differs = token.iter().zip(given).fold(0, |differs, (a, b)| differs | (a ^ b));
    std::hint::black_box(differs) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_counts() {
        let token = digest::of(b"0123456789abcdef");
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            is_authorised(&token, &headers)
        };
        assert!(with("Bearer 0123456789abcdef"));
        for wrong in ["", "Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdefg", "Basic 0123456789abcdef"] {
            assert!(!with(wrong), "{wrong:?}");
        }
        assert!(!is_authorised(&token, &HeaderMap::new()));
    }
}
