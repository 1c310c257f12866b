//! Dead letters: the original, byte for byte, and why it is there.

use outrigger_tests::{Event, Expect, Kafka, Record};

use crate::job::{Job, PATIENCE};

#[test]
fn a_dead_letter_is_its_original_byte_for_byte() {
    let kafka = Kafka::shared();
    let job = Job::new("originals", 1);
    let strange = |record: Record| {
        record
            .header("null", None)
            .header("twice", Some(b"1"))
            .header("empty", Some(b""))
            .header("twice", Some(b"2"))
            .header("binary", Some(b"\x00\xff\xfe"))
            // Names of ours on the original stay what they were.
            .header("outrigger-offset", Some(b"not a number"))
    };
    let reject = |id: &str| Event::new(id).rejected();
    let mut null_key = reject("null-key").record();
    null_key.key = None;
    let mut empty_key = reject("empty-key").structured().record();
    empty_key.key = Some(Vec::new());
    let mut binary_key = reject("binary-key").record();
    binary_key.key = Some(b"\xff\x00".to_vec());
    let mut empty_value = reject("empty-value").key("k").record();
    empty_value.value = Some(Vec::new());
    let records = [
        null_key,
        empty_key,
        binary_key,
        empty_value,
        reject("plain").key("k").record(),
        Record::undecodable("k"),
        Record::tombstone("k"),
        Record::new(None, None).expect(Expect::DeadLetter("undecodable".to_owned())),
        Record::new(None, Some(b"")).expect(Expect::DeadLetter("undecodable".to_owned())),
    ];
    let count = records.len();
    kafka.produce(&job.topic, records.into_iter().map(strange));

    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    assert_eq!(job.ledger().must_balance().dead_letters, count);
    sidecar.terminate().must_succeed();
}

#[test]
fn what_can_be_consumed_can_be_dead_lettered_and_published_however_large() {
    let kafka = Kafka::shared();
    let large = [("max.message.bytes", "4000000")];
    let job = Job::named("large", 1).handler("limits: { input: 3MiB, output: 4MiB }");
    kafka.create_topic_with(&job.topic, 1, &large);
    job.create_result(&job.output, &large);
    job.create_result(&job.dead_letter, &large);
    // librdkafka's own bound is 1,000,000 bytes.
    let sizes = [990_000, 1_010_000, 3_000_000];
    let rejected = sizes.map(|size| Event::new(format!("rejected-{size}")).key("k").rejected().padded(size).record());
    let over = Event::new("over").key("k").padded(3_500_000).expect(Expect::DeadLetter("budget".to_owned())).record();
    let handled = sizes.map(|size| Event::new(format!("handled-{size}")).key("k").padded(size).record());
    kafka.produce(&job.topic, rejected.into_iter().chain([over]).chain(handled));
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    let tally = job.ledger().must_balance();
    assert_eq!((tally.dead_letters, tally.outputs), (4, 3));
    sidecar.terminate().must_succeed();
}

#[test]
fn a_dead_letter_says_what_happened_to_it() {
    let kafka = Kafka::shared();
    let job = Job::new("reasons", 1).retry("{ strategy: fixed, initialDelay: 10ms, jitter: 0, maxRetries: 2 }");
    let failing = Event::new("failing").key("k").doing("fail:99").expect(Expect::DeadLetter("failed".to_owned()));
    let down = Event::new("down").key("k").doing("unavailable:99").expect(Expect::DeadLetter("dependency".to_owned()));
    let trapping = Event::new("trapping").key("k").doing("trap").expect(Expect::DeadLetter("trap".to_owned()));
    kafka.produce(
        &job.topic,
        [failing.record(), down.record(), trapping.record(), Event::new("last").key("k").record()],
    );

    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    let ledger = job.ledger();
    assert_eq!(ledger.must_balance().dead_letters, 3);
    sidecar.terminate().must_succeed();

    let [failed, dependency, trap] = ledger.dead_letters() else { panic!("{:?}", ledger.dead_letters()) };
    let said = |letter: &Record, name: &str| {
        letter.failure(name).unwrap_or_else(|| panic!("no {name} in {letter:?}")).to_owned()
    };
    assert_eq!(said(failed, "topic"), job.topic);
    assert_eq!(said(failed, "partition"), "0");
    assert_eq!(said(failed, "offset"), "0");
    assert_eq!(said(failed, "group"), job.group);
    assert_eq!(said(failed, "route"), "all");
    assert_eq!(said(failed, "handler"), "ledger");
    assert_eq!(said(failed, "attempts"), "3");
    assert_eq!(said(failed, "id"), format!("{}/{}/0/0/all", job.group, job.topic));
    assert!(said(failed, "reason").contains("attempt 3 was to fail"), "{}", said(failed, "reason"));
    assert_eq!(said(dependency, "attempts"), "3");
    assert!(said(trap, "reason").contains("told to trap"), "{}", said(trap, "reason"));
    let digest = said(failed, "module-digest");
    let hex = digest.trim_start_matches("sha256:");
    assert!(hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()), "{digest}");
    let (first, last) = (said(failed, "first-attempt"), said(failed, "last-attempt"));
    assert!(first.contains('T') && first.ends_with('Z') && first < last, "{first} to {last}");
    // The original's timestamp, in milliseconds.
    let original = kafka.read_all(&job.topic)[0].timestamp_ms.unwrap();
    assert_eq!(said(failed, "timestamp"), original.to_string());
}

