//! The connections of one handler on one worker: how many there are, and which
//! are used again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use super::body::RequestBody;
use super::head::Allowance;
use crate::manifest::Origin;

/// Connections of one handler on one worker, in use and idle. Requests beyond
/// that wait for one, within their time.
const OPEN: usize = 128;

/// Idle ones that are kept.
const IDLE: usize = 16;

/// How long an idle one is kept. Many servers close theirs after a minute, some
/// after five seconds; one that was closed is noticed before anything is sent.
const KEEP: Duration = Duration::from_secs(20);

/// A pool of connections.
pub(super) struct Connections {
    idle: Mutex<Vec<Idle>>,
    slots: Arc<Semaphore>,
}

/// A connection. Dropping it closes it, also where the server does not read what was sent:
/// hyper by itself would wait for that without end, and the slot with it.
pub(super) struct Connection {
    pub sender: SendRequest<RequestBody>,
    pub allowance: Arc<Allowance>,
    /// Of the task that it lives in.
    pub task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Idle {
    origin: Origin,
    connection: Connection,
    since: Instant,
}

impl Idle {
    fn is_closed(&self) -> bool {
        self.connection.sender.is_closed()
    }
}

/// A connection in use. Dropping it closes the connection.
pub(super) struct Lease {
    pub origin: Origin,
    pub connection: Connection,
    pub pool: Arc<Connections>,
}

impl Lease {
    /// Gives back a connection whose last response was read to its end.
    pub(super) fn give_back(self) {
        let Lease { origin, connection, pool } = self;
        pool.put(Idle { origin, connection, since: Instant::now() });
    }
}

impl Connections {
    /// Without a connection.
    pub(super) fn new() -> Arc<Connections> {
        Arc::new(Connections { idle: Mutex::default(), slots: Arc::new(Semaphore::new(OPEN)) })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle connection to this origin, the one used last.
    pub(super) fn take(self: &Arc<Self>, origin: &Origin, now: Instant) -> Option<Lease> {
        self.trim(now);
        let mut idle = self.idle();
        let at = idle.iter().rposition(|idle| idle.origin == *origin && idle.connection.sender.is_ready())?;
        let Idle { origin, connection, .. } = idle.remove(at);
        Some(Lease { origin, connection, pool: Arc::clone(self) })
    }

    fn put(&self, connection: Idle) {
        let mut idle = self.idle();
        if connection.is_closed() {
            return;
        }
        if idle.len() >= IDLE {
            idle.remove(0);
        }
        idle.push(connection);
    }

    /// Closes what has been idle for too long.
    pub(super) fn trim(&self, now: Instant) {
        self.idle().retain(|idle| !idle.is_closed() && now.saturating_duration_since(idle.since) < KEEP);
    }

    /// Waits until another connection may be made; it is counted as long as the
    /// permit is held. An idle one to somewhere else gives way.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if self.slots.available_permits() == 0 {
            let mut idle = self.idle();
            if !idle.is_empty() {
                idle.remove(0);
            }
        }
        // The semaphore is never closed.
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }
}
