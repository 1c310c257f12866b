//! Reserves the stock of an accepted order. The stock service of the southern
//! warehouse is down when it is first asked, and answers the third time.

use outrigger_handler::prelude::*;

/// An order that was accepted.
#[derive(Deserialize)]
pub struct Accepted {
    id: String,
    warehouse: String,
}

#[derive(Serialize)]
struct Reserved {
    order: String,
    warehouse: String,
    reservation: String,
}

/// Asks the warehouse for a reservation.
///
/// While the service is down the event waits, and with it its key and nothing
/// else; the failure counts as the dependency's, not as the event's.
#[handler]
pub fn reserve(Json(order): Json<Accepted>, delivery: &Delivery) -> Result<Output, Failure> {
    // The position in Kafka is the same for every attempt, so that a service
    // asked twice can tell that it is the same reservation.
    let request = format!("{}-{}-{}", delivery.topic, delivery.partition, delivery.offset);
    let reservation = stock_service(&order.warehouse, &request, delivery.attempt).map_err(Failure::unavailable)?;
    let reserved = Reserved { order: order.id, warehouse: order.warehouse, reservation };
    Ok(Output::event("shop.stock.reserved").subject(&reserved.order).json(&reserved)?)
}

/// Stands for a call over the network. What a real one learns from the world,
/// this one reads off the attempt: the demo ends the same way every time.
fn stock_service(warehouse: &str, request: &str, attempt: u32) -> Result<String, String> {
    match (warehouse, attempt) {
        ("south", ..=2) => Err(format!("stock service of {warehouse}: connection refused")),
        _ => Ok(format!("r-{request}")),
    }
}

#[cfg(test)]
mod tests {
    use super::reserve;
    use outrigger_handler::prelude::*;
    use outrigger_handler::testing::{self, json};

    fn run(warehouse: &str, attempt: u32) -> Result<Vec<Output>, Failure> {
        let event = testing::event("shop.order.accepted").json(&json!({ "id": "o-1", "warehouse": warehouse })).build();
        let delivery = testing::delivery().record("shop.orders", 2, 17).attempt(attempt).build();
        testing::handle::<reserve>(&event, &delivery)
    }

    #[test]
    fn the_third_attempt_reaches_the_southern_warehouse() {
        let down = Failure::unavailable("stock service of south: connection refused");
        assert_eq!(run("south", 1), Err(down.clone()));
        assert_eq!(run("south", 2), Err(down));
        assert_eq!(run("south", 3), run("south", 4));
        let outputs = run("south", 3).unwrap();
        assert_eq!(
            outputs[0].event.text(),
            Ok(r#"{"order":"o-1","warehouse":"south","reservation":"r-shop.orders-2-17"}"#)
        );
    }

    #[test]
    fn the_northern_one_answers_at_once() {
        assert_eq!(run("north", 1).unwrap().len(), 1);
    }
}
