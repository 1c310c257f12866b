//! Whether any event at all can match a filter.
//!
//! The filter is brought into disjunctive form: alternatives, each a list of
//! conditions that must hold together. It can match if one alternative holds
//! no contradiction. Not every contradiction is found (it is told from pairs of
//! conditions), but what is called one is one.

use crate::manifest::model::Filter;

/// Beyond this many alternatives the filter is taken to be satisfiable.
const MAX_ALTERNATIVES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Relation {
    Is,
    Begins,
    Ends,
}

/// One condition: attribute, relation, value; or that it does not hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    attribute: String,
    relation: Relation,
    value: String,
    holds: bool,
}

/// Two conditions that exclude each other, or one that excludes itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Contradiction(Condition, Condition);

impl Contradiction {
    /// In words. `show`: what may be shown of a value.
    pub fn describe(&self, show: impl Fn(&str) -> String) -> String {
        let Contradiction(one, other) = self;
        let say = |condition: &Condition| {
            let verb = match (condition.relation, condition.holds) {
                (Relation::Is, true) => "be",
                (Relation::Begins, true) => "begin with",
                (Relation::Ends, true) => "end with",
                (Relation::Is, false) => "be other than",
                (Relation::Begins, false) => "not begin with",
                (Relation::Ends, false) => "not end with",
            };
            format!("{verb} `{}`", show(&condition.value))
        };
        if one.attribute == "specversion" && *one == version() {
            return format!("`specversion` is always `1.0` and cannot {}", say(other));
        }
        format!("`{}` cannot {} and {}", one.attribute, say(one), say(other))
    }
}

/// Why no event can match; `None`: some event may.
pub(super) fn contradiction(filter: &Filter) -> Option<Contradiction> {
    let alternatives = alternatives(filter, true)?;
    let mut first = None;
    for mut conditions in alternatives {
        conditions.insert(0, version());
        let found = pairs(&conditions).find(|(one, other)| excludes(one, other) || excludes(other, one));
        match found {
            None => return None,
            Some((one, other)) => first = first.or_else(|| Some(Contradiction(one.clone(), other.clone()))),
        }
    }
    first
}

/// What every event that is decoded fulfils.
fn version() -> Condition {
    Condition { attribute: "specversion".to_owned(), relation: Relation::Is, value: "1.0".to_owned(), holds: true }
}

fn pairs(conditions: &[Condition]) -> impl Iterator<Item = (&Condition, &Condition)> {
    let later = |at: usize| conditions[at + 1..].iter();
    conditions.iter().enumerate().flat_map(move |(at, one)| later(at).map(move |other| (one, other)))
}

/// The filter (or its opposite) in disjunctive form; `None`: too many alternatives.
fn alternatives(filter: &Filter, holds: bool) -> Option<Vec<Vec<Condition>>> {
    let (relation, conditions) = match filter {
        Filter::Not(inner) => return alternatives(inner, !holds),
        // Not all of them: one of them not.
        Filter::All(filters) if holds => return product(filters, holds),
        Filter::All(filters) => return sum(filters, holds),
        Filter::Any(filters) if holds => return sum(filters, holds),
        Filter::Any(filters) => return product(filters, holds),
        Filter::Exact(conditions) => (Relation::Is, conditions),
        Filter::Prefix(conditions) => (Relation::Begins, conditions),
        Filter::Suffix(conditions) => (Relation::Ends, conditions),
    };
    let conditions = conditions.iter().map(|(attribute, value)| Condition {
        attribute: attribute.clone(),
        relation,
        value: value.clone(),
        holds,
    });
    Some(if holds { vec![conditions.collect()] } else { conditions.map(|condition| vec![condition]).collect() })
}

fn sum(filters: &[Filter], holds: bool) -> Option<Vec<Vec<Condition>>> {
    let mut all = Vec::new();
    for filter in filters {
        all.extend(alternatives(filter, holds)?);
        if all.len() > MAX_ALTERNATIVES {
            return None;
        }
    }
    Some(all)
}

fn product(filters: &[Filter], holds: bool) -> Option<Vec<Vec<Condition>>> {
    let mut all = vec![Vec::new()];
    for filter in filters {
        let right = alternatives(filter, holds)?;
        if all.len() * right.len() > MAX_ALTERNATIVES {
            return None;
        }
        all = all.iter().flat_map(|left| right.iter().map(|right| [left.as_slice(), right].concat())).collect();
    }
    Some(all)
}

