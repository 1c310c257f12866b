//! What `#[handler]` makes of a function: arguments of every kind in any order,
//! results of every kind.

use outrigger_handler::prelude::*;
use outrigger_handler::testing::{self, json};

#[derive(Debug, Deserialize, PartialEq)]
struct Order<'e> {
    id: &'e str,
}

#[handler]
fn everything(delivery: &Delivery, order: Json<Order<'_>>, event: &Event) -> Vec<Output> {
    vec![Output::event(&event.type_).subject(order.id).key(delivery.attempt.to_string()).source("/mine")]
}

#[handler]
fn nothing() {}

#[handler]
fn maybe(order: Option<Json<Order<'_>>>) -> Result<Option<Output>, Failure> {
    Ok(order.map(|order| Output::event("seen").subject(order.id)))
}

#[handler]
fn patterns(Json(Order { id }): Json<Order<'_>>, _: &Event) -> Result<[Output; 2], Failure> {
    if id.is_empty() {
        return Err(Failure::retry("no id yet"));
    }
    Ok([Output::event("one"), Output::event("two")])
}

/// Visible as the function is, and documented.
pub mod public {
    use outrigger_handler::prelude::*;

    /// Adds up.
    #[handler]
    pub fn passed_on(event: &Event) -> Output {
        event.clone().into()
    }
}

fn order(id: &str) -> Event {
    testing::event("shop.order.created").json(&json!({ "id": id })).build()
}

#[test]
fn arguments_come_in_any_order() {
    let delivery = testing::delivery().attempt(3).build();
    let outputs = testing::handle::<everything>(&order("o-1"), &delivery).unwrap();
    assert_eq!(
        outputs,
        [Output::event("shop.order.created").subject("o-1").key("3").source("/mine")],
        "and a source that is set stays"
    );
}

#[test]
fn the_function_stays_callable_as_it_is() {
    let (event, delivery) = (order("o-1"), testing::delivery().build());
    assert_eq!(everything(&delivery, Json(Order { id: "x" }), &event)[0].event.subject.as_deref(), Some("x"));
}

#[test]
fn no_arguments_and_no_result_will_do() {
    assert_eq!(testing::handle::<nothing>(&order("o-1"), &testing::delivery().build()), Ok(vec![]));
}

#[test]
fn absent_data_is_none_and_bad_data_is_rejected() {
    let delivery = testing::delivery().route("r").build();
    let absent = testing::event("t").build();
    assert_eq!(testing::handle::<maybe>(&absent, &delivery), Ok(vec![]));
    let seen = Output::event("seen").subject("o-1").source("/outrigger/r");
    assert_eq!(testing::handle::<maybe>(&order("o-1"), &delivery), Ok(vec![seen]));
    let bad = testing::event("t").json(&json!({ "id": 7 })).build();
    let rejected = Failure::reject("data.id: invalid type: integer `7`, expected a borrowed string");
    assert_eq!(testing::handle::<maybe>(&bad, &delivery), Err(rejected));
    let rejected = Failure::reject("data: the event carries none");
    assert_eq!(testing::handle::<everything>(&absent, &delivery), Err(rejected));
}

#[test]
fn patterns_are_arguments_too() {
    let delivery = testing::delivery().route("r").build();
    assert_eq!(testing::handle::<patterns>(&order("o-1"), &delivery).map(|outputs| outputs.len()), Ok(2));
    assert_eq!(testing::handle::<patterns>(&order(""), &delivery), Err(Failure::retry("no id yet")));
}

#[test]
fn an_event_can_be_passed_on() {
    let outputs = testing::handle::<public::passed_on>(&order("o-1"), &testing::delivery().build()).unwrap();
    assert_eq!(outputs, [Output::from(order("o-1"))]);
}

#[handler]
fn configured() -> Result<Output, Failure> {
    Ok(Output::event("priced").subject(outrigger_handler::config::get("currency")?.unwrap_or_default()))
}

#[test]
fn settings_are_given_by_the_test() {
    let call = || testing::handle::<configured>(&testing::event("t").build(), &testing::delivery().build());
    assert_eq!(call().unwrap()[0].event.subject.as_deref(), Some(""));
    testing::config("currency", "EUR");
    assert_eq!(call().unwrap()[0].event.subject.as_deref(), Some("EUR"));
}
