//! The sidecar with one worker, the neighbour's load, and the attacks one after the other,
//! then all at once.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use outrigger_tests::{Kafka, PATIENCE, Running, Server, Sidecar, let_it_last};

use crate::attack::Attack;
use crate::load::Seen;
use crate::modules::Modules;
use crate::row::{Phases, measure, row};
use crate::table::{Line, Verdicts};

/// Events by which the neighbour's capacity is measured.
const BURST: u64 = 10_000;

/// The share of its capacity that the neighbour is given to do.
const SHARE: f64 = 0.2;

/// Partitions of the attacks' topic.
const PARTITIONS: i32 = 4;

type Servers = HashMap<&'static str, Server>;

/// What all rows share.
pub struct Stage<'k> {
    pub kafka: &'k Kafka,
    /// The topic of the attacks.
    pub attacked: String,
    pub seen: Seen,
    /// Of the attacks that have one, by the attack's name.
    servers: Servers,
    /// When the neighbour's load began, and its rate.
    load: Mutex<Option<(Instant, f64)>>,
    made: Mutex<HashMap<&'static str, u64>>,
}

impl Stage<'_> {
    /// The server that an attack is granted.
    pub fn server(&self, attack: &Attack) -> Option<&Server> {
        self.servers.get(attack.name)
    }

    /// Adds to what was made for a route; how much that is.
    pub fn made(&self, route: &'static str, more: u64) -> u64 {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let made = made.entry(route).or_default();
        *made += more;
        *made
    }

    /// Waits until all events of the neighbour that were due by then are settled.
    pub fn wait_settled(&self, sidecar: &mut Running, by: Instant) {
        let load = *self.load.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, rate) = load.expect("the load has begun");
        let due = BURST + (by.saturating_duration_since(began).as_secs_f64() * rate) as u64;
        sidecar.wait_for("the neighbour's events are settled", PATIENCE, |_| match self.seen.count() as u64 {
            settled if settled >= due => Ok(()),
            settled => Err(format!("{settled} of {due}")),
        });
    }
}

/// Every attack's row, and what holds of all together.
pub fn rows(kafka: &Kafka, attacks: &[Attack], full: bool, verdicts: &mut Verdicts) {
    let name = Kafka::unique("hostile");
    let topic = |part: &str| format!("{name}.{part}");
    let stamped = [("message.timestamp.type", "LogAppendTime")];
    for (part, partitions) in
        [("neighbour", 1), ("out", 1), ("attacked", PARTITIONS), ("attacks", 1), ("dlq", PARTITIONS)]
    {
        kafka.create_topic_with(&topic(part), partitions, &stamped);
    }
    let modules = Modules::new();
    let servers: Servers =
        attacks.iter().filter_map(|attack| Some((attack.name, Server::start(attack.server?)))).collect();
    let sidecar = Sidecar::with(manifest(&name, &modules, attacks, &servers)).on(kafka);
    let stage = Stage {
        kafka,
        attacked: topic("attacked"),
        seen: Seen::new(),
        servers,
        load: Mutex::default(),
        made: Mutex::default(),
    };
    let mut sidecar = sidecar.start();
    sidecar.wait_ready();
    std::thread::scope(|scope| {
        scope.spawn(|| stage.seen.watch(kafka, &topic("out"), &topic("dlq"), PARTITIONS));
        let done = catch_unwind(AssertUnwindSafe(|| {
            let capacity = capacity(&stage, &mut sidecar, &topic("neighbour"));
            let rate = capacity * SHARE;
            verdicts.note(format!(
                "The neighbour's capacity on one worker is {capacity:.0} events/s; its load is {rate:.0} events/s."
            ));
            *stage.load.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), rate));
            let (seen, to) = (&stage.seen, topic("neighbour"));
            scope.spawn(move || seen.send(kafka, &to, rate));
            let_it_last(Duration::from_secs(1));
            all(&stage, &mut sidecar, attacks, &modules, Phases::of(full), verdicts);
        }));
        stage.seen.stop();
        done.unwrap_or_else(|panic| resume_unwind(panic));
    });
    let exit = sidecar.terminate();
    let escapes = exit.log.iter().filter(|line| line.contains(['\x1b', '\x07', '\r', '\u{202e}'])).count();
    verdicts.check("terminal escapes in the log", format!("{escapes} lines of {}", exit.log.len()), escapes == 0);
    let longest = exit.log.iter().map(String::len).max().unwrap_or(0);
    verdicts.check("the longest line of the log", format!("{longest} bytes"), longest <= LONGEST_LINE);
    verdicts.check("SIGTERM after all attacks", format!("{}", exit.status), exit.status.success());
}

