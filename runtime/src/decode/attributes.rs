//! The rules for attributes that both modes share, and the event under construction.

use std::borrow::Cow;
use std::collections::HashSet;

use super::error::{Place, Undecodable, excerpt};
use super::timestamp::is_rfc3339;
use crate::event::Event;

/// How the record carries the event: where an attribute stands in it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    Binary,
    Structured,
}

/// An event whose attributes come one by one, in any order.
pub(super) struct Draft<'r> {
    pub(super) event: Event<'r>,
    mode: Mode,
    /// One bit per [`Known`].
    seen: u8,
    /// Whether `specversion` was there and right.
    versioned: bool,
    /// Extensions that were null: absent, and yet not to be given twice.
    unset: Vec<Cow<'r, str>>,
}

/// The attributes that the specification defines.
#[derive(Clone, Copy)]
enum Known {
    SpecVersion,
    Id,
    Source,
    Type,
    Subject,
    Time,
    DataContentType,
    DataSchema,
}

impl Known {
    fn of(name: &str) -> Option<Known> {
        Some(match name {
            "specversion" => Known::SpecVersion,
            "id" => Known::Id,
            "source" => Known::Source,
            "type" => Known::Type,
            "subject" => Known::Subject,
            "time" => Known::Time,
            "datacontenttype" => Known::DataContentType,
            "dataschema" => Known::DataSchema,
            _ => return None,
        })
    }
}

impl<'r> Draft<'r> {
    pub(super) fn new(mode: Mode) -> Draft<'r> {
        Draft { event: Event::default(), mode, seen: 0, versioned: false, unset: Vec::new() }
    }

    /// Where the attribute of this name stands, for messages.
    #[cold]
    pub(super) fn place(&self, name: &str) -> Place {
        match self.mode {
            Mode::Binary => Place::header(format!("ce_{name}").as_bytes()),
            Mode::Structured => Place::member(name),
        }
    }

    /// Whether this is an attribute of the specification, whose JSON type is always string.
    pub(super) fn is_known(name: &str) -> bool {
        Known::of(name).is_some()
    }

    /// Takes an attribute in canonical string form. `None` is null, which the
    /// JSON format equates with absent; so that an event means the same in both
    /// modes, a header's null does too, for which the binding has no rule.
    pub(super) fn put(&mut self, name: Cow<'r, str>, value: Option<Cow<'r, str>>) -> Result<(), Undecodable> {
        let Some(known) = Known::of(&name) else { return self.put_extension(name, value) };
        let bit = 1 << known as u8;
        if self.seen & bit != 0 {
            return Err(Undecodable::Repeated { place: self.place(&name) });
        }
        self.seen |= bit;
        let Some(value) = value else { return Ok(()) };
        match known {
            Known::SpecVersion if value != "1.0" => {
                return Err(Undecodable::SpecVersion { place: self.place(&name), found: excerpt(value.as_bytes()) });
            }
            Known::Id | Known::Source | Known::Type if value.is_empty() => {
                return Err(Undecodable::Empty { place: self.place(&name) });
            }
            Known::Time if !is_rfc3339(&value) => {
                return Err(Undecodable::Time { place: self.place(&name), found: excerpt(value.as_bytes()) });
            }
            Known::SpecVersion => self.versioned = true,
            Known::Id => self.event.id = value,
            Known::Source => self.event.source = value,
            Known::Type => self.event.ty = value,
            Known::Subject => self.event.subject = Some(value),
            Known::Time => self.event.time = Some(value),
            Known::DataContentType => self.event.datacontenttype = Some(value),
            Known::DataSchema => self.event.dataschema = Some(value),
        }
        Ok(())
    }

    fn put_extension(&mut self, name: Cow<'r, str>, value: Option<Cow<'r, str>>) -> Result<(), Undecodable> {
        if name == "data" {
            return Err(Undecodable::Reserved { place: self.place(&name) });
        }
        if name.is_empty() || !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
            return Err(Undecodable::Name { place: self.place(&name) });
        }
        match value {
            Some(value) => {
                if self.event.extensions.capacity() == 0 {
                    // One allocation for all but the richest events.
                    self.event.extensions.reserve(8);
                }
                self.event.extensions.push((name, value));
            }
            None => self.unset.push(name),
        }
        Ok(())
    }

    /// The event, if all that it needs was put.
    pub(super) fn finish(self) -> Result<Event<'r>, Undecodable> {
        let missing = |attribute| Err(Undecodable::Missing { attribute, place: self.place(attribute) });
        if !self.versioned {
            return missing("specversion");
        }
        // Empty ones were refused when they came.
        if self.event.id.is_empty() {
            return missing("id");
        }
        if self.event.source.is_empty() {
            return missing("source");
        }
        if self.event.ty.is_empty() {
            return missing("type");
        }
        match self.repeated_extension() {
            Some(name) => Err(Undecodable::Repeated { place: self.place(name) }),
            None => Ok(self.event),
        }
    }

    fn repeated_extension(&self) -> Option<&str> {
        let extensions = &self.event.extensions;
        let names = || extensions.iter().map(|(name, _)| &**name).chain(self.unset.iter().map(|name| &**name));
        if extensions.len() + self.unset.len() <= 16 {
            names().enumerate().find(|(i, name)| names().take(*i).any(|earlier| earlier == *name)).map(|(_, name)| name)
        } else {
            // A record can carry a hundred thousand of them: comparing each with each would take many seconds.
            let mut seen = HashSet::new();
            names().find(|name| !seen.insert(*name))
        }
    }
}
