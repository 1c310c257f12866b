//! A handler that misbehaves on request: the event's type says how. For the
//! tests of the host; empty on any other target.

#[cfg(target_arch = "wasm32")]
mod guest;
