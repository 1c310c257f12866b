//! A server beside the records: on a thread and a runtime of its own, so that it answers
//! while everything else is busy, and bounded against clients that are slow, many or
//! talkative: see `listener`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use tokio::sync::oneshot;

mod listener;

use listener::Bounded;
pub(crate) use listener::Limits;

/// Binds the address; nothing is served yet. `what` will be, for messages.
///
/// # Errors
/// If it cannot be bound, with the address in the message.
pub(crate) fn bind(what: &str, addr: SocketAddr) -> io::Result<TcpListener> {
    let context = |e: io::Error| io::Error::new(e.kind(), format!("cannot serve {what} on {addr}: {e}"));
    let listener = TcpListener::bind(addr).map_err(context)?;
    listener.set_nonblocking(true).map_err(context)?;
    Ok(listener)
}

/// A server that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves on a listener of [`bind`]. `name`: the thread's, and the log's.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(
        name: &'static str,
        listener: TcpListener,
        router: Router,
        limits: Limits,
    ) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let router = router.layer(map_response(close));
        let serving = async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => Bounded::new(listener, limits),
                Err(error) => return tracing::error!(server = name, %error, "the server cannot begin"),
            };
            tokio::select! {
                // Serving ends only with an error of `accept`, and the listener retries those.
                served = async { axum::serve(listener, router).await } => if let Err(error) = served {
                    tracing::error!(server = name, %error, "the server has ended");
                },
                _ = stopped => {}
            }
        };
        let run = move || {
            runtime.block_on(serving);
            // What a request waits for elsewhere ends with the process, not before it.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Server { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The thread ends at once: connections that are open are dropped, not waited for.
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

/// Every answer closes its connection, errors included: one that lingers would hold a
/// place that a probe needs. And none is true for longer than a moment.
async fn close(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
