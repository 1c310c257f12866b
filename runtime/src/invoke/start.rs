//! Starting instances outside of calls: the trial as a module is loaded, and those that
//! are there before the first call.
//!
//! Both happen on a thread of their own, because the caller's may already run a Tokio
//! runtime, and under the handler's own limits. While it starts so, a guest sends nothing:
//! no event asked for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::bindings::Handle;
use super::capabilities::Shared;
use super::classify::{self, Circumstances};
use super::drive::{End, drive};
use super::http::{Resolve, System};
use super::instance::Instance;
use super::load::{LoadError, Module};
use super::meter::Clock;
use crate::outcome::{Outcome, REASON};
use crate::settle::reason::printable;

/// Why instances were not made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// One did not start, though the module's trial did.
    #[error("instance {number} of {wanted} for `warmUp` does not start: {reason}")]
    Start {
        /// Which, from 1.
        number: usize,
        /// How many each worker is to have.
        wanted: usize,
        /// As for a call: the trap, the limit.
        reason: String,
    },
    /// The time for all of them was over.
    #[error("`warmUp` takes too long: of {wanted} instances for a worker {ready} were ready in time")]
    Late {
        /// How many there were.
        ready: usize,
        /// How many each worker is to have.
        wanted: usize,
    },
}

/// What one worker's [`Pool`](super::Pool) begins with: the handler's `warmUp`, each
/// instantiated. No handler's function was called, and none may be: there is no event.
///
/// Made on any thread, and moved to the worker's.
pub struct Prepared {
    pub(super) module: Arc<Module>,
    pub(super) shared: Shared,
    pub(super) turns: Arc<Semaphore>,
    pub(super) instances: Vec<Instance>,
}

impl Prepared {
    /// No instance.
    pub(super) fn none(module: Arc<Module>, resolver: Arc<dyn Resolve>) -> Prepared {
        let shared = Shared::for_worker(module.grants(), resolver);
        Prepared { module, shared, turns: Arc::new(Semaphore::new(1)), instances: Vec::new() }
    }

    /// How many instances there are.
    pub fn instances(&self) -> usize {
        self.instances.len()
    }

    fn fill(&mut self, until: Instant) -> Result<(), PrepareError> {
        let wanted = self.module.warm_up();
        let failed = |number, reason| PrepareError::Start { number, wanted, reason };
        let runtime = runtime().map_err(|reason| failed(1, reason))?;
        let clock = self.module.clock();
        let unconnected = Shared { client: None, ..self.shared.clone() };
        for ready in 0..wanted {
            let make = || Instance::new(&self.module, &unconnected, Arc::clone(&self.turns));
            let started = runtime.block_on(start(&self.module, make, &clock, until));
            let (mut instance, _) = started.map_err(|refused| match refused {
                Refused::Busy => PrepareError::Late { ready, wanted },
                _ if Instant::now() >= until => PrepareError::Late { ready, wanted },
                Refused::Late => {
                    failed(ready + 1, format!("longer than the timeout of {:?}", self.module.limits().timeout))
                }
                Refused::Start(reason) | Refused::Type(reason) => failed(ready + 1, reason),
            })?;
            instance.connect(&self.module, &self.shared);
            self.instances.push(instance);
        }
        Ok(())
    }
}

impl Module {
    /// Makes the instances that one worker is to have ready, one after the other: each
    /// within the handler's `timeout` and `cpuTime`, all of them before `until`.
    ///
    /// # Errors
    /// The first that does not start; what was made is dropped.
    pub fn prepare(self: &Arc<Self>, until: Instant) -> Result<Prepared, PrepareError> {
        let mut prepared = Prepared::none(Arc::clone(self), Arc::new(System::new()));
        let filled = apart(|| prepared.fill(until));
        let failed = |reason| PrepareError::Start { number: 1, wanted: self.warm_up(), reason };
        filled.unwrap_or_else(|reason| Err(failed(reason)))?;
        Ok(prepared)
    }

    /// Makes one instance and throws it away: linked is not running.
    pub(super) fn try_once(&self, path: impl Fn() -> PathBuf) -> Result<(), LoadError> {
        match apart(|| self.start_and_check()) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Refused::Busy)) => Err(LoadError::Busy(path())),
            Ok(Err(Refused::Late)) => Err(LoadError::Late { path: path(), timeout: self.limits().timeout }),
            Ok(Err(Refused::Type(reason))) => Err(LoadError::Type { path: path(), reason }),
            Ok(Err(Refused::Start(reason))) | Err(reason) => Err(LoadError::Start { path: path(), reason }),
        }
    }

    fn start_and_check(&self) -> Result<(), Refused> {
        let clock = self.clock();
        let until = Instant::now() + self.limits().timeout;
        let make = || Instance::new(self, &Shared::for_trial(self.grants()), Arc::new(Semaphore::new(1)));
        let runtime = runtime().map_err(Refused::Start)?;
        let (mut instance, handle) = runtime.block_on(start(self, make, &clock, until))?;
        instance.check_type(handle).map_err(|error| Refused::Type(format!("{error:#}")))
    }
}

enum Refused {
    Start(String),
    Type(String),
    /// It takes longer than the handler's timeout.
    Late,
    /// Other instances have every slot.
    Busy,
}

/// How often a slot is asked for while there is none.
const BUSY: Duration = Duration::from_millis(10);

/// Makes an instance and instantiates the module as the beginning of its first call would, by
/// `until` at the latest. Waits for a slot where there is none.
async fn start(
    module: &Module,
    make: impl Fn() -> Instance,
    clock: &Clock,
    until: Instant,
) -> Result<(Instance, Handle), Refused> {
    loop {
        let mut instance = make();
        match start_one(module, &mut instance, clock, until).await {
            Ok(handle) => return Ok((instance, handle)),
            Err(Refused::Busy) if Instant::now() + BUSY < until => tokio::time::sleep(BUSY).await,
            Err(refused) => return Err(refused),
        }
    }
}

async fn start_one(module: &Module, instance: &mut Instance, clock: &Clock, until: Instant) -> Result<Handle, Refused> {
    let limits = module.limits();
    let now = Instant::now();
    let deadline = until.min(now + limits.timeout);
    instance.begin(Arc::default(), &"".into(), 0, deadline);
    let meter = Arc::clone(&instance.meter);
    let _beat = clock.pulse().begin();
    let end = drive(instance.start(module), &meter, clock, now, deadline).await;
    instance.log.end();
    match end {
        End::Done(Ok(handle)) => Ok(handle),
        End::Done(Err(error)) => {
            let log = Arc::clone(&instance.log);
            let stderr = || log.tail();
            Err(refused(&error, &instance.circumstances(module, &stderr)))
        }
        End::TimedOut => Err(Refused::Late),
        End::Panicked(message) => Err(Refused::Start(format!("the host panicked: {message}"))),
    }
}

fn refused(error: &wasmtime::Error, circumstances: &Circumstances<'_>) -> Refused {
    match classify::of_error(error, circumstances) {
        // What the guest wrote is in it, and this goes to logs and terminals as it is.
        Outcome::Failed(failure) => Refused::Start(printable(&failure.reason, REASON)),
        Outcome::Busy => Refused::Busy,
        Outcome::Fenced | Outcome::Handled(_) => Refused::Start(format!("{error:#}")),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

/// Runs this on a thread of its own and waits for it.
fn apart<T: Send>(run: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("load".into()).spawn_scoped(scope, run);
        thread.map_err(|error| error.to_string())?.join().map_err(|_| "the host panicked".to_owned())
    })
}
