//! Members that come and go.

use std::time::{Duration, Instant};

use outrigger_tests::{Event, Expect, Job, PATIENCE, Running, let_it_last};

use crate::row::{Load, Outcome, Row, Run, SESSION, job, settle};

pub fn rows() -> Vec<Row> {
    vec![
        Row { name: "storm", fault: "rebalance storm: a member joins or leaves every second", quick: true, run: storm },
        Row {
            name: "storm-poison",
            fault: "rebalance storm while a third of the records fails at every attempt",
            quick: false,
            run: storm_of_poison,
        },
        Row {
            name: "retries",
            fault: "rebalance while keys wait for a retry and partitions are full",
            quick: false,
            run: retries,
        },
        Row {
            name: "long-handler",
            fault: "handler longer than max.poll.interval.ms",
            quick: false,
            run: long_handler,
        },
    ]
}

/// What a member says when partitions come or go.
const REBALANCED: [&str; 2] = ["partitions assigned", "partitions revoked"];

/// Members of one group, of which some have been told to end.
struct Members<'j> {
    job: &'j Job<'j>,
    staying: Vec<Running>,
    leaving: Vec<Running>,
    rebalances: usize,
    ends: [usize; 2],
}

impl<'j> Members<'j> {
    fn new(job: &'j Job<'j>) -> Members<'j> {
        let mut first = job.sidecar().start();
        first.wait_ready();
        Members { job, staying: vec![first], leaving: Vec::new(), rebalances: 0, ends: [0; 2] }
    }

    fn join(&mut self) {
        self.staying.push(self.job.sidecar().start());
    }

    /// The oldest or the youngest ends, in order; it is not waited for.
    fn leave(&mut self) {
        let which = if fastrand::bool() { 0 } else { self.staying.len() - 1 };
        self.leave_at(which);
    }

    fn leave_oldest(&mut self) {
        self.leave_at(0);
    }

    fn leave_at(&mut self, which: usize) {
        let member = self.staying.remove(which);
        member.signal_to_end();
        self.leaving.push(member);
    }

    fn change(&mut self, most: usize) {
        match self.staying.len() {
            1 => self.join(),
            some if some < most && fastrand::bool() => self.join(),
            _ => self.leave(),
        }
    }

    /// Waits for those that were told to end; returns the first of the others.
    fn end(&mut self) -> Running {
        while self.staying.len() > 1 {
            self.leave();
        }
        for member in std::mem::take(&mut self.leaving) {
            let exit = member.wait_end();
            self.rebalances += REBALANCED.iter().map(|text| exit.said(text)).sum::<usize>();
            // One that is told to end amid a rebalance may be refused its last commit,
            // and says so; anything else is a failure.
            let code = exit.status.code().and_then(|code| usize::try_from(code).ok()).filter(|&code| code < 2);
            self.ends[code.unwrap_or_else(|| panic!("a member ended with {}", exit.status))] += 1;
        }
        let last = self.staying.pop().expect("one member stays");
        self.rebalances += REBALANCED.iter().map(|text| last.said(text)).sum::<usize>();
        last
    }
}

fn storm(run: &Run<'_>) -> Outcome {
    let (job, mut load) = (Job::new_on(run.kafka, "storm", 6).properties(SESSION), Load::default());
    let mut members = Members::new(&job);
    let (cycles, mut next) = (run.count(15, 120), Instant::now());
    for _ in 0..cycles {
        load.produce(run.kafka, &job, 300);
        members.change(4);
        next += Duration::from_secs(1);
        let_it_last(next.saturating_duration_since(Instant::now()));
    }
    let last = members.end();
    let (audit, _) = settle(&job, last);
    let Members { rebalances, ends: [ok, failed], .. } = members;
    let proof =
        format!("{rebalances} assignments and revocations; {} members left, {failed} with exit code 1", ok + failed);
    Outcome { cycles, happened: rebalances, proof, audit }
}

/// The attempts of the poison in [`storm_of_poison`], and what lies between two of them.
const ATTEMPTS: u32 = 9;
const BETWEEN: Duration = Duration::from_secs(2);
/// Members at a time, of which the oldest makes room for a new one each two seconds.
const TOGETHER: usize = 3;

