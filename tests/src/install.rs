//! What is fetched and prepared once per checkout: Kafka's jars, a formatted
//! data folder to copy, and an archive of loaded classes that halves the start.
//!
//! All of it lies in `.kafka/` at the root of the workspace.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::broker;

/// The version in `tests/kafka/pom.xml`; it names the folder, so that another one is fetched anew.
const VERSION: &str = "4.3.1";

/// Makes a JVM start fast and small at the price of its peak speed.
const JVM: [&str; 4] = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];

/// Makes it seldom and shortly stop to collect garbage. With the small heap above it does so
/// for 15 to 25 ms once or twice a second under a load of some thousand records a second, which
/// decides a 99th percentile of milliseconds.
pub(crate) const FEW_PAUSES: [&str; 7] = [
    "-Xms2g",
    "-Xmx2g",
    "-Xmn1500m",
    "-XX:+AlwaysPreTouch",
    "-XX:MaxTenuringThreshold=1",
    "-XX:-UseSerialGC",
    "-XX:+UseParallelGC",
];

/// A prepared Kafka.
pub(crate) struct Install {
    root: PathBuf,
    classpath: String,
}

impl Install {
    /// The prepared Kafka of this checkout; the first call of all test
    /// processes prepares it, the others wait.
    pub(crate) fn get() -> &'static Install {
        static INSTALL: OnceLock<Install> = OnceLock::new();
        INSTALL.get_or_init(|| {
            let root = workspace().join(".kafka").join(VERSION);
            fs::create_dir_all(&root).expect("the folder for Kafka");
            let lock = File::create(root.join("lock")).expect("the lock file");
            lock.lock().expect("the lock of the folder for Kafka");
            let jars = root.join("lib");
            if !root.join("fetched").exists() {
                fetch(&jars);
                File::create(root.join("fetched")).expect("the mark of a complete fetch");
            }
            let install = Install { classpath: classpath(&jars), root };
            if !install.formatted().exists() {
                install.format();
            }
            if !install.class_archive().exists() {
                // Written by the JVM when it ends in order; without it the start is merely slower.
                broker::run_once_to_archive_classes(&install);
            }
            install
        })
    }

    /// A folder as `StorageTool format` leaves it, to be copied for each broker.
    pub(crate) fn formatted(&self) -> PathBuf {
        self.root.join("formatted")
    }

    /// The archive of Kafka's classes.
    pub(crate) fn class_archive(&self) -> PathBuf {
        self.root.join("classes.jsa")
    }

    /// A command that runs a class of Kafka.
    pub(crate) fn java(&self, class: &str, flags: &[String]) -> Command {
        let mut command = Command::new("java");
        command.args(JVM).args(flags);
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        command.arg("-cp").arg(&self.classpath).arg(class).stdin(Stdio::null());
        command
    }

    fn format(&self) {
        let unfinished = self.root.join("formatting");
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir_all(&unfinished).expect("a folder to format");
        let properties = unfinished.join("server.properties");
        let setup = broker::Setup { port: 9092, ..broker::Setup::default() };
        fs::write(&properties, broker::properties(&setup, &unfinished.join("data"))).expect("the broker's properties");
        let mut format = self.java("kafka.tools.StorageTool", &[]);
        // The cluster id: 16 bytes in base64, any will do.
        format.args(["format", "-t", "b3V0cmlnZ2VyLXRlc3RzMQ", "-c"]).arg(&properties);
        run(format, "java", "openjdk-17-jre-headless");
        fs::rename(unfinished.join("data"), self.formatted()).expect("the formatted folder");
        let _ = fs::remove_dir_all(&unfinished);
    }
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace")
}

fn fetch(into: &Path) {
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "dependency:copy-dependencies"]);
    maven.arg(format!("-DoutputDirectory={}", into.display()));
    maven.current_dir(workspace().join("tests/kafka"));
    run(maven, "mvn", "maven");
}

/// Sorted: the archive of classes is bound to the order of the jars.
fn classpath(jars: &Path) -> String {
    let entries = fs::read_dir(jars).expect("the folder of jars");
    let mut jars: Vec<PathBuf> = entries.map(|entry| entry.expect("a jar").path()).collect();
    jars.sort();
    std::env::join_paths(jars).expect("a path without a colon").into_string().expect("a path in UTF-8")
}

/// Runs a command to its end; says which package has it where it is missing.
pub(crate) fn run(mut command: Command, program: &str, package: &str) {
    let output = command.output().unwrap_or_else(|e| {
        panic!(
            "cannot run `{program}`: {e}. The tests on Kafka need it: install the package `{package}` (Debian's name)"
        )
    });
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        panic!("{command:?} ended with {}:\n{out}{err}", output.status);
    }
}
