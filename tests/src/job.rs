//! A job: topics with names of their own, and the manifest that connects them
//! to the `ledger` handler.

use std::fmt::Write as _;
use std::time::Duration;

use crate::audit::Audit;
use crate::guests::guest;
use crate::kafka::Kafka;
use crate::ledger::Ledger;
use crate::sidecar::Sidecar;

/// Long enough for anything on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The retry policy of a job that does not say: quick.
const RETRY: &str = "{ strategy: fixed, initialDelay: 20ms, jitter: 0, maxRetries: 5 }";

/// What librdkafka is told where a job does not say: a short session, so that a
/// killed member's partitions are soon free.
const PROPERTIES: &str = r#"session.timeout.ms: "3000", heartbeat.interval.ms: "500""#;

/// A job on one Kafka, the shared one if nothing else is said.
pub struct Job<'k> {
    /// The input topic.
    pub topic: String,
    /// The topic of the outputs.
    pub output: String,
    /// The topic of the dead letters.
    pub dead_letter: String,
    /// The group.
    pub group: String,
    /// The partitions of each of the three topics.
    pub partitions: i32,
    on: &'k Kafka,
    properties: String,
    retry: String,
    kafka: String,
    handler: String,
    route: String,
    rest: String,
}

impl Job<'static> {
    /// Topics and group named after the test; nothing is created.
    pub fn named(name: &str, partitions: i32) -> Job<'static> {
        Job::named_on(Kafka::shared(), name, partitions)
    }

    /// The same with the three topics created.
    pub fn new(name: &str, partitions: i32) -> Job<'static> {
        Job::new_on(Kafka::shared(), name, partitions)
    }
}

impl<'k> Job<'k> {
    /// As [`Job::named`], on a Kafka of its own.
    pub fn named_on(on: &'k Kafka, name: &str, partitions: i32) -> Job<'k> {
        let topic = Kafka::unique(name);
        Job {
            output: format!("{topic}.out"),
            dead_letter: format!("{topic}.dlq"),
            group: format!("{topic}.group"),
            topic,
            partitions,
            on,
            properties: PROPERTIES.to_owned(),
            retry: RETRY.to_owned(),
            kafka: String::new(),
            handler: String::new(),
            route: String::new(),
            rest: String::new(),
        }
    }

    /// As [`Job::new`], on a Kafka of its own.
    pub fn new_on(on: &'k Kafka, name: &str, partitions: i32) -> Job<'k> {
        let job = Job::named_on(on, name, partitions);
        on.create_topic(&job.topic, partitions);
        job.create_results()
    }

    /// Creates the topics for outputs and dead letters; they take the broker's time.
    pub fn create_results(self) -> Job<'k> {
        self.create_result(&self.output, &[]);
        self.create_result(&self.dead_letter, &[]);
        self
    }

    /// Creates one of them with settings of its own.
    pub fn create_result(&self, topic: &str, settings: &[(&str, &str)]) {
        let settings: Vec<_> = settings.iter().copied().chain([("message.timestamp.type", "LogAppendTime")]).collect();
        self.on.create_topic_with(topic, self.partitions, &settings);
    }

    /// The librdkafka properties, as they stand between the braces.
    pub fn properties(mut self, properties: &str) -> Job<'k> {
        self.properties = properties.to_owned();
        self
    }

    /// The routes' `retry`.
    pub fn retry(mut self, retry: &str) -> Job<'k> {
        self.retry = retry.to_owned();
        self
    }

    /// Adds a line to the `kafka` section.
    pub fn kafka(mut self, line: &str) -> Job<'k> {
        let _ = writeln!(self.kafka, "  {line}");
        self
    }

    /// Adds a line to the handler.
    pub fn handler(mut self, line: &str) -> Job<'k> {
        let _ = writeln!(self.handler, "    {line}");
        self
    }

    /// Adds a line to the route.
    pub fn route(mut self, line: &str) -> Job<'k> {
        let _ = writeln!(self.route, "    {line}");
        self
    }

    /// Adds a line, or several, at the end.
    pub fn rest(mut self, lines: &str) -> Job<'k> {
        let _ = writeln!(self.rest, "{lines}");
        self
    }

    /// The manifest.
    pub fn manifest(&self) -> String {
        let Job { topic, output, dead_letter, group, properties, retry, kafka, handler, route, rest, .. } = self;
        let module = guest("guest-ledger");
        format!(
            r#"apiVersion: outrigger/v1
kafka:
  bootstrapServers: ${{KAFKA_BOOTSTRAP_SERVERS}}
  groupId: {group}
  topics: [{topic}]
  properties: {{ {properties} }}
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

    /// The sidecar for it.
    pub fn sidecar(&self) -> Sidecar {
        Sidecar::with(self.manifest()).on(self.on)
    }

    /// The sidecar for it, behind the proxy.
    pub fn proxied_sidecar(&self) -> Sidecar {
        Sidecar::with(self.manifest()).at(&self.on.proxy().address())
    }

    /// What came of everything.
    pub fn ledger(&self) -> Ledger {
        Ledger::read(self.on, &self.topic, &self.output, &self.dead_letter)
    }

    /// The judgement over everything, every commit that was ever made included.
    pub fn audit(&self) -> Audit {
        Audit::of(&self.ledger(), &self.on.commits(&self.group, &self.topic))
    }

    /// `Ok` when the end of every partition is committed.
    pub fn committed_all(&self) -> Result<(), String> {
        self.on.committed_all(&self.group, &self.topic)
    }

    /// How many records are not committed: those from the committed offset of each
    /// partition to its end.
    pub fn uncommitted(&self) -> i64 {
        let committed = self.on.committed(&self.group, &self.topic);
        self.on.ends(&self.topic).iter().map(|(partition, end)| end - committed.get(partition).unwrap_or(&0)).sum()
    }
}
