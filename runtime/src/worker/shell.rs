//! The worker's thread: does what the core says, and waits for what comes next.
//! Calls are in `shell/calls.rs`, partitions that go away in `shell/releases.rs`.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::AbortHandle;
use tokio::sync::mpsc;

use super::core::{Core, Now};
use super::effect::{Ack, CallOrder, Channel, Effect, RunId, Slot, Token};
use super::plan::Plan;
use super::report::Reporter;
use super::turns::{Turns, Waited};
use super::{Built, Command, Guest, Parts};
use crate::probes::Heart;
use crate::publish::{Inbox, NotTaken, Publisher};
use crate::record::Record;

mod calls;
mod releases;
#[cfg(test)]
mod tests;

use calls::Ended;
use releases::Release;

/// Records delivered to the core before it is asked again whether it wants more.
const DELIVERY: usize = 16;
/// How often a full producer queue is tried again when no acknowledgement comes.
const FULL_RETRY: Duration = Duration::from_millis(20);
/// How long a worker that waits lets acknowledgements come together before it takes them.
const BURST: Duration = Duration::from_millis(1);
/// How often a worker reports and beats when nothing else wakes it.
const REPORT: Duration = Duration::from_secs(1);
/// How often it reports while it is busy.
const REPORT_BUSY: Duration = Duration::from_millis(200);
/// How often the guests are to let go of what has not been used for a while.
const TRIM: Duration = Duration::from_secs(1);

struct Worker {
    number: u8,
    core: Core,
    plan: Arc<Plan>,
    /// Of the current generation. An attempt under way holds its own.
    guests: Vec<Rc<dyn Guest>>,
    publisher: Arc<Publisher>,
    inboxes: Arc<[Inbox]>,
    commands: mpsc::UnboundedReceiver<Command>,
    reporter: Reporter,
    heart: Heart,
    wake_reader: std::thread::Thread,
    /// Calls that did not end at once. Bounded by the handlers' concurrency.
    calls: Turns<Ended>,
    running: HashMap<RunId, AbortHandle>,
    /// Records that the core has not been given yet, in their order. Bounded by the accounts.
    pending: VecDeque<(Slot, std::vec::IntoIter<Record>)>,
    /// Per channel, in their order: messages that a full producer did not take.
    /// Bounded by the runs under way: while one waits, no call begins.
    refused: [VecDeque<Token>; 2],
    releases: Vec<Release>,
    acks: Vec<(Token, Ack)>,
    reported: Instant,
    trimmed: Instant,
}

/// Runs a worker on this thread until it is told to stop.
///
/// # Errors
/// If the thread's runtime cannot be built.
pub fn run(parts: Parts) -> std::io::Result<()> {
    // The guests' time slices end in this runtime: it looks at timers and sockets
    // every few polls, so that a busy guest does not delay them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(8)
        .global_queue_interval(8)
        .build()?;
    runtime.block_on(async {
        // It holds all modules of its generation: not kept for longer than that is current.
        let generation = parts.generation;
        let worker = Worker {
            number: parts.number,
            core: (parts.core)(now()),
            guests: (0..generation.plan.handlers.len()).map(|handler| (generation.guests)(handler)).collect(),
            plan: generation.plan.clone(),
            publisher: parts.publisher,
            inboxes: parts.inboxes,
            commands: parts.commands,
            reporter: parts.reporter,
            heart: parts.heart,
            wake_reader: parts.wake_reader,
            calls: Turns::new(),
            running: HashMap::new(),
            pending: VecDeque::new(),
            refused: Default::default(),
            releases: Vec::new(),
            acks: Vec::new(),
            reported: Instant::now(),
            trimmed: Instant::now(),
        };
        drop(generation);
        worker.work().await;
    });
    Ok(())
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: SystemTime::now() }
}

impl Worker {
    async fn work(mut self) {
        loop {
            let now = now();
            self.heart.beat(now.instant);
            self.core.advance(now);
            while let Ok(command) = self.commands.try_recv() {
                if !self.command(command) {
                    return;
                }
            }
            self.take_acks();
            self.deliver();
            let more = self.round().await;
            self.overdue(now.instant);
            if self.core.take_wake_reader() {
                self.wake_reader.unpark();
            }
            if now.instant >= self.reported + REPORT_BUSY {
                self.report(now.instant);
            }
            if more || self.core_has_work() {
                // Timers and sockets of calls that wait get their turn.
                tokio::task::yield_now().await;
                continue;
            }
            self.report(now.instant);
            if !self.wait(now.instant).await {
                return;
            }
        }
    }

    fn report(&mut self, now: Instant) {
        self.reporter.report(&mut self.core, now);
        self.report_swallowed();
        self.reported = now;
        if now >= self.trimmed + TRIM {
            self.guests.iter().for_each(|guest| guest.trim(now));
            self.trimmed = now;
        }
    }

    fn report_swallowed(&self) {
        self.reporter.swallowed(self.guests.iter().map(|guest| guest.take_swallowed()).sum());
    }

    fn core_has_work(&self) -> bool {
        self.core.has_effects()
            || !self.commands.is_empty()
            || (!self.pending.is_empty() && self.core.is_short_of_calls())
    }

