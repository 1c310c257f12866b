//! A worker: one thread that owns whole partitions, from decode to settle.
//!
//! [`core`] decides; `shell` does what it says: it calls guests, hands messages to
//! the producers, counts, logs, and brings the answers back. Nothing is shared with
//! other workers on the way of a record.
//!
//! In: [`Command`]s of the polling thread. Out: messages to the producers, and the
//! positions in each partition's [`Account`].

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

pub mod account;
pub mod core;
pub mod effect;
mod known;
pub(crate) mod mutation;
mod partition;
pub mod plan;
pub mod report;
mod shell;
pub mod total;
mod turns;

pub use shell::run;

use self::account::{Account, Snapshot};
use self::core::{Core, Now};
use self::effect::Slot;
use self::plan::Plan;
use self::report::Reporter;
use crate::invoke::{Call, Pool, Report};
use crate::probes::Heart;
use crate::publish::{Inbox, Publisher};
use crate::record::Record;

/// What the polling thread tells a worker.
pub enum Command {
    /// A partition is this worker's from now on.
    Assign(Slot, Arc<Account>),
    /// Records of a partition, in their order, already counted in its account.
    Records(Slot, Vec<Record>),
    /// Let these partitions go: finish what runs until the deadline, drop what
    /// waits, interrupt what is late, answer with the positions.
    Release {
        /// Which.
        slots: Vec<Slot>,
        /// When what still runs is interrupted; in the past for a lost partition.
        deadline: Instant,
        /// Takes one answer when all of them are released.
        answer: SyncSender<Vec<Released>>,
    },
    /// Publish what is to be committed in the accounts that were asked.
    Snapshot,
    /// A new generation is current from now on.
    Switch(Arc<Built>),
    /// End the thread.
    Stop,
}

/// A partition that a worker let go.
#[derive(Clone, Debug)]
pub struct Released {
    /// Which.
    pub slot: Slot,
    /// What is to be committed for it.
    pub snapshot: Snapshot,
    /// Records delivered from there on and not called settled by its map: they will come again.
    pub come_again: usize,
    /// Records delivered that its map calls settled: they come again where it is not stored.
    pub in_map: usize,
    /// Whether something still ran at the deadline and was interrupted.
    pub interrupted: bool,
}

/// The seam around the guest call: what runs a handler on one worker.
pub trait Guest {
    /// Makes one attempt. Dropping the future interrupts it.
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Report>>>;
    /// A quiet moment: lets go of what has not been used for a while.
    fn trim(&self, now: Instant);
    /// Bytes that it wrote to its log beyond what is let through, since this was last asked.
    fn take_swallowed(&self) -> u64 {
        0
    }
}

impl Guest for Rc<Pool> {
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Report>>> {
        Box::pin(Pool::call(self, call))
    }

    fn trim(&self, now: Instant) {
        const KEEP: Duration = Duration::from_secs(60);
        Pool::trim(self, now, KEEP);
    }

    fn take_swallowed(&self) -> u64 {
        self.module().take_swallowed_output()
    }
}

/// Makes the guest of the handler with this index in the plan, on a worker's thread.
pub type Guests = Arc<dyn Fn(usize) -> Rc<dyn Guest> + Send + Sync>;

/// A generation that was built, checked and tried as a whole, for every worker to take over.
pub struct Built {
    /// What is decided by.
    pub plan: Arc<Plan>,
    /// What is called.
    pub guests: Guests,
}

/// What a worker is made of. Guests belong to the worker's thread, so they are made there.
pub struct Parts {
    /// Its number among the workers.
    pub number: u8,
    /// The decisions.
    pub core: Box<dyn FnOnce(Now) -> Core + Send>,
    /// The generation that it begins with, the core's.
    pub generation: Arc<Built>,
    /// Where messages go.
    pub publisher: Arc<Publisher>,
    /// Where their acknowledgements arrive: this worker's place is its number.
    pub inboxes: Arc<[Inbox]>,
    /// Commands of the polling thread. Bounded by the accounts: a record is only
    /// sent when its partition's account has room for it.
    pub commands: mpsc::UnboundedReceiver<Command>,
    /// Counts, logs, shows.
    pub reporter: Reporter,
    /// Says that the worker is alive.
    pub heart: Heart,
    /// Wakes the polling thread when a blocked partition has room again.
    pub wake_reader: std::thread::Thread,
}
