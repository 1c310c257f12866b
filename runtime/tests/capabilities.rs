//! What is granted is there, and what is not granted cannot even be imported.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::rc::Rc;

use outrigger::invoke::Pool;
use outrigger::manifest::{Config, Handler, Instance, KeyValue, Secret};
use outrigger::outcome::FailureClass;
use support::*;

fn granted(change: impl FnOnce(&mut Handler)) -> Rc<Pool> {
    let mut spec = reaching(&[]);
    change(&mut spec);
    pool_of(&spec)
}

fn ask(pool: &Rc<Pool>, what: &str, data: &str) -> String {
    said(block_on(pool.call(call(what, data))))
}

fn settings(pairs: &[(&str, &str)]) -> Config {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

#[test]
fn each_capability_has_to_be_granted() {
    let without = |change: fn(&mut Handler)| {
        let mut spec = reaching(&[]);
        change(&mut spec);
        engine().load(&spec).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let http = without(|spec| spec.allow.http = None);
    assert!(http.contains("imports wasi:http/") && http.contains("handlers.reach.allow.http: ["), "{http}");
    let config = without(|spec| spec.config = None);
    assert!(
        config.contains("imports wasi:config/store@0.2.0-rc.1") && config.contains("handlers.reach.config"),
        "{config}"
    );
    let key_value = without(|spec| spec.allow.key_value = None);
    assert!(key_value.contains("imports wasi:keyvalue/") && key_value.contains("allow.keyValue"), "{key_value}");
    assert_eq!(without(|_| {}), "", "the control");
}

#[test]
fn settings_are_given_to_the_handler_that_has_them() {
    let pool = granted(|spec| spec.config = Some(settings(&[("currency", "EUR"), ("token", "hunter2")])));
    assert_eq!(ask(&pool, "config", "currency"), "Ok(Some(\"EUR\"))");
    assert_eq!(ask(&pool, "config", "token"), "Ok(Some(\"hunter2\"))");
    assert_eq!(ask(&pool, "config", "other"), "Ok(None)");
    assert!(ask(&pool, "config-all", "").contains("hunter2"));
    assert_eq!(ask(&granted(|_| {}), "config-all", ""), "Ok([])");
}

#[test]
fn the_environment_is_what_the_manifest_names() {
    assert_eq!(ask(&granted(|_| {}), "env", ""), "[]", "and none of the process's own");
    let pool = granted(|spec| spec.env = settings(&[("TZ", "UTC"), ("TOKEN", "hunter2")]));
    assert_eq!(ask(&pool, "env", ""), "[(\"TOKEN\", \"hunter2\"), (\"TZ\", \"UTC\")]");
}

#[test]
fn secrets_are_in_no_debug_output() {
    let mut spec = reaching(&[]);
    (spec.config, spec.env) = (Some(settings(&[("a", "hunter2")])), settings(&[("B", "hunter2")]));
    assert!(!format!("{spec:?}").contains("hunter2"));
}

#[test]
fn the_store_is_one_for_all_instances_of_a_worker() {
    let pool = granted(|spec| spec.instance = Instance::Fresh);
    assert_eq!(ask(&pool, "kv-get", "k"), "Ok(None)");
    assert_eq!(ask(&pool, "kv-set", "k 10"), "Ok(())");
    assert_eq!(ask(&pool, "kv-get", "k"), "Ok(Some(10))", "written by another instance");
    assert_eq!(ask(&pool, "kv-exists", "k"), "Ok(true)");
    assert_eq!(ask(&pool, "kv-delete", "k"), "Ok(())");
    assert_eq!(ask(&pool, "kv-exists", "k"), "Ok(false)");
    assert_eq!(ask(&pool, "kv-increment", "n 5"), "Ok(5)");
    assert_eq!(ask(&pool, "kv-increment", "n 5"), "Ok(10)");
    assert_eq!(ask(&pool, "kv-set", "k 1"), "Ok(())");
    assert_eq!(ask(&pool, "kv-list", ""), "Ok(([\"n\", \"k\"], None))");
    assert_eq!(ask(&pool, "kv-get-many", "k x"), "Ok([Some((\"k\", [118])), None])");
    assert_eq!(ask(&pool, "kv-open", ""), "open");
    assert!(ask(&pool, "kv-open", "other").contains("NoSuchStore"));
    assert_eq!(ask(&granted(|_| {}), "kv-get", "k"), "Ok(None)", "another worker, another store");
}

/// An instance may hold 1,024 handles, and lives for a hundred times as many calls.
#[test]
fn what_was_asked_leaves_no_handle_behind() {
    let pool = granted(|spec| spec.config = Some(settings(&[("a", "1")])));
    for (what, text, answer) in [
        ("kv-set", "k 1", "Ok(())"),
        ("kv-get", "k", "Ok(Some(1))"),
        ("kv-list", "", "Ok(([\"k\"], None))"),
        ("kv-get-many", "k", "Ok([Some((\"k\", [118]))])"),
        ("kv-delete", "k", "Ok(())"),
        ("config", "a", "Ok(Some(\"1\"))"),
    ] {
        for _ in 0..1_100 {
            assert_eq!(ask(&pool, what, text), answer);
        }
    }
}

#[test]
fn the_stores_bounds_are_errors_and_not_traps() {
    let pool = granted(|_| {});
    for key in ["a", "b", "c", "d"] {
        assert_eq!(ask(&pool, "kv-set", &format!("{key} 1")), "Ok(())");
    }
    assert!(ask(&pool, "kv-set", "e 1").contains("bound of 4 keys"));
    assert!(ask(&pool, "kv-increment", "e 1").contains("bound of 4 keys"));
    assert!(ask(&pool, "kv-set", "a 70000").contains("bound of 65536 bytes"));
    assert_eq!(ask(&pool, "kv-get", "a"), "Ok(Some(1))", "the old value stays");
    assert_eq!(pool.idle(), 1, "the instance lives");
    assert_eq!(ask(&pool, "kv-set", "a 30000"), "Ok(())");
    assert!(ask(&pool, "kv-get-many", "a a a").contains("more is asked for"));
}

#[test]
fn a_value_may_be_as_large_as_the_store() {
    let pool = granted(|spec| {
        spec.limits.output = 1024;
        spec.allow.key_value = Some(KeyValue { bytes: 1 << 20, entries: 4 });
    });
    assert_eq!(ask(&pool, "kv-set", "a 1000000"), "Ok(())");
    assert_eq!(ask(&pool, "kv-get", "a"), "Ok(Some(1000000))");
}

#[test]
fn what_a_failed_attempt_wrote_is_written() {
    let pool = granted(|_| {});
    fails(block_on(pool.call(call("kv-set-and-fail", "k"))), FailureClass::Rejected, "after writing");
    assert_eq!(ask(&pool, "kv-get", "k"), "Ok(Some(4))");
}
