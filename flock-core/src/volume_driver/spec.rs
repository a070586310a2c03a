//! What is wanted of volumes, and what can be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Owner, Result, SnapshotId};

/// What a volume driver can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VolumeCapabilities {
    /// One volume can be attached to several nodes at once.
    pub attach_many: bool,
    /// [`AttachOptions::take_over`] is honoured.
    pub take_over: bool,
    /// [`AttachOptions::read_only`] is honoured.
    pub read_only: bool,
    /// Volumes can grow.
    pub grow: bool,
    /// Volumes can shrink.
    pub shrink: bool,
    /// Volumes can be resized while they are attached.
    pub resize_attached: bool,
    /// Snapshots can be made, listed and deleted.
    pub snapshots: bool,
    /// A volume that was never attached to a node, and so holds nothing, has
    /// snapshots too; without it, that is [`ErrorKind::Conflict`].
    pub snapshot_empty: bool,
    /// [`VolumeSpec::source`] is honoured.
    pub restore: bool,
    /// The smallest size in bytes.
    pub min_size: u64,
    /// The largest size in bytes; `None` where only the backend knows.
    pub max_size: Option<u64>,
    /// Sizes are rounded up to a multiple of this, in bytes; at least 1.
    pub size_unit: u64,
    /// The most volumes one node can have; `None` where only the backend
    /// knows.
    pub max_per_node: Option<u32>,
}

impl Default for VolumeCapabilities {
    /// Nothing but create, attach, detach and destroy, of any size.
    fn default() -> Self {
        Self {
            attach_many: false,
            take_over: false,
            read_only: false,
            grow: false,
            shrink: false,
            resize_attached: false,
            snapshots: false,
            snapshot_empty: false,
            restore: false,
            min_size: 1,
            max_size: None,
            size_unit: 1,
            max_per_node: None,
        }
    }
}

impl VolumeCapabilities {
    /// The size that a volume of `current` bytes gets when it is resized to
    /// `size` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a size out of bounds;
    /// [`ErrorKind::Unsupported`] for a change that is excluded;
    /// [`ErrorKind::Conflict`] if the volume has to be detached for it.
    pub fn resized(&self, current: u64, size: u64, attached: bool) -> Result<u64> {
        let size = self.round_size(size)?;
        let (able, verb) = match size.cmp(&current) {
            std::cmp::Ordering::Equal => return Ok(size),
            std::cmp::Ordering::Greater => (self.grow, "grow"),
            std::cmp::Ordering::Less => (self.shrink, "shrink"),
        };
        if !able {
            return Err(Error::new(ErrorKind::Unsupported, format!("volumes cannot {verb} here")));
        }
        if attached && !self.resize_attached {
            let message = "an attached volume cannot be resized here";
            return Err(Error::new(ErrorKind::Conflict, message).hint("detach it first"));
        }
        Ok(size)
    }

    /// Fails unless snapshots can be made.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`].
    pub fn require_snapshots(&self) -> Result<()> {
        if self.snapshots {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "volumes have no snapshots here"))
    }

    /// The size that a volume asked for with `size` bytes gets.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for a size out of bounds.
    pub fn round_size(&self, size: u64) -> Result<u64> {
        let max = self.max_size.unwrap_or(u64::MAX);
        let rounded = size.checked_next_multiple_of(self.size_unit.max(1));
        match rounded {
            Some(rounded) if size >= self.min_size && rounded <= max => Ok(rounded),
            _ => {
                let min = self.min_size;
                let message = format!("a volume of {size} bytes is not between {min} and {max}");
                Err(Error::new(ErrorKind::InvalidConfig, message))
            }
        }
    }
}

/// A volume wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VolumeSpec {
    /// The tag.
    pub owner: Owner,
    /// The name, unique in the namespace.
    pub name: String,
    /// The size in bytes; the backend rounds it up to its unit.
    pub size: u64,
    /// A snapshot whose data it starts with; empty otherwise.
    pub source: Option<SnapshotId>,
    /// Options that only this backend has, by the names it documents. An
    /// unknown one is [`ErrorKind::InvalidConfig`].
    pub options: BTreeMap<String, serde_json::Value>,
}

impl VolumeSpec {
    /// An empty volume of that name and size in bytes.
    pub fn new(owner: Owner, name: impl Into<String>, size: u64) -> Self {
        Self { owner, name: name.into(), size, source: None, options: BTreeMap::new() }
    }

    /// Sets [`source`](Self::source).
    #[must_use]
    pub fn with_source(mut self, source: impl Into<SnapshotId>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sets one of the [`options`](Self::options).
    #[must_use]
    pub fn with_option(
        mut self,
        name: impl Into<String>,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        self.options.insert(name.into(), value.into());
        self
    }

    /// Checks what can be checked without the backend, and answers with the
    /// size that the volume will have.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`]; [`ErrorKind::Unsupported`].
    pub fn validate(&self, capabilities: &VolumeCapabilities) -> Result<u64> {
        if self.name.is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "a volume needs a name"));
        }
        if self.source.is_some() && !capabilities.restore {
            let message = "volumes cannot be made from snapshots here";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        capabilities.round_size(self.size)
    }
}

/// How to attach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttachOptions {
    /// The node may only read it.
    pub read_only: bool,
    /// If it is attached to another node, it is detached there first, after
    /// what was written there has reached it where that node still answers.
    pub take_over: bool,
}

impl AttachOptions {
    /// Sets [`read_only`](Self::read_only).
    #[must_use]
    pub fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Sets [`take_over`](Self::take_over).
    #[must_use]
    pub fn with_take_over(mut self, take_over: bool) -> Self {
        self.take_over = take_over;
        self
    }

    /// Checks that nothing is asked for that `capabilities` excludes.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`].
    pub fn validate(&self, capabilities: &VolumeCapabilities) -> Result<()> {
        if self.read_only && !capabilities.read_only {
            let message = "volumes cannot be attached for reading only here";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if self.take_over && !capabilities.take_over {
            let message = "volumes cannot be taken away from the node that has them here";
            return Err(Error::new(ErrorKind::Unsupported, message)
                .hint("detach the volume from that node first"));
        }
        Ok(())
    }
}

/// A snapshot wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SnapshotSpec {
    /// The tag.
    pub owner: Owner,
    /// The name, unique among the volume's snapshots.
    pub name: String,
}

impl SnapshotSpec {
    /// A snapshot of that name.
    pub fn new(owner: Owner, name: impl Into<String>) -> Self {
        Self { owner, name: name.into() }
    }

    /// Checks what can be checked without the backend.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for an empty name;
    /// [`ErrorKind::Unsupported`].
    pub fn validate(&self, capabilities: &VolumeCapabilities) -> Result<()> {
        capabilities.require_snapshots()?;
        if self.name.is_empty() {
            return Err(Error::new(ErrorKind::InvalidConfig, "a snapshot needs a name"));
        }
        Ok(())
    }
}
