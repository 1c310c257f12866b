//! Writes the invoice of a shipped order. It has a bug, as handlers have: an
//! order that was shipped in no parcels makes it panic. The sandbox turns that
//! into a dead letter of class `trap`; the events before and after it go on.

use outrigger_handler::prelude::*;

/// From here on, in the currency's smallest unit, a person looks at the invoice first.
const REVIEW: u64 = 100_000;

/// An order that left the house.
#[derive(Deserialize)]
pub struct Shipped {
    id: String,
    total: u64,
    parcels: u64,
}

#[derive(Serialize)]
struct Invoice {
    number: String,
    total: u64,
    per_parcel: u64,
}

/// Issues the invoice, to `shop.invoices.review` where it is large.
#[handler]
pub fn invoice(order: Json<Shipped>) -> Result<Output, Failure> {
    let number = format!("inv-{}", order.id);
    // The bug: nothing says that there is a parcel.
    let invoice = Invoice { number, total: order.total, per_parcel: order.total / order.parcels };
    let output = Output::event("shop.invoice.issued").subject(&order.id).json(&invoice)?;
    Ok(if order.total >= REVIEW { output.to("shop.invoices.review") } else { output })
}

#[cfg(test)]
mod tests {
    use super::invoice;
    use outrigger_handler::prelude::*;
    use outrigger_handler::testing::{self, json};

    fn run(total: u64, parcels: u64) -> Output {
        let data = json!({ "id": "o-1", "total": total, "parcels": parcels });
        let event = testing::event("shop.order.shipped").json(&data).build();
        testing::handle::<invoice>(&event, &testing::delivery().build()).unwrap().remove(0)
    }

    #[test]
    fn an_invoice_goes_to_the_routes_topic() {
        let output = run(99_999, 2);
        assert_eq!(output.event.text(), Ok(r#"{"number":"inv-o-1","total":99999,"per_parcel":49999}"#));
        assert_eq!(output.topic, None);
    }

    #[test]
    fn a_large_one_goes_to_review() {
        assert_eq!(run(100_000, 1).topic.as_deref(), Some("shop.invoices.review"));
    }

    #[test]
    #[should_panic(expected = "divide by zero")]
    fn no_parcels_are_the_bug() {
        run(1_000, 0);
    }
}
