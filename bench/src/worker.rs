//! One run of one contender, in a process of its own.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::job::{Contender, Job};
use crate::{bare, hosted, usage};

/// After this a run has failed.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// Whatever ends a run; it is only ever shown.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a run is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Task {
    /// Who.
    pub contender: Contender,
    /// What.
    pub job: Job,
    /// The brokers.
    #[arg(long)]
    pub servers: String,
    /// The topic to read to its end.
    #[arg(long)]
    pub topic: String,
    /// The topic for outputs.
    #[arg(long)]
    pub output: String,
    /// A consumer group that has committed nothing.
    #[arg(long)]
    pub group: String,
    /// Records in the topic.
    #[arg(long)]
    pub events: u64,
    /// The component of the handler.
    #[arg(long)]
    pub module: std::path::PathBuf,
}

impl Task {
    /// The command line that says the same.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["worker".into(), name(self.contender).into(), name(self.job).into()];
        for (option, value) in [
            ("--servers", &self.servers),
            ("--topic", &self.topic),
            ("--output", &self.output),
            ("--group", &self.group),
            ("--events", &self.events.to_string()),
        ] {
            arguments.extend([option.into(), value.into()]);
        }
        arguments.extend(["--module".into(), self.module.clone().into()]);
        arguments
    }
}

/// What a run has measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// From the first record read until everything was acknowledged and committed and the group left.
    pub seconds: f64,
    /// CPU time of all threads in that time.
    pub cpu_seconds: f64,
    /// CPU time before that: start, compiling the handler, joining the group.
    pub start_cpu_seconds: f64,
    /// The most memory that was resident.
    pub peak_kib: u64,
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Runs the task and prints what was measured as one line of JSON.
///
/// # Errors
/// Anything that makes the run void.
pub fn run(task: &Task) -> Result<(), Failure> {
    let measured = match task.contender {
        Contender::Poll | Contender::Bare => bare::run(task)?,
        Contender::Native | Contender::Handler => hosted::run(task)?,
    };
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// A measurement under way, from the first record on.
pub struct Stopwatch {
    began: Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// The first record is there.
    ///
    /// # Errors
    /// If the system does not tell the CPU time.
    pub fn start() -> Result<Stopwatch, Failure> {
        Ok(Stopwatch { began: Instant::now(), cpu: usage::cpu_time()? })
    }

    /// All is done.
    ///
    /// # Errors
    /// If the system does not tell CPU time or memory.
    pub fn stop(self) -> Result<Measured, Failure> {
        Ok(Measured {
            seconds: self.began.elapsed().as_secs_f64(),
            cpu_seconds: (usage::cpu_time()? - self.cpu).as_secs_f64(),
            start_cpu_seconds: self.cpu.as_secs_f64(),
            peak_kib: usage::memory_kib("self", "VmHWM")?,
        })
    }
}
