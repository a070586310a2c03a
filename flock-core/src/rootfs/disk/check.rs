//! What was looked at in an image, and what was found.

use std::fmt;

use serde::Serialize;

/// How a check of an image ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// All is well.
    Passed,
    /// It could not be looked at; the detail says why.
    Skipped,
    /// Not as it should be, but no data is at risk.
    Warning,
    /// Wrong: data may be lost, or other programs may refuse the image.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failed => "failed",
        })
    }
}

/// One thing that was looked at in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Check {
    /// What was looked at, for example `footer`.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found; always said where the check did not pass.
    pub detail: Option<String>,
}

impl Check {
    pub(super) fn passed(name: &'static str) -> Self {
        Self { name, outcome: Outcome::Passed, detail: None }
    }

    pub(super) fn skipped(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Skipped, detail: Some(why.into()) }
    }

    pub(super) fn warning(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warning, detail: Some(why.into()) }
    }

    pub(super) fn failed(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Failed, detail: Some(why.into()) }
    }

    /// Passed, unless there is something to say against it.
    pub(super) fn of(name: &'static str, result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::passed(name),
            Err(why) => Self::failed(name, why),
        }
    }
}
