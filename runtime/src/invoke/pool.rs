//! The instances of one handler on one worker.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::call::{self, Call, Report};
use super::capabilities::Shared;
use super::http::{Resolve, System};
use super::instance::Instance;
use super::load::Module;
use super::meter::Clock;
use super::start::Prepared;
use crate::manifest::Instance as Reuse;

/// Calls after which a warm instance is replaced: what leaks in a guest, or
/// fragments its memory, is bounded.
const CALLS: u32 = 100_000;

/// The share of its memory budget above which a warm instance is replaced after
/// a call, in percent: memory of a guest never shrinks, and the next call would
/// be the one that fails.
const MEMORY_SHARE: usize = 75;

/// One handler's instances on one worker. Not shared between threads; calls
/// overlap where guests wait or are time-sliced.
pub struct Pool {
    module: Arc<Module>,
    clock: Clock,
    turns: Arc<Semaphore>,
    shared: Shared,
    /// The one used last is on top, so that idle ones stay idle.
    idle: RefCell<Vec<Idle>>,
}

struct Idle {
    instance: Instance,
    since: Instant,
}

impl Pool {
    /// A pool without an instance yet: they are made when a call finds none idle.
    pub fn new(module: Arc<Module>) -> Rc<Pool> {
        Pool::with_resolver(module, Arc::new(System::new()))
    }

    /// The same with another resolver for the names in the handler's requests.
    pub fn with_resolver(module: Arc<Module>, resolver: Arc<dyn Resolve>) -> Rc<Pool> {
        Pool::of(Prepared::none(module, resolver))
    }

    /// A pool with the instances that were made ready for it.
    pub fn of(prepared: Prepared) -> Rc<Pool> {
        let Prepared { module, shared, turns, instances } = prepared;
        let since = Instant::now();
        let idle = instances.into_iter().map(|instance| Idle { instance, since }).collect();
        Rc::new(Pool { clock: module.clock(), module, turns, shared, idle: RefCell::new(idle) })
    }

    /// The module whose instances these are.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Calls under way.
    pub fn in_flight(&self) -> usize {
        self.clock.pulse().calls()
    }

    /// Instances without a call.
    pub fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Makes one attempt at one event. Always answers, within the handler's
    /// timeout and a time slice; a panic of the guest or the host is a failure.
    ///
    /// Dropping the future interrupts the call at once and retires its instance.
    /// Must be polled inside a Tokio runtime with timers, on the pool's thread.
    pub fn call(self: &Rc<Self>, call: Call) -> impl Future<Output = Report> + 'static {
        call::run(Rc::clone(self), call)
    }

    /// Drops instances that have been idle for longer than `keep`, down to the number that
    /// is to be ready, and closes connections that have been idle for long.
    pub fn trim(&self, now: Instant, keep: Duration) {
        if let Some(client) = &self.shared.client {
            client.trim(now);
        }
        let mut idle = self.idle.borrow_mut();
        // The one idle for longest is the first.
        let spare = idle.len().saturating_sub(self.module.warm_up());
        let is_old = |idle: &&Idle| now.saturating_duration_since(idle.since) > keep;
        let old = idle.iter().take(spare).take_while(is_old).count();
        idle.drain(..old).for_each(|idle| idle.instance.drop_idle());
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn take(&self) -> Instance {
        let idle = self.idle.borrow_mut().pop();
        match idle {
            Some(idle) => idle.instance,
            None => Instance::new(&self.module, &self.shared, Arc::clone(&self.turns)),
        }
    }

    /// Takes an instance back whose call ended with an answer. One that left a
    /// request open is dropped, and the request with it.
    pub(super) fn put_back(&self, mut instance: Instance, now: Instant) {
        if instance.has_open_requests() {
            return;
        }
        instance.calls += 1;
        let full = instance.memory() > self.module.limits().memory / 100 * MEMORY_SHARE;
        if self.module.reuse() == Reuse::Warm && instance.calls < CALLS && !full {
            self.idle.borrow_mut().push(Idle { instance, since: now });
        }
    }
}

/// As where a handler is replaced: by the worker, which other handlers wait for.
impl Drop for Pool {
    fn drop(&mut self) {
        self.idle.get_mut().drain(..).for_each(|idle| idle.instance.drop_idle());
    }
}
