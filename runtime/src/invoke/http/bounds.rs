//! `wasi:http` with bounds on what a guest says of a request.
//!
//! The crate's own setters take texts of any length that fits into a call, and keep them as
//! long as the guest keeps the request. A thousand requests of some megabytes each would be
//! the host's memory, which no budget counts. What is refused here would not be sent either.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, HostOutgoingRequest as _, Method, RequestOptions};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};

use super::Outgoing;
use super::request::TARGET;
use crate::invoke::guest::Guest;

/// The interface as the crate has it; guests may import any version 0.2.x.
const TYPES: &str = "wasi:http/types@0.2.12";
const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

/// Bytes of a method. The longest that is registered has 17.
const METHOD: usize = 64;

/// Bytes of an authority: the longest name of the DNS, and a port.
const AUTHORITY: usize = 253 + 6;

type Request = Resource<HostOutgoingRequest>;
type Options = Option<Resource<RequestOptions>>;
type Text = Option<String>;
type Sent = wasmtime::Result<(Result<Resource<HostFutureIncomingResponse>, ErrorCode>,)>;
type Set = wasmtime::Result<(Result<(), ()>,)>;

/// Adds `wasi:http` to a linker.
///
/// # Errors
/// Only a conflict of names, which would be a mistake of the host.
pub(in crate::invoke) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store: StoreContextMut<'_, Guest>, (request, method): (Request, Method)| -> Set {
            let refused = matches!(&method, Method::Other(name) if name.len() > METHOD);
            Ok((if refused { Err(()) } else { store.data_mut().http().set_method(request, method)? },))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store: StoreContextMut<'_, Guest>, (request, text): (Request, Text)| -> Set {
            let refused = is_longer(&text, AUTHORITY);
            Ok((if refused { Err(()) } else { store.data_mut().http().set_authority(request, text)? },))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut store: StoreContextMut<'_, Guest>, (request, text): (Request, Text)| -> Set {
            let refused = is_longer(&text, TARGET);
            Ok((if refused { Err(()) } else { store.data_mut().http().set_path_with_query(request, text)? },))
        },
    )?;
    // The crate makes a task of each request, refused ones too, and a guest makes them faster
    // than a worker gets round to ending them: so the number is looked at before.
    linker.instance(HANDLER)?.func_wrap(
        "handle",
        |mut store: StoreContextMut<'_, Guest>, (request, options): (Request, Options)| -> Sent {
            let guest = store.data_mut();
            // The crate (48.0.8) reads the options, which are given to it, and leaves them in the
            // table: an instance would be out of handles after a thousand requests.
            let left = options.as_ref().map(|options| Resource::<RequestOptions>::new_own(options.rep()));
            let sent = if guest.http.as_ref().is_some_and(Outgoing::may_send) {
                let sent = guest.http().handle(request, options);
                sent.map_or_else(|error| error.downcast().map(Err), |response| Ok(Ok(response)))?
            } else {
                guest.http().table.delete(request)?;
                Err(ErrorCode::HttpRequestDenied)
            };
            left.map(|left| guest.http().table.delete(left)).transpose()?;
            Ok((sent,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn is_longer(text: &Text, most: usize) -> bool {
    text.as_ref().is_some_and(|text| text.len() > most)
}
