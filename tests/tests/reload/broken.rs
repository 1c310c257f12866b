//! Modules and manifests that cannot be taken over: for each the message, and proof
//! that the generation before goes on handling.

use std::fs;

use outrigger_tests::{Kafka, PATIENCE};

use super::modules;
use super::stage::Stage;

/// What is wrong, what makes it so, and what the message has to say.
type Row = (&'static str, fn(&Stage<'_>), &'static str);

fn module(stage: &Stage<'_>, bytes: impl AsRef<[u8]>) {
    stage.save("module.wasm", bytes);
}

fn manifest(stage: &Stage<'_>, from: &str, to: &str) {
    assert!(stage.manifest.contains(from), "{from}");
    stage.save("outrigger.yaml", stage.manifest.replacen(from, to, 1));
}

const ROWS: [Row; 24] = [
    ("garbage", |s| module(s, "this is no module"), "is not a WebAssembly component"),
    ("empty", |s| module(s, ""), "is not a WebAssembly component"),
    ("truncated", |s| module(s, &modules::good()[..50_000]), "cannot be compiled"),
    ("core module", |s| module(s, b"\0asm\x01\0\0\0"), "is a core module, not a component"),
    ("no export", |s| module(s, modules::empty()), "it exports nothing"),
    (
        "older contract",
        |s| module(s, modules::patched("outrigger:handler/handler@0.1.0", "outrigger:handler/handler@0.0.9")),
        "was built for outrigger:handler/handler@0.0.9",
    ),
    (
        "missing import",
        |s| module(s, modules::patched("wasi:cli/environment@0.2", "evil:cl/environments@0.2")),
        "imports evil:cl/environments@0.2",
    ),
    ("start traps", |s| module(s, modules::starting(modules::TRAP)), "does not start"),
    ("start loops", |s| module(s, modules::starting(modules::LOOP)), "does not start"),
    (
        "too large",
        |s| fs::File::options().write(true).open(s.path("module.wasm")).unwrap().set_len(129 << 20).unwrap(),
        "it has 129MiB, and `compile.moduleSize` is 64MiB",
    ),
    ("module that may not be read", |s| s.deny("module.wasm"), "module.wasm: Permission denied"),
    ("module deleted", |s| fs::remove_file(s.path("module.wasm")).unwrap(), "module.wasm"),
    (
        "module is a folder",
        |s| {
            fs::remove_file(s.path("module.wasm")).unwrap();
            fs::create_dir(s.path("module.wasm")).unwrap();
        },
        "module.wasm",
    ),
    (
        "module is a link to itself",
        |s| {
            fs::remove_file(s.path("module.wasm")).unwrap();
            std::os::unix::fs::symlink("module.wasm", s.path("module.wasm")).unwrap();
        },
        "module.wasm",
    ),
    ("manifest deleted", |s| fs::remove_file(s.path("outrigger.yaml")).unwrap(), "the manifest cannot be read"),
    ("manifest that may not be read", |s| s.deny("outrigger.yaml"), "the manifest cannot be read: permission denied"),
    ("not YAML", |s| s.save("outrigger.yaml", "["), "outrigger.yaml"),
    (
        "pin mismatch",
        |s| manifest(s, "module.wasm", &format!("module.wasm\n    sha256: \"{}\"", "0".repeat(64))),
        "the manifest says",
    ),
    ("invalid route", |s| manifest(s, "match: { type: test.event }", "match: {}"), "outrigger.yaml:"),
    ("removed handler still routed", |s| manifest(s, "handler: ledger", "handler: removed"), "`removed`"),
    ("unknown key", |s| manifest(s, "handler: ledger", "hanlder: ledger"), "`hanlder`"),
    ("another group", |s| manifest(s, "groupId: ", "groupId: other-"), "`kafka.groupId` needs a restart"),
    ("other workers", |s| manifest(s, "commitInterval", "workers: 7\ncommitInterval"), "`workers` needs a restart"),
    ("too many instances", |s| manifest(s, "module.wasm", "module.wasm\n    concurrency: 10000"), "were reserved"),
];

pub fn run(kafka: &Kafka) {
    let mut stage = Stage::start(kafka, "broken", 1);
    let mut handled = 0.0;
    for (what, make, expected) in ROWS {
        let generation = stage.generation();
        let said = stage.sidecar.said("is not taken over");
        make(&stage);
        let line = stage.sidecar.wait_for(what, PATIENCE, |sidecar| {
            let lines = sidecar.log();
            let refused: Vec<_> = lines.iter().filter(|line| line.contains("is not taken over")).skip(said).collect();
            refused
                .iter()
                .find(|line| line.contains(expected))
                .map(|line| (*line).clone())
                .ok_or(format!("{refused:?}"))
        });
        handled += 1.0;
        stage.produce(1);
        stage.sidecar.wait_metric("outrigger_events_total", &[("outcome", "handled")], handled);
        assert_eq!(stage.generation(), generation, "{what}: the generation before goes on");
        let (status, ready) = stage.sidecar.get("/readyz").unwrap();
        assert!(status == 200 && ready.contains("reloadFailed") && !ready.contains("\"reloadFailed\":null"), "{ready}");
        println!("{what:30} {}", message(&line));
        // What was right is right again, and nothing is taken over for it.
        if stage.path("module.wasm").is_dir() {
            fs::remove_dir(stage.path("module.wasm")).unwrap();
        }
        stage.save("module.wasm", modules::good());
        stage.save("outrigger.yaml", stage.manifest.clone());
        stage.sidecar.wait_for("it is well again", PATIENCE, |sidecar| match sidecar.get("/readyz")?.1 {
            body if body.contains("\"reloadFailed\":null") => Ok(()),
            body => Err(body),
        });
        assert_eq!(stage.generation(), generation);
    }
    let failed = stage.finish();
    assert_eq!(failed, 0.0, "failed attempts");
}

/// What the log line says of the reason.
fn message(line: &str) -> &str {
    let reason = line.split("goes on: ").last().unwrap_or_default();
    reason.rsplit_once(" generation=").map_or(reason, |(reason, _)| reason)
}
