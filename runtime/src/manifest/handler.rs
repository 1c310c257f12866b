//! A handler, checked: its module and how that is compiled, its instances, the budgets of a
//! call, and when calls are held.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::capabilities::{Allow, Config};

/// A handler: a module and what it may use.
#[derive(Clone, Debug, PartialEq)]
pub struct Handler {
    /// Its name in the manifest.
    pub name: Arc<str>,
    /// The component, absolute or relative to the process's working folder.
    pub module: PathBuf,
    /// The module's expected SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// Whether instances are used again.
    pub instance: Instance,
    /// Calls under way per worker, at least 1.
    pub concurrency: usize,
    /// Instances per worker that are ready before the first call; 0 for fresh ones.
    pub warm_up: usize,
    /// The budgets of one call.
    pub limits: Limits,
    /// What it may reach.
    pub allow: Allow,
    /// What `wasi:config` answers: `config` and `secrets` together; `None`: not granted.
    pub config: Option<Config>,
    /// Its environment variables.
    pub env: Config,
    /// When its calls are held because they fail; `None`: never.
    pub circuit: Option<Circuit>,
}

/// When a handler's calls are held because they fail. Each worker has a circuit
/// of its own for each handler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circuit {
    /// Failed attempts in a row that open it, at least 1.
    pub consecutive_failures: u32,
    /// How long these must have lasted, from the first of them.
    pub failing_for: Duration,
    /// Share of failed attempts within the window, above 0 and at most 1, that opens it.
    pub failure_ratio: f64,
    /// How far back the share looks.
    pub window: Duration,
    /// Attempts within the window below which their share says nothing, at least 1.
    pub minimum_attempts: u32,
    /// How long it is open before a trial call.
    pub open_for: Duration,
    /// The bound on that time, which doubles with each probe that fails. Not below `open_for`.
    pub max_open_for: Duration,
}

/// Whether an instance serves more than one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    /// Instances are used again; state in the guest's memory may be seen by later events.
    Warm,
    /// Each call has an instance of its own.
    Fresh,
}

/// The budgets of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory and tables together, in bytes, per instance.
    pub memory: usize,
    /// CPU time of one call.
    pub cpu_time: Duration,
    /// Wall time of one call.
    pub timeout: Duration,
    /// Bytes of the event and its delivery.
    pub input: usize,
    /// Bytes of all outputs together.
    pub output: usize,
    /// Number of outputs.
    pub outputs: usize,
    /// HTTP requests.
    pub http_requests: usize,
    /// Bytes of all requests together: header fields and bodies.
    pub http_request_bytes: usize,
    /// Bytes of all responses together: header fields and bodies.
    pub http_response_bytes: usize,
}

/// How modules are compiled. The bounds are those of the process that compiles one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compile {
    /// Where compiled modules are kept.
    pub cache: CacheFolder,
    /// Bytes that they may take together.
    pub cache_size: u64,
    /// Whether a module that is not compiled is refused.
    pub compiled_only: bool,
    /// Bytes that a module may have.
    pub module_size: u64,
    /// Wall time of compiling one module.
    pub timeout: Duration,
    /// Processor time of compiling one module.
    pub cpu_time: Duration,
    /// Bytes of memory for compiling one module.
    pub memory: u64,
}

/// Where compiled modules are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CacheFolder {
    /// Where the environment says.
    #[default]
    Default,
    /// Here.
    At(PathBuf),
    /// Nowhere.
    None,
}

impl Default for Compile {
    /// What holds where the manifest says nothing. The largest guests known, Python with
    /// 18 MB, take 14 s and 312 MiB.
    fn default() -> Compile {
        Compile {
            cache: CacheFolder::Default,
            cache_size: 512 << 20,
            compiled_only: false,
            module_size: 64 << 20,
            timeout: Duration::from_secs(300),
            cpu_time: Duration::from_secs(60),
            memory: 1 << 30,
        }
    }
}
