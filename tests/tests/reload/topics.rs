//! Topics that come and go while it runs keep their positions.

use outrigger_tests::{Event, Kafka};

use super::stage::Stage;

pub fn run(kafka: &Kafka) {
    let mut stage = Stage::start(kafka, "topics", 2);
    let (one, two) = (stage.job.topic.clone(), format!("{}-more", stage.job.topic));
    kafka.create_topic(&two, 2);
    let produce = |topic: &str, from: u32, count: u32| {
        kafka.produce(
            topic,
            (from..from + count).map(|n| Event::new(format!("{topic}-{n}")).key(format!("{n}")).record()),
        );
    };
    let consuming = |stage: &mut Stage<'_>, topics: &str| {
        let generation = stage.generation();
        stage.save(
            "outrigger.yaml",
            stage.manifest.replace(&format!("topics: [{one}]"), &format!("topics: [{topics}]")),
        );
        stage.wait_generation(generation + 1);
    };
    let handled = |stage: &mut Stage<'_>, count: f64| {
        stage.sidecar.wait_metric("outrigger_events_total", &[("outcome", "handled")], count);
    };
    produce(&one, 0, 100);
    produce(&two, 0, 40);
    handled(&mut stage, 100.0);
    consuming(&mut stage, &format!("{one}, {two}"));
    handled(&mut stage, 140.0);
    consuming(&mut stage, &two);
    // Of the topic that is gone nothing is read, and nothing is lost.
    produce(&one, 100, 50);
    produce(&two, 40, 10);
    handled(&mut stage, 150.0);
    consuming(&mut stage, &one);
    handled(&mut stage, 200.0);
    let outputs = kafka.read_all(&stage.job.output).len();
    assert_eq!(outputs, 200, "none of them twice");
    println!("a topic added, one removed, one back again: 200 events, none lost or handled twice");
    stage.sidecar.terminate().must_succeed();
}
