//! Which topics a run needs: what the manifest consumes and writes to, and what the samples name.

use std::collections::BTreeSet;
use std::path::Path;

use super::DevError;
use super::samples::{self, Sample};
use crate::manifest::{DeadLetter, Exhausted, Manifest, Unhandled};

/// The topics of a manifest.
pub(super) struct Topics {
    /// Consumed by name, in the manifest's order.
    pub sources: Vec<String>,
    /// Whether topics are consumed by pattern, too.
    pub patterns: bool,
    /// Written to: outputs and dead letters.
    pub others: BTreeSet<String>,
}

impl Topics {
    pub(super) fn of(manifest: &Manifest) -> Topics {
        let (patterns, sources): (Vec<_>, Vec<_>) =
            manifest.kafka.topics.iter().map(|topic| topic.name.clone()).partition(|name| name.starts_with('^'));
        let of_routes = manifest.routes.iter().filter_map(|route| match &route.dead_letter {
            Exhausted::DeadLetter(dead_letter) => Some(dead_letter),
            Exhausted::Drop | Exhausted::Hold => None,
        });
        let unhandled = [&manifest.unmatched, &manifest.undecodable].into_iter().filter_map(|what| match what {
            Unhandled::DeadLetter(dead_letter) => Some(dead_letter),
            Unhandled::Drop => None,
        });
        let dead_letters: Vec<&DeadLetter> = of_routes.chain(unhandled).collect();
        let dead_letters = sources.iter().flat_map(|source| dead_letters.iter().map(|to| to.topic_for(source)));
        let outputs = manifest.routes.iter().filter_map(|route| route.output.as_deref().map(str::to_owned));
        let allowed = manifest.handlers.values().flat_map(|handler| handler.allow.topics.iter().cloned());
        let mut others: BTreeSet<String> = dead_letters.chain(outputs).chain(allowed).collect();
        others.retain(|topic| !sources.contains(topic));
        Topics { sources, patterns: !patterns.is_empty(), others }
    }

    pub(super) fn samples(&self, path: &Path) -> Result<Vec<Sample>, DevError> {
        let default = self.sources.first().map_or("", String::as_str);
        let samples = samples::read(path, default)?;
        for sample in &samples {
            if sample.topic.is_empty() {
                return Err(DevError::NoTopic);
            }
            // Whether a pattern takes a topic is for the client library to say.
            if !self.patterns && !self.sources.contains(&sample.topic) {
                let (path, line, topic) = (path.to_owned(), sample.line, sample.topic.clone());
                return Err(DevError::Topic { path, line, topic });
            }
        }
        Ok(samples)
    }

    /// The manifest's topics, and those of samples that a pattern is to take.
    pub(super) fn sources_with(&self, samples: &[Sample]) -> Vec<String> {
        let mut sources = self.sources.clone();
        for sample in samples {
            if !sources.contains(&sample.topic) {
                sources.push(sample.topic.clone());
            }
        }
        sources
    }
}
