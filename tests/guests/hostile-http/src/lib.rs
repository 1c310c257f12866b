//! A handler that attacks by HTTP, its host and the servers that it may reach: the event
//! says how.
//!
//! An event's data is an `Order` (`guest-common`). `do` names the attack, `port` is the server's on
//! loopback. It is only made before `until`: what is left of a backlog then ends at once,
//! without an output.
#![cfg(target_arch = "wasm32")]
// The bindings are generated: their calls across the component's edge are unsafe, and
// their items have no documentation.
#![allow(unsafe_code, missing_docs)]

mod request;

use guest_common::Order;

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package outrigger:hostile-http;
            world hostile-http {
                include outrigger:handler/event-handler@0.1.0;
                include wasi:http/imports@0.2.12;
            }
        ",
        world: "outrigger:hostile-http/hostile-http",
        generate_all,
    });
}

use bindings::exports::outrigger::handler::handler::{Delivery, Event, Failure, Guest, Output};
use request::Request;

struct Hostile;
bindings::export!(Hostile with_types_in bindings);

/// The bytes of a request's body that is never finished: more than fits on its way at once.
const BODY: usize = 256 * 1024;

impl Guest for Hostile {
    fn handle(event: Event, _: Delivery) -> Result<Vec<Output>, Failure> {
        let order = Order::of(event.data.as_deref());
        if order.is_over() {
            return Ok(Vec::new());
        }
        let made = make(&order);
        // An attack that did not come about is no row of its class.
        made.map_err(Failure::Reject)?;
        Ok(vec![Output { event, topic: None, key: None, headers: Vec::new() }])
    }
}

/// Makes one. Those that end well say so in an output.
fn make(order: &Order) -> Result<(), String> {
    let get = || Request::get(order.number("port"));
    match order.text("do") {
        // As long as it takes, and again where the host would have it otherwise.
        "wait" => {
            while get()?.wait().and_then(|response| response.read_to_end()).is_err() {}
            Ok(())
        }
        "read" => get()?.wait()?.read_to_end(),
        "requests" => {
            for _ in 0..order.number("count") {
                // Whatever becomes of it.
                let _ = get().and_then(Request::wait).and_then(|response| response.read_to_end());
            }
            Ok(())
        }
        "leave-request" => {
            let request = Request::post(order.number("port"), BODY)?;
            std::mem::forget(request);
            Ok(())
        }
        "leave-response" => {
            let response = get()?.wait()?;
            response.read_some()?;
            std::mem::forget(response);
            Ok(())
        }
        other => Err(format!("no attack is called {other:?}")),
    }
}
