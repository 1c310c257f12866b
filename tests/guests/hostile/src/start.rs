//! What the module does while it is instantiated, before any call: its constructor.
//!
//! The tests write the mode into the module's file: modes of one length stand in a
//! place of their own that can be found there.

use std::hint::black_box;

/// `none`; `trap`; `loop`; `late`, which traps from the Unix time behind it on, in
/// milliseconds: the host's own trial finds nothing wrong with it.
#[used]
static MODE: [u8; 48] = *b"outrigger-hostile-start-mode=none:0000000000000;";

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn constructor() {
        // Volatile: the compiler must not know what is there.
        // SAFETY: a reference to a static.
        let mode = unsafe { std::ptr::read_volatile(&raw const MODE) };
        match &mode[29..33] {
            b"trap" => core::arch::wasm32::unreachable(),
            b"loop" => loop {
                black_box(&mode);
            },
            b"late" => {
                let from = std::str::from_utf8(&mode[34..47]).ok().and_then(|text| text.parse().ok());
                if from.is_some_and(|from: u64| crate::now() >= from) {
                    core::arch::wasm32::unreachable();
                }
            }
            _ => {}
        }
    }
    constructor
};
