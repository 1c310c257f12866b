//! invoke: one component call on a warm or a fresh instance, under limits.
//!
//! In: an event, its delivery, and the handler's module. Out: an
//! [`Outcome`](crate::outcome::Outcome). Whatever a guest does, the answer comes
//! within its timeout, and nothing but its instance is lost.
//!
//! The way of a call: [`Pool::call`] takes an instance (`pool`, `instance`),
//! lowers the event into it (`call`, `bindings`), polls it under its deadline and
//! CPU budget (`drive`, `meter`, `interrupt`), lifts and checks what it returns
//! (`outputs`), and names what went wrong (`classify`). A module becomes runnable
//! in [`Engine::load`] (`load`; `start` tries it, and makes instances ready ahead of
//! calls), linked with what it may import: what every
//! runtime needs and what has no power (`plumbing`), and what the manifest grants
//! (`capabilities`, `http`, `keyvalue`).

mod bindings;
mod call;
mod capabilities;
mod classify;
mod drive;
mod engine;
mod escape;
mod file;
mod guest;
mod http;
mod instance;
mod interrupt;
mod keyvalue;
mod limits;
mod load;
mod log_rate;
mod meter;
mod output_log;
mod outputs;
mod plumbing;
mod pool;
mod reclaim;
mod start;
mod ticker;

pub use call::{Call, Report};
pub(crate) use engine::engine_that_compiles;
pub use engine::{Engine, EngineError, Sizing};
pub(crate) use file::examine;
pub use http::{Addresses, Resolve, System};
pub use load::{LoadError, Module};
pub use pool::Pool;
pub use start::{PrepareError, Prepared};
