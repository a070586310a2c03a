//! CloudStack's errors, and what they are in flock's terms.

use std::time::Duration;

use flock_core::{Error, ErrorKind};
use serde_json::Value;
use thiserror::Error as ThisError;

use crate::redact;

/// The name of this backend.
pub(crate) const BACKEND: &str = "cloudstack";
/// The context value that a failed change has if nobody knows whether it took
/// effect.
const OUTCOME: &str = "outcome";
const UNKNOWN: &str = "unknown";

/// An error that CloudStack told in its own format: `ApiErrorCode` of
/// CloudStack 4.22 lists the codes.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("CloudStack says: {text} (error {code})")]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    /// The finer code, `cserrorcode`.
    pub(crate) detail: Option<u64>,
    pub(crate) text: String,
}

impl ApiError {
    /// The error that a body holds, either of a reply or of a failed job.
    pub(crate) fn read(body: &Value) -> Option<Self> {
        let code = number(body.get("errorcode")?)?;
        let text = body.get("errortext").and_then(Value::as_str).unwrap_or("no reason given");
        Some(Self {
            code: u16::try_from(code).unwrap_or(u16::MAX),
            detail: body.get("cserrorcode").and_then(number),
            text: redact::shown(text.trim()),
        })
    }

    /// Whether the request was turned away before it had any effect.
    pub(crate) fn is_before_any_effect(&self) -> bool {
        matches!(self.code, 429 | 503)
    }

    /// How long CloudStack wants to be left alone. It says so in the text
    /// only: "please retry after [812] ms".
    pub(crate) fn wait(&self) -> Option<Duration> {
        let after = self.text.split_once("after [")?.1;
        after.split_once(']')?.0.trim().parse().ok().map(Duration::from_millis)
    }

    /// The same in flock's terms; `command` is what was asked.
    pub(crate) fn into_error(self, command: &str) -> Error {
        let (kind, hint) = meaning(self.code, &self.text);
        let mut error = Error::new(kind, format!("{command}: {}", self.text))
            .in_backend(BACKEND)
            .with("command", command)
            .with("errorcode", self.code.to_string());
        if let Some(detail) = self.detail {
            error = error.with("cserrorcode", detail.to_string());
        }
        if !hint.is_empty() {
            error = error.hint(hint);
        }
        match self.wait() {
            Some(delay) if error.is_retryable() => error.retry_after_at_least(delay),
            _ => error,
        }
    }
}

/// What a code means. The text decides where one code means several things.
fn meaning(code: u16, text: &str) -> (ErrorKind, &'static str) {
    use ErrorKind::{
        AlreadyExists, Conflict, InvalidConfig, NotFound, PermissionDenied, QuotaExceeded,
        Unauthenticated, Unavailable, Unexpected, Unsupported,
    };
    let says = |words: &[&str]| {
        let text = text.to_ascii_lowercase();
        words.iter().any(|word| text.contains(word))
    };
    if let (431 | 530, Some(meaning)) = (code, meaning_of_text(text)) {
        return meaning;
    }
    match code {
        400 if says(&["using post"]) => {
            (InvalidConfig, "this cloud wants POST: do not set the method to GET only")
        }
        401 | 511 => (Unauthenticated, ""),
        405 => (Unsupported, "the cloud's front end may refuse POST: set the method to GET only"),
        429 => (Unavailable, "the account's requests are limited; ask for fewer at once"),
        430 | 431
            if says(&["does not exist", "unable to find", "not find", "entity not found"]) =>
        {
            (NotFound, "")
        }
        430 | 431 if says(&["already exists", "already in use", "already has"]) => {
            (AlreadyExists, "")
        }
        400 | 430 | 431 => (InvalidConfig, ""),
        432 => (Unsupported, ""),
        503 => (Unavailable, "CloudStack is under maintenance or shutting down"),
        531 => (PermissionDenied, "the account's role, or the owner of the thing, forbids it"),
        532 | 535 => (QuotaExceeded, "ask for a higher limit, or destroy what is not needed"),
        533 => (QuotaExceeded, "the zone has no capacity for it now; try another size or zone"),
        534 => (Unavailable, ""),
        536 | 537 => (Conflict, ""),
        _ => (Unexpected, "the management server's log says more"),
    }
}

