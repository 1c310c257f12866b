//! What the host ends a computing guest for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wasmtime::{StoreContextMut, UpdateDeadline};

use super::guest::Guest;

/// Why the epoch callback ended a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Interrupt {
    /// The partition was taken away.
    #[error("fenced")]
    Fenced,
    /// Over its CPU time.
    #[error("over its CPU time")]
    CpuTime,
}

/// What the callback asks in every tick that a guest computes.
pub(super) struct Watch {
    pub fence: Arc<AtomicBool>,
    pub cpu_time: Duration,
}

/// The epoch callback of every store.
///
/// It always yields where it does not end the guest: whether anything else could
/// run is known only to Tokio after it has looked at I/O and timers, and that
/// look, once a millisecond, costs about a thousandth of it.
pub(super) fn on_epoch(store: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    let guest = store.data();
    if guest.watch.fence.load(Ordering::Relaxed) {
        return Err(Interrupt::Fenced.into());
    }
    if guest.meter.charge() > guest.watch.cpu_time {
        return Err(Interrupt::CpuTime.into());
    }
    Ok(UpdateDeadline::YieldCustom(1, Box::pin(guest.meter.yield_turn())))
}
