//! Asking before something is gone.

use std::io::{self, BufRead as _, IsTerminal as _};

use flock_core::{Error, ErrorKind};

use crate::output::to_stderr;

/// Asks on the terminal whether to go on, unless the answer was given.
///
/// # Errors
/// [`ErrorKind::Cancelled`] if the answer is no; [`ErrorKind::InvalidConfig`]
/// if there is nobody to ask.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() || !io::stderr().is_terminal() {
        let message = format!("{question} There is no terminal to ask at");
        return Err(Error::new(ErrorKind::InvalidConfig, message).hint("`--yes` answers it"));
    }
    to_stderr(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.map_err(|source| {
        Error::new(ErrorKind::Unexpected, "cannot read the answer").caused_by(source)
    })?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::new(ErrorKind::Cancelled, "nothing was done")),
    }
}
