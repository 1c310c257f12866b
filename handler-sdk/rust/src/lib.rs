//! Write [Outrigger](https://github.com/outrigger/outrigger) handlers in Rust.
//!
//! A handler is a function from a CloudEvent to CloudEvents. Outrigger calls it
//! for every record that a route takes, publishes what it returns and only then
//! counts the record as handled.
//!
//! ```
//! use outrigger_handler::prelude::*;
//!
//! #[derive(Deserialize)]
//! struct Order { id: String, net: u64 }
//!
//! #[derive(Serialize)]
//! struct Priced { id: String, gross: u64 }
//!
//! #[handler]
//! fn price(Json(order): Json<Order>) -> Result<Output, Failure> {
//!     let gross = order.net + order.net / 5;
//!     Ok(Output::event("shop.order.priced").json(&Priced { id: order.id, gross })?)
//! }
//! ```
//!
//! # Arguments
//! Any number, in any order:
//!
//! | Type | What it is |
//! |---|---|
//! | [`Json<T>`] | the event's data as a `T`; data that does not fit is rejected, naming the field |
//! | `Option<Json<T>>` | the same, and `None` for an event without data |
//! | `&`[`Event`] | the event with all its attributes |
//! | `&`[`Delivery`] | the record it came in, and which attempt this is |
//!
//! `T` may borrow from the event: `Json<Order<'_>>`. Let text be a `Cow<'a, str>`
//! with `#[serde(borrow)]` then; a plain `&'a str` refuses text with escapes.
//!
//! # Results
//! `()`, [`Output`], `Option<Output>`, `Vec<Output>`, `[Output; N]`, or a
//! `Result` of one of them with [`Failure`].
//!
//! # Delivery
//! At least once: the same event may come again, with the same topic, partition
//! and offset, and an attempt that failed publishes nothing. What a handler does
//! beyond returning outputs has to bear being done twice. Instances are used
//! again for later events unless the manifest says `instance: fresh`: a `static`
//! is a cache at best, never a place for state.
//!
//! A panic is a trap: the event follows the route's policy for traps, with the
//! panic message as the reason, and the instance is replaced. Where the event is
//! at fault, return [`Failure::reject`] instead.
//!
//! # Memory
//! Handlers are built with an allocator made for many short calls. A crate that
//! brings its own turns it off: `default-features = false`.
//!
//! # Logging
//! Lines written with `println!` and `eprintln!` become log lines of the host
//! that carry the route's name.
//!
//! # Settings and requests
//! [`config::get`] reads what the manifest gives under `config` and `secrets`;
//! environment variables that it names are there as usual. For HTTP and the
//! key-value store use any crate for WASI 0.2 that imports `wasi:http` and
//! `wasi:keyvalue`, or generate bindings from the packages in the project's `wit/`.
//! Whatever is imported has to be granted in the manifest.
//!
//! # Tests
//! The function stays an ordinary function, and the handler runs on the build
//! machine without WebAssembly: see [`testing`].

#[cfg(any(test, all(target_arch = "wasm32", feature = "allocator")))]
mod allocator;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;
mod call;
pub mod config;
mod data;
mod delivery;
mod event;
mod failure;
mod output;
pub mod testing;

#[cfg(all(target_arch = "wasm32", feature = "allocator"))]
#[global_allocator]
static ALLOCATOR: allocator::FreeLists = allocator::FreeLists::new();

pub use call::{FromCall, Handler, IntoOutcome};
pub use data::{DataError, Json};
pub use delivery::{Delivery, Header};
pub use event::Event;
pub use failure::{Failure, Retry};
pub use output::Output;
/// Makes a function the handler of this crate. One per crate.
///
/// The function itself is left as it is. Beside it there is a type of the same
/// name, which implements [`Handler`]; on WebAssembly that is exported as the
/// component's `handle`.
///
/// What is no handler does not compile, and the message says what would be one:
///
/// ```compile_fail,E0277
/// # use outrigger_handler::prelude::*;
/// #[handler]
/// fn takes_text(data: String) {}
/// ```
/// ```compile_fail,E0277
/// # use outrigger_handler::prelude::*;
/// #[handler]
/// fn returns_text(event: &Event) -> String { event.id.clone() }
/// ```
/// ```compile_fail
/// # use outrigger_handler::prelude::*;
/// #[handler]
/// async fn waits(event: &Event) {}
/// ```
pub use outrigger_handler_macros::handler;

/// What a handler needs, in one line.
pub mod prelude {
    pub use crate::{DataError, Delivery, Event, Failure, Header, Json, Output, handler};
    pub use serde::{Deserialize, Serialize};
}

/// The guide's code is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Guide;

/// For the code that `#[handler]` generates. Not part of the interface.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_arch = "wasm32")]
    pub use crate::bindings;
    pub use crate::call::outcome;
}
