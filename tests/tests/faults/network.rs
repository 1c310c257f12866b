//! The network between sidecar and broker.

use std::time::Duration;

use outrigger_tests::{Event, Network, PATIENCE, Running, let_it_last};

use crate::row::{Load, Outcome, Row, Run, job, settle};

pub fn rows() -> Vec<Row> {
    vec![
        Row { name: "cut", fault: "TCP connections cut", quick: true, run: cut },
        Row {
            name: "half-open",
            fault: "half-open: both directions swallowed for 5, 20 and 60 s (short: 5 s)",
            quick: false,
            run: half_open,
        },
        Row {
            name: "dlq-ack",
            fault: "acknowledgements of dead letters lost, for 3 and 20 s, then a kill -9 (short: 3 s, kill)",
            quick: false,
            run: dead_letter_ack_lost,
        },
        Row { name: "slow", fault: "slow network: every 16 KiB take 200 ms", quick: false, run: slow },
    ]
}

fn cut(run: &Run<'_>) -> Outcome {
    let (job, mut load, cycles) = (job(run.kafka, "cut"), Load::default(), run.count(10, 60));
    let (mut sidecar, proxy, mut happened) = (job.proxied_sidecar().start(), run.kafka.proxy(), 0);
    sidecar.wait_ready();
    for _ in 0..cycles {
        load.produce(run.kafka, &job, 200);
        let_it_last(Duration::from_millis(fastrand::u64(50..800)));
        happened += proxy.cut();
    }
    let (audit, _) = settle(&job, sidecar);
    Outcome { cycles, happened, proof: format!("{happened} connections cut"), audit }
}

fn half_open(run: &Run<'_>) -> Outcome {
    let (job, mut load) = (job(run.kafka, "half-open"), Load::default());
    let (mut sidecar, proxy) = (job.proxied_sidecar().start(), run.kafka.proxy());
    sidecar.wait_ready();
    let times: &[u64] = if run.full { &[5, 20, 60] } else { &[5] };
    let before = proxy.swallowed();
    for &seconds in times {
        load.produce(run.kafka, &job, 1_000);
        let_it_last(Duration::from_millis(200));
        proxy.set(Network::Swallows);
        let_it_last(Duration::from_secs(seconds));
        proxy.set(Network::Works);
        sidecar.wait_for("all is committed", Duration::from_secs(180), |_| job.committed_all());
    }
    let swallowed = proxy.swallowed() - before;
    let (audit, _) = settle(&job, sidecar);
    Outcome {
        cycles: times.len() as u32,
        happened: swallowed as usize,
        proof: format!("{swallowed} bytes swallowed"),
        audit,
    }
}

fn slow(run: &Run<'_>) -> Outcome {
    let (job, mut load, cycles) = (job(run.kafka, "slow"), Load::default(), run.count(1, 5));
    let (mut sidecar, proxy) = (job.proxied_sidecar().start(), run.kafka.proxy());
    sidecar.wait_ready();
    let before = proxy.delayed();
    proxy.set(Network::Slow(Duration::from_millis(200)));
    for _ in 0..cycles {
        load.produce(run.kafka, &job, 1_000);
        sidecar.wait_for("all is committed", Duration::from_secs(180), |_| job.committed_all());
    }
    proxy.set(Network::Works);
    let delayed = proxy.delayed() - before;
    let (audit, _) = settle(&job, sidecar);
    Outcome { cycles, happened: delayed as usize, proof: format!("{delayed} chunks delayed"), audit }
}

/// What is asked of the broker happens, and no answer comes back: for less than the
/// time-out of a message, for longer, and until the sidecar is killed.
fn dead_letter_ack_lost(run: &Run<'_>) -> Outcome {
    let (job, proxy) = (job(run.kafka, "dlq-ack"), run.kafka.proxy());
    let times: &[u64] = if run.full { &[3, 20] } else { &[3] };
    let rounds = run.count(1, 3);
    let poison = |n: u32| Event::new(format!("event-{n}")).key(format!("key-{}", n % 97)).rejected().record();
    let mut sidecar = job.proxied_sidecar().start();
    let (mut happened, mut made) = (0, 0);
    for _ in 0..rounds {
        for &lost in times.iter().chain(&[0]) {
            sidecar.wait_ready();
            let written = || run.kafka.ends(&job.dead_letter).values().sum::<i64>();
            let acknowledged = |sidecar: &Running| {
                sidecar.metrics().map_or(0.0, |metrics| metrics.sum("outrigger_dead_letters_total", &[])) as i64
            };
            let (before, acknowledged_before) = (written(), acknowledged(&sidecar));
            run.kafka.produce(&job.topic, (made..made + 10_000).map(poison));
            made += 10_000;
            sidecar.wait_for("dead letters are written", PATIENCE, |_| match written() - before {
                0 => Err("none".to_owned()),
                _ => Ok(()),
            });
            proxy.set(Network::SwallowsAnswers);
            let_it_last(Duration::from_secs(lost.max(1)));
            let answered = acknowledged(&sidecar) - acknowledged_before;
            happened += (written() - before - answered).max(0) as usize;
            if lost == 0 {
                // It joins when the network works again.
                std::mem::replace(&mut sidecar, job.proxied_sidecar().start()).kill();
            }
            proxy.cut();
            proxy.set(Network::Works);
            sidecar.wait_for("all is committed", Duration::from_secs(180), |_| job.committed_all());
        }
    }
    let (audit, _) = settle(&job, sidecar);
    let cycles = rounds * (times.len() as u32 + 1);
    Outcome {
        cycles,
        happened,
        proof: format!("{happened} dead letters written whose acknowledgement was lost"),
        audit,
    }
}
