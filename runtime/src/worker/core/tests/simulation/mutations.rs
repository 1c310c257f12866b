//! Proof that the simulation can fail: bugs made on purpose, one at a time
//! ([`Mutation`]), each of which it has to catch within a few seeds.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::simulate;
use crate::worker::mutation::Mutation;

/// So many seeds have to be enough for each of them.
const WITHIN: u64 = 200;

/// The panic that a seed ends with under a mutation, if it does.
fn caught(mutation: Mutation, seed: u64) -> Option<String> {
    thread_local! {
        static QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                loud(panic)
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| mutation.during(|| simulate(seed))));
    QUIET.set(false);
    let panic = result.err()?;
    let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    Some(message.unwrap_or("no message").split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn every_mutation_is_caught() {
    let mut missed = Vec::new();
    for &mutation in Mutation::ALL {
        match (0..WITHIN).find_map(|seed| Some((seed, caught(mutation, seed)?))) {
            Some((seed, how)) => println!("{}: caught by seed {seed}: {how}", mutation.what()),
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not caught within {WITHIN} seeds: {missed:?}");
    // And it is them that are caught.
    (0..WITHIN).for_each(|seed| drop(simulate(seed)));
}
