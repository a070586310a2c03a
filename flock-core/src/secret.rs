//! Values that must not be seen: they print as `***` and come from a file, the
//! environment or a command, never from the command line.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// A secret text. `Debug` and serialisation show `***`; the value is had only
/// by [`expose`](Secret::expose).
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// Where a secret comes from.
///
/// In a file it is either the value itself, as flockr's `flockr.yaml` had it,
/// or a map with one key: `file`, `env` or `command`.
///
/// ```
/// use flock_core::secret::SecretSource;
///
/// let source: SecretSource = serde_json::from_str(r#"{"command": ["printf", "hush"]}"#)?;
/// assert_eq!(source.resolve()?.expose(), "hush");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum SecretSource {
    /// The value itself.
    Value(Secret),
    /// A file that holds it; one trailing newline is taken off.
    #[serde(rename_all = "lowercase")]
    File {
        /// The file's path.
        file: PathBuf,
    },
    /// An environment variable that holds it.
    Env {
        /// The variable's name.
        env: String,
    },
    /// A program that prints it; run without a shell, one trailing newline is
    /// taken off.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
    },
}

impl SecretSource {
    /// Fetches the secret. Blocks on the file or the program.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the file or variable is missing;
    /// [`ErrorKind::PermissionDenied`] and other kinds of [`Error::io`] for a
    /// file; [`ErrorKind::InvalidConfig`] if the command is empty or fails, or
    /// if a variable or the command's output is not UTF-8. The value is in no
    /// error.
    pub fn resolve(&self) -> Result<Secret> {
        match self {
            Self::Value(secret) => Ok(secret.clone()),
            Self::File { file } => std::fs::read_to_string(file)
                .map(trimmed)
                .map_err(|source| Error::io("read the secret in", file, source)),
            Self::Env { env } => match std::env::var(env) {
                Ok(value) => Ok(Secret(value)),
                Err(std::env::VarError::NotPresent) => {
                    let message = format!("no secret in the variable {env}");
                    Err(Error::new(ErrorKind::NotFound, message).hint(format!("set {env}")))
                }
                // This error would show the value.
                Err(std::env::VarError::NotUnicode(_)) => {
                    let message = format!("the secret in the variable {env} is not UTF-8");
                    Err(Error::new(ErrorKind::InvalidConfig, message))
                }
            },
            Self::Command { command } => run(command),
        }
    }
}

fn run(command: &[String]) -> Result<Secret> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidConfig, message);
    let [program, arguments @ ..] = command else {
        return Err(invalid("the command of a secret is empty".to_owned()));
    };
    let output = Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|source| {
            invalid(format!("cannot run the secret's command {program}")).caused_by(source)
        })?;
    if !output.status.success() {
        return Err(invalid(format!("the secret's command {program} failed: {}", output.status)));
    }
    String::from_utf8(output.stdout)
        .map(trimmed)
        .map_err(|_| invalid(format!("the secret's command {program} did not print UTF-8")))
}

fn trimmed(mut text: String) -> Secret {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Secret(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_never_shown() {
        let secret = Secret::new("hush");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        let source = SecretSource::Value(secret);
        assert!(!format!("{source:?}").contains("hush"));
    }

    #[test]
    fn a_file_loses_one_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush\n\n").unwrap();
        let source = SecretSource::File { file: file.path().to_owned() };
        assert_eq!(source.resolve().unwrap().expose(), "hush\n");
    }

    #[test]
    fn what_a_failing_command_prints_stays_unseen() {
        let command = ["ls", "--hush"].map(str::to_owned).to_vec();
        let error = SecretSource::Command { command }.resolve().unwrap_err();
        assert!(!format!("{error:?}").contains("--hush"));
        let empty = SecretSource::Command { command: Vec::new() }.resolve();
        assert_eq!(empty.unwrap_err().kind(), ErrorKind::InvalidConfig);
    }
}
