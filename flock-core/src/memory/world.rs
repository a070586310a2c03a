//! What the backends of one world share: its nodes, images and volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::image_builder::{Image, ImageStatus};
use crate::provisioner::{Node, NodeStatus};
use crate::volume_driver::{Snapshot, Volume, VolumeStatus};
use crate::{Error, ErrorKind, ImageId, NodeId, Owner, Result, SnapshotId, VolumeId};

/// A status that becomes another one by itself at some time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase<S> {
    now: S,
    next: Option<(Instant, S)>,
}

impl<S: Copy> Phase<S> {
    pub(super) fn settled(now: S) -> Self {
        Self { now, next: None }
    }

    pub(super) fn towards(now: S, at: Instant, then: S) -> Self {
        Self { now, next: Some((at, then)) }
    }

    pub(super) fn current(&self) -> S {
        match self.next {
            Some((at, then)) if Instant::now() >= at => then,
            _ => self.now,
        }
    }

    /// When it settles; now where it has.
    pub(super) fn settles_at(&self) -> Instant {
        self.next.map_or_else(Instant::now, |(at, _)| at)
    }
}

#[derive(Debug)]
pub(super) struct NodeRecord {
    pub(super) node: Node,
    pub(super) phase: Phase<NodeStatus>,
}

#[derive(Debug)]
pub(super) struct ImageRecord {
    pub(super) image: Image,
    pub(super) phase: Phase<ImageStatus>,
}

#[derive(Debug)]
pub(super) struct VolumeRecord {
    pub(super) volume: Volume,
    pub(super) phase: Phase<VolumeStatus>,
    /// Whether it was never attached and holds nothing.
    pub(super) is_empty: bool,
    pub(super) data: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct SnapshotRecord {
    pub(super) snapshot: Snapshot,
    /// The order they were made in.
    pub(super) number: u64,
    pub(super) data: Vec<u8>,
}

impl NodeRecord {
    pub(super) fn view(&self) -> Node {
        Node { status: self.phase.current(), ..self.node.clone() }
    }
}

impl ImageRecord {
    pub(super) fn view(&self) -> Image {
        Image { status: self.phase.current(), ..self.image.clone() }
    }
}

impl VolumeRecord {
    pub(super) fn view(&self) -> Volume {
        Volume { status: self.phase.current(), ..self.volume.clone() }
    }
}

/// Nodes, images and volumes of all namespaces.
#[derive(Debug, Default)]
pub(super) struct World(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    numbers: u64,
    pub(super) nodes: BTreeMap<NodeId, NodeRecord>,
    pub(super) images: BTreeMap<ImageId, ImageRecord>,
    pub(super) volumes: BTreeMap<VolumeId, VolumeRecord>,
    pub(super) snapshots: BTreeMap<SnapshotId, SnapshotRecord>,
    pub(super) hosts_down: BTreeSet<String>,
}

impl World {
    /// The state, for one step. A panic in another step leaves it as usable
    /// as any half-failed operation does.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A number that no other thing in this world has.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(super) fn node(&mut self, namespace: &str, id: &NodeId) -> Result<&mut NodeRecord> {
        let found = self.nodes.get_mut(id);
        found
            .filter(|record| ours(&record.node.owner, namespace))
            .ok_or_else(|| missing("node", id.as_str()))
    }

    pub(super) fn image(&mut self, namespace: &str, id: &ImageId) -> Result<&mut ImageRecord> {
        let found = self.images.get_mut(id);
        found
            .filter(|record| ours(&record.image.owner, namespace))
            .ok_or_else(|| missing("image", id.as_str()))
    }

    pub(super) fn volume(&mut self, namespace: &str, id: &VolumeId) -> Result<&mut VolumeRecord> {
        let found = self.volumes.get_mut(id);
        found
            .filter(|record| ours(&record.volume.owner, namespace))
            .ok_or_else(|| missing("volume", id.as_str()))
    }

    pub(super) fn snapshot(&self, namespace: &str, id: &SnapshotId) -> Result<&SnapshotRecord> {
        let found = self.snapshots.get(id);
        found
            .filter(|record| ours(&record.snapshot.owner, namespace))
            .ok_or_else(|| missing("snapshot", id.as_str()))
    }

    /// The volumes attached to a node.
    pub(super) fn volumes_at(&self, node: &NodeId) -> impl Iterator<Item = &Volume> {
        let volumes = self.volumes.values().map(|record| &record.volume);
        volumes.filter(move |volume| volume.attachments.iter().any(|at| at.node == *node))
    }
}

fn ours(owner: &Owner, namespace: &str) -> bool {
    owner.namespace == namespace
}

fn missing(what: &'static str, id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no {what} '{id}'"))
        .with(what, id)
        .hint(format!("listing the {what}s shows those there are"))
}

pub(super) fn taken(what: &'static str, name: &str, id: &str) -> Error {
    let message = format!("another request has made a {what} named '{name}'");
    Error::new(ErrorKind::AlreadyExists, message).with(what, id)
}
