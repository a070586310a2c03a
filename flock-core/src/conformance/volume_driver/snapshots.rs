//! Snapshots, and volumes made from them.

use std::sync::Arc;

use super::super::subject::unless;
use super::super::{Failure, Fixture, Outcome, SuiteOn, ensure, expect_eq, expect_err};
use super::{Reasons, Subject};
use crate::volume_driver::{Snapshot, SnapshotSpec, Volume};
use crate::{Context, ErrorKind, ListFilter, Result, SnapshotId};

type S = Arc<Subject>;

pub(super) fn cases<F: Fixture<Subject = Subject>>(on: SuiteOn<F>, why: &Reasons) -> SuiteOn<F> {
    let can = &why.options.capabilities;
    let able = unless(can.snapshots, "volumes have no snapshots").or(if can.snapshot_empty {
        None
    } else {
        why.nodes(1)
    });
    let restores = able.or(unless(can.restore, "volumes are not made from snapshots"));
    let mut on = on
        .case_unless(able, "snapshot_shows", snapshot_shows)
        .case_unless(able, "snapshot_twice_is_the_same_snapshot", snapshot_twice)
        .case_unless(able, "snapshot_name_of_another_request_already_exists", snapshot_name_taken)
        .case_unless(able, "snapshot_without_a_name_is_refused", snapshot_without_a_name)
        .case_unless(able, "snapshot_of_unknown_is_not_found", snapshot_of_unknown)
        .case_unless(able, "snapshots_are_listed_oldest_first", snapshots_oldest_first)
        .case_unless(able, "snapshots_of_one_volume_are_its_own", snapshots_are_its_own)
        .case_unless(able, "snapshot_deleted_twice_is_not_found", snapshot_deleted_twice)
        .case_unless(restores, "volume_from_a_snapshot_is_ready", volume_from_a_snapshot)
        .case_unless(restores, "volume_from_a_gone_snapshot_is_not_found", volume_from_gone);
    if can.snapshots && !can.snapshot_empty {
        on = on.case("snapshot_of_an_empty_volume_is_a_conflict", snapshot_of_an_empty_volume);
    }
    if !can.snapshots {
        on = on.case("snapshots_are_unsupported", snapshots_are_unsupported);
    }
    if !can.restore {
        on = on.case("volume_from_a_snapshot_is_unsupported", from_a_snapshot_is_unsupported);
    }
    on
}

impl Subject {
    /// A volume that can have snapshots.
    async fn used(&self, name: &str) -> Result<Volume, Failure> {
        let volume = self.create(name).await?;
        if !self.driver.capabilities().snapshot_empty {
            self.attach(&volume, self.node()?).await?;
            self.detach(&volume, self.node()?).await?;
        }
        Ok(volume)
    }

    pub(super) async fn snapshot(&self, volume: &Volume, name: &str) -> Result<Snapshot> {
        let spec = SnapshotSpec::new(self.owner(), name);
        self.driver.snapshot(&Context::new(), &volume.id, &spec).await
    }

    async fn snapshots(&self, volume: Option<&Volume>) -> Result<Vec<Snapshot>> {
        let volume = volume.map(|volume| &volume.id);
        self.driver.list_snapshots(&Context::new(), volume, &ListFilter::all()).await
    }
}

async fn snapshot_shows(s: S) -> Outcome {
    let (volume, spec) = (s.used("data").await?, SnapshotSpec::new(s.owner(), "monday"));
    let snapshot = s.driver.snapshot(&Context::new(), &volume.id, &spec).await?;
    expect_eq(snapshot.name.as_str(), "monday", "its name")?;
    expect_eq(&snapshot.owner, &spec.owner, "its owner")?;
    expect_eq((&snapshot.volume, snapshot.size), (&volume.id, volume.size), "what it keeps")?;
    expect_eq(s.snapshots(Some(&volume)).await?, vec![snapshot.clone()], "its volume's list")?;
    expect_eq(s.snapshots(None).await?, vec![snapshot], "the list of all")
}

async fn snapshot_twice(s: S) -> Outcome {
    let (volume, spec) = (s.used("data").await?, SnapshotSpec::new(s.owner(), "monday"));
    let first = s.driver.snapshot(&Context::new(), &volume.id, &spec).await?;
    let second = s.driver.snapshot(&Context::new(), &volume.id, &spec).await?;
    expect_eq(&second, &first, "the second answer")?;
    expect_eq(s.snapshots(Some(&volume)).await?, vec![first], "snapshots listed")
}

async fn snapshot_name_taken(s: S) -> Outcome {
    let (volume, other) = (s.used("data").await?, s.used("other").await?);
    let first = s.snapshot(&volume, "monday").await?;
    let refused = s.snapshot(&volume, "monday").await;
    expect_err(refused, ErrorKind::AlreadyExists, "a snapshot of a name that is taken")?;
    expect_eq(s.snapshots(Some(&volume)).await?, vec![first], "snapshots listed")?;
    // Names are unique among one volume's snapshots only.
    s.snapshot(&other, "monday").await?;
    Ok(())
}

