//! The blocking side of a download: an unfinished file in the cache and the
//! hash of what is in it.

use std::io::{Read, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::cache::{Cache, CacheKey, CacheLock, Partial};
use crate::rootfs::checksum::Checksum;
use crate::{Context, Error, ErrorKind, Result};

/// How much of a file's start is kept to see what it is.
const HEAD: usize = 512;

/// What identifies the bytes behind a URL (RFC 9110, section 8.8).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validators {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    /// Whether `last_modified` is old enough to tell two versions apart
    /// (section 8.8.2.2).
    #[serde(default)]
    pub(super) strong_date: bool,
    /// The size in bytes.
    pub(super) total: Option<u64>,
}

impl Validators {
    /// What goes into `If-Range`: a strong tag, else a strong date.
    pub(super) fn if_range(&self) -> Option<&str> {
        match &self.etag {
            Some(etag) => Some(etag.as_str()).filter(|etag| !etag.starts_with("W/")),
            None => self.last_modified.as_deref().filter(|_| self.strong_date),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Note {
    #[serde(flatten)]
    validators: Validators,
    boot: Option<String>,
}

/// An unfinished download. Dropped, it stays to be continued.
pub(super) struct Store {
    partial: Partial,
    hash: Sha256,
    head: Vec<u8>,
    validators: Validators,
    /// Whether its bytes came by several requests.
    pub(super) continued: bool,
    // After `partial`, so that whoever waits for the lock finds it closed.
    _lock: CacheLock,
}

impl Store {
    /// Opens the unfinished file of this key and reads what is there.
    ///
    /// With `verified`, when the hash will be compared in the end, whatever
    /// is there is continued. Otherwise only what has a validator, and was
    /// written since this machine was started: a crash of the machine can
    /// leave a file that is long enough but holds holes.
    pub(super) fn open(
        cache: &Cache,
        key: &CacheKey,
        lock: CacheLock,
        verified: bool,
        ctx: &Context,
    ) -> Result<Self> {
        let partial = cache.partial(key)?;
        let note = partial.note()?.and_then(|note| serde_json::from_str::<Note>(&note).ok());
        let trusted = note.as_ref().is_some_and(|note| {
            note.validators.if_range().is_some() && (verified || note.boot == boot_id())
        });
        let validators = note.map(|note| note.validators).unwrap_or_default();
        let continued = !partial.is_empty();
        let (hash, head) = (Sha256::new(), Vec::new());
        let mut store = Self { partial, hash, head, validators, continued, _lock: lock };
        if trusted || verified {
            store.read_back(ctx)?;
        } else {
            store.restart()?;
        }
        Ok(store)
    }

    fn read_back(&mut self, ctx: &Context) -> Result<()> {
        let mut reader = self.partial.reader()?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            ctx.check()?;
            let read = reader.read(&mut buffer).map_err(|source| {
                Error::new(ErrorKind::Unexpected, "cannot read an unfinished download")
                    .caused_by(source)
            })?;
            if read == 0 {
                return Ok(());
            }
            self.take_in(&buffer[..read]);
        }
    }

    fn take_in(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        let missing = HEAD.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
    }

    pub(super) fn len(&self) -> u64 {
        self.partial.len()
    }

    /// The first bytes of the file.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    pub(super) fn validators(&self) -> &Validators {
        &self.validators
    }

    /// Throws away what is there.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.hash = Sha256::new();
        self.head.clear();
        self.validators = Validators::default();
        self.continued = false;
        self.partial.restart()
    }

    /// Begins anew with the bytes that these validators stand for.
    pub(super) fn begin(&mut self, validators: Validators) -> Result<()> {
        self.restart()?;
        let note = Note { validators: validators.clone(), boot: boot_id() };
        let note = serde_json::to_string(&note).map_err(|source| {
            Error::new(ErrorKind::Unexpected, "cannot write down what is downloaded")
                .caused_by(source)
        })?;
        self.validators = validators;
        self.partial.set_note(&note)
    }

    /// Appends what comes through the channel until it closes. Gives the
    /// store back in any case.
    pub(super) fn append<B: AsRef<[u8]>>(
        mut self,
        mut chunks: mpsc::Receiver<B>,
        limit: u64,
    ) -> (Self, Result<()>) {
        while let Some(chunk) = chunks.blocking_recv() {
            let bytes = chunk.as_ref();
            if self.len().saturating_add(bytes.len() as u64) > limit {
                return (self, Err(too_large(limit)));
            }
            let before = self.len();
            if let Err(error) = self.partial.write_all(bytes) {
                let error = Error::io("write", self.partial.path(), error)
                    .hint("what was received so far is kept; the next run goes on from there");
                // What was written of the chunk is not in the hash.
                let cut = self.partial.truncate(before).or_else(|_| self.restart());
                return match cut {
                    Ok(()) => (self, Err(error)),
                    Err(cut) => (self, Err(error.with("cut", cut.to_string()))),
                };
            }
            self.take_in(bytes);
        }
        (self, Ok(()))
    }

    /// The hash of what is there.
    pub(super) fn sha256(&self) -> Checksum {
        Checksum::from_bytes(self.hash.clone().finalize().into())
    }

    /// Puts the file into the cache under its hash.
    pub(super) fn commit(self) -> Result<PathBuf> {
        let key = CacheKey::sha256(&self.sha256().hex())?;
        self.partial.commit_as(&key)
    }

    /// Removes the file.
    pub(super) fn discard(self) -> Result<()> {
        self.partial.discard()
    }
}

pub(super) fn too_large(limit: u64) -> Error {
    Error::new(ErrorKind::QuotaExceeded, format!("the download is larger than {limit} bytes"))
        .with("limit", limit.to_string())
        .hint("if that is right raise the limit, which `build.max_size` in config.yaml sets")
}

/// Changes with each start of the machine, where the system tells it.
fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}
