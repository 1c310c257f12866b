//! `outrigger dev`: the whole sidecar with a broker inside the process.
//!
//! The broker gets the manifest's topics and the sample events; the sidecar runs
//! as it would in production, but against this broker; every outcome is a line,
//! and in the end a table says whether everything adds up.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::manifest::{Manifest, StartFrom};
use crate::observe::Observation;

mod broker;
mod samples;
mod table;
mod topics;
mod view;

pub use broker::{Broker, BrokerError, Offsets};
pub use samples::{Problem, Sample, SamplesError};
pub use table::{Facts, Tally};
pub use view::{Style, View};

use topics::Topics;

/// Observations under way from the workers to the screen. A full queue holds the
/// workers back: here a line that is missing is worse than a record that waits.
const OBSERVATIONS: usize = 1024;
/// How often the loop looks at what is not an observation.
const TICK: Duration = Duration::from_millis(100);
/// Often enough that `--until-idle` ends soon after the last record.
const COMMIT_INTERVAL: Duration = Duration::from_millis(500);

/// Run a manifest with an embedded broker and sample events.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Example:
  outrigger dev examples/orders/outrigger.yaml --events examples/orders/events.jsonl --until-idle

A line of the events file is a JSON object:
  {\"key\": \"o-17\", \"event\": {\"specversion\": \"1.0\", \"id\": \"1\", \"source\": \"/shop\", \"type\": \"shop.order.created\"}}
  topic     where it goes; the manifest's first topic if absent
  key       the record's key; null or absent: none
  mode      how the event is written: structured (default) or binary
  event     the event, as it stands: it may be wrong on purpose
  raw       instead of event: the record's value, a string or null
  headers   further headers: an object of strings or nulls
Blank lines and lines that begin with // or # are skipped.")]
pub struct DevArgs {
    /// The manifest.
    #[arg(default_value = "outrigger.yaml", value_name = "MANIFEST")]
    pub manifest: PathBuf,
    /// Sample events to produce, one JSON object per line.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// End when all sample events are settled and committed; exit with 1 unless everything adds up.
    #[arg(long, requires = "events")]
    pub until_idle: bool,
    /// Partitions of each topic.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=64))]
    pub partitions: i32,
    /// How long --until-idle waits before it gives up, such as 500ms, 60s or 2m.
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Serve /livez, /readyz and /metrics here; not served otherwise, whatever the manifest says.
    #[arg(long, value_name = "ADDRESS")]
    pub probes: Option<SocketAddr>,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text[..unit].parse::<u32>().ok();
    match (number, &text[unit..]) {
        (Some(number), "ms") => Ok(Duration::from_millis(number.into())),
        (Some(number), "s") => Ok(Duration::from_secs(number.into())),
        (Some(number), "m") => Ok(Duration::from_secs(u64::from(number) * 60)),
        _ => Err("expected a whole number and a unit, such as 500ms, 60s or 2m".to_owned()),
    }
}

/// A sidecar that runs, as far as this command needs it.
pub trait Sidecar: Send {
    /// Why it ended by itself, if it did.
    fn failed(&self) -> Option<String>;

    /// Drains, commits, closes and ends; no observation is sent afterwards.
    ///
    /// # Errors
    /// If not everything could be committed or closed, with what that means.
    fn stop(self) -> Result<(), String>;
}

/// Why the command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The events file is not usable.
    #[error(transparent)]
    Samples(#[from] SamplesError),
    /// A sample names a topic that nothing consumes.
    #[error("{}:{line}: topic `{topic}` is not consumed by the manifest", path.display())]
    Topic {
        /// The events file.
        path: PathBuf,
        /// The sample's line.
        line: usize,
        /// What it names.
        topic: String,
    },
    /// No sample can go anywhere without a topic of its own.
    #[error("the manifest consumes patterns only: give the name of a topic that matches in each sample's `topic`")]
    NoTopic,
    /// The embedded broker failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The sidecar did not start.
    #[error("{0}")]
    Start(String),
}

impl DevError {
    /// 2: the arguments or their files are unusable. 1: it failed while running.
    pub fn exit_code(&self) -> u8 {
        match self {
            DevError::Samples(_) | DevError::Topic { .. } | DevError::NoTopic | DevError::Start(_) => 2,
            DevError::Broker(_) => 1,
        }
    }
}

/// Runs the command and writes to stdout. `interrupted` ends it in good order;
/// `start` starts the sidecar with the manifest it is given, and reports to the channel.
///
/// Answers whether all is well: under `--until-idle` that everything was
/// settled, committed and adds up; otherwise that the sidecar ran and ended without an error.
///
/// # Errors
/// If it could not begin, or the broker failed.
pub fn run<S: Sidecar>(
    args: &DevArgs,
    manifest: Manifest,
    interrupted: &AtomicBool,
    start: impl FnOnce(Manifest, SyncSender<Observation>) -> Result<S, String>,
) -> Result<bool, DevError> {
    let width = manifest.routes.iter().map(|route| route.name.chars().count()).max().unwrap_or(1);
    let view = View::new(io::BufWriter::new(io::stdout()), Style::of_stdout(), width);
    run_with(args, manifest, interrupted, start, view)
}

fn run_with<S: Sidecar, W: Write>(
    args: &DevArgs,
    manifest: Manifest,
    interrupted: &AtomicBool,
    start: impl FnOnce(Manifest, SyncSender<Observation>) -> Result<S, String>,
    mut view: View<W>,
) -> Result<bool, DevError> {
    let deadline = Instant::now() + args.timeout;
    let topics = Topics::of(&manifest);
    let samples = args.events.as_ref().map(|path| topics.samples(path)).transpose()?.unwrap_or_default();
    let sources = topics.sources_with(&samples);
    let all = sources.iter().chain(&topics.others).map(String::as_str);
    let broker = Broker::start(&manifest.kafka.group_id, args.partitions, all)?;
    broker.produce(&samples, deadline)?;

    let (sender, observations) = sync_channel(OBSERVATIONS);
    let sidecar = start(for_broker(manifest, &broker, args.probes), sender).map_err(DevError::Start)?;
    let session = Session { broker, sources, produced: samples.len() as u64, observations };
    let limit = args.until_idle.then_some(deadline);
    let mut tally = Tally::default();
    let mut problems = Vec::new();
    // A closed pipe on stdout ends the command in good order, like an interrupt.
    let hello = format!("broker at {}; {} sample events produced", session.broker.bootstrap_servers(), samples.len());
    let watched = view
        .line(&hello)
        .and_then(|()| view.summarise(&tally))
        .map(|()| session.watch(&sidecar, &mut view, &mut tally, limit, interrupted));
    match watched {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(problem)) => problems.push(problem),
    }
    let stopped = session.stop(sidecar, &mut view, &mut tally);
    let failed = !problems.is_empty() || stopped.is_err();
    problems.extend(stopped.err());

    let facts = session.facts()?;
    if args.until_idle {
        problems.extend(tally.problems(&facts));
    }
    // The exit code says it all where nobody reads.
    _ = close(&mut view, &tally.table(&facts), &problems, args.until_idle);
    Ok(if args.until_idle { problems.is_empty() } else { !failed })
}

