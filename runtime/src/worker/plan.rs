//! What one generation means to a worker: the manifest, compiled for deciding.

use std::sync::Arc;

use crate::commit::map::route_digest;
use crate::manifest::{Circuit, Manifest};
use crate::route::Router;

/// The decisions of one generation; no modules in it.
pub struct Plan {
    /// The checked manifest.
    pub manifest: Manifest,
    /// Which routes take an event.
    pub router: Router,
    /// The handlers, in the order of the manifest's map.
    pub handlers: Vec<PlannedHandler>,
    /// Index of a route's handler.
    pub handler_of: Vec<usize>,
    /// What stands for each route in an offset map.
    pub route_digests: Vec<u32>,
}

/// A handler as far as decisions go.
pub struct PlannedHandler {
    /// In the manifest.
    pub name: Arc<str>,
    /// The module's SHA-256 in hexadecimal.
    pub digest: Arc<str>,
    /// Calls under way per worker.
    pub concurrency: usize,
    /// Topics that outputs may name, beside the route's.
    pub topics: Vec<String>,
    /// When its calls are held because they fail.
    pub circuit: Option<Circuit>,
}

impl Plan {
    /// Compiles a manifest; `digest` names each handler's module.
    ///
    /// Routes are taken to name handlers that exist: the manifest's check sees to it.
    pub fn new(manifest: Manifest, digest: impl Fn(&str) -> Arc<str>) -> Plan {
        let handlers: Vec<PlannedHandler> = manifest
            .handlers
            .values()
            .map(|handler| PlannedHandler {
                name: handler.name.clone(),
                digest: digest(&handler.name),
                concurrency: handler.concurrency,
                topics: handler.allow.topics.clone(),
                circuit: handler.circuit,
            })
            .collect();
        let of = |name: &str| handlers.iter().position(|handler| &*handler.name == name).unwrap_or_default();
        let handler_of = manifest.routes.iter().map(|route| of(&route.handler)).collect();
        let route_digests = manifest.routes.iter().map(|route| route_digest(&route.name)).collect();
        Plan { router: Router::new(&manifest.routes), manifest, handlers, handler_of, route_digests }
    }
}
