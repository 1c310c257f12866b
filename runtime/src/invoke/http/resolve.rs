//! From names to addresses.

use std::future::Future;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

/// Look-ups of one handler on one worker that may be under way. Each has a
/// thread: the system's resolver blocks, for half a minute where its servers
/// are silent, and cannot be interrupted.
const LOOKUPS: usize = 4;

/// The addresses that a name has.
pub type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Where the addresses of names come from. Whatever it answers is checked
/// before anything is dialled.
pub trait Resolve: Send + Sync {
    /// Every address of `name`. Called once for each connection; the future is
    /// dropped when the request's time is over.
    fn resolve(&self, name: &str) -> Addresses;
}

/// The system's resolver: `/etc/hosts`, the search list, DNS.
pub struct System {
    lookups: Arc<Semaphore>,
}

impl System {
    /// With look-ups of its own.
    pub fn new() -> System {
        System { lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

impl Default for System {
    fn default() -> System {
        System::new()
    }
}

impl Resolve for System {
    fn resolve(&self, name: &str) -> Addresses {
        let (name, lookups) = (name.to_owned(), Arc::clone(&self.lookups));
        Box::pin(async move {
            let permit = lookups.acquire_owned().await.map_err(io::Error::other)?;
            let (answer, answered) = oneshot::channel();
            // Not Tokio's threads: its runtime could not end before the look-up does.
            std::thread::Builder::new().name("lookup".into()).spawn(move || {
                let _permit = permit;
                let found = (name.as_str(), 0).to_socket_addrs();
                // Nobody waits any more where that fails.
                let _ = answer.send(found.map(|found| found.map(|address| address.ip()).collect()));
            })?;
            answered.await.map_err(io::Error::other)?
        })
    }
}
