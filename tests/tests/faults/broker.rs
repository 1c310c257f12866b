//! A broker that hangs, restarts, or is gone.

use std::time::Duration;

use outrigger_tests::{Kafka, let_it_last};

use crate::row::{Load, Outcome, Row, Run, finish, job, settle};

pub fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "frozen",
            fault: "broker stopped with SIGSTOP for 5, 30 and 90 s (short: 5 s)",
            quick: true,
            run: frozen,
        },
        Row { name: "restarted", fault: "broker restarted, in order and killed in turn", quick: false, run: restarted },
        Row { name: "gone", fault: "SIGTERM with the broker gone", quick: true, run: gone },
    ]
}

/// How long a broker that works may take for an answer.
const ANSWER: Duration = Duration::from_secs(2);

fn frozen(run: &Run<'_>) -> Outcome {
    let kafka = Kafka::start_behind_proxy(&[]);
    let (job, mut load) = (job(&kafka, "frozen"), Load::default());
    let times: &[u64] = if run.full { &[5, 30, 90] } else { &[5] };
    let mut sidecar = job.sidecar().start();
    let (mut happened, mut handled) = (0, 0.0);
    for &seconds in times {
        load.produce(&kafka, &job, 3_000);
        let so_far = handled as u32;
        sidecar.wait_handled(so_far + 200);
        kafka.freeze();
        let_it_last(Duration::from_secs(seconds) - ANSWER);
        happened += usize::from(!kafka.answers(ANSWER));
        // The probes answer all the while.
        assert_eq!(sidecar.get("/livez").expect("an answer").0, 200);
        kafka.thaw();
        sidecar.wait_for("all is committed", Duration::from_secs(180), |_| job.committed_all());
        handled = sidecar.metrics().expect("metrics").sum("outrigger_events_total", &[("outcome", "handled")]);
    }
    let metrics = sidecar.metrics().expect("metrics");
    let [unknown, failed] =
        ["unknown", "failed"].map(|result| metrics.sum("outrigger_commits_total", &[("result", result)]));
    let reported = metrics.sum("outrigger_publish_errors_total", &[]);
    let (audit, _) = settle(&job, sidecar);
    let proof = format!(
        "{happened} times no answer for 2 s; {reported} messages reported as not written, {unknown} commits unanswered, {failed} refused"
    );
    Outcome { cycles: times.len() as u32, happened, proof, audit }
}

fn restarted(run: &Run<'_>) -> Outcome {
    let kafka = Kafka::start_behind_proxy(&[]);
    let job = job(&kafka, "restarted");
    let (mut load, cycles) = (Load::default(), run.count(2, 10));
    let mut sidecar = job.sidecar().start();
    for cycle in 0..cycles {
        load.produce(&kafka, &job, 2_000);
        let handled = sidecar.metrics().map_or(0.0, |m| m.sum("outrigger_events_total", &[("outcome", "handled")]));
        sidecar.wait_handled(handled as u32 + 100);
        if cycle % 2 == 0 {
            kafka.stop()
        } else {
            kafka.crash()
        }
        kafka.start_again();
        sidecar.wait_for("all is committed", Duration::from_secs(180), |_| job.committed_all());
    }
    let (audit, exit) = settle(&job, sidecar);
    let happened = exit.said("onnection refused");
    let proof = format!("{cycles} restarts; {happened} log lines about refused connections");
    Outcome { cycles, happened, proof, audit }
}

/// The last commit cannot be answered: the process must end in time all the same,
/// and say that records will come again.
fn gone(run: &Run<'_>) -> Outcome {
    let kafka = Kafka::start_behind_proxy(&[]);
    let (job, mut load, cycles) = (job(&kafka, "gone").rest("shutdownTimeout: 10s"), Load::default(), run.count(1, 5));
    let (mut happened, mut longest) = (0, Duration::ZERO);
    for _ in 0..cycles {
        load.produce(&kafka, &job, 3_000);
        let mut sidecar = job.sidecar().start();
        sidecar.wait_handled(300);
        kafka.crash();
        let exit = sidecar.terminate();
        exit.must_be(1).must_say("will come again");
        longest = longest.max(exit.took);
        assert!(exit.took < Duration::from_secs(12), "it took {:?}", exit.took);
        happened += 1;
        kafka.start_again();
    }
    let proof = format!("{happened} times exit code 1, the slowest after {longest:.1?} of 10 s");
    Outcome { cycles, happened, proof, audit: finish(&job) }
}
