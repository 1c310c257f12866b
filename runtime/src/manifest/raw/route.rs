//! Routes and what holds for all of them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Duration, Match};
use crate::manifest::read::Field;

/// Declares the route and the defaults, which share their policies.
macro_rules! with_policies {
    ($(#[$meta:meta])* $name:ident { $($(#[$own_meta:meta])* $own:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(in crate::manifest) struct $name {
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
pub(in crate::manifest) struct Policies<'a> {
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
pub(in crate::manifest) enum OutputMode {
    /// Attributes as headers, data as the value.
    Binary,
    /// One JSON document.
    Structured,
}

/// What is processed one after the other.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::manifest) enum Ordering {
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
pub(in crate::manifest) struct Retry {
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
pub(in crate::manifest) enum Strategy {
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
pub(in crate::manifest) struct OnFailure {
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
pub(in crate::manifest) enum Reaction {
    /// By name.
    #[serde(rename = "scalar")]
    Named(NamedReaction),
    /// Retry with a policy of its own.
    #[serde(rename = "map")]
    Retry(Box<RetryReaction>),
}

/// What follows a class of failure, by name.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::manifest) enum NamedReaction {
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
pub(in crate::manifest) struct RetryReaction {
    /// What differs from the route's `retry`.
    pub retry: Field<Retry>,
}

/// Where records go that are given up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$shape")]
#[schemars(untagged, rename = "DeadLetter")]
pub(in crate::manifest) enum DeadLetter {
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
pub(in crate::manifest) struct DeadLetterTopic {
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
pub(in crate::manifest) enum Exhausted {
    /// Settled and counted, nothing more.
    Drop,
    /// Never given up: tried again at the longest delay.
    Hold,
}
