//! One Kafka broker in KRaft mode: started in a temporary folder on free
//! loopback ports, killed when it is dropped.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::install::{Install, workspace};
use crate::process::{Process, free_port};
use crate::wait::eventually;

/// Set by the first panic of any thread: then the broker's log is kept.
static A_TEST_FAILED: AtomicBool = AtomicBool::new(false);

/// How a broker is to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// Where clients connect.
    pub(crate) port: u16,
    /// A second way in: the port where the broker listens, and the one that it
    /// tells clients, where a proxy must stand.
    pub(crate) proxied: Option<(u16, u16)>,
    /// Flags of its JVM beside the usual ones.
    pub(crate) jvm: &'static [&'static str],
    /// Further settings.
    pub(crate) settings: Vec<(String, String)>,
    /// Its place in a cluster; `None` for a broker that is alone.
    pub(crate) member: Option<Member>,
}

/// One of the brokers of a cluster, each of which is a controller as well.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// From 1.
    pub(crate) node: u32,
    /// Where the controllers listen, that of node 1 first.
    pub(crate) controllers: Vec<u16>,
}

/// A broker, and its data for as long as this lives.
pub(crate) struct Broker {
    process: Option<Process>,
    port: u16,
    jvm: &'static [&'static str],
    log: PathBuf,
    // Removed after the process has ended: fields drop in their order.
    folder: TempDir,
}

impl Broker {
    /// Starts a broker and waits until it accepts connections.
    pub(crate) fn start(setup: &Setup) -> Broker {
        let install = Install::get();
        Broker::start_with(install, setup, &shared_classes(install))
    }

    fn start_with(install: &Install, setup: &Setup, flag: &str) -> Broker {
        note_panics();
        let folder = tempfile::Builder::new().prefix("outrigger-kafka-").tempdir().expect("a folder for the broker");
        let data = folder.path().join("data");
        copy_flat(&install.formatted(), &data);
        if let Some(member) = &setup.member {
            belong_to(member, &data);
        }
        fs::write(folder.path().join(SETTINGS), properties(setup, &data)).expect("the broker's properties");
        let mut broker = Broker { process: None, port: setup.port, jvm: setup.jvm, log: log_file(), folder };
        broker.launch(install, flag);
        broker
    }

    /// Starts it again on its data after [`Broker::stop`] or [`Broker::crash`].
    pub(crate) fn start_again(&mut self) {
        let install = Install::get();
        self.launch(install, &shared_classes(install));
    }

    /// Adds settings, which count from the next start on, before those it has.
    pub(crate) fn configure(&mut self, settings: &[(&str, &str)]) {
        let file = self.folder.path().join(SETTINGS);
        let mut properties = fs::read_to_string(&file).expect("the broker's properties");
        for (name, value) in settings {
            // Of two lines with one name Java takes the last.
            let _ = writeln!(properties, "{name}={value}");
        }
        fs::write(file, properties).expect("the broker's properties");
    }

    fn launch(&mut self, install: &Install, flag: &str) {
        let out = File::options().create(true).append(true).open(&self.log).expect("the broker's log");
        let flags: Vec<String> = self.jvm.iter().copied().chain([flag]).map(str::to_owned).collect();
        let mut command = install.java("kafka.Kafka", &flags);
        command.arg(self.folder.path().join(SETTINGS));
        command.stderr(out.try_clone().expect("a second handle")).stdout(out);
        self.process = Some(Process::start(command).unwrap_or_else(|e| {
            panic!("cannot run `java`: {e}. The tests on Kafka need it: install the package `openjdk-17-jre-headless`")
        }));
        self.wait_listening();
    }

