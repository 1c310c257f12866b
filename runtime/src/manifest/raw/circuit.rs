//! When a handler's calls are held.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Duration;
use crate::manifest::read::Field;

/// When a handler's calls are held because they fail.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$shape")]
#[schemars(untagged, rename = "Circuit")]
pub(in crate::manifest) enum Circuit {
    /// `false`: never.
    #[serde(rename = "scalar")]
    #[schemars(extend("const" = false))]
    Off(bool),
    /// The bounds.
    #[serde(rename = "map")]
    On(Box<CircuitTable>),
}

/// The bounds of a circuit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::manifest) struct CircuitTable {
    /// Failed attempts in a row that open it.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 20))]
    pub consecutive_failures: Field<u64>,
    /// How long the failures in a row must have lasted.
    #[serde(default)]
    #[schemars(extend("default" = "1s"))]
    pub failing_for: Field<Duration>,
    /// Share of failed attempts within the window that opens it.
    #[serde(default)]
    #[schemars(range(min = 0.01, max = 1), extend("default" = 0.5))]
    pub failure_ratio: Field<f64>,
    /// How far back the share looks.
    #[serde(default)]
    #[schemars(extend("default" = "30s"))]
    pub window: Field<Duration>,
    /// Attempts within the window below which their share says nothing.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 50))]
    pub minimum_attempts: Field<u64>,
    /// How long it is open before a trial call.
    #[serde(default)]
    #[schemars(extend("default" = "30s"))]
    pub open_for: Field<Duration>,
    /// The bound on that time, which doubles with each trial call that fails.
    #[serde(default)]
    #[schemars(extend("default" = "5m"))]
    pub max_open_for: Field<Duration>,
}
