//! What came of everything, and the table of it.

use std::process::ExitCode;
use std::time::Duration;

use outrigger_tests::Side::Left;
use outrigger_tests::{conclude, table};

use crate::row::Measured;

/// What is printed at the end.
#[derive(Default)]
pub struct Verdicts {
    checks: Vec<Check>,
    lines: Vec<Line>,
    notes: Vec<String>,
}

/// Something that holds or does not.
struct Check {
    what: String,
    found: String,
    holds: bool,
}

/// One attack's line.
pub struct Line {
    pub what: &'static str,
    /// How often it ended as it was to end.
    pub happened: u64,
    /// How.
    pub end: String,
    /// What did not hold about its end.
    pub wrong: Option<String>,
    pub measured: Measured,
    /// What the neighbour's 99th percentile may be beside the attack.
    pub bound: Duration,
}

/// A neighbour's times in one kind of phase.
#[derive(Clone, Copy)]
pub struct Times {
    /// From available to settled, by the broker: exact to a millisecond.
    pub settled: Duration,
    /// From due to seen, by the test's clock.
    pub seen: Duration,
}

impl Line {
    fn problem(&self) -> Option<String> {
        if let Some(wrong) = &self.wrong {
            return Some(wrong.clone());
        }
        match self.happened {
            0 => Some("VOID: it did not happen".to_owned()),
            _ if self.measured.beside.settled > self.bound => Some("OVER THE BOUND".to_owned()),
            _ => None,
        }
    }

    fn cells(&self) -> [String; 10] {
        let Measured { alone, beside, again } = &self.measured;
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
        let whole = |time: Duration| time.as_millis().to_string();
        [
            self.what.to_owned(),
            self.happened.to_string(),
            self.end.clone(),
            whole(alone.settled),
            whole(beside.settled),
            whole(self.bound),
            ms(alone.seen),
            ms(beside.seen),
            again.to_string(),
            self.problem().unwrap_or_else(|| "holds".to_owned()),
        ]
    }
}

const HEADER: [&str; 10] = [
    "attack",
    "times",
    "each ends as",
    "p99 alone, ms",
    "p99 beside, ms",
    "bound, ms",
    "seen alone",
    "seen beside",
    "again",
    "verdict",
];

impl Verdicts {
    /// Something that was looked at once.
    pub fn check(&mut self, what: impl Into<String>, found: impl Into<String>, holds: bool) {
        let check = Check { what: what.into(), found: found.into(), holds };
        println!("{}: {} {}", check.what, check.found, if holds { "" } else { "FAILED" });
        self.checks.push(check);
    }

    /// A line of the table.
    pub fn line(&mut self, line: Line) {
        println!("| {} |", line.cells().join(" | "));
        self.lines.push(line);
    }

    /// Something to know beside the table.
    pub fn note(&mut self, note: String) {
        println!("{note}");
        self.notes.push(note);
    }

    /// Prints everything once more, together, and says whether it holds.
    pub fn print(&self) -> ExitCode {
        println!();
        self.notes.iter().for_each(|note| println!("{note}"));
        println!();
        let rows = self.checks.iter().map(|check| {
            let verdict = if check.holds { "holds" } else { "FAILED" };
            [check.what.clone(), check.found.clone(), verdict.to_owned()]
        });
        let header = ["tried", "what came of it", "verdict"].map(|name| (name, Left));
        println!("{}", table(header, &rows.collect::<Vec<_>>()));
        let lines: Vec<_> = self.lines.iter().map(Line::cells).collect();
        println!("{}", table(HEADER.map(|name| (name, Left)), &lines));
        let checks = self.checks.iter().filter(|check| !check.holds);
        let checks = checks.map(|check| format!("{}: {}", check.what, check.found));
        let lines = self.lines.iter().filter_map(|line| Some(format!("{}: {}", line.what, line.problem()?)));
        let failed: Vec<String> = checks.chain(lines).collect();
        conclude(self.checks.len() + self.lines.len(), &failed)
    }
}
