//! Manifests that hold, and what they become.

use std::time::Duration;

use super::*;
use crate::outcome::FailureClass;

fn valid(text: &str) -> Manifest {
    match load(text) {
        Ok((manifest, _)) => manifest,
        loaded => panic!("{}", rendered(&loaded)),
    }
}

#[test]
fn the_memory_of_all_instances_is_added_up() {
    let budget = |budget: &str| MINIMAL.replace("kafka:", &format!("workers: 3\nmemoryBudget: {budget}\nkafka:"));
    // 3 workers, 32 instances of 64 MiB on each.
    let memory = valid(&budget("6GiB")).guest_memory();
    assert_eq!((memory.total(), memory.workers_stated), (6 << 30, true));
    assert_eq!(memory.to_string(), "6GiB (3 workers, on each `h` 32 x 64MiB)");
    assert!(load(&budget("6143MiB")).is_err());
    let unstated = valid(MINIMAL).guest_memory();
    assert_eq!((unstated.total() % (2 << 30), unstated.workers_stated), (0, false));
}

#[test]
fn the_smallest_has_all_the_defaults() {
    let manifest = valid(MINIMAL);
    assert_eq!(manifest.kafka.start_from, StartFrom::Earliest);
    assert_eq!(manifest.kafka.on_offset_lost, OnOffsetLost::Stop);
    assert_eq!(manifest.kafka.topics, [Topic { name: "orders".to_owned(), start_from: None }]);
    assert_eq!((manifest.workers, manifest.probes), (None, None));
    assert_eq!(manifest.compile, Compile::default());
    assert_eq!(manifest.compile.cache, CacheFolder::Default);
    assert_eq!(manifest.commit_interval, Duration::from_secs(5));
    assert_eq!(manifest.shutdown_timeout, Duration::from_secs(20));
    assert_eq!(manifest.drain_timeout, Duration::from_secs(5));
    assert_eq!(manifest.buffer, Buffer { records: 10_000, bytes: 16 << 20 });
    assert_eq!(manifest.total_bytes, 256 << 20);
    let dead_letter = DeadLetter { topic: "{topic}.dlq".to_owned(), omit_large_values: false };
    assert_eq!(manifest.unmatched, Unhandled::DeadLetter(dead_letter.clone()));
    assert_eq!(manifest.undecodable, Unhandled::DeadLetter(dead_letter.clone()));

    let handler = &manifest.handlers["h"];
    assert!(handler.module.is_absolute() && handler.module.ends_with("handlers/enrich.wasm"));
    assert_eq!((handler.instance, handler.concurrency, handler.sha256), (Instance::Warm, 32, None));
    assert_eq!(handler.warm_up, 0);
    let limits = Limits {
        memory: 64 << 20,
        cpu_time: Duration::from_millis(500),
        timeout: Duration::from_secs(5),
        input: 1 << 20,
        output: 1 << 20,
        outputs: 100,
        http_requests: 16,
        http_request_bytes: 1 << 20,
        http_response_bytes: 4 << 20,
    };
    assert_eq!(handler.limits, limits);
    assert_eq!(handler.allow, Allow::default(), "nothing is granted");
    assert_eq!((&handler.config, handler.env.len()), (&None, 0));

    let circuit = Circuit {
        consecutive_failures: 20,
        failing_for: Duration::from_secs(1),
        failure_ratio: 0.5,
        window: Duration::from_secs(30),
        minimum_attempts: 50,
        open_for: Duration::from_secs(30),
        max_open_for: Duration::from_secs(300),
    };
    assert_eq!(handler.circuit, Some(circuit));

    let route = &manifest.routes[0];
    let retry = Retry {
        strategy: Strategy::Exponential(2.0),
        max_retries: 5,
        initial_delay: Duration::from_secs(1),
        max_delay: Duration::from_secs(60),
        jitter: 0.2,
    };
    assert_eq!(route.filter, Filter::Exact(vec![("type".to_owned(), "t".to_owned())]));
    assert_eq!((route.output_mode, route.ordering, &route.output), (OutputMode::Binary, Ordering::Key, &None));
    assert_eq!(route.dead_letter, Exhausted::DeadLetter(dead_letter));
    for class in FailureClass::ALL {
        let expected = match class {
            FailureClass::Undecodable | FailureClass::Unrouted => None,
            FailureClass::Rejected => Some(&OnFailure::DeadLetter),
            _ => Some(&OnFailure::Retry(retry)),
        };
        assert_eq!(route.on_failure.get(&class), expected.cloned().as_ref(), "{class}");
    }
}

