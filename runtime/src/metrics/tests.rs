use std::collections::BTreeMap;

use super::*;

fn line(metrics: &Metrics, series: &str) -> Option<String> {
    let text = metrics.render().unwrap();
    text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned))
}

#[test]
fn what_workers_count_shows_after_a_flush_and_adds_up() {
    let metrics = Metrics::new().unwrap();
    let mut one = metrics.route("r", "h");
    let mut two = metrics.route("r", "h");
    one.handled(3);
    one.called(Duration::from_micros(20));
    two.handled(0);
    two.failed(FailureClass::Trap);
    two.dead_lettered(FailureClass::Trap);
    let handled = r#"outrigger_events_total{outcome="handled",route="r"}"#;
    assert_eq!(line(&metrics, handled).as_deref(), Some("0"));
    one.flush();
    one.flush();
    assert_eq!(line(&metrics, handled).as_deref(), Some("1"));
    drop(two);
    assert_eq!(line(&metrics, handled).as_deref(), Some("2"));
    assert_eq!(line(&metrics, r#"outrigger_outputs_total{route="r"}"#).as_deref(), Some("3"));
    assert_eq!(line(&metrics, r#"outrigger_failures_total{class="trap",route="r"}"#).as_deref(), Some("1"));
    assert_eq!(line(&metrics, r#"outrigger_failures_total{class="timeout",route="r"}"#).as_deref(), Some("0"));
    assert_eq!(line(&metrics, r#"outrigger_dead_letters_total{class="trap"}"#).as_deref(), Some("1"));
    let bucket = |le| format!(r#"outrigger_handler_duration_seconds_bucket{{handler="h",le="{le}"}}"#);
    assert_eq!(line(&metrics, &bucket("0.00001")).as_deref(), Some("0"));
    assert_eq!(line(&metrics, &bucket("0.000025")).as_deref(), Some("1"));
}

#[test]
fn unknown_lag_has_no_series() {
    let metrics = Metrics::new().unwrap();
    let (records, seconds) = (
        r#"outrigger_consumer_lag_records{partition="2",topic="t"}"#,
        r#"outrigger_consumer_lag_seconds{partition="2",topic="t"}"#,
    );
    assert_eq!(line(&metrics, records), None);
    metrics.set_lag("t", 2, Some(7), Some(Duration::from_millis(1500)));
    metrics.set_lag("t", 3, Some(1), None);
    assert_eq!(line(&metrics, records).as_deref(), Some("7"));
    assert_eq!(line(&metrics, seconds).as_deref(), Some("1.5"));
    metrics.set_lag("t", 2, None, Some(Duration::ZERO));
    assert_eq!(line(&metrics, records), None);
    assert_eq!(line(&metrics, seconds).as_deref(), Some("0"));
    metrics.remove_partition("t", 2);
    assert_eq!(line(&metrics, seconds), None);
    assert_eq!(line(&metrics, r#"outrigger_consumer_lag_records{partition="3",topic="t"}"#).as_deref(), Some("1"));
}

#[test]
fn a_handlers_module_has_one_series() {
    let metrics = Metrics::new().unwrap();
    let series = |digest| line(&metrics, &format!(r#"outrigger_handler_info{{digest="{digest}",handler="h"}}"#));
    let [old, new] = ["ab12", "cd34"].map(|digest| ("h".to_owned(), digest.to_owned()));
    metrics.set_generation(1, &[], std::slice::from_ref(&old));
    assert_eq!((series("ab12").as_deref(), series("cd34")), (Some("1"), None));
    metrics.set_generation(2, &[old], &[new]);
    assert_eq!((series("ab12"), series("cd34").as_deref()), (None, Some("1")));
    assert_eq!(line(&metrics, "outrigger_generation").as_deref(), Some("2"));
}

#[test]
fn a_gauge_is_the_sum_of_its_shares() {
    let metrics = Metrics::new().unwrap();
    let (mut one, mut two) = (metrics.worker(), metrics.worker());
    one.queue_records.set(5);
    two.queue_records.set(4);
    one.queue_records.set(2);
    assert_eq!(line(&metrics, "outrigger_queue_records").as_deref(), Some("6"));
    drop(one);
    assert_eq!(line(&metrics, "outrigger_queue_records").as_deref(), Some("4"));
}

#[test]
fn a_circuit_counts_as_open_until_it_is_closed() {
    use crate::dispatch::breaker::{Change, Why};
    let metrics = Metrics::new().unwrap();
    let (mut one, _other) = (metrics.circuit("h"), metrics.circuit("h"));
    let open = || line(&metrics, r#"outrigger_circuits_open{handler="h"}"#).unwrap();
    assert_eq!(open(), "0");
    let opened = Change::Opened { why: Why::Probe, length: Duration::from_secs(1) };
    for (change, holds) in [(opened, "1"), (Change::HalfOpened, "1"), (opened, "1"), (Change::Closed, "0")] {
        one.changed(change);
        assert_eq!(open(), holds);
    }
    let changes = |state| line(&metrics, &format!(r#"outrigger_circuit_changes_total{{handler="h",state="{state}"}}"#));
    assert_eq!(["open", "half-open", "closed"].map(|state| changes(state).unwrap()), ["2", "1", "1"]);
}

/// Name -> (type, labels), as the registry has them.
fn registered() -> BTreeMap<String, (String, String)> {
    let metrics = Metrics::new().unwrap();
    metrics.records("t").inc();
    let _route = (metrics.route("r", "h"), metrics.circuit("h"));
    metrics.set_lag("t", 0, Some(1), Some(Duration::ZERO));
    metrics.set_generation(1, &[], &[("h".to_owned(), "ab12".to_owned())]);
    let describe = |family: &prometheus::proto::MetricFamily| {
        let labels = family.get_metric()[0].get_label().iter().map(|label| label.name());
        let labels = labels.collect::<Vec<_>>().join(", ");
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        (family.name().to_owned(), (kind, labels))
    };
    metrics.registry.gather().iter().map(describe).collect()
}

/// The same from the tables of docs/metrics.md: `name` | type | labels | …
fn documented() -> BTreeMap<String, (String, String)> {
    let text = include_str!("../../../docs/metrics.md");
    let rows = text.lines().filter(|line| line.starts_with("| `outrigger_"));
    let parse = |row: &str| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        assert_eq!(cells.len(), 5, "name, type, labels, unit and meaning: {row}");
        assert!(cells[3..].iter().all(|cell| !cell.is_empty()), "unit and meaning: {row}");
        let mut labels: Vec<_> = cells[2].split(", ").filter(|label| !label.is_empty()).collect();
        labels.sort_unstable();
        (cells[0].clone(), (cells[1].clone(), labels.join(", ")))
    };
    rows.map(parse).collect()
}

#[test]
fn every_metric_is_documented_and_nothing_else() {
    assert_eq!(documented(), registered());
}

#[test]
fn the_documented_classes_are_the_classes() {
    let text = include_str!("../../../docs/metrics.md");
    for class in FailureClass::ALL {
        assert!(text.contains(&format!("| `{class}` |")), "docs/metrics.md does not explain class {class}");
    }
}
