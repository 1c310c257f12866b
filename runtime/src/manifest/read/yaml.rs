//! From text to a tree of nodes that know their places.
//!
//! Bounds on size, depth and number of nodes, aliases counted in full, keep a
//! hostile text from using more than a few megabytes.

use std::collections::{HashMap, HashSet};

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag, options};

use super::{Key, Kind, Node, Place, Problem, Problems, Scalar};

/// The largest manifest.
const MAX_BYTES: usize = 1 << 20;
/// The deepest nesting.
const MAX_DEPTH: usize = 48;
/// The most nodes, those that aliases repeat included.
const MAX_NODES: usize = 50_000;

/// Reads one YAML document. Adds what is wrong to `problems`.
///
/// # Errors
/// The text is not YAML or is out of bounds; nothing of it can be checked further.
pub(in crate::manifest) fn parse(text: &str, problems: &Problems) -> Result<Node, Problem> {
    if text.len() > MAX_BYTES {
        return Err(Problem::of_file("the manifest is larger than 1 MiB"));
    }
    let options = options! { emit_comments: false, flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    let mut builder = Builder { problems, stack: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    let mut documents = 0;
    for item in Parser::new_from_str_with_options(text, options) {
        let (event, span) = item.map_err(|error| syntax(text, error.marker(), &error.info()))?;
        if matches!(event, Event::DocumentStart(..)) {
            documents += 1;
        }
        if documents > 1 {
            let place = Place { end_column: 4, ..place_of(&Span::empty(span.start)) };
            return Err(Problem::error(place, "a second YAML document begins here")
                .help("a manifest is one document: remove the `---` and what follows"));
        }
        builder.take(event, &span)?;
    }
    let empty = || Problem::of_file("the manifest is empty").help("begin with `apiVersion: outrigger/v1`");
    builder.root.ok_or_else(empty)
}

fn syntax(text: &str, at: &Marker, info: &str) -> Problem {
    let place = place_of(&Span::empty(*at));
    let problem = Problem::error(place, format!("this is not YAML: {info}"));
    let line = text.split(['\n', '\r']).nth(at.line().saturating_sub(1)).unwrap_or("");
    let indented_by_tab = |line: &str| line.trim_start_matches(' ').starts_with('\t');
    if let Some((number, _)) = (1..).zip(text.lines()).find(|(_, line)| indented_by_tab(line)) {
        problem.help(format!("line {number} is indented with a tab: YAML allows only spaces there"))
    } else if line.contains(": {topic}") {
        problem.help("a text that begins with { needs quotes: \"{topic}.dlq\"")
    } else if line.contains("${") {
        problem.help("between { } or [ ] a value with ${...} needs quotes: \"${NAME}\"")
    } else {
        problem
    }
}

enum Open {
    List { place: Place, anchor: usize, items: Vec<Node> },
    Map { place: Place, anchor: usize, entries: Vec<(Key, Node)>, seen: HashSet<String>, key: Option<Key> },
}

struct Builder<'a> {
    problems: &'a Problems,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Problem> {
        let place = place_of(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tagged_str = self.tag(tag.as_deref(), place);
                let plain = style == ScalarStyle::Plain && !tagged_str;
                let scalar = Scalar { text: text.into_owned(), plain, written: None };
                self.node(Node { place, kind: Kind::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), place);
                self.open(Open::List { place, anchor, items: Vec::new() })
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), place);
                let (entries, seen) = (Vec::new(), HashSet::new());
                self.open(Open::Map { place, anchor, entries, seen, key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open::List { place, anchor, items }) => self.node(Node { place, kind: Kind::List(items) }, anchor),
                Some(Open::Map { place, anchor, entries, .. }) => {
                    self.node(Node { place, kind: Kind::Map(entries) }, anchor)
                }
                None => Ok(()),
            },
            Event::Alias(id) => match self.anchors.get(&id) {
                Some(node) => {
                    let node = node.clone();
                    self.nodes += count(&node);
                    self.node(node, 0)
                }
                None => Err(Problem::error(place, "this alias stands inside what it repeats")),
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, open: Open) -> Result<(), Problem> {
        let (Open::List { place, .. } | Open::Map { place, .. }) = &open;
        if self.stack.len() >= MAX_DEPTH {
            return Err(Problem::error(*place, format!("this is nested deeper than {MAX_DEPTH} levels")));
        }
        if let Some(Open::Map { key: None, .. }) = self.stack.last() {
            return Err(Problem::error(*place, "a key must be a plain name"));
        }
        self.stack.push(open);
        Ok(())
    }

    /// A node is complete: it belongs to what is open.
    fn node(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Problem::error(node.place, format!("the manifest has more than {MAX_NODES} nodes"))
                .help("aliases count as often as they are used"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, seen, key, .. }) => match key.take() {
                None => *key = Some(key_of(node, seen, entries, self.problems)),
                Some(key) => {
                    let mut node = node;
                    if matches!(&node.kind, Kind::Scalar(scalar) if scalar.is_null()) {
                        // Nothing is written there: point at the key instead.
                        node.place = key.place;
                    }
                    entries.push((key, node));
                }
            },
        }
        Ok(())
    }

    /// Whether the tag says "a string". Other tags are problems.
    fn tag(&self, tag: Option<&Tag>, place: Place) -> bool {
        match tag {
            None => false,
            Some(tag) if tag.is_yaml_core_schema_tag("str") => true,
            Some(_) => {
                self.problems.error(
                    place,
                    "YAML tags have no meaning in a manifest",
                    "remove the word that begins with `!`",
                );
                false
            }
        }
    }
}

/// The key that a node is; one that cannot be used is reported and ignored.
fn key_of(node: Node, seen: &mut HashSet<String>, entries: &[(Key, Node)], problems: &Problems) -> Key {
    let place = node.place;
    let Kind::Scalar(scalar) = node.kind else {
        problems.add(Problem::error(place, "a key must be a plain name"));
        return Key { name: String::new(), place, ignored: true };
    };
    let mut key = Key { name: scalar.text, place, ignored: false };
    if scalar.plain && key.name == "<<" {
        problems.error(place, "merge keys (`<<`) are not supported", "put what routes share under `defaults`");
        key.ignored = true;
    } else if !seen.insert(key.name.clone()) {
        let first = entries.iter().find(|(other, _)| other.name == key.name).map_or(0, |(first, _)| first.place.line);
        let message = format!("the key `{}` stands here twice", key.shown());
        problems.error(place, message, format!("keep this one or the one in line {first}"));
        key.ignored = true;
    }
    key
}

fn count(node: &Node) -> usize {
    match &node.kind {
        Kind::Scalar(_) | Kind::Broken => 0,
        Kind::List(items) => items.iter().map(|item| 1 + count(item)).sum(),
        Kind::Map(entries) => entries.iter().map(|(_, value)| 1 + count(value)).sum(),
    }
}

fn place_of(span: &Span) -> Place {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (start, end) = (span.start, span.end);
    Place {
        line: number(start.line()),
        column: number(start.col() + 1),
        end_line: number(end.line()),
        end_column: number(end.col() + 1),
    }
}
