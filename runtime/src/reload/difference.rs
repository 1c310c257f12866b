//! What differs between two manifests, and whether a running process can change it.
//! Pure: manifests in, names out.

use super::Current;
use crate::manifest::{Compile, Kafka, Manifest};

/// What differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Keys of the manifest that a running process cannot change.
    pub restart: Vec<&'static str>,
    /// The rest, for a log line.
    pub summary: String,
}

/// Compares a manifest with the one that runs.
///
/// Every key stands here, so that a new one is decided on: it does not compile otherwise.
pub fn difference(old: &Manifest, new: &Manifest) -> Difference {
    let Manifest {
        kafka,
        handlers,
        routes,
        unmatched,
        undecodable,
        workers,
        commit_interval,
        shutdown_timeout,
        drain_timeout,
        buffer,
        total_bytes,
        probes,
        admin,
        compile,
    } = new;
    let Kafka { bootstrap_servers, group_id, topics, properties, start_from, on_offset_lost } = kafka;
    let Compile { cache, cache_size, compiled_only, module_size, timeout, cpu_time, memory } = compile;
    let restart = [
        // Other brokers are another log, another group other positions.
        ("kafka.bootstrapServers", *bootstrap_servers != old.kafka.bootstrap_servers),
        ("kafka.groupId", *group_id != old.kafka.group_id),
        // They are given to the clients when those are made.
        ("kafka.properties", *properties != old.kafka.properties),
        // Partitions would have to move between threads.
        ("workers", *workers != old.workers),
        // Bounds that records in memory are counted against.
        ("buffer", *buffer != old.buffer || *total_bytes != old.total_bytes),
        // It has to fit the time that whoever runs the process grants it.
        ("shutdownTimeout", *shutdown_timeout != old.shutdown_timeout),
        // Sockets that are open, and asked.
        ("probes", *probes != old.probes),
        ("admin", *admin != old.admin),
        // The cache, and the bounds of the process that compiles, are the compiler's.
        ("compile.cache", *cache != old.compile.cache),
        ("compile.cacheSize", *cache_size != old.compile.cache_size),
        ("compile.compiledOnly", *compiled_only != old.compile.compiled_only),
        ("compile.timeout", *timeout != old.compile.timeout),
        ("compile.cpuTime", *cpu_time != old.compile.cpu_time),
        ("compile.memory", *memory != old.compile.memory),
    ];
    let live = [
        ("kafka.topics", *topics != old.kafka.topics),
        ("kafka.startFrom", *start_from != old.kafka.start_from),
        ("kafka.onOffsetLost", *on_offset_lost != old.kafka.on_offset_lost),
        ("unmatched", *unmatched != old.unmatched),
        ("undecodable", *undecodable != old.undecodable),
        ("commitInterval", *commit_interval != old.commit_interval),
        ("drainTimeout", *drain_timeout != old.drain_timeout),
        ("compile.moduleSize", *module_size != old.compile.module_size),
    ];
    let handlers = changes(
        "handler",
        old.handlers.iter().map(|(name, handler)| (name.as_str(), handler)),
        handlers.iter().map(|(name, handler)| (name.as_str(), handler)),
    );
    let routes = changes(
        "route",
        old.routes.iter().map(|route| (&*route.name, route)),
        routes.iter().map(|route| (&*route.name, route)),
    );
    let live = live.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| format!("{key} changed"));
    Difference {
        restart: restart.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect(),
        summary: handlers.into_iter().chain(routes).chain(live).collect::<Vec<_>>().join(", "),
    }
}

impl Difference {
    /// Refuses what needs a restart.
    ///
    /// # Errors
    /// Names all of it.
    pub fn refuse(&self) -> Result<(), String> {
        match &self.restart[..] {
            [] => Ok(()),
            [key] => Err(format!("`{key}` needs a restart; nothing of this change is taken over")),
            keys => Err(format!("`{}` need a restart; nothing of this change is taken over", keys.join("`, `"))),
        }
    }

    /// Adds the modules that are others than before.
    pub(super) fn modules(&mut self, old: &Current, new: &Current) {
        for planned in &new.built.plan.handlers {
            let before = old.built.plan.handlers.iter().find(|other| other.name == planned.name);
            if let Some(before) = before.filter(|before| before.digest != planned.digest) {
                let (from, to) = (crate::observe::short(&before.digest), crate::observe::short(&planned.digest));
                let comma = if self.summary.is_empty() { "" } else { ", " };
                self.summary += &format!("{comma}handler {} has module {to}, had {from}", planned.name);
            }
        }
    }
}

