//! Takes typed values out of a YAML tree and collects what is wrong with it.

use std::collections::HashMap;

use super::yaml::{Entry, Node, Value, parse};
use super::{Affects, Position, Problem};

/// A key that a section knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    /// Its name.
    pub(crate) name: &'static str,
    /// What a generated file holds until a person fills it in.
    pub(crate) placeholder: Option<&'static str>,
}

impl Key {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, placeholder: None }
    }

    pub(crate) const fn filled_in(name: &'static str, placeholder: &'static str) -> Self {
        Self { name, placeholder: Some(placeholder) }
    }
}

/// Collects the problems of one file.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    problems: Vec<Problem>,
}

/// A map whose keys are known.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    /// The keys above it, each with a dot behind: `build.`.
    path: String,
    /// Where it begins.
    pub(crate) at: Position,
    affects: Affects,
    entries: HashMap<&'a str, &'a Entry>,
    keys: &'static [Key],
}

impl Reader {
    /// Parses a text. One that is not YAML is a problem, and no tree.
    pub(crate) fn parse(&mut self, text: &str) -> Option<Node> {
        parse(text).map_err(|problem| self.problems.push(problem)).ok()
    }

    /// What was found, in the order of the file.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.at);
        self.problems
    }

    /// How much has been noted so far, for [`Reader::forget_unfinished`].
    pub(crate) fn mark(&self) -> usize {
        self.problems.len()
    }

    /// Forgets what is only missing, noted since `mark`.
    pub(crate) fn forget_unfinished(&mut self, mark: usize) {
        let mut index = 0;
        self.problems.retain(|problem| {
            index += 1;
            index <= mark || problem.affects == Affects::File
        });
    }

    /// Notes a problem that makes the file unreadable as what it is.
    pub(crate) fn problem(&mut self, at: Position, key: &str, message: impl Into<String>) {
        self.note(at, key, Affects::File, message.into(), None);
    }

    /// As [`Reader::problem`], with advice.
    pub(crate) fn problem_with_hint(
        &mut self,
        at: Position,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(at, key, Affects::File, message.into(), Some(hint.into()));
    }

    fn note(
        &mut self,
        at: Position,
        key: &str,
        affects: Affects,
        message: String,
        hint: Option<String>,
    ) {
        self.problems.push(Problem { at, key: key.to_owned(), affects, message, hint });
    }

    /// Notes that a key which the section needs is not there.
    pub(crate) fn missing(&mut self, section: &Section<'_>, name: &str, hint: &str) {
        let key = section.key(name);
        // A placeholder has been reported where it stands.
        if self.problems.iter().any(|problem| problem.key == key) {
            return;
        }
        let at = section.entries.get(name).map_or(section.at, |entry| entry.at);
        let what = if section.entries.contains_key(name) { "has no value" } else { "is missing" };
        self.note(at, &key, section.affects, format!("{key} {what}"), Some(hint.to_owned()));
    }

    /// Takes a map of known keys. Unknown and repeated ones are problems; what
    /// is no map is one too, and nothing is an empty map.
    pub(crate) fn section<'a>(
        &mut self,
        node: &'a Node,
        path: &str,
        affects: Affects,
        keys: &'static [Key],
    ) -> Section<'a> {
        let mut section = Section {
            path: if path.is_empty() { String::new() } else { format!("{path}.") },
            at: node.at,
            affects,
            entries: HashMap::new(),
            keys,
        };
        let entries: &[Entry] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            other => {
                let message =
                    format!("{} must be a map of keys, this is {}", name(path), other.describe());
                self.problem(node.at, path, message);
                &[]
            }
        };
        for entry in entries {
            if !keys.iter().any(|key| key.name == entry.key) {
                self.unknown(entry, &section.key(&entry.key), keys);
            } else if let Some(first) = section.entries.get(entry.key.as_str()) {
                let key = section.key(&entry.key);
                let message = format!("{key} is given twice, first at {}", first.at);
                self.problem(entry.at, &key, message);
            } else {
                section.entries.insert(&entry.key, entry);
            }
        }
        section
    }

    fn unknown(&mut self, entry: &Entry, key: &str, keys: &'static [Key]) {
        let message = format!("unknown key '{key}'");
        let hint = match nearest(&entry.key, keys.iter().map(|key| key.name)) {
            Some(near) => format!("did you mean '{near}'?"),
            None => {
                let known: Vec<_> = keys.iter().map(|key| key.name).collect();
                format!("the keys here are {}", known.join(", "))
            }
        };
        self.problem_with_hint(entry.at, key, message, hint);
    }

    /// The value of a key, if it is given. One that is still the generated
    /// file's placeholder is a problem and not given.
    pub(crate) fn get<'a>(&mut self, section: &Section<'a>, name: &str) -> Option<&'a Node> {
        debug_assert!(section.keys.iter().any(|key| key.name == name), "unlisted key {name}");
        let node = &section.entries.get(name)?.node;
        let text = match &node.value {
            Value::Null => return None,
            Value::Scalar(text) => text,
            _ => return Some(node),
        };
        let key = section.keys.iter().find(|key| key.name == name)?;
        if key.placeholder != Some(text.as_str()) {
            return Some(node);
        }
        let path = section.key(name);
        let message = format!("{path} still holds the placeholder '{text}'");
        let hint = Some("put your own value there".to_owned());
        self.note(node.at, &path, section.affects, message, hint);
        None
    }

    /// The text of a key, if it is given.
    pub(crate) fn text(&mut self, section: &Section<'_>, name: &str) -> Option<String> {
        let node = self.get(section, name)?;
        self.scalar(node, &section.key(name)).map(str::to_owned)
    }

    /// The text of a value that must be a single one.
    pub(crate) fn scalar<'a>(&mut self, node: &'a Node, key: &str) -> Option<&'a str> {
        match &node.value {
            Value::Scalar(text) => Some(text),
            other => {
                let message = format!("{key} must be a single value, this is {}", other.describe());
                self.problem(node.at, key, message);
                None
            }
        }
    }

    /// The value of a key as `parse` understands its text; what it does not
    /// is a problem with the message it gave.
    pub(crate) fn parsed<T>(
        &mut self,
        section: &Section<'_>,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.get(section, name)?;
        let key = section.key(name);
        let text = self.scalar(node, &key)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.problem(node.at, &key, format!("{key}: {why}"));
                None
            }
        }
    }

    /// The boolean of a key, if it is given.
    pub(crate) fn boolean(&mut self, section: &Section<'_>, name: &str) -> Option<bool> {
        self.parsed(section, name, boolean)
    }

    /// The items of a key that holds a list. A single text counts as a list of
    /// one.
    pub(crate) fn list<'a>(&mut self, section: &Section<'a>, name: &str) -> &'a [Node] {
        let Some(node) = self.get(section, name) else { return &[] };
        match &node.value {
            Value::List(items) => items,
            Value::Scalar(_) => std::slice::from_ref(node),
            Value::Null | Value::Map(_) => {
                let key = section.key(name);
                self.problem(node.at, &key, format!("{key} must be a list"));
                &[]
            }
        }
    }

    /// The texts of a key that holds a list of them.
    pub(crate) fn texts(&mut self, section: &Section<'_>, name: &str) -> Vec<String> {
        let key = section.key(name);
        let items = self.list(section, name);
        items.iter().filter_map(|item| self.scalar(item, &key).map(str::to_owned)).collect()
    }
}

impl Section<'_> {
    /// The full name of a key in this section.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// Whether the key is written in the file, whatever it holds.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Where the key stands, or where the section begins.
    pub(crate) fn at(&self, name: &str) -> Position {
        self.entries.get(name).map_or(self.at, |entry| entry.at)
    }
}

/// A boolean as YAML 1.1 spelled them, which is what flockr read.
/// <https://yaml.org/type/bool.html>
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "on" => Ok(true),
        "n" | "no" | "false" | "off" => Ok(false),
        _ => Err(format!("'{text}' is neither true nor false")),
    }
}

/// The known word most like `word`, if one is like it at all: a slip of one
/// letter, or much the same beginning.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word: String = word.chars().take(64).collect();
    known
        .map(|candidate| (strsim::osa_distance(&word, candidate), candidate))
        .filter(|(slips, candidate)| {
            (*slips <= 1 && candidate.len() > 2) || strsim::jaro_winkler(&word, candidate) > 0.8
        })
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

fn name(path: &str) -> &str {
    if path.is_empty() { "the file" } else { path }
}
