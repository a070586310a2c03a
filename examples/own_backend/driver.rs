//! A volume driver whose volumes are directories under one root.
//!
//! `ROOT/NAMESPACE/NAME.json` says what a volume is, `ROOT/NAMESPACE/NAME/`
//! holds its data, and a node that has it sees it as a symbolic link at
//! `ROOT/nodes/NODE/NAMESPACE.NAME`. A directory below `ROOT/nodes` is a node.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use flock_core::backend::check_options;
use flock_core::volume_driver::{
    AttachOptions, Attachment, Snapshot, SnapshotSpec, Volume, VolumeCapabilities, VolumeSpec,
    VolumeStatus,
};
use flock_core::{
    Context, Endpoint, Error, ErrorKind, Health, ListFilter, NodeId, Result, SnapshotId,
    VolumeDriver, VolumeId,
};

/// Volumes of one namespace.
#[derive(Clone)]
pub(crate) struct DirectoryVolumes {
    root: PathBuf,
    namespace: String,
    /// One change at a time. A driver for several processes locks a file.
    change: Arc<Mutex<()>>,
}

impl DirectoryVolumes {
    pub(crate) fn new(root: impl Into<PathBuf>, namespace: impl Into<String>) -> Self {
        Self { root: root.into(), namespace: namespace.into(), change: Arc::default() }
    }

    /// Runs blocking `work` on another thread. It ends there even if the
    /// caller stops waiting, so what it does is one whole step.
    async fn run<T: Send + 'static>(
        &self,
        ctx: &Context,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        ctx.check()?;
        let driver = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&driver));
        ctx.run(async {
            done.await.map_err(|error| {
                Error::new(ErrorKind::Unexpected, "the worker thread failed").caused_by(error)
            })?
        })
        .await
        .map_err(|error| error.in_backend("directory"))
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, name: &str) -> VolumeId {
        VolumeId::new(format!("{}/{name}", self.namespace))
    }

    fn data(&self, volume: &Volume) -> PathBuf {
        self.root.join(volume.id.as_str())
    }

    fn record(&self, id: &VolumeId) -> PathBuf {
        self.root.join(format!("{id}.json"))
    }

    fn link(&self, volume: &Volume, node: &NodeId) -> PathBuf {
        let name = format!("{}.{}", self.namespace, volume.name);
        self.root.join("nodes").join(node.as_str()).join(name)
    }

    /// The volume, if it is there and in this namespace.
    fn read(&self, id: &VolumeId) -> Result<Volume> {
        let missing = || {
            Error::new(ErrorKind::NotFound, format!("no volume '{id}'")).with("volume", id.as_str())
        };
        let ours = id.as_str().strip_prefix(&self.namespace).and_then(|id| id.strip_prefix('/'));
        ours.filter(|name| is_plain(name)).ok_or_else(missing)?;
        let path = self.record(id);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let message = format!("{} is not a volume's record", path.display());
                Error::new(ErrorKind::InvalidData, message).caused_by(error)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }

    /// Replaces the record in one step: whoever reads sees the old or the new.
    fn write(&self, volume: &Volume) -> Result<()> {
        let path = self.record(&volume.id);
        let new = path.with_extension("new");
        let bytes = serde_json::to_vec(volume).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "a volume cannot be written down").caused_by(error)
        })?;
        fs::create_dir_all(self.root.join(&self.namespace))
            .and_then(|()| fs::write(&new, bytes))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|error| Error::io("write", &path, error))
    }

    fn create_now(&self, spec: &VolumeSpec) -> Result<Volume> {
        let _one_at_a_time = self.lock();
        let id = self.id(&spec.name);
        let mut volume = match self.read(&id) {
            Ok(volume) if volume.owner != spec.owner => {
                let message = format!("another request has made volume '{}'", spec.name);
                return Err(Error::new(ErrorKind::AlreadyExists, message));
            }
            Ok(volume) => volume,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let (owner, status) = (spec.owner.clone(), VolumeStatus::Creating);
                Volume::new(id, &spec.name, owner, spec.size, status)
            }
            Err(error) => return Err(error),
        };
        if volume.status == VolumeStatus::Ready {
            return Ok(volume);
        }
        // Should the program end in between, the record says whose it is, and
        // the same request finishes it.
        self.write(&volume)?;
        let data = self.data(&volume);
        fs::create_dir_all(&data).map_err(|error| Error::io("create", &data, error))?;
        volume.status = VolumeStatus::Ready;
        self.write(&volume)?;
        Ok(volume)
    }

    fn list_now(&self, filter: &ListFilter) -> Result<Vec<Volume>> {
        let directory = self.root.join(&self.namespace);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("list", &directory, error)),
        };
        let mut volumes = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| Error::io("list", &directory, error))?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            let (Some(name), true) = (name, path.extension().is_some_and(|ext| ext == "json"))
            else {
                continue;
            };
            match self.read(&self.id(name)) {
                Ok(volume) if filter.matches(&volume.owner) => volumes.push(volume),
                Ok(_) => {}
                // Destroyed since the directory was read.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    fn attach_now(
        &self,
        id: &VolumeId,
        node: &NodeId,
        options: &AttachOptions,
    ) -> Result<Attachment> {
        let _one_at_a_time = self.lock();
        let mut volume = self.read(id)?;
        if !is_plain(node.as_str()) || !self.root.join("nodes").join(node.as_str()).is_dir() {
            let message = format!("no node '{node}'");
            return Err(Error::new(ErrorKind::NotFound, message).with("node", node.as_str()));
        }
        if let Some(attachment) = volume.attachments.iter().find(|at| at.node == *node) {
            return Ok(attachment.clone());
        }
        if volume.status != VolumeStatus::Ready {
            return Err(Error::new(ErrorKind::Conflict, format!("volume '{id}' is not ready")));
        }
        if let Some(other) = volume.attachments.first().map(|attachment| attachment.node.clone()) {
            if !options.take_over {
                let message = format!("volume '{id}' is attached to '{other}'");
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            self.unlink(&volume, &other)?;
        }
        let link = self.link(&volume, node);
        self.unlink(&volume, node)?;
        std::os::unix::fs::symlink(self.data(&volume), &link)
            .map_err(|error| Error::io("link", &link, error))?;
        let mut attachment = Attachment::new(node.clone());
        attachment.path = Some(link);
        volume.attachments = vec![attachment.clone()];
        self.write(&volume)?;
        Ok(attachment)
    }

    fn detach_now(&self, id: &VolumeId, node: &NodeId) -> Result<()> {
        let _one_at_a_time = self.lock();
        let mut volume = self.read(id)?;
        if !volume.attachments.iter().any(|attachment| attachment.node == *node) {
            let message = format!("volume '{id}' is not attached to '{node}'");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        self.unlink(&volume, node)?;
        volume.attachments.clear();
        self.write(&volume)
    }

    fn unlink(&self, volume: &Volume, node: &NodeId) -> Result<()> {
        let link = self.link(volume, node);
        gone(&link, fs::remove_file(&link))
    }

    fn destroy_now(&self, id: &VolumeId) -> Result<()> {
        let _one_at_a_time = self.lock();
        let mut volume = self.read(id)?;
        if let Some(attachment) = volume.attachments.first() {
            let message = format!("volume '{id}' is attached to '{}'", attachment.node);
            return Err(Error::new(ErrorKind::Conflict, message).hint("detach it first"));
        }
        volume.status = VolumeStatus::Deleting;
        self.write(&volume)?;
        // The record goes last: until then it can be destroyed again.
        let (data, record) = (self.data(&volume), self.record(id));
        gone(&data, fs::remove_dir_all(&data))?;
        gone(&record, fs::remove_file(&record))
    }
}

/// What is gone already has been removed.
fn gone(path: &Path, removed: io::Result<()>) -> Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Whether a name can be a part of a path as it is.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.chars().all(plain)
}

