//! Values that must not be seen: they print as `***` and come from a file, the
//! environment or a command, never from the command line.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::{Context, Result};

mod resolve;

/// What stands for a secret wherever it could be seen.
const MASK: &str = "***";

/// The most that a secret may hold: 64 KiB. What is longer was meant to be
/// something else.
pub const MAX_SECRET: usize = 64 << 10;

/// A secret text. `Debug` and serialisation show `***`; the value is had only
/// by [`expose`](Secret::expose).
///
/// So what was serialised does not hold the secret any more, and reading it
/// back fails rather than to take `***` for the value.
#[derive(Clone, PartialEq, Eq)]
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
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == MASK {
            return Err(de::Error::custom("'***' stands for a secret that was not written out"));
        }
        Ok(Self(text))
    }
}

/// Where a secret comes from.
///
/// In a file it is either the value itself, as flockr's `flockr.yaml` had it,
/// or a map with one key: `file`, `env` or `command`.
///
/// ```
/// use flock_core::Context;
/// use flock_core::secret::SecretSource;
///
/// let source: SecretSource = serde_json::from_str(r#"{"command": ["printf", "hush"]}"#)?;
/// assert_eq!(source.resolve(&Context::new())?.expose(), "hush");
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

impl From<Secret> for SecretSource {
    fn from(secret: Secret) -> Self {
        Self::Value(secret)
    }
}

impl SecretSource {
    /// Fetches the secret. Blocks on the file or the program, but not beyond
    /// the end of `ctx`: a program that has not ended by then is killed with
    /// all that it started.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if the file or variable is missing;
    /// [`PermissionDenied`](crate::ErrorKind::PermissionDenied) and other kinds of [`Error::io`](crate::Error::io) for a
    /// file; [`InvalidConfig`](crate::ErrorKind::InvalidConfig) if the command is empty or fails, if
    /// a file, a variable or the command's output is not UTF-8, or holds more
    /// than [`MAX_SECRET`] bytes; [`Cancelled`](crate::ErrorKind::Cancelled) and
    /// [`Timeout`](crate::ErrorKind::Timeout) if `ctx` ends first. The value is in no error.
    pub fn resolve(&self, ctx: &Context) -> Result<Secret> {
        ctx.check()?;
        match self {
            Self::Value(secret) => Ok(secret.clone()),
            Self::File { file } => resolve::from_file(ctx, file),
            Self::Env { env } => resolve::from_variable(env),
            Self::Command { command } => resolve::from_command(ctx, command),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn it_is_never_shown() {
        let secret = Secret::new("hush");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
        let source = SecretSource::Value(secret);
        assert!(!format!("{source:?}").contains("hush"));
    }

    #[test]
    fn what_was_hidden_is_not_taken_for_the_value() {
        let written = serde_json::to_string(&Secret::new("hush")).unwrap();
        let error = serde_json::from_str::<Secret>(&written).unwrap_err();
        assert!(error.to_string().contains("not written out"), "{error}");
        assert_eq!(serde_json::from_str::<Secret>("\"hush\"").unwrap().expose(), "hush");
        assert!(serde_json::from_str::<SecretSource>(&written).is_err());
    }

    #[test]
    fn a_file_loses_one_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush\n\n").unwrap();
        let source = SecretSource::File { file: file.path().to_owned() };
        assert_eq!(source.resolve(&Context::new()).unwrap().expose(), "hush\n");
    }

    #[test]
    fn what_a_failing_command_prints_stays_unseen() {
        let command = ["ls", "--hush"].map(str::to_owned).to_vec();
        let error = SecretSource::Command { command }.resolve(&Context::new()).unwrap_err();
        assert!(!format!("{error:?}").contains("--hush"));
        let empty = SecretSource::Command { command: Vec::new() }.resolve(&Context::new());
        assert_eq!(empty.unwrap_err().kind(), ErrorKind::InvalidConfig);
    }

    #[test]
    fn a_command_that_hangs_ends_with_the_context() {
        // The shell's child holds the output open too.
        let command = ["sh", "-c", "sleep 600 & sleep 600"].map(str::to_owned).to_vec();
        let ctx = Context::new().with_timeout(std::time::Duration::from_millis(200));
        let error = SecretSource::Command { command }.resolve(&ctx).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
    }

    #[test]
    fn what_a_command_leaves_behind_ends_with_the_context() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        let script = format!("printf hush; sleep 600 & echo $! > {}", path.display());
        let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
        let ctx = Context::new().with_timeout(std::time::Duration::from_millis(500));
        let error = SecretSource::Command { command }.resolve(&ctx).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let id = std::fs::read_to_string(path).unwrap();
        let status = std::path::Path::new("/proc").join(id.trim()).join("stat");
        // Gone, or dead and not yet waited for by its new parent.
        let is_dead = || std::fs::read_to_string(&status).map_or(true, |s| s.contains(") Z "));
        for _ in 0..500 {
            if is_dead() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("it still runs");
    }

    #[test]
    fn an_endless_secret_is_refused() {
        let command = ["yes", "hush"].map(str::to_owned).to_vec();
        for source in
            [SecretSource::Command { command }, SecretSource::File { file: "/dev/zero".into() }]
        {
            let error = source.resolve(&Context::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
            assert!(!format!("{error:?}").contains("hush\nhush"));
        }
    }
}
