//! The judgement over a run with faults: what the ledger says, and whether every
//! commit that was ever made told the truth at its time.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::commits::Commit;
use crate::event::Expect;
use crate::ledger::{Kind, Ledger, Position, Problem, Tally};
use crate::read::Record;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// What there was.
    pub tally: Tally,
    /// The commits that were looked at.
    pub commits: usize,
    /// Everything that breaks a promise.
    pub problems: Vec<Problem>,
}

impl Audit {
    /// Judges a ledger and all commits of its input topic, in their order.
    ///
    /// The topics of outputs and dead letters must take the broker's time
    /// (`message.timestamp.type=LogAppendTime`). A commit's time is the broker's as
    /// well, and it is read after the record was appended, since the acknowledgement
    /// comes between: so an arrival may be as late as the commit, to the millisecond,
    /// and never later.
    pub fn of(ledger: &Ledger, commits: &[Commit]) -> Audit {
        let (tally, mut problems) = ledger.judge();
        let arrived = ledger.first_arrivals();
        judge_order(ledger.inputs(), &arrived, &mut problems);
        let deleted = |position| ledger.may_be_deleted(position);
        judge_commits(ledger.inputs(), &arrived, commits, Commit::settled_beyond, deleted, &mut problems);
        Audit { tally, commits: commits.len(), problems }
    }

    /// How many problems are of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.problems.iter().filter(|problem| problem.kind == kind).count()
    }

    /// Takes in another run of the same row.
    pub fn add(&mut self, other: Audit) {
        self.tally.inputs += other.tally.inputs;
        self.tally.outputs += other.tally.outputs;
        self.tally.dead_letters += other.tally.dead_letters;
        self.tally.duplicates += other.tally.duplicates;
        self.commits += other.commits;
        self.problems.extend(other.problems);
    }
}

/// For every key, first arrivals come in the order of the inputs, outputs and dead
/// letters together: within a millisecond nothing can be said.
fn judge_order(inputs: &[Record], arrived: &HashMap<Position, i64>, problems: &mut Vec<Problem>) {
    let mut latest: BTreeMap<(i32, &[u8]), (i64, i64)> = BTreeMap::new();
    for input in inputs {
        let (Some(key), Some(&at)) = (input.key.as_deref(), arrived.get(&(input.partition, input.offset))) else {
            continue;
        };
        let (offset, before) = *latest.entry((input.partition, key)).or_insert((input.offset, at));
        if before > at {
            let key = String::from_utf8_lossy(key);
            let text =
                format!("{} of the key {key} arrived {} ms before offset {offset}", input.position(), before - at);
            problems.push(Problem { kind: Kind::Disorder, text });
        } else {
            latest.insert((input.partition, key), (input.offset, at));
        }
    }
}

/// Whatever a commit counts as settled had arrived by then, unless it was to end
/// nowhere: every lower offset, and those that its metadata name. Of records that were
/// deleted since nothing is known.
fn judge_commits(
    inputs: &[Record],
    arrived: &HashMap<Position, i64>,
    commits: &[Commit],
    settled_beyond: impl Fn(&Commit) -> Vec<i64>,
    deleted: impl Fn(Position) -> bool,
    problems: &mut Vec<Problem>,
) {
    // Per partition: the offset of each input and when the last one up to it had arrived.
    let mut settled: BTreeMap<i32, Vec<(i64, Settled)>> = BTreeMap::new();
    for input in inputs {
        let at = settled_at(input, arrived);
        let partition = settled.entry(input.partition).or_default();
        let all = partition.last().map_or(at, |&(_, before)| before.max(at));
        partition.push((input.offset, all));
    }
    let wanted: BTreeMap<Position, Settled> =
        inputs.iter().map(|input| ((input.partition, input.offset), settled_at(input, arrived))).collect();
    let mut seen = BTreeSet::new();
    for commit in commits {
        let Commit { partition, offset, at_ms, .. } = commit;
        let of_partition = settled.get(partition).map_or(&[][..], Vec::as_slice);
        let below = of_partition.partition_point(|(at, _)| at < offset);
        let mut early = |what: String, settled: Settled| {
            // One that is committed again is one problem.
            if seen.insert((*partition, what.clone())) {
                let when =
                    if settled == i64::MAX { "never".to_owned() } else { format!("{} ms later", settled - at_ms) };
                let text = format!("partition {partition} committed at {offset}: {what} was settled {when}");
                problems.push(Problem { kind: Kind::CommittedTooEarly, text });
            }
        };
        if let Some(&(_, all)) = below.checked_sub(1).and_then(|last| of_partition.get(last))
            && all > *at_ms
        {
            let first = wanted.range((*partition, i64::MIN)..(*partition, *offset)).find(|&(_, &at)| at > *at_ms);
            early(format!("offset {}", first.map_or(-1, |(position, _)| position.1)), all);
        }
        for beyond in settled_beyond(commit) {
            match wanted.get(&(*partition, beyond)) {
                Some(at) if at <= at_ms => {}
                Some(&at) => early(format!("offset {beyond} of its map"), at),
                None if deleted((*partition, beyond)) => {}
                None => early(format!("offset {beyond} of its map, which is no record,"), i64::MAX),
            }
        }
    }
}

/// When a record was settled: never is the end of time, and one that is to end
/// nowhere was always.
type Settled = i64;

fn settled_at(input: &Record, arrived: &HashMap<Position, i64>) -> Settled {
    match Expect::of(input) {
        Expect::Nothing => i64::MIN,
        _ => arrived.get(&(input.partition, input.offset)).copied().unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