/// Whether `one`, which holds, leaves no value for which `other` is as it says.
fn excludes(one: &Condition, other: &Condition) -> bool {
    use Relation::{Begins, Ends, Is};
    if one.attribute != other.attribute || !one.holds {
        return false;
    }
    let (a, b) = (one.value.as_str(), other.value.as_str());
    if other.holds {
        match (one.relation, other.relation) {
            (Is, Is) => a != b,
            (Is, Begins) => !a.starts_with(b),
            (Is, Ends) => !a.ends_with(b),
            (Begins, Begins) => !a.starts_with(b) && !b.starts_with(a),
            (Ends, Ends) => !a.ends_with(b) && !b.ends_with(a),
            _ => false,
        }
    } else {
        match (one.relation, other.relation) {
            (Is, Is) => a == b,
            (Is | Begins, Begins) => a.starts_with(b),
            (Is | Ends, Ends) => a.ends_with(b),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The naive model: does the filter match an event with these two attributes?
    fn matches(filter: &Filter, type_: &str, subject: Option<&str>) -> bool {
        let get = |name: &str| match name {
            "type" => Some(type_),
            "subject" => subject,
            "specversion" => Some("1.0"),
            _ => None,
        };
        let every = |conditions: &[(String, String)], test: fn(&str, &str) -> bool| {
            conditions.iter().all(|(name, value)| get(name).is_some_and(|has| test(has, value)))
        };
        match filter {
            Filter::Exact(conditions) => every(conditions, |has, value| has == value),
            Filter::Prefix(conditions) => every(conditions, |has, value| has.starts_with(value)),
            Filter::Suffix(conditions) => every(conditions, |has, value| has.ends_with(value)),
            Filter::All(filters) => filters.iter().all(|filter| matches(filter, type_, subject)),
            Filter::Any(filters) => filters.iter().any(|filter| matches(filter, type_, subject)),
            Filter::Not(inner) => !matches(inner, type_, subject),
        }
    }

    fn filters() -> impl Strategy<Value = Filter> {
        let conditions = || {
            // Mostly conditions that meet: on one attribute, with values that overlap.
            let name = prop_oneof![6 => Just("type"), 2 => Just("subject"), 1 => Just("specversion")];
            let value = prop_oneof![8 => "[ab]{1,2}", 1 => Just("1.0".to_owned())];
            prop::collection::vec((name.prop_map(String::from), value), 1..4)
        };
        let leaf = prop_oneof![
            conditions().prop_map(Filter::Exact),
            conditions().prop_map(Filter::Prefix),
            conditions().prop_map(Filter::Suffix),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 1..4).prop_map(Filter::All),
                prop::collection::vec(inner.clone(), 1..4).prop_map(Filter::Any),
                inner.prop_map(|inner| Filter::Not(Box::new(inner))),
            ]
        })
    }

    /// Every value of up to four letters, and the version.
    fn values() -> Vec<String> {
        let mut values = vec!["1.0".to_owned()];
        let mut longest = vec![String::new()];
        for _ in 0..4 {
            longest = longest.iter().flat_map(|start| ["a", "b"].map(|end| format!("{start}{end}"))).collect();
            values.extend(longest.iter().cloned());
        }
        values
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_called_a_contradiction_matches_nothing(filter in filters()) {
            if let Some(found) = contradiction(&filter) {
                let values = values();
                for type_ in &values {
                    prop_assert!(!matches(&filter, type_, None), "{found:?}");
                    for subject in &values {
                        prop_assert!(!matches(&filter, type_, Some(subject)), "{found:?}");
                    }
                }
            }
        }
    }

    fn exact(name: &str, value: &str) -> Filter {
        Filter::Exact(vec![(name.to_owned(), value.to_owned())])
    }

    fn described(filter: Filter) -> Option<String> {
        contradiction(&filter).map(|found| found.describe(str::to_owned))
    }

    #[test]
    fn contradictions_are_described() {
        let both = Filter::All(vec![exact("type", "a"), exact("type", "b")]);
        assert_eq!(described(both).unwrap(), "`type` cannot be `a` and be `b`");
        let neither = Filter::All(vec![exact("type", "a"), Filter::Not(Box::new(exact("type", "a")))]);
        assert_eq!(described(neither).unwrap(), "`type` cannot be `a` and be other than `a`");
        let version = described(exact("specversion", "0.3")).unwrap();
        assert_eq!(version, "`specversion` is always `1.0` and cannot be `0.3`");
        assert_eq!(described(Filter::Any(vec![exact("specversion", "0.3"), exact("type", "a")])), None);
    }

    #[test]
    fn one_beginning_may_contain_another() {
        let two = |dialect: fn(Vec<(String, String)>) -> Filter, one: &str, other: &str| {
            described(dialect(vec![("type".to_owned(), one.to_owned()), ("type".to_owned(), other.to_owned())]))
        };
        for (one, other) in [("a", "ab"), ("ab", "a")] {
            assert_eq!(two(Filter::Prefix, one, other), None);
            assert!(two(Filter::Suffix, one, other).is_some());
        }
        for (one, other) in [("b", "ab"), ("ab", "b")] {
            assert_eq!(two(Filter::Suffix, one, other), None);
            assert!(two(Filter::Prefix, one, other).is_some());
        }
    }

    #[test]
    fn many_alternatives_are_no_problem() {
        let any = Filter::Any((0..10).map(|n| exact("type", &n.to_string())).collect());
        assert_eq!(described(Filter::All(vec![any; 10])), None);
    }
}
