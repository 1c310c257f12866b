//! What a row is made of, and the load that most rows run under.

use std::any::Any;

use outrigger_tests::{Audit, Event, Exit, Job, Kafka, PATIENCE, Record, Running};

/// One kind of fault.
#[derive(Clone, Copy)]
pub struct Row {
    /// By which it is chosen.
    pub name: &'static str,
    /// What happens.
    pub fault: &'static str,
    /// Whether the short cut has it.
    pub quick: bool,
    /// Makes it happen.
    pub run: fn(&Run<'_>) -> Outcome,
}

/// What all rows share.
pub struct Run<'k> {
    /// Full counts instead of the short cut's.
    pub full: bool,
    /// The Kafka of the rows that leave it in peace; behind a proxy.
    pub kafka: &'k Kafka,
}

impl Run<'_> {
    /// A count that depends on the length of the run.
    pub fn count(&self, quick: u32, full: u32) -> u32 {
        if self.full { full } else { quick }
    }
}

/// What a row came to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How often the fault was to happen.
    pub cycles: u32,
    /// How often it is known to have happened; 0 makes the row void.
    pub happened: usize,
    /// By what that is known.
    pub proof: String,
    /// The judgement.
    pub audit: Audit,
}

impl Outcome {
    /// Takes in another run of the same row; the proofs are counted, not joined.
    pub fn add(&mut self, other: Outcome) {
        self.cycles += other.cycles;
        self.happened += other.happened;
        self.audit.add(other.audit);
    }
}

/// What a panic said.
pub fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

/// The group's timing in most rows: a member that is gone is noticed after 6 s.
pub const SESSION: &str = r#"session.timeout.ms: "6000", heartbeat.interval.ms: "1000""#;

/// A job with three partitions whose members have that session.
pub fn job<'k>(kafka: &'k Kafka, name: &str) -> Job<'k> {
    Job::new_on(kafka, name, 3).properties(SESSION)
}

/// Numbered events over 97 keys: one in 40 fails twice, one in 40 is rejected, the
/// others take their time, so that a fault comes amid them.
#[derive(Default)]
pub struct Load {
    made: u32,
}

impl Load {
    /// Produces so many more.
    pub fn produce(&mut self, kafka: &Kafka, job: &Job<'_>, count: u32) {
        let from = self.made;
        self.made += count;
        kafka.produce(&job.topic, (from..self.made).map(mixed));
    }
}

fn mixed(n: u32) -> Record {
    let event = Event::new(format!("event-{n}")).key(format!("key-{}", n % 97));
    match n % 40 {
        0 => event.doing("fail:2").record(),
        1 => event.rejected().record(),
        _ => event.doing("slow:20").record(),
    }
}

/// Starts one more sidecar where nothing disturbs it, lets it finish everything,
/// ends it, and has all judged.
pub fn finish(job: &Job<'_>) -> Audit {
    settle(job, job.sidecar().start()).0
}

/// The same with a sidecar that runs already.
pub fn settle(job: &Job<'_>, mut sidecar: Running) -> (Audit, Exit) {
    sidecar.wait_for("all is committed", 2 * PATIENCE, |_| job.committed_all());
    let exit = sidecar.terminate();
    exit.must_succeed();
    (job.audit(), exit)
}
