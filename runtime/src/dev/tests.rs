use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;

use clap::Parser;
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

use super::*;
use crate::manifest::{Buffer, DeadLetter, Kafka, OnOffsetLost, Topic, Unhandled};
use crate::observe::What;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    dev: DevArgs,
}

fn args(events: Option<&std::path::Path>, more: &[&str]) -> DevArgs {
    let events = events.map(|path| ["--events", path.to_str().unwrap()]);
    let arguments = ["dev"].into_iter().chain(events.into_iter().flatten()).chain(more.iter().copied());
    Cli::try_parse_from(arguments).unwrap().dev
}

fn manifest(topics: &[&str]) -> Manifest {
    let topics = topics.iter().map(|name| Topic { name: (*name).to_owned(), start_from: Some(StartFrom::Latest) });
    let dead_letter = DeadLetter { topic: "{topic}.dlq".to_owned(), omit_large_values: false };
    Manifest {
        kafka: Kafka {
            bootstrap_servers: "kafka.invalid:9092".to_owned(),
            group_id: "g".to_owned(),
            topics: topics.collect(),
            properties: BTreeMap::new(),
            start_from: StartFrom::Latest,
            on_offset_lost: OnOffsetLost::Stop,
        },
        handlers: BTreeMap::new(),
        routes: Vec::new(),
        unmatched: Unhandled::Drop,
        undecodable: Unhandled::DeadLetter(dead_letter),
        workers: None,
        commit_interval: Duration::from_secs(5),
        shutdown_timeout: Duration::from_secs(20),
        drain_timeout: Duration::from_secs(5),
        buffer: Buffer { records: 1000, bytes: 1 << 20 },
        total_bytes: 1 << 20,
        admin: None,
        probes: None,
        compile: crate::manifest::Compile::default(),
    }
}

/// Consumes and commits like a sidecar, and handles every record, but those whose value it is told to lose.
struct Stub {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Stub {
    fn start(manifest: &Manifest, observations: SyncSender<Observation>, lose: &'static str) -> Result<Stub, String> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &manifest.kafka.bootstrap_servers)
            .set("group.id", &manifest.kafka.group_id)
            .set(
                "auto.offset.reset",
                if manifest.kafka.start_from == StartFrom::Earliest { "earliest" } else { "error" },
            )
            .set("enable.auto.commit", "false")
            .create()
            .map_err(|error| error.to_string())?;
        let topics: Vec<_> = manifest.kafka.topics.iter().map(|topic| topic.name.as_str()).collect();
        consumer.subscribe(&topics).map_err(|error| error.to_string())?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Some(Ok(record)) = consumer.poll(Duration::from_millis(20)) else { continue };
                let (topic, partition, offset) = (record.topic().into(), record.partition(), record.offset());
                let lost = !lose.is_empty() && record.payload() == Some(lose.as_bytes());
                let what = What::Handled { outputs: 0, duration: Duration::ZERO };
                let route = Some("all".into());
                let observation = Observation {
                    route,
                    topic,
                    partition,
                    offset,
                    id: None,
                    generation: 1,
                    module: None,
                    attempt: 1,
                    what,
                };
                if !lost {
                    observations.send(observation).unwrap();
                }
                consumer.commit_message(&record, CommitMode::Sync).unwrap();
            }
        });
        Ok(Stub { stop, thread })
    }
}

impl Sidecar for Stub {
    fn failed(&self) -> Option<String> {
        None
    }

    fn stop(self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "panicked".to_owned())
    }
}

fn events(lines: &[&str]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines.join("\n").as_bytes()).unwrap();
    file
}

fn dev(args: &DevArgs, topics: &[&str], lose: &'static str) -> (Result<bool, DevError>, String) {
    dev_until(args, topics, lose, &AtomicBool::new(false))
}

