//! Where records go: whether a dead letter or an output comes back to this manifest.

use super::Check;
use super::policy::DEAD_LETTER_TOPIC;
use super::topics::{Source, Topics, is_topic_name};
use crate::manifest::raw::{self, Policies};
use crate::manifest::read::{Field, Given, Place};

impl Check<'_> {
    /// Dead letters must not be consumed: one that fails again would be written
    /// again, for ever.
    pub fn dead_letter_topics(self, raw: &raw::Manifest, defaults: Policies<'_>, topics: &Topics) {
        let routes = raw.routes.value().map_or(&[][..], Vec::as_slice).iter().filter_map(Field::given);
        let mut routes_use_defaults = false;
        for route in routes {
            match route.value.dead_letter.value() {
                Some(raw::DeadLetter::Topic(table)) if table.topic.given().is_some() => {
                    self.dead_letters_come_back(table.topic.given(), topics);
                }
                Some(raw::DeadLetter::Off(_)) => {}
                _ => routes_use_defaults = true,
            }
        }
        match defaults.dead_letter.value() {
            Some(raw::DeadLetter::Off(_)) => {}
            Some(raw::DeadLetter::Topic(table)) => self.dead_letters_come_back(table.topic.given(), topics),
            None => {
                let dropped = |field: &Field<raw::Unhandled>| matches!(field.value(), Some(raw::Unhandled::Drop));
                if routes_use_defaults || !dropped(&raw.unmatched) || !dropped(&raw.undecodable) {
                    self.dead_letters_come_back(None, topics);
                }
            }
        }
    }

    /// `given`: the topic's template; `None`: the built-in one.
    fn dead_letters_come_back(self, given: Option<&Given<String>>, topics: &Topics) {
        let template = given.map_or(DEAD_LETTER_TOPIC, |given| given.value.as_str());
        let shown = given.map_or(DEAD_LETTER_TOPIC, |given| given.shown());
        if !is_topic_name(&template.replace("{topic}", "t")) {
            return; // reported where the template is read
        }
        let per_topic = template.contains("{topic}");
        let (before, after) = template.split_once("{topic}").unwrap_or((template, ""));
        for from in &topics.0 {
            if from.pattern.is_none() && !is_topic_name(&template.replace("{topic}", &from.topic.name)) {
                let at = given.map_or(from.at, |given| given.at);
                let message = format!("`{shown}` makes a name that Kafka does not accept, from `{}`", from.shown);
                self.problems.error(at, message, "a topic's name has at most 249 characters");
            }
            let back = topics.0.iter().find(|to| match (&from.pattern, &to.pattern) {
                _ if !per_topic => to.consumes(template),
                (None, _) => to.consumes(&template.replace("{topic}", &from.topic.name)),
                (Some(pattern), Some(to)) => pattern.reaches(before, after, to),
                (Some(pattern), None) => {
                    let name = to.topic.name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                    name.is_some_and(|name| pattern.matches(name))
                }
            });
            if let Some(to) = back {
                self.report_dead_letters(given.map_or(to.at, |given| given.at), shown, from, to);
            }
        }
    }

    fn report_dead_letters(self, at: Place, template: &str, from: &Source, to: &Source) {
        let message = format!("dead letters of `{}` go to `{template}`, which `{}` consumes", from.shown, to.shown);
        let help = if to.pattern.is_some() {
            "end the pattern so that it does not match them, as in ^audit\\.[a-z]+$, or send them to \"dlq.{topic}\""
        } else {
            "do not consume the dead-letter topic, or send dead letters elsewhere"
        };
        self.problems.error(at, message, help);
    }

    /// The type of an output is the handler's choice, so an output to a topic
    /// that is consumed here may be taken by the same route, for ever.
    pub fn loops(self, raw: &raw::Manifest, defaults: Policies<'_>, topics: &Topics) {
        let routes = raw.routes.value().map_or(&[][..], Vec::as_slice).iter().filter_map(Field::given);
        for route in routes {
            let own = route.value.policies();
            if own.allow_loop.or(defaults.allow_loop).value() == Some(&true) {
                continue;
            }
            if let Some(output) = own.output.or(defaults.output).given() {
                self.comes_back(output, topics);
            }
            let handlers = raw.handlers.value();
            let handler = route.value.handler.value().and_then(|name| handlers?.get(name)?.value());
            let allowed = handler.and_then(|handler| handler.allow.value()?.topics.value());
            for topic in allowed.map_or(&[][..], Vec::as_slice).iter().filter_map(Field::given) {
                self.comes_back(topic, topics);
            }
        }
    }

    fn comes_back(self, topic: &Given<String>, topics: &Topics) {
        if let Some(source) = topics.consuming(&topic.value) {
            let by = format!("`{}` in line {}", source.shown, source.at.line);
            let message = format!("outputs to `{}` come back: {by} consumes it", topic.shown());
            let help = "write to another topic; or, if their types end the loop, say `allowLoop: true` on the route";
            self.problems.error(topic.at, message, help);
        }
    }
}
