//! CloudStack's volumes as flock sees them.

use std::collections::HashSet;

use flock_core::Owner;
use flock_core::volume_driver::{Attachment, Volume, VolumeStatus};
use jiff::Timestamp;

use super::mark::Mark;
use crate::api;
use crate::api::lenient::moment;
use crate::tags;

/// One of our volumes.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) owner: Owner,
    pub(super) name: String,
    /// Whether it is finished: the tags are put last.
    pub(super) is_tagged: bool,
    volume: api::Volume,
}

impl Record {
    /// The volume, if it is one of this namespace.
    pub(super) fn read(namespace: &str, volume: api::Volume) -> Option<Self> {
        if volume.kind != "DATADISK" {
            return None;
        }
        if let Some(owner) = Owner::from_pairs(&volume.tags) {
            let name = volume.tags.get(tags::NAME).unwrap_or(&volume.name).clone();
            let is_ours = owner.namespace == namespace;
            return is_ours.then_some(Self { owner, name, is_tagged: true, volume });
        }
        let Mark { owner, name } = Mark::parse(&volume.name)?;
        let is_ours = owner.namespace == namespace;
        is_ours.then_some(Self { owner, name, is_tagged: false, volume })
    }

    pub(super) fn id(&self) -> &str {
        &self.volume.id
    }

    /// CloudStack's own name for it.
    pub(super) fn own_name(&self) -> &str {
        &self.volume.name
    }

    pub(super) fn state(&self) -> &str {
        &self.volume.state
    }

    /// The hypervisor that made it; `None` for one that was never attached.
    pub(super) fn hypervisor(&self) -> Option<&str> {
        self.volume.hypervisor.as_deref().filter(|name| *name != "None")
    }

    /// Whether it is at a node that is not stopped.
    pub(super) fn is_in_use(&self) -> bool {
        self.attachment().is_some()
            && self.volume.virtual_machine_state.as_deref() != Some("Stopped")
    }

    /// The size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.volume.size.unwrap_or(0)
    }

    /// How far it is. The states are those of `Volume.State` in CloudStack
    /// 4.22. `Allocated` is a volume that takes up no room until it is first
    /// attached, and as good as any other.
    pub(super) fn status(&self) -> VolumeStatus {
        match self.state() {
            "Creating" => VolumeStatus::Creating,
            "Destroy" | "Destroying" | "Expunging" | "Expunged" => VolumeStatus::Deleting,
            "Allocated" | "Ready" | "Uploaded" | "Migrating" | "Snapshotting"
            | "RevertSnapshotting" | "Resizing" | "Attaching" | "Copying" | "Restoring"
                if self.is_tagged =>
            {
                VolumeStatus::Ready
            }
            _ => VolumeStatus::Failed,
        }
    }

    pub(super) fn attachment(&self) -> Option<Attachment> {
        self.volume.virtual_machine_id.as_ref().map(Attachment::new)
    }

    /// What decides between volumes of the same name: the first one stays.
    pub(super) fn seniority(&self) -> (bool, Option<Timestamp>, &str) {
        (!self.is_tagged, moment(&self.volume.created), self.id())
    }

    pub(super) fn view(&self) -> Volume {
        let volume = &self.volume;
        let (id, owner) = (volume.id.as_str(), self.owner.clone());
        let mut view = Volume::new(id, &self.name, owner, self.size(), self.status());
        view.attachments.extend(self.attachment());
        let device = volume.device_id.filter(|_| volume.virtual_machine_id.is_some());
        let details = [
            ("zone", volume.zone_name.clone().or_else(|| volume.zone_id.clone())),
            ("disk_offering", volume.disk_offering_name.clone()),
            ("device_id", device.map(|number| number.to_string())),
        ];
        let known = details.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        view.details.extend(known);
        view
    }
}

/// Both lists, each volume once.
pub(super) fn merge(mut tagged: Vec<Record>, marked: Vec<Record>) -> Vec<Record> {
    let known: HashSet<_> = tagged.iter().map(|record| record.id().to_owned()).collect();
    tagged.extend(marked.into_iter().filter(|record| !known.contains(record.id())));
    tagged
}

#[cfg(test)]
mod tests {
    use flock_core::RequestId;
    use serde_json::json;

    use super::*;

    fn volume(name: &str, state: &str, tagged: Option<&str>) -> api::Volume {
        let owner = |namespace| Owner::new(namespace, "web", RequestId::random()).to_pairs();
        let mut tags: Vec<_> = tagged
            .map(owner)
            .into_iter()
            .flatten()
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        tags.push(json!({"key": "flock.name", "value": "data"}));
        serde_json::from_value(json!({
            "id": "7", "name": name, "type": "DATADISK", "state": state, "tags": tags,
            "created": "2021-10-04T08:41:23+0200",
        }))
        .unwrap()
    }

    #[test]
    fn tags_or_a_mark_make_a_volume_ours() {
        let owner = Owner::new("ours", "web", RequestId::random());
        let mark = Mark::new(&owner, "data").unwrap().to_string();
        let tagged = Record::read("ours", volume("data", "Allocated", Some("ours"))).unwrap();
        assert_eq!((tagged.name.as_str(), tagged.status()), ("data", VolumeStatus::Ready));
        let marked = Record::read("ours", volume(&mark, "Allocated", None)).unwrap();
        assert_eq!((marked.name.as_str(), marked.status()), ("data", VolumeStatus::Failed));
        assert_eq!(marked.owner, owner);
        assert!(tagged.seniority() < marked.seniority());
        for foreign in [
            volume("data", "Ready", None),
            volume("data", "Ready", Some("theirs")),
            volume(&mark, "Ready", Some("theirs")),
        ] {
            assert!(Record::read("ours", foreign).is_none());
        }
        let mut root = volume("data", "Ready", Some("ours"));
        root.kind = "ROOT".to_owned();
        assert!(Record::read("ours", root).is_none());
    }

    #[test]
    fn states_become_statuses() {
        for (state, status) in [
            ("Ready", VolumeStatus::Ready),
            ("Creating", VolumeStatus::Creating),
            ("Destroy", VolumeStatus::Deleting),
            ("UploadError", VolumeStatus::Failed),
        ] {
            let record = Record::read("ours", volume("data", state, Some("ours"))).unwrap();
            assert_eq!(record.status(), status, "{state}");
        }
    }

    #[test]
    fn times_are_compared_and_not_their_texts() {
        let (early, late) =
            (moment("2021-10-04T08:41:23+0200"), moment("2021-10-04T07:41:23+0000"));
        assert!(early.is_some() && early < late);
        assert_eq!(moment(""), None);
    }
}