fn dev_until(
    args: &DevArgs,
    topics: &[&str],
    lose: &'static str,
    interrupted: &AtomicBool,
) -> (Result<bool, DevError>, String) {
    let mut out = Vec::new();
    let view = View::new(&mut out, Style { colour: false, live: false }, 4);
    let start = |manifest: Manifest, observations| Stub::start(&manifest, observations, lose);
    let done = run_with(args, manifest(topics), interrupted, start, view);
    (done, String::from_utf8(out).unwrap())
}

#[test]
fn it_ends_when_everything_is_settled_and_committed() {
    let file = events(&[r#"{"key": "a", "raw": "1"}"#, r#"{"key": "b", "raw": "2"}"#, r#"{"raw": null}"#]);
    let (done, out) = dev(&args(Some(file.path()), &["--until-idle"]), &["t"], "");
    assert!(done.unwrap(), "{out}");
    assert_eq!(out.matches("\nhandled ").count(), 3, "{out}");
    assert!(out.contains("records: 3 produced, 3 to consume, 3 committed\nIt adds up.\n"), "{out}");
}

#[test]
fn a_record_that_disappears_does_not_add_up() {
    let file = events(&[r#"{"key": "a", "raw": "1"}"#, r#"{"key": "b", "raw": "2"}"#]);
    let (done, out) = dev(&args(Some(file.path()), &["--until-idle"]), &["t"], "2");
    assert!(!done.unwrap(), "{out}");
    assert!(out.contains("problem: 2 records to consume, but 1 settled\nIt does NOT add up.\n"), "{out}");
}

#[test]
fn it_gives_up_when_the_time_is_up() {
    // Nothing subscribes to what the pattern does not match, so it is never consumed.
    let file = events(&[r#"{"topic": "other", "raw": "1"}"#]);
    let (done, out) = dev(&args(Some(file.path()), &["--until-idle", "--timeout", "2s"]), &["t", "^audit\\..*"], "");
    assert!(!done.unwrap(), "{out}");
    assert!(out.contains("problem: the time is up before all was settled and committed\n"), "{out}");
    assert!(out.contains(": committed 0 of 1\n"), "{out}");
}

#[test]
fn an_interrupt_ends_it_well_unless_it_was_to_prove_something() {
    let interrupted = AtomicBool::new(true);
    let (done, out) = dev_until(&args(None, &[]), &["t"], "", &interrupted);
    assert!(done.unwrap() && out.starts_with("broker at 127.0.0.1:"), "{out}");
    let file = events(&[r#"{"raw": "1"}"#]);
    let (done, out) = dev_until(&args(Some(file.path()), &["--until-idle"]), &["t"], "", &interrupted);
    assert!(!done.unwrap() && out.contains("problem: interrupted before all was settled\n"), "{out}");
}

#[test]
fn unusable_samples_end_it_before_anything_starts() {
    let file = events(&[r#"{"topic": "t", "raw": "1"}"#, r#"{"topic": "typo", "raw": "1"}"#]);
    let (done, out) = dev(&args(Some(file.path()), &[]), &["t"], "");
    let error = done.unwrap_err();
    assert_eq!((error.exit_code(), out.as_str()), (2, ""));
    assert!(error.to_string().ends_with(":2: topic `typo` is not consumed by the manifest"), "{error}");
    let file = events(&[r#"{"raw": "1"}"#]);
    assert!(matches!(dev(&args(Some(file.path()), &[]), &["^a"], "").0, Err(DevError::NoTopic)));
}

#[test]
fn arguments_are_checked() {
    assert!(Cli::try_parse_from(["dev", "--until-idle"]).is_err(), "nothing would ever come");
    assert!(Cli::try_parse_from(["dev", "--partitions", "0"]).is_err());
    assert!(Cli::try_parse_from(["dev", "--timeout", "60"]).is_err());
    assert_eq!(args(None, &["--timeout", "2m"]).timeout, Duration::from_secs(120));
}

#[test]
fn topics_are_those_the_manifest_names() {
    let topics = Topics::of(&manifest(&["t", "^x"]));
    assert_eq!((topics.sources, topics.patterns), (vec!["t".to_owned()], true));
    assert_eq!(topics.others.into_iter().collect::<Vec<_>>(), ["t.dlq"]);
}
