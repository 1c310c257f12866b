//! Compiling in a child process: what the child does. `outrigger compile-module`, which
//! no person calls: a module from stdin, its compiled form to stdout.

use std::io::{self, Read, Write};
use std::time::Duration;

use rustix::process::{Resource, Rlimit};

use super::child::Bounds;
use super::key::fingerprint;
use super::precompile::precompile;
use crate::digest::hex;
use crate::invoke::EngineError;

/// Exit code: the module is not valid, and stderr says why.
pub const INVALID: i32 = 3;
/// Exit code: the memory did not suffice.
pub const OUT_OF_MEMORY: i32 = 4;
/// Exit code: anything else, and stderr says what.
const FAILED: i32 = 5;

/// The length of what stands before the artefact.
pub const HEAD: usize = 24;
const MAGIC: [u8; 8] = *b"OUTRGOUT";

/// What stands before the artefact, so that one that was cut off is not taken for whole.
pub struct Head {
    /// Bytes of memory at the peak, where the system tells.
    pub peak: Option<u64>,
    /// Bytes of the artefact.
    pub length: u64,
}

impl Head {
    /// As bytes.
    fn write(&self) -> Vec<u8> {
        [MAGIC, self.peak.unwrap_or(0).to_le_bytes(), self.length.to_le_bytes()].concat()
    }

    /// From bytes; `None`: they are none.
    pub fn read(bytes: &[u8]) -> Option<Head> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (peak, rest) = rest.split_first_chunk()?;
        let (length, []) = rest.split_first_chunk()? else { return None };
        let peak = Some(u64::from_le_bytes(*peak)).filter(|&peak| peak > 0);
        (*magic == MAGIC).then(|| Head { peak, length: u64::from_le_bytes(*length) })
    }
}

/// Arguments of `outrigger compile-module`.
#[derive(Clone, Debug, clap::Args)]
pub struct Task {
    /// Bytes of memory that it may ask for.
    #[arg(long)]
    memory: u64,
    /// Seconds of processor time.
    #[arg(long)]
    cpu_seconds: u64,
    /// The fingerprint of the engine that the parent has.
    #[arg(long)]
    engine: String,
}

/// The command line of a child.
pub fn arguments(bounds: &Bounds, engine: &str) -> [String; 4] {
    let seconds = bounds.cpu_time.saturating_add(Duration::from_nanos(999_999_999)).as_secs().max(1);
    [
        "compile-module".to_owned(),
        format!("--memory={}", bounds.memory),
        format!("--cpu-seconds={seconds}"),
        format!("--engine={engine}"),
    ]
}

/// Compiles. Answers the exit code.
pub fn run(task: &Task) -> i32 {
    // One line, and not a hint about backtraces as the last one.
    std::panic::set_hook(Box::new(|panic| eprintln!("{}", panic.to_string().replace('\n', " "))));
    match try_to(task) {
        Ok(()) => 0,
        Err(Failed { code, message }) => {
            eprintln!("{message}");
            code
        }
    }
}

struct Failed {
    code: i32,
    message: String,
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        let code = if error.kind() == io::ErrorKind::OutOfMemory { OUT_OF_MEMORY } else { FAILED };
        Failed { code, message: error.to_string() }
    }
}

fn try_to(task: &Task) -> Result<(), Failed> {
    end_with_the_parent()?;
    // Memory that is asked for, not what is resident: the refusal comes as an error, before
    // the kernel looks for something to kill.
    bound(Resource::Data, task.memory, task.memory)?;
    // The lower bound is a signal of its own, the upper one SIGKILL, which looks like memory.
    bound(Resource::Cpu, task.cpu_seconds, task.cpu_seconds.saturating_add(2))?;
    bound(Resource::Core, 0, 0)?;
    stand_back();

    let mut module = Vec::new();
    io::stdin().lock().read_to_end(&mut module)?;
    let engine = crate::invoke::engine_that_compiles();
    let engine = engine.map_err(|error| match &error {
        EngineError::Configuration(cause) if is_memory(cause) => {
            Failed { code: OUT_OF_MEMORY, message: error.to_string() }
        }
        _ => Failed { code: FAILED, message: error.to_string() },
    })?;
    if hex(&fingerprint(&engine)) != task.engine {
        let message = "it is another build of Outrigger than its parent";
        return Err(Failed { code: FAILED, message: message.to_owned() });
    }
    let artefact = precompile(&engine, &module).map_err(|error| match is_memory(&error) {
        true => Failed { code: OUT_OF_MEMORY, message: format!("{error:#}") },
        false => Failed { code: INVALID, message: format!("{error:#}") },
    })?;
    let head = Head { peak: peak(), length: artefact.len() as u64 };
    let mut out = io::stdout().lock();
    out.write_all(&head.write())?;
    out.write_all(&artefact)?;
    Ok(out.flush()?)
}

/// Sets both bounds of a resource, not above those that this process was given.
fn bound(resource: Resource, lower: u64, upper: u64) -> io::Result<()> {
    let given = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let rlimit = Rlimit { current: Some(lower.min(given)), maximum: Some(upper.min(given)) };
    Ok(rustix::process::setrlimit(resource, rlimit)?)
}

/// A parent that is killed takes the child with it.
fn end_with_the_parent() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}

/// How far the child stands back for the processor: beside a busy thread it gets a quarter
/// of a core. At 19 that is one part in seventy, and a reload of a small module, which
/// takes a tenth of a second of processor time, would wait for seven under full load.
const NICE: i32 = 5;

/// Behind the others for the processor, and the first that the kernel kills for memory: the
/// sidecar and its service go on. Where the system refuses, compiling is still right.
fn stand_back() {
    // One that was started lower stays there.
    let given = rustix::process::getpriority_process(None).unwrap_or(0);
    _ = rustix::process::setpriority_process(None, given.max(NICE));
    _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}

/// Whether memory is what was missing.
pub fn is_memory(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::OutOfMemory)
            || cause.to_string().contains("Cannot allocate memory")
    })
}

/// Bytes resident at the peak of this process.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_read_back_and_nothing_else_is() {
        let bytes = Head { peak: Some(7), length: 9 }.write();
        assert_eq!(bytes.len(), HEAD);
        let head = Head::read(&bytes).unwrap();
        assert_eq!((head.peak, head.length), (Some(7), 9));
        assert_eq!(Head::read(&Head { peak: None, length: 9 }.write()).unwrap().peak, None);
        assert!(Head::read(&bytes[1..]).is_none());
        assert!(Head::read(&[0; HEAD]).is_none());
        assert!(Head::read(&[&bytes[..], b"x"].concat()).is_none());
    }

    #[test]
    fn processor_time_is_rounded_up() {
        let seconds = |millis| {
            let bounds = Bounds { timeout: Duration::MAX, cpu_time: Duration::from_millis(millis), memory: 1 };
            arguments(&bounds, "")[2].clone()
        };
        assert_eq!(seconds(1), "--cpu-seconds=1");
        assert_eq!(seconds(1000), "--cpu-seconds=1");
        assert_eq!(seconds(1001), "--cpu-seconds=2");
    }
}
