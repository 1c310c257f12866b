//! Settings and secrets that the manifest gives to the handler, under `config`
//! and `secrets`.
//!
//! ```
//! use outrigger_handler::{config, prelude::*};
//!
//! #[handler]
//! fn price(event: &Event) -> Result<Output, Failure> {
//!     let currency = config::get("currency")?.unwrap_or_else(|| "EUR".to_owned());
//!     Ok(Output::event("shop.order.priced").extension("currency", currency))
//! }
//! ```
//!
//! A handler that uses this imports `wasi:config`, and is loaded only where the
//! manifest has one of the two keys. In tests, [`testing::config`](crate::testing::config)
//! gives the values.

use crate::Failure;

/// The value of a setting or secret; `None` where the manifest has none of this
/// name. Asks the host, which takes about a microsecond.
///
/// # Errors
/// The host has its settings from elsewhere, and that is down. Outrigger has
/// them in memory and never fails.
pub fn get(name: &str) -> Result<Option<String>, Failure> {
    host::get(name).map_err(|reason| Failure::unavailable(format!("the setting {name:?} cannot be read: {reason}")))
}

#[cfg(target_arch = "wasm32")]
mod host {
    #![allow(unsafe_code, reason = "lifting and lowering the canonical ABI reads and writes raw memory")]
    #![allow(missing_docs, reason = "generated")]

    wit_bindgen::generate!({ path: "wit/deps/config", world: "imports" });

    use wasi::config::store::{self, Error};

    pub(super) fn get(name: &str) -> Result<Option<String>, String> {
        store::get(name).map_err(|error| match error {
            Error::Upstream(reason) | Error::Io(reason) => reason,
        })
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod host {
    use std::cell::RefCell;
    use std::collections::HashMap;

    thread_local! {
        /// What a test has set: each test has a thread of its own.
        static VALUES: RefCell<HashMap<String, String>> = RefCell::default();
    }

    pub(crate) fn set(name: String, value: String) {
        VALUES.with_borrow_mut(|values| values.insert(name, value));
    }

    pub(super) fn get(name: &str) -> Result<Option<String>, std::convert::Infallible> {
        Ok(VALUES.with_borrow(|values| values.get(name).cloned()))
    }
}
