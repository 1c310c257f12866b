//! How modules are compiled.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Duration, Size};
use crate::manifest::read::Field;

/// How modules are compiled, and where what was compiled is kept. The bounds are those of
/// the process that compiles one module.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::manifest) struct Compile {
    /// The folder of compiled modules, relative to the manifest, or `none`. Default: what
    /// OUTRIGGER_CACHE says, then `outrigger` in the user's folder for caches.
    #[serde(default)]
    pub cache: Field<String>,
    /// What it may hold; what was not used for longest is removed first.
    #[serde(default)]
    #[schemars(extend("default" = "512MiB"))]
    pub cache_size: Field<Size>,
    /// Whether a module that is not compiled is refused.
    #[serde(default)]
    #[schemars(extend("default" = false))]
    pub compiled_only: Field<bool>,
    /// What a module's file may have.
    #[serde(default)]
    #[schemars(extend("default" = "64MiB"))]
    pub module_size: Field<Size>,
    /// Wall time.
    #[serde(default)]
    #[schemars(extend("default" = "5m"))]
    pub timeout: Field<Duration>,
    /// Processor time.
    #[serde(default)]
    #[schemars(extend("default" = "60s"))]
    pub cpu_time: Field<Duration>,
    /// Memory.
    #[serde(default)]
    #[schemars(extend("default" = "1GiB"))]
    pub memory: Field<Size>,
}
