//! From the raw types to the checked ones. Every check adds what it finds to
//! the problems and goes on, with a default where the value is unusable, so
//! that one run shows everything.

mod admin;
mod budget;
mod capabilities;
mod circuit;
mod compile;
mod filter;
mod flow;
mod group;
mod handlers;
mod kafka;
mod pattern;
mod policy;
mod properties;
mod routes;
mod satisfiable;
mod topics;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::model;
use super::raw;
use super::read::{Field, Given, Place, Problem, Problems};
pub(super) use pattern::is_pattern_of;
use topics::Topics;

/// What every check needs.
#[derive(Clone, Copy)]
struct Check<'a> {
    problems: &'a Problems,
    /// The manifest's folder.
    base: &'a Path,
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Checks a manifest that was read. `root`: where it begins. The result counts
/// only if no error was added; `None`: too little is there to build one.
pub(super) fn check(raw: &raw::Manifest, root: Place, base: &Path, problems: &Problems) -> Option<model::Manifest> {
    let check = Check { problems, base };
    check.require(&raw.api_version, "apiVersion", root, "begin with `apiVersion: outrigger/v1`");
    let kafka = check.require(&raw.kafka, "kafka", root, "add `kafka:` with bootstrapServers, groupId and topics");
    let sources = kafka.map(|kafka| Topics::read(check, &kafka.value, kafka.key)).unwrap_or_default();
    let kafka = kafka.and_then(|kafka| check.kafka(kafka, &sources));

    let raw_handlers = check.require(&raw.handlers, "handlers", root, "add `handlers:`, by name, each with a `module`");
    let probes = check.probes(&raw.probes);
    let admin = check.admin(&raw.admin);
    let mut handlers = raw_handlers.map(|given| check.handlers(&given.value)).unwrap_or_default();
    capabilities::reserve_ports(&mut handlers, probes.into_iter().chain(admin.as_ref().map(|admin| admin.listen)));
    let names = raw_handlers.map(|given| given.value.keys().cloned().collect()).unwrap_or_default();
    let raw_routes = check.require(&raw.routes, "routes", root, "add `routes:`, each with name, match and handler");
    let no_defaults = raw::Defaults::default();
    let raw_defaults = raw.defaults.value().unwrap_or(&no_defaults).policies();
    let defaults = check.defaults(raw_defaults);
    let routes = raw_routes.map(|given| check.routes(given, &defaults, &names)).unwrap_or_default();
    if let (Some(handlers), Some(routes)) = (raw_handlers, raw_routes) {
        check.unrouted_handlers(&handlers.value, &routes.value);
    }

    let unmatched = check.unhandled(&raw.unmatched, "unmatched", root, &defaults);
    let undecodable = check.unhandled(&raw.undecodable, "undecodable", root, &defaults);
    check.dead_letter_topics(raw, raw_defaults, &sources);
    check.loops(raw, raw_defaults, &sources);

    let shutdown_timeout = check.duration(&raw.shutdown_timeout, 20 * SECOND, SECOND..=HOUR);
    let drain_timeout = check.duration(&raw.drain_timeout, 5 * SECOND, Duration::from_millis(1)..=HOUR);
    check.drain_within_shutdown(raw, drain_timeout, shutdown_timeout);
    check.drain_within_poll(raw, drain_timeout);
    let no_buffer = raw::Buffer::default();
    let buffer = raw.buffer.value().unwrap_or(&no_buffer);
    let bytes = check.size(&buffer.bytes, 16 << 20, 1024..=16 << 30);
    let workers = raw.workers.given().map(|_| check.count(&raw.workers, 1, 1..=255));
    check.memory_budget(raw, &handlers, workers);
    Some(model::Manifest {
        kafka: kafka?,
        handlers,
        routes,
        unmatched,
        undecodable,
        workers,
        commit_interval: check.duration(&raw.commit_interval, 5 * SECOND, SECOND / 100..=HOUR),
        shutdown_timeout,
        drain_timeout,
        buffer: model::Buffer { records: check.count(&buffer.records, 10_000, 1..=10_000_000), bytes },
        total_bytes: check.total_bytes(buffer, bytes),
        probes,
        admin,
        compile: check.compile(&raw.compile),
    })
}

