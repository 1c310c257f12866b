//! Forecasts the demand for an article by simple exponential smoothing. It
//! searches until it is as exact as it was asked to be, and one sample asks for
//! more than there is: the search never ends, and the CPU budget ends it.

use outrigger_handler::prelude::*;

/// What to forecast, and from what.
#[derive(Deserialize)]
pub struct Request {
    sku: String,
    /// Units sold per day, oldest first.
    sold: Vec<f64>,
    /// How exact the smoothing factor has to be.
    tolerance: f64,
}

#[derive(Serialize)]
struct Forecast {
    sku: String,
    next: f64,
    smoothing: f64,
}

/// Forecasts the next day.
#[handler]
pub fn forecast(Json(request): Json<Request>) -> Result<Output, Failure> {
    let Some((&first, rest)) = request.sold.split_first() else {
        return Err(Failure::reject(format!("{}: nothing sold, nothing to go by", request.sku)));
    };
    let smoothing = best_smoothing(first, rest, request.tolerance);
    let (next, _) = smooth(first, rest, smoothing);
    let forecast = Forecast { sku: request.sku, next: round(next), smoothing: round(smoothing) };
    Ok(Output::event("shop.forecast.ready").subject(&forecast.sku).json(&forecast)?)
}

/// The factor with the least error, by ternary search. Nothing refuses a
/// tolerance below 0, which no interval is ever narrower than.
fn best_smoothing(first: f64, rest: &[f64], tolerance: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while high - low > tolerance {
        let third = (high - low) / 3.0;
        let (left, right) = (low + third, high - third);
        if smooth(first, rest, left).1 < smooth(first, rest, right).1 {
            high = right;
        } else {
            low = left;
        }
    }
    f64::midpoint(low, high)
}

/// The level after the last day, and the sum of the squared errors on the way.
fn smooth(first: f64, rest: &[f64], smoothing: f64) -> (f64, f64) {
    rest.iter().fold((first, 0.0), |(level, errors), sold| {
        let error = sold - level;
        (level + smoothing * error, errors + error * error)
    })
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::forecast;
    use outrigger_handler::prelude::*;
    use outrigger_handler::testing::{self, Value, json};

    fn run(sold: &[f64]) -> Result<Vec<Output>, Failure> {
        let data = json!({ "sku": "mug", "sold": sold, "tolerance": 0.001 });
        let event = testing::event("shop.forecast.requested").json(&data).build();
        testing::handle::<forecast>(&event, &testing::delivery().build())
    }

    #[test]
    fn a_steady_demand_stays_as_it_is() {
        let outputs = run(&[8.0, 8.0, 8.0]).unwrap();
        let forecast: Value = outputs[0].event.json().unwrap();
        assert_eq!(forecast["next"], json!(8.0));
    }

    #[test]
    fn a_jump_that_lasts_is_followed_at_once() {
        let outputs = run(&[2.0, 9.0, 9.0, 9.0]).unwrap();
        assert_eq!(outputs[0].event.text(), Ok(r#"{"sku":"mug","next":9.0,"smoothing":1.0}"#));
    }

    #[test]
    fn without_a_past_there_is_no_forecast() {
        assert_eq!(run(&[]), Err(Failure::reject("mug: nothing sold, nothing to go by")));
    }
}