/// What was added, changed and removed, by name.
fn changes<'a, T: PartialEq + 'a>(
    what: &str,
    old: impl Iterator<Item = (&'a str, &'a T)> + Clone,
    new: impl Iterator<Item = (&'a str, &'a T)> + Clone,
) -> Vec<String> {
    let in_old = |name| old.clone().find(|(other, _)| *other == name);
    let changed = new.clone().filter_map(|(name, value)| match in_old(name) {
        None => Some(format!("{what} {name} added")),
        Some((_, before)) => (before != value).then(|| format!("{what} {name} changed")),
    });
    let removed = old.clone().filter(|(name, _)| !new.clone().any(|(other, _)| other == *name));
    changed.chain(removed.map(|(name, _)| format!("{what} {name} removed"))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest;

    const MANIFEST: &str = "\
apiVersion: outrigger/v1
kafka: { bootstrapServers: 'localhost:9092', groupId: group, topics: [t] }
handlers:
  h: { module: h.wasm }
routes:
  - { name: first, match: { type: a }, handler: h }
  - { name: second, match: { type: b }, handler: h }
";

    fn read(text: &str) -> Manifest {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("h.wasm"), b"").unwrap();
        let base = Path::new(folder.path());
        let mut manifest = manifest::load_str("outrigger.yaml", text, base, &|_| None).unwrap().0;
        manifest.handlers.values_mut().for_each(|handler| handler.module = "h.wasm".into());
        manifest
    }

    fn changed(from: &str, to: &str) -> Difference {
        assert!(MANIFEST.contains(from));
        difference(&read(MANIFEST), &read(&MANIFEST.replacen(from, to, 1)))
    }

    #[test]
    fn the_same_is_no_difference() {
        assert_eq!(difference(&read(MANIFEST), &read(MANIFEST)), Difference::default());
    }

    #[test]
    fn what_can_change_is_named() {
        for (from, to, summary) in [
            ("name: first", "name: other", "route other added, route first removed"),
            ("type: a", "type: c", "route first changed"),
            ("h.wasm }", "h.wasm, concurrency: 3 }", "handler h changed"),
            ("h.wasm }", "h.wasm, warmUp: 3 }", "handler h changed"),
            ("topics: [t]", "topics: [t, s]", "kafka.topics changed"),
            ("topics: [t]", "topics: [t], startFrom: latest", "kafka.startFrom changed"),
            ("topics: [t]", "topics: [t], onOffsetLost: earliest", "kafka.onOffsetLost changed"),
            ("handlers:", "unmatched: drop\nhandlers:", "unmatched changed"),
            ("handlers:", "undecodable: drop\nhandlers:", "undecodable changed"),
            ("handlers:", "commitInterval: 1s\nhandlers:", "commitInterval changed"),
            ("handlers:", "drainTimeout: 1s\nhandlers:", "drainTimeout changed"),
            ("handlers:", "compile: { moduleSize: 1MiB }\nhandlers:", "compile.moduleSize changed"),
        ] {
            let difference = changed(from, to);
            assert_eq!(difference.summary, summary);
            assert_eq!(difference.refuse(), Ok(()));
        }
    }

    #[test]
    fn what_needs_a_restart_is_refused_by_name() {
        for (from, to, key) in [
            ("localhost", "elsewhere", "kafka.bootstrapServers"),
            ("groupId: group", "groupId: other", "kafka.groupId"),
            ("topics: [t]", "topics: [t], properties: { client.id: x }", "kafka.properties"),
            ("handlers:", "workers: 3\nhandlers:", "workers"),
            ("handlers:", "buffer: { records: 3 }\nhandlers:", "buffer"),
            ("handlers:", "buffer: { totalBytes: 300MiB }\nhandlers:", "buffer"),
            ("handlers:", "shutdownTimeout: 9s\nhandlers:", "shutdownTimeout"),
            ("handlers:", "probes: { listen: '127.0.0.1:0' }\nhandlers:", "probes"),
            ("handlers:", "admin: { listen: '127.0.0.1:0', token: 0123456789abcdef }\nhandlers:", "admin"),
            ("handlers:", "compile: { cache: none }\nhandlers:", "compile.cache"),
            ("handlers:", "compile: { cacheSize: 1MiB }\nhandlers:", "compile.cacheSize"),
            ("handlers:", "compile: { compiledOnly: true }\nhandlers:", "compile.compiledOnly"),
            ("handlers:", "compile: { timeout: 2m }\nhandlers:", "compile.timeout"),
            ("handlers:", "compile: { cpuTime: 2s }\nhandlers:", "compile.cpuTime"),
            ("handlers:", "compile: { memory: 2GiB }\nhandlers:", "compile.memory"),
        ] {
            assert_eq!(changed(from, to).restart, [key]);
        }
        let two = changed("handlers:", "workers: 3\nshutdownTimeout: 9s\nhandlers:");
        let refused = two.refuse().unwrap_err();
        assert_eq!(refused, "`workers`, `shutdownTimeout` need a restart; nothing of this change is taken over");
    }
}
