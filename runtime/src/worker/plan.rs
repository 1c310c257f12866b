//! What one generation means to a worker: the manifest, compiled for deciding.
//!
//! A plan never changes. A reload makes a new one, with the next number, and tells
//! for each handler since which generation it is what it is now: that is what says
//! whether its instances and its circuit go on.

use std::sync::Arc;

use crate::commit::map::route_digest;
use crate::manifest::{Circuit, Handler, Manifest};
use crate::route::Router;

/// The decisions of one generation; no modules in it.
pub struct Plan {
    /// The generation's number, from 1.
    pub generation: u64,
    /// The checked manifest.
    pub manifest: Arc<Manifest>,
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
#[derive(Clone, Debug)]
pub struct PlannedHandler {
    /// In the manifest.
    pub name: Arc<str>,
    /// The module's SHA-256 in hexadecimal.
    pub digest: Arc<str>,
    /// The first generation that runs this very module under these very terms.
    pub since: u64,
    /// Calls under way per worker.
    pub concurrency: usize,
    /// Topics that outputs may name, beside the route's.
    pub topics: Vec<String>,
    /// When its calls are held because they fail.
    pub circuit: Option<Circuit>,
}

/// Which module stands behind a handler.
#[derive(Clone, Debug)]
pub struct ModuleId {
    /// Its SHA-256 in hexadecimal.
    pub digest: Arc<str>,
    /// See [`PlannedHandler::since`].
    pub since: u64,
}

impl Plan {
    /// Compiles a manifest as the generation of this number; `module` names each handler's module.
    ///
    /// Routes are taken to name handlers that exist: the manifest's check sees to it.
    pub fn new(generation: u64, manifest: Arc<Manifest>, module: impl Fn(&str) -> ModuleId) -> Plan {
        let planned = |handler: &Handler| {
            let ModuleId { digest, since } = module(&handler.name);
            PlannedHandler {
                name: handler.name.clone(),
                digest,
                since,
                concurrency: handler.concurrency,
                topics: handler.allow.topics.clone(),
                circuit: handler.circuit,
            }
        };
        let handlers: Vec<PlannedHandler> = manifest.handlers.values().map(planned).collect();
        let of = |name: &str| handlers.iter().position(|handler| &*handler.name == name).unwrap_or_default();
        let handler_of = manifest.routes.iter().map(|route| of(&route.handler)).collect();
        let route_digests = manifest.routes.iter().map(|route| route_digest(&route.name)).collect();
        let router = Router::new(&manifest.routes);
        Plan { generation, router, manifest, handlers, handler_of, route_digests }
    }

    /// The index of the route of this name.
    pub fn route(&self, name: &str) -> Option<usize> {
        self.manifest.routes.iter().position(|route| &*route.name == name)
    }

    /// The handler of a route.
    pub fn handler(&self, route: usize) -> Option<&PlannedHandler> {
        self.handlers.get(*self.handler_of.get(route)?)
    }

    /// The index of the same handler, with the same module under the same terms, in another generation.
    pub fn same_handler(&self, handler: usize, other: &Plan) -> Option<usize> {
        let this = &self.handlers[handler];
        other.handlers.iter().position(|planned| planned.name == this.name && planned.since == this.since)
    }
}
