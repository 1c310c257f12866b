//! The handler contract 0.1.0 in Rust types: what `handle` takes, borrowed from
//! the record, and what it gives back.
//!
//! Written by hand: `bindgen!` of wasmtime 48 cannot borrow the parameters of an
//! interface that renames types by `use`, and owned parameters would cost an
//! allocation per attribute. The type check at load keeps these in step with `wit/`.

use wasmtime::component::{ComponentExportIndex, ComponentType, Func, Instance, Lift, Lower, TypedFunc};
use wasmtime::{AsContextMut, StoreContextMut};

use super::guest::Guest;

/// The interface that a handler exports.
pub(super) const INTERFACE: &str = "outrigger:handler/handler@0.1.0";

/// Its one function.
pub(super) const FUNCTION: &str = "handle";

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct EventParam<'a> {
    pub id: &'a str,
    pub source: &'a str,
    #[component(name = "type")]
    pub ty: &'a str,
    pub subject: Option<&'a str>,
    pub time: Option<&'a str>,
    pub datacontenttype: Option<&'a str>,
    pub dataschema: Option<&'a str>,
    pub extensions: &'a [(&'a str, &'a str)],
    pub data: Option<&'a [u8]>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct HeaderParam<'a> {
    pub name: &'a str,
    pub value: Option<&'a [u8]>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct DeliveryParam<'a> {
    pub route: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    #[component(name = "timestamp-ms")]
    pub timestamp_ms: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub headers: &'a [HeaderParam<'a>],
    pub attempt: u32,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct EventResult {
    pub id: String,
    pub source: String,
    #[component(name = "type")]
    pub ty: String,
    pub subject: Option<String>,
    pub time: Option<String>,
    pub datacontenttype: Option<String>,
    pub dataschema: Option<String>,
    pub extensions: Vec<(String, String)>,
    pub data: Option<Vec<u8>>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct HeaderResult {
    pub name: String,
    pub value: Option<Vec<u8>>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct OutputResult {
    pub event: EventResult,
    pub topic: Option<String>,
    pub key: Option<Vec<u8>>,
    pub headers: Vec<HeaderResult>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct RetryResult {
    pub reason: String,
    #[component(name = "after-ms")]
    pub after_ms: Option<u32>,
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum FailureResult {
    #[component(name = "retry")]
    Retry(RetryResult),
    #[component(name = "unavailable")]
    Unavailable(RetryResult),
    #[component(name = "reject")]
    Reject(String),
}

/// What `handle` answers.
pub(super) type Answer = Result<Vec<OutputResult>, FailureResult>;

type Params<'a> = (EventParam<'a>, DeliveryParam<'a>);

/// The `handle` function of one instance.
#[derive(Clone, Copy)]
pub(super) struct Handle(Func);

impl Handle {
    /// Looks the function up in an instance of a component whose export index this is.
    ///
    /// # Errors
    /// The export is not a function; a component that passed [`Handle::check`] has it.
    pub(super) fn of(
        instance: &Instance,
        store: impl AsContextMut,
        index: &ComponentExportIndex,
    ) -> wasmtime::Result<Handle> {
        let func = instance.get_func(store, index);
        func.map(Handle).ok_or_else(|| wasmtime::Error::msg("the export `handle` is not a function"))
    }

    /// Compares the function's type with the contract's, once per module.
    ///
    /// # Errors
    /// Says where they differ.
    pub(super) fn check(self, store: impl AsContextMut) -> wasmtime::Result<()> {
        self.0.typed::<Params<'static>, (Answer,)>(store).map(drop)
    }

    /// Calls the handler.
    ///
    /// # Errors
    /// Whatever ended the call but an answer; `classify` tells what it was.
    #[allow(unsafe_code, reason = "the checked cast would compare the types again in every call")]
    pub(super) async fn call(
        self,
        store: StoreContextMut<'_, Guest>,
        event: EventParam<'_>,
        delivery: DeliveryParam<'_>,
    ) -> wasmtime::Result<Answer> {
        // SAFETY: a module is only loaded after `check` compared this export's
        // type with these parameters and results, and all instances of a
        // component have the same types.
        let handle = unsafe { TypedFunc::<Params<'_>, (Answer,)>::new_unchecked(self.0) };
        handle.call_async(store, (event, delivery)).await.map(|(answer,)| answer)
    }
}
