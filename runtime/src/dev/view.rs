//! One readable line per outcome, and on a terminal a live summary below them.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::table::Tally;
use crate::dispatch::breaker::Change;
use crate::logging::no_colour;
use crate::observe::{Observation, What};

/// Characters of a reason that are shown; the dead letter has the rest.
const REASON: usize = 160;

/// How lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub colour: bool,
    /// With a summary that is written over and over.
    pub live: bool,
}

impl Style {
    /// What suits stdout: plain lines unless it is a terminal; no colours where `NO_COLOR` is set.
    pub fn of_stdout() -> Style {
        let terminal = io::stdout().is_terminal();
        Style { colour: terminal && !no_colour(), live: terminal }
    }
}

/// Writes lines for people.
#[derive(Debug)]
pub struct View<W> {
    out: W,
    style: Style,
    route_width: usize,
    summary: bool,
}

impl<W: Write> View<W> {
    /// `route_width` is the length of the longest route name.
    pub fn new(out: W, style: Style, route_width: usize) -> View<W> {
        View { out, style, route_width, summary: false }
    }

    /// Writes one outcome.
    ///
    /// # Errors
    /// If the output cannot be written; likewise below.
    pub fn observe(&mut self, observation: &Observation) -> io::Result<()> {
        let text = describe(observation, self.style.colour, self.route_width);
        self.line(&text)
    }

    /// Writes a line above the summary.
    ///
    /// # Errors
    /// See [`View::observe`].
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.clear()?;
        writeln!(self.out, "{text}")
    }

    /// Shows the counts so far; nothing where the output is not a terminal.
    ///
    /// # Errors
    /// See [`View::observe`].
    pub fn summarise(&mut self, tally: &Tally) -> io::Result<()> {
        if self.style.live {
            self.clear()?;
            write!(self.out, "{}", tally.summary())?;
            self.summary = true;
        }
        self.out.flush()
    }

    /// Removes the summary and writes out everything.
    ///
    /// # Errors
    /// See [`View::observe`].
    pub fn finish(&mut self) -> io::Result<()> {
        self.clear()?;
        self.out.flush()
    }

    fn clear(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.summary) {
            self.out.write_all(b"\r\x1b[2K")?;
        }
        Ok(())
    }
}

fn describe(observation: &Observation, colour: bool, route_width: usize) -> String {
    let (word, code, detail) = match &observation.what {
        What::Handled { outputs, duration } => {
            let outputs = match outputs {
                0 => "no output".to_owned(),
                1 => "1 output".to_owned(),
                n => format!("{n} outputs"),
            };
            ("handled", "32", format!("{outputs}  {}", millis(*duration)))
        }
        What::Retry { class, reason, delay } => {
            let detail = format!("again in {} (attempt {})  {class}: ", millis(*delay), observation.attempt);
            ("retry", "33", detail + &printable(reason))
        }
        What::Probed { class, reason, delay } => {
            let detail = format!("trial call failed, the next in {}  {class}: ", millis(*delay));
            ("trial call", "33", detail + &printable(reason))
        }
        What::Circuit { handler, change, class } => {
            let code = if *change == Change::Closed { "32" } else { "31" };
            let class = class.map(|class| format!(" ({class})")).unwrap_or_default();
            let detail = match change {
                Change::Opened { why, length } => format!("{why}{class}: no calls for {}", millis(*length)),
                Change::HalfOpened => "this record makes the trial call".to_owned(),
                Change::Closed => "it works again".to_owned(),
            };
            ("circuit", code, format!("{handler} {}: {detail}", change.state()))
        }
        What::DeadLettered { class, reason, topic } => {
            ("dead letter", "31", format!("→ {topic}  {class}: {}", printable(reason)))
        }
        What::Dropped { class, reason } => ("dropped", "2", format!("{class}: {}", printable(reason))),
    };
    let mut line = String::new();
    let route = observation.route.as_deref().unwrap_or("-");
    let place = format!("{}/{}@{}", observation.topic, observation.partition, observation.offset);
    let (on, off) = if colour { (format!("\x1b[{code}m"), "\x1b[0m") } else { (String::new(), "") };
    // Writing to a string cannot fail.
    _ = write!(line, "{on}{word:<11}{off}  {route:<route_width$}  {place}");
    if let Some(id) = &observation.id {
        _ = write!(line, "  id={}", printable(id));
    }
    line + "  " + &detail
}

