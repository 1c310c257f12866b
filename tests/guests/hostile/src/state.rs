//! What one event leaves behind for the next.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Answer;

static LEFT: AtomicU32 = AtomicU32::new(0);

/// A mark that nothing else writes.
const MARK: u8 = 0xA7;
const SIZE: usize = 4 << 20;

/// Leaves a number in a static, and marks all over the heap.
pub fn leave() -> Answer {
    LEFT.store(7, Ordering::Relaxed);
    std::mem::forget(black_box(vec![MARK; SIZE]));
    Ok(Vec::new())
}

/// What is there: of the static, and of memory that nobody has written to yet.
pub fn found() -> String {
    let mut fresh = Vec::<u8>::with_capacity(2 * SIZE);
    // SAFETY: none of the kind that Rust asks for: to look at memory that was never
    // written is the attack. In WebAssembly every byte of it can be read.
    unsafe { fresh.set_len(2 * SIZE) };
    let marks = black_box(&fresh).iter().filter(|byte| **byte == MARK).count();
    let seen = LEFT.load(Ordering::Relaxed) != 0;
    match (seen, marks > SIZE / 2) {
        (false, false) => "nothing".to_owned(),
        (true, false) => "a static".to_owned(),
        (_, true) => format!("{marks} bytes of the event before"),
    }
}
