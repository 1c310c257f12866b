//! The attacks that a call can make.

use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use guest_common::Order;

use crate::bindings::wasi::clocks::monotonic_clock::subscribe_duration;
use crate::bindings::wasi::logging::logging::{Level, log};
use crate::{Answer, made, said};

/// Makes one. Those that end well say so in an output.
pub fn make(attack: &str, order: &Order) -> Answer {
    match attack {
        "loop" => loop {
            black_box(attack);
        },
        // Ends by itself, shortly before the host would have looked at it.
        "slow" => compute(Duration::from_micros(order.number("us"))),
        // The same in many small pieces, with a wait in the host before each.
        "naps" => {
            for _ in 0..order.number("naps") {
                std::thread::sleep(Duration::from_millis(1));
                compute(Duration::from_micros(order.number("us")));
            }
        }
        "fill" => fill(order.number("mib") as usize),
        "memory" => memory(),
        "recursion" => drop(black_box(recurse(1, black_box(u64::MAX)))),
        "output" => return Ok(vec![made(String::new(), vec![b'x'; order.number("bytes") as usize])]),
        "outputs" => {
            return Ok((0..order.number("count")).map(|_| made(String::new(), b"flood".to_vec())).collect());
        }
        "utf8" => {
            // SAFETY: none, and that is the attack: a guest may return any bytes.
            let id = unsafe { String::from_utf8_unchecked(vec![b'a', 0xC3, 0x28, 0xFF]) };
            return Ok(vec![made(id, Vec::new())]);
        }
        "handles" => handles(),
        "log" => write_log(order.number("kib")),
        // Nearly all that the host takes as an answer.
        "reason" => return Err(crate::Failure::Reject(format!("no end of it: {}", "\x1b[31m".repeat(400_000)))),
        "trap" => panic!("as always"),
        "exit" => std::process::exit(3),
        other => return Err(crate::Failure::Reject(format!("no attack is called {other:?}"))),
    }
    said("done")
}

fn compute(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        black_box(crate::work(20));
    }
}

/// `memory.fill` over and over: each is one instruction, and no tick ends it.
fn fill(mib: usize) {
    let mut bytes = vec![0_u8; mib << 20];
    let mut value = 0;
    loop {
        bytes.fill(value);
        value = black_box(&bytes)[0].wrapping_add(1);
    }
}

fn memory() {
    let mut held = Vec::new();
    loop {
        held.push(vec![1_u8; 1 << 20]);
        black_box(&held);
    }
}

/// Without a frame in linear memory: it is the host's stack that this fills.
fn recurse(depth: u64, end: u64) -> u64 {
    if depth == end { depth } else { recurse(depth + 1, end).wrapping_mul(depth) ^ depth }
}

/// Handles of the host that are never given back.
fn handles() {
    loop {
        std::mem::forget(subscribe_duration(1_000_000_000));
    }
}

/// Clears the screen, forges a line, sets the window's title: on all three ways to the log.
const ESCAPES: &str = "\x1b[2J\x1b[H\x1b]0;owned\x07\rINFO outrigger: all is well \u{202e}desrever";

fn write_log(kib: u64) {
    let line = format!("{ESCAPES}{}", "x".repeat(1024 - ESCAPES.len()));
    for n in 0..kib {
        match n % 3 {
            // A log that is full is no error for whoever writes to it.
            0 => drop(writeln!(std::io::stdout(), "{line}")),
            1 => drop(writeln!(std::io::stderr(), "{line}")),
            _ => log(Level::Error, ESCAPES, &line),
        }
    }
}
