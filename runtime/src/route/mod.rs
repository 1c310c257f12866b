//! `route`: an event comes in, the routes that take it go out. Pure; compiled once per generation.

use hashbrown::HashMap;

use crate::envelope::Envelope;
use crate::manifest::Route;

mod filter;

use filter::{Test, possible_types};

/// The routes of one generation, ready to be matched.
///
/// A filter that only a known set of types can pass is found by a hash look-up
/// on the event's type; what is left of it, with the type known, is then tested.
/// The other filters are tested one by one.
#[derive(Debug)]
pub struct Router {
    /// hashbrown's own hasher, not SipHash: the keys come from the manifest, and a look-up cannot add to them.
    by_type: HashMap<Box<[u8]>, Vec<Candidate>>,
    /// Tried for every type; in the manifest's order, like each list of `by_type`.
    rest: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    /// Index in the manifest.
    route: usize,
    test: Test,
}

impl Router {
    /// Compiles the routes' filters.
    pub fn new(routes: &[Route]) -> Router {
        let mut router = Router { by_type: HashMap::new(), rest: Vec::new() };
        for (route, filter) in routes.iter().map(|route| &route.filter).enumerate() {
            let Some(types) = possible_types(filter) else {
                router.rest.push(Candidate { route, test: Test::new(filter, None) });
                continue;
            };
            for ty in types {
                let test = Test::new(filter, Some(ty));
                if !matches!(test, Test::Never) {
                    router.by_type.entry(ty.as_bytes().into()).or_default().push(Candidate { route, test });
                }
            }
        }
        router
    }

    /// Replaces what is in `into` by the indices of the routes that take the
    /// event, in the manifest's order.
    pub fn matching(&self, event: &Envelope, into: &mut Vec<usize>) {
        into.clear();
        let mut of_type = self.by_type.get(event.type_bytes()).map_or(&[][..], Vec::as_slice).iter().peekable();
        let mut rest = self.rest.iter().peekable();
        // Both lists are sorted and have no route in common: a merge keeps the manifest's order.
        while let Some(next) = match (of_type.peek(), rest.peek()) {
            (Some(a), Some(b)) if a.route < b.route => of_type.next(),
            (Some(_), None) => of_type.next(),
            _ => rest.next(),
        } {
            if next.test.takes(event) {
                into.push(next.route);
            }
        }
    }
}

#[cfg(test)]
mod tests;
