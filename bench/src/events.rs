//! The input: structured CloudEvents of exactly 1 KiB, and what becomes of them.

use std::borrow::Cow;
use std::fmt::Write as _;

use outrigger_tests::Record;
use serde::{Deserialize, Serialize};

/// Bytes of every record's value.
pub const SIZE: usize = 1024;

/// The type of every input event.
pub const INPUT: &str = "bench.input";

/// The type of every output event.
pub const OUTPUT: &str = "bench.transformed";

/// Different keys: as many lanes may be open at a time.
const KEYS: u64 = 10_000;

/// Record number `n` of the input topic: an order as a shop might write it, with
/// the fields that are read in front of a list of lines that nobody reads.
pub fn record(n: u64) -> Record {
    let customer = format!("c-{:05}", n % KEYS);
    let mut value = format!(
        r#"{{"specversion":"1.0","id":"order-{n:09}","source":"/bench/shop","type":"{INPUT}","time":"2026-03-01T12:00:00Z","subject":"{customer}","datacontenttype":"application/json","data":{{"n":{n},"customer":"{customer}","note":"leave it with the neighbour on the left, please","lines":["#
    );
    let mut line = 0;
    while value.len() < SIZE - 120 {
        let separator = if line == 0 { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(
            value,
            r#"{separator}{{"sku":"A-{:06}","quantity":{},"price":"{}.90"}}"#,
            n * 31 % 1_000_000 + line,
            line + 1,
            n % 90 + 10
        );
        line += 1;
    }
    value.push_str(r#"],"remark":""#);
    let rest = SIZE - value.len() - r#""}}"#.len();
    value.extend(std::iter::repeat_n('x', rest));
    value.push_str(r#""}}"#);
    Record::new(Some(customer.as_bytes()), Some(value.as_bytes()))
        .header("content-type", Some(b"application/cloudevents+json; charset=utf-8"))
}

/// The fields of an event's data that the transformation reads.
#[derive(Debug, Deserialize)]
pub struct Input<'e> {
    n: i64,
    #[serde(borrow, default)]
    customer: Cow<'e, str>,
    #[serde(borrow, default)]
    note: Cow<'e, str>,
}

#[derive(Serialize)]
struct Transformed<'e> {
    n: i64,
    customer: &'e str,
    note: &'e str,
}

/// What the guest `transform` does, natively: half of the events yield nothing,
/// the others a smaller one, whose data this is.
///
/// # Errors
/// If it cannot be written as JSON, which does not happen.
pub fn transform(input: &Input<'_>) -> serde_json::Result<Option<Vec<u8>>> {
    if input.n % 2 != 0 {
        return Ok(None);
    }
    let body = Transformed { n: input.n.wrapping_mul(2), customer: &input.customer, note: &input.note };
    serde_json::to_vec(&body).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_valid_and_of_one_size() {
        for n in [0, 1, 99, 599_999, 12_345_678] {
            let record = record(n);
            assert_eq!(record.value.as_ref().map(Vec::len), Some(SIZE));
            let event = record.json();
            assert_eq!((&event["specversion"], &event["data"]["n"]), (&"1.0".into(), &n.into()));
        }
    }

    #[test]
    fn the_even_half_is_transformed() {
        let transformed = |n| {
            let event = record(n).json().to_string();
            let event: crate::bare::Event<'_> = serde_json::from_str(&event).unwrap();
            transform(&event.data).unwrap().map(|json| String::from_utf8(json).unwrap())
        };
        let note = "leave it with the neighbour on the left, please";
        assert_eq!(transformed(7), None);
        assert_eq!(transformed(8), Some(format!(r#"{{"n":16,"customer":"c-00008","note":"{note}"}}"#)));
    }
}
