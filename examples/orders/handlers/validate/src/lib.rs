//! Says no to orders that nobody can fulfil. Such an order will not become
//! better by waiting: it is rejected, and its dead letter carries the reason.

use outrigger_handler::prelude::*;

/// More of one article needs a contract.
const MOST: u64 = 100;

/// An order, as far as it is judged here.
#[derive(Deserialize)]
pub struct Order {
    id: String,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    sku: String,
    quantity: u64,
    #[serde(rename = "price")]
    _price: u64,
}

/// Rejects an order without items, and items in quantities that are not sold.
#[handler]
pub fn validate(order: Json<Order>) -> Result<(), Failure> {
    if order.items.is_empty() {
        return Err(Failure::reject(format!("order {} has no items", order.id)));
    }
    for item in &order.items {
        if item.quantity == 0 {
            return Err(Failure::reject(format!("order {}: {} in quantity 0", order.id, item.sku)));
        }
        if item.quantity > MOST {
            let (id, quantity, sku) = (&order.id, item.quantity, &item.sku);
            return Err(Failure::reject(format!("order {id}: {quantity} of {sku}, more than {MOST} need a contract")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::validate;
    use outrigger_handler::prelude::*;
    use outrigger_handler::testing::{self, Value, json};

    fn run(items: Value) -> Result<Vec<Output>, Failure> {
        let event = testing::event("shop.order.created").json(&json!({ "id": "o-1", "items": items })).build();
        testing::handle::<validate>(&event, &testing::delivery().build())
    }

    #[test]
    fn a_good_order_passes_and_nothing_follows() {
        assert_eq!(run(json!([{ "sku": "mug", "quantity": 100, "price": 950 }])), Ok(vec![]));
    }

    #[test]
    fn the_reason_says_what_is_wrong() {
        let reason = |items| run(items).unwrap_err().reason().to_owned();
        assert_eq!(reason(json!([])), "order o-1 has no items");
        assert_eq!(reason(json!([{ "sku": "mug", "quantity": 0, "price": 950 }])), "order o-1: mug in quantity 0");
        assert_eq!(
            reason(json!([{ "sku": "mug", "quantity": 101, "price": 950 }])),
            "order o-1: 101 of mug, more than 100 need a contract"
        );
        assert_eq!(
            reason(json!([{ "sku": "mug", "quantity": 1, "price": "9.50" }])),
            r#"data.items[0].price: invalid type: string "9.50", expected u64"#
        );
    }
}
