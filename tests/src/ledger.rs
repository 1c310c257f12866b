//! The balance of a run: every record of the input must have ended in exactly
//! the place it must.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::event::Expect;
use crate::kafka::Kafka;
use crate::read::Record;

/// What a record is known by: partition and offset in the input topic.
pub(crate) type Position = (i32, i64);

/// The input, output and dead-letter topics as they were read to their ends.
#[derive(Debug)]
pub struct Ledger {
    inputs: Vec<Record>,
    outputs: Vec<Record>,
    dead_letters: Vec<Record>,
    /// Below these ends of the input's partitions, records may be gone by now.
    deleted_below: BTreeMap<i32, i64>,
}

/// A way in which a run does not add up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which promise it breaks.
    pub kind: Kind,
    /// What, where.
    pub text: String,
}

/// The promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A record ended nowhere.
    Lost,
    /// A record came before an earlier one of its key.
    Disorder,
    /// A commit counts a record as settled that was not.
    CommittedTooEarly,
    /// Anything else: in the wrong place, another content, out of nothing.
    Other,
}

impl Kind {
    fn problem(self, text: String) -> Problem {
        Problem { kind: self, text }
    }
}

/// What a balanced ledger holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records of the input.
    pub inputs: usize,
    /// Records that ended as outputs.
    pub outputs: usize,
    /// Records that ended as dead letters.
    pub dead_letters: usize,
    /// Outputs and dead letters that were there already: delivered again.
    pub duplicates: usize,
}

impl Ledger {
    /// Reads the three topics; the two last ones may be missing.
    pub fn read(kafka: &Kafka, input: &str, output: &str, dead_letter: &str) -> Ledger {
        let read = |topic| if kafka.has_topic(topic) { kafka.read_all(topic) } else { Vec::new() };
        let deleted_below = BTreeMap::new();
        Ledger { inputs: kafka.read_all(input), outputs: read(output), dead_letters: read(dead_letter), deleted_below }
    }

    /// The same for an input topic that has lost records since they were
    /// handled, by compaction or deletion: what came of these is left out.
    pub fn read_after_deletions(kafka: &Kafka, input: &str, output: &str, dead_letter: &str) -> Ledger {
        Ledger { deleted_below: kafka.ends(input), ..Ledger::read(kafka, input, output, dead_letter) }
    }

    /// Leaves out the outputs that do not belong to the inputs: for a topic that was
    /// created again, whose offsets began anew.
    pub fn retain_outputs(&mut self, keep: impl Fn(&Record) -> bool) {
        self.outputs.retain(|output| keep(output));
    }

    /// The outputs, in the order of their partitions and offsets.
    pub fn outputs(&self) -> &[Record] {
        &self.outputs
    }

    /// The dead letters, in the order of their partitions and offsets.
    pub fn dead_letters(&self) -> &[Record] {
        &self.dead_letters
    }

    /// Fails the test with every problem (the first 20 of them) unless it balances.
    #[track_caller]
    pub fn must_balance(&self) -> Tally {
        self.check().unwrap_or_else(|problems| {
            let shown: Vec<&str> = problems.iter().take(20).map(String::as_str).collect();
            panic!("{} problems:\n{}", problems.len(), shown.join("\n"))
        })
    }

    /// The tally, or every problem.
    ///
    /// # Errors
    /// What [`Ledger::judge`] finds.
    pub fn check(&self) -> Result<Tally, Vec<String>> {
        let (tally, problems) = self.judge();
        if problems.is_empty() { Ok(tally) } else { Err(problems.into_iter().map(|problem| problem.text).collect()) }
    }

    /// The tally, and where it is not so that
    /// - every input is where it says it must be, at least once, and nowhere else,
    /// - there is nothing that no input accounts for,
    /// - the first outputs of each key are in the order of the inputs, and so are the first dead letters,
    /// - dead letters are their originals, byte for byte, followed by the headers of the failure.
    pub fn judge(&self) -> (Tally, Vec<Problem>) {
        let mut problems = Vec::new();
        let inputs: HashMap<Position, &Record> = self.inputs.iter().map(|r| ((r.partition, r.offset), r)).collect();
        let outputs = self.arrivals(&self.outputs, output_position, &inputs, &mut problems);
        let dead_letters = self.arrivals(&self.dead_letters, dead_letter_position, &inputs, &mut problems);
        for arrival in &outputs {
            same_event(arrival, &mut problems);
        }
        for arrival in &dead_letters {
            is_original(arrival, &mut problems);
        }
        in_order("outputs", &outputs, &mut problems);
        in_order("dead letters", &dead_letters, &mut problems);

        let found = |arrivals: &[Arrival<'_>]| arrivals.iter().map(Arrival::position).collect::<BTreeSet<Position>>();
        let (in_outputs, in_dead_letters) = (found(&outputs), found(&dead_letters));
        let mut tally = Tally { inputs: self.inputs.len(), ..Tally::default() };
        for (position, input) in &inputs {
            let ends = (in_outputs.contains(position), in_dead_letters.contains(position));
            let expect = Expect::of(input);
            let wanted = match &expect {
                Expect::Output => (true, false),
                Expect::DeadLetter(_) => (false, true),
                Expect::Nothing => (false, false),
            };
            if ends != wanted {
                let (output, dead_letter) = ends;
                let kind = if output || dead_letter { Kind::Other } else { Kind::Lost };
                problems.push(kind.problem(format!(
                    "{}: expected {expect:?}; output: {output}, dead letter: {dead_letter}",
                    input.position()
                )));
            }
            tally.outputs += usize::from(wanted.0);
            tally.dead_letters += usize::from(wanted.1);
        }
        tally.duplicates = outputs.len() + dead_letters.len() - in_outputs.len() - in_dead_letters.len();
        (tally, problems)
    }

    /// When each input that has arrived anywhere did so first, in milliseconds since
    /// the Unix epoch: by the broker's clock, where the topics of the results take it.
    pub(crate) fn first_arrivals(&self) -> HashMap<Position, i64> {
        let mut first = HashMap::new();
        let outputs = self.outputs.iter().map(|record| (output_position(record), record));
        let dead_letters = self.dead_letters.iter().map(|record| (dead_letter_position(record), record));
        for (position, record) in outputs.chain(dead_letters) {
            let (Some(position), Some(at)) = (position, record.timestamp_ms) else { continue };
            first.entry(position).and_modify(|first: &mut i64| *first = at.min(*first)).or_insert(at);
        }
        first
    }

    /// Whether a record that is not among the inputs may have been one of them.
    pub(crate) fn may_be_deleted(&self, (partition, offset): Position) -> bool {
        self.deleted_below.get(&partition).is_some_and(|&end| offset < end)
    }

    /// The records of the input.
    pub(crate) fn inputs(&self) -> &[Record] {
        &self.inputs
    }

    fn arrivals<'a>(
        &self,
        records: &'a [Record],
        position: fn(&Record) -> Option<Position>,
        inputs: &HashMap<Position, &'a Record>,
        problems: &mut Vec<Problem>,
    ) -> Vec<Arrival<'a>> {
        let mut arrivals = Vec::with_capacity(records.len());
        for record in records {
            let position = position(record);
            match position.and_then(|position| inputs.get(&position)) {
                Some(input) => arrivals.push(Arrival { record, input }),
                None if position.is_some_and(|position| self.may_be_deleted(position)) => {}
                None => {
                    problems.push(Kind::Other.problem(format!("{}: comes of nothing in the input", record.position())));
                }
            }
        }
        arrivals
    }
}

