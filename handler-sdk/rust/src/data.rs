//! The event's data as a Rust type, and what is said where it does not fit.

use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::Deserialize;
use serde_json::error::Category;

use crate::Event;

/// The event's data, parsed as JSON. An argument of a handler.
///
/// Where the data is absent, is not JSON or does not fit `T`, the handler is not
/// called and the event is rejected with the path of the bad field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T> Deref for Json<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// The data of an event, or of an output, cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataError {
    message: String,
}

impl DataError {
    pub(crate) fn new(message: String) -> DataError {
        DataError { message }
    }

    pub(crate) fn absent() -> DataError {
        DataError::new("data: the event carries none".to_owned())
    }

    pub(crate) fn into_message(self) -> String {
        self.message
    }
}

impl fmt::Display for DataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DataError {}

/// The event's data as JSON.
pub(crate) fn parse<'e, T: Deserialize<'e>>(event: &'e Event) -> Result<T, DataError> {
    let data = event.data.as_deref().ok_or_else(DataError::absent)?;
    serde_json::from_slice(data).map_err(|error| explain::<T>(event, data, error))
}

/// Parses a second time, now keeping the path. Keeping it costs every field a
/// little, which the data that fits need not pay.
#[cold]
#[inline(never)]
fn explain<'e, T: Deserialize<'e>>(event: &Event, data: &'e [u8], first: serde_json::Error) -> DataError {
    let mut json = serde_json::Deserializer::from_slice(data);
    let (path, error) = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        // Something follows the value, or `T` does not decide the same way twice.
        Ok(_) => (String::new(), first),
        Err(error) => (error.path().to_string(), error.into_inner()),
    };
    DataError::new(message(event, &path, &error))
}

/// `data.items[0].amount: invalid type: string "3", expected u64`.
fn message(event: &Event, path: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    if error.classify() != Category::Data {
        let kind = match event.datacontenttype.as_deref() {
            Some(kind) if !kind.contains("json") => format!(" (datacontenttype is {kind})"),
            _ => String::new(),
        };
        return format!("data: {text}{kind}");
    }
    // The path says where; line and column would only repeat it.
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    let dot = if path.is_empty() || path.starts_with(['[', '.']) { "" } else { "." };
    let hint = match what.ends_with("expected a borrowed string") && what.starts_with("invalid type: string") {
        true => " (escaped text cannot be borrowed: the handler's field should be a Cow<str> or a String)",
        false => "",
    };
    format!("data{dot}{}: {what}{hint}", if path == "." { "" } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Item<'a> {
        sku: &'a str,
        amount: u64,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Order<'a> {
        #[serde(borrow)]
        items: Vec<Item<'a>>,
    }

    fn error(json: &str) -> String {
        testing::event("t").data("application/json", json).build().json::<Order<'_>>().unwrap_err().to_string()
    }

    #[test]
    fn fields_may_borrow_from_the_event() {
        let event = testing::event("t").data("application/json", r#"{"items":[{"sku":"a","amount":2}]}"#).build();
        assert_eq!(event.json::<Order<'_>>(), Ok(Order { items: vec![Item { sku: "a", amount: 2 }] }));
        let data = event.data.as_deref().unwrap().as_ptr_range();
        let order: Order<'_> = event.json().unwrap();
        assert!(data.contains(&order.items[0].sku.as_ptr()));
    }

    #[test]
    fn an_error_names_the_field() {
        assert_eq!(
            error(r#"{"items":[{"sku":"a","amount":"2"}]}"#),
            r#"data.items[0].amount: invalid type: string "2", expected u64"#
        );
        assert_eq!(error(r#"{"items":[{"sku":"a"}]}"#), "data.items[0]: missing field `amount`");
        assert_eq!(error("{}"), "data: missing field `items`");
        assert_eq!(error(r#"{"items":[{"sku":"a","amount":-1}]}"#), {
            "data.items[0].amount: invalid value: integer `-1`, expected u64"
        });
    }

    #[test]
    fn escapes_that_a_borrowed_field_cannot_hold_are_explained() {
        assert_eq!(
            error(r#"{"items":[{"sku":"a\n","amount":1}]}"#),
            "data.items[0].sku: invalid type: string \"a\\n\", expected a borrowed string \
             (escaped text cannot be borrowed: the handler's field should be a Cow<str> or a String)"
        );
    }

    #[test]
    fn a_list_at_the_top_is_indexed_without_a_dot() {
        let event = testing::event("t").data("application/json", "[1,true]").build();
        let error = event.json::<Vec<u64>>().unwrap_err();
        assert_eq!(error.to_string(), "data[1]: invalid type: boolean `true`, expected u64");
    }

    #[test]
    fn what_is_no_json_says_where() {
        assert_eq!(error(r#"{"items":["#), "data: EOF while parsing a list at line 1 column 10");
        assert_eq!(error(r#"{"items":[]} x"#), "data: trailing characters at line 1 column 14");
        let xml = testing::event("t").data("application/xml", "<a/>").build();
        assert_eq!(
            xml.json::<Order<'_>>().unwrap_err().to_string(),
            "data: expected value at line 1 column 1 (datacontenttype is application/xml)"
        );
    }
}
