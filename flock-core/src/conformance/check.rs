//! What a case says when the subject is wrong.

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;

use crate::{Error, ErrorKind};

/// How a case ended.
pub type Outcome = Result<(), Failure>;

/// What the subject did wrong, and where in the suite it showed.
///
/// Made by [`ensure`] and its sisters, or by `?` from any error.
pub struct Failure {
    message: String,
    at: &'static Location<'static>,
}

impl Failure {
    /// A failure with this text, at the caller's line.
    #[track_caller]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), at: Location::caller() }
    }

    /// Puts `what` was being done before the text.
    #[must_use]
    pub fn context(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// Adds a failure that came after this one.
    #[must_use]
    pub fn and_then(mut self, later: &Failure) -> Self {
        self.message = format!("{}\nthen: {}", self.message, later.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  at {}", self.message, self.at)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `?` on any error: its text, its facts where it is flock's, and its causes.
impl<E: StdError + 'static> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        Self::new(describe(&error))
    }
}

fn describe(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    if let Some(ours) = error.downcast_ref::<Error>() {
        text = format!("{text} ({})", ours.kind());
        for (key, value) in ours.context() {
            text.push_str(&format!("\n  {key}: {value}"));
        }
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("\n  caused by: {error}"));
        cause = error.source();
    }
    text
}

/// Fails with `otherwise` unless the condition holds.
///
/// # Errors
/// The text, at the caller's line.
#[track_caller]
pub fn ensure(condition: bool, otherwise: impl Into<String>) -> Outcome {
    if condition { Ok(()) } else { Err(Failure::new(otherwise)) }
}

/// Fails unless what was got is what was wanted; `what` names it.
///
/// # Errors
/// Both values, at the caller's line.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "a case compares what a call gives")]
pub fn expect_eq<A, B>(got: A, wanted: B, what: &str) -> Outcome
where
    A: PartialEq<B> + fmt::Debug,
    B: fmt::Debug,
{
    ensure(got == wanted, format!("{what}: got {}, wanted {}", short(&got), short(&wanted)))
}

/// Fails unless the call failed with this kind; gives the error.
///
/// # Errors
/// What the call gave instead, at the caller's line.
#[track_caller]
pub fn expect_err<T: fmt::Debug>(
    got: Result<T, Error>,
    kind: ErrorKind,
    what: &str,
) -> Result<Error, Failure> {
    match got {
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => {
            Err(Failure::new(format!("{what}: wanted a {kind} error, got {}", describe(&error))))
        }
        Ok(value) => {
            Err(Failure::new(format!("{what}: wanted a {kind} error, got {}", short(&value))))
        }
    }
}

/// Fails unless there is a value; gives it.
///
/// # Errors
/// That it is missing, at the caller's line.
#[track_caller]
pub fn expect_some<T>(got: Option<T>, what: &str) -> Result<T, Failure> {
    got.ok_or_else(|| Failure::new(format!("{what}: missing")))
}

/// The value's debug text, cut where it is long.
fn short(value: &impl fmt::Debug) -> String {
    const LONGEST: usize = 500;
    let mut text = format!("{value:?}");
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_line_that_asked() {
        let line = line!() + 1;
        let failure = expect_eq(1, 2, "sum").unwrap_err();
        assert_eq!(
            failure.to_string(),
            format!("sum: got 1, wanted 2\n  at {}:{line}:23", file!())
        );
        let question_mark = || -> Outcome { Err(std::io::Error::other("gone"))? };
        assert!(question_mark().unwrap_err().to_string().contains("check.rs"));
    }

    #[test]
    fn the_kind_must_be_the_one_wanted() {
        let busy = || Err::<(), _>(Error::new(ErrorKind::Conflict, "busy").with("held", "by me"));
        assert!(expect_err(busy(), ErrorKind::Conflict, "attach").is_ok());
        let failure = expect_err(busy(), ErrorKind::NotFound, "attach").unwrap_err().to_string();
        assert!(failure.contains("busy (conflict)\n  held: by me"), "{failure}");
        assert!(expect_err(Ok(3), ErrorKind::NotFound, "attach").is_err());
    }
}
