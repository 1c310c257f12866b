//! Two small measures of the real binary: how long it takes to be ready, and
//! what it holds while nothing happens.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use outrigger_tests::Kafka;

use crate::job::{Contender, Job};
use crate::worker::{Failure, Task};
use crate::{hosted, usage};

/// How often each is measured.
const TIMES: usize = 5;

/// Without events, before the memory is looked at.
const IDLE: Duration = Duration::from_secs(5);

const DEADLINE: Duration = Duration::from_secs(60);

/// A sidecar that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already cannot be killed.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Starts `outrigger run` on an empty topic a few times.
///
/// # Errors
/// If the binary cannot be built or does not become ready.
pub fn measure(kafka: &Kafka, handler: &Path) -> Result<String, Failure> {
    let binary = binary()?;
    let topic = "bench.idle".to_owned();
    kafka.create_topic(&topic, 6);
    let folder = tempfile::tempdir()?;
    let (mut ready, mut idle) = (Vec::new(), Vec::new());
    // The first start compiles the handler, the others find it in the cache.
    for _ in 0..=TIMES {
        let probes = free_address()?;
        let task = Task {
            contender: Contender::Handler,
            job: Job::Transform,
            servers: kafka.address().to_owned(),
            topic: topic.clone(),
            output: "bench.idle.output".to_owned(),
            group: Kafka::unique("idle"),
            events: 0,
            module: handler.to_owned(),
        };
        let manifest = folder.path().join("outrigger.yaml");
        std::fs::write(&manifest, format!("{}probes: {{ listen: \"{probes}\" }}\n", hosted::manifest_text(&task)))?;
        let began = Instant::now();
        let mut run = Command::new(&binary);
        run.env("OUTRIGGER_CACHE", folder.path().join("cache"));
        run.arg("run").arg(&manifest).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Running(run.spawn()?);
        while !is_ready(&probes) {
            if let Some(status) = running.0.try_wait()? {
                return Err(format!("outrigger run ended with {status}").into());
            }
            if began.elapsed() > DEADLINE {
                return Err("outrigger run is not ready".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        ready.push(began.elapsed());
        std::thread::sleep(IDLE);
        idle.push(usage::memory_kib(&running.0.id().to_string(), "VmRSS")?);
    }
    let (first_ready, first_idle) = (ready.remove(0), idle.remove(0));
    ready.sort_unstable();
    idle.sort_unstable();
    let mib = |kib: u64| kib as f64 / 1024.0;
    Ok(format!(
        "\noutrigger run, one Rust handler, 6 partitions assigned, {TIMES} starts, min / **median** / max\n\n\
         | | the first, which compiles it | the handler in the cache |\n|---|---|---|\n\
         | from the process's start to /readyz 200, ms | {} | {} / **{}** / {} |\n\
         | resident after 5 s without events, MiB | {:.1} | {:.1} / **{:.1}** / {:.1} |\n",
        first_ready.as_millis(),
        ready[0].as_millis(),
        ready[TIMES / 2].as_millis(),
        ready[TIMES - 1].as_millis(),
        mib(first_idle),
        mib(idle[0]),
        mib(idle[TIMES / 2]),
        mib(idle[TIMES - 1]),
    ))
}

fn is_ready(probes: &str) -> bool {
    ureq::get(format!("http://{probes}/readyz")).call().is_ok()
}

fn free_address() -> std::io::Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// The `outrigger` binary that belongs to this one: `OUTRIGGER_BIN`, or built beside it.
fn binary() -> Result<PathBuf, Failure> {
    if let Some(given) = std::env::var_os("OUTRIGGER_BIN") {
        return Ok(given.into());
    }
    // Both packages, so that both are built with the same features of everything they share.
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--release", "--package", "outrigger", "--package", "outrigger-bench", "--bins"]);
    let status = build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).status()?;
    if !status.success() {
        return Err("the outrigger binary cannot be built".into());
    }
    Ok(std::env::current_exe()?.with_file_name("outrigger"))
}
