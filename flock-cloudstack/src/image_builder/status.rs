//! What CloudStack's words about a template mean.
//!
//! The words are those of `TemplateJoinDaoImpl` and
//! `VMTemplateStorageResourceAssoc.Status` of CloudStack 4.22; older versions
//! have fewer of them, and no states of downloads.

use flock_core::image_builder::ImageStatus;
use flock_core::{Error, ErrorKind};

use crate::api::Template;
use crate::error::BACKEND;

/// How far a template is in one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Virtual machines can be made from it.
    Ready,
    /// CloudStack is on it; of a download, so many percent are there.
    Working(Option<u64>),
    /// CloudStack waits for the upload to begin.
    NotUploaded,
    /// It is being uploaded, or was and is being looked at.
    Uploading,
    /// Words that are not known. What fails says why in words of its own, so
    /// this is a failure if it stays.
    Unknown(String),
    /// It will not become ready.
    Failed(String),
}

impl State {
    pub(super) fn of(template: &Template) -> Self {
        if template.is_ready {
            return Self::Ready;
        }
        let says = template.status.trim();
        let broken = |state: &str| state.ends_with("_ERROR") || state == "ABANDONED";
        if let Some(copy) = template.download_details.iter().find(|copy| broken(&copy.state)) {
            return Self::Failed(if says.is_empty() { &copy.state } else { says }.to_owned());
        }
        match says {
            "NotUploaded" => Self::NotUploaded,
            "UploadInProgress" => Self::Uploading,
            "UploadError" | "UploadAbandoned" => Self::Failed(says.to_owned()),
            ""
            | "Processing"
            | "Installing Template"
            | "Download Complete"
            | "Successfully Installed"
            | "Bypassed Secondary Storage" => Self::Working(None),
            _ => match percent(says) {
                Some(percent) => Self::Working(Some(percent)),
                None => Self::Unknown(says.to_owned()),
            },
        }
    }

    /// The same in flock's terms, as far as one look can tell.
    pub(super) fn status(&self) -> ImageStatus {
        match self {
            Self::Ready => ImageStatus::Ready,
            Self::Working(_) | Self::NotUploaded | Self::Uploading => ImageStatus::Building,
            Self::Unknown(_) | Self::Failed(_) => ImageStatus::Failed,
        }
    }
}

/// The number of "12% Downloaded".
fn percent(says: &str) -> Option<u64> {
    says.strip_suffix("% Downloaded")?.trim().parse().ok()
}

/// How a template is described to people.
pub(super) fn words(template: &Template) -> String {
    match template.status.trim() {
        "" if template.is_ready => "ready".to_owned(),
        "" => "just registered".to_owned(),
        says => says.to_owned(),
    }
}

/// The error for a template that will not become ready in a zone.
pub(super) fn failed(name: &str, zone: &str, says: &str) -> Error {
    let (kind, hint) = meaning(says);
    let error = Error::new(kind, format!("template {name} failed in zone {zone}: {says}"))
        .in_backend(BACKEND)
        .with("zone", zone)
        .with("status", says);
    if hint.is_empty() { error } else { error.hint(hint) }
}

/// What CloudStack's reason means, by the words in it.
fn meaning(says: &str) -> (ErrorKind, &'static str) {
    let says = says.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| says.contains(word));
    if has(&["checksum"]) {
        return (ErrorKind::InvalidData, "what arrived is not what was sent; register it again");
    }
    if has(&["unsupported", "mismatch", "not a valid", "corrupt"]) {
        return (
            ErrorKind::InvalidData,
            "CloudStack looks at the file itself; check it with `flock image inspect`",
        );
    }
    if has(&["too large", "exceed", "limit", "no space"]) {
        return (
            ErrorKind::QuotaExceeded,
            "the operator's settings max.template.iso.size and the account's secondary storage \
             bound it",
        );
    }
    if has(&["uploaderror", "uploadabandoned", "closed prematurely", "upload_error", "abandoned"]) {
        return (ErrorKind::Unavailable, "the upload did not arrive whole; register it again");
    }
    let network = ["http server", "connect", "host", "stream closed", "timed out", "timeout"];
    if has(&network) || has(&["unreachable", "refused", "invalid url", "download_error"]) {
        return (
            ErrorKind::Unavailable,
            "the cloud's secondary storage VM must reach the address: look at the network, at \
             secstorage.allowed.internal.sites, and for https at the certificate",
        );
    }
    (ErrorKind::Unexpected, "the management server's log says more")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(status: &str, ready: bool, copies: &[&str]) -> State {
        let copies: Vec<_> = copies.iter().map(|state| json!({"downloadState": state})).collect();
        let template = json!({"status": status, "isready": ready, "downloaddetails": copies});
        State::of(&serde_json::from_value(template).unwrap())
    }

    #[test]
    fn words_have_their_meaning() {
        let unknown = "HTTP Server returned 404 (expected 200 OK) ";
        for (status, state_wanted, status_wanted) in [
            ("", State::Working(None), ImageStatus::Building),
            ("Processing", State::Working(None), ImageStatus::Building),
            ("7% Downloaded", State::Working(Some(7)), ImageStatus::Building),
            ("Installing Template", State::Working(None), ImageStatus::Building),
            ("NotUploaded", State::NotUploaded, ImageStatus::Building),
            ("UploadInProgress", State::Uploading, ImageStatus::Building),
            ("UploadError", State::Failed("UploadError".to_owned()), ImageStatus::Failed),
            (unknown, State::Unknown(unknown.trim().to_owned()), ImageStatus::Failed),
            ("% Downloaded", State::Unknown("% Downloaded".to_owned()), ImageStatus::Failed),
        ] {
            assert_eq!(state(status, false, &[]), state_wanted, "{status}");
            assert_eq!(state_wanted.status(), status_wanted, "{status}");
        }
    }

    #[test]
    fn states_of_copies_decide() {
        let failed = |text: &str| State::Failed(text.to_owned());
        assert_eq!(state("Stream closed", false, &["DOWNLOAD_ERROR"]), failed("Stream closed"));
        assert_eq!(state("", false, &["DOWNLOADED", "ABANDONED"]), failed("ABANDONED"));
        assert_eq!(state("", false, &["UPLOAD_IN_PROGRESS"]), State::Working(None));
        // One good copy is enough.
        assert_eq!(state("x", true, &["DOWNLOAD_ERROR", "DOWNLOADED"]), State::Ready);
    }

    #[test]
    fn reasons_become_kinds() {
        for (says, kind) in [
            ("HTTP Server returned 404 (expected 200 OK) ", ErrorKind::Unavailable),
            ("Download file size is too large", ErrorKind::QuotaExceeded),
            (
                "Template content is unsupported, or mismatch between selected format and \
                 template content. Found: ASCII text",
                ErrorKind::InvalidData,
            ),
            ("Failed post download script: checksum \"a\" didn't match", ErrorKind::InvalidData),
            ("Stream closed", ErrorKind::Unavailable),
            ("UploadAbandoned", ErrorKind::Unavailable),
            ("some day", ErrorKind::Unexpected),
        ] {
            assert_eq!(failed("web:1", "z", says).kind(), kind, "{says}");
        }
    }
}
