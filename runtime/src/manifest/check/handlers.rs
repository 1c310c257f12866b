//! The `handlers` section.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Check, HOUR, SECOND};
use crate::digest;
use crate::manifest::model;
use crate::manifest::raw;
use crate::manifest::read::{Field, Given, Problem, io_reason};

/// 4 GiB: what a 32-bit guest can address.
const MAX_MEMORY: u64 = 1 << 32;

impl Check<'_> {
    pub fn handlers(self, raw: &BTreeMap<String, Field<raw::Handler>>) -> BTreeMap<String, model::Handler> {
        let given = raw.iter().filter_map(|(name, field)| Some((name, field.given()?)));
        given.filter_map(|(name, given)| Some((name.clone(), self.handler(name, given)?))).collect()
    }

    fn handler(self, name: &str, given: &Given<raw::Handler>) -> Option<model::Handler> {
        let raw = &given.value;
        self.name(name, given.key, "a handler");
        let help = "name the component: `module: handlers/enrich.wasm`";
        let module = self.require(&raw.module, "module", given.key, help).and_then(|module| self.module(module));
        let sha256 = raw.sha256.given().and_then(|digest| self.digest(digest));
        let instance = raw.instance.value().map_or(model::Instance::Warm, |instance| match instance {
            raw::Instance::Warm => model::Instance::Warm,
            raw::Instance::Fresh => model::Instance::Fresh,
        });
        let concurrency = self.count(&raw.concurrency, 32, 1..=10_000);
        Some(model::Handler {
            name: name.into(),
            module: module?,
            sha256,
            instance,
            concurrency,
            warm_up: self.warm_up(&raw.warm_up, instance, concurrency),
            limits: self.limits(&raw.limits),
            allow: raw.allow.value().map(|allow| self.allow(allow)).unwrap_or_default(),
            config: self.config(raw),
            env: self.env(&raw.env),
            circuit: self.circuit(&raw.circuit),
        })
    }

    fn warm_up(self, field: &Field<u64>, instance: model::Instance, concurrency: usize) -> usize {
        let warm_up = self.count(field, 0, 0..=10_000);
        let Some(given) = field.given() else { return warm_up };
        if warm_up > 0 && instance == model::Instance::Fresh {
            let message = "`warmUp` makes instances that serve later calls, and with `instance: fresh` none does";
            self.problems.error(given.at, message, "leave `warmUp` out, or use `instance: warm`");
        } else if warm_up > concurrency {
            let message = format!("`warmUp` is {warm_up}, and `concurrency` lets {concurrency} instances be used");
            self.problems.error(given.at, message, "lower `warmUp` or raise `concurrency`");
        }
        warm_up
    }

    fn module(self, given: &Given<String>) -> Option<std::path::PathBuf> {
        let path = self.base.join(&given.value);
        let wrong = match std::fs::metadata(&path) {
            _ if given.value.is_empty() => "the path is empty".to_owned(),
            Ok(metadata) if metadata.is_file() => return Some(path),
            Ok(_) => "it is not a file".to_owned(),
            Err(error) => io_reason(&error),
        };
        let message = format!("the module `{}` cannot be read: {wrong}", given.shown());
        self.problems.error(given.at, message, "the path is relative to the manifest's folder; is the handler built?");
        None
    }

    fn digest(self, given: &Given<String>) -> Option<[u8; 32]> {
        let digest = digest::from_hex(&given.value);
        if digest.is_none() {
            let message = "this is not a SHA-256 digest: it has 64 hexadecimal digits";
            self.problems.error(given.at, message, "`sha256sum handlers/enrich.wasm` prints it");
        }
        digest
    }

    fn limits(self, field: &Field<raw::Limits>) -> model::Limits {
        let mut limits = model::Limits {
            memory: 64 << 20,
            cpu_time: SECOND / 2,
            timeout: 5 * SECOND,
            input: 1 << 20,
            output: 1 << 20,
            outputs: 100,
            http_requests: 16,
            http_request_bytes: 1 << 20,
            http_response_bytes: 4 << 20,
        };
        let Some(raw) = field.value() else { return limits };
        let millisecond = Duration::from_millis(1);
        limits.memory = self.size(&raw.memory, limits.memory, 64 << 10..=MAX_MEMORY);
        limits.cpu_time = self.duration(&raw.cpu_time, limits.cpu_time, millisecond..=HOUR);
        limits.timeout = self.duration(&raw.timeout, limits.timeout, millisecond..=HOUR);
        limits.input = self.size(&raw.input, limits.input, 1..=1 << 30);
        limits.output = self.size(&raw.output, limits.output, 1..=1 << 30);
        limits.outputs = self.count(&raw.outputs, limits.outputs, 0..=100_000);
        limits.http_requests = self.count(&raw.http_requests, limits.http_requests, 0..=10_000);
        limits.http_request_bytes = self.size(&raw.http_request_bytes, limits.http_request_bytes, 1..=1 << 30);
        limits.http_response_bytes = self.size(&raw.http_response_bytes, limits.http_response_bytes, 1..=1 << 30);
        if let (Some(cpu), Some(_)) = (raw.cpu_time.given(), raw.timeout.given())
            && limits.cpu_time > limits.timeout
        {
            let message = "`cpuTime` is longer than `timeout`, so it is never reached";
            self.problems.add(Problem::warning(cpu.at, message).help("make it shorter, or leave it out"));
        }
        if let Some(input) = raw.input.given().filter(|_| limits.input > limits.memory) {
            let message = "`input` is larger than `memory`: such an event can never be handled";
            self.problems.error(input.at, message, "raise `memory` or lower `input`");
        }
        limits
    }
}
