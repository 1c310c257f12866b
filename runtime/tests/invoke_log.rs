//! What a guest writes becomes log lines, and never an error for the guest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::io::Write;
use std::sync::{Arc, Mutex};

use outrigger::invoke::Pool;
use support::*;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

/// The log lines of one call: level, then message, then fields.
fn logged(pool: &std::rc::Rc<Pool>, ty: &str, data: &str) -> Vec<String> {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .without_time()
        .finish();
    let report = tracing::subscriber::with_default(subscriber, || block_on(pool.call(call(ty, data))));
    assert_eq!(said(report), "done");
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines().filter(|line| line.contains("outrigger::guest")).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn lines_carry_handler_and_route_and_are_escaped() {
    let pool = pool(|_| ());
    let module = &pool.module().digest()[..12];
    let lines = logged(&pool, "print", "one\ntw\x1b[2Jo\r\nthree");
    let stream = |level: &str, name: &str, texts: &[&str]| -> Vec<String> {
        let fields = format!("handler=\"probe\" route=\"on-probe\" generation=1 module=\"{module}\" stream=\"{name}\"");
        texts.iter().map(|text| format!("{level} outrigger::guest: {text} {fields}")).collect()
    };
    let of = |name: &str| lines.iter().filter(|line| line.contains(name)).cloned().collect::<Vec<_>>();
    // Rust's own standard library keeps an unfinished line of stdout, not of stderr.
    assert_eq!(of("stdout"), stream("INFO", "stdout", &["one", "tw\\u{1b}[2Jo"]));
    assert_eq!(of("stderr"), stream("WARN", "stderr", &["one", "tw\\u{1b}[2Jo", "three"]));
}

#[test]
fn wasi_logging_keeps_level_and_context() {
    let pool = pool(|_| ());
    let module = &pool.module().digest()[..12];
    let lines = logged(&pool, "log", "low\nstock");
    let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "ERROR"];
    assert_eq!(lines.len(), levels.len(), "{lines:#?}");
    for (line, level) in lines.iter().zip(levels) {
        let rest = format!("handler=\"probe\" route=\"on-probe\" generation=1 module=\"{module}\" context=\"stock\"");
        assert_eq!(*line, format!("{level} outrigger::guest: low\\nstock {rest}"));
    }
}

#[test]
fn a_flood_is_swallowed_and_counted_but_no_error_for_the_guest() {
    let pool = pool(|spec| spec.limits.cpu_time = std::time::Duration::from_secs(30));
    let lines = logged(&pool, "flood", "1000");
    let swallowed = pool.module().swallowed_output();
    // A million bytes; 64 KiB a second are let through, and it takes a second at the very most on the slowest machine.
    assert!(lines.len() < 500, "{}", lines.len());
    assert!(swallowed > 400_000, "{swallowed}");
}
