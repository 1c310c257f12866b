//! One attack beside the neighbour: its phases, and what they come to.

use std::time::{Duration, Instant, SystemTime};

use outrigger_tests::{Manner, PATIENCE, ProcessorTime, Running, Server, let_it_last};

use crate::attack::{Attack, End};
use crate::load::{Attempt, Ended, Sample, event, millis, producer, send};
use crate::stage::Stage;
use crate::table::{Line, Times};

/// How often an attack's events are sent: those that are due by then.
const STEP: Duration = Duration::from_millis(20);

/// Idle connections that a handler may keep on a worker, as docs/handlers.md says.
const KEPT: usize = 16;

/// How long connections may take to close once all calls have ended: far less than idle
/// ones are kept.
const CLOSED: Duration = Duration::from_secs(5);

/// The share of the processors' time that may be stolen in a turn that counts.
const STOLEN: f64 = 0.02;

/// How many turns of a row may be taken again because of that; what comes then counts.
const AGAIN: u32 = 12;

/// How long the phases last, and how often they take turns.
#[derive(Clone, Copy)]
pub struct Phases {
    alone: Duration,
    beside: Duration,
    /// The fewest turns.
    turns: u32,
    /// How long all phases beside an attack last together, at least.
    in_all: Duration,
    /// The measurement is one for the record: the bound is the one that is promised, and a
    /// turn that the machine was taken away in is taken again.
    full: bool,
}

impl Phases {
    pub fn of(full: bool) -> Phases {
        let (alone, beside, turns, in_all) = if full { (1_500, 1_500, 3, 9_000) } else { (1_000, 1_500, 1, 0) };
        let [alone, beside, in_all] = [alone, beside, in_all].map(Duration::from_millis);
        Phases { alone, beside, turns, in_all, full }
    }

    pub fn is_full(&self) -> bool {
        self.full
    }

    /// What the neighbour may take beside an attack. On a machine that others use too,
    /// enough that only what stands still is found.
    fn bound(&self, alone: Duration) -> Duration {
        let promised = (3 * alone).max(alone + Duration::from_millis(3));
        if self.full { promised } else { 10 * promised + Duration::from_secs(2) }
    }
}

/// What was measured of the neighbour.
pub struct Measured {
    pub alone: Times,
    pub beside: Times,
    /// How many turns were taken again, as too much of the processors' time was stolen.
    pub again: u32,
}

/// Measures the neighbour by turns alone and beside these attacks, made all at once.
pub fn measure(stage: &Stage<'_>, sidecar: &mut Running, attacks: &[Attack], phases: Phases) -> Measured {
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (mut turns, mut in_all, mut again) = (0, Duration::ZERO, 0);
    while turns < phases.turns || in_all < phases.in_all {
        let (began, time) = (Instant::now(), ProcessorTime::now());
        let_it_last(phases.alone);
        let attacked = Instant::now();
        let lasts = match attacks {
            [Attack { end: End::TimedOut(timeout), at_once: 2.., .. }] => *timeout,
            _ => Duration::ZERO,
        };
        let made = attack(stage, attacks, phases.beside.max(lasts));
        let (ended, stolen) = (Instant::now(), ProcessorTime::now().stolen_since(time));
        for (attack, made) in attacks.iter().zip(made) {
            let what = format!("the {made} events of `{}` are settled", attack.name);
            let before = stage.made(attack.name, made);
            sidecar.wait_for(&what, PATIENCE, |sidecar| {
                match sidecar
                    .metrics()?
                    .sum("outrigger_events_total", &[("route", attack.name), ("outcome", "handled")])
                    + sidecar
                        .metrics()?
                        .sum("outrigger_events_total", &[("route", attack.name), ("outcome", "dead_lettered")])
                {
                    settled if settled >= before as f64 => Ok(()),
                    settled => Err(format!("{settled} of {before}")),
                }
            });
        }
        // All of them, or those that take longest would be left out.
        stage.wait_settled(sidecar, ended);
        // All attacks at once are not judged.
        if phases.full && attacks.len() == 1 && stolen > STOLEN && again < AGAIN {
            again += 1;
            continue;
        }
        (turns, in_all) = (turns + 1, in_all + (ended - attacked));
        alone.extend(stage.seen.between(began, attacked));
        beside.extend(stage.seen.between(attacked, ended));
    }
    Measured { alone: times(&alone), beside: times(&beside), again }
}

/// One row of the table.
pub fn row(stage: &Stage<'_>, sidecar: &mut Running, attack: &Attack, phases: Phases) -> Line {
    let swallowed = |sidecar: &Running| {
        let metrics = sidecar.metrics().expect("metrics");
        metrics.sum("outrigger_guest_log_bytes_dropped_total", &[])
    };
    let before = swallowed(sidecar);
    let measured = measure(stage, sidecar, std::slice::from_ref(attack), phases);
    let swallowed = (swallowed(sidecar) - before) as u64;
    let outputs = sidecar.metrics().expect("metrics").sum("outrigger_outputs_total", &[("route", attack.name)]) as u64;
    let mut found = Found::of(attack, &stage.seen.ended(attack.name), outputs, swallowed);
    if let (Some(manner), Some(server)) = (attack.server, stage.server(attack)) {
        found.look_at(server, manner);
    }
    let Found { happened, end, wrong } = found;
    Line { what: attack.what, happened, end, wrong, bound: phases.bound(measured.alone.settled), measured }
}

/// What came of an attack's calls.
struct Found {
    happened: u64,
    end: String,
    wrong: Option<String>,
}

