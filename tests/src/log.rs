//! The log of a process, line by line as it comes.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The lines that a process wrote, taken in by one thread per pipe.
#[derive(Default)]
pub(crate) struct Log {
    state: Mutex<LogState>,
    changed: Condvar,
}

#[derive(Default)]
struct LogState {
    lines: Vec<String>,
    open: usize,
}

impl Log {
    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.state().lines.clone()
    }

    /// How many lines so far contain `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.state().lines.iter().filter(|line| line.contains(text)).count()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what comes through a pipe until it is closed.
    pub(crate) fn take_in(self: &Arc<Log>, pipe: impl Read + Send + 'static) {
        self.state().open += 1;
        let log = Arc::clone(self);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                log.state().lines.push(String::from_utf8_lossy(&line).into_owned());
                log.changed.notify_all();
            }
            log.state().open -= 1;
            log.changed.notify_all();
        });
    }

    /// Waits for a line that contains `text`, from the first one on.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str, deadline: Duration) -> String {
        let found = |state: &LogState| state.lines.iter().find(|line| line.contains(text)).cloned();
        let waiting = |state: &mut LogState| found(state).is_none() && state.open > 0;
        let (state, _) =
            self.changed.wait_timeout_while(self.state(), deadline, waiting).unwrap_or_else(PoisonError::into_inner);
        found(&state).unwrap_or_else(|| panic!("no line says `{text}`"))
    }

    /// Waits until the process has closed its pipes.
    pub(crate) fn wait_closed(&self) {
        let open = |state: &mut LogState| state.open > 0;
        let _ = self.changed.wait_timeout_while(self.state(), Duration::from_secs(10), open);
    }
}
