//! Tests of handlers without WebAssembly or Kafka.
//!
//! ```
//! use outrigger_handler::prelude::*;
//! use outrigger_handler::testing;
//!
//! #[derive(Deserialize)]
//! struct Order { amount: u64 }
//!
//! #[handler]
//! fn check(order: Json<Order>, delivery: &Delivery) -> Result<(), Failure> {
//!     match order.amount {
//!         0 => Err(Failure::reject(format!("an order of nothing, attempt {}", delivery.attempt))),
//!         _ => Ok(()),
//!     }
//! }
//!
//! # fn main() {
//! let delivery = testing::delivery().attempt(2).build();
//!
//! // The function as it is:
//! assert!(check(Json(Order { amount: 1 }), &delivery).is_ok());
//!
//! // As the host calls it, from the data's bytes to the outputs:
//! let event = testing::event("shop.order.created").json(&testing::json!({ "amount": "1" })).build();
//! let failure = testing::handle::<check>(&event, &delivery).unwrap_err();
//! assert_eq!(failure.reason(), r#"data.amount: invalid type: string "1", expected u64"#);
//! # }
//! ```

use serde::Serialize;
pub use serde_json::{Value, json};

use crate::{Delivery, Event, Failure, Handler, Header, Output};

/// Calls a handler as the host does: the arguments are made from the event, and
/// the outputs have their default source; an id that is not set stays empty.
///
/// # Errors
/// The failure that the host would be told.
pub fn handle<H: Handler>(event: &Event, delivery: &Delivery) -> Result<Vec<Output>, Failure> {
    H::handle(event, delivery)
}

/// Gives [`config::get`](crate::config::get) a value, for the rest of this thread.
#[cfg(not(target_arch = "wasm32"))]
pub fn config(name: impl Into<String>, value: impl Into<String>) {
    crate::config::host::set(name.into(), value.into());
}

/// An event of this type with id `test-1`, source `/test` and no data.
pub fn event(type_: impl Into<String>) -> EventBuilder {
    let (id, source) = ("test-1".to_owned(), "/test".to_owned());
    EventBuilder { event: Event { id, source, type_: type_.into(), ..Event::default() } }
}

/// A first attempt at offset 0 of partition 0 of topic `test` by route `test`, without a key.
pub fn delivery() -> DeliveryBuilder {
    let name = || "test".to_owned();
    DeliveryBuilder { delivery: Delivery { route: name(), topic: name(), attempt: 1, ..Delivery::default() } }
}

/// Builds an [`Event`]. Begin with [`event`].
#[derive(Clone, Debug)]
#[must_use = "end with build()"]
pub struct EventBuilder {
    event: Event,
}

impl EventBuilder {
    /// Sets the data to `value` as JSON and the content type to `application/json`.
    ///
    /// # Panics
    /// `value` has no form in JSON.
    #[track_caller]
    #[allow(clippy::panic, reason = "for tests, where a panic is the failure")]
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> EventBuilder {
        match serde_json::to_vec(value) {
            Ok(json) => self.data("application/json", json),
            Err(error) => panic!("the event's data has no form in JSON: {error}"),
        }
    }

    /// Sets the data, byte for byte, and its media type.
    pub fn data(mut self, content_type: impl Into<String>, data: impl Into<Vec<u8>>) -> EventBuilder {
        self.event.datacontenttype = Some(content_type.into());
        self.event.data = Some(data.into());
        self
    }

    /// Sets `id`.
    pub fn id(mut self, id: impl Into<String>) -> EventBuilder {
        self.event.id = id.into();
        self
    }

    /// Sets `source`.
    pub fn source(mut self, source: impl Into<String>) -> EventBuilder {
        self.event.source = source.into();
        self
    }

    /// Sets `subject`.
    pub fn subject(mut self, subject: impl Into<String>) -> EventBuilder {
        self.event.subject = Some(subject.into());
        self
    }

    /// Sets `time`: RFC 3339.
    pub fn time(mut self, time: impl Into<String>) -> EventBuilder {
        self.event.time = Some(time.into());
        self
    }

    /// Sets `dataschema`.
    pub fn dataschema(mut self, uri: impl Into<String>) -> EventBuilder {
        self.event.dataschema = Some(uri.into());
        self
    }

    /// Adds an extension attribute.
    pub fn extension(mut self, name: impl Into<String>, value: impl Into<String>) -> EventBuilder {
        self.event.extensions.push((name.into(), value.into()));
        self
    }

    /// The event.
    #[must_use]
    pub fn build(self) -> Event {
        self.event
    }
}

/// Builds a [`Delivery`]. Begin with [`delivery`].
#[derive(Clone, Debug)]
#[must_use = "end with build()"]
pub struct DeliveryBuilder {
    delivery: Delivery,
}

impl DeliveryBuilder {
    /// Sets the route.
    pub fn route(mut self, route: impl Into<String>) -> DeliveryBuilder {
        self.delivery.route = route.into();
        self
    }

    /// Sets topic, partition and offset.
    pub fn record(mut self, topic: impl Into<String>, partition: i32, offset: i64) -> DeliveryBuilder {
        (self.delivery.topic, self.delivery.partition, self.delivery.offset) = (topic.into(), partition, offset);
        self
    }

    /// Sets the record's timestamp, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn timestamp_ms(mut self, timestamp: i64) -> DeliveryBuilder {
        self.delivery.timestamp_ms = Some(timestamp);
        self
    }

    /// Sets the key.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> DeliveryBuilder {
        self.delivery.key = Some(key.into());
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> DeliveryBuilder {
        self.delivery.headers.push(Header { name: name.into(), value: Some(value.into()) });
        self
    }

    /// Adds a header whose value is null.
    pub fn null_header(mut self, name: impl Into<String>) -> DeliveryBuilder {
        self.delivery.headers.push(Header { name: name.into(), value: None });
        self
    }

    /// Sets which attempt it is, from 1.
    pub fn attempt(mut self, attempt: u32) -> DeliveryBuilder {
        self.delivery.attempt = attempt;
        self
    }

    /// The delivery.
    #[must_use]
    pub fn build(self) -> Delivery {
        self.delivery
    }
}
