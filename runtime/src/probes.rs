//! `/livez`, `/readyz` and `/metrics`: what an orchestrator and Prometheus ask.
//!
//! Served apart from all else, and bounded: see `server`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::{CONTENT_TYPE, Metrics};
use crate::server::{Limits, Server, bind};

mod health;

pub use health::{Component, Health, Heart};

/// Probes send a few hundred bytes, and neither they nor a scrape wait for longer.
const LIMITS: Limits =
    Limits { connections: 32, head: Duration::from_secs(2), lifetime: Duration::from_secs(10), request: 16 * 1024 };

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct ProbeServer {
    addr: SocketAddr,
    _server: Server,
}

impl ProbeServer {
    /// The address it listens on; with the port that was chosen where 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// Listens on `addr` and serves until the answer is dropped.
///
/// # Errors
/// If the address cannot be bound, with the address in the message, or the
/// thread cannot be started.
pub fn start(addr: SocketAddr, health: Health, metrics: Metrics) -> io::Result<ProbeServer> {
    start_with(addr, health, metrics, LIMITS)
}

fn start_with(addr: SocketAddr, health: Health, metrics: Metrics, limits: Limits) -> io::Result<ProbeServer> {
    let listener = bind("probes", addr)?;
    let addr = listener.local_addr()?;
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state((health, metrics));
    Ok(ProbeServer { addr, _server: Server::start("probes", listener, router, limits)? })
}

async fn livez(State((health, _)): State<(Health, Metrics)>) -> Response {
    let report = health.liveness(std::time::Instant::now());
    answer(report.ok, "application/json", report.body)
}

async fn readyz(State((health, _)): State<(Health, Metrics)>) -> Response {
    let report = health.readiness();
    answer(report.ok, "application/json", report.body)
}

async fn render(State((_, metrics)): State<(Health, Metrics)>) -> Response {
    match metrics.render() {
        Ok(text) => answer(true, CONTENT_TYPE, text),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
        }
    }
}

fn answer(ok: bool, content_type: &'static str, body: String) -> Response {
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}

#[cfg(test)]
mod tests;
