//! The partitions that this process holds: which worker has each, and what was
//! read of it. Changed by the rebalance callback and read by the polling loop,
//! which are one thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use rdkafka::consumer::ConsumerContext;
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::mpsc;

use crate::commit::committer::Position;
use crate::commit::metadata::Metadata;
use crate::kafka::queue::{Item, PartitionQueue};
use crate::metrics::Metrics;
use crate::worker::account::{Account, Snapshot};
use crate::worker::effect::Slot;
use crate::worker::{Built, Command, Released};

/// Records read from one partition before the next one has its turn.
const BATCH: usize = 256;

/// After a drain's deadline, how long a worker may take to answer: it interrupts
/// what runs, and a guest in one long instruction answers at its next tick.
const GRACE: Duration = Duration::from_millis(500);

/// The sending end of a worker's commands. Unbounded by itself: what bounds it
/// are the accounts, since no record is read that its partition has no room for.
pub type Commands = mpsc::UnboundedSender<Command>;

/// One partition that this process holds.
pub struct Held<C: ConsumerContext> {
    /// Its worker.
    pub worker: usize,
    /// Its place at the worker.
    pub slot: Slot,
    /// What the worker and this thread both know.
    pub account: Arc<Account>,
    /// Where its records come from.
    pub queue: PartitionQueue<C>,
    /// Its topic is not consumed any more; the partition goes with the next rebalance.
    pub left: bool,
    /// Whether everything up to the end has been delivered.
    pub at_end: bool,
    /// Why nothing comes of it, and since when: until a record or its end comes, or a commit is
    /// accepted for it that began later.
    pub trouble: Option<(Instant, String)>,
    /// The offset after the last record read; negative where none was and the start is not known.
    pub next: i64,
    began_ms: Option<i64>,
    records: IntCounter,
}

/// All partitions held.
pub struct Assignment<C: ConsumerContext> {
    held: Vec<Held<C>>,
    /// Queues of partitions that were let go and may still be filled.
    leaving: Vec<PartitionQueue<C>>,
    workers: Vec<Commands>,
    epoch: u32,
    /// Places at each worker that are free again.
    free: Vec<Vec<u32>>,
    places: Vec<u32>,
    metrics: Metrics,
}

/// What one look at the queues brought.
#[derive(Debug, Default)]
pub struct Reading {
    /// Records read.
    pub records: usize,
    /// Errors of single partitions.
    pub errors: Vec<(Arc<str>, i32, RDKafkaErrorCode, String)>,
    /// Partitions that have to begin anew: see [`Account::go_astray`].
    pub astray: Vec<(Arc<str>, i32)>,
}

impl<C: ConsumerContext> Assignment<C> {
    /// Nothing held yet.
    pub fn new(workers: Vec<Commands>, metrics: Metrics) -> Assignment<C> {
        let free = workers.iter().map(|_| Vec::new()).collect();
        let places = vec![0; workers.len()];
        Assignment { held: Vec::new(), leaving: Vec::new(), workers, epoch: 0, free, places, metrics }
    }

    /// The partitions held.
    pub fn held(&self) -> &[Held<C>] {
        &self.held
    }

    /// Gives a partition to the worker that has the fewest. `left`: its topic is not consumed
    /// any more, as where a rebalance had begun before a switch and ends after it.
    pub fn add(&mut self, account: Arc<Account>, queue: PartitionQueue<C>, began_ms: Option<i64>, left: bool) {
        let load = |worker: usize| self.held.iter().filter(|held| held.worker == worker).count();
        let worker = (0..self.workers.len()).min_by_key(|&worker| load(worker)).unwrap_or_default();
        self.epoch = self.epoch.wrapping_add(1);
        let index = self.free[worker].pop().unwrap_or_else(|| {
            self.places[worker] += 1;
            self.places[worker] - 1
        });
        let slot = Slot { index, epoch: self.epoch };
        // A worker that has ended takes the process with it; see `app`.
        _ = self.workers[worker].send(Command::Assign(slot, account.clone()));
        let records = self.metrics.records(&account.topic);
        let next = account.position();
        self.held.push(Held {
            worker,
            slot,
            account,
            queue,
            left,
            at_end: false,
            trouble: None,
            next,
            began_ms,
            records,
        });
    }

