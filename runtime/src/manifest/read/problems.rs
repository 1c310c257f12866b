//! What was found wrong so far.

use std::cell::RefCell;

use super::Place;
use crate::manifest::diagnostic::Severity;

/// A problem before its line is looked up.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::manifest) struct Problem {
    pub severity: Severity,
    pub place: Option<Place>,
    pub message: String,
    pub help: Option<String>,
}

impl Problem {
    pub fn error(place: Place, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Error, place: Some(place), message: message.into(), help: None }
    }

    pub fn warning(place: Place, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::error(place, message) }
    }

    /// An error of the file as a whole.
    pub fn of_file(message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Error, place: None, message: message.into(), help: None }
    }

    /// With what to write instead.
    pub fn help(self, help: impl Into<String>) -> Problem {
        Problem { help: Some(help.into()), ..self }
    }
}

/// Collects problems while the checks go on. A shared reference is enough to
/// add one, because serde hands its deserializers around by value.
#[derive(Debug, Default)]
pub(in crate::manifest) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    /// Adds one; one that is there already is not added again.
    pub fn add(&self, problem: Problem) {
        let mut found = self.0.borrow_mut();
        if !found.contains(&problem) {
            found.push(problem);
        }
    }

    /// Adds an error with what to write instead.
    pub fn error(&self, place: Place, message: impl Into<String>, help: impl Into<String>) {
        self.add(Problem::error(place, message).help(help));
    }

    pub fn has_errors(&self) -> bool {
        self.0.borrow().iter().any(|problem| problem.severity == Severity::Error)
    }

    /// All of them in the order of the text.
    pub fn into_sorted(self) -> Vec<Problem> {
        let mut found = self.0.into_inner();
        found.sort_by_key(|problem| problem.place);
        found
    }
}