/// What a refusal means that CloudStack tells apart by its text only: in a job
/// even a wrong parameter is an internal error. The texts are those of
/// `VolumeApiServiceImpl` and `SnapshotManagerImpl`, 4.11 to 4.22.
fn meaning_of_text(text: &str) -> Option<(ErrorKind, &'static str)> {
    const TEXTS: [(&str, ErrorKind, &str); 13] = [
        ("not attached to any vm", ErrorKind::Conflict, "detach the volume first"),
        ("specified volume is not attached", ErrorKind::NotFound, ""),
        ("already attached to a vm", ErrorKind::Conflict, "detach the volume first"),
        (
            "either running or stopped",
            ErrorKind::Conflict,
            "wait until the node runs or is stopped",
        ),
        ("maximum number of data disks", ErrorKind::QuotaExceeded, "choose another node"),
        ("same zone as the volume", ErrorKind::InvalidConfig, "choose a node in the volume's zone"),
        ("does not support volume resize", ErrorKind::Unsupported, ""),
        (
            "or the disk detached in order to resize",
            ErrorKind::Conflict,
            "stop the node, or detach the volume",
        ),
        ("vm snapshots", ErrorKind::Conflict, "delete the snapshots of the virtual machine first"),
        (
            "cannot take snapshot",
            ErrorKind::Conflict,
            "attach the volume once: before that it holds nothing",
        ),
        ("snapshot operations in progress", ErrorKind::Conflict, "wait until the snapshot is made"),
        ("unbacked up snapshot", ErrorKind::Conflict, "wait until the snapshot is made"),
        ("not have enough space to resize", ErrorKind::QuotaExceeded, ""),
    ];
    let text = text.to_ascii_lowercase();
    let found = TEXTS.iter().find(|(part, ..)| text.contains(part));
    found.map(|(_, kind, hint)| (*kind, *hint))
}

/// A number, also one written as text, as old versions do.
pub(crate) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Marks an error after which nobody knows whether the change took effect.
pub(crate) fn outcome_unknown(error: Error) -> Error {
    error
        .permanent()
        .with(OUTCOME, UNKNOWN)
        .hint("whether it took effect is not known: look before asking for it again")
}

/// Whether nobody knows if the change that failed so took effect. Such an
/// error comes from [`Client::call`](crate::Client::call) and its like, when
/// the connection broke after a request was sent; look for what it should have
/// made before sending it again.
#[must_use]
pub fn is_outcome_unknown(error: &Error) -> bool {
    error.context_value(OUTCOME) == Some(UNKNOWN)
}

/// An answer that is not in the protocol.
pub(crate) fn not_protocol(command: &str, what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, format!("{command}: {}", what.into()))
        .in_backend(BACKEND)
        .with("command", command)
        .hint("check that the address is that of CloudStack's API, usually ending in /client/api")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(code: u16, text: &str) -> Error {
        let body = json!({"errorcode": code, "cserrorcode": 9999, "errortext": text});
        ApiError::read(&body).unwrap().into_error("deployVirtualMachine")
    }

    #[test]
    fn codes_become_kinds() {
        let cases = [
            (401, "unable to verify user credentials", ErrorKind::Unauthenticated),
            (431, "Unable to find template with id=7", ErrorKind::NotFound),
            (431, "A key pair with name 'a' already exists.", ErrorKind::AlreadyExists),
            (431, "Invalid value for zoneid", ErrorKind::InvalidConfig),
            (432, "unknown", ErrorKind::Unsupported),
            (531, "no", ErrorKind::PermissionDenied),
            (532, "limit", ErrorKind::QuotaExceeded),
            (533, "no", ErrorKind::QuotaExceeded),
            (534, "no", ErrorKind::Unavailable),
            (536, "in use", ErrorKind::Conflict),
            (530, "Internal error", ErrorKind::Unexpected),
            (530, "This volume is already attached to a VM.", ErrorKind::Conflict),
            (
                431,
                "VolumeId: 7 is not in Ready state but Allocated. Cannot take snapshot.",
                ErrorKind::Conflict,
            ),
        ];
        for (code, text, kind) in cases {
            assert_eq!(error(code, text).kind(), kind, "{code} {text}");
        }
    }

    #[test]
    fn a_limit_says_when_to_come_back() {
        let error = error(
            429,
            "The given user has reached his/her account api limit, please retry after [812] ms.",
        );
        assert_eq!(error.retry_after(), Some(Duration::from_millis(812)));
        assert_eq!(error.context_value("errorcode"), Some("429"));
    }

    #[test]
    fn what_is_not_an_error_is_none() {
        assert_eq!(ApiError::read(&json!({"count": 1})), None);
        let old = ApiError::read(&json!({"errorcode": "431", "errortext": "x"})).unwrap();
        assert_eq!((old.code, old.detail), (431, None));
    }
}
