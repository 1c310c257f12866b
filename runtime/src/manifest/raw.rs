//! The manifest as it is written. These types are read, described by the JSON
//! Schema and turned into the checked ones; they do not leave this module.
//!
//! The doc comments are the descriptions in the schema.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::read::Field;

/// The routing manifest of Outrigger.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "Outrigger manifest")]
pub(super) struct Manifest {
    /// The version of this format.
    pub api_version: Field<ApiVersion>,
    /// The connection and what is consumed.
    pub kafka: Field<Kafka>,
    /// The handlers by name.
    pub handlers: Field<BTreeMap<String, Field<Handler>>>,
    /// Which events go to which handler. An event goes to every route that matches it.
    pub routes: Field<Vec<Field<Route>>>,
    /// What holds for every route that does not say otherwise.
    #[serde(default)]
    pub defaults: Field<Defaults>,
    /// What becomes of an event that no route matches.
    #[serde(default)]
    #[schemars(extend("default" = "deadLetter"))]
    pub unmatched: Field<Unhandled>,
    /// What becomes of a record that is not a CloudEvent.
    #[serde(default)]
    #[schemars(extend("default" = "deadLetter"))]
    pub undecodable: Field<Unhandled>,
    /// Worker threads. Default: one per core that the process may use.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1024))]
    pub workers: Field<u64>,
    /// How often the settled positions are committed.
    #[serde(default)]
    #[schemars(extend("default" = "5s"))]
    pub commit_interval: Field<Duration>,
    /// The longest time from the signal to the end of the process.
    #[serde(default)]
    #[schemars(extend("default" = "20s"))]
    pub shutdown_timeout: Field<Duration>,
    /// How long attempts that run may go on when their partition is revoked.
    #[serde(default)]
    #[schemars(extend("default" = "5s"))]
    pub drain_timeout: Field<Duration>,
    /// What a partition may hold in memory before its reading pauses.
    #[serde(default)]
    pub buffer: Field<Buffer>,
    /// The health and metrics endpoints. Default: not served.
    #[serde(default)]
    pub probes: Field<Probes>,
}

/// The version of the manifest's format.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
pub(super) enum ApiVersion {
    /// The only one so far.
    #[serde(rename = "outrigger/v1")]
    V1,
}

/// The connection and what is consumed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Kafka {
    /// Brokers to begin with: comma-separated `host:port`.
    pub bootstrap_servers: Field<String>,
    /// The consumer group.
    pub group_id: Field<String>,
    /// What is consumed.
    #[schemars(length(min = 1))]
    pub topics: Field<Vec<Field<Topic>>>,
    /// Where the group begins on a partition that it has no committed offset for.
    #[serde(default)]
    #[schemars(extend("default" = "earliest"))]
    pub start_from: Field<StartFrom>,
    /// What to do when the committed offset is no longer in the log.
    #[serde(default)]
    #[schemars(extend("default" = "stop"))]
    pub on_offset_lost: Field<OnOffsetLost>,
    /// Further librdkafka properties, for both consumer and producer. Their values are never shown.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, PropertyValue>")]
    pub properties: Field<BTreeMap<String, Field<String>>>,
}

/// A property's value; text, number and boolean are the same to librdkafka.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
pub(super) enum PropertyValue {
    Text(String),
    Number(f64),
    Boolean(bool),
}

/// A topic to consume.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$shape")]
#[schemars(untagged, rename = "Topic")]
pub(super) enum Topic {
    /// A topic, or a regular expression that begins with `^`.
    #[serde(rename = "scalar")]
    Name(String),
    /// The same with its own start.
    #[serde(rename = "map")]
    Table(TopicTable),
}

/// A topic with its own start.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TopicTable {
    /// A topic, or a regular expression that begins with `^`.
    pub name: Field<String>,
    /// Overrides the section's `startFrom`.
    #[serde(default)]
    pub start_from: Field<StartFrom>,
}

/// Where a group begins.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum StartFrom {
    /// At the oldest record there is.
    Earliest,
    /// With what is produced from now on.
    Latest,
}

/// What to do when the committed offset is no longer in the log.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum OnOffsetLost {
    /// End with an error that says how many records are gone.
    Stop,
    /// Go on at the oldest record there is.
    Earliest,
    /// Go on with what is produced from now on.
    Latest,
}

