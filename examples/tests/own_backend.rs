//! flock's conformance suite on the driver of the example `own_backend`.

#[path = "../own_backend/driver.rs"]
mod driver;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use driver::DirectoryVolumes;
use flock_core::conformance::volume_driver::{Data, Subject, SuiteOptions, suite};
use flock_core::conformance::{Fixture, main as run};
use flock_core::{Error, ErrorKind, NodeId, Result, VolumeDriver, VolumeId};

/// Makes a root of its own for every case.
struct Directories;

#[async_trait]
impl Fixture for Directories {
    type Subject = Subject;

    async fn set_up(&self) -> Result<Subject> {
        let root = tempfile::tempdir().map_err(|error| {
            Error::new(ErrorKind::Unexpected, "no temporary directory").caused_by(error)
        })?;
        let nodes = ["one", "two"].map(NodeId::new);
        for node in &nodes {
            let path = root.path().join("nodes").join(node.as_str());
            std::fs::create_dir_all(&path).map_err(|error| Error::io("create", &path, error))?;
        }
        let ours = Arc::new(DirectoryVolumes::new(root.path(), "ours"));
        let theirs = Arc::new(DirectoryVolumes::new(root.path(), "theirs"));
        Ok(Subject::new(ours, "ours", nodes, "ours/none", "none")
            .with_foreign(theirs, "theirs")
            .with_data(Links { root }))
    }
}

/// Reads and writes through the links that the nodes have. Holds the root.
struct Links {
    root: tempfile::TempDir,
}

impl Links {
    fn file(&self, volume: &VolumeId, node: &NodeId) -> PathBuf {
        let link = volume.as_str().replace('/', ".");
        self.root.path().join("nodes").join(node.as_str()).join(link).join("file")
    }
}

#[async_trait]
impl Data for Links {
    async fn write(&self, volume: &VolumeId, node: &NodeId, bytes: &[u8]) -> Result<()> {
        let path = self.file(volume, node);
        std::fs::write(&path, bytes).map_err(|error| Error::io("write", &path, error))
    }

    async fn read(&self, volume: &VolumeId, node: &NodeId) -> Result<Vec<u8>> {
        let path = self.file(volume, node);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }
}

fn main() -> ExitCode {
    let capabilities = DirectoryVolumes::new("/", "ours").capabilities();
    let options = SuiteOptions::new(capabilities).with_nodes(2).with_foreign().with_data();
    run([suite("directory", &options, Directories)])
}
