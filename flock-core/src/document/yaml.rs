//! YAML as a tree that knows where each of its values stands.
//!
//! Scalars stay text: what they mean is for the reader of a key to say, which
//! is how `0644`, `33:33` and `yes` keep the meaning their writer gave them.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::{Affects, Position, Problem};

/// The largest file taken.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// How deep lists and maps may lie in each other.
const MAX_DEPTH: usize = 32;
/// How many values a file may hold, those that aliases repeat included.
const MAX_NODES: usize = 20_000;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
}

/// What a YAML value is.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// No value: nothing written, `~` or `null`.
    Null,
    /// A text, number or boolean, as it was written.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<Entry>),
}

/// One key of a map with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) node: Node,
}

impl Value {
    /// The word for it in messages.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Parses one YAML document. An empty text is [`Value::Null`].
pub(crate) fn parse(text: &str) -> Result<Node, Problem> {
    if text.len() > MAX_BYTES {
        return Err(problem(
            Position::START,
            format!("this is larger than the {} KiB a file may have", MAX_BYTES / 1024),
        ));
    }
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| problem(position(*error.marker()), error.info().to_owned()))?;
        tree.take(event, span)?;
    }
    Ok(tree.root.unwrap_or(Node { at: Position::START, value: Value::Null }))
}

/// The tree under construction.
#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

/// A list or map whose end has not come yet.
struct Open {
    at: Position,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, Position)> },
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let at = position(span.start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(problem(at, "a second document begins here; a file holds one".to_owned()))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Scalar(text, style, anchor, _) => {
                let value = match style {
                    ScalarStyle::Plain if is_null(&text) => Value::Null,
                    _ => Value::Scalar(text.into_owned()),
                };
                self.place(Node { at, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                self.open(Open { at, anchor, kind: OpenKind::List(Vec::new()) })
            }
            Event::MappingStart(anchor, _) => {
                let kind = OpenKind::Map { entries: Vec::new(), key: None };
                self.open(Open { at, anchor, kind })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(problem(at, "this alias stands inside its own value".to_owned()));
                };
                // Counted before it is copied, so that aliases of aliases end
                // here and not in the memory.
                let more = count(node);
                self.nodes = self.nodes.saturating_add(more);
                self.within_limit(at)?;
                let copy = node.clone();
                self.place(Node { at, ..copy }, 0)
            }
        }
    }

    fn open(&mut self, open: Open) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH {
            let message = format!("values lie more than {MAX_DEPTH} levels deep here");
            return Err(problem(open.at, message));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(Open { at, anchor, kind }) = self.open.pop() else { return Ok(()) };
        let value = match kind {
            OpenKind::List(items) => Value::List(items),
            OpenKind::Map { entries, .. } => Value::Map(entries),
        };
        self.place(Node { at, value }, anchor)
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(1);
        self.within_limit(node.at)?;
        if anchor != 0 {
            self.nodes = self.nodes.saturating_add(count(&node));
            self.within_limit(node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map { entries, key }) => match key.take() {
                Some((key, at)) => entries.push(Entry { key, at, node }),
                None => *key = Some((key_text(&node)?, node.at)),
            },
        }
        Ok(())
    }

    fn within_limit(&self, at: Position) -> Result<(), Problem> {
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        Err(problem(at, format!("the file holds more than {MAX_NODES} values, aliases expanded")))
    }
}

fn key_text(node: &Node) -> Result<String, Problem> {
    match &node.value {
        Value::Scalar(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        other => {
            Err(problem(node.at, format!("a key must be a word, this is {}", other.describe())))
        }
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::Null | Value::Scalar(_) => 0,
        Value::List(items) => items.iter().map(count).sum(),
        Value::Map(entries) => entries.iter().map(|entry| 1 + count(&entry.node)).sum::<usize>(),
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

fn problem(at: Position, message: String) -> Problem {
    Problem { at, key: String::new(), affects: Affects::File, message, hint: None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(node: &Node) -> &[Entry] {
        match &node.value {
            Value::Map(entries) => entries,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_stay_text_and_know_their_place() {
        let root = parse("a:\n  mode: 0644\n  owner: 33:33\n  on: yes\n  none:\n").unwrap();
        let section = map(&map(&root)[0].node);
        let texts: Vec<_> = section
            .iter()
            .map(|entry| match &entry.node.value {
                Value::Scalar(text) => text.as_str(),
                other => other.describe(),
            })
            .collect();
        assert_eq!(texts, ["0644", "33:33", "yes", "nothing"]);
        assert_eq!(section[1].at, Position { line: 3, column: 3 });
        assert_eq!(section[1].node.at, Position { line: 3, column: 10 });
    }

    #[test]
    fn quotes_make_a_text_of_null() {
        let root = parse("a: 'null'").unwrap();
        assert!(matches!(&map(&root)[0].node.value, Value::Scalar(text) if text == "null"));
    }

    #[test]
    fn aliases_work() {
        let root = parse("a: &x [1, 2]\nb: *x\n").unwrap();
        assert!(matches!(&map(&root)[1].node.value, Value::List(items) if items.len() == 2));
    }

    #[test]
    fn what_would_run_away_is_refused() {
        let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (from, to) in ('a'..'i').zip('b'..'j') {
            bomb.push_str(&format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 9].join(",")));
        }
        assert!(parse(&bomb).unwrap_err().message.contains("aliases expanded"));
        assert!(parse("a: &a [*a]").is_err());
        assert!(parse(&"- ".repeat(100_000)).unwrap_err().message.contains("levels deep"));
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"{a: ".repeat(100_000)).is_err());
        assert!(parse(&"x".repeat(MAX_BYTES + 1)).is_err());
        assert!(parse("a: 1\n---\nb: 2\n").unwrap_err().message.contains("second document"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_yaml_marks_make_it_panic(text in "[-a:?{}\\[\\],&*!|>'\"%@`#~ \\n\\t.0]{0,60}") {
            let _ = parse(&text);
        }
    }
}
