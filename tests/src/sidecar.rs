//! The `outrigger` binary as a test runs it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::guests::{outrigger, target_folder};
use crate::kafka::Kafka;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::process::{Process, free_port};
use crate::wait::eventually;

/// How long anything that the sidecar is to do may take, where a test does not say.
const PATIENCE: Duration = Duration::from_secs(90);

/// How to start a sidecar; each [`Sidecar::start`] starts another one.
#[derive(Clone, Debug)]
pub struct Sidecar {
    manifest: String,
    bootstrap: String,
    options: Vec<PathBuf>,
    environment: Vec<(String, PathBuf)>,
    /// Where its log goes instead of to this process.
    output: Option<PathBuf>,
    /// It may do what any user may, also where root runs the tests.
    ordinary: bool,
    /// Where it sees a disk that is all but full.
    full_disk: Option<PathBuf>,
}

impl Sidecar {
    /// A sidecar with this manifest. Where the manifest says
    /// `${KAFKA_BOOTSTRAP_SERVERS}` or `${PROBES}`, the environment has the
    /// addresses; without a `probes` section one is added.
    pub fn with(manifest: impl Into<String>) -> Sidecar {
        let mut manifest = manifest.into();
        if !manifest.contains("\nprobes:") {
            manifest.push_str("\nprobes: { listen: \"${PROBES}\" }\n");
        }
        // All tests share what was compiled, as the sidecars of one machine may.
        let environment = vec![("OUTRIGGER_CACHE".to_owned(), target_folder().join("compiled-for-tests"))];
        let bootstrap = "127.0.0.1:1".to_owned();
        let options = Vec::new();
        Sidecar { manifest, bootstrap, options, environment, output: None, ordinary: false, full_disk: None }
    }

    /// Gives it a cache of compiled modules of its own.
    pub fn cache(self, folder: impl AsRef<Path>) -> Sidecar {
        self.env("OUTRIGGER_CACHE", folder.as_ref())
    }

    /// Adds an option to its command line.
    pub fn option(mut self, option: &str) -> Sidecar {
        self.options.push(option.into());
        self
    }

    /// Connects it to this Kafka.
    pub fn on(self, kafka: &Kafka) -> Sidecar {
        self.at(kafka.address())
    }