    fn wait_listening(&mut self) {
        eventually("Kafka accepts connections", Duration::from_secs(90), || {
            if let Some(status) = self.process.as_mut().and_then(Process::ended) {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                panic!("Kafka ended with {status} before it was ready:\n{log}");
            }
            TcpStream::connect(("127.0.0.1", self.port)).map(drop).map_err(|e| e.to_string())
        });
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends its process a signal, such as SIGSTOP.
    pub(crate) fn signal(&self, signal: libc::c_int) {
        self.process.iter().for_each(|process| process.signal(signal));
    }

    /// Ends it in order and waits until it has; its data stay.
    pub(crate) fn stop(&mut self) {
        self.signal(libc::SIGTERM);
        if let Some(mut process) = self.process.take() {
            process.wait("the broker ends", Duration::from_secs(60));
        }
    }

    /// Where the log of a partition lies.
    pub(crate) fn log_of(&self, topic: &str, partition: i32) -> PathBuf {
        self.folder.path().join("data").join(format!("{topic}-{partition}"))
    }

    /// Kills it as a machine that loses power would; its data stay as they are.
    pub(crate) fn crash(&mut self) {
        self.process = None;
    }
}

/// The name of the file with the broker's properties, in its folder.
const SETTINGS: &str = "server.properties";

/// The flag with which a JVM takes the classes from the archive.
fn shared_classes(install: &Install) -> String {
    format!("-XX:SharedArchiveFile={}", install.class_archive().display())
}

/// Runs a broker for a moment so that its JVM, when it ends, archives the classes it loaded.
pub(crate) fn run_once_to_archive_classes(install: &Install) {
    // Written beside its name and moved, so that a crash leaves no half of it.
    let unfinished = install.class_archive().with_extension("unfinished");
    let _ = fs::remove_file(&unfinished);
    let flag = format!("-XX:ArchiveClassesAtExit={}", unfinished.display());
    let setup = Setup { port: free_port(), ..Setup::default() };
    Broker::start_with(install, &setup, &flag).stop();
    let _ = fs::rename(&unfinished, install.class_archive());
}

/// The broker's configuration.
///
/// Topics are not created by their mere use, so that a missing one is an error
/// that a test can see. The log cleaner looks for work all the time and with
/// little memory, so that a test can wait for compaction.
///
/// A broker behind a proxy has a second listener, which tells the proxy's port
/// to its clients: they never see the broker's own.
pub(crate) fn properties(setup: &Setup, data: &Path) -> String {
    let (port, data) = (setup.port, data.display());
    let member = setup.member.clone().unwrap_or_else(|| Member { node: 1, controllers: vec![free_port()] });
    let (node, controllers) = (member.node, member.controllers);
    let controller_port = controllers[node as usize - 1];
    let voters: Vec<String> =
        controllers.iter().zip(1..).map(|(port, node)| format!("{node}@127.0.0.1:{port}")).collect();
    let (voters, copies) = (voters.join(","), controllers.len());
    // Of three copies, two must have a record before it is acknowledged.
    let in_sync = copies.div_ceil(2);
    let (mut listeners, mut advertised) = (format!("PLAINTEXT://127.0.0.1:{port}"), String::new());
    if let Some((listen, told)) = setup.proxied {
        let _ = write!(listeners, ",PROXIED://127.0.0.1:{listen}");
        let _ = write!(advertised, ",PROXIED://127.0.0.1:{told}");
    }
    let mut properties = format!(
        "process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor={copies}
min.insync.replicas={in_sync}
num.io.threads=2
num.network.threads=2
offsets.topic.num.partitions=4
offsets.topic.replication.factor={copies}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=3000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
log.cleaner.backoff.ms=100
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.io.buffer.size=131072
"
    );
    for (name, value) in &setup.settings {
        let _ = writeln!(properties, "{name}={value}");
    }
    properties
}

/// A file of its own outside the temporary folder, where it can be looked at after a failure.
fn log_file() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = workspace().join(".kafka/logs");
    fs::create_dir_all(&folder).expect("the folder for logs");
    folder.join(format!("broker-{}-{}.log", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// A formatted data folder has no folders in it.
fn copy_flat(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the broker's data folder");
    for entry in fs::read_dir(from).expect("the formatted folder") {
        let entry = entry.expect("a file of the formatted folder");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy of it");
    }
}

/// Makes the data folder, which was formatted for node 1, that of another node.
fn belong_to(member: &Member, data: &Path) {
    let file = data.join("meta.properties");
    let formatted = fs::read_to_string(&file).expect("the folder's properties");
    let lines = formatted.lines().map(|line| match line.split_once('=') {
        Some(("node.id", _)) => format!("node.id={}\n", member.node),
        // Of 22 characters, which stand for 16 bytes, any but the last may be changed.
        Some(("directory.id", id)) => format!("directory.id={}{}\n", member.node, &id[1..]),
        _ => format!("{line}\n"),
    });
    fs::write(file, lines.collect::<String>()).expect("the folder's properties");
}

fn note_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            A_TEST_FAILED.store(true, Ordering::Relaxed);
            before(panic);
        }));
    });
}

impl Drop for Broker {
    fn drop(&mut self) {
        if A_TEST_FAILED.load(Ordering::Relaxed) {
            eprintln!("the broker's log is kept: {}", self.log.display());
        } else {
            let _ = fs::remove_file(&self.log);
        }
    }
}
