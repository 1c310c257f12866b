//! What the test programs that end with a table instead of a list of tests have in
//! common: their command line, the table, and the last line.

use std::process::ExitCode;

/// Rows that a machine may be asked to run at a time: each has a broker, a client and sidecars.
const MOST_JOBS: usize = 16;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The long run instead of the short cut.
    pub full: bool,
    /// Only the names of the rows.
    pub list: bool,
    /// The one row to run; `None`: all of them.
    pub only: Option<String>,
    /// How many rows run at a time, where the program can do that; 1 by default.
    pub jobs: usize,
}

impl Options {
    /// Reads the arguments of this process.
    ///
    /// # Errors
    /// They cannot be read; it is said why. The exit code to end with.
    pub fn from_command_line() -> Result<Options, ExitCode> {
        Options::parse(std::env::args().skip(1)).map_err(|error| {
            eprintln!("error: {error}");
            ExitCode::from(2)
        })
    }

    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options { full: false, list: false, only: None, jobs: 1 };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--full" => options.full = true,
                "--quick" => options.full = false,
                "--list" => options.list = true,
                "--only" => options.only = Some(arguments.next().ok_or("--only needs a name; --list has them")?),
                "--jobs" => {
                    let jobs = arguments.next().and_then(|jobs| jobs.parse().ok());
                    options.jobs = jobs.filter(|jobs| (1..=MOST_JOBS).contains(jobs)).ok_or_else(|| {
                        format!("--jobs needs the number of rows that run at a time, from 1 to {MOST_JOBS}")
                    })?;
                }
                // `cargo test` passes what it was given to every test binary: options of
                // the usual harness are nothing to this one, and a filter is a row's name.
                "--test-threads" | "--skip" | "--format" | "--color" | "--logfile" => drop(arguments.next()),
                other if other.starts_with('-') => {}
                filter => options.only = Some(filter.to_owned()),
            }
        }
        Ok(options)
    }

    /// Whether a row of this name is among those that are asked for by name.
    pub fn names(&self, row: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == row)
    }

    /// Says that this program has no such row. That is no failure: `cargo test NAME` asks
    /// every program.
    pub fn nothing_chosen(&self, program: &str, row: &str) -> ExitCode {
        println!("{program}: no {row} is called {:?}", self.only.as_deref().unwrap_or_default());
        println!("\n{}", last_line(0, 0));
        ExitCode::SUCCESS
    }
}

/// Ends a program: says what failed and why, a line for each, then the last line, as the
/// usual harness has it; gives the exit code.
pub fn conclude(all: usize, failed: &[String]) -> ExitCode {
    println!();
    failed.iter().for_each(|what| println!("FAILED {what}"));
    println!("{}", last_line(all, failed.len()));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn last_line(all: usize, failed: usize) -> String {
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    format!("test result: {verdict}. {} passed; {failed} failed", all - failed)
}

/// On which side the text of a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A Markdown table, its columns as wide as they must be.
pub fn table<const N: usize>(header: [(&str, Side); N], rows: &[[String; N]]) -> String {
    let sides = header.map(|(_, side)| side);
    let header = header.map(|(name, _)| name.to_owned());
    let longest = |column: usize| {
        let cells = std::iter::once(&header).chain(rows).map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(longest);
    let line = |cells: [String; N]| format!("| {} |\n", cells.join(" | "));
    let row = |row: &[String; N]| {
        line(std::array::from_fn(|n| match sides[n] {
            Side::Left => format!("{:<1$}", row[n], widths[n]),
            Side::Right => format!("{:>1$}", row[n], widths[n]),
        }))
    };
    let rule = line(std::array::from_fn(|n| match sides[n] {
        Side::Left => "-".repeat(widths[n]),
        Side::Right => "-".repeat(widths[n].saturating_sub(1)) + ":",
    }));
    row(&header) + &rule + &rows.iter().map(row).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Options::parse(arguments.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn options_of_the_usual_harness_are_passed_over() {
        let options = parse(&["--nocapture", "--test-threads", "1", "--full", "--only", "kill"]).unwrap();
        assert_eq!(options, Options { full: true, list: false, only: Some("kill".to_owned()), jobs: 1 });
        assert!(options.names("kill") && !options.names("hang"));
        assert_eq!(parse(&["kill"]).unwrap().only.as_deref(), Some("kill"), "a filter is a row's name");
        assert!(parse(&[]).unwrap().names("anything"));
        assert_eq!(parse(&["--jobs", "2"]).unwrap().jobs, 2);
        for wrong in [&["--jobs"][..], &["--jobs", "0"], &["--jobs", "17"], &["--jobs", "many"]] {
            assert!(parse(wrong).unwrap_err().contains("from 1 to 16"), "{wrong:?}");
        }
        assert!(parse(&["--only"]).unwrap_err().contains("--only needs a name"));
    }

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let rows = [["größe".to_owned(), "7".to_owned()], ["x".to_owned(), "1000".to_owned()]];
        let expected = "| what  | lost |\n| ----- | ---: |\n| größe |    7 |\n| x     | 1000 |\n";
        assert_eq!(table([("what", Side::Left), ("lost", Side::Right)], &rows), expected);
    }

    #[test]
    fn the_last_line_counts() {
        assert_eq!(last_line(7, 0), "test result: ok. 7 passed; 0 failed");
        assert_eq!(last_line(7, 2), "test result: FAILED. 5 passed; 2 failed");
    }
}
