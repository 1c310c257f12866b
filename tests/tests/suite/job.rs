//! A job: topics with names of their own, and the manifest that connects them
//! to the `ledger` handler.

use std::fmt::Write as _;
use std::time::Duration;

use outrigger_tests::{Kafka, Ledger, Sidecar, guest};

/// Long enough for anything on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The retry policy of a job that does not say: quick.
const RETRY: &str = "{ strategy: fixed, initialDelay: 20ms, jitter: 0, maxRetries: 5 }";

/// A short session, so that a killed member's partitions are soon free.
pub const PROPERTIES: &str = "{ session.timeout.ms: \"3000\", heartbeat.interval.ms: \"500\" }";

/// A job on the shared Kafka.
pub struct Job {
    pub topic: String,
    pub output: String,
    pub dead_letter: String,
    pub group: String,
    pub partitions: i32,
    retry: String,
    properties: String,
    kafka: String,
    handler: String,
    route: String,
    rest: String,
}

impl Job {
    /// Topics and group named after the test; nothing is created.
    pub fn named(name: &str, partitions: i32) -> Job {
        let topic = Kafka::unique(name);
        Job {
            output: format!("{topic}.out"),
            dead_letter: format!("{topic}.dlq"),
            group: format!("{topic}.group"),
            topic,
            partitions,
            retry: RETRY.to_owned(),
            properties: PROPERTIES.to_owned(),
            kafka: String::new(),
            handler: String::new(),
            route: String::new(),
            rest: String::new(),
        }
    }

    /// The same with the three topics created.
    pub fn new(name: &str, partitions: i32) -> Job {
        Job::new_on(Kafka::shared(), name, partitions)
    }

    /// The same on another Kafka.
    pub fn new_on(kafka: &Kafka, name: &str, partitions: i32) -> Job {
        let job = Job::named(name, partitions);
        kafka.create_topic(&job.topic, partitions);
        job.create_results_on(kafka)
    }

    /// Creates the topics for outputs and dead letters.
    pub fn create_results(self) -> Job {
        self.create_results_on(Kafka::shared())
    }

    fn create_results_on(self, kafka: &Kafka) -> Job {
        kafka.create_topic(&self.output, self.partitions);
        kafka.create_topic(&self.dead_letter, self.partitions);
        self
    }

    /// The routes' `retry`.
    pub fn retry(mut self, retry: &str) -> Job {
        self.retry = retry.to_owned();
        self
    }

    /// The `properties` of the `kafka` section, in place of a short session.
    pub fn properties(mut self, properties: &str) -> Job {
        self.properties = properties.to_owned();
        self
    }

    /// Adds a line to the `kafka` section.
    pub fn kafka(mut self, line: &str) -> Job {
        let _ = writeln!(self.kafka, "  {line}");
        self
    }

    /// Adds a line to the handler.
    pub fn handler(mut self, line: &str) -> Job {
        let _ = writeln!(self.handler, "    {line}");
        self
    }

    /// Adds a line to the route.
    pub fn route(mut self, line: &str) -> Job {
        let _ = writeln!(self.route, "    {line}");
        self
    }

    /// Adds a line, or several, at the end.
    pub fn rest(mut self, lines: &str) -> Job {
        let _ = writeln!(self.rest, "{lines}");
        self
    }

    /// The manifest.
    pub fn manifest(&self) -> String {
        let Job { topic, output, dead_letter, group, retry, properties, kafka, handler, route, rest, .. } = self;
        let module = guest("guest-ledger");
        format!(
            r#"apiVersion: outrigger/v1
kafka:
  bootstrapServers: ${{KAFKA_BOOTSTRAP_SERVERS}}
  groupId: {group}
  topics: [{topic}]
  properties: {properties}
{kafka}handlers:
  ledger:
    module: {module}
{handler}routes:
  - name: all
    match: {{ type: test.event }}
    handler: ledger
    output: {output}
    retry: {retry}
{route}defaults:
  deadLetter: {{ topic: {dead_letter} }}
commitInterval: 250ms
{rest}"#,
            module = module.display()
        )
    }

    /// The sidecar for it, on the shared Kafka.
    pub fn sidecar(&self) -> Sidecar {
        Sidecar::with(self.manifest()).on(Kafka::shared())
    }

    /// What came of everything.
    pub fn ledger(&self) -> Ledger {
        Ledger::read(Kafka::shared(), &self.topic, &self.output, &self.dead_letter)
    }

    /// `Ok` when the end of every partition is committed.
    pub fn committed_all(&self) -> Result<(), String> {
        Kafka::shared().committed_all(&self.group, &self.topic)
    }
}