fn close<W: Write>(view: &mut View<W>, table: &str, problems: &[String], verdict: bool) -> io::Result<()> {
    view.line("")?;
    view.line(table)?;
    for problem in problems {
        view.line(&format!("problem: {problem}"))?;
    }
    if verdict {
        view.line(if problems.is_empty() { "It adds up." } else { "It does NOT add up." })?;
    }
    view.finish()
}

/// What the loop works on.
struct Session {
    broker: Broker,
    sources: Vec<String>,
    produced: u64,
    observations: Receiver<Observation>,
}

impl Session {
    /// Shows what happens until it is time to stop; an error says what went wrong.
    fn watch<W: Write>(
        &self,
        sidecar: &impl Sidecar,
        view: &mut View<W>,
        tally: &mut Tally,
        limit: Option<Instant>,
        interrupted: &AtomicBool,
    ) -> Result<(), String> {
        loop {
            if interrupted.load(Ordering::Relaxed) {
                return if limit.is_some() { Err("interrupted before all was settled".into()) } else { Ok(()) };
            }
            if let Some(reason) = sidecar.failed() {
                return Err(format!("the sidecar ended: {reason}"));
            }
            if limit.is_some_and(|limit| Instant::now() >= limit) {
                return Err("the time is up before all was settled and committed".into());
            }
            match self.observations.recv_timeout(TICK) {
                // A failed write is the reader's wish to end.
                Ok(observation) => {
                    tally.add(&observation);
                    if view.observe(&observation).and_then(|()| view.summarise(tally)).is_err() {
                        return Ok(());
                    }
                }
                // Asked only when it is quiet: while outcomes come, it is not idle.
                Err(RecvTimeoutError::Timeout) => {
                    if limit.is_some() && self.facts().map_err(|error| error.to_string())?.caught_up() {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err("the sidecar ended".into()),
            }
        }
    }

    /// Stops the sidecar, and takes what it still reports meanwhile, so that it never waits for this end.
    fn stop<W: Write>(&self, sidecar: impl Sidecar, view: &mut View<W>, tally: &mut Tally) -> Result<(), String> {
        let mut show = |observation: &Observation| {
            tally.add(observation);
            // Where nobody reads any more, it is still counted.
            _ = view.observe(observation);
        };
        std::thread::scope(|scope| {
            let stopping = scope.spawn(move || sidecar.stop());
            while !stopping.is_finished() {
                match self.observations.recv_timeout(TICK) {
                    Ok(observation) => show(&observation),
                    Err(RecvTimeoutError::Timeout) => {}
                    // Nothing more can come: wait for the rest of the stop.
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            let stopped = stopping.join().unwrap_or_else(|_| Err("the sidecar panicked while it stopped".into()));
            self.observations.try_iter().for_each(|observation| show(&observation));
            stopped
        })
    }

    fn facts(&self) -> Result<Facts, BrokerError> {
        // Commits first: what is committed then cannot be beyond the ends asked for later.
        let committed = self.broker.committed(self.sources.iter().map(String::as_str))?;
        let ends = self.broker.ends()?;
        Ok(Facts { produced: self.produced, sources: self.sources.clone(), ends, committed })
    }
}

/// The manifest as it runs here: connected to the embedded broker, from the beginning.
fn for_broker(mut manifest: Manifest, broker: &Broker, probes: Option<SocketAddr>) -> Manifest {
    let kafka = &mut manifest.kafka;
    kafka.bootstrap_servers = broker.bootstrap_servers().to_owned();
    // The embedded broker knows neither TLS nor SASL, and its groups are classic ones.
    const ELSEWHERE: [&str; 5] = ["security.", "sasl.", "ssl.", "group.protocol", "group.remote."];
    kafka.properties.retain(|name, _| !ELSEWHERE.iter().any(|of| name.starts_with(of)));
    // The samples are there before the group is: `latest` would begin behind them.
    kafka.start_from = StartFrom::Earliest;
    kafka.topics.iter_mut().for_each(|topic| topic.start_from = None);
    manifest.commit_interval = manifest.commit_interval.min(COMMIT_INTERVAL);
    manifest.probes = probes;
    manifest.admin = None;
    manifest
}

#[cfg(test)]
mod tests;
