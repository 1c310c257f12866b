//! Log lines on stderr, as text or JSON, the client library's among them.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use tracing_subscriber::EnvFilter;

mod throttle;

pub use throttle::{Admitted, Throttle};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The options of the commands that log.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// How log lines are written to stderr.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, or per module, as in `info,outrigger::settle=debug`.
    #[arg(long, env = "OUTRIGGER_LOG", default_value = "info", value_name = "LEVEL", value_parser = parse_level)]
    pub log_level: String,
}

fn parse_level(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // A variable that is set to nothing.
    if text.trim().is_empty() {
        return Ok("info".to_owned());
    }
    // A word that is no level would be the name of a module, and everything else silent.
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let bare = |part: &&str| !part.is_empty() && !part.contains(['=', ':', '[']) && !is_level(part);
    if let Some(word) = text.split(',').map(str::trim).find(bare) {
        return Err(format!("`{word}` is not a level; write error, warn, info, debug, trace or off, or MODULE=LEVEL"));
    }
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; expected something like `info` or `warn,outrigger=debug`")),
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not one.
    #[error("log level {0:?}: {1}")]
    Level(String, tracing_subscriber::filter::ParseError),
    /// It was set up before.
    #[error("logging is set up already")]
    Twice,
}

/// Sends the process's log lines to stderr. To be called once, by a command.
///
/// # Errors
/// If the level cannot be read, or logging is set up already.
pub fn init(args: &LogArgs) -> Result<(), LogError> {
    let filter =
        EnvFilter::builder().parse(&args.log_level).map_err(|error| LogError::Level(args.log_level.clone(), error))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // A line that cannot be written, as on a full disk, is lost. Reporting that on stderr
    // as well, which is the default, would panic, and end the thread that logs.
    let lines = lines.log_internal_errors(false);
    let set = match args.log_format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr()) && !no_colour()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    set.map_err(|_| LogError::Twice)
}

/// Whether the user asked for no colours (<https://no-color.org>).
pub fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Lines that differ only in counters come once per this interval.
const KAFKA_INTERVAL: Duration = Duration::from_secs(30);
/// Different lines remembered. Brokers times kinds of trouble, with room to spare.
const KAFKA_LINES: usize = 256;

/// Where the Kafka clients of the process write their log lines. A broker that
/// is down makes librdkafka say so several times a second; here it says so once
/// per 30 s, with the number of lines left out.
#[derive(Debug)]
pub struct KafkaLog {
    throttle: Mutex<Throttle>,
}

impl Default for KafkaLog {
    fn default() -> KafkaLog {
        KafkaLog { throttle: Mutex::new(Throttle::new(KAFKA_INTERVAL, KAFKA_LINES)) }
    }
}

impl KafkaLog {
    /// Writes a line of librdkafka: its level, its facility (such as `FAIL`) and its text.
    /// May be called from any thread, librdkafka's own included; it takes a short lock and never blocks for long.
    pub fn line(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
        // Debugging is asked for on purpose, and then every line counts.
        let debug = matches!(level, Debug);
        let admitted = if debug { Some(Admitted::default()) } else { self.admit(&[facility, same_line(text)]) };
        let Some(Admitted { suppressed }) = admitted else { return };
        match level {
            Emerg | Alert | Critical | Error => tracing::error!(target: "kafka", facility, suppressed, "{text}"),
            Warning => tracing::warn!(target: "kafka", facility, suppressed, "{text}"),
            Notice | Info => tracing::info!(target: "kafka", facility, suppressed, "{text}"),
            Debug => tracing::debug!(target: "kafka", facility, "{text}"),
        }
    }

    /// Writes an error that librdkafka reported to the application, such as
    /// `AllBrokersDown`; once per interval and kind.
    pub fn error(&self, error: &rdkafka::error::KafkaError, text: &str) {
        let code = error.rdkafka_error_code().map(|code| format!("{code:?}")).unwrap_or_default();
        if let Some(Admitted { suppressed }) = self.admit(&["error", &code, same_line(text)]) {
            tracing::warn!(target: "kafka", %error, suppressed, "{text}");
        }
    }

    fn admit(&self, key: &[&str]) -> Option<Admitted> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner).admit(key, Instant::now())
    }
}

/// The part of a line that stays the same when it is repeated: librdkafka ends
/// them with `(after 3ms in state CONNECT, 12 identical error(s) suppressed)`.
fn same_line(text: &str) -> &str {
    text.find(" (after ").map_or(text, |at| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_connection_errors_are_one_line() {
        let first = "b1:9092/1: Connect to ipv4#10.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)";
        let later = "b1:9092/1: Connect to ipv4#10.0.0.1:9092 failed: Connection refused \
                     (after 7ms in state CONNECT, 30 identical error(s) suppressed)";
        assert_eq!(same_line(first), same_line(later));
        assert_ne!(same_line(first), same_line(&later.replace("b1", "b2")));
    }

    #[test]
    fn levels_are_checked() {
        assert!(parse_level("info").is_ok());
        assert!(parse_level("warn,outrigger::settle=debug").is_ok());
        assert!(parse_level("WARN,kafka=off").is_ok());
        assert!(parse_level("info,").is_ok());
        assert_eq!(parse_level(""), Ok("info".to_owned()), "a variable that is set to nothing");
        for wrong in ["outrigger=loud", "loud", "warning", "info,verbose"] {
            assert!(parse_level(wrong).is_err(), "{wrong}");
        }
    }
}