    /// Connects it to these bootstrap servers, where nothing may be listening yet.
    pub fn at(mut self, bootstrap_servers: &str) -> Sidecar {
        self.bootstrap = bootstrap_servers.to_owned();
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: &Path) -> Sidecar {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has it write its log to this file or device, where no test can read it.
    pub fn logging_to(mut self, file: impl Into<PathBuf>) -> Sidecar {
        self.output = Some(file.into());
        self
    }

    /// Denies it files whose mode denies them, also where root runs the tests.
    pub fn ordinary(mut self) -> Sidecar {
        self.ordinary = true;
        self
    }

    /// Has it see a file system in the place of this folder that has room for 64 KiB, and
    /// that nobody else sees: look at it with [`Running::sees`]. The system must allow user
    /// namespaces.
    pub fn full_disk(mut self, folder: &Path) -> Sidecar {
        self.full_disk = Some(folder.to_owned());
        self
    }

    /// Starts it.
    pub fn start(&self) -> Running {
        let folder = tempfile::Builder::new().prefix("outrigger-").tempdir().expect("a folder for the sidecar");
        let manifest = folder.path().join("outrigger.yaml");
        fs::write(&manifest, &self.manifest).expect("the manifest");
        self.start_with(&[&["run".into(), manifest], &self.options[..]].concat(), folder)
    }

    /// Starts `outrigger compile` on its manifest.
    pub fn compile(&self) -> Running {
        let folder = tempfile::Builder::new().prefix("outrigger-").tempdir().expect("a folder for the sidecar");
        let manifest = folder.path().join("outrigger.yaml");
        fs::write(&manifest, &self.manifest).expect("the manifest");
        self.start_with(&[&["compile".into(), manifest], &self.options[..]].concat(), folder)
    }

    /// Starts the binary with these arguments and nothing else.
    pub fn start_command(&self, arguments: &[&str]) -> Running {
        let folder = tempfile::Builder::new().prefix("outrigger-").tempdir().expect("a folder for the sidecar");
        self.start_with(&arguments.iter().map(PathBuf::from).collect::<Vec<_>>(), folder)
    }

    fn start_with(&self, arguments: &[PathBuf], folder: TempDir) -> Running {
        let probes = format!("127.0.0.1:{}", free_port());
        let mut command = self.full_disk.as_deref().map_or_else(|| Command::new(outrigger()), on_full_disk);
        command.args(arguments).current_dir(folder.path());
        command.env("KAFKA_BOOTSTRAP_SERVERS", &self.bootstrap).env("PROBES", &probes);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let open = |file: &PathBuf| File::options().append(true).open(file).expect("where the log goes");
        let output = || self.output.as_ref().map_or_else(Stdio::piped, |file| open(file).into());
        command.stdin(Stdio::null()).stdout(output()).stderr(output());
        if self.ordinary {
            Process::deny_override(&mut command);
        }
        let started = Instant::now();
        let mut process = Process::start(command).expect("the outrigger binary");
        let log = Arc::new(Log::default());
        let (out, err) = (process.child().stdout.take(), process.child().stderr.take());
        out.into_iter().for_each(|pipe| log.take_in(pipe));
        err.into_iter().for_each(|pipe| log.take_in(pipe));
        Running { process, log, probes, started, _folder: folder }
    }
}

/// The binary, in namespaces of its own where a small file system stands at this folder.
/// It has the id of the process that is started here: every program takes the place of the
/// one before.
fn on_full_disk(folder: &Path) -> Command {
    const SCRIPT: &str = r#"mount -t tmpfs -o size=64k,mode=700 none "$1" && shift && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh"]).arg(folder).arg(outrigger());
    command
}

/// A sidecar that was started; it is killed when this is dropped. Its log is
/// printed when a test fails.
pub struct Running {
    process: Process,
    log: Arc<Log>,
    probes: String,
    started: Instant,
    _folder: TempDir,
}

impl Running {
    /// `GET` on the probes' address: the status and the body; `Err` where nothing answers.
    pub fn get(&self, path: &str) -> Result<(u16, String), String> {
        let request = ureq::get(format!("http://{}{path}", self.probes)).config();
        let request = request.timeout_global(Some(Duration::from_secs(5))).http_status_as_error(false).build();
        let mut response = request.call().map_err(|e| e.to_string())?;
        let body = response.body_mut().read_to_string().map_err(|e| e.to_string())?;
        Ok((response.status().as_u16(), body))
    }

    /// Waits until `/readyz` says yes; returns how long after the start that was.
    #[track_caller]
    pub fn wait_ready(&mut self) -> Duration {
        self.wait_for("/readyz answers 200", PATIENCE, |sidecar| match sidecar.get("/readyz")? {
            (200, _) => Ok(()),
            (status, body) => Err(format!("{status} {body}")),
        });
        self.started.elapsed()
    }

    /// Waits until `/readyz` says no with a body that contains `text`.
    #[track_caller]
    pub fn wait_not_ready(&mut self, text: &str) -> String {
        self.wait_for("/readyz says what is wrong", PATIENCE, |sidecar| match sidecar.get("/readyz")? {
            (503, body) if body.contains(text) => Ok(body),
            (status, body) => Err(format!("{status} {body}")),
        })
    }

    /// Waits until each of so many partitions of a topic has a lag of 0.
    #[track_caller]
    pub fn wait_caught_up(&mut self, topic: &str, partitions: usize) {
        self.wait_for("the lag of every partition is 0", PATIENCE, |sidecar| {
            let lag = sidecar.metrics()?.values("outrigger_consumer_lag_records", &[("topic", topic)]);
            if lag.len() == partitions && lag.iter().all(|&lag| lag == 0.0) { Ok(()) } else { Err(format!("{lag:?}")) }
        });
    }

    /// Waits until the samples of a metric that have these labels add up to a value.
    #[track_caller]
    pub fn wait_metric(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name}{labels:?} is {value}");
        self.wait_for(&what, PATIENCE, |sidecar| match sidecar.metrics()?.sum(name, labels) {
            now if now == value => Ok(()),
            now => Err(format!("{now}")),
        });
    }

    /// Waits until so many events are handled: a sidecar that is in the middle of it.
    #[track_caller]
    pub fn wait_handled(&mut self, at_least: u32) {
        self.wait_for("events are handled", PATIENCE, |sidecar| {
            match sidecar.metrics()?.sum("outrigger_events_total", &[("outcome", "handled")]) {
                handled if handled >= f64::from(at_least) => Ok(()),
                handled => Err(format!("{handled} handled")),
            }
        });
    }

