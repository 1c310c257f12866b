//! Proof that the simulation can fail: bugs made on purpose, one at a time
//! ([`Mutation`]), each of which it has to catch within a few seeds.
//!
//! Caught means that something asserted by the simulation does not hold. That the
//! core itself panics, as some bugs make it do as well, is not enough.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::{simulate, simulate_all};
use crate::worker::mutation::Mutation;

/// So many seeds have to be enough for each of them.
const WITHIN: u64 = 1000;

thread_local! {
    /// What the simulation asserted and did not hold, under the mutation in force.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics under a mutation are expected: they are noted and not printed.
fn note_expected_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !Mutation::any_is_in_force() {
                return print(panic);
            }
            let asserted = panic.location().is_some_and(|at| at.file().replace('\\', "/").contains("/core/tests/"));
            let words: Vec<&str> = panic.payload_as_str().unwrap_or_default().split_whitespace().collect();
            CAUGHT.set(asserted.then(|| words.join(" ")));
        }));
    });
}

/// What does not hold in a seed under a mutation, if it is noticed.
fn caught(mutation: Mutation, seed: u64) -> Option<String> {
    CAUGHT.set(None);
    let result = catch_unwind(AssertUnwindSafe(|| mutation.during(|| simulate(seed))));
    result.err().and_then(|_| CAUGHT.take())
}

#[test]
fn every_mutation_is_caught() {
    note_expected_panics();
    let mut missed = Vec::new();
    for &mutation in Mutation::ALL {
        match (0..WITHIN).find_map(|seed| Some((seed, caught(mutation, seed)?))) {
            Some((seed, how)) => println!("{mutation:?} ({}): seed {seed}: {how}", mutation.what()),
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not caught within {WITHIN} seeds: {missed:?}");
    // And it is them that are caught: without any, the same seeds pass.
    simulate_all(0..WITHIN);
}