/// A record that came of an input.
struct Arrival<'a> {
    record: &'a Record,
    input: &'a Record,
}

impl Arrival<'_> {
    fn position(&self) -> Position {
        (self.input.partition, self.input.offset)
    }
}

/// As the guest `ledger` echoes it.
fn output_position(output: &Record) -> Option<Position> {
    let echo = output.json();
    Some((echo["partition"].as_i64()?.try_into().ok()?, echo["offset"].as_i64()?))
}

fn dead_letter_position(letter: &Record) -> Option<Position> {
    Some((letter.failure("partition")?.parse().ok()?, letter.failure("offset")?.parse().ok()?))
}

/// The guest was given this record's key and id, and the output has its key.
fn same_event(arrival: &Arrival<'_>, problems: &mut Vec<Problem>) {
    let (output, input, echo) = (arrival.record, arrival.input, arrival.record.json());
    let id = match input.text("ce_id") {
        Some(id) => id.to_owned(),
        None => input.json()["id"].as_str().unwrap_or_default().to_owned(),
    };
    let key = input.key.as_deref().map(String::from_utf8_lossy);
    if echo["id"].as_str() != Some(&id) || echo["key"].as_str() != key.as_deref() || output.key != input.key {
        let text = format!("{} became {echo} with the key {:?}", input.position(), output.key);
        problems.push(Kind::Other.problem(text));
    }
}

/// The headers that every dead letter has.
const ALWAYS: [&str; 6] = [
    "outrigger-topic",
    "outrigger-partition",
    "outrigger-offset",
    "outrigger-group",
    "outrigger-failure-class",
    "outrigger-reason",
];

fn is_original(arrival: &Arrival<'_>, problems: &mut Vec<Problem>) {
    let (letter, input) = (arrival.record, arrival.input);
    let mut problem =
        |what: String| problems.push(Kind::Other.problem(format!("the dead letter of {}: {what}", input.position())));
    if letter.key != input.key {
        problem(format!("key {:?} instead of {:?}", letter.key, input.key));
    }
    if letter.value != input.value {
        problem("another value".to_owned());
    }
    let Some((original, added)) = letter.headers.split_at_checked(input.headers.len()) else {
        problem(format!("only the headers {:?}", letter.headers));
        return;
    };
    if original != input.headers {
        problem(format!("headers {original:?} instead of {:?}", input.headers));
    }
    let names: Vec<&str> = added.iter().map(|(name, _)| name.as_str()).collect();
    for missing in ALWAYS.iter().filter(|name| !names.contains(name)) {
        problem(format!("no header {missing}"));
    }
    if let Expect::DeadLetter(class) = Expect::of(input)
        && letter.failure("failure-class") != Some(&class)
    {
        problem(format!("class {:?} instead of {class}", letter.failure("failure-class")));
    }
}

/// For every key, the first arrivals come in the order of the inputs. Records
/// without a key follow no other.
fn in_order(what: &str, arrivals: &[Arrival<'_>], problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    // By the arrival's partition too: there is no order across partitions.
    let mut last: BTreeMap<(i32, i32, &[u8]), i64> = BTreeMap::new();
    for arrival in arrivals {
        let (partition, offset) = arrival.position();
        let Some(key) = arrival.input.key.as_deref().filter(|_| seen.insert((partition, offset))) else { continue };
        let last = last.entry((arrival.record.partition, partition, key)).or_insert(-1);
        if *last > offset {
            let key = String::from_utf8_lossy(key);
            let text = format!("{what} of the key {key}: offset {offset} of partition {partition} after {last}");
            problems.push(Kind::Disorder.problem(text));
        }
        *last = offset;
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
