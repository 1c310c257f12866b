//! A sidecar whose manifest and module lie in a folder that a test changes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outrigger_tests::{Event, Job, Kafka, PATIENCE, Running, Sidecar, guest};
use tempfile::TempDir;

pub struct Stage<'k> {
    pub kafka: &'k Kafka,
    pub job: Job<'k>,
    pub sidecar: Running,
    pub manifest: String,
    folder: TempDir,
    produced: u32,
}

impl<'k> Stage<'k> {
    /// Starts one with the ledger as its handler.
    pub fn start(kafka: &'k Kafka, name: &str, partitions: i32) -> Stage<'k> {
        let folder = tempfile::tempdir().unwrap();
        let job = Job::new_on(kafka, name, partitions).rest("probes: { listen: \"${PROBES}\" }");
        let manifest = job.manifest().replace(&guest("guest-ledger").display().to_string(), "module.wasm");
        fs::write(folder.path().join("outrigger.yaml"), &manifest).unwrap();
        fs::write(folder.path().join("module.wasm"), super::modules::good()).unwrap();
        // Made before, so that nothing but the test changes the folder that is watched.
        fs::create_dir(folder.path().join("cache")).unwrap();
        let mut sidecar = run(kafka, folder.path());
        sidecar.wait_ready();
        Stage { kafka, job, sidecar, manifest, folder, produced: 0 }
    }

    /// Starts another sidecar with what is there now, and ends the one before.
    pub fn start_again(&mut self) {
        let next = run(self.kafka, self.folder.path());
        std::mem::replace(&mut self.sidecar, next).terminate().must_succeed();
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Replaces a file whole, as editors and deployments do.
    pub fn save(&self, file: &str, bytes: impl AsRef<[u8]>) {
        let written = self.path(".new");
        fs::write(&written, bytes).unwrap();
        fs::rename(written, self.path(file)).unwrap();
    }

    /// Denies everybody a file.
    pub fn deny(&self, file: &str) {
        fs::set_permissions(self.path(file), fs::Permissions::from_mode(0o000)).unwrap();
    }

    /// Produces so many events, over 97 keys.
    pub fn produce(&mut self, count: u32) {
        let from = self.produced;
        self.produced += count;
        let event = |n: u32| Event::new(format!("e{n}")).key(format!("k{}", n % 97)).record();
        self.kafka.produce(&self.job.topic, (from..from + count).map(event));
    }

    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sidecar.metrics().unwrap().sum(name, labels)
    }

    pub fn generation(&self) -> u64 {
        self.metric("outrigger_generation", &[]) as u64
    }

    pub fn handled(&self) -> f64 {
        self.metric("outrigger_events_total", &[("outcome", "handled")])
    }

    pub fn wait_generation(&mut self, at_least: u64) {
        self.sidecar.wait_for("a generation", Duration::from_secs(60), |sidecar| {
            let now = sidecar.metrics()?.sum("outrigger_generation", &[]) as u64;
            if now >= at_least { Ok(()) } else { Err(format!("generation {now}, not {at_least}")) }
        });
    }

    /// Waits until everything is handled and committed, and has it judged: nothing is
    /// lost or out of order. Returns the sum of failed attempts.
    pub fn finish(mut self) -> f64 {
        let job = &self.job;
        self.sidecar.wait_for("all is committed", PATIENCE * 4, |_| job.committed_all());
        let failures = self.metric("outrigger_failures_total", &[]);
        self.sidecar.terminate().must_succeed();
        self.job.ledger().must_balance();
        failures
    }
}

fn run(kafka: &Kafka, folder: &Path) -> Running {
    let sidecar = Sidecar::with("").on(kafka).cache(folder.join("cache")).ordinary();
    sidecar.start_command(&["run", folder.join("outrigger.yaml").to_str().unwrap()])
}

/// Ends what another thread produces, also of a run that fails.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