fn millis(duration: Duration) -> String {
    if duration < Duration::from_millis(10) {
        format!("{:.2} ms", duration.as_secs_f64() * 1e3)
    } else {
        format!("{} ms", duration.as_millis())
    }
}

/// Text from outside, on one line, without what a terminal would obey, cut to a readable length.
fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == REASON {
            shown.push('…');
            break;
        }
        match character {
            '\n' | '\r' | '\t' => shown.push(' '),
            // Direction marks reorder what stands beside them.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.extend(character.escape_unicode());
            }
            control if control.is_control() => shown.extend(control.escape_unicode()),
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::breaker::Why;
    use crate::outcome::FailureClass;

    fn observation(what: What) -> Observation {
        let (route, topic) = (Some("order-created".into()), "shop.orders".into());
        Observation {
            route,
            topic,
            partition: 2,
            offset: 17,
            id: Some("o-17".into()),
            generation: 1,
            module: None,
            attempt: 1,
            what,
        }
    }

    #[test]
    fn each_outcome_is_one_plain_line() {
        let reason = "stock service unavailable".to_owned();
        let (class, delay) = (FailureClass::Dependency, Duration::from_millis(200));
        let handled = What::Handled { outputs: 1, duration: Duration::from_micros(420) };
        let circuit = |change, class| What::Circuit { handler: "stock".into(), change, class };
        let opened = Change::Opened { why: Why::InARow(20), length: Duration::from_secs(30) };
        let probed = What::Probed { class, reason: reason.clone(), delay: Duration::from_secs(60) };
        let retry = What::Retry { class, reason: reason.clone(), delay };
        let dead = What::DeadLettered { class, reason: reason.clone(), topic: "shop.orders.dlq".into() };
        let lines = [
            handled,
            retry,
            dead,
            What::Dropped { class, reason },
            circuit(opened, Some(class)),
            circuit(Change::HalfOpened, None),
            probed,
            circuit(Change::Closed, None),
        ]
        .map(|what| {
            let mut out = Vec::new();
            View::new(&mut out, Style { colour: false, live: false }, 14).observe(&observation(what)).unwrap();
            String::from_utf8(out).unwrap()
        });
        assert_eq!(
            lines.concat(),
            "handled      order-created   shop.orders/2@17  id=o-17  1 output  0.42 ms\n\
             retry        order-created   shop.orders/2@17  id=o-17  again in 200 ms (attempt 1)  \
             dependency: stock service unavailable\n\
             dead letter  order-created   shop.orders/2@17  id=o-17  → shop.orders.dlq  \
             dependency: stock service unavailable\n\
             dropped      order-created   shop.orders/2@17  id=o-17  dependency: stock service unavailable\n\
             circuit      order-created   shop.orders/2@17  id=o-17  \
             stock open: 20 attempts in a row failed (dependency): no calls for 30000 ms\n\
             circuit      order-created   shop.orders/2@17  id=o-17  stock half-open: this record makes the trial call\n\
             trial call   order-created   shop.orders/2@17  id=o-17  trial call failed, the next in 60000 ms  \
             dependency: stock service unavailable\n\
             circuit      order-created   shop.orders/2@17  id=o-17  stock closed: it works again\n"
        );
    }

    #[test]
    fn what_a_guest_says_cannot_steer_the_terminal() {
        let dirty = format!("a\x1b[2Jb\nc\u{202e}d{}", "x".repeat(500));
        let reason = printable(&dirty);
        assert!(reason.starts_with("a\\u{1b}[2Jb c\\u{202e}dxx"), "{reason}");
        assert!(reason.ends_with('…') && reason.chars().count() < REASON + 20);
        let mut observation = observation(What::Dropped { class: FailureClass::Unrouted, reason: dirty.clone() });
        observation.id = Some(dirty);
        assert!(!describe(&observation, false, 4).contains(['\x1b', '\n']));
    }

    #[test]
    fn the_summary_is_written_over() {
        let mut out = Vec::new();
        let mut view = View::new(&mut out, Style { colour: true, live: true }, 4);
        view.summarise(&Tally::default()).unwrap();
        view.line("next").unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.ends_with("\r\x1b[2Knext\n"), "{text:?}");
    }
}
