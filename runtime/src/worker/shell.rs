//! The worker's thread: does what the core says, and waits for what comes next.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::{AbortHandle, Abortable, Aborted};
use tokio::sync::mpsc;

use super::core::{Core, Now};
use super::effect::{Ack, CallOrder, Channel, Effect, RunId, Slot, Token};
use super::plan::Plan;
use super::report::Reporter;
use super::turns::{Turns, Waited};
use super::{Built, Command, Guest, Parts, Released};
use crate::invoke::{Call, Report};
use crate::outcome::{Failure, FailureClass, Outcome};
use crate::probes::Heart;
use crate::publish::{Inbox, NotTaken, Publisher};
use crate::record::Record;

/// Effects done in one go before commands, acknowledgements and other calls are looked at.
const TURN: usize = 128;
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

type Ended = (RunId, Result<Report, Aborted>);
type Running = Pin<Box<dyn Future<Output = Report>>>;

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
}

/// A release under way.
struct Release {
    /// With the number of their records that were never given to the core.
    left: Vec<(Slot, usize)>,
    deadline: Instant,
    answer: SyncSender<Vec<Released>>,
    done: Vec<Released>,
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
        let worker = Worker {
            number: parts.number,
            core: (parts.core)(now()),
            guests: (0..parts.generation.plan.handlers.len())
                .map(|handler| (parts.generation.guests)(handler))
                .collect(),
            plan: parts.generation.plan.clone(),
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
        };
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
            let more = self.round(now.instant).await;
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
        if now >= self.reported + REPORT {
            self.guests.iter().for_each(|guest| guest.trim(now));
        }
        self.reported = now;
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
            until = until.min(release.deadline);
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
                self.releases.push(Release { left, deadline, answer, done: Vec::new() });
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
        self.core.switch(plan.clone());
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

    /// Lets every handler compute for its share of time, in calls that begin and in
    /// those that go on; true if there may be more to do.
    async fn round(&mut self, now: Instant) -> bool {
        self.core.begin_round();
        // New calls and those under way come first by turns: neither can use up
        // the share of the other for long.
        let begin_first = self.calls.begin_round();
        let mut more = false;
        if begin_first {
            self.rest_used_up();
            more = self.act(now).await;
        }
        self.take_ended().await;
        if !begin_first {
            self.rest_used_up();
            more = self.act(Instant::now()).await;
        }
        more || self.calls.used_up().next().is_some()
    }

    /// Begins no more calls of handlers that have used up their share.
    fn rest_used_up(&mut self) {
        self.calls.used_up().for_each(|desk| self.core.rest(desk));
    }

    /// Does what the core says, up to a turn; true if there may be more. `began`: now.
    async fn act(&mut self, began: Instant) -> bool {
        let mut accounted = Duration::ZERO;
        for _ in 0..TURN {
            let Some(effect) = self.core.next(!self.is_refused()) else { return false };
            if let Some(order) = self.do_at_once(effect) {
                let desk = order.desk;
                // The clock is read only for calls that wait: the others have measured themselves.
                let time = match self.call(order).await {
                    Some(duration) => duration,
                    None => began.elapsed().saturating_sub(accounted),
                };
                accounted += time;
                if self.calls.charge(desk, time) {
                    self.core.rest(desk);
                }
            }
        }
        true
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

    /// Begins a call. How long it took, if it has ended already.
    async fn call(&mut self, order: CallOrder) -> Option<Duration> {
        let CallOrder { run, handler, desk, route, envelope, account, attempt, probe: _ } = order;
        let call = Call {
            envelope,
            route: self.plan.manifest.routes[route].name.clone(),
            topic: account.topic.clone(),
            partition: account.partition,
            attempt,
            generation: self.plan.generation,
            fence: account.fence.clone(),
        };
        let mut running = self.guests[handler].call(call);
        // Most calls end at their first poll, and cost no entry in the set of those that wait.
        match poll_fn(|cx| Poll::Ready(poll_caught(&mut running, cx))).await {
            Poll::Ready(report) => {
                let duration = report.duration;
                self.ended(run, Ok(report));
                Some(duration)
            }
            Poll::Pending => {
                let (handle, registration) = AbortHandle::new_pair();
                let caught = poll_fn(move |cx| poll_caught(&mut running, cx));
                let call = Abortable::new(caught, registration);
                self.running.insert(run, handle);
                self.calls.push(desk, async move { (run, call.await) });
                None
            }
        }
    }

    /// Lets calls go on and takes those that have ended, without waiting.
    async fn take_ended(&mut self) {
        while !self.calls.is_empty() {
            let next = poll_fn(|cx| Poll::Ready(self.calls.poll_next(cx))).await;
            let Poll::Ready(Waited::Ended((run, result))) = next else { return };
            self.ended(run, result);
        }
    }

    fn ended(&mut self, run: RunId, result: Result<Report, Aborted>) {
        self.running.remove(&run);
        // Aborted calls belong to partitions that are released.
        let Ok(report) = result else { return };
        // A call that could not begin was none.
        if !matches!(report.outcome, Outcome::Busy)
            && let Some(place) = self.core.place(run)
        {
            self.reporter.called(&place, report.duration);
        }
        // A retry's delay counts from the end of the attempt: the core's time may be as
        // old as the last wait, or as the other calls of this turn took.
        if !matches!(report.outcome, Outcome::Handled(_)) {
            self.core.advance(now());
        }
        self.core.called(run, report.outcome, report.duration);
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

    /// Releases what has passed its deadline.
    fn overdue(&mut self, now: Instant) {
        let overdue: Vec<(Slot, usize)> =
            self.releases.iter().filter(|r| r.deadline <= now).flat_map(|r| r.left.clone()).collect();
        for (slot, _) in overdue {
            self.release(slot, true);
        }
        // A release of partitions that this worker does not hold ends here too.
        self.answer_releases();
    }

    fn release(&mut self, slot: Slot, interrupted: bool) {
        let find = |release: &Release| release.left.iter().position(|(left, _)| *left == slot);
        let Some((release, at)) = self.releases.iter_mut().find_map(|r| find(r).map(|at| (r, at))) else { return };
        let (_, undelivered) = release.left.swap_remove(at);
        if let Some((snapshot, in_map)) = self.core.snapshot(slot)
            && let Some((position, delivered)) = self.core.release(slot)
        {
            let once_more = usize::from(snapshot.position < position);
            let come_again = delivered - in_map + undelivered + once_more;
            release.done.push(Released { slot, snapshot, come_again, in_map, interrupted });
        }
        // Dropping a call interrupts it, also where it waits in the host.
        self.running.retain(|run, handle| {
            if run.slot == slot {
                handle.abort();
            }
            run.slot != slot
        });
        self.answer_releases();
    }

    fn answer_releases(&mut self) {
        self.releases.retain_mut(|release| {
            if release.left.is_empty() {
                // The polling thread may have stopped waiting; then it does not commit for them.
                _ = release.answer.try_send(std::mem::take(&mut release.done));
            }
            !release.left.is_empty()
        });
    }
}

/// Polls a call; a panic of the host inside it ends the call and nothing else.
fn poll_caught(running: &mut Running, cx: &mut std::task::Context<'_>) -> Poll<Report> {
    std::panic::catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))).unwrap_or_else(|_| {
        let reason = "the host panicked during the call; this is a defect of Outrigger".into();
        let failure = Failure { class: FailureClass::Trap, reason, retry_after: None };
        Poll::Ready(Report { outcome: Outcome::Failed(failure), duration: Duration::ZERO, cpu: Duration::ZERO })
    })
}