    /// Waits for a condition; a sidecar that ends fails it at once.
    #[track_caller]
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut check: impl FnMut(&Running) -> Result<T, String>,
    ) -> T {
        let done = eventually(what, deadline, || match self.process.ended() {
            Some(status) => Ok(Err(status)),
            None => check(self).map(Ok),
        });
        done.unwrap_or_else(|status| panic!("the sidecar ended with {status}, waiting for: {what}"))
    }

    /// What `/metrics` says now.
    pub fn metrics(&self) -> Result<Metrics, String> {
        match self.get("/metrics")? {
            (200, text) => Ok(Metrics::parse(&text)),
            (status, body) => Err(format!("/metrics: {status} {body}")),
        }
    }

    /// Waits for a log line that contains `text`, from the first line on.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str) -> String {
        self.log.wait_for(text, PATIENCE)
    }

    /// The log lines so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Sends SIGTERM.
    pub fn signal_to_end(&self) {
        self.process.signal(libc::SIGTERM);
    }

    /// Sends SIGHUP.
    pub fn signal_to_reload(&self) {
        self.process.signal(libc::SIGHUP);
    }

    /// Freezes it, as a machine that hangs.
    pub fn freeze(&self) {
        self.process.signal(libc::SIGSTOP);
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.process.signal(libc::SIGCONT);
    }

    /// Limits how many files and sockets it may have open, as `prlimit --nofile` does.
    #[cfg(target_os = "linux")]
    pub fn limit_files(&self, files: u64) {
        self.process.limit_files(files);
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The files of a folder as it sees them, which may have mounts of its own.
    #[cfg(target_os = "linux")]
    pub fn sees(&self, folder: &Path) -> Vec<PathBuf> {
        let seen = format!("/proc/{}/root{}", self.process.id(), folder.display());
        let entries = fs::read_dir(&seen).unwrap_or_else(|e| panic!("{seen}: {e}"));
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    /// How much of its memory is resident, in KiB.
    #[cfg(target_os = "linux")]
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the process's status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
        kib.unwrap_or_else(|| panic!("no resident memory in:\n{status}"))
    }

    /// How many lines of its log so far contain `text`.
    pub fn said(&self, text: &str) -> usize {
        self.log.count(text)
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub fn terminate(self) -> Exit {
        self.signal_to_end();
        self.wait_end()
    }

    /// Kills it with SIGKILL, as a node that goes away.
    #[track_caller]
    pub fn kill(self) -> Exit {
        self.process.signal(libc::SIGKILL);
        self.wait_end()
    }

    /// Waits until it has ended; the time counts from here.
    #[track_caller]
    pub fn wait_end(mut self) -> Exit {
        let since = Instant::now();
        let status = self.process.wait("the sidecar ends", PATIENCE);
        let took = since.elapsed();
        // What it wrote last may still be in the pipes.
        self.log.wait_closed();
        Exit { status, took, log: self.log() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.log();
            let shown = lines.len().saturating_sub(200);
            eprintln!("--- the sidecar's log, {shown} lines left out\n{}\n---", lines[shown..].join("\n"));
        }
    }
}

/// How a sidecar ended.
#[derive(Clone, Debug)]
pub struct Exit {
    /// The exit status.
    pub status: ExitStatus,
    /// From the signal, or from the call that waited, to the end.
    pub took: Duration,
    /// Everything it wrote.
    pub log: Vec<String>,
}

impl Exit {
    /// Fails the test unless the exit code is `code`.
    #[track_caller]
    pub fn must_be(&self, code: i32) -> &Exit {
        assert_eq!(self.status.code(), Some(code), "the sidecar ended with {}:\n{}", self.status, self.log.join("\n"));
        self
    }

    /// Fails the test unless the exit code is 0.
    #[track_caller]
    pub fn must_succeed(&self) -> &Exit {
        self.must_be(0)
    }

    /// How many lines contain `text`.
    pub fn said(&self, text: &str) -> usize {
        self.log.iter().filter(|line| line.contains(text)).count()
    }

    /// Fails the test unless a line contains `text`; returns the line.
    #[track_caller]
    pub fn must_say(&self, text: &str) -> &str {
        let found = self.log.iter().find(|line| line.contains(text));
        found.unwrap_or_else(|| panic!("it did not say `{text}`:\n{}", self.log.join("\n")))
    }
}
