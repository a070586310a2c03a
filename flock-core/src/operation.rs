//! The operations of the three traits, by name.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// One operation of a backend.
///
/// Errors, plans, faults and time limits speak of operations by these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[non_exhaustive]
pub enum Operation {
    /// [`Provisioner::check`](crate::Provisioner::check).
    #[serde(rename = "node.check")]
    NodeCheck,
    /// [`Provisioner::deploy`](crate::Provisioner::deploy), the whole call.
    #[serde(rename = "node.deploy")]
    NodeDeploy,
    /// The making of one node within a deploy.
    #[serde(rename = "node.create")]
    NodeCreate,
    /// [`Provisioner::list`](crate::Provisioner::list).
    #[serde(rename = "node.list")]
    NodeList,
    /// [`Provisioner::get`](crate::Provisioner::get).
    #[serde(rename = "node.get")]
    NodeGet,
    /// [`Provisioner::start`](crate::Provisioner::start).
    #[serde(rename = "node.start")]
    NodeStart,
    /// [`Provisioner::stop`](crate::Provisioner::stop).
    #[serde(rename = "node.stop")]
    NodeStop,
    /// [`Provisioner::destroy`](crate::Provisioner::destroy).
    #[serde(rename = "node.destroy")]
    NodeDestroy,
    /// [`ImageBuilder::check`](crate::ImageBuilder::check).
    #[serde(rename = "image.check")]
    ImageCheck,
    /// [`ImageBuilder::build`](crate::ImageBuilder::build).
    #[serde(rename = "image.build")]
    ImageBuild,
    /// [`ImageBuilder::list`](crate::ImageBuilder::list).
    #[serde(rename = "image.list")]
    ImageList,
    /// [`ImageBuilder::get`](crate::ImageBuilder::get).
    #[serde(rename = "image.get")]
    ImageGet,
    /// [`ImageBuilder::delete`](crate::ImageBuilder::delete).
    #[serde(rename = "image.delete")]
    ImageDelete,
    /// [`VolumeDriver::check`](crate::VolumeDriver::check).
    #[serde(rename = "volume.check")]
    VolumeCheck,
    /// [`VolumeDriver::create`](crate::VolumeDriver::create).
    #[serde(rename = "volume.create")]
    VolumeCreate,
    /// [`VolumeDriver::list`](crate::VolumeDriver::list).
    #[serde(rename = "volume.list")]
    VolumeList,
    /// [`VolumeDriver::get`](crate::VolumeDriver::get).
    #[serde(rename = "volume.get")]
    VolumeGet,
    /// [`VolumeDriver::attach`](crate::VolumeDriver::attach).
    #[serde(rename = "volume.attach")]
    VolumeAttach,
    /// [`VolumeDriver::detach`](crate::VolumeDriver::detach).
    #[serde(rename = "volume.detach")]
    VolumeDetach,
    /// [`VolumeDriver::resize`](crate::VolumeDriver::resize).
    #[serde(rename = "volume.resize")]
    VolumeResize,
    /// [`VolumeDriver::destroy`](crate::VolumeDriver::destroy).
    #[serde(rename = "volume.destroy")]
    VolumeDestroy,
    /// [`VolumeDriver::snapshot`](crate::VolumeDriver::snapshot).
    #[serde(rename = "snapshot.create")]
    SnapshotCreate,
    /// [`VolumeDriver::list_snapshots`](crate::VolumeDriver::list_snapshots).
    #[serde(rename = "snapshot.list")]
    SnapshotList,
    /// [`VolumeDriver::delete_snapshot`](crate::VolumeDriver::delete_snapshot).
    #[serde(rename = "snapshot.delete")]
    SnapshotDelete,
}

/// How an operation behaves, as far as time limits care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationClass {
    /// Changes nothing and answers soon.
    Read,
    /// Changes something, and moves no large data for it.
    Change,
    /// May move whole images or a snapshot's data, or wait for machines to
    /// boot or to shut down.
    Long,
}

impl Operation {
    /// The name in errors, plans and logs, for example `volume.attach`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NodeCheck => "node.check",
            Self::NodeDeploy => "node.deploy",
            Self::NodeCreate => "node.create",
            Self::NodeList => "node.list",
            Self::NodeGet => "node.get",
            Self::NodeStart => "node.start",
            Self::NodeStop => "node.stop",
            Self::NodeDestroy => "node.destroy",
            Self::ImageCheck => "image.check",
            Self::ImageBuild => "image.build",
            Self::ImageList => "image.list",
            Self::ImageGet => "image.get",
            Self::ImageDelete => "image.delete",
            Self::VolumeCheck => "volume.check",
            Self::VolumeCreate => "volume.create",
            Self::VolumeList => "volume.list",
            Self::VolumeGet => "volume.get",
            Self::VolumeAttach => "volume.attach",
            Self::VolumeDetach => "volume.detach",
            Self::VolumeResize => "volume.resize",
            Self::VolumeDestroy => "volume.destroy",
            Self::SnapshotCreate => "snapshot.create",
            Self::SnapshotList => "snapshot.list",
            Self::SnapshotDelete => "snapshot.delete",
        }
    }

    /// What kind of work it is.
    #[must_use]
    pub fn class(self) -> OperationClass {
        match self {
            Self::NodeCheck
            | Self::NodeList
            | Self::NodeGet
            | Self::ImageCheck
            | Self::ImageList
            | Self::ImageGet
            | Self::VolumeCheck
            | Self::VolumeList
            | Self::VolumeGet
            | Self::SnapshotList => OperationClass::Read,
            Self::NodeDeploy
            | Self::NodeCreate
            | Self::NodeStart
            | Self::NodeStop
            | Self::ImageBuild
            | Self::VolumeCreate
            | Self::SnapshotCreate => OperationClass::Long,
            Self::NodeDestroy
            | Self::ImageDelete
            | Self::VolumeAttach
            | Self::VolumeDetach
            | Self::VolumeResize
            | Self::VolumeDestroy
            | Self::SnapshotDelete => OperationClass::Change,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_its_operation() {
        for operation in [Operation::NodeCreate, Operation::VolumeAttach, Operation::ImageBuild] {
            let json = serde_json::to_string(&operation).unwrap();
            assert_eq!(json, format!("\"{operation}\""));
            assert_eq!(serde_json::from_str::<Operation>(&json).unwrap(), operation);
        }
    }
}