/// A handler: a module and what it may use.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Handler {
    /// The WebAssembly component, relative to the manifest.
    pub module: Field<String>,
    /// The module's SHA-256 in hexadecimal; another module is refused.
    #[serde(default)]
    #[schemars(regex(pattern = r"^([0-9a-fA-F]{64}|.*\$\{.+)$"))]
    pub sha256: Field<String>,
    /// Whether an instance serves more than one call.
    #[serde(default)]
    #[schemars(extend("default" = "warm"))]
    pub instance: Field<Instance>,
    /// Calls that may be under way per worker.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000), extend("default" = 32))]
    pub concurrency: Field<u64>,
    /// The budgets of one call.
    #[serde(default)]
    pub limits: Field<Limits>,
    /// What it may reach beyond its arguments.
    #[serde(default)]
    pub allow: Field<Allow>,
}

/// Whether an instance serves more than one call.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Instance {
    /// Instances are used again; state in the guest's memory may be seen by later events.
    Warm,
    /// Each call has an instance of its own.
    Fresh,
}

/// The budgets of one call.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Limits {
    /// Linear memory and tables together, per instance.
    #[serde(default)]
    #[schemars(extend("default" = "64MiB"))]
    pub memory: Field<Size>,
    /// CPU time.
    #[serde(default)]
    #[schemars(extend("default" = "500ms"))]
    pub cpu_time: Field<Duration>,
    /// Wall time.
    #[serde(default)]
    #[schemars(extend("default" = "5s"))]
    pub timeout: Field<Duration>,
    /// The event and its delivery.
    #[serde(default)]
    #[schemars(extend("default" = "1MiB"))]
    pub input: Field<Size>,
    /// All outputs together.
    #[serde(default)]
    #[schemars(extend("default" = "1MiB"))]
    pub output: Field<Size>,
    /// The number of outputs.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100_000), extend("default" = 100))]
    pub outputs: Field<u64>,
}

/// What a handler may reach beyond its arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Allow {
    /// Topics that outputs may name, beside the route's `output`.
    #[serde(default)]
    #[schemars(extend("default" = []))]
    pub topics: Field<Vec<Field<String>>>,
}

/// Declares the route and the defaults, which share their policies.
macro_rules! with_policies {
    ($(#[$meta:meta])* $name:ident { $($(#[$own_meta:meta])* $own:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$own_meta])* pub $own: $ty,)*
            /// Where outputs without a topic go. Default: such an output is a failure.
            #[serde(default)]
            pub output: Field<String>,
            /// How outputs are written.
            #[serde(default)]
            #[schemars(extend("default" = "binary"))]
            pub output_mode: Field<OutputMode>,
            /// What is processed one after the other.
            #[serde(default)]
            #[schemars(extend("default" = "key"))]
            pub ordering: Field<Ordering>,
            /// How a failed attempt is tried again.
            #[serde(default)]
            pub retry: Field<Retry>,
            /// What follows each class of failure.
            #[serde(default)]
            pub on_failure: Field<OnFailure>,
            /// Where records go that are given up; `false`: nowhere, and `exhausted` says what follows.
            #[serde(default)]
            pub dead_letter: Field<DeadLetter>,
            /// What follows where `deadLetter` is `false`; required then.
            #[serde(default)]
            pub exhausted: Field<Exhausted>,
            /// Accept that an output may go to a topic that this manifest consumes.
            #[serde(default)]
            #[schemars(extend("default" = false))]
            pub allow_loop: Field<bool>,
        }

        impl $name {
            /// The policies alone.
            pub fn policies(&self) -> Policies<'_> {
                Policies {
                    output: &self.output,
                    output_mode: &self.output_mode,
                    ordering: &self.ordering,
                    retry: &self.retry,
                    on_failure: &self.on_failure,
                    dead_letter: &self.dead_letter,
                    exhausted: &self.exhausted,
                    allow_loop: &self.allow_loop,
                }
            }
        }
    };
}

