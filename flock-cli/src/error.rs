//! How an error is shown: message, causes, advice; or one JSON object.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Write as _;

use flock_core::{Error, ErrorKind};
use serde::Serialize;

use crate::exit::Exit;
use crate::output::{SCHEMA, Style};
use crate::terminal::printable;

/// The error as text. `style` colours the words in front. What steers a
/// terminal is escaped: names and answers from outside are in it.
pub(crate) fn text(error: &Error, style: Style) -> String {
    let message = error.to_string();
    let mut text = format!("{} {}\n", style.red("error:"), printable(&message));
    let causes = causes(error);
    if !causes.is_empty() {
        text.push_str("Caused by:\n");
        for cause in causes {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {}", printable(&cause));
        }
    }
    let hints = hints(error);
    if !hints.is_empty() {
        text.push('\n');
    }
    for hint in hints {
        let _ = writeln!(text, "{} {}", style.cyan("hint:"), printable(&hint));
    }
    text
}

/// What is printed for an error with `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorDocument<'a> {
    schema: u32,
    error: Shown<'a>,
}

/// An error as it stands in a document.
#[derive(Debug, Serialize)]
pub(crate) struct Shown<'a> {
    kind: &'a str,
    message: String,
    exit_code: u8,
    retryable: bool,
    backend: Option<&'a str>,
    operation: Option<&'a str>,
    context: BTreeMap<&'a str, &'a str>,
    causes: Vec<String>,
    hints: Vec<Cow<'a, str>>,
}

impl<'a> From<&'a Error> for ErrorDocument<'a> {
    fn from(error: &'a Error) -> Self {
        Self { schema: SCHEMA, error: Shown::from(error) }
    }
}

impl<'a> From<&'a Error> for Shown<'a> {
    fn from(error: &'a Error) -> Self {
        let mut context = BTreeMap::new();
        for (key, value) in error.context() {
            // The innermost fact of a name is the one nearest to the cause.
            context.entry(key).or_insert(value);
        }
        Self {
            kind: error.kind().as_str(),
            message: error.to_string(),
            exit_code: Exit::from(error.kind()).code(),
            retryable: error.is_retryable(),
            backend: error.backend(),
            operation: error.operation(),
            context,
            causes: causes(error),
            hints: hints(error),
        }
    }
}

impl Shown<'_> {
    /// What failed.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

fn causes(error: &Error) -> Vec<String> {
    let first = error.source();
    std::iter::successors(first, |cause| (*cause).source()).map(ToString::to_string).collect()
}

/// The error's advice, and which commands go on with what it left.
fn hints(error: &Error) -> Vec<Cow<'_, str>> {
    let mut hints: Vec<_> = error.hints().map(Cow::Borrowed).collect();
    if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Cancelled) {
        let wait = |key, command| {
            let value = error.context_value(key)?;
            Some(Cow::Owned(format!("to wait on: flock {command} wait {value}")))
        };
        hints.extend(wait("job", "job"));
        hints.extend(wait("template", "template"));
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Error {
        let inner = Error::new(ErrorKind::NotFound, "no such host");
        let middle = Error::new(ErrorKind::Unavailable, "cannot connect").caused_by(inner);
        Error::new(ErrorKind::Unavailable, "cannot fetch https://example.org/base.tar")
            .with("attempts", "3")
            .hint("check the network")
            .caused_by(middle)
    }

    #[test]
    fn message_causes_and_hint() {
        insta::assert_snapshot!(text(&example(), Style::plain()), @r"
        error: cannot fetch https://example.org/base.tar
        Caused by:
          cannot connect
          no such host

        hint: check the network
        ");
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        let inner = Error::new(ErrorKind::NotFound, "\u{9b}2J");
        let error = Error::new(ErrorKind::InvalidConfig, "unknown key '\x1b]0;owned\x07'")
            .hint("\u{202e}txt.exe")
            .caused_by(inner);
        insta::assert_snapshot!(text(&error, Style::plain()), @r"
        error: unknown key '\u{1b}]0;owned\u{7}'
        Caused by:
          \u{9b}2J

        hint: \u{202e}txt.exe
        ");
        assert_eq!(Shown::from(&error).message(), "unknown key '\x1b]0;owned\x07'");
    }

    #[test]
    fn as_json() {
        let document = serde_json::to_string_pretty(&ErrorDocument::from(&example())).unwrap();
        insta::assert_snapshot!(document, @r#"
        {
          "schema": 1,
          "error": {
            "kind": "unavailable",
            "message": "cannot fetch https://example.org/base.tar",
            "exit_code": 3,
            "retryable": true,
            "backend": null,
            "operation": null,
            "context": {
              "attempts": "3"
            },
            "causes": [
              "cannot connect",
              "no such host"
            ],
            "hints": [
              "check the network"
            ]
          }
        }
        "#);
    }
}
