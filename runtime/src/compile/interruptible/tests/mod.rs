//! What is rewritten behaves as before, but that it can be interrupted, and nothing else of
//! the file changes.

mod bytes;
mod epochs;
mod same;
mod tables;

use wasmtime::{Config, Engine};

use super::*;

/// What Outrigger's own engine enables, and one proposal more that this knows.
fn engine() -> Engine {
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false).wasm_custom_page_sizes(true);
    Engine::new(&config).unwrap()
}

#[track_caller]
fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The module in chunks, which it must not be without.
#[track_caller]
fn chunked(module: &[u8]) -> Vec<u8> {
    match make(module).unwrap() {
        Cow::Owned(chunked) => chunked,
        Cow::Borrowed(_) => panic!("nothing was rewritten"),
    }
}

/// A string of the text format that is these many bytes, no two stretches of which are alike.
fn data(count: usize) -> String {
    let mut random = fastrand::Rng::with_seed(1);
    (0..count).map(|_| format!("\\{:02x}", random.u8(..))).collect()
}
