//! What a guest writes to standard output, standard error and `wasi:logging`,
//! as log lines.
//!
//! A full log is no reason to fail an event (Rust's `println!` panics when its write
//! fails): what is over the rate is swallowed and counted. Only a write of more than the
//! stream has said that it takes ends the call.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::escape::escape;
use super::log_rate::{RATE, Rate};
use crate::observe::short;

/// The longest line; what is longer is broken.
const LINE: usize = 4 * 1024;

/// How much of an attempt's standard error is kept as the reason of a trap.
const TAIL: usize = 1024;

/// Bytes that a guest may write in one call.
const WRITE: usize = 64 * 1024;

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// The output of one instance.
#[derive(Debug)]
pub(super) struct Log {
    handler: Arc<str>,
    /// The beginning of the module's digest.
    module: String,
    rate: Arc<Rate>,
    attempt: Mutex<Attempt>,
}

/// What belongs to the attempt under way.
#[derive(Debug, Default)]
struct Attempt {
    route: Option<Arc<str>>,
    generation: u64,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    tail: VecDeque<u8>,
}

impl Log {
    pub(super) fn new(handler: Arc<str>, digest: &str, rate: Arc<Rate>) -> Log {
        Log { handler, module: short(digest).to_owned(), rate, attempt: Mutex::default() }
    }

    fn attempt(&self) -> MutexGuard<'_, Attempt> {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of the guest's standard streams.
    pub(super) fn stream(log: &Arc<Log>, stream: Stream) -> Writer {
        Writer { log: Arc::clone(log), stream }
    }

    /// Begins an attempt: its lines carry this route and this generation.
    pub(super) fn begin(&self, route: &Arc<str>, generation: u64) {
        let mut attempt = self.attempt();
        attempt.tail.clear();
        attempt.route = Some(Arc::clone(route));
        attempt.generation = generation;
    }

    /// Ends an attempt: an unfinished line is written as it is.
    pub(super) fn end(&self) {
        let mut attempt = self.attempt();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let line = std::mem::take(attempt.line(stream));
            if !line.is_empty() {
                self.line(&attempt, stream, &line);
            }
        }
    }

    /// The last of the attempt's standard error, trimmed; empty if it wrote none.
    pub(super) fn tail(&self) -> String {
        let tail: Vec<u8> = self.attempt().tail.iter().copied().collect();
        // A cut inside a character leaves at most three bytes of it.
        let start = tail.iter().take(3).take_while(|byte| (**byte & 0xC0) == 0x80).count();
        String::from_utf8_lossy(&tail[start..]).trim().to_owned()
    }

    /// One message of `wasi:logging`.
    pub(super) fn message(&self, level: tracing::Level, context: &str, message: &str) {
        let attempt = self.attempt();
        let message = cut(message, LINE);
        if !self.admit(&attempt, context.len() + message.len()) {
            return;
        }
        let (handler, route, generation, module) = self.of(&attempt);
        let (context, message) = (escape(cut(context, 256)), escape(message));
        macro_rules! write {
            ($level:ident) => {
                tracing::event!(target: "outrigger::guest", parent: None, tracing::Level::$level, handler, route, generation, module, context = &*context, "{message}")
            };
        }
        match level {
            tracing::Level::TRACE => write!(TRACE),
            tracing::Level::DEBUG => write!(DEBUG),
            tracing::Level::INFO => write!(INFO),
            tracing::Level::WARN => write!(WARN),
            tracing::Level::ERROR => write!(ERROR),
        }
    }

    fn write(&self, stream: Stream, mut bytes: &[u8]) {
        let mut attempt = self.attempt();
        if stream == Stream::Stderr {
            attempt.keep(bytes);
        }
        while !bytes.is_empty() {
            let line = attempt.line(stream);
            let room = &bytes[..bytes.len().min(LINE - line.len())];
            let (taken, complete) = match room.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (room.len(), line.len() + room.len() == LINE),
            };
            line.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if complete {
                let mut line = std::mem::take(attempt.line(stream));
                let fits = self.line(&attempt, stream, &line);
                line.clear();
                *attempt.line(stream) = line;
                if !fits {
                    // The rest goes the same way in one step, however many lines it has.
                    self.rate.swallow(bytes.len());
                    return;
                }
            }
        }
    }

    /// Whether it was written, and not swallowed. The line belongs to no span: those around
    /// it describe a host call of wasmtime.
    fn line(&self, attempt: &Attempt, stream: Stream, line: &[u8]) -> bool {
        if !self.admit(attempt, line.len()) {
            return false;
        }
        let (handler, route, generation, module) = self.of(attempt);
        let text = String::from_utf8_lossy(line);
        let text = escape(text.trim_end_matches(['\n', '\r']));
        match stream {
            Stream::Stdout => {
                tracing::info!(target: "outrigger::guest", parent: None, handler, route, generation, module, stream = "stdout", "{text}")
            }
            Stream::Stderr => {
                tracing::warn!(target: "outrigger::guest", parent: None, handler, route, generation, module, stream = "stderr", "{text}")
            }
        }
        true
    }

    /// What every line says: handler, route, generation and module.
    fn of<'a>(&'a self, attempt: &'a Attempt) -> (&'a str, &'a str, u64, &'a str) {
        (&self.handler, attempt.route(), attempt.generation, &self.module)
    }

    fn admit(&self, attempt: &Attempt, bytes: usize) -> bool {
        let (fits, missed) = self.rate.take(bytes, Instant::now());
        if missed > 0 {
            let (handler, route, generation, module) = self.of(attempt);
            tracing::warn!(target: "outrigger::guest", parent: None, handler, route, generation, module, bytes = missed, "guest output over {RATE} bytes a second was swallowed");
        }
        fits
    }
}

