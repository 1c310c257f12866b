//! A handler that attacks its host: the event says how. Beside it, in the same module,
//! a neighbour that does honest work.
//!
//! An event's data is an `Order` (`guest-common`). `do` names the attack. It is only made before
//! `until`: what is left of a backlog then ends at once, without an output.
//!
//! Attacks by HTTP are in `guest-hostile-http`, which needs a grant to be loaded. What
//! wasm32 code of Rust cannot do (several memories, growing tables) is in
//! `tests/tests/hostile/wat`.
#![cfg(target_arch = "wasm32")]
// The bindings are generated: their calls across the component's edge are unsafe, and
// their items have no documentation. To panic is among the attacks.
#![allow(unsafe_code, missing_docs, clippy::panic)]

mod attack;
mod state;

use guest_common::{Order, powers};

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package outrigger:hostile;
            world hostile {
                include outrigger:handler/event-handler@0.1.0;
                import wasi:logging/logging@0.1.0-draft;
                import wasi:io/poll@0.2.12;
                import wasi:clocks/monotonic-clock@0.2.12;
            }
        ",
        world: "outrigger:hostile/hostile",
        generate_all,
    });
}

use bindings::exports::outrigger::handler::handler::{Delivery, Event, Failure, Guest, Output};

struct Hostile;
bindings::export!(Hostile with_types_in bindings);

type Answer = Result<Vec<Output>, Failure>;

impl Guest for Hostile {
    fn handle(event: Event, delivery: Delivery) -> Answer {
        let order = Order::of(event.data.as_deref());
        match order.text("do") {
            "neighbour" => Ok(vec![output(event, &delivery, work(2_000))]),
            _ if order.is_over() => Ok(Vec::new()),
            "powers" => said(&powers::found(order.text("file"), order.number("port") as u16)),
            "leave" => state::leave(),
            "find" => said(&state::found()),
            attack => attack::make(attack, &order),
        }
    }
}

/// Some honest computing: so many rounds of a hash over 64 bytes.
fn work(rounds: u32) -> Vec<u8> {
    let mut hash = [0xcbf2_9ce4_8422_2325_u64; 8];
    for round in 0..rounds {
        for (lane, value) in hash.iter_mut().enumerate() {
            *value = (*value ^ u64::from(round) ^ lane as u64).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
        }
    }
    hash.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// An output that carries the input's data on, and when the input was available: the
/// time that Kafka gave its record.
fn output(mut event: Event, delivery: &Delivery, worked: Vec<u8>) -> Output {
    let available = delivery.timestamp_ms.unwrap_or(0).to_string();
    event.extensions = vec![("worked".to_owned(), format!("{:02x}", worked[0])), ("available".to_owned(), available)];
    Output { event, topic: None, key: None, headers: Vec::new() }
}

fn made(id: String, data: Vec<u8>) -> Output {
    let event = Event {
        id,
        source: "/hostile".to_owned(),
        type_: "hostile.said".to_owned(),
        subject: None,
        time: None,
        datacontenttype: Some("text/plain".to_owned()),
        dataschema: None,
        extensions: Vec::new(),
        data: Some(data),
    };
    Output { event, topic: None, key: None, headers: Vec::new() }
}

fn said(text: &str) -> Answer {
    Ok(vec![made(String::new(), text.as_bytes().to_vec())])
}
