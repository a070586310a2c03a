//! The one error type of flock: a kind to match on, whether trying again can
//! help, and everything a person needs to act on it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// `Result` with flock's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a program needs to know to decide what to do.
///
/// The kinds are few on purpose; the service's own code travels in
/// [`Error::context`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing asked for does not exist, or is not ours.
    NotFound,
    /// A thing of that name exists already and was not made by this request.
    AlreadyExists,
    /// The request or the configuration is wrong; the same call cannot succeed.
    InvalidConfig,
    /// Bytes from outside are not what they claim to be: a corrupt archive, a
    /// wrong checksum, a reply that is not in the protocol.
    InvalidData,
    /// The backend does not know who we are.
    Unauthenticated,
    /// The backend knows who we are and says no.
    PermissionDenied,
    /// The thing is in a state, or held by somebody, that forbids this now.
    Conflict,
    /// A limit is reached: an account's quota, a full disk, a size bound.
    QuotaExceeded,
    /// This backend cannot do that; its capabilities say so beforehand.
    Unsupported,
    /// The deadline passed. The effect may have happened.
    Timeout,
    /// The caller cancelled. The effect may have happened.
    Cancelled,
    /// The backend or a part of it cannot be reached now.
    Unavailable,
    /// Anything else: a bug in flock or in the backend.
    Unexpected,
}

impl ErrorKind {
    /// The kind's name in JSON and in messages, for example `not_found`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::InvalidConfig => "invalid_config",
            Self::InvalidData => "invalid_data",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::Conflict => "conflict",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Unsupported => "unsupported",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Unavailable => "unavailable",
            Self::Unexpected => "unexpected",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether calling again, unchanged, can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    Never,
    /// Not before this long from now.
    After(Duration),
}

