//! Deliberate bugs, to show that the simulation of the core catches each one
//! (`core/tests/simulation/mutations.rs`).
//!
//! They exist in this crate's unit tests alone, and there one thread has at most one
//! of them in force. In every other build a hook is `false`, or nothing at all.

/// A hook of a mutation: `mutation!(Name)` says whether it is in force, and
/// `mutation!(Name => bug)` does what is wrong if it is.
#[cfg(not(test))]
macro_rules! mutation {
    ($name:ident) => {
        false
    };
    ($name:ident => $bug:expr) => {};
}

#[cfg(test)]
macro_rules! mutation {
    ($name:ident) => {
        $crate::worker::mutation::Mutation::$name.is_in_force()
    };
    ($name:ident => $bug:expr) => {
        if $crate::worker::mutation::Mutation::$name.is_in_force() {
            $bug;
        }
    };
}

pub(crate) use mutation;

#[cfg(test)]
pub(crate) use list::{Mutation, lose_last, one_more};

#[cfg(test)]
mod list;
