//! A route's `match`: from its written form to a filter.

use std::collections::BTreeMap;

use super::Check;
use super::satisfiable::Contradiction;
use crate::manifest::hints;
use crate::manifest::model::Filter;
use crate::manifest::raw;
use crate::manifest::read::{Field, Given, Problem};

/// The context attributes that CloudEvents 1.0 names.
const STANDARD: [&str; 8] = ["type", "source", "id", "subject", "time", "datacontenttype", "dataschema", "specversion"];
const DIALECTS: [&str; 6] = ["exact", "prefix", "suffix", "all", "any", "not"];

/// How a filter is made of its parts.
type Combine<T> = fn(Vec<T>) -> Filter;

/// A filter, and what must not be shown of it.
#[derive(Debug)]
pub(super) struct Matched {
    pub filter: Filter,
    /// Values that came from a variable or a file, and how they are written.
    hidden: BTreeMap<String, String>,
}

impl Matched {
    /// The contradiction as a message may show it.
    pub fn show(&self, contradiction: &Contradiction) -> String {
        contradiction.describe(|value| self.hidden.get(value).map_or(value, String::as_str).to_owned())
    }
}

impl Check<'_> {
    /// The filter of a route; `None`: what is wrong with it is reported.
    pub fn filter(self, given: &Given<raw::Match>) -> Option<Matched> {
        let mut hidden = BTreeMap::new();
        let filter = self.read_filter(given, &mut hidden)?;
        Some(Matched { filter, hidden })
    }

    fn read_filter(self, given: &Given<raw::Match>, hidden: &mut BTreeMap<String, String>) -> Option<Filter> {
        let raw = &given.value;
        let mut parts = Vec::new();
        let mut whole = true;
        let mut take = |part: Option<Filter>| match part {
            Some(part) => parts.push(part),
            None => whole = false,
        };
        if !raw.attributes.is_empty() {
            take(self.conditions(&raw.attributes, hidden).map(Filter::Exact));
        }
        let exact: Combine<(String, String)> = Filter::Exact;
        let dialects = [(&raw.exact, exact), (&raw.prefix, Filter::Prefix), (&raw.suffix, Filter::Suffix)];
        for (field, dialect) in dialects {
            match field {
                Field::Absent => {}
                Field::Broken => take(None),
                Field::Given(map) if map.value.is_empty() => {
                    self.empty(map.key, "no attribute");
                    take(None);
                }
                Field::Given(map) => take(self.conditions(&map.value, hidden).map(dialect)),
            }
        }
        let all: Combine<Filter> = Filter::All;
        for (field, combine) in [(&raw.all, all), (&raw.any, Filter::Any)] {
            match field {
                Field::Absent => {}
                Field::Broken => take(None),
                Field::Given(list) if list.value.is_empty() => {
                    self.empty(list.key, "no condition");
                    take(None);
                }
                Field::Given(list) => {
                    let filters: Vec<_> =
                        list.value.iter().map(|item| self.read_filter(item.given()?, hidden)).collect();
                    take(filters.into_iter().collect::<Option<Vec<_>>>().map(combine));
                }
            }
        }
        match &*raw.not {
            Field::Absent => {}
            Field::Broken => take(None),
            Field::Given(inner) => take(self.read_filter(inner, hidden).map(|inner| Filter::Not(Box::new(inner)))),
        }
        if !whole {
            return None;
        }
        if parts.is_empty() {
            self.empty(given.key, "no condition");
            return None;
        }
        Some(if parts.len() == 1 { parts.swap_remove(0) } else { Filter::All(parts) })
    }

    fn empty(self, at: crate::manifest::read::Place, what: &str) {
        let help = "to take every event, write `match: { exact: { specversion: \"1.0\" } }`";
        self.problems.error(at, format!("there is {what} here"), help);
    }

    fn conditions(
        self,
        raw: &BTreeMap<String, Field<String>>,
        hidden: &mut BTreeMap<String, String>,
    ) -> Option<Vec<(String, String)>> {
        let mut conditions = Vec::new();
        let mut whole = true;
        for (name, field) in raw {
            let Some(value) = field.given() else {
                whole = false;
                continue;
            };
            whole &= self.attribute(name, value);
            if let Some(written) = &value.written {
                hidden.insert(value.value.clone(), written.clone());
            }
            conditions.push((name.clone(), value.value.clone()));
        }
        whole.then_some(conditions)
    }

    /// Whether a condition on this attribute can mean anything.
    fn attribute(self, name: &str, value: &Given<String>) -> bool {
        let candidates: Vec<&str> = STANDARD.iter().chain(&DIALECTS).copied().collect();
        let near = hints::nearest(name, &candidates);
        let meant = |otherwise: &str| near.map_or(otherwise.to_owned(), |near| format!("did you mean `{near}`?"));
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) || name.is_empty() {
            let message = format!("`{name}` is not the name of a context attribute");
            self.problems.error(value.key, message, meant("names have lower-case letters and digits only"));
            return false;
        }
        if name == "data" {
            let message = "routes look at context attributes, not at `data`";
            self.problems.error(
                value.key,
                message,
                "match on `type`, `subject` or an extension that the producer sets",
            );
            return false;
        }
        if value.value.is_empty() {
            let message = "an empty value is not a condition";
            self.problems.error(value.at, message, "write the value that the attribute must have, begin or end with");
            return false;
        }
        if value.value.contains('*') && value.written.is_none() {
            let message = "a `*` stands for itself here";
            let help = "to match what begins or ends with something, write `prefix` or `suffix`";
            self.problems.add(Problem::warning(value.at, message).help(help));
        }
        if !candidates.contains(&name)
            && let Some(near) = near
        {
            let message = format!("`{name}` is taken as an extension attribute");
            self.problems.add(Problem::warning(value.key, message).help(format!("did you mean `{near}`?")));
        }
        true
    }
}