#[test]
fn the_full_one_says_everything() {
    let (manifest, warnings) = load(FULL).unwrap_or_else(|found| panic!("{}", rendered(&Err(found))));
    assert_eq!(rendered(&Ok((manifest.clone(), warnings))), "");
    assert_eq!(manifest.workers, Some(2), "a number from a variable");
    assert_eq!(manifest.kafka.bootstrap_servers, "localhost:9092");
    assert_eq!(manifest.kafka.properties["sasl.password"].reveal(), "hunter2");
    assert_eq!(manifest.kafka.topics[2].start_from, Some(StartFrom::Latest));
    assert_eq!(manifest.handlers["enrich"].sha256.map(|digest| (digest[0], digest[31])), Some((0x9f, 0x08)));
    assert_eq!(manifest.handlers["audit"].circuit, None);
    let enrich = &manifest.handlers["enrich"];
    let http = enrich.allow.http.as_ref().unwrap();
    let origins: Vec<String> = http.origins.iter().map(Origin::to_string).collect();
    assert_eq!(origins, ["https://rates.example.com", "http://127.0.0.1:8080"]);
    assert_eq!((http.ca.as_ref().map(|ca| ca.0.len()), &*http.own_ports), (Some(1), &[9464, 9465][..]));
    assert_eq!(enrich.allow.key_value, Some(KeyValue { bytes: 1 << 20, entries: 10_000 }));
    let config: Vec<(&str, &str)> = enrich.config.iter().flatten().map(|(n, v)| (n.as_str(), v.reveal())).collect();
    assert_eq!(config, [("apiToken", "hunter2"), ("currency", "EUR")]);
    assert_eq!(enrich.env["TZ"].reveal(), "UTC");
    assert_eq!(manifest.unmatched, Unhandled::Drop);
    let CacheFolder::At(cache) = &manifest.compile.cache else { panic!("{:?}", manifest.compile) };
    assert!(cache.is_absolute() && cache.ends_with("cache"), "beside the manifest: {cache:?}");
    assert_eq!(manifest.compile, Compile { cache: manifest.compile.cache.clone(), ..Compile::default() });

    let order = &manifest.routes[0];
    assert_eq!(order.output.as_deref(), Some("shop.orders.enriched"));
    assert_eq!(order.on_failure[&FailureClass::Trap], OnFailure::DeadLetter);
    let OnFailure::Retry(dependency) = order.on_failure[&FailureClass::Dependency] else { panic!("{order:?}") };
    assert_eq!((dependency.max_retries, dependency.max_delay), (50, Duration::from_secs(300)));
    assert_eq!(dependency.initial_delay, Duration::from_secs(1), "from the route");

    let audit = &manifest.routes[1];
    let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let expected = Filter::All(vec![
        Filter::Any(vec![
            Filter::Prefix(one("type", "audit.")),
            Filter::All(vec![Filter::Suffix(one("type", ".deleted")), Filter::Exact(one("tenant", "acme"))]),
        ]),
        Filter::Not(Box::new(Filter::Exact(one("source", "/test")))),
    ]);
    assert_eq!(audit.filter, expected);
    assert_eq!(audit.dead_letter, Exhausted::Drop);
    assert_eq!((audit.output_mode, audit.ordering), (OutputMode::Structured, Ordering::None));
    let OnFailure::Retry(retry) = audit.on_failure[&FailureClass::Failed] else { panic!("{audit:?}") };
    assert_eq!((retry.strategy, retry.max_retries, retry.jitter), (Strategy::None, 0, 0.1));
}

#[test]
fn a_route_stands_on_the_defaults() {
    let defaults = "\
defaults:
  output: out
  ordering: partition
  retry: { strategy: fixed, maxRetries: 9, maxDelay: 10s }
  onFailure: { trap: drop, failed: { retry: { maxRetries: 1 } } }
  deadLetter: { topic: all.dlq, omitLargeValues: true }
";
    let own = "retry: { initialDelay: 3s }, onFailure: { failed: retry }, deadLetter: { topic: mine.dlq } }";
    let text = MINIMAL.replace("handler: h }", &format!("handler: h, {own}")) + defaults;
    let manifest = valid(&text);
    let route = &manifest.routes[0];
    assert_eq!((route.output.as_deref(), route.ordering), (Some("out"), Ordering::Partition));
    assert_eq!(route.on_failure[&FailureClass::Trap], OnFailure::Drop);
    let OnFailure::Retry(retry) = route.on_failure[&FailureClass::Failed] else { panic!("{route:?}") };
    assert_eq!((retry.strategy, retry.max_retries), (Strategy::Fixed, 9), "its own reaction, the defaults' retry");
    assert_eq!((retry.initial_delay, retry.max_delay), (Duration::from_secs(3), Duration::from_secs(10)));
    let dead_letter = |topic: &str| DeadLetter { topic: topic.to_owned(), omit_large_values: true };
    assert_eq!(route.dead_letter, Exhausted::DeadLetter(dead_letter("mine.dlq")));
    assert_eq!(manifest.unmatched, Unhandled::DeadLetter(dead_letter("all.dlq")));
}