impl Found {
    /// Goes by the dead letters, the number of outputs and the bytes of log swallowed.
    fn of(attack: &Attack, dead: &[(Ended, Vec<Attempt>)], outputs: u64, swallowed: u64) -> Found {
        let (class, reason) = match attack.end {
            End::Failed(class, reason) => (class, reason.to_owned()),
            End::TimedOut(timeout) => ("timeout", format!("longer than the timeout of {timeout:?}")),
            End::Handled | End::Swallowed => ("", String::new()),
        };
        let (as_said, other): (Vec<_>, Vec<_>) =
            dead.iter().partition(|(ended, _)| ended.class == class && ended.reason.contains(&reason));
        let attempts: Vec<Attempt> = as_said.into_iter().flat_map(|(_, attempts)| attempts).copied().collect();
        let wrong = other.first().map(|(e, attempts)| format!("{} ended as {}: {}", attempts.len(), e.class, e.reason));
        let failed = format!("{class}: {reason}");
        let (happened, end, more) = match attack.end {
            End::Failed(..) => (attempts.len() as u64, failed, None),
            End::TimedOut(timeout) => {
                let (more, problem) = timed_out(&attempts, timeout, attack.at_once);
                (attempts.len() as u64, failed + &more, problem)
            }
            End::Handled => (outputs, "handled".to_owned(), None),
            End::Swallowed => {
                let nothing = (swallowed == 0).then(|| "nothing was swallowed".to_owned());
                (outputs, format!("handled; {} KiB swallowed", swallowed / 1024), nothing)
            }
        };
        Found { happened, end, wrong: wrong.or(more) }
    }

    /// Goes by what the server saw too: every call asked it, and no connection stays open
    /// but those that may be used again.
    fn look_at(&mut self, server: &Server, manner: Manner) {
        let kept = if manner == Manner::Answers { KEPT } else { 0 };
        let (requests, open) = (server.requests(), server.wait_closed(kept, CLOSED));
        self.end = format!("{}; {requests} requests, then {open} connections open", self.end);
        let wrong = match (requests, open) {
            _ if open > kept => Some(format!("{open} CONNECTIONS STAY OPEN")),
            _ if requests < self.happened => Some("VOID: the server was not asked".to_owned()),
            _ => None,
        };
        self.wrong = self.wrong.take().or(wrong);
    }
}

/// What is to be said of calls that timed out, and what is wrong: how long they took,
/// and, if that matters, how many of them were under way at once.
fn timed_out(attempts: &[Attempt], timeout: Duration, at_once: usize) -> (String, Option<String>) {
    let mut took: Vec<Duration> = attempts.iter().map(|a| a.settled.saturating_sub(a.began)).collect();
    took.sort_unstable();
    let median = took.get(took.len() / 2).copied().unwrap_or_default();
    // To its dead letter being written, on a machine that may be busy.
    let late = (median > 2 * timeout).then(|| format!("TOO LATE: after {median:.1?}"));
    if at_once == 1 {
        return (String::new(), late);
    }
    let most = most_at_once(attempts, timeout);
    let few = (most < at_once).then(|| format!("VOID: never {at_once} at once"));
    (format!("; {most} at once"), few.or(late))
}

/// The most attempts that were under way at once, of those that took so long or longer.
fn most_at_once(attempts: &[Attempt], took: Duration) -> usize {
    let mut began: Vec<Duration> = attempts.iter().map(|attempt| attempt.began).collect();
    began.sort_unstable();
    let mut first = 0;
    // Under way as each of them began: those that had begun so long before or less.
    let under_way = began.iter().enumerate().map(|(n, &latest)| {
        while began[first] + took <= latest {
            first += 1;
        }
        n + 1 - first
    });
    under_way.max().unwrap_or(0)
}

/// Sends the events of these attacks for a while; how many of each.
fn attack(stage: &Stage<'_>, attacks: &[Attack], length: Duration) -> Vec<u64> {
    let producer = producer(stage.kafka);
    let port = |attack| stage.server(attack).map(|server| format!(" port={}", server.address().port()));
    let orders: Vec<String> =
        attacks.iter().map(|attack| format!("{}{}", attack.order, port(attack).unwrap_or_default())).collect();
    let until = millis(SystemTime::now() + length);
    let began = Instant::now();
    let mut made = vec![0_u64; attacks.len()];
    while began.elapsed() < length {
        for ((attack, order), made) in attacks.iter().zip(&orders).zip(&mut made) {
            while *made < attack.most() && began.elapsed().as_secs_f64() * f64::from(attack.rate) >= *made as f64 {
                let key = format!("{}-{}", attack.name, *made % u64::from(attack.keys));
                let data = format!("{order} until={until}");
                send(&producer, &stage.attacked, &event(attack.name, *made, &key, &data));
                *made += 1;
            }
        }
        producer.poll(Duration::ZERO);
        let_it_last(STEP);
    }
    rdkafka::producer::Producer::flush(&producer, PATIENCE).expect("all events are written");
    made
}

fn times(samples: &[Sample]) -> Times {
    assert!(samples.len() >= 100, "{} events of the neighbour are too few to say anything", samples.len());
    let p99 = |time: fn(&Sample) -> Duration| {
        let mut times: Vec<Duration> = samples.iter().map(time).collect();
        times.sort_unstable();
        // The nearest rank: a time that was measured.
        times[(times.len() * 99).div_ceil(100) - 1]
    };
    Times { settled: p99(|sample| sample.settled), seen: p99(|sample| sample.seen) }
}
