//! The figures: minimum, median and maximum of each contender, and its ratio to
//! the bare loop of the same round.

use std::fmt::Write as _;

use crate::job::{Contender, Job};
use crate::worker::Measured;

/// All runs so far.
pub struct Report {
    events: f64,
    runs: Vec<(Job, Contender, Measured)>,
}

/// Minimum, median and maximum.
struct Spread([f64; 3]);

impl Report {
    /// No runs yet, of so many events each.
    pub fn new(events: u64) -> Report {
        Report { events: events as f64, runs: Vec::new() }
    }

    /// One more run; those of a contender in the order of the rounds.
    pub fn add(&mut self, job: Job, contender: Contender, measured: Measured) {
        self.runs.push((job, contender, measured));
    }

    /// What a run brought, as a line.
    pub fn line(&self, round: usize, rounds: usize, job: Job, contender: Contender, run: &Measured) -> String {
        format!(
            "{}/{rounds} {:<9} {:<26} {:>8.0} events/s {:>6.2} µs CPU/event {:>5.0} MiB",
            round + 1,
            format!("{job:?}").to_lowercase(),
            contender.title(),
            self.events / run.seconds,
            run.cpu_seconds * 1e6 / self.events,
            run.peak_kib as f64 / 1024.0,
        )
    }

    /// A table in Markdown for each job that was run.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for job in Job::ALL {
            let bare = self.of(job, Contender::Bare);
            if bare.is_empty() {
                continue;
            }
            let rounds = bare.len();
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "\n{}: {} events, {rounds} rounds, min / **median** / max\n\n\
                 | | events/s | µs CPU per event | events per CPU second | ratio to the loop | peak MiB | CPU s before the first event |\n\
                 |---|---|---|---|---|---|---|\n",
                job.title(),
                self.events
            );
            for &contender in job.contenders() {
                let runs = self.of(job, contender);
                if runs.is_empty() {
                    continue;
                }
                let spread = |figure: &dyn Fn(&Measured) -> f64| Spread::of(runs.iter().map(|run| figure(run)));
                // Events per CPU second of this contender over those of the loop, round by round.
                let ratio = Spread::of(runs.iter().zip(&bare).map(|(run, bare)| bare.cpu_seconds / run.cpu_seconds));
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {} | {} |",
                    contender.title(),
                    spread(&|run| self.events / run.seconds).show(0),
                    spread(&|run| run.cpu_seconds * 1e6 / self.events).show(2),
                    spread(&|run| self.events / run.cpu_seconds).show(0),
                    ratio.show(2),
                    spread(&|run| run.peak_kib as f64 / 1024.0).show(0),
                    spread(&|run| run.start_cpu_seconds).show(2),
                );
            }
        }
        text
    }

    fn of(&self, job: Job, contender: Contender) -> Vec<&Measured> {
        self.runs.iter().filter(|(j, c, _)| (*j, *c) == (job, contender)).map(|(.., run)| run).collect()
    }
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let (last, middle) = (values.len().saturating_sub(1), values.len() / 2);
        let median =
            if values.len().is_multiple_of(2) { (at(middle.saturating_sub(1)) + at(middle)) / 2.0 } else { at(middle) };
        Spread([at(0), median, at(last)])
    }

    fn show(&self, decimals: usize) -> String {
        let [min, median, max] = self.0;
        format!("{min:.decimals$} / **{median:.decimals$}** / {max:.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_ones() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0].into_iter()).0, [1.0, 2.5, 4.0]);
        assert_eq!(Spread::of([9.0, 1.0, 2.0].into_iter()).show(0), "1 / **2** / 9");
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let run = |cpu_seconds| Measured { seconds: 1.0, cpu_seconds, start_cpu_seconds: 0.0, peak_kib: 1024 };
        let mut report = Report::new(1000);
        for (bare, handler) in [(1.0, 2.0), (4.0, 5.0), (2.0, 8.0)] {
            report.add(Job::Transform, Contender::Bare, run(bare));
            report.add(Job::Transform, Contender::Handler, run(handler));
        }
        let tables = report.tables();
        assert!(tables.contains("| 0.25 / **0.50** / 0.80 |"), "{tables}");
        assert!(!tables.contains("consume only"));
    }
}
