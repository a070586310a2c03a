//! Configuration files: YAML read with the place of every value, and the
//! problems found in it, all at once.
//!
//! The parser is pull-based and pure Rust; sizes, depth and the expansion of
//! aliases are bounded, so no file can make it run away.

mod reader;
mod yaml;

use std::fmt;
use std::path::Path;

use serde::Serialize;

use crate::{Error, ErrorKind, Result};

pub(crate) use reader::{Key, Reader, Section, nearest};
pub(crate) use yaml::{Entry, Node, Value};

/// A place in a text file. Both count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[non_exhaustive]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// What a problem in a file stands in the way of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Affects {
    /// The file cannot be understood.
    File,
    /// The appliance cannot be built.
    Build,
    /// The finished appliance cannot be registered as a template.
    Template,
    /// Nodes cannot be deployed.
    Deploy,
}

/// Something wrong in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// Where it is.
    #[serde(flatten)]
    pub at: Position,
    /// The key concerned, with the sections above it: `build.base_url`. Empty
    /// for the file as a whole.
    pub key: String,
    /// What it stands in the way of.
    pub affects: Affects,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

/// One error for all `problems` of the file called `name`; `problems` holds at
/// least one.
pub(crate) fn error(name: &str, problems: &[Problem]) -> Error {
    let message = match problems {
        [one] => format!("{name}:{one}"),
        many => {
            let mut message = format!("{} problems in {name}", many.len());
            for problem in many {
                message.push_str(&format!("\n  {name}:{problem}"));
                if let Some(hint) = &problem.hint {
                    message.push_str(&format!(" ({hint})"));
                }
            }
            message
        }
    };
    let mut error = Error::new(ErrorKind::InvalidConfig, message).with("file", name);
    if let [one] = problems {
        error = error.with("line", one.at.line.to_string());
        error = error.with("column", one.at.column.to_string());
        if !one.key.is_empty() {
            error = error.with("key", one.key.clone());
        }
        if let Some(hint) = &one.hint {
            error = error.hint(hint.clone());
        }
    }
    error
}

/// Reads a configuration file whole; what is larger than a configuration file
/// can be is refused unread.
pub(crate) fn read(path: &Path) -> Result<String> {
    use std::io::Read as _;

    let failed = |source| Error::io("read", path, source);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(yaml::MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > yaml::MAX_BYTES {
        let message = format!("{} is too large for a configuration file", path.display());
        return Err(Error::new(ErrorKind::InvalidConfig, message)
            .with("path", path.display().to_string())
            .hint(format!("the limit is {} KiB", yaml::MAX_BYTES / 1024)));
    }
    String::from_utf8(bytes).map_err(|source| {
        let message = format!("{} is not a text file in UTF-8", path.display());
        Error::new(ErrorKind::InvalidConfig, message)
            .with("path", path.display().to_string())
            .caused_by(source.utf8_error())
    })
}
