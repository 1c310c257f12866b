//! The contract's generated half: the exported function and its ABI.
//!
//! The contract's records are mapped onto this crate's types, so that lifting
//! an event builds the very value that the handler sees: nothing is converted
//! or copied in between.

#![allow(unsafe_code, reason = "lifting and lowering the canonical ABI reads and writes raw memory")]
#![allow(missing_docs, reason = "generated")]

wit_bindgen::generate!({
    path: "wit",
    world: "event-handler",
    pub_export_macro: true,
    default_bindings_module: "::outrigger_handler::__private::bindings",
    with: {
        "outrigger:handler/types@0.1.0/event": crate::Event,
        "outrigger:handler/types@0.1.0/header": crate::Header,
        "outrigger:handler/types@0.1.0/delivery": crate::Delivery,
        "outrigger:handler/types@0.1.0/output": crate::Output,
        "outrigger:handler/types@0.1.0/retry": crate::Retry,
        "outrigger:handler/types@0.1.0/failure": crate::Failure,
    },
});

impl<H: crate::Handler> exports::outrigger::handler::handler::Guest for H {
    fn handle(event: crate::Event, delivery: crate::Delivery) -> Result<Vec<crate::Output>, crate::Failure> {
        H::handle(&event, &delivery)
    }
}
