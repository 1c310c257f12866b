//! The router against a plain reading of the dialects.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::manifest::{Exhausted, Filter, Ordering, OutputMode};
use crate::record::Record;

fn route(filter: Filter) -> Route {
    Route {
        name: Arc::from("r"),
        filter,
        handler: Arc::from("h"),
        output: None,
        output_mode: OutputMode::Binary,
        ordering: Ordering::Key,
        on_failure: BTreeMap::new(),
        dead_letter: Exhausted::Drop,
    }
}

fn event(attributes: &[(&str, &str)]) -> Envelope {
    let named = |(name, value): &(&str, &str)| (format!("ce_{name}"), (*value).to_owned());
    let required = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t")];
    let mut headers: BTreeMap<String, String> = required.iter().map(named).collect();
    headers.extend(attributes.iter().map(named));
    let headers = headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())));
    Envelope::decode(Record::new(0, None, None, None, headers)).unwrap()
}

fn matching(filters: &[Filter], attributes: &[(&str, &str)]) -> Vec<usize> {
    let routes: Vec<Route> = filters.iter().cloned().map(route).collect();
    let mut found = vec![99];
    Router::new(&routes).matching(&event(attributes), &mut found);
    found
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn exact(of: &[(&str, &str)]) -> Filter {
    Filter::Exact(pairs(of))
}

fn not(filter: Filter) -> Filter {
    Filter::Not(Box::new(filter))
}

#[test]
fn every_route_that_takes_the_event_is_found_in_the_manifests_order() {
    let filters = [
        Filter::Prefix(pairs(&[("type", "order.")])),
        exact(&[("type", "order.created")]),
        exact(&[("type", "order.deleted")]),
        not(exact(&[("source", "/x")])),
        exact(&[("type", "order.created"), ("tenant", "a")]),
        exact(&[("tenant", "a")]),
        exact(&[("type", "order.created")]),
    ];
    assert_eq!(matching(&filters, &[("type", "order.created"), ("tenant", "a")]), [0, 1, 3, 4, 5, 6]);
    assert_eq!(matching(&filters, &[("type", "order.created")]), [0, 1, 3, 6]);
    assert_eq!(matching(&filters, &[("type", "order.deleted"), ("source", "/x")]), [0, 2]);
    assert_eq!(matching(&filters, &[("type", "other"), ("source", "/x")]), [0; 0]);
    assert_eq!(matching(&[], &[]), [0; 0]);
}

#[test]
fn each_dialect() {
    let takes =
        |filter: &Filter, attributes: &[(&str, &str)]| !matching(std::slice::from_ref(filter), attributes).is_empty();
    let prefix = Filter::Prefix(pairs(&[("type", "a."), ("subject", "x")]));
    assert!(takes(&prefix, &[("type", "a.b"), ("subject", "xy")]));
    assert!(!takes(&prefix, &[("type", "a.b"), ("subject", "y")]));
    assert!(!takes(&prefix, &[("type", "a.b")]), "an absent attribute matches nothing");
    assert!(!takes(&prefix, &[("type", "A.b"), ("subject", "xy")]), "case counts");
    let suffix = Filter::Suffix(pairs(&[("type", ".b")]));
    assert!(takes(&suffix, &[("type", "a.b")]) && takes(&suffix, &[("type", ".b")]));
    assert!(!takes(&suffix, &[("type", "b")]));
    let neither = not(Filter::Any(vec![exact(&[("subject", "x")]), exact(&[("subject", "y")])]));
    assert!(takes(&neither, &[]) && takes(&neither, &[("subject", "z")]) && !takes(&neither, &[("subject", "y")]));
    let both = Filter::All(vec![exact(&[("type", "a")]), exact(&[("type", "b")])]);
    assert!(!takes(&both, &[("type", "a")]) && !takes(&both, &[("type", "b")]));
    let either = Filter::Any(vec![exact(&[("type", "a")]), exact(&[("type", "b"), ("tenant", "x")])]);
    assert!(takes(&either, &[("type", "a")]) && takes(&either, &[("type", "b"), ("tenant", "x")]));
    assert!(!takes(&either, &[("type", "b")]) && !takes(&either, &[("type", "c"), ("tenant", "x")]));
    assert!(takes(&exact(&[("specversion", "1.0")]), &[]) && !takes(&exact(&[("specversion", "1")]), &[]));
    assert!(!takes(&exact(&[("data", "x")]), &[]));
}

#[test]
fn filters_that_require_types_are_found_by_the_types_alone() {
    let filters = [
        exact(&[("type", "a")]),
        Filter::Any(vec![exact(&[("type", "a")]), exact(&[("type", "b")])]),
        Filter::All(vec![Filter::Suffix(pairs(&[("type", "a")])), exact(&[("type", "a")])]),
        Filter::Any(vec![exact(&[("type", "a")]), exact(&[("subject", "b")])]),
        Filter::All(vec![exact(&[("type", "a")]), exact(&[("type", "b")])]),
    ];
    let router = Router::new(&filters.map(route));
    let tests = |ty: &str| router.by_type[ty.as_bytes()].iter().map(|c| (c.route, &c.test)).collect::<Vec<_>>();
    assert_eq!(tests("a"), [(0, &Test::Always), (1, &Test::Always), (2, &Test::Always)]);
    assert_eq!(tests("b"), [(1, &Test::Always)]);
    assert_eq!(router.rest.iter().map(|c| c.route).collect::<Vec<_>>(), [3]);
}

/// The dialects read word for word.
fn naive(filter: &Filter, event: &Envelope) -> bool {
    let every = |pairs: &[(String, String)], holds: fn(&str, &str) -> bool| {
        pairs.iter().all(|(name, expected)| event.attribute(name).is_some_and(|value| holds(value, expected)))
    };
    match filter {
        Filter::Exact(pairs) => every(pairs, |value, expected| value == expected),
        Filter::Prefix(pairs) => every(pairs, |value, expected| value.starts_with(expected)),
        Filter::Suffix(pairs) => every(pairs, |value, expected| value.ends_with(expected)),
        Filter::All(parts) => parts.iter().all(|part| naive(part, event)),
        Filter::Any(parts) => parts.iter().any(|part| naive(part, event)),
        Filter::Not(part) => !naive(part, event),
    }
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["type", "type", "type", "source", "subject", "specversion", "id", "tenant", "x"])
        .prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", "a.b", "1", "1.0", "ä"]).prop_map(str::to_owned)
}

fn filter() -> impl Strategy<Value = Filter> {
    let of_pairs = || prop::collection::vec((name(), value()), 0..3);
    let leaf = prop_oneof![
        of_pairs().prop_map(Filter::Exact),
        of_pairs().prop_map(Filter::Prefix),
        of_pairs().prop_map(Filter::Suffix)
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::All),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Filter::Any),
            inner.prop_map(not),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn agrees_with_the_naive_reading(
        filters in prop::collection::vec(filter(), 0..6),
        attributes in prop::collection::btree_map(name(), value(), 0..5),
    ) {
        let mut attributes: Vec<(&str, &str)> = attributes.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        attributes.retain(|(name, _)| *name != "specversion");
        let event = event(&attributes);
        let expected: Vec<usize> =
            filters.iter().enumerate().filter(|(_, filter)| naive(filter, &event)).map(|(i, _)| i).collect();
        prop_assert_eq!(matching(&filters, &attributes), expected);
    }
}
