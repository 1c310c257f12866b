//! The network between sidecar and broker.

use std::time::Duration;

use outrigger_tests::{Network, let_it_last};

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
