//! A guest that uses what the manifest grants: HTTP, settings, key-value. Plain
//! bindings, as any language's tools generate them.

#[cfg(target_arch = "wasm32")]
mod guest;
#[cfg(target_arch = "wasm32")]
mod http;