/// The keys that a route and the defaults have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policies<'a> {
    pub output: &'a Field<String>,
    pub output_mode: &'a Field<OutputMode>,
    pub ordering: &'a Field<Ordering>,
    pub retry: &'a Field<Retry>,
    pub on_failure: &'a Field<OnFailure>,
    pub dead_letter: &'a Field<DeadLetter>,
    pub exhausted: &'a Field<Exhausted>,
    pub allow_loop: &'a Field<bool>,
}

with_policies! {
    /// Which events go to which handler, and what follows.
    Route {
        /// The route's name: in logs, metrics and dead letters.
        name: Field<String>,
        /// Which events it takes. All conditions must hold.
        r#match: Field<Match>,
        /// The handler's name.
        handler: Field<String>,
    }
}

with_policies! {
    /// What holds for every route that does not say otherwise.
    #[derive(Default)]
    Defaults {}
}

/// How outputs are written.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum OutputMode {
    /// Attributes as headers, data as the value.
    Binary,
    /// One JSON document.
    Structured,
}

/// What is processed one after the other.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Ordering {
    /// Records of the same key. A record without a key follows no other.
    Key,
    /// All records of the partition that take such a route.
    Partition,
    /// Nothing.
    None,
}

/// How a failed attempt is tried again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Retry {
    /// How the delay grows.
    #[serde(default)]
    #[schemars(extend("default" = "exponential"))]
    pub strategy: Field<Strategy>,
    /// Attempts after the first.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1000), extend("default" = 5))]
    pub max_retries: Field<u64>,
    /// Before the first retry.
    #[serde(default)]
    #[schemars(extend("default" = "1s"))]
    pub initial_delay: Field<Duration>,
    /// The factor of `exponential`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100), extend("default" = 2))]
    pub multiplier: Field<f64>,
    /// The longest delay, also the longest that a handler can ask for.
    #[serde(default)]
    #[schemars(extend("default" = "60s"))]
    pub max_delay: Field<Duration>,
    /// Share of the delay by which it is shortened or lengthened at random.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1), extend("default" = 0.2))]
    pub jitter: Field<f64>,
}

/// How the delay grows from retry to retry.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) enum Strategy {
    /// By `multiplier` each time.
    Exponential,
    /// By the initial delay each time.
    Linear,
    /// Not at all.
    Fixed,
    /// No retry.
    None,
}

/// What follows each class of failure.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OnFailure {
    /// The handler said that the event is wrong.
    #[serde(default)]
    #[schemars(extend("default" = "deadLetter"))]
    pub rejected: Field<Reaction>,
    /// The handler asked for another attempt.
    #[serde(default)]
    #[schemars(extend("default" = "retry"))]
    pub failed: Field<Reaction>,
    /// The handler said that something it depends on is down.
    #[serde(default)]
    #[schemars(extend("default" = "retry"))]
    pub dependency: Field<Reaction>,
    /// The guest trapped, panicked or exited.
    #[serde(default)]
    #[schemars(extend("default" = "retry"))]
    pub trap: Field<Reaction>,
    /// Longer than the handler's `timeout`.
    #[serde(default)]
    #[schemars(extend("default" = "retry"))]
    pub timeout: Field<Reaction>,
    /// Over a budget: memory, CPU time, stack, input.
    #[serde(default)]
    #[schemars(extend("default" = "retry"))]
    pub budget: Field<Reaction>,
    /// What it returned is too large, malformed, not allowed, or could not be published.
    #[serde(default)]
    #[schemars(extend("default" = "retry"))]
    pub output: Field<Reaction>,
}

/// What follows a class of failure.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$shape")]
#[schemars(untagged, rename = "Reaction")]
pub(super) enum Reaction {
    /// By name.
    #[serde(rename = "scalar")]
    Named(NamedReaction),
    /// Retry with a policy of its own.
    #[serde(rename = "map")]
    Retry(RetryReaction),
}

/// What follows a class of failure, by name.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum NamedReaction {
    /// Give up at once.
    DeadLetter,
    /// Settle without a trace but a metric and a log line.
    Drop,
    /// Try again as the route's `retry` says, then give up.
    Retry,
}

/// Retry with a policy of its own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RetryReaction {
    /// What differs from the route's `retry`.
    pub retry: Field<Retry>,
}