impl Attempt {
    fn route(&self) -> &str {
        self.route.as_deref().unwrap_or_default()
    }

    fn line(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL)..];
        let excess = (self.tail.len() + bytes.len()).saturating_sub(TAIL);
        self.tail.drain(..excess);
        self.tail.extend(bytes);
    }
}

/// Cuts a text to at most `max` bytes, on a character boundary.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// A guest's standard output or error.
pub(super) struct Writer {
    log: Arc<Log>,
    stream: Stream,
}

impl IsTerminal for Writer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Writer {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Log::stream(&self.log, self.stream))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Log::stream(&self.log, self.stream))
    }
}

impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // A guest that has asked writes no more, and nothing else sees to it.
        if bytes.len() > WRITE {
            return Err(StreamError::trap("more is written at once than a stream takes"));
        }
        self.log.write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let bytes = &bytes[..bytes.len().min(WRITE)];
        self.log.write(self.stream, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoke::log_rate::FRAME;

    fn log() -> Log {
        Log::new("h".into(), "", Arc::new(Rate::new()))
    }

    #[test]
    fn the_tail_is_the_last_kibibyte_on_a_character_boundary() {
        let log = log();
        log.begin(&"r".into(), 1);
        assert_eq!(log.tail(), "");
        log.write(Stream::Stdout, b"not this\n");
        log.write(Stream::Stderr, "é".repeat(700).as_bytes());
        log.write(Stream::Stderr, b"x\n");
        let tail = log.tail();
        assert!(tail.ends_with("éx") && tail.len() <= TAIL, "{tail}");
        assert!(!tail.contains(char::REPLACEMENT_CHARACTER), "{tail}");
        log.begin(&"r".into(), 1);
        assert_eq!(log.tail(), "");
    }

    #[test]
    fn a_line_without_an_end_is_broken_and_memory_stays_bounded() {
        let log = log();
        log.begin(&"r".into(), 1);
        log.write(Stream::Stderr, &[b'x'; 3 * LINE + 7]);
        assert_eq!(log.attempt().stderr.len(), 7);
        log.end();
        assert!(log.attempt().stderr.is_empty());
    }

    #[test]
    fn what_is_written_at_once_is_swallowed_at_once_and_bounded() {
        let log = Arc::new(log());
        log.begin(&"r".into(), 1);
        let mut writer = Log::stream(&log, Stream::Stdout);
        let lines = Bytes::from(vec![b'\n'; WRITE]);
        OutputStream::write(&mut writer, lines.clone()).unwrap();
        // Each line counts its frame and its end.
        let written = RATE / (FRAME + 1);
        assert_eq!(log.rate.swallowed(), (WRITE - written) as u64);
        let more = [&lines[..], b"\n"].concat();
        assert!(OutputStream::write(&mut writer, more.into()).is_err());
        assert_eq!(log.rate.swallowed(), (WRITE - written) as u64);
    }
}