    /// Waits for whatever comes first. False if the commands have ended.
    async fn wait(&mut self, now: Instant) -> bool {
        let mut until = now + REPORT;
        if let Some(due) = self.core.next_due() {
            until = until.min(due);
        }
        if self.is_refused() {
            until = until.min(now + FULL_RETRY);
        }
        for release in &self.releases {
            until = until.min(release.deadline());
        }
        tokio::select! {
            biased;
            command = self.commands.recv() => {
                // The wait may have been long, and what follows counts from now.
                self.core.advance(self::now());
                return command.is_some_and(|command| self.command(command));
            }
            // The producer's thread brings them one by one, but in bursts: waking for each
            // would cost more than the record itself.
            () = self.inboxes[self.number as usize].filled() => tokio::time::sleep(BURST).await,
            waited = self.calls.next(), if !self.calls.is_empty() => {
                if let Waited::Ended((run, result)) = waited {
                    self.ended(run, result);
                }
            }
            () = tokio::time::sleep_until(until.into()) => {}
        }
        true
    }

    /// Takes a command; false ends the worker.
    fn command(&mut self, command: Command) -> bool {
        match command {
            Command::Assign(slot, account) => self.core.assign(slot, account),
            Command::Records(slot, records) => self.pending.push_back((slot, records.into_iter())),
            Command::Release { slots, deadline, answer } => {
                let left = slots.into_iter().map(|slot| (slot, self.forget_pending(slot))).collect::<Vec<_>>();
                for (slot, _) in &left {
                    self.core.drain(*slot);
                }
                self.releases.push(Release::new(left, deadline, answer));
                // Partitions that are lost, and those with nothing under way, go now.
                self.overdue(Instant::now());
            }
            Command::Snapshot => self.core.publish_snapshots(),
            Command::Switch(built) => self.switch(&built),
            Command::Stop => return false,
        }
        true
    }

    /// Goes over to a new generation. Handlers that are what they were keep their
    /// instances; the others' go with the attempts that are on them, each of which ends
    /// within its handler's timeout.
    fn switch(&mut self, built: &Built) {
        // What the old generation has said is done first.
        while let Some(effect) = self.core.next(false) {
            self.do_at_once(effect);
        }
        self.report_swallowed();
        let plan = built.plan.clone();
        let guest = |handler| match plan.same_handler(handler, &self.plan) {
            Some(same) => self.guests[same].clone(),
            None => (built.guests)(handler),
        };
        self.guests = (0..plan.handlers.len()).map(guest).collect();
        for desk in self.core.switch(plan.clone()) {
            self.calls.forgive(desk);
        }
        self.reporter.switch(&plan);
        self.plan = plan;
    }

    /// Gives the core records, as many as it wants.
    fn deliver(&mut self) {
        while self.core.is_short_of_calls() {
            let Some((slot, records)) = self.pending.front_mut() else { return };
            let slot = *slot;
            for record in records.by_ref().take(DELIVERY) {
                if let Err(error) = self.core.deliver(slot, record) {
                    // The log was cut and written anew, or the client broke its promise:
                    // the polling thread finds the partition's place again, in a new epoch.
                    tracing::error!(%error, "a record was delivered out of order; its partition begins anew");
                    *records = Vec::new().into_iter();
                    break;
                }
            }
            if records.len() == 0 {
                self.pending.pop_front();
            }
        }
    }

    /// Drops what the core was not given of a partition, and says how many records that was.
    fn forget_pending(&mut self, slot: Slot) -> usize {
        let before: usize = self.pending.iter().map(|(_, records)| records.len()).sum();
        self.pending.retain(|(of, _)| *of != slot);
        before - self.pending.iter().map(|(_, records)| records.len()).sum::<usize>()
    }

    fn take_acks(&mut self) {
        let mut acks = std::mem::take(&mut self.acks);
        self.inboxes[self.number as usize].take(&mut acks);
        for (token, ack) in acks.drain(..) {
            self.core.acknowledged(token, ack);
        }
        self.acks = acks;
        for channel in [Channel::Outputs, Channel::DeadLetters] {
            while let Some(token) = self.refused[channel as usize].pop_front() {
                if !self.publish_now(token, channel) {
                    self.refused[channel as usize].push_front(token);
                    break;
                }
            }
        }
    }

    fn is_refused(&self) -> bool {
        self.refused.iter().any(|refused| !refused.is_empty())
    }

    /// Does what takes no time; gives a call back.
    fn do_at_once(&mut self, effect: Effect) -> Option<CallOrder> {
        match effect {
            Effect::Call(order) => return Some(order),
            Effect::Publish(token, channel) => self.publish(token, channel),
            Effect::Handled { place, outputs } => self.reporter.handled(&place, outputs),
            Effect::Observe(place, observation) => self.reporter.observe(&place, observation),
            Effect::Drained(slot) => self.release(slot, false),
        }
        None
    }

    /// Hands a message to its producer, behind those that wait for room: the
    /// outputs of one answer keep their order.
    fn publish(&mut self, token: Token, channel: Channel) {
        if !self.refused[channel as usize].is_empty() || !self.publish_now(token, channel) {
            self.refused[channel as usize].push_back(token);
        }
    }

    /// False if the producer is full.
    fn publish_now(&mut self, token: Token, channel: Channel) -> bool {
        let Some(message) = self.core.message(token) else { return true };
        let alone = self.core.is_alone(token);
        match self.publisher.publish(channel, &message, alone, self.number, token) {
            Ok(()) => {}
            Err(NotTaken::Full) => return false,
            Err(NotTaken::Failed(ack)) => self.core.acknowledged(token, ack),
        }
        true
    }
}
