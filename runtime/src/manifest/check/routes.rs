//! The `routes` section.

use std::collections::{BTreeSet, HashMap};

use super::Check;
use super::policy::Defaults;
use super::satisfiable::contradiction;
use crate::manifest::hints;
use crate::manifest::model;
use crate::manifest::raw;
use crate::manifest::read::{Field, Given};

impl Check<'_> {
    /// `handlers`: the names of all of them, wrong ones included.
    pub fn routes(
        self,
        given: &Given<Vec<Field<raw::Route>>>,
        defaults: &Defaults<'_>,
        handlers: &BTreeSet<String>,
    ) -> Vec<model::Route> {
        if given.value.is_empty() {
            self.problems.error(given.at, "there is no route", "add a route with name, match and handler");
        }
        let mut lines: HashMap<&str, u32> = HashMap::new();
        let mut routes = Vec::new();
        for route in given.value.iter().filter_map(Field::given) {
            if let Some(name) = route.value.name.given() {
                self.name(&name.value, name.at, "a route");
                if let Some(first) = lines.get(name.value.as_str()) {
                    let message = format!("another route is called `{}` too", name.shown());
                    self.problems.error(
                        name.at,
                        message,
                        format!("give this one another name; the first is in line {first}"),
                    );
                }
                lines.entry(&name.value).or_insert(name.at.line);
            }
            routes.extend(self.route(route, defaults, handlers));
        }
        routes
    }

    fn route(
        self,
        route: &Given<raw::Route>,
        defaults: &Defaults<'_>,
        handlers: &BTreeSet<String>,
    ) -> Option<model::Route> {
        let raw = &route.value;
        let name = self.require(&raw.name, "name", route.key, "give the route a name: `name: order-created`");
        let help = "say which events it takes: `match: { type: shop.order.created }`";
        let filter = self.require(&raw.r#match, "match", route.key, help);
        let filter = filter.and_then(|given| {
            let filter = self.filter(given)?;
            if let Some(why) = contradiction(&filter.filter) {
                let why = filter.show(&why);
                let message = format!("no event can match this: {why}");
                self.problems.error(given.key, message, "change the conditions, or remove the route");
            }
            Some(filter.filter)
        });
        let handler = self.require(&raw.handler, "handler", route.key, "name one of `handlers`: `handler: enrich`");
        if let Some(handler) = handler.filter(|handler| !handlers.contains(&handler.value)) {
            self.undefined(handler, handlers);
        }

        let (own, below) = (raw.policies(), defaults.raw);
        if let Some(output) = own.output.given() {
            self.topic_name(&output.value, output.shown(), output.at);
        }
        let retry = self.retry(defaults.retry, own.retry);
        let on_failure = self.on_failure(own.on_failure, below.on_failure, retry);
        let dead_letter = self.dead_letter(own, Some(defaults));
        let output_mode = own.output_mode.or(below.output_mode).value();
        let ordering = own.ordering.or(below.ordering).value();
        Some(model::Route {
            name: name?.value.as_str().into(),
            filter: filter?,
            handler: handler?.value.as_str().into(),
            output: own.output.or(below.output).value().map(|topic| topic.as_str().into()),
            output_mode: output_mode.map_or(model::OutputMode::Binary, |mode| (*mode).into()),
            ordering: ordering.map_or(model::Ordering::Key, |ordering| (*ordering).into()),
            on_failure,
            // Where it is not known, a problem was reported and this route is not used.
            dead_letter: dead_letter.unwrap_or(model::Exhausted::Hold),
        })
    }

    fn undefined(self, handler: &Given<String>, handlers: &BTreeSet<String>) {
        let names: Vec<&str> = handlers.iter().map(String::as_str).collect();
        // A suggestion would tell something about a value that is not to be shown.
        let near = handler.written.is_none().then(|| hints::nearest(&handler.value, &names)).flatten();
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "define it under `handlers`".to_owned(),
            None => format!("define it under `handlers`, or use {}", hints::one_of(&names)),
        };
        self.problems.error(handler.at, format!("there is no handler `{}`", handler.shown()), help);
    }
}

impl From<raw::OutputMode> for model::OutputMode {
    fn from(raw: raw::OutputMode) -> Self {
        match raw {
            raw::OutputMode::Binary => model::OutputMode::Binary,
            raw::OutputMode::Structured => model::OutputMode::Structured,
        }
    }
}

impl From<raw::Ordering> for model::Ordering {
    fn from(raw: raw::Ordering) -> Self {
        match raw {
            raw::Ordering::None => model::Ordering::None,
            raw::Ordering::Key => model::Ordering::Key,
            raw::Ordering::Partition => model::Ordering::Partition,
        }
    }
}