/// No member lives long enough for all attempts of a record: that the retries end while
/// the storm goes on shows that their counts go along with the partitions.
fn storm_of_poison(run: &Run<'_>) -> Outcome {
    let job = Job::new_on(run.kafka, "storm-poison", 6)
        .properties(SESSION)
        .handler("circuit: false")
        .retry("{ strategy: fixed, initialDelay: 2s, maxDelay: 2s, jitter: 0, maxRetries: 8 }");
    let event = |n: u32| {
        let event = Event::new(format!("event-{n}")).key(format!("key-{n}"));
        match n % 3 {
            0 => event.doing("fail:100000").expect(Expect::DeadLetter("failed".to_owned())).record(),
            _ => event.record(),
        }
    };
    let mut members = Members::new(&job);
    let (cycles, mut next, mut made) = (run.count(20, 90), Instant::now(), 0);
    let mut births = std::collections::VecDeque::from([Instant::now()]);
    let mut longest = Duration::ZERO;
    for cycle in 0..cycles {
        // None of the last ones: there would be no time for their attempts.
        if cycle < cycles / 2 {
            run.kafka.produce(&job.topic, (made..made + 60).map(event));
            made += 60;
        }
        members.join();
        births.push_back(Instant::now());
        if members.staying.len() > TOGETHER {
            members.leave_oldest();
            longest = longest.max(births.pop_front().map_or(Duration::ZERO, |birth| birth.elapsed()));
        }
        next += Duration::from_secs(2);
        let_it_last(next.saturating_duration_since(Instant::now()));
    }
    let happened = run.kafka.read_all(&job.dead_letter).len();
    let last = members.end();
    let (audit, _) = settle(&job, last);
    let needed = BETWEEN * (ATTEMPTS - 1);
    let proof = format!(
        "{happened} of {} dead letters before the storm's end; a record's retries take {needed:?}, a member was told to leave after {longest:.1?} at most; {} rebalances",
        made / 3,
        members.rebalances
    );
    Outcome { cycles, happened: if longest < needed { happened } else { 0 }, proof, audit }
}

/// Every fifth key has a head that fails for longer than a member stays, before a
/// backlog that fills the buffers: partitions that are not read are revoked.
fn retries(run: &Run<'_>) -> Outcome {
    let job = job(run.kafka, "retries")
        .retry("{ strategy: fixed, initialDelay: 1500ms, jitter: 0, maxRetries: 50 }")
        .rest("buffer: { records: 100 }");
    let event = |n: u32| {
        let event = Event::new(format!("event-{n}")).key(format!("key-{}", n % 100));
        // A head: of each key, every tenth event.
        if n.is_multiple_of(5) && n % 1_000 < 100 { event.doing("fail:1").record() } else { event.record() }
    };
    run.kafka.produce(&job.topic, (0..run.count(2_000, 6_000)).map(event));
    let mut members = Members::new(&job);
    let (cycles, mut happened, mut waiting) = (run.count(6, 20), 0, 0.0);
    for _ in 0..cycles {
        let of_first = &mut members.staying[0];
        let retries = of_first.metrics().map_or(0.0, |metrics| metrics.sum("outrigger_retries_waiting", &[]));
        happened += usize::from(retries > 0.0);
        waiting = retries.max(waiting);
        members.change(3);
        let_it_last(Duration::from_secs(2));
    }
    let last = members.end();
    let (audit, _) = settle(&job, last);
    let proof = format!("{happened} changes while up to {waiting} keys waited; {} rebalances", members.rebalances);
    Outcome { cycles, happened: if members.rebalances > 0 { happened } else { 0 }, proof, audit }
}

/// The polling thread never waits for a handler, so the group does not move on.
fn long_handler(run: &Run<'_>) -> Outcome {
    let job = job(run.kafka, "long-handler")
        .properties(r#"session.timeout.ms: "6000", heartbeat.interval.ms: "1000", max.poll.interval.ms: "6000""#)
        .rest("drainTimeout: 2s")
        .handler("limits: { timeout: 60s }");
    let cycles = run.count(1, 3);
    let (mut sidecar, mut load, mut happened) = (job.sidecar().start(), Load::default(), 0);
    sidecar.wait_ready();
    for n in 0..cycles {
        let long = |m: u32| Event::new(format!("long-{n}-{m}")).key(format!("long-{m}")).doing("slow:9000").record();
        run.kafka.produce(&job.topic, (0..3).map(long));
        load.produce(run.kafka, &job, 300);
        let began = Instant::now();
        sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
        happened += usize::from(began.elapsed() > Duration::from_secs(7));
    }
    let (audit, exit) = settle(&job, sidecar);
    let left = exit.said("max.poll.interval.ms was exceeded");
    assert_eq!(left, 0, "the group moved on");
    Outcome {
        cycles,
        happened,
        proof: format!("{happened} times 9 s in a handler with 6 s allowed; {left} times the group moved on"),
        audit,
    }
}
