//! Templates and how far they are in each zone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use super::records::Tags;
use crate::simulator::format::Format;
use crate::simulator::options::Hypervisor;

/// A template: one id, in one or more zones.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) id: Uuid,
    /// `None` for those that the simulator brings.
    pub(crate) owner: Option<Uuid>,
    pub(crate) name: Arc<str>,
    pub(crate) text: Arc<str>,
    pub(crate) format: Format,
    pub(crate) hypervisor: Hypervisor,
    pub(crate) os_type: Uuid,
    pub(crate) flags: Flags,
    pub(crate) bits: i64,
    pub(crate) arch: String,
    pub(crate) tag: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) details: BTreeMap<String, String>,
    /// The accounts that may use it beside its owner.
    pub(crate) shared_with: BTreeSet<String>,
    pub(crate) created: i64,
    pub(crate) zones: BTreeMap<Uuid, ZoneCopy>,
    pub(crate) tags: Tags,
}

impl Template {
    /// What `templatetype` says.
    pub(crate) fn kind(&self) -> &'static str {
        if self.owner.is_some() { "USER" } else { "BUILTIN" }
    }
}

/// What a template is and may be used for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) public: bool,
    pub(crate) featured: bool,
    pub(crate) extractable: bool,
    pub(crate) password: bool,
    pub(crate) ssh_key: bool,
    pub(crate) hvm: bool,
    pub(crate) scalable: bool,
    pub(crate) direct_download: bool,
}

/// A template in one zone.
#[derive(Debug, Clone)]
pub(crate) struct ZoneCopy {
    pub(crate) created: i64,
    pub(crate) stage: Stage,
    /// Bytes of the file as it arrived, and of the disk in it.
    pub(crate) physical_size: u64,
    pub(crate) size: u64,
    /// Of the file as it arrived, in hexadecimal.
    pub(crate) sha256: Option<String>,
    /// Where the file is kept.
    pub(crate) file: Option<PathBuf>,
}

/// How far a template is in a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing has happened yet.
    Registered,
    /// So many per cent are there.
    Downloading(u8),
    /// All is there and being unpacked.
    Installing,
    /// It can be used.
    Ready,
    /// Its hosts fetch it themselves.
    Bypassed,
    /// The download came to nothing, for this reason.
    Failed(String),
    /// Announced, and not yet uploaded.
    NotUploaded,
    /// So many per cent are there.
    Uploading(u8),
    /// The upload came to nothing, for this reason.
    UploadError(String),
    /// Nobody uploaded it in time.
    UploadAbandoned,
}

impl Stage {
    /// What `status` says.
    pub(crate) fn status(&self) -> String {
        match self {
            Self::Registered => String::new(),
            Self::Downloading(percent) => format!("{percent}% Downloaded"),
            Self::Installing => "Installing Template".to_owned(),
            Self::Ready => "Download Complete".to_owned(),
            Self::Bypassed => "Bypassed Secondary Storage".to_owned(),
            Self::Failed(text) => text.clone(),
            Self::NotUploaded => "NotUploaded".to_owned(),
            Self::Uploading(_) => "UploadInProgress".to_owned(),
            Self::UploadError(text) if text.is_empty() => "UploadError".to_owned(),
            Self::UploadError(text) => text.clone(),
            Self::UploadAbandoned => "UploadAbandoned".to_owned(),
        }
    }

    /// What `downloaddetails[].downloadState` says.
    pub(crate) fn download_state(&self) -> &'static str {
        match self {
            Self::Registered => "NOT_DOWNLOADED",
            Self::Downloading(_) | Self::Installing => "DOWNLOAD_IN_PROGRESS",
            Self::Ready => "DOWNLOADED",
            Self::Bypassed => "BYPASSED",
            Self::Failed(_) => "DOWNLOAD_ERROR",
            Self::NotUploaded => "NOT_UPLOADED",
            Self::Uploading(_) => "UPLOAD_IN_PROGRESS",
            Self::UploadError(_) => "UPLOAD_ERROR",
            Self::UploadAbandoned => "ABANDONED",
        }
    }

    /// How many per cent have arrived.
    pub(crate) fn percent(&self) -> u8 {
        match self {
            Self::Downloading(percent) | Self::Uploading(percent) => *percent,
            Self::Installing | Self::Ready => 100,
            _ => 0,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self, Self::Ready | Self::Bypassed)
    }
}

impl ZoneCopy {
    /// A template that is on its way into a zone.
    pub(crate) fn new(created: i64, stage: Stage) -> Self {
        Self { created, stage, physical_size: 0, size: 0, sha256: None, file: None }
    }
}