async fn snapshot_without_a_name(s: S) -> Outcome {
    let volume = s.used("data").await?;
    expect_err(s.snapshot(&volume, "").await, ErrorKind::InvalidConfig, "no name")?;
    ensure(s.snapshots(None).await?.is_empty(), "a snapshot was made")
}

async fn snapshot_of_unknown(s: S) -> Outcome {
    let (ctx, spec) = (Context::new(), SnapshotSpec::new(s.owner(), "monday"));
    let refused = s.driver.snapshot(&ctx, &s.unknown, &spec).await;
    expect_err(refused, ErrorKind::NotFound, "a snapshot of an unknown volume")?;
    let listed = s.driver.list_snapshots(&ctx, Some(&s.unknown), &ListFilter::all()).await;
    expect_err(listed, ErrorKind::NotFound, "the snapshots of an unknown volume").map(drop)
}

async fn snapshots_oldest_first(s: S) -> Outcome {
    let volume = s.used("data").await?;
    for name in ["z", "m", "a"] {
        s.snapshot(&volume, name).await?;
    }
    let snapshots = s.snapshots(Some(&volume)).await?;
    let names: Vec<_> = snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect();
    expect_eq(names, vec!["z", "m", "a"], "names listed")?;
    let filter = ListFilter::request(&snapshots[1].owner);
    let one = s.driver.list_snapshots(&Context::new(), Some(&volume.id), &filter).await?;
    expect_eq(one, vec![snapshots[1].clone()], "those of one request")
}

async fn snapshots_are_its_own(s: S) -> Outcome {
    let (a, b) = (s.used("a").await?, s.used("b").await?);
    let (of_a, of_b) = (s.snapshot(&a, "one").await?, s.snapshot(&b, "two").await?);
    expect_eq(s.snapshots(Some(&a)).await?, vec![of_a], "the first volume's")?;
    expect_eq(s.snapshots(Some(&b)).await?, vec![of_b], "the second volume's")
}

async fn snapshot_deleted_twice(s: S) -> Outcome {
    let (ctx, volume) = (Context::new(), s.used("data").await?);
    let snapshot = s.snapshot(&volume, "monday").await?;
    s.driver.delete_snapshot(&ctx, &snapshot.id).await?;
    ensure(s.snapshots(Some(&volume)).await?.is_empty(), "a deleted snapshot is listed")?;
    let again = s.driver.delete_snapshot(&ctx, &snapshot.id).await;
    expect_err(again, ErrorKind::NotFound, "the second delete").map(drop)
}

async fn volume_from_a_snapshot(s: S) -> Outcome {
    let volume = s.used("data").await?;
    let mut spec = s.spec("copy")?;
    spec.source = Some(s.snapshot(&volume, "monday").await?.id);
    let copy = s.driver.create(&Context::new(), &spec).await?;
    ensure(copy.id != volume.id, "the copy is the volume itself")?;
    expect_eq(copy.size, volume.size, "the copy's size")
}

async fn volume_from_gone(s: S) -> Outcome {
    let (ctx, volume) = (Context::new(), s.used("data").await?);
    let mut spec = s.spec("copy")?;
    let snapshot = s.snapshot(&volume, "monday").await?;
    s.driver.delete_snapshot(&ctx, &snapshot.id).await?;
    spec.source = Some(snapshot.id);
    let refused = s.driver.create(&ctx, &spec).await;
    expect_err(refused, ErrorKind::NotFound, "a volume from a snapshot that is gone")?;
    s.expect_only(&volume).await
}

async fn snapshot_of_an_empty_volume(s: S) -> Outcome {
    let volume = s.create("data").await?;
    expect_err(s.snapshot(&volume, "monday").await, ErrorKind::Conflict, "a snapshot of nothing")?;
    ensure(s.snapshots(Some(&volume)).await?.is_empty(), "a snapshot was made")?;
    s.expect_only(&volume).await
}

async fn snapshots_are_unsupported(s: S) -> Outcome {
    let volume = s.create("data").await?;
    expect_err(s.snapshot(&volume, "monday").await, ErrorKind::Unsupported, "snapshot")?;
    expect_err(s.snapshots(None).await, ErrorKind::Unsupported, "list of snapshots")?;
    let id = SnapshotId::new("none");
    let refused = s.driver.delete_snapshot(&Context::new(), &id).await;
    expect_err(refused, ErrorKind::Unsupported, "delete of a snapshot").map(drop)
}

async fn from_a_snapshot_is_unsupported(s: S) -> Outcome {
    let mut spec = s.spec("copy")?;
    spec.source = Some(SnapshotId::new("none"));
    let refused = s.driver.create(&Context::new(), &spec).await;
    expect_err(refused, ErrorKind::Unsupported, "a volume from a snapshot")?;
    s.expect_none().await
}