#[test]
fn a_larger_buffer_raises_the_total() {
    let buffer = |buffer: &str| valid(&(MINIMAL.to_owned() + &format!("buffer: {{ {buffer} }}\n"))).total_bytes;
    assert_eq!(buffer("bytes: 1GiB"), 1 << 30);
    assert_eq!(buffer("bytes: 1MiB"), 256 << 20);
    assert_eq!(buffer("totalBytes: 8MiB"), 8 << 20, "what is said is said");
}

#[test]
fn group_protocols_can_be_chosen() {
    for (properties, consumer) in [
        ("group.protocol: consumer, group.remote.assignor: uniform, group.instance.id: pod-0", true),
        ("group.protocol: classic, session.timeout.ms: 6000, group.instance.id: pod-0", false),
        ("partition.assignment.strategy: \"range,roundrobin\"", false),
        ("partition.assignment.strategy: cooperative-sticky", false),
    ] {
        let text = MINIMAL.replace("groupId: g", &format!("groupId: g\n  properties: {{ {properties} }}"));
        let manifest = valid(&text);
        assert_eq!(manifest.kafka.has_consumer_protocol(), consumer, "{properties}");
        let config = crate::kafka::client::consumer(&manifest.kafka);
        assert!(config.create_native_config().is_ok(), "{properties}");
        let made: Result<rdkafka::consumer::BaseConsumer, _> = config.create();
        assert!(made.is_ok(), "librdkafka takes them together: {properties}: {:?}", made.err());
    }
}

#[test]
fn a_circuit_that_is_open_longer_raises_the_bound() {
    let text = MINIMAL.replace("enrich.wasm }", "enrich.wasm, circuit: { openFor: 10m } }");
    let circuit = valid(&text).handlers["h"].circuit.unwrap();
    assert_eq!((circuit.open_for, circuit.max_open_for), (Duration::from_secs(600), Duration::from_secs(600)));
    assert_eq!(circuit.consecutive_failures, 20, "the rest is built in");
}

#[test]
fn aliases_repeat_a_value() {
    let text = MINIMAL.replace("handler: h }", "handler: h, retry: &r { maxRetries: 7 } }")
        + "  - { name: r2, match: { type: u }, handler: h, retry: *r }\n";
    let retries = |route: &Route| match route.on_failure[&FailureClass::Failed] {
        OnFailure::Retry(retry) => retry.max_retries,
        _ => 0,
    };
    assert_eq!(valid(&text).routes.iter().map(retries).collect::<Vec<_>>(), [7, 7]);
}

#[test]
fn a_loop_can_be_accepted() {
    let looping = MINIMAL.replace("handler: h }", "handler: h, output: orders }");
    assert!(rendered(&load(&looping)).contains("come back"));
    valid(&looping.replace("output: orders", "output: orders, allowLoop: true"));
}

#[test]
fn words_that_are_dialects_can_be_attributes() {
    let text = MINIMAL.replace("match: { type: t }", "match: { exact: { prefix: x } }");
    assert_eq!(valid(&text).routes[0].filter, Filter::Exact(vec![("prefix".to_owned(), "x".to_owned())]));
}

#[test]
fn an_empty_grant_is_a_grant() {
    let text = MINIMAL.replace("enrich.wasm }", "enrich.wasm, allow: { http: [], keyValue: {} }, config: {} }");
    let manifest = valid(&text);
    let handler = &manifest.handlers["h"];
    assert_eq!(handler.allow.http, Some(Http::default()));
    assert_eq!(handler.allow.key_value, Some(KeyValue { bytes: 1 << 20, entries: 10_000 }));
    assert_eq!(handler.config, Some(Config::new()));
}

#[test]
fn settings_may_be_numbers() {
    let text = MINIMAL.replace("enrich.wasm }", "enrich.wasm, config: { rate: 0.19, on: true }, env: { N: 7 } }");
    let handler = &valid(&text).handlers["h"];
    let config = handler.config.as_ref().unwrap();
    assert_eq!((config["rate"].reveal(), config["on"].reveal(), handler.env["N"].reveal()), ("0.19", "true", "7"));
}
