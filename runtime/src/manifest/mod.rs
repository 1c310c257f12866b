//! The routing manifest: read, substituted, checked.

mod model;

pub use model::*;