/// Where records go that are given up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$shape")]
#[schemars(untagged, rename = "DeadLetter")]
pub(super) enum DeadLetter {
    /// `false`: nowhere.
    #[serde(rename = "scalar")]
    #[schemars(extend("const" = false))]
    Off(bool),
    /// A topic.
    #[serde(rename = "map")]
    Topic(DeadLetterTopic),
}

/// A dead-letter topic.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DeadLetterTopic {
    /// The topic, with `{topic}` for the record's topic.
    #[serde(default)]
    #[schemars(extend("default" = "{topic}.dlq"))]
    pub topic: Field<String>,
    /// Whether a record too large for the topic is written without its value. Otherwise it waits.
    #[serde(default)]
    #[schemars(extend("default" = false))]
    pub omit_large_values: Field<bool>,
}

/// What follows where there is no dead letter.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Exhausted {
    /// Settled and counted, nothing more.
    Drop,
    /// Never given up: tried again at the longest delay.
    Hold,
}

/// What becomes of a record that no handler sees.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) enum Unhandled {
    /// To the dead-letter topic of `defaults`.
    DeadLetter,
    /// Settled and counted, nothing more.
    Drop,
}

/// What a partition may hold in memory before its reading pauses.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Buffer {
    /// Records delivered and not yet settled, per partition.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 10_000))]
    pub records: Field<u64>,
    /// Their bytes.
    #[serde(default)]
    #[schemars(extend("default" = "16MiB"))]
    pub bytes: Field<Size>,
}

/// The health and metrics endpoints.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Probes {
    /// Address and port of `/livez`, `/readyz` and `/metrics`.
    pub listen: Field<String>,
}

/// Conditions on the context attributes of an event: the CloudEvents
/// subscription dialects. A key that is no dialect is an attribute, and its
/// value the exact one.
#[derive(Debug, Default, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct Match {
    /// Attributes with exactly these values; for attributes that are called like a dialect.
    #[schemars(default)]
    pub exact: Field<BTreeMap<String, Field<String>>>,
    /// Attributes that begin with these values.
    #[schemars(default)]
    pub prefix: Field<BTreeMap<String, Field<String>>>,
    /// Attributes that end with these values.
    #[schemars(default)]
    pub suffix: Field<BTreeMap<String, Field<String>>>,
    /// Every one of these.
    #[schemars(default)]
    pub all: Field<Vec<Field<Match>>>,
    /// At least one of these.
    #[schemars(default)]
    pub any: Field<Vec<Field<Match>>>,
    /// Not this.
    #[schemars(default)]
    pub not: Box<Field<Match>>,
    /// Attributes by name.
    #[schemars(flatten)]
    pub attributes: BTreeMap<String, Field<String>>,
}

impl<'de> Deserialize<'de> for Match {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Match, D::Error> {
        deserializer.deserialize_map(MatchVisitor)
    }
}

struct MatchVisitor;

impl<'de> Visitor<'de> for MatchVisitor {
    type Value = Match;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("conditions on attributes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Match, A::Error> {
        let mut found = Match::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "exact" => found.exact = map.next_value()?,
                "prefix" => found.prefix = map.next_value()?,
                "suffix" => found.suffix = map.next_value()?,
                "all" => found.all = map.next_value()?,
                "any" => found.any = map.next_value()?,
                "not" => found.not = map.next_value()?,
                _ => {
                    let value = map.next_value()?;
                    found.attributes.insert(key, value);
                }
            }
        }
        Ok(found)
    }
}

/// Declares a text with a schema of its own.
macro_rules! text {
    ($(#[$meta:meta])* $name:ident, $schema:tt) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Deserialize)]
        pub(super) struct $name(String);

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

text!(
    /// A duration, as written.
    Duration,
    {
        "description": "A number and a unit: ms, s, m or h, as in 500ms or 1.5s.",
        "type": "string",
        "pattern": r"^([0-9]+(\.[0-9]+)? ?(ms|s|m|h)|.*\$\{.+)$",
    }
);

text!(
    /// A size, as written.
    Size,
    {
        "description": "A number and a unit: B, KiB, MiB, GiB, KB, MB or GB; without a unit, bytes.",
        "type": ["string", "integer"],
        "pattern": r"^([0-9]+(\.[0-9]+)? ?(B|[KMG]iB|[KMG]B|kB)?|.*\$\{.+)$",
    }
);