impl Check<'_> {
    fn drain_within_shutdown(self, raw: &raw::Manifest, drain: Duration, shutdown: Duration) {
        if shutdown >= drain {
            return;
        }
        let at = raw.shutdown_timeout.given().or(raw.drain_timeout.given()).map(|given| given.at);
        if let Some(at) = at {
            let message = "`shutdownTimeout` is shorter than `drainTimeout` (5s by default)";
            self.problems.error(at, message, "a shutdown drains first, and needs time to commit after it");
        }
    }

    /// During a rebalance nothing is polled: a drain, and the commit after it, that
    /// take as long as the group allows would cost the membership.
    fn drain_within_poll(self, raw: &raw::Manifest, drain: Duration) {
        /// The commit at a revoke has 3 s.
        const COMMIT: Duration = Duration::from_secs(3);
        let properties = raw.kafka.value().and_then(|kafka| kafka.properties.value());
        let given = properties.and_then(|properties| properties.get("max.poll.interval.ms")?.given());
        // What is no number is librdkafka's to refuse; its default is 5 minutes.
        let Ok(poll) = given.map_or(Ok(300_000), |given| given.value.trim().parse()) else { return };
        if drain + COMMIT < Duration::from_millis(poll) {
            return;
        }
        if let Some(at) = raw.drain_timeout.given().map(|given| given.at).or(given.map(|given| given.at)) {
            let message =
                "`max.poll.interval.ms` (300000 by default) does not leave time for `drainTimeout` (5s by default)";
            let help = "a rebalance drains, then commits within 3s, and polls nothing meanwhile: raise the one or lower the other";
            self.problems.error(at, message, help);
        }
    }

    /// The bound on all partitions; not below that on one, unless the manifest says so.
    fn total_bytes(self, buffer: &raw::Buffer, bytes: usize) -> usize {
        let total = self.size(&buffer.total_bytes, bytes.max(256 << 20), 1024..=1 << 40);
        if let (Some(given), Some(_)) = (buffer.bytes.given(), buffer.total_bytes.given())
            && bytes > total
        {
            let message = "`bytes` is more than `totalBytes`, so it is never reached";
            self.problems.add(Problem::warning(given.at, message).help("lower it, or raise `totalBytes`"));
        }
        total
    }

    fn probes(self, field: &Field<raw::Probes>) -> Option<SocketAddr> {
        let probes = field.given()?;
        let help = "write `listen: 0.0.0.0:9464`";
        let listen = self.require(&probes.value.listen, "listen", probes.key, help)?;
        self.address(listen, "write it as 0.0.0.0:9464 or [::]:9464")
    }

    fn address(self, listen: &Given<String>, help: &'static str) -> Option<SocketAddr> {
        listen.value.parse().ok().or_else(|| {
            let message = format!("`{}` is not an IP address and a port", listen.shown());
            self.problems.error(listen.at, message, help);
            None
        })
    }

    /// Names appear in headers, metrics and file names.
    fn name(self, name: &str, at: Place, what: &str) {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let well_formed = name.bytes().all(legal) && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !well_formed || name.len() > 100 {
            let help = "use letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most 100";
            self.problems.add(Problem::error(at, format!("this is not a name for {what}")).help(help));
        }
    }

    /// Handlers that no route uses are probably forgotten; they do no harm.
    fn unrouted_handlers(self, handlers: &BTreeMap<String, Field<raw::Handler>>, routes: &[Field<raw::Route>]) {
        let used: Option<Vec<&String>> = routes.iter().map(|route| route.value()?.handler.value()).collect();
        // A route that names no handler, or none that there is, may be meant to use this one.
        let Some(used) = used.filter(|used| used.iter().all(|name| handlers.contains_key(*name))) else { return };
        for (name, handler) in handlers {
            if let (false, Some(handler)) = (used.contains(&name), handler.given()) {
                let message = format!("no route uses the handler `{name}`");
                self.problems.add(Problem::warning(handler.key, message).help("remove it, or add a route"));
            }
        }
    }
}
