//! What a guest reaches for and what it leaves behind, seen from outside: the process's
//! descriptors, a port where somebody listens, the next event.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, SystemTime};

use outrigger_tests::{Kafka, PATIENCE, Record, Running, Sidecar};

use crate::load::{event, millis};
use crate::modules::Modules;
use crate::table::Verdicts;

/// Files, the environment, sockets; then state, for both kinds of instances.
pub fn rows(kafka: &Kafka, verdicts: &mut Verdicts) {
    let name = Kafka::unique("outside");
    for topic in [name.clone(), format!("{name}.out"), format!("{name}.dlq")] {
        kafka.create_topic(&topic, 1);
    }
    let modules = Modules::new();
    let secret = modules.folder().join("secret.txt");
    fs::write(&secret, "a secret").expect("a file");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let datagrams = UdpSocket::bind(("127.0.0.1", port)).expect("the same port");
    listener.set_nonblocking(true).expect("a listener that does not wait");
    datagrams.set_nonblocking(true).expect("a socket that does not wait");

    let mut sidecar = Sidecar::with(manifest(&name, &modules)).on(kafka).start();
    sidecar.wait_ready();
    let until = millis(SystemTime::now() + Duration::from_secs(3600));
    let tell = |route: &str, what: &str| {
        kafka.produce(&name, [event(route, 0, "k", &format!("do={what} until={until}"))]);
    };
    // Once before the look, so that everything that a call needs is there.
    tell("reach", "find");
    let _ = answers(kafka, &mut sidecar, &name, 1);
    let before = descriptors(&sidecar);
    tell("reach", &format!("powers file={} port={port}", secret.display()));
    let found = answers(kafka, &mut sidecar, &name, 2).pop().unwrap_or_default();
    verdicts.check(
        "arguments, environment, input, files, sockets, names",
        format!("the guest found {found}"),
        found == "nothing",
    );
    let new: Vec<String> = descriptors(&sidecar).difference(&before).cloned().collect();
    verdicts.check("the process's descriptors", format!("{} before, new since: {new:?}", before.len()), new.is_empty());
    let (connected, sent) = (listener.accept().map(drop), datagrams.recv(&mut [0; 16]).map(drop));
    let nobody = |result: &std::io::Result<()>| result.as_ref().is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
    verdicts.check(
        "a port where somebody listens",
        format!("connections {}, datagrams {}", u8::from(!nobody(&connected)), u8::from(!nobody(&sent))),
        nobody(&connected) && nobody(&sent),
    );
    let mut count = 2;
    for (route, expected) in [("fresh", "nothing"), ("warm", "a static")] {
        tell(route, "leave");
        tell(route, "find");
        count += 1;
        let found = answers(kafka, &mut sidecar, &name, count).pop().unwrap_or_default();
        let says = format!("the next event found {found}");
        verdicts.check(format!("state left behind, instance: {route}"), says, found == expected);
    }
    sidecar.terminate().must_succeed();
}

/// What the guest said, once it has said so much.
fn answers(kafka: &Kafka, sidecar: &mut Running, name: &str, count: usize) -> Vec<String> {
    let text = |record: Record| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
    sidecar.wait_for("the guest answers", PATIENCE, |_| {
        let dead = kafka.read_all(&format!("{name}.dlq"));
        assert!(
            dead.is_empty(),
            "an attempt failed: {:?}",
            dead.iter().map(|d| d.failure("reason")).collect::<Vec<_>>()
        );
        let answers: Vec<String> = kafka.read_all(&format!("{name}.out")).into_iter().map(text).collect();
        if answers.len() >= count { Ok(answers) } else { Err(format!("{} answers", answers.len())) }
    })
}

/// What the process has open, by number and name. Connections to Kafka come and go: of
/// sockets only those that lead elsewhere count, which a listener sees better.
fn descriptors(sidecar: &Running) -> BTreeSet<String> {
    let folder = fs::read_dir(format!("/proc/{}/fd", sidecar.id())).expect("the process's descriptors");
    let names = folder.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    names.map(|name| name.display().to_string()).filter(|name| !name.starts_with("socket:")).collect()
}

fn manifest(name: &str, modules: &Modules) -> String {
    let guest = modules.guest();
    let module = guest.display();
    format!(
        r#"apiVersion: outrigger/v1
kafka: {{ bootstrapServers: "${{KAFKA_BOOTSTRAP_SERVERS}}", groupId: {name}, topics: [{name}] }}
handlers:
  reach: {{ module: {module} }}
  fresh: {{ module: {module}, instance: fresh, concurrency: 1 }}
  warm: {{ module: {module}, instance: warm, concurrency: 1 }}
routes:
  - {{ name: reach, match: {{ type: reach }}, handler: reach, output: {name}.out }}
  - {{ name: fresh, match: {{ type: fresh }}, handler: fresh, output: {name}.out }}
  - {{ name: warm, match: {{ type: warm }}, handler: warm, output: {name}.out }}
defaults:
  retry: {{ strategy: none }}
  deadLetter: {{ topic: {name}.dlq }}
workers: 1
"#
    )
}
