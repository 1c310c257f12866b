//! The harness itself: what the other tests build on.

use std::time::Duration;

use outrigger_tests::{Event, Isolation, Kafka, Record, eventually};

#[test]
fn records_are_read_back_as_they_were_produced() {
    let kafka = Kafka::shared();
    let topic = Kafka::unique("round-trip");
    kafka.create_topic(&topic, 3);
    let produced = vec![
        Record::new(None, None).to_partition(0),
        Record::new(Some(b""), Some(b"")).to_partition(0),
        Record::new(Some(b"k"), Some(b"\xff\0"))
            .to_partition(1)
            .header("h", None)
            .header("h", Some(b""))
            .header("a", Some(b"\xff")),
        Event::new("one").key("k").record().to_partition(2),
    ];
    kafka.produce(&topic, produced.clone());
    let read = kafka.read_all(&topic);
    assert_eq!(read.len(), 4);
    for (read, produced) in read.iter().zip(&produced) {
        assert_eq!((&read.key, &read.value, &read.headers), (&produced.key, &produced.value, &produced.headers));
        assert_eq!((read.partition, &read.topic), (produced.partition, &topic));
        assert!(read.timestamp_ms.is_some());
    }
    assert_eq!(kafka.ends(&topic).into_iter().collect::<Vec<_>>(), [(0, 2), (1, 1), (2, 1)]);
    assert!(kafka.committed("nobody", &topic).is_empty());
    assert!(!kafka.has_topic("a-topic-that-is-not-there"));
}

#[test]
fn aborted_transactions_are_seen_only_by_those_who_want_to() {
    let kafka = Kafka::shared();
    let topic = Kafka::unique("transactions");
    kafka.create_topic(&topic, 1);
    kafka.produce_in_transaction(&topic, [Event::new("kept").record()]);
    kafka.produce_aborted(&topic, [Event::new("dropped").record()]);
    let ids = |isolation| {
        let read = kafka.read_all_as(&topic, isolation);
        read.iter().map(|r| r.text("ce_id").unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(Isolation::ReadCommitted), ["kept"]);
    assert_eq!(ids(Isolation::ReadUncommitted), ["kept", "dropped"]);
    // Each transaction ends with a control record, so the log does too.
    assert_eq!(kafka.ends(&topic)[&0], 4);
}

#[test]
fn compaction_leaves_gaps_within_a_deadline() {
    let kafka = Kafka::shared();
    let topic = Kafka::unique("compacted");
    compacted(kafka, &topic, 1, 500);
}

#[test]
fn records_can_be_cut_off_as_retention_would() {
    let kafka = Kafka::shared();
    let topic = Kafka::unique("cut");
    kafka.create_topic(&topic, 1);
    kafka.produce(&topic, (0..10).map(|n| Event::new(n.to_string()).record()));
    kafka.delete_records_before(&topic, 0, 4);
    assert_eq!(kafka.ranges(&topic)[&0], (4, 10));
    assert_eq!(kafka.read_all(&topic)[0].offset, 4);
}

/// Creates a topic that is compacted at once, fills it with `records` per
/// partition of few keys, and waits until that left gaps in every partition.
pub fn compacted(kafka: &Kafka, topic: &str, partitions: i32, records: u32) {
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.001"),
        ("min.compaction.lag.ms", "0"),
        ("max.compaction.lag.ms", "200"),
    ];
    kafka.create_topic_with(topic, partitions, &settings);
    let event = |partition: i32, n: u32| {
        let event = Event::new(format!("{partition}-{n}")).key(format!("{partition}-{}", n % (records / 5)));
        let event = if n.is_multiple_of(3) { event.structured() } else { event };
        event.record().to_partition(partition)
    };
    let all = |range: std::ops::Range<u32>| {
        (0..partitions).flat_map(move |p| range.clone().map(move |n| event(p, n))).collect::<Vec<_>>()
    };
    kafka.produce(topic, all(0..records));
    // Only closed segments are compacted, and only a record that comes later closes one.
    let mut more = records;
    eventually("compaction leaves gaps in every partition", Duration::from_secs(60), || {
        kafka.produce(topic, all(more..more + 1));
        more += 1;
        let read = kafka.read_all(topic);
        let ends = kafka.ends(topic);
        let gaps = |p: i32| ends[&p] as usize - read.iter().filter(|r| r.partition == p).count();
        let left: Vec<usize> = (0..partitions).map(gaps).collect();
        if left.iter().all(|&gaps| gaps > records as usize / 4) { Ok(()) } else { Err(format!("gaps: {left:?}")) }
    });
}
