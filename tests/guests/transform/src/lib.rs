//! The handler of the benchmarks: parses every event and transforms half of them.
//!
//! An event whose data has an even `n` becomes a `bench.transformed` with `n`
//! doubled and `customer` and `note` copied. An odd one yields nothing.

use std::borrow::Cow;

use outrigger_handler::prelude::*;

/// The fields that are read; the others are skipped. Text without escapes is
/// borrowed from the event.
#[derive(Deserialize)]
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

/// Transforms the even ones.
#[handler]
pub fn transform(input: Json<Input<'_>>) -> Result<Option<Output>, Failure> {
    if input.n % 2 != 0 {
        return Ok(None);
    }
    let n = input.n.checked_mul(2).ok_or_else(|| Failure::reject("n is too large to double"))?;
    let body = Transformed { n, customer: &input.customer, note: &input.note };
    Ok(Some(Output::event("bench.transformed").json(&body)?))
}

#[cfg(test)]
mod tests {
    use super::transform;
    use outrigger_handler::prelude::*;
    use outrigger_handler::testing;

    fn run(json: &str) -> Result<Vec<Output>, Failure> {
        let event = testing::event("bench.input").data("application/json", json).build();
        testing::handle::<transform>(&event, &testing::delivery().build())
    }

    #[test]
    fn the_even_are_doubled_and_the_odd_yield_nothing() {
        let outputs = run(r#"{"pad":[1,{}],"n":-4,"customer":"c-1","note":"a \"b\""}"#).unwrap();
        assert_eq!(outputs[0].event.text(), Ok(r#"{"n":-8,"customer":"c-1","note":"a \"b\""}"#));
        assert_eq!(outputs[0].event.type_, "bench.transformed");
        assert_eq!(run(r#"{"n":3,"customer":"c-1","note":"x"}"#), Ok(vec![]));
    }

    #[test]
    fn what_cannot_be_doubled_is_rejected() {
        assert_eq!(run(&format!(r#"{{"n":{}}}"#, i64::MAX - 1)), Err(Failure::reject("n is too large to double")));
        assert_eq!(run("{}"), Err(Failure::reject("data: missing field `n`")));
    }
}
