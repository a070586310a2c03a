//! What would be done, and what things would then be like.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::Operation;
use crate::image_builder::Image;
use crate::provisioner::Node;
use crate::volume_driver::{Snapshot, Volume};
use crate::{ImageId, NodeId, SnapshotId, VolumeId};

/// The steps of a dry run, in the order they would be taken.
///
/// Displayed as one numbered line per step. Clones are the same plan.
#[derive(Debug, Clone, Default)]
pub struct Plan(Arc<Mutex<Planned>>);

/// One change that a dry run did not make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// What would be asked of the backend.
    pub operation: Operation,
    /// Of what: the id of a thing that is there or planned, the name of one
    /// that would be made.
    pub target: String,
    /// The same for a person.
    pub summary: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.summary)
    }
}

impl Plan {
    /// The steps so far.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.lock().steps.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Planned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in (1..).zip(&self.lock().steps) {
            writeln!(f, "{number}. {step}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
pub(super) struct Planned {
    steps: Vec<Step>,
    numbers: u64,
    pub(super) nodes: Overlay<NodeId, Node>,
    pub(super) images: Overlay<ImageId, Image>,
    pub(super) volumes: Overlay<VolumeId, Volume>,
    pub(super) snapshots: Overlay<SnapshotId, Snapshot>,
}

impl Planned {
    pub(super) fn step(
        &mut self,
        operation: Operation,
        target: impl Into<String>,
        summary: impl Into<String>,
    ) {
        let (target, summary) = (target.into(), summary.into());
        self.steps.push(Step { operation, target, summary });
    }

    /// An id for a thing that would be made.
    pub(super) fn id(&mut self, what: &str) -> String {
        self.numbers += 1;
        format!("dry-run:{what}-{}", self.numbers)
    }
}

/// Things as they would be after the steps, where that differs from what the
/// backend says; `None` for what would be gone.
#[derive(Debug)]
pub(super) struct Overlay<I, T>(BTreeMap<I, Option<T>>);

impl<I, T> Default for Overlay<I, T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<I: Ord + Clone, T: Clone> Overlay<I, T> {
    /// What is planned for it; `None` for nothing.
    pub(super) fn find(&self, id: &I) -> Option<Option<T>> {
        self.0.get(id).cloned()
    }

    pub(super) fn is_gone(&self, id: &I) -> bool {
        matches!(self.0.get(id), Some(None))
    }

    pub(super) fn put(&mut self, id: I, thing: T) {
        self.0.insert(id, Some(thing));
    }

    pub(super) fn remove(&mut self, id: I) {
        self.0.insert(id, None);
    }

    pub(super) fn present(&self) -> impl Iterator<Item = &T> {
        self.0.values().flatten()
    }

    /// The backend's list as it would be, of the things that `wanted` keeps.
    pub(super) fn apply(
        &self,
        listed: Vec<T>,
        id: impl Fn(&T) -> &I,
        wanted: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let untouched = listed.into_iter().filter(|thing| !self.0.contains_key(id(thing)));
        untouched.chain(self.present().filter(|thing| wanted(thing)).cloned()).collect()
    }
}
