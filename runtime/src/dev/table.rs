//! Counts what was observed, and says in the end whether it adds up with what
//! the broker holds. Pure.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use super::broker::Offsets;
use crate::observe::{Observation, What};

/// What the observations say.
#[derive(Debug, Default)]
pub struct Tally {
    routes: BTreeMap<Option<Arc<str>>, Row>,
    /// Per route and partition, so that nothing is counted twice.
    seen: HashMap<(Option<Arc<str>>, Partition), Seen>,
    /// Per partition: records with at least one route that settled them.
    settled: HashMap<Partition, Bits>,
    dead_letters: BTreeMap<String, u64>,
}

/// A topic and a number.
type Partition = (Arc<str>, i32);

/// The counts of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    taken: u64,
    handled: u64,
    retried: u64,
    dead_lettered: u64,
    dropped: u64,
    outputs: u64,
    again: u64,
}

#[derive(Debug, Default)]
struct Seen {
    taken: Bits,
    settled: Bits,
}

/// A bit per offset. The logs of a development broker begin at 0 and are short.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Whether it was not set before. Offsets below 0 do not exist and count as set.
    fn set(&mut self, at: i64) -> bool {
        let Ok(at) = usize::try_from(at) else { return false };
        let (word, bit) = (at / 64, 1 << (at % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// What the broker holds at the end, asked independently of the observations.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Sample records that the broker acknowledged.
    pub produced: u64,
    /// The topics that are consumed.
    pub sources: Vec<String>,
    /// End offsets of every topic.
    pub ends: Offsets,
    /// Committed offsets of the consumed topics.
    pub committed: Offsets,
}

impl Facts {
    fn written_to(&self, topic: &str) -> u64 {
        self.ends.get(topic).map_or(0, |ends| ends.iter().map(|end| end.unsigned_abs()).sum())
    }

    fn to_consume(&self) -> u64 {
        self.sources.iter().map(|topic| self.written_to(topic)).sum()
    }

    /// Committed records, and those that are not: topic, partition, committed, end.
    fn uncommitted(&self) -> (u64, Vec<(&str, usize, i64, i64)>) {
        let (mut committed, mut behind) = (0, Vec::new());
        for topic in &self.sources {
            for (partition, end) in self.ends.get(topic).into_iter().flatten().enumerate() {
                let at = self.committed.get(topic).and_then(|offsets| offsets.get(partition)).copied().unwrap_or(0);
                committed += at.unsigned_abs();
                if at != *end {
                    behind.push((topic.as_str(), partition, at, *end));
                }
            }
        }
        (committed, behind)
    }

    /// Whether everything there is has been settled and committed.
    pub fn caught_up(&self) -> bool {
        self.uncommitted().1.is_empty()
    }
}

impl Tally {
    /// Counts an observation.
    pub fn add(&mut self, observation: &Observation) {
        let Observation { route, topic, partition, offset, what, .. } = observation;
        if let What::Circuit { .. } = what {
            return;
        }
        let row = self.routes.entry(route.clone()).or_default();
        let seen = self.seen.entry((route.clone(), (topic.clone(), *partition))).or_default();
        row.taken += u64::from(seen.taken.set(*offset));
        if let What::Retry { .. } | What::Probed { .. } = what {
            row.retried += 1;
            return;
        }
        self.settled.entry((topic.clone(), *partition)).or_default().set(*offset);
        // At least once: after a rebalance a record may be settled a second time.
        if !seen.settled.set(*offset) {
            row.again += 1;
        } else {
            match what {
                What::Handled { .. } => row.handled += 1,
                What::DeadLettered { .. } => row.dead_lettered += 1,
                What::Dropped { .. } | What::Retry { .. } | What::Probed { .. } | What::Circuit { .. } => {
                    row.dropped += 1
                }
            }
        }
        // What was written was written, be it for the second time.
        match what {
            What::Handled { outputs, .. } => row.outputs += *outputs as u64,
            What::DeadLettered { topic, .. } => *self.dead_letters.entry(topic.clone()).or_default() += 1,
            What::Dropped { .. } | What::Retry { .. } | What::Probed { .. } | What::Circuit { .. } => {}
        }
    }

    fn total(&self) -> Row {
        self.routes.values().fold(Row::default(), |sum, row| Row {
            taken: sum.taken + row.taken,
            handled: sum.handled + row.handled,
            retried: sum.retried + row.retried,
            dead_lettered: sum.dead_lettered + row.dead_lettered,
            dropped: sum.dropped + row.dropped,
            outputs: sum.outputs + row.outputs,
            again: sum.again + row.again,
        })
    }

    /// The counts so far in one line.
    pub fn summary(&self) -> String {
        let Row { handled, retried, dead_lettered, dropped, outputs, .. } = self.total();
        format!(
            "{handled} handled · {retried} retried · {dead_lettered} dead-lettered · {dropped} dropped · {outputs} outputs"
        )
    }

    /// The closing table.
    pub fn table(&self, facts: &Facts) -> String {
        let name = |route: &Option<Arc<str>>| route.as_deref().unwrap_or("(no route)").to_owned();
        let mut rows: Vec<(String, Row)> = self.routes.iter().map(|(route, row)| (name(route), *row)).collect();
        // What no route took stands last.
        if self.routes.contains_key(&None) {
            rows.rotate_left(1);
        }
        rows.push(("total".to_owned(), self.total()));
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(5);
        let heads = ["in", "handled", "retried", "dead-lettered", "dropped", "outputs"];
        let mut table = format!("{:<width$}", "route");
        for head in heads {
            _ = write!(table, "  {head:>w$}", w = head.len().max(7));
        }
        for (name, row) in rows {
            _ = write!(table, "\n{name:<width$}");
            let counts = [row.taken, row.handled, row.retried, row.dead_lettered, row.dropped, row.outputs];
            for (head, count) in heads.iter().zip(counts) {
                _ = write!(table, "  {count:>w$}", w = head.len().max(7));
            }
        }
        let (committed, _) = facts.uncommitted();
        let Facts { produced, .. } = facts;
        _ = write!(table, "\nrecords: {produced} produced, {} to consume, {committed} committed", facts.to_consume());
        table
    }

    /// What does not add up; empty if everything does.
    pub fn problems(&self, facts: &Facts) -> Vec<String> {
        let mut problems = Vec::new();
        for (route, row) in &self.routes {
            let route = route.as_deref().unwrap_or("(no route)");
            let settled = row.handled + row.dead_lettered + row.dropped;
            if row.taken != settled {
                problems.push(format!("{route}: {} events in, but {settled} settled", row.taken));
            }
            if row.again > 0 {
                problems.push(format!("{route}: {} events were settled more than once", row.again));
            }
        }
        let settled: u64 = self.settled.values().map(Bits::count).sum();
        let to_consume = facts.to_consume();
        if settled != to_consume {
            problems.push(format!("{to_consume} records to consume, but {settled} settled"));
        }
        for (topic, partition, committed, end) in facts.uncommitted().1 {
            problems.push(format!("{topic}/{partition}: committed {committed} of {end}"));
        }
        for (topic, count) in &self.dead_letters {
            let written = facts.written_to(topic);
            if written < *count {
                problems.push(format!("{topic}: {count} dead letters, but the topic holds {written} records"));
            }
        }
        let total = self.total();
        let published = total.outputs + self.dead_letters.values().sum::<u64>();
        let written = facts.ends.keys().map(|topic| facts.written_to(topic)).sum::<u64>();
        let by_the_sidecar = written.saturating_sub(facts.produced);
        if published != by_the_sidecar {
            let dead_letters = published - total.outputs;
            problems.push(format!(
                "{} outputs and {dead_letters} dead letters, but the topics hold {by_the_sidecar} such records",
                total.outputs
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests;