    /// Reads what is there, in turns, as far as there is room; never waits.
    pub fn read(&mut self) -> Reading {
        let mut reading = Reading::default();
        for held in &mut self.held {
            if held.account.is_astray() {
                reading.astray.push((held.account.topic.clone(), held.account.partition));
                continue;
            }
            if held.left {
                continue;
            }
            // The bell stays rung while there is no room, and is answered once there is.
            let room = held.account.room().min(BATCH);
            if room == 0 || !held.queue.bell().answer() {
                continue;
            }
            let (mut records, mut bytes) = (Vec::new(), 0);
            let (at_end, trouble, next) = (&mut held.at_end, &mut held.trouble, &mut held.next);
            let items = held.queue.read(room, |item| match item {
                Item::Record(record) => {
                    (*at_end, *trouble) = (false, None);
                    *next = record.offset() + 1;
                    bytes += record.size();
                    records.push(record);
                }
                Item::End => (*at_end, *trouble) = (true, None),
                Item::Error(error, text) => {
                    let what = format!("{}/{}: {text}", held.account.topic, held.account.partition);
                    *trouble = Some((Instant::now(), what));
                    reading.errors.push((held.account.topic.clone(), held.account.partition, error, text));
                }
            });
            if items == room {
                held.queue.bell().ring();
            }
            if !records.is_empty() {
                reading.records += records.len();
                held.records.inc_by(records.len() as u64);
                held.account.add(records.len(), bytes);
                _ = self.workers[held.worker].send(Command::Records(held.slot, records));
            }
        }
        reading
    }

