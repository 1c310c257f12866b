//! The events that the tests produce.

use serde_json::{Value, json};

use crate::read::Record;

/// The header by which a record says where it must end; nothing but the
/// [`crate::Ledger`] reads it.
pub(crate) const EXPECT: &str = "test-expect";

/// Where a record must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// In the output topic, once or, after a crash, more often.
    Output,
    /// In the dead-letter topic, with this failure class.
    DeadLetter(String),
    /// Nowhere.
    Nothing,
}

impl Expect {
    fn as_text(&self) -> String {
        match self {
            Expect::Output => "output".to_owned(),
            Expect::DeadLetter(class) => format!("dead-letter:{class}"),
            Expect::Nothing => "nothing".to_owned(),
        }
    }

    /// What a record says of itself.
    ///
    /// # Panics
    /// Where it says nothing, as a record that was produced without [`Record::expect`].
    pub fn of(record: &Record) -> Expect {
        match record.text(EXPECT).map(|text| text.split_once(':').unwrap_or((text, ""))) {
            Some(("output", "")) => Expect::Output,
            Some(("nothing", "")) => Expect::Nothing,
            Some(("dead-letter", class)) => Expect::DeadLetter(class.to_owned()),
            other => panic!("{} does not say where it must end: {other:?}", record.position()),
        }
    }
}

impl Record {
    /// Says where the record must end; it stays part of the record.
    pub fn expect(self, expect: Expect) -> Record {
        self.header(EXPECT, Some(expect.as_text().as_bytes()))
    }

    /// A record that is not an event: none of the attributes, and no JSON either.
    pub fn undecodable(key: &str) -> Record {
        Record::new(Some(key.as_bytes()), Some(b"\xff not an event"))
            .expect(Expect::DeadLetter("undecodable".to_owned()))
    }

    /// A key without a value, as a delete on a compacted topic: not an event either.
    pub fn tombstone(key: &str) -> Record {
        Record::new(Some(key.as_bytes()), None).expect(Expect::DeadLetter("undecodable".to_owned()))
    }
}

/// A CloudEvent for the `ledger` handler, whose `do` says what is to become of it.
#[derive(Clone, Debug)]
pub struct Event {
    id: String,
    ty: String,
    key: Option<String>,
    data: Option<Value>,
    structured: bool,
    expect: Expect,
}

impl Event {
    /// An event of the type `test.event` in binary mode, without a key, that is
    /// handled at once and ends as one output.
    pub fn new(id: impl Into<String>) -> Event {
        Event {
            id: id.into(),
            ty: "test.event".to_owned(),
            key: None,
            data: Some(json!({ "do": "ok" })),
            structured: false,
            expect: Expect::Output,
        }
    }

    /// Sets the record's key.
    pub fn key(mut self, key: impl Into<String>) -> Event {
        self.key = Some(key.into());
        self
    }

    /// Sets the event type.
    pub fn ty(mut self, ty: &str) -> Event {
        self.ty = ty.to_owned();
        self
    }

    /// Says what the handler does with it; see the guest `ledger`.
    pub fn doing(mut self, what: impl Into<String>) -> Event {
        self.data = Some(json!({ "do": what.into() }));
        self
    }

    /// Makes the data about so many bytes larger.
    pub fn padded(mut self, bytes: usize) -> Event {
        self.data.get_or_insert_with(|| json!({}))["padding"] = json!("x".repeat(bytes));
        self
    }

    /// Leaves the data out: in binary mode the record's value is null.
    pub fn without_data(mut self) -> Event {
        self.data = None;
        self
    }

    /// Has it rejected, and expects that.
    pub fn rejected(self) -> Event {
        self.doing("reject").expect(Expect::DeadLetter("rejected".to_owned()))
    }

    /// Says where it must end.
    pub fn expect(mut self, expect: Expect) -> Event {
        self.expect = expect;
        self
    }

    /// Writes it in structured mode.
    pub fn structured(mut self) -> Event {
        self.structured = true;
        self
    }

    /// The record.
    pub fn record(&self) -> Record {
        let key = self.key.as_ref().map(String::as_bytes);
        let record = if self.structured {
            let mut event = json!({ "specversion": "1.0", "id": self.id, "source": "/tests", "type": self.ty });
            if let Some(data) = &self.data {
                event["datacontenttype"] = json!("application/json");
                event["data"] = data.clone();
            }
            Record::new(key, Some(event.to_string().as_bytes()))
                .header("content-type", Some(b"application/cloudevents+json; charset=utf-8"))
        } else {
            let data = self.data.as_ref().map(Value::to_string);
            let mut record = Record::new(key, data.as_ref().map(String::as_bytes));
            if data.is_some() {
                record = record.header("content-type", Some(b"application/json"));
            }
            for (name, value) in [("specversion", "1.0"), ("id", &self.id), ("source", "/tests"), ("type", &self.ty)] {
                record = record.header(&format!("ce_{name}"), Some(value.as_bytes()));
            }
            record
        };
        record.expect(self.expect.clone())
    }
}
