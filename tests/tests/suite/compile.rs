//! Modules that are compiled ahead of time, and a sidecar that compiles nothing.

use std::fs;

use outrigger_tests::{Event, Exit, Kafka, Sidecar};

use crate::job::{Job, PATIENCE};

fn entries(cache: &std::path::Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(cache).map(|folder| folder.map(|entry| entry.unwrap().path()).collect()).unwrap_or_default()
}

fn compile(sidecar: &Sidecar) -> Exit {
    sidecar.compile().wait_end()
}

#[test]
fn a_sidecar_that_compiles_nothing_runs_what_was_compiled_ahead_of_time() {
    let kafka = Kafka::shared();
    let job = Job::new("compiled-only", 1);
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let ahead = Sidecar::with(job.manifest()).on(kafka).cache(&cache);
    let only = ahead.clone().option("--compiled-only");

    // Nothing is there yet: it says what would make it, and makes nothing.
    let refused = only.start().wait_end();
    refused.must_be(2);
    let command = format!("outrigger compile MANIFEST --cache {}", cache.display());
    assert!(refused.must_say("handler `ledger`").contains(&command), "{:?}", refused.log);
    assert!(!cache.exists());

    let made = compile(&ahead);
    made.must_succeed();
    made.must_say("ledger (");
    made.must_say(&format!("cache: {}", cache.display()));
    assert_eq!(entries(&cache).len(), 1);
    compile(&ahead).must_succeed().must_say("was there");

    kafka.produce(&job.topic, [Event::new("one").key("k").record()]);
    let mut sidecar = only.start();
    sidecar.wait_ready();
    sidecar.wait_for("all is committed", PATIENCE, |_| job.committed_all());
    let exit = sidecar.terminate();
    exit.must_succeed();
    assert_eq!(exit.said("compiled a module"), 0);
    assert_eq!(job.ledger().must_balance().outputs, 1);

    // One bit of it: refused, and rebuilt where that is allowed.
    let [entry] = &entries(&cache)[..] else { panic!("one entry") };
    let mut bytes = fs::read(entry).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(entry, &bytes).unwrap();
    let refused = only.start().wait_end();
    refused.must_be(2);
    refused.must_say("does not have the digest that it was written with");
    let mut sidecar = ahead.start();
    sidecar.wait_for_line("does not have the digest that it was written with");
    sidecar.wait_for_line("compiled a module");
    sidecar.wait_ready();
    sidecar.terminate().must_succeed();
    bytes[middle] ^= 1;
    assert_eq!(fs::read(entry).unwrap(), bytes, "as it was");
}

#[test]
fn a_cache_that_has_no_room_for_all_modules_is_said_so() {
    let job = Job::named("compile-room", 1).rest("compile: { cacheSize: 1MiB }");
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(outrigger_tests::guest("guest-ledger")).unwrap();
    let more = |name: char| {
        let path = folder.path().join(name.to_string()).with_extension("wasm");
        // A custom section of this name: the same handler with another digest.
        fs::write(&path, [&bytes[..], &[0, 2, 1, name as u8]].concat()).unwrap();
        format!("  {name}: {{ module: {} }}\n", path.display())
    };
    let all: String = ['a', 'b', 'c'].into_iter().map(more).collect();
    let manifest = job.manifest().replacen("handlers:\n", &format!("handlers:\n{all}"), 1);
    let exit = compile(&Sidecar::with(manifest).cache(folder.path().join("cache")));
    exit.must_be(1);
    exit.must_say("`compile.cacheSize` is 1MiB, so that not all of them are in the cache");
}

#[test]
fn a_list_for_programs_names_every_handler() {
    let job = Job::named("compile-json", 1);
    let folder = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::with(job.manifest()).cache(folder.path().join("cache"));
    let exit = compile(&sidecar.clone().option("--output=json"));
    exit.must_succeed();
    let list: serde_json::Value = serde_json::from_str(&exit.log.join("\n")).unwrap();
    let module = &list["modules"][0];
    assert_eq!((&module["handler"], &module["fromCache"]), (&"ledger".into(), &false.into()), "{list}");
    assert_eq!(module["sha256"].as_str().map(str::len), Some(64), "{list}");
    for number in ["compiledBytes", "peakMemoryBytes", "seconds"] {
        assert!(module[number].as_f64().is_some_and(|number| number > 0.0), "{number}: {list}");
    }
    // A module that does not load is known now, and not at the sidecar's start.
    let empty = folder.path().join("empty.wasm");
    fs::write(&empty, b"\0asm\x0d\0\x01\0").unwrap();
    let good = outrigger_tests::guest("guest-ledger").display().to_string();
    let bad = Sidecar::with(job.manifest().replace(&good, &empty.display().to_string()));
    let exit = compile(&bad.cache(folder.path().join("cache")));
    exit.must_be(2);
    exit.must_say("outrigger:handler/handler");
}
