//! The exit codes.

use std::process::ExitCode;

use flock_core::ErrorKind;

/// How a run of flock ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// The request failed.
    Failed = 1,
    /// The command line or a configuration file is wrong.
    Usage = 2,
    /// A service cannot be reached, or does not know who we are.
    Unreachable = 3,
    /// Interrupted, as shells count it: 128 and the number of SIGINT.
    Interrupted = 130,
}

impl Exit {
    /// All of them, each with the meaning that help and man page show.
    pub(crate) const ALL: [(Self, &str); 5] = [
        (Self::Done, "done"),
        (Self::Failed, "the request failed"),
        (Self::Usage, "the command line or a configuration file is wrong"),
        (Self::Unreachable, "a service cannot be reached or refuses the credentials"),
        (Self::Interrupted, "interrupted"),
    ];

    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidConfig => Self::Usage,
            ErrorKind::Unauthenticated | ErrorKind::Unavailable => Self::Unreachable,
            ErrorKind::Cancelled => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_their_codes() {
        for (kind, code) in [
            (ErrorKind::NotFound, 1),
            (ErrorKind::AlreadyExists, 1),
            (ErrorKind::InvalidConfig, 2),
            (ErrorKind::InvalidData, 1),
            (ErrorKind::Unauthenticated, 3),
            (ErrorKind::PermissionDenied, 1),
            (ErrorKind::Conflict, 1),
            (ErrorKind::QuotaExceeded, 1),
            (ErrorKind::Unsupported, 1),
            (ErrorKind::Timeout, 1),
            (ErrorKind::Cancelled, 130),
            (ErrorKind::Unavailable, 3),
            (ErrorKind::Unexpected, 1),
        ] {
            assert_eq!(Exit::from(kind).code(), code, "{kind}");
        }
    }
}
