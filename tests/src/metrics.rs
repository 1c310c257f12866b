//! Metrics in Prometheus' text format.

/// What `/metrics` said at one moment.
#[derive(Clone, Debug)]
pub struct Metrics {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads the text format.
    ///
    /// # Panics
    /// On a line that is not in that format.
    pub fn parse(text: &str) -> Metrics {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Metrics { samples: lines.map(|line| sample(line).unwrap_or_else(|| panic!("not a metric: {line}"))).collect() }
    }

    /// The values of the samples of this name that have at least these labels.
    pub fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let has = |s: &Sample, (name, value): &(&str, &str)| s.labels.iter().any(|(n, v)| n == name && v == value);
        let matching = self.samples.iter().filter(|s| s.name == name && labels.iter().all(|label| has(s, label)));
        matching.map(|s| s.value).collect()
    }

    /// The sum of [`Metrics::values`]; 0 where there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.values(name, labels).iter().sum()
    }

    /// Whether there is a metric of this name.
    pub fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|s| s.name == name)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, value) = match rest.strip_prefix('{') {
        None => (Vec::new(), rest),
        Some(rest) => labels(rest)?,
    };
    // A timestamp may follow the value.
    let value = value.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        rest = loop {
            match chars.next()? {
                (at, '"') => break &after[at + 1..],
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.push((name.to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_text_format() {
        let metrics = Metrics::parse(
            "# HELP a b\n# TYPE a counter\na{t=\"x\",p=\"0\"} 3\na{t=\"x\",p=\"1\"} 4 1700000000\na{t=\"y\"} 1e3\nb 7.5\n\
             c{v=\"a \\\"quoted\\\" } one\\n\"} +Inf\n",
        );
        assert_eq!(metrics.sum("a", &[("t", "x")]), 7.0);
        assert_eq!(metrics.values("a", &[("t", "x"), ("p", "1")]), [4.0]);
        assert_eq!(metrics.sum("a", &[]), 1007.0);
        assert_eq!(metrics.sum("b", &[]), 7.5);
        assert_eq!(metrics.values("c", &[("v", "a \"quoted\" } one\n")]), [f64::INFINITY]);
        assert!(!metrics.has("d"));
    }
}
