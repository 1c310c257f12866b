//! Permissions and users that are taken away while the sidecar is connected, and
//! given back.

use std::time::{Duration, Instant};

use outrigger_tests::{Job, Kafka, PATIENCE, Running, let_it_last};

use crate::fatal::RENEWED;
use crate::row::{Load, Outcome, Row, Run, SESSION, settle};

pub fn rows() -> Vec<Row> {
    let row = |name, fault, run| Row { name, fault, quick: false, run };
    vec![
        row("acl-input", "input topic: READ denied, then granted", |run| denied(run, "acl-input", Denied::Input)),
        row("acl-group", "group: READ denied, then granted", |run| denied(run, "acl-group", Denied::Group)),
        row("acl-output", "output topic: WRITE denied, then granted", |run| denied(run, "acl-output", Denied::Output)),
        row("acl-dlq", "dead-letter topic: WRITE denied, then granted", |run| {
            denied(run, "acl-dlq", Denied::DeadLetter)
        }),
        row("acl-start", "every WRITE denied at the start, then granted", denied_at_the_start),
        row("revoked", "user deleted while connected, then created again", revoked),
    ]
}

const USER: &str = "User:outrigger";
const PASSWORD: &str = "opensesame";
const LAG: &str = "outrigger_consumer_lag_records";

/// What is denied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Denied {
    Input,
    Group,
    Output,
    DeadLetter,
}

impl Denied {
    /// As arguments for the permissions' tool.
    fn arguments<'j>(self, job: &'j Job<'_>) -> [&'j str; 6] {
        let (operation, kind, name) = match self {
            Denied::Input => ("Read", "--topic", &job.topic),
            Denied::Group => ("Read", "--group", &job.group),
            Denied::Output => ("Write", "--topic", &job.output),
            Denied::DeadLetter => ("Write", "--topic", &job.dead_letter),
        };
        ["--deny-principal", USER, "--operation", operation, kind, name]
    }
}

/// A broker whose proxied listener wants a user and a password, and grants only what
/// is permitted. The other listener, which the tests and the broker itself use, may do everything.
fn guarded(mechanism: &str, settings: &[(&str, &str)]) -> Kafka {
    let jaas = "listener.name.proxied.plain.sasl.jaas.config";
    let plain =
        format!(r#"org.apache.kafka.common.security.plain.PlainLoginModule required user_outrigger="{PASSWORD}";"#);
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;".to_owned();
    let jaas = match mechanism {
        "PLAIN" => (jaas, &*plain),
        _ => ("listener.name.proxied.scram-sha-256.sasl.jaas.config", &*scram),
    };
    let own = [
        ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
        ("super.users", "User:ANONYMOUS"),
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,PROXIED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("listener.name.proxied.sasl.enabled.mechanisms", mechanism),
        jaas,
    ];
    Kafka::start_behind_proxy(&[&own, settings].concat())
}

/// A job whose user may do what a sidecar needs, and nothing else.
fn permitted<'k>(kafka: &'k Kafka, name: &str, mechanism: &str) -> Job<'k> {
    let properties = format!(
        "{SESSION}, security.protocol: sasl_plaintext, sasl.mechanism: {mechanism}, sasl.username: outrigger, sasl.password: {PASSWORD}"
    );
    let job = Job::new_on(kafka, name, 3)
        .properties(&properties)
        // More attempts than a denial lasts: what cannot be written is to be written later.
        .retry("{ strategy: fixed, initialDelay: 500ms, jitter: 0, maxRetries: 1000 }");
    for (operation, kind) in [("Read", "--topic"), ("Write", "--topic"), ("Read", "--group")] {
        // The names of the job's topics and of its group begin with that of its input.
        let prefixed = ["--resource-pattern-type", "prefixed", kind, &job.topic];
        kafka.permit(&[&["--allow-principal", USER, "--operation", operation][..], &prefixed].concat());
    }
    job
}

/// How often its log says that something is not permitted.
fn refusals(sidecar: &Running) -> usize {
    sidecar.said("uthorization") + sidecar.said("uthorized")
}