    /// Takes partitions back from their workers: what runs may finish until the
    /// deadline. Returns the positions to commit. A worker that does not answer
    /// is left behind, fenced, and its partitions go at the position that it
    /// reported last: what is below is settled, whatever it does now.
    pub fn release(
        &mut self,
        which: impl Fn(&str, i32) -> bool,
        deadline: Instant,
        interrupt: &dyn Fn(),
    ) -> Vec<(Position, Released)> {
        let (gone, kept) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|held: &Held<C>| which(&held.account.topic, held.account.partition));
        self.held = kept;
        let mut by_worker: HashMap<usize, Vec<Held<C>>> = HashMap::new();
        for held in gone {
            self.metrics.remove_partition(&held.account.topic, held.account.partition);
            by_worker.entry(held.worker).or_default().push(held);
        }
        let waiting: Vec<_> = by_worker
            .into_iter()
            .map(|(worker, held)| {
                let slots = held.iter().map(|held| held.slot).collect();
                let (answer, answers) = sync_channel(1);
                _ = self.workers[worker].send(Command::Release { slots, deadline, answer });
                (worker, held, answers)
            })
            .collect();
        let mut answers: Vec<_> = waiting
            .into_iter()
            .map(|(worker, held, answers)| {
                let answer = answers.recv_timeout(deadline.saturating_duration_since(Instant::now()));
                (worker, held, answers, answer.ok())
            })
            .collect();
        let late = || answers.iter().filter(|(.., answer)| answer.is_none()).flat_map(|(_, held, ..)| held);
        if late().next().is_some() {
            late().for_each(|held| held.account.fence.store(true, std::sync::atomic::Ordering::Release));
            interrupt();
        }
        let grace = Instant::now() + GRACE;
        for (_, _, answers, answer) in answers.iter_mut().filter(|(.., answer)| answer.is_none()) {
            *answer = answers.recv_timeout(grace.saturating_duration_since(Instant::now())).ok();
        }
        let mut released = Vec::new();
        for (worker, held, _, answer) in answers {
            if answer.is_none() {
                tracing::error!(
                    worker,
                    "a worker did not let its partitions go in time; they go at the positions it reported last"
                );
            }
            for held in held {
                match &answer {
                    Some(answer) => {
                        self.free[worker].push(held.slot.index);
                        if let Some(word) = answer.iter().find(|released| released.slot == held.slot) {
                            released.push((held.position(word.snapshot.clone()), word.clone()));
                        }
                    }
                    // Its place is not used again: the worker may still hold it.
                    None => {
                        let (slot, snapshot) = (held.slot, held.account.to_commit());
                        let come_again = held.account.span().max(held.account.unsettled());
                        released.push((
                            held.position(snapshot.clone()),
                            Released { slot, snapshot, come_again, in_map: 0, interrupted: true },
                        ));
                    }
                }
                self.leaving.push(held.queue);
            }
        }
        released
    }

    /// Throws away what the queues of partitions that were let go still hold: to be
    /// called once the client fetches no more for them. Nobody else reads it, and
    /// it would stay in memory until they come back.
    pub fn discard(&mut self) {
        for mut queue in self.leaving.drain(..) {
            while queue.read(BATCH, |_| {}) > 0 {}
        }
    }

    /// Makes a generation current at every worker, before any record that is read after
    /// this. Partitions of topics that it does not consume are not read any more.
    pub fn switch(&mut self, built: &Arc<Built>) {
        let kafka = &built.plan.manifest.kafka;
        for held in &mut self.held {
            held.left = !kafka.consumes(&held.account.topic);
        }
        for worker in &self.workers {
            _ = worker.send(Command::Switch(built.clone()));
        }
    }

    /// What may be committed now.
    pub fn positions(&self) -> Vec<Position> {
        self.held.iter().map(|held| held.position(held.account.to_commit())).collect()
    }

    /// Asks the workers for what is to be committed soon, with offset maps of at
    /// most so many characters. Nobody waits: what a worker has published when
    /// [`Assignment::positions`] is called is taken.
    pub fn ask(&self, map_limit: usize) {
        let mut unanswered: Vec<bool> = self.workers.iter().map(|_| false).collect();
        for held in &self.held {
            held.account.limit_map(map_limit);
            unanswered[held.worker] |= held.account.ask();
        }
        // A worker that has not answered yet has a command of the last time before it.
        for (worker, _) in self.workers.iter().zip(unanswered).filter(|(_, newly)| *newly) {
            _ = worker.send(Command::Snapshot);
        }
    }

    /// Why nothing comes of one of the partitions, if there is one.
    pub fn trouble(&self) -> Option<&str> {
        self.held.iter().find_map(|held| held.trouble.as_ref().map(|(_, what)| &**what))
    }

    /// The broker has taken a commit that began at this time. What it refused before, it does
    /// not any more; a commit that was under way by then says nothing.
    pub fn is_taken(&mut self, of: &Position, began: Instant) {
        if let Some(held) = self.of(of).filter(|held| held.trouble.as_ref().is_some_and(|(since, _)| *since < began)) {
            held.trouble = None;
        }
    }

    /// The broker does not permit to commit: it may not say again that reading is not either.
    pub fn is_refused(&mut self, of: &Position, why: &str) {
        if let Some(held) = self.of(of) {
            let what = || format!("{}/{}: the commit is refused: {why}", of.topic, of.partition);
            held.trouble.get_or_insert_with(|| (Instant::now(), what()));
        }
    }

    fn of(&mut self, position: &Position) -> Option<&mut Held<C>> {
        let Position { topic, partition, .. } = position;
        self.held.iter_mut().find(|held| held.account.topic == *topic && held.account.partition == *partition)
    }

    /// Whether a worker's thread has ended without being told to.
    pub fn has_lost_a_worker(&self) -> bool {
        self.workers.iter().any(Commands::is_closed)
    }

    /// Ends the workers.
    pub fn stop_workers(&self) {
        for worker in &self.workers {
            _ = worker.send(Command::Stop);
        }
    }
}

impl<C: ConsumerContext> Held<C> {
    fn position(&self, Snapshot { position: offset, map }: Snapshot) -> Position {
        Position {
            topic: self.account.topic.clone(),
            partition: self.account.partition,
            offset,
            metadata: Metadata { began_ms: self.began_ms, map },
        }
    }
}