/// An error of flock or of one of its backends.
///
/// `Display` prints the message alone; walk [`std::error::Error::source`] for
/// the causes and [`Error::hints`] for advice. Messages never hold secrets.
///
/// ```
/// use flock_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::NotFound, "no volume 'data'")
///     .in_backend("memory")
///     .during("volume.get")
///     .with("volume", "data")
///     .hint("`list` shows the volumes there are");
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert!(!error.is_retryable());
/// assert_eq!(error.context().next(), Some(("volume", "data")));
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    retry: Retry,
    backend: Option<Cow<'static, str>>,
    operation: Option<Cow<'static, str>>,
    context: Vec<(Cow<'static, str>, String)>,
    hints: Vec<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind. The message says what failed and why, without
    /// the text of the source.
    ///
    /// Errors of kind [`ErrorKind::Unavailable`] start out retryable, all
    /// others do not.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::Unavailable => Retry::After(Duration::ZERO),
            _ => Retry::Never,
        };
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            retry,
            backend: None,
            operation: None,
            context: Vec::new(),
            hints: Vec::new(),
            source: None,
        }))
    }

    /// An error for a failed file operation: `action` reads like "write", and
    /// the path becomes part of the message. The kind follows from the I/O
    /// error: a full disk is [`ErrorKind::QuotaExceeded`]. An `Error` that
    /// came along inside the I/O error is returned as it is.
    pub fn io(action: &str, path: &std::path::Path, source: io::Error) -> Self {
        let source = match source.downcast::<Self>() {
            Ok(error) => return error,
            Err(source) => source,
        };
        let mut error = Self::new(io_kind(&source), format!("cannot {action} {}", path.display()))
            .with("path", path.display().to_string());
        if let Some(hint) = io_hint(&source) {
            error = error.hint(hint);
        }
        error.caused_by(source)
    }

    /// Marks the error as worth trying again.
    #[must_use]
    pub fn retryable(self) -> Self {
        self.retry_after_at_least(Duration::ZERO)
    }

    /// Marks the error as worth trying again, but not sooner than `delay`.
    #[must_use]
    pub fn retry_after_at_least(mut self, delay: Duration) -> Self {
        self.0.retry = Retry::After(delay);
        self
    }

    /// Marks the error as one that trying again cannot mend.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.0.retry = Retry::Never;
        self
    }

    /// Names the backend, unless an inner layer has named one already.
    #[must_use]
    pub fn in_backend(mut self, backend: impl Into<Cow<'static, str>>) -> Self {
        self.0.backend.get_or_insert(backend.into());
        self
    }

    /// Names the operation (`volume.attach`), unless an inner layer has.
    #[must_use]
    pub fn during(mut self, operation: impl Into<Cow<'static, str>>) -> Self {
        self.0.operation.get_or_insert(operation.into());
        self
    }

    /// Adds a fact: the service's own code, a job id, a host. One that is
    /// there already, with the same value, is not added again.
    #[must_use]
    pub fn with(mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        let fact = (key.into(), value.into());
        if !self.0.context.contains(&fact) {
            self.0.context.push(fact);
        }
        self
    }

    /// Adds advice for a person: what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    /// What to match on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed if it is made again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retry != Retry::Never
    }

    /// The shortest time to wait before trying again; `None` where trying
    /// again cannot help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.0.retry {
            Retry::Never => None,
            Retry::After(delay) => Some(delay),
        }
    }

    /// The backend that failed, for example `docker`.
    #[must_use]
    pub fn backend(&self) -> Option<&str> {
        self.0.backend.as_deref()
    }

    /// The operation that failed, for example `volume.attach`.
    #[must_use]
    pub fn operation(&self) -> Option<&str> {
        self.0.operation.as_deref()
    }

    /// The facts added on the way up, innermost first.
    pub fn context(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.context.iter().map(|(k, v)| (k.as_ref(), v.as_str()))
    }

    /// The first fact of that name.
    #[must_use]
    pub fn context_value(&self, key: &str) -> Option<&str> {
        self.context().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// Advice for a person, most specific first.
    pub fn hints(&self) -> impl Iterator<Item = &str> {
        self.0.hints.iter().map(String::as_str)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some(backend) = &self.0.backend {
            debug.field("backend", backend);
        }
        if let Some(operation) = &self.0.operation {
            debug.field("operation", operation);
        }
        if !self.0.context.is_empty() {
            debug.field("context", &self.0.context);
        }
        if let Some(source) = &self.0.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}

/// Carries an [`Error`] through `Read` and `Write`; [`Error::io`] takes it out.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

/// The kind that an I/O error amounts to.
pub(crate) fn io_kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ErrorKind::PermissionDenied
        }
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::FileTooLarge
        | io::ErrorKind::OutOfMemory => ErrorKind::QuotaExceeded,
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => ErrorKind::InvalidData,
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidFilename => ErrorKind::InvalidConfig,
        _ => ErrorKind::Unexpected,
    }
}

fn io_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull => Some("free some space there, or choose another place"),
        io::ErrorKind::PermissionDenied => Some("check who owns it, or choose another place"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_backend_and_operation_stay() {
        let error = Error::new(ErrorKind::Conflict, "busy")
            .in_backend("docker")
            .during("volume.attach")
            .in_backend("retry")
            .during("deploy");
        assert_eq!(error.backend(), Some("docker"));
        assert_eq!(error.operation(), Some("volume.attach"));
    }

    #[test]
    fn a_full_disk_is_a_quota() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = Error::io("write", std::path::Path::new("/x"), full);
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
        assert_eq!(error.to_string(), "cannot write /x");
        assert!(StdError::source(&error).is_some());
        assert_eq!(error.hints().count(), 1);
    }

    #[test]
    fn only_unavailable_starts_retryable() {
        assert!(Error::new(ErrorKind::Unavailable, "down").is_retryable());
        assert!(!Error::new(ErrorKind::Unavailable, "gone").permanent().is_retryable());
        assert!(!Error::new(ErrorKind::Timeout, "late").is_retryable());
    }
}