#[test]
fn a_record_waits_for_its_dead_letter_topic_and_readiness_says_so() {
    let kafka = Kafka::shared();
    let job = Job::named("no-dlq", 1);
    kafka.create_topic(&job.topic, 1);
    kafka.create_topic(&job.output, 1);
    let ok = |n: u32| Event::new(format!("ok-{n}")).key(format!("key-{n}")).record();
    kafka.produce(&job.topic, [ok(0), Event::new("bad").key("bad").rejected().record()]);
    kafka.produce(&job.topic, (1..50).map(ok));

    let mut sidecar = job.sidecar().start();
    sidecar.wait_not_ready(&job.dead_letter);
    // The other keys go on meanwhile.
    sidecar.wait_for("the others are handled", PATIENCE, |_| match kafka.read_all(&job.output).len() {
        50 => Ok(()),
        n => Err(format!("{n} outputs")),
    });
    sidecar.wait_for("what is before it is committed", PATIENCE, |_| {
        match kafka.committed(&job.group, &job.topic).get(&0) {
            Some(1) => Ok(()),
            committed => Err(format!("{committed:?}")),
        }
    });
    sidecar.wait_not_ready(&job.dead_letter);

    kafka.create_topic(&job.dead_letter, 1);
    sidecar.wait_ready();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();
    let tally = job.ledger().must_balance();
    assert_eq!((tally.outputs, tally.dead_letters, tally.duplicates), (50, 1, 0));
}

/// An event of 50 kB that is rejected, and a dead-letter topic that takes 10 kB.
fn too_large(name: &str, omit: bool) -> Job {
    let kafka = Kafka::shared();
    let job = Job::named(name, 1);
    kafka.create_topic(&job.topic, 1);
    kafka.create_topic(&job.output, 1);
    kafka.create_topic_with(&job.dead_letter, 1, &[("max.message.bytes", "10000")]);
    kafka.produce(&job.topic, [Event::new("large").key("k").rejected().padded(50_000).record()]);
    let to = job.dead_letter.clone();
    job.route(&format!("deadLetter: {{ topic: {to}, omitLargeValues: {omit} }}"))
}

#[test]
fn a_dead_letter_that_is_too_large_leaves_its_value_out_where_the_manifest_says_so() {
    let kafka = Kafka::shared();
    let job = too_large("large-omitted", true);
    let mut sidecar = job.sidecar().start();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    sidecar.terminate().must_succeed();
    let (original, letters) = (&kafka.read_all(&job.topic)[0], kafka.read_all(&job.dead_letter));
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0].key, &letters[0].value), (&original.key, &None));
    assert_eq!(letters[0].headers[..original.headers.len()], original.headers);
    let size = original.value.as_ref().unwrap().len();
    assert_eq!(letters[0].failure("value-omitted"), Some(&*size.to_string()));
    assert_eq!(letters[0].failure("failure-class"), Some("rejected"));
}

#[test]
fn a_dead_letter_that_is_too_large_waits_otherwise() {
    let kafka = Kafka::shared();
    let job = too_large("large-waits", false);
    let mut sidecar = job.sidecar().start();
    sidecar.wait_not_ready(&job.dead_letter);
    kafka.produce(&job.topic, [Event::new("next").key("other").record()]);
    sidecar.wait_handled(1);
    assert_eq!(kafka.committed(&job.group, &job.topic).get(&0).copied().unwrap_or(0), 0);
    assert!(kafka.read_all(&job.dead_letter).is_empty());
    // Killed, since a record that waits is no success, and that is not what this is about.
    sidecar.kill();
}
