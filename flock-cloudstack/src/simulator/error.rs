//! What the simulator answers when it refuses, in CloudStack's codes.

use std::fmt::Display;

/// A refusal: HTTP status and `errorcode`, `cserrorcode`, and the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) code: u16,
    /// Absent on 401.
    pub(super) detail: Option<u16>,
    pub(super) text: String,
}

/// `cserrorcode` of a parameter that is wrong.
const INVALID_PARAMETER: u16 = 4350;
/// `cserrorcode` of what has none of its own.
const GENERIC: u16 = 4250;
/// `cserrorcode` of an error that a command gave its code itself.
const BY_COMMAND: u16 = 9999;

/// What those who are no administrators are told instead of the reason.
const CANNED: &str = "Internal error executing command, please contact your system administrator";

impl ApiError {
    /// 431: a parameter is wrong.
    pub(super) fn parameter(text: impl Into<String>) -> Self {
        Self { code: 431, detail: Some(INVALID_PARAMETER), text: text.into() }
    }

    /// 431: a parameter is missing.
    pub(super) fn missing(command: &str, parameter: &str) -> Self {
        let command = command.to_ascii_lowercase();
        let text =
            format!("Unable to execute API command {command} due to missing parameter {parameter}");
        Self { code: 431, detail: Some(BY_COMMAND), text }
    }

    /// 431: an id that is none, or of nothing.
    pub(super) fn no_entity(command: &str, parameter: &str, value: impl Display) -> Self {
        let command = command.to_ascii_lowercase();
        let text = format!(
            "Unable to execute API command {command} due to invalid value. Invalid parameter \
             {parameter} value={value} due to incorrect long value format, or entity does not \
             exist or due to incorrect parameter annotation for the field in api cmd class."
        );
        Self { code: 431, detail: Some(BY_COMMAND), text }
    }

    /// 401: who asks is not known, or what is asked is not.
    pub(super) fn unverified() -> Self {
        let text = "unable to verify user credentials and/or request signature";
        Self { code: 401, detail: None, text: text.to_owned() }
    }

    /// 401: the role does not have the command.
    pub(super) fn not_for_role(command: &str) -> Self {
        let text = format!(
            "The given command '{command}' either does not exist, is not available for user, or \
             not available from ip address"
        );
        Self { code: 401, detail: None, text }
    }

    /// 531: somebody else's.
    pub(super) fn denied(text: impl Into<String>) -> Self {
        Self { code: 531, detail: Some(4365), text: text.into() }
    }

    /// 532: a limit of the account.
    pub(super) fn account_limit(text: impl Into<String>) -> Self {
        Self { code: 532, detail: Some(4280), text: text.into() }
    }

    /// 535: a limit of the account, met while something is allotted.
    pub(super) fn allocation(text: impl Into<String>) -> Self {
        Self { code: 535, detail: Some(4370), text: text.into() }
    }

    /// 533: no host has room.
    pub(super) fn capacity(text: impl Into<String>) -> Self {
        Self { code: 533, detail: Some(4310), text: text.into() }
    }

    /// 536: something uses it.
    pub(super) fn in_use(text: impl Into<String>) -> Self {
        Self { code: 536, detail: Some(BY_COMMAND), text: text.into() }
    }

    /// 530: anything else. Also what a job says of a parameter or a state,
    /// since the code of such an error does not survive the way into a job.
    pub(super) fn internal(text: impl Into<String>) -> Self {
        Self { code: 530, detail: Some(GENERIC), text: text.into() }
    }

    /// Another code.
    pub(super) fn with_code(code: u16, text: impl Into<String>) -> Self {
        let detail = (code != 401).then_some(BY_COMMAND);
        Self { code, detail, text: text.into() }
    }

    /// This error as a job reports it.
    pub(super) fn in_job(mut self) -> Self {
        if matches!(self.code, 431 | 531) {
            self.code = 530;
        }
        self
    }

    /// This error as one who is no administrator sees it.
    pub(super) fn for_user(mut self) -> Self {
        if matches!(self.code, 530 | 533 | 534) {
            CANNED.clone_into(&mut self.text);
        }
        self
    }
}