fn all(
    stage: &Stage<'_>,
    sidecar: &mut Running,
    attacks: &[Attack],
    modules: &Modules,
    phases: Phases,
    verdicts: &mut Verdicts,
) {
    let resident = sidecar.resident_kib();
    for attack in attacks {
        if attack.name == "start" {
            let_it_last(modules.late().duration_since(SystemTime::now()).unwrap_or_default());
        }
        let line = row(stage, sidecar, attack, phases);
        verdicts.line(line);
    }
    if attacks.len() == 1 {
        return;
    }
    let before: u64 = attacks.iter().map(|attack| happened(stage, sidecar, attack)).sum();
    let pid = sidecar.id();
    let (over, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let measured = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                most.fetch_max(resident_of(pid), Ordering::Relaxed);
                let_it_last(Duration::from_millis(50));
            }
        });
        let measured = catch_unwind(AssertUnwindSafe(|| measure(stage, sidecar, attacks, phases)));
        over.store(true, Ordering::Relaxed);
        measured.unwrap_or_else(|panic| resume_unwind(panic))
    });
    let after: u64 = attacks.iter().map(|attack| happened(stage, sidecar, attack)).sum();
    // Printed, not judged: all these handlers share one worker, and take all they may have.
    verdicts.line(Line {
        what: "all of them at once",
        happened: after - before,
        end: "each as above".to_owned(),
        wrong: None,
        bound: measured.beside.settled,
        measured,
    });
    let most = most.into_inner();
    let found = format!("{resident} KiB before all, {most} KiB at most, {} KiB after", sidecar.resident_kib());
    verdicts.check("resident memory", found, most < MOST_KIB);
    let alive = sidecar.get("/livez").map(|(status, _)| status);
    verdicts.check(
        "the process",
        format!("still {pid}, /livez says {alive:?}"),
        alive == Ok(200) && sidecar.id() == pid,
    );
    if phases.is_full() {
        let_it_last(REST);
        let kept = sidecar.resident_kib();
        let found = format!("{kept} KiB once all attacks have been over for {} s", REST.as_secs());
        verdicts.check("resident memory at rest", found, kept < KEPT_KIB);
    }
}

/// Longer than idle instances are kept.
const REST: Duration = Duration::from_secs(90);

/// What the process may keep once all attacks are over, in KiB: what it had before them, and
/// what each of its 2,048 slots keeps.
const KEPT_KIB: u64 = 256 << 10;

/// Bytes of a line of the log: 4 KiB of what a guest wrote, each byte escaped by up to seven,
/// and what stands beside it.
const LONGEST_LINE: usize = 7 * 4 * 1024 + 1024;

/// What the process may take with all attacks at once: those on memory may hold eight
/// times 64 MiB, the loops 1,000 small instances, and each of the others a few.
const MOST_KIB: u64 = 2 << 20;

fn resident_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// How often an attack was made so far: events that ended with an output or a dead letter.
fn happened(stage: &Stage<'_>, sidecar: &Running, attack: &Attack) -> u64 {
    let outputs = sidecar.metrics().expect("metrics").sum("outrigger_outputs_total", &[("route", attack.name)]);
    outputs as u64 + stage.seen.ended(attack.name).iter().map(|(_, attempts)| attempts.len() as u64).sum::<u64>()
}

/// Events a second that the neighbour settles where it has them all at once.
fn capacity(stage: &Stage<'_>, sidecar: &mut Running, topic: &str) -> f64 {
    let began = Instant::now();
    stage.seen.burst(stage.kafka, topic, BURST);
    sidecar.wait_for("the burst is settled", PATIENCE, |_| match stage.seen.count() as u64 {
        BURST => Ok(()),
        settled => Err(format!("{settled} of {BURST}")),
    });
    let mut settled: Vec<Instant> =
        stage.seen.between(began, Instant::now()).iter().map(|sample| sample.due + sample.seen).collect();
    settled.sort_unstable();
    // Its middle, without start and end.
    let (from, to) = (settled.len() / 5, settled.len() * 4 / 5);
    (to - from) as f64 / settled[to].saturating_duration_since(settled[from]).as_secs_f64()
}

fn manifest(name: &str, modules: &Modules, attacks: &[Attack], servers: &Servers) -> String {
    let handlers: String = attacks.iter().map(|attack| attack.handler(modules, servers.get(attack.name))).collect();
    let routes: String = attacks.iter().map(|attack| attack.route(&format!("{name}.attacks"))).collect();
    format!(
        r#"apiVersion: outrigger/v1
kafka:
  bootstrapServers: ${{KAFKA_BOOTSTRAP_SERVERS}}
  groupId: {name}
  topics: [{name}.neighbour, {name}.attacked]
handlers:
  neighbour:
    module: {guest}
{handlers}routes:
  - {{ name: neighbour, match: {{ type: neighbour }}, handler: neighbour, output: {name}.out }}
{routes}defaults:
  retry: {{ strategy: none }}
  deadLetter: {{ topic: {name}.dlq }}
workers: 1
commitInterval: 500ms
"#,
        guest = modules.guest().display()
    )
}
