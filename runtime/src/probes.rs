//! `/livez`, `/readyz` and `/metrics`: what an orchestrator and Prometheus ask.
//!
//! The server has a thread and a runtime of its own, so that it answers while
//! everything else is busy, and it is bounded against clients that are slow,
//! many or talkative: see `listener`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::oneshot;

use crate::metrics::{CONTENT_TYPE, Metrics};

mod health;
pub(crate) mod listener;

pub use health::{Component, Health, Heart};
use listener::{Bounded, Limits};

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct ProbeServer {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProbeServer {
    /// The address it listens on; with the port that was chosen where 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for ProbeServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The thread ends at once: connections that are open are dropped, not waited for.
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// Listens on `addr` and serves until the answer is dropped.
///
/// # Errors
/// If the address cannot be bound, with the address in the message, or the
/// thread cannot be started.
pub fn start(addr: SocketAddr, health: Health, metrics: Metrics) -> io::Result<ProbeServer> {
    start_with(addr, health, metrics, Limits::DEFAULT)
}

fn start_with(addr: SocketAddr, health: Health, metrics: Metrics, limits: Limits) -> io::Result<ProbeServer> {
    let context = |e: io::Error| io::Error::new(e.kind(), format!("cannot serve probes on {addr}: {e}"));
    let listener = TcpListener::bind(addr).map_err(context)?;
    listener.set_nonblocking(true).map_err(context)?;
    let addr = listener.local_addr().map_err(context)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(context)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = async move {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "cannot serve probes on {addr}"),
        };
        tokio::select! {
            () = serve(listener, health, metrics, limits) => {}
            _ = stopped => {}
        }
    };
    let thread = std::thread::Builder::new().name("probes".into()).spawn(move || runtime.block_on(serving))?;
    Ok(ProbeServer { addr, stop: Some(stop), thread: Some(thread) })
}

async fn serve(listener: tokio::net::TcpListener, health: Health, metrics: Metrics, limits: Limits) {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(map_response(close))
        .with_state((health, metrics));
    // Serving ends only with an error of `accept`, and the listener retries those.
    if let Err(error) = axum::serve(Bounded::new(listener, limits), router).await {
        tracing::error!(%error, "probes are no longer served");
    }
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
    (status, [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// Every answer closes its connection, errors included: one that lingers would
/// hold a place that a probe needs.
async fn close(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests;