fn denied(run: &Run<'_>, name: &str, what: Denied) -> Outcome {
    let kafka = guarded("PLAIN", &[]);
    let job = permitted(&kafka, name, "PLAIN");
    let (mut sidecar, mut load) = (job.proxied_sidecar().start(), Load::default());
    let (cycles, mut happened) = (run.count(1, 3), 0);
    let denial = what.arguments(&job);
    for _ in 0..cycles {
        load.produce(&kafka, &job, run.count(500, 3_000));
        let handled = sidecar.metrics().map_or(0.0, |m| m.sum("outrigger_events_total", &[("outcome", "handled")]));
        sidecar.wait_handled(handled as u32 + 50);
        kafka.permit(&denial);
        // More of everything, so that what is denied is also tried.
        load.produce(&kafka, &job, run.count(500, 3_000));
        let_it_last(Duration::from_secs(10));
        let waiting = job.uncommitted();
        happened += usize::from(waiting > 0 && refusals(&sidecar) > 0);
        assert_eq!(sidecar.get("/livez").expect("an answer").0, 200);
        if what == Denied::Input {
            sidecar.wait_not_ready("uthoriz");
            let lag = sidecar.metrics().expect("metrics").values(LAG, &[("topic", &job.topic)]);
            assert_eq!(lag, [0.0; 0], "nobody knows how far behind a partition is that cannot be read");
        }
        kafka.permit_no_more(&denial);
        sidecar.wait_for("all is committed", 2 * PATIENCE, |_| job.committed_all());
        sidecar.wait_ready();
    }
    let (audit, exit) = settle(&job, sidecar);
    let lines = exit.said("uthorization") + exit.said("uthorized");
    let proof = format!("{happened} times records uncommitted after 10 s; {lines} log lines about authorization");
    Outcome { cycles, happened, proof, audit }
}

/// An idempotent producer asks for an id first, which a user without any WRITE does
/// not get: for librdkafka a fatal error, which a new producer meets again until it is permitted.
fn denied_at_the_start(run: &Run<'_>) -> Outcome {
    let kafka = guarded("PLAIN", &[]);
    let job = permitted(&kafka, "acl-start", "PLAIN");
    let denial = [
        "--deny-principal",
        USER,
        "--operation",
        "Write",
        "--resource-pattern-type",
        "prefixed",
        "--topic",
        &job.topic,
    ];
    kafka.permit(&denial);
    let mut load = Load::default();
    load.produce(&kafka, &job, run.count(500, 3_000));
    let mut sidecar = job.proxied_sidecar().start();
    sidecar.wait_for_line(RENEWED);
    let began = Instant::now();
    let_it_last(Duration::from_secs(10));
    // One a second for outputs, one for dead letters.
    let (renewed, seconds) = (sidecar.said(RENEWED), began.elapsed().as_secs() as usize + 2);
    assert!(renewed <= 2 * seconds, "{renewed} producers in {seconds} s");
    kafka.permit_no_more(&denial);
    sidecar.wait_for("all is committed", 2 * PATIENCE, |_| job.committed_all());
    let (audit, exit) = settle(&job, sidecar);
    let happened = exit.said(RENEWED);
    let proof = format!("{happened} times a new producer took over, until one was permitted to write");
    Outcome { cycles: 1, happened, proof, audit }
}

/// The broker asks for the password again every 5 s, so a connection does not outlive its user.
fn revoked(run: &Run<'_>) -> Outcome {
    let kafka = guarded("SCRAM-SHA-256", &[("listener.name.proxied.scram-sha-256.connections.max.reauth.ms", "5000")]);
    kafka.create_user("outrigger", PASSWORD);
    let job = permitted(&kafka, "revoked", "SCRAM-SHA-256");
    let (mut sidecar, mut load) = (job.proxied_sidecar().start(), Load::default());
    let (cycles, mut happened) = (run.count(1, 3), 0);
    for _ in 0..cycles {
        load.produce(&kafka, &job, run.count(500, 3_000));
        let handled = sidecar.metrics().map_or(0.0, |m| m.sum("outrigger_events_total", &[("outcome", "handled")]));
        sidecar.wait_handled(handled as u32 + 50);
        kafka.delete_user("outrigger");
        sidecar.wait_for_line("uthentication failed");
        sidecar.wait_not_ready("");
        load.produce(&kafka, &job, run.count(500, 3_000));
        // By now no connection is left that was made with the password.
        let_it_last(Duration::from_secs(8));
        let committed = kafka.committed(&job.group, &job.topic);
        let_it_last(Duration::from_secs(5));
        assert_eq!(kafka.committed(&job.group, &job.topic), committed, "something got through");
        happened += usize::from(job.uncommitted() > 0);
        kafka.create_user("outrigger", PASSWORD);
        sidecar.wait_for("all is committed", 2 * PATIENCE, |_| job.committed_all());
    }
    let (audit, _) = settle(&job, sidecar);
    let proof =
        format!("{happened} times not ready, `Authentication failed` in the log, and nothing committed for 5 s");
    Outcome { cycles, happened, proof, audit }
}
