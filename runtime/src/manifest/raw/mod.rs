//! The manifest as it is written. These types are read, described by the JSON
//! Schema and turned into the checked ones; they do not leave this module.
//!
//! The doc comments are the descriptions in the schema.

mod capabilities;
mod circuit;
mod compile;
mod filter;
mod route;
mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use capabilities::{Allow, Setting};
pub(super) use circuit::{Circuit, CircuitTable};
pub(super) use compile::Compile;
pub(super) use filter::Match;
pub(super) use route::{
    DeadLetter, Defaults, Exhausted, NamedReaction, OnFailure, Ordering, OutputMode, Policies, Reaction, Retry, Route,
    Strategy,
};
pub(super) use text::{Duration, Size};

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
    #[schemars(range(min = 1, max = 255))]
    pub workers: Field<u64>,
    /// What the instances of all handlers may hold together: handlers x workers x
    /// concurrency x memory must not be more. Default: not compared.
    #[serde(default)]
    pub memory_budget: Field<Size>,
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
    /// What may be held in memory before reading pauses.
    #[serde(default)]
    pub buffer: Field<Buffer>,
    /// The health and metrics endpoints. Default: not served.
    #[serde(default)]
    pub probes: Field<Probes>,
    /// How modules are compiled, and where what was compiled is kept.
    #[serde(default)]
    pub compile: Field<Compile>,
    /// The admin API: reload and status. Default: not served.
    #[serde(default)]
    pub admin: Field<Admin>,
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
    /// Instances per worker that are ready before the first call, at most `concurrency`.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000), extend("default" = 0))]
    pub warm_up: Field<u64>,
    /// The budgets of one call.
    #[serde(default)]
    pub limits: Field<Limits>,
    /// What it may reach beyond its arguments.
    #[serde(default)]
    pub allow: Field<Allow>,
    /// Settings that the handler reads through `wasi:config`. Their values are never shown.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Setting>")]
    pub config: Field<BTreeMap<String, Field<String>>>,
    /// The same for what is secret: also hidden in messages about the manifest.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Setting>")]
    pub secrets: Field<BTreeMap<String, Field<String>>>,
    /// Its environment variables; it has no others. Hidden like `secrets`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Setting>")]
    pub env: Field<BTreeMap<String, Field<String>>>,
    /// When its calls are held because they fail; `false`: never.
    #[serde(default)]
    pub circuit: Field<Circuit>,
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
    /// The number of HTTP requests.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10_000), extend("default" = 16))]
    pub http_requests: Field<u64>,
    /// All HTTP requests together: header fields and bodies.
    #[serde(default)]
    #[schemars(extend("default" = "1MiB"))]
    pub http_request_bytes: Field<Size>,
    /// All HTTP responses together: header fields and bodies.
    #[serde(default)]
    #[schemars(extend("default" = "4MiB"))]
    pub http_response_bytes: Field<Size>,
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

/// What may be held in memory before reading pauses.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Buffer {
    /// Records delivered and not yet settled, per partition.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 10_000))]
    pub records: Field<u64>,
    /// Their bytes, per partition.
    #[serde(default)]
    #[schemars(extend("default" = "16MiB"))]
    pub bytes: Field<Size>,
    /// Their bytes over all partitions.
    #[serde(default)]
    #[schemars(extend("default" = "256MiB"))]
    pub total_bytes: Field<Size>,
}

/// The admin API: reload and status.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Admin {
    /// Address and port of `/v1/status` and `/v1/reload`.
    pub listen: Field<String>,
    /// What every request must carry, as `Authorization: Bearer ...`. At least 16
    /// characters; best from a file or a variable. It is never shown.
    pub token: Field<String>,
}

/// The health and metrics endpoints.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Probes {
    /// Address and port of `/livez`, `/readyz` and `/metrics`.
    pub listen: Field<String>,
}
