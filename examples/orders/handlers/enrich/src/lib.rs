//! `shop.order.created` becomes `shop.order.enriched`: with its total, and the
//! currency of the country that it ships to.

use outrigger_handler::prelude::*;

/// What was ordered. Prices are in the currency's smallest unit.
#[derive(Deserialize)]
pub struct Order {
    id: String,
    country: String,
    items: Vec<Item>,
}

#[derive(Deserialize, Serialize)]
struct Item {
    sku: String,
    quantity: u64,
    price: u64,
}

#[derive(Serialize)]
struct Enriched {
    id: String,
    total: u64,
    currency: &'static str,
    items: Vec<Item>,
}

/// Adds the total and the currency.
#[handler]
pub fn enrich(Json(order): Json<Order>, event: &Event) -> Result<Output, Failure> {
    let total =
        total(&order.items).ok_or_else(|| Failure::reject(format!("order {}: no such sum exists", order.id)))?;
    let currency = match order.country.as_str() {
        "CH" => "CHF",
        "GB" => "GBP",
        "US" => "USD",
        _ => "EUR",
    };
    let enriched = Enriched { id: order.id, total, currency, items: order.items };
    let mut output = Output::event("shop.order.enriched").subject(&enriched.id).json(&enriched)?;
    // What follows from an event happened when the event did.
    output.event.time.clone_from(&event.time);
    Ok(output)
}

/// `None` beyond what 64 bits hold.
fn total(items: &[Item]) -> Option<u64> {
    items.iter().try_fold(0_u64, |sum, item| sum.checked_add(item.quantity.checked_mul(item.price)?))
}

#[cfg(test)]
mod tests {
    use super::enrich;
    use outrigger_handler::prelude::*;
    use outrigger_handler::testing::{self, Value, json};

    fn run(data: &Value) -> Result<Vec<Output>, Failure> {
        let event = testing::event("shop.order.created").time("2026-03-02T09:00:00Z").json(data).build();
        testing::handle::<enrich>(&event, &testing::delivery().route("enrich").build())
    }

    #[test]
    fn the_total_counts_quantities_and_the_currency_follows_the_country() {
        let items =
            json!([{ "sku": "mug", "quantity": 2, "price": 950 }, { "sku": "tea", "quantity": 1, "price": 420 }]);
        let outputs = run(&json!({ "id": "o-1", "country": "CH", "items": items })).unwrap();
        let [output] = outputs.as_slice() else { panic!("{outputs:?}") };
        assert_eq!(output.event.type_, "shop.order.enriched");
        assert_eq!(output.event.source, "/outrigger/enrich");
        assert_eq!(output.event.time.as_deref(), Some("2026-03-02T09:00:00Z"));
        assert_eq!(
            output.event.json::<Value>().unwrap(),
            json!({ "id": "o-1", "total": 2_320, "currency": "CHF", "items": items })
        );
    }

    #[test]
    fn a_price_that_is_text_is_named() {
        let order =
            json!({ "id": "o-1", "country": "DE", "items": [{ "sku": "mug", "quantity": 2, "price": "9.50" }] });
        let failure = run(&order).unwrap_err();
        assert_eq!(failure, Failure::reject(r#"data.items[0].price: invalid type: string "9.50", expected u64"#));
    }

    #[test]
    fn a_sum_beyond_all_numbers_is_rejected_and_does_not_wrap() {
        let items = json!([{ "sku": "mug", "quantity": u64::MAX, "price": 2 }]);
        let failure = run(&json!({ "id": "o-1", "country": "DE", "items": items })).unwrap_err();
        assert_eq!(failure, Failure::reject("order o-1: no such sum exists"));
    }
}
