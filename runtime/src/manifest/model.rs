//! The checked manifest: the only form that leaves this module.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use super::capabilities::{Allow, Certificates, Config, Http, KeyValue};
use super::check::is_pattern_of;
pub use super::handler::{CacheFolder, Circuit, Compile, Handler, Instance, Limits};
use crate::outcome::FailureClass;

/// A manifest that has been read, substituted and checked as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The connection and what is consumed.
    pub kafka: Kafka,
    /// By name; every route's handler is among them.
    pub handlers: BTreeMap<String, Handler>,
    /// In the manifest's order; names are unique.
    pub routes: Vec<Route>,
    /// What becomes of an event that no route takes.
    pub unmatched: Unhandled,
    /// What becomes of a record that is not a CloudEvent.
    pub undecodable: Unhandled,
    /// Worker threads; `None`: one per core that the process may use.
    pub workers: Option<usize>,
    /// How often the settled positions are committed.
    pub commit_interval: Duration,
    /// From the signal to the end of the process.
    pub shutdown_timeout: Duration,
    /// How long attempts that run may go on when their partition is revoked.
    pub drain_timeout: Duration,
    /// What a partition may hold in memory before its reading pauses.
    pub buffer: Buffer,
    /// Bytes that all partitions may hold together.
    pub total_bytes: usize,
    /// `/livez`, `/readyz`, `/metrics`; `None`: not served.
    pub probes: Option<SocketAddr>,
    /// The admin API; `None`: not served.
    pub admin: Option<Admin>,
    /// How modules are compiled and where what was compiled is kept.
    pub compile: Compile,
}

/// The admin API.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Where it is served.
    pub listen: SocketAddr,
    /// What every request must carry.
    pub token: Secret,
}

/// Bounds on what is delivered and not yet settled, per partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Records per partition.
    pub records: usize,
    /// Bytes per partition.
    pub bytes: usize,
}

/// The value of `group.protocol` under which the brokers assign partitions (KIP-848).
pub const CONSUMER_PROTOCOL: &str = "consumer";

/// The `kafka` section.
#[derive(Clone, Debug, PartialEq)]
pub struct Kafka {
    /// Comma-separated `host:port`.
    pub bootstrap_servers: String,
    /// The consumer group.
    pub group_id: String,
    /// At least one.
    pub topics: Vec<Topic>,
    /// Further librdkafka properties; none that Outrigger owns. Values may be secrets.
    pub properties: BTreeMap<String, Secret>,
    /// Where a group begins that has no committed offset.
    pub start_from: StartFrom,
    /// What to do when the committed offset is no longer there.
    pub on_offset_lost: OnOffsetLost,
}

impl Kafka {
    /// Whether a topic of this name is consumed.
    pub fn consumes(&self, topic: &str) -> bool {
        let by_name = self.topics.iter().any(|entry| entry.name == topic);
        // Patterns were checked; one that could not be compiled would match nothing at the client either.
        by_name || self.topics.iter().any(|entry| is_pattern_of(&entry.name, topic))
    }

    /// Whether the brokers assign partitions, and not a member of the group.
    pub fn has_consumer_protocol(&self) -> bool {
        let protocol = self.properties.get("group.protocol");
        protocol.is_some_and(|protocol| protocol.reveal().eq_ignore_ascii_case(CONSUMER_PROTOCOL))
    }
}

/// A topic, or a pattern of topics, to consume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// A topic's name, or a regular expression that begins with `^`.
    pub name: String,
    /// Overrides the section's `startFrom`.
    pub start_from: Option<StartFrom>,
}

/// Where a group begins that has no committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartFrom {
    /// At the oldest record there is.
    Earliest,
    /// With what is produced from now on.
    Latest,
}

/// What to do when the committed offset is out of the log's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOffsetLost {
    /// End with an error that says how many records are gone.
    Stop,
    /// Go on at the oldest record there is.
    Earliest,
    /// Go on with what is produced from now on.
    Latest,
}

/// What becomes of a record that no handler sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unhandled {
    /// To the dead-letter topic.
    DeadLetter(DeadLetter),
    /// Settled and counted, nothing more.
    Drop,
}

/// A route: which events go to which handler, and what follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Unique.
    pub name: Arc<str>,
    /// Which events it takes.
    pub filter: Filter,
    /// The handler's name.
    pub handler: Arc<str>,
    /// Where outputs without a topic go; `None`: such an output is a failure.
    pub output: Option<Arc<str>>,
    /// How outputs are written.
    pub output_mode: OutputMode,
    /// What is processed one after the other.
    pub ordering: Ordering,
    /// What follows each class of failure; every class that a route can meet is here.
    pub on_failure: BTreeMap<FailureClass, OnFailure>,
    /// Where records go that are given up.
    pub dead_letter: Exhausted,
}

/// How outputs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputMode {
    /// Attributes as headers, data as the value.
    Binary,
    /// One JSON document.
    Structured,
}

/// What is processed one after the other. From weakest to strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ordering {
    /// Nothing.
    None,
    /// Records of the same key. A record without a key follows no other.
    Key,
    /// All records of the partition that take routes with this ordering, and records of the same key.
    Partition,
}

/// What follows a failure.
#[derive(Clone, Debug, PartialEq)]
pub enum OnFailure {
    /// Try again, then [`Route::dead_letter`].
    Retry(Retry),
    /// Give up at once: [`Route::dead_letter`].
    DeadLetter,
    /// Settle without a trace but a metric and a log line.
    Drop,
}

/// Where a record goes that is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// To a dead-letter topic.
    DeadLetter(DeadLetter),
    /// Settled and counted, nothing more. The manifest must say so.
    Drop,
    /// Never given up: tried again at the longest delay. The manifest must say so.
    Hold,
}

/// A dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// With `{topic}` for the record's topic.
    pub topic: String,
    /// Whether a record too large for it is written without its value.
    pub omit_large_values: bool,
}

impl DeadLetter {
    /// The topic for a record of `topic`.
    pub fn topic_for(&self, topic: &str) -> String {
        self.topic.replace("{topic}", topic)
    }
}

/// How a failed attempt is tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// How the delay grows.
    pub strategy: Strategy,
    /// Attempts after the first.
    pub max_retries: u32,
    /// Before the first retry.
    pub initial_delay: Duration,
    /// The longest delay; also the longest a handler can ask for.
    pub max_delay: Duration,
    /// Share of the delay, 0 to 1, by which it is shortened or lengthened at random.
    pub jitter: f64,
}

/// How the delay grows from retry to retry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strategy {
    /// By this factor each time.
    Exponential(f64),
    /// By the initial delay each time.
    Linear,
    /// Not at all.
    Fixed,
    /// No retry.
    None,
}

/// Which events a route takes: the CloudEvents subscription dialects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Every one of these attributes has exactly this value.
    Exact(Vec<(String, String)>),
    /// Every one of these attributes begins with this.
    Prefix(Vec<(String, String)>),
    /// Every one of these attributes ends with this.
    Suffix(Vec<(String, String)>),
    /// All of them.
    All(Vec<Filter>),
    /// At least one of them.
    Any(Vec<Filter>),
    /// Not this one.
    Not(Box<Filter>),
}

/// A value that no log, error or status may show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value itself: for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
