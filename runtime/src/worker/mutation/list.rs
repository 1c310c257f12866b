//! The mutations, and the switch that puts one of them in force.

use std::cell::Cell;

use crate::commit::map::OffsetMap;
use crate::worker::partition::{Partition, Stage};

thread_local! {
    static IN_FORCE: Cell<Option<Mutation>> = const { Cell::new(None) };
}

/// Defines the mutations, each with what is wrong under it.
macro_rules! mutations {
    ($($what:literal $name:ident,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Mutation {
            $(#[doc = $what] $name,)*
        }

        impl Mutation {
            /// All of them.
            pub(crate) const ALL: &[Mutation] = &[$(Mutation::$name,)*];

            /// What is wrong under it.
            pub(crate) const fn what(self) -> &'static str {
                match self {
                    $(Mutation::$name => $what,)*
                }
            }
        }
    };
}

mutations! {
    // What is committed.
    "the position is behind the lowest record that is not settled" CommitPastHead,
    "the position is one behind the last record delivered" CommitPastEnd,
    "records that wait count as settled when their partition is taken away" RevokeForgetsLane,
    "a map is committed with the position of a later moment" SnapshotOfTwoMoments,

    // When a record is settled.
    "a record is counted off twice" SettleTwice,
    "the first of a record's routes settles it" SettleByFirstRoute,
    "a record is settled when its outputs are handed out" SettleBeforeOutputs,
    "the first acknowledgement of several settles a record" SettleByFirstOutput,
    "an output of which nothing is known counts as written" UnknownIsWritten,
    "an output that was refused counts as written" RefusedIsWritten,
    "a record is settled when its dead letter is handed out" SettleBeforeDeadLetter,
    "a dead letter that could not be written is given up" DeadLetterGivenUp,

    // Lanes and retries.
    "a retry is never due" RetryLost,
    "a record that waits for its retry lets the next one of its key begin" RetryFreesLane,
    "records do not wait for others of their key" KeyForgotten,
    "records do not wait for others of their partition" PartitionOrderForgotten,

    // Partitions that go.
    "an answer is taken for another assignment of the partition" EpochIgnored,
    "an acknowledgement is taken for another message" TagIgnored,
    "calls begin for a partition that drains" CallWhileDraining,
    "a partition is drained while something is under way" DrainedTooEarly,
    "messages are handed out for a partition that is fenced" PublishAfterFence,
    "calls of a partition that is gone stay counted" RevokeKeepsCalls,

    // Circuits.
    "calls begin while the circuit is open" CallWhileOpen,
    "a probe that fails always counts as an attempt" ProbeCounts,
    "a probe that fails never counts as an attempt" ProbeNeverCounts,
    "a probe of a partition that is gone is waited for" ProbeNotGivenUp,

    // New generations.
    "what became of an attempt is decided by the generation that came meanwhile" DecidedByOtherGeneration,
    "a run that waits is called as the generation before would" WaitsOnOldGeneration,
    "runs that wait for their handler are lost with the generation" SwitchLosesReady,
    "a run whose route is gone is lost" StrandedLost,
    "a circuit is forgotten though its handler is what it was" SwitchForgetsCircuit,

    // Memory.
    "the bytes of a settled record stay counted" BytesLeak,
    "the bytes of a record that is passed over stay counted" PassedOverLeak,

    // The offset map.
    "the map lacks its last offset" MapLosesLast,
    "the map has one offset too many" MapHasOneMore,
    "the map lacks the attempts" AttemptsNotStored,
    "the attempts in the map are not used" AttemptsNotRecalled,
    "a map is used for another first record" OtherRecordTrusted,
    // These three are made by the simulation itself, as it hands out what was found.
    "a map of another partition is used" OtherPartitionTrusted,
    "a map of another committed offset is used" OtherOffsetTrusted,
    "a map that reaches beyond the log is used" BeyondLogTrusted,
}

impl Mutation {
    /// Whether this thread has it in force.
    pub(crate) fn is_in_force(self) -> bool {
        IN_FORCE.get() == Some(self)
    }

    /// Does something with this mutation in force, until it returns or panics.
    pub(crate) fn during<T>(self, work: impl FnOnce() -> T) -> T {
        struct End;
        impl Drop for End {
            fn drop(&mut self) {
                IN_FORCE.set(None);
            }
        }
        IN_FORCE.set(Some(self));
        let _end = End;
        work()
    }

    /// Whether any is in force.
    pub(crate) fn any_is_in_force() -> bool {
        IN_FORCE.get().is_some()
    }
}

/// Takes the highest settled offset out of a map.
pub(crate) fn lose_last(map: &mut OffsetMap) {
    if let Some(last) = map.settled.last_mut() {
        last.end -= 1;
    }
    map.settled.retain(|run| !run.is_empty());
}

/// Calls one more offset settled.
pub(crate) fn one_more(map: &mut OffsetMap) {
    let end = map.settled.last().map_or(map.base + 1, |run| run.end);
    map.push(end..end + 1);
}

impl Partition {
    /// Counts every record as settled of which nothing has begun or that waits for a retry.
    pub(in crate::worker) fn forget_what_waits(&mut self) {
        for (_, entry) in &self.entries {
            if entry.runs.iter().all(|run| matches!(run.stage, Stage::Waiting | Stage::Parked)) {
                let _ = self.offsets.settle(entry.seq);
            }
        }
    }
}
