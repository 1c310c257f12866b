//! Starting on bad input, and without a broker.

use std::io::ErrorKind;
use std::net::TcpListener;

use outrigger_tests::{Event, Exit, Kafka, Ledger, Sidecar, free_port};

use crate::job::{Job, PATIENCE};

#[test]
fn a_broker_that_comes_later_is_waited_for() {
    let job = Job::named("late", 1);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let mut sidecar = Sidecar::with(job.manifest()).at(&address).start();
    sidecar.wait_not_ready("");
    assert_eq!(sidecar.get("/livez").unwrap().0, 200);
    sidecar.wait_for_line(&address);

    let kafka = Kafka::start_on(port);
    for topic in [&job.topic, &job.output, &job.dead_letter] {
        kafka.create_topic(topic, 1);
    }
    kafka.produce(&job.topic, [Event::new("one").key("k").record()]);
    sidecar.wait_ready();
    sidecar.wait_for("all is committed", PATIENCE, |_| kafka.committed_all(&job.group, &job.topic));
    let exit = sidecar.terminate();
    exit.must_succeed();
    assert_eq!(Ledger::read(&kafka, &job.topic, &job.output, &job.dead_letter).must_balance().outputs, 1);
    // librdkafka tried many times meanwhile; a person is told once per interval.
    let said = exit.log.iter().filter(|line| line.contains(&address)).count();
    assert!((1..=4).contains(&said), "{said} lines about the broker:\n{}", exit.log.join("\n"));
}

/// Starts the command with a broker address of ours, waits for its end, and
/// fails if it connected there.
fn refused(start: impl FnOnce(&str) -> outrigger_tests::Running) -> Exit {
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    broker.set_nonblocking(true).unwrap();
    let exit = start(&broker.local_addr().unwrap().to_string()).wait_end();
    let connected = broker.accept().map_err(|e| e.kind());
    assert!(matches!(connected, Err(ErrorKind::WouldBlock)), "it connected before it looked: {connected:?}");
    exit.must_be(2);
    exit
}

fn refused_manifest(manifest: &str) -> Exit {
    refused(|broker| Sidecar::with(manifest).at(broker).start())
}

#[test]
fn a_bad_command_line_is_refused() {
    for arguments in [&["rnu"][..], &["run", "--no-such-option"], &["run", "a.yaml", "b.yaml"]] {
        let exit = refused(|broker| Sidecar::with("").at(broker).start_command(arguments));
        assert!(exit.log.iter().any(|line| line.contains("Usage") || line.contains("--help")), "{:?}", exit.log);
    }
    let exit = refused(|broker| Sidecar::with("").at(broker).start_command(&["run", "not-there.yaml"]));
    exit.must_say("not-there.yaml");
}

#[test]
fn a_bad_manifest_is_refused_with_the_place_and_a_suggestion() {
    let job = Job::named("bad-manifest", 1);
    let misspelt = job.manifest().replace("handler: ledger", "hanlder: ledger");
    let exit = refused_manifest(&misspelt);
    exit.must_say("`hanlder`");
    exit.must_say("did you mean `handler`?");
    let line = 1 + misspelt.lines().position(|line| line.contains("hanlder")).unwrap();
    exit.must_say(&format!("outrigger.yaml:{line}:5"));
    refused_manifest(&job.manifest().replace("handler: ledger", "handler: nobody")).must_say("nobody");
    refused_manifest(&job.manifest().replace("commitInterval: 250ms", "commitInterval: soon"))
        .must_say("commitInterval");
    refused_manifest("[").must_say("outrigger.yaml");
    refused_manifest("").must_say("outrigger.yaml");
}

#[test]
fn a_bad_module_is_refused_with_the_reason() {
    let job = Job::named("bad-module", 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("module.wasm");
    let with = |module: &std::path::Path| {
        let good = outrigger_tests::guest("guest-ledger");
        job.manifest().replace(&good.display().to_string(), &module.display().to_string())
    };
    refused_manifest(&with(&path)).must_say("module.wasm");
    // Text, and a core module without anything in it.
    for bytes in [&b"this is no module"[..], b"\0asm\x01\0\0\0"] {
        std::fs::write(&path, bytes).unwrap();
        refused_manifest(&with(&path)).must_say("ledger");
    }
    // An empty component: it lacks the export.
    std::fs::write(&path, b"\0asm\x0d\0\x01\0").unwrap();
    refused_manifest(&with(&path)).must_say("outrigger:handler/handler");
}
