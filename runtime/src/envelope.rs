//! Stand-in until decode is merged.
use crate::record::Record;

/// A record and its decoded event.
#[derive(Debug)]
pub struct Envelope {
    /// record
    pub record: Record,
    /// event
    pub event: crate::event::Event<'static>,
}

#[allow(missing_docs)]
impl Envelope {
    pub fn decode(record: Record) -> Result<Envelope, (Record, String)> {
        let mut event = crate::event::Event::default();
        event.data = record.value().map(|v| v.to_vec().into());
        for (name, value) in record.headers() {
            let name = String::from_utf8_lossy(name).into_owned();
            let value = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            match name.as_str() {
                "ce_id" => event.id = value.into(),
                "ce_source" => event.source = value.into(),
                "ce_type" => event.ty = value.into(),
                "ce_subject" => event.subject = Some(value.into()),
                "ce_time" => event.time = Some(value.into()),
                "ce_dataschema" => event.dataschema = Some(value.into()),
                "content-type" => event.datacontenttype = Some(value.into()),
                "ce_specversion" => {}
                other => {
                    if let Some(n) = other.strip_prefix("ce_") {
                        event.extensions.push((n.to_owned().into(), value.into()));
                    }
                }
            }
        }
        Ok(Envelope { record, event })
    }
    pub fn record(&self) -> &Record {
        &self.record
    }
    pub fn id(&self) -> &str {
        &self.event.id
    }
    pub fn source(&self) -> &str {
        &self.event.source
    }
    pub fn ty(&self) -> &str {
        &self.event.ty
    }
    pub fn subject(&self) -> Option<&str> {
        self.event.subject.as_deref()
    }
    pub fn time(&self) -> Option<&str> {
        self.event.time.as_deref()
    }
    pub fn datacontenttype(&self) -> Option<&str> {
        self.event.datacontenttype.as_deref()
    }
    pub fn dataschema(&self) -> Option<&str> {
        self.event.dataschema.as_deref()
    }
    pub fn extensions(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.event.extensions.iter().map(|(n, v)| (&**n, &**v))
    }
    pub fn data(&self) -> Option<&[u8]> {
        self.event.data.as_deref()
    }
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.record.headers().filter(|(n, _)| !n.starts_with(b"ce_") && *n != b"content-type")
    }
}
