//! The table at the end.

use std::time::Duration;

use outrigger_tests::Side::{Left, Right};
use outrigger_tests::{Kind, table};

use crate::row::{Outcome, Row};

/// One row's line.
pub struct Line {
    pub fault: &'static str,
    /// What it came to, or what it panicked with.
    outcome: Result<Outcome, String>,
    /// How long it took.
    pub took: Duration,
}

impl Line {
    /// The line of a row that has run.
    pub fn new(row: &Row, outcome: Result<Outcome, String>, took: Duration) -> Line {
        Line { fault: row.fault, outcome, took }
    }

    /// Whether the fault happened and every promise held.
    pub fn holds(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|outcome| outcome.happened > 0 && outcome.audit.problems.is_empty())
    }

    /// In a word.
    pub fn verdict(&self) -> &'static str {
        match &self.outcome {
            _ if self.holds() => "holds",
            Ok(outcome) if outcome.audit.problems.is_empty() => "VOID: the fault did not happen",
            Ok(_) => "BROKEN",
            Err(_) => "FAILED",
        }
    }

    fn cells(&self) -> [String; 8] {
        let Ok(Outcome { cycles, proof, audit, .. }) = &self.outcome else {
            let [none, proof] = ["-", self.verdict()].map(str::to_owned);
            return [
                self.fault.to_owned(),
                none.clone(),
                none.clone(),
                none.clone(),
                none.clone(),
                none.clone(),
                none,
                proof,
            ];
        };
        let count = |kind| audit.count(kind).to_string();
        let proof = if self.holds() { proof.clone() } else { format!("{}; {proof}", self.verdict()) };
        [
            self.fault.to_owned(),
            cycles.to_string(),
            audit.tally.inputs.to_string(),
            count(Kind::Lost),
            count(Kind::Disorder),
            count(Kind::CommittedTooEarly),
            audit.tally.duplicates.to_string(),
            proof,
        ]
    }
}

/// Prints what went wrong in each row, then the table.
pub fn print(lines: &[Line]) {
    for line in lines {
        let problems: Vec<&str> = match &line.outcome {
            Ok(outcome) => outcome.audit.problems.iter().map(|problem| &*problem.text).collect(),
            Err(panic) => vec![panic],
        };
        if !problems.is_empty() {
            println!("\n{}: {} problems, of which the first are", line.fault, problems.len());
            problems.iter().take(10).for_each(|problem| println!("  {problem}"));
        }
    }
    let header = [
        ("fault", Left),
        ("cycles", Right),
        ("events in", Right),
        ("lost", Right),
        ("order violations", Right),
        ("commits past unsettled", Right),
        ("duplicates", Right),
        ("proof", Left),
    ];
    print!("\n{}", table(header, &lines.iter().map(Line::cells).collect::<Vec<_>>()));
}