fn no_snapshots() -> Error {
    Error::new(ErrorKind::Unsupported, "directories have no snapshots")
}

#[async_trait]
impl VolumeDriver for DirectoryVolumes {
    fn name(&self) -> &str {
        "directory"
    }

    fn capabilities(&self) -> VolumeCapabilities {
        let mut capabilities = VolumeCapabilities::default();
        capabilities.take_over = true;
        capabilities
    }

    async fn check(&self, ctx: &Context) -> Result<Health> {
        self.run(ctx, |driver| {
            let root = &driver.root;
            fs::read_dir(root).map_err(|error| Error::io("list", root, error))?;
            let endpoint = Endpoint::healthy(root.display().to_string(), None);
            Ok(Health::new("directory", vec![endpoint]))
        })
        .await
    }

    async fn create(&self, ctx: &Context, spec: &VolumeSpec) -> Result<Volume> {
        spec.validate(&self.capabilities())?;
        spec.owner.require_namespace(&self.namespace)?;
        check_options(&spec.options, &[])?;
        if !is_plain(&spec.name) {
            let message = format!("'{}' has more than letters, digits, '-' and '_'", spec.name);
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        let spec = spec.clone();
        self.run(ctx, move |driver| driver.create_now(&spec)).await
    }

    async fn list(&self, ctx: &Context, filter: &ListFilter) -> Result<Vec<Volume>> {
        let filter = filter.clone();
        self.run(ctx, move |driver| driver.list_now(&filter)).await
    }

    async fn get(&self, ctx: &Context, volume: &VolumeId) -> Result<Volume> {
        let id = volume.clone();
        self.run(ctx, move |driver| driver.read(&id)).await
    }

    async fn attach(
        &self,
        ctx: &Context,
        volume: &VolumeId,
        node: &NodeId,
        options: &AttachOptions,
    ) -> Result<Attachment> {
        options.validate(&self.capabilities())?;
        let (id, node, options) = (volume.clone(), node.clone(), options.clone());
        self.run(ctx, move |driver| driver.attach_now(&id, &node, &options)).await
    }

    async fn detach(&self, ctx: &Context, volume: &VolumeId, node: &NodeId) -> Result<()> {
        let (id, node) = (volume.clone(), node.clone());
        self.run(ctx, move |driver| driver.detach_now(&id, &node)).await
    }

    async fn resize(&self, ctx: &Context, volume: &VolumeId, size: u64) -> Result<Volume> {
        let found = self.get(ctx, volume).await?;
        self.capabilities().resized(found.size, size, !found.attachments.is_empty())?;
        Ok(found)
    }

    async fn snapshot(
        &self,
        _ctx: &Context,
        _volume: &VolumeId,
        _spec: &SnapshotSpec,
    ) -> Result<Snapshot> {
        Err(no_snapshots())
    }

    async fn list_snapshots(
        &self,
        _ctx: &Context,
        _volume: Option<&VolumeId>,
        _filter: &ListFilter,
    ) -> Result<Vec<Snapshot>> {
        Err(no_snapshots())
    }

    async fn delete_snapshot(&self, _ctx: &Context, _snapshot: &SnapshotId) -> Result<()> {
        Err(no_snapshots())
    }

    async fn destroy(&self, ctx: &Context, volume: &VolumeId) -> Result<()> {
        let id = volume.clone();
        self.run(ctx, move |driver| driver.destroy_now(&id)).await
    }
}
