//! The benchmark as a whole: one broker, one input topic, and every contender
//! once per round, so that what changes on the machine meets all of them alike.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use outrigger_tests::{Kafka, guest};

use crate::job::{Contender, Job};
use crate::report::Report;
use crate::worker::{Failure, Measured, Task};
use crate::{events, start};

/// Partitions of the topics.
const PARTITIONS: i32 = 6;

/// Rounds and events without `--quick`.
const FULL: (usize, u64) = (5, 600_000);

/// Rounds and events with it.
const QUICK: (usize, u64) = (2, 60_000);

/// How much is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Rounds; each runs every contender once [default: 5, with --quick 2]
    #[arg(long)]
    rounds: Option<usize>,
    /// Events in the input topic [default: 600000, with --quick 60000]
    #[arg(long)]
    events: Option<u64>,
    /// A short run, to see that it works: its figures are dominated by start-up
    #[arg(long)]
    quick: bool,
    /// Only this job
    #[arg(long)]
    job: Option<Job>,
    /// Only these contenders, beside the one that all are compared with
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// Leave out idle memory and start-to-ready time
    #[arg(long)]
    no_start: bool,
}

/// Runs the benchmark and prints its tables.
///
/// # Errors
/// If a run fails or its outputs are not what they must be: then no figure counts.
pub fn run(plan: &Plan) -> Result<(), Failure> {
    let (rounds, events) = if plan.quick { QUICK } else { FULL };
    let (rounds, events) = (plan.rounds.unwrap_or(rounds), plan.events.unwrap_or(events));
    eprintln!("building the handlers, starting Kafka");
    let bench = Bench::prepare(events);
    // The JVM compiles and the page cache fills before anything counts.
    bench.measure(Contender::Bare, Job::Transform)?;

    let mut report = Report::new(events);
    for round in 0..rounds {
        for job in Job::ALL.into_iter().filter(|job| plan.job.is_none_or(|only| only == *job)) {
            let mut contenders: Vec<Contender> = job.contenders().iter().copied().filter(|c| plan.takes(*c)).collect();
            // Nobody always runs behind the same neighbour.
            let turn = round % contenders.len();
            contenders.rotate_left(turn);
            for contender in contenders {
                let measured = bench.measure(contender, job)?;
                eprintln!("{}", report.line(round, rounds, job, contender, &measured));
                report.add(job, contender, measured);
            }
        }
    }
    println!("{}", report.tables());
    if !plan.no_start {
        println!("{}", start::measure(&bench.kafka, &bench.handler)?);
    }
    Ok(())
}

impl Plan {
    fn takes(&self, contender: Contender) -> bool {
        self.contenders.is_empty() || contender == Contender::Bare || self.contenders.contains(&contender)
    }
}

struct Bench {
    kafka: Kafka,
    events: u64,
    topic: String,
    output: String,
    handler: PathBuf,
    noop: PathBuf,
}

impl Bench {
    fn prepare(events: u64) -> Bench {
        let (handler, noop) = (guest("guest-transform"), guest("guest-noop"));
        let kafka = Kafka::start();
        let (topic, output) = ("bench.input".to_owned(), "bench.output".to_owned());
        kafka.create_topic(&topic, PARTITIONS);
        kafka.create_topic(&output, PARTITIONS);
        let began = Instant::now();
        kafka.produce(&topic, (0..events).map(events::record));
        eprintln!("{events} events of {} bytes in {PARTITIONS} partitions after {:.1?}", events::SIZE, began.elapsed());
        Bench { kafka, events, topic, output, handler, noop }
    }

    /// Runs a contender in a process of its own, and counts what it has written.
    fn measure(&self, contender: Contender, job: Job) -> Result<Measured, Failure> {
        let module = match job {
            Job::Consume => &self.noop,
            Job::Transform => &self.handler,
        };
        let group = Kafka::unique("bench");
        let before = total(&self.kafka.ends(&self.output));
        let task = Task {
            contender,
            job,
            servers: self.kafka.address().to_owned(),
            topic: self.topic.clone(),
            output: self.output.clone(),
            group: group.clone(),
            events: self.events,
            module: module.clone(),
        };
        let child = Command::new(std::env::current_exe()?)
            .args(task.arguments())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()?;
        let what = format!("{}, {}", contender.title(), job.title());
        if !child.status.success() {
            return Err(format!("{what}: the run ended with {}", child.status).into());
        }
        let measured = serde_json::from_slice(&child.stdout)?;
        let (written, expected) = (total(&self.kafka.ends(&self.output)) - before, job.outputs(self.events));
        if u64::try_from(written) != Ok(expected) {
            return Err(format!("{what}: {written} outputs in the topic, not {expected}; the run is void").into());
        }
        self.kafka.committed_all(&group, &self.topic).map_err(|seen| format!("{what}: {seen}; the run is void"))?;
        Ok(measured)
    }
}

fn total(ends: &BTreeMap<i32, i64>) -> i64 {
    ends.values().sum()
}
