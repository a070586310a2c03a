//! The figures that flock promises.

use std::time::Duration;

use crate::Outcome;
use crate::cloud::{self, Requests, Row};
use crate::part::Part;
use crate::report::counted;
use crate::ways::Group;

const PLAIN_MEMORY_MIB: f64 = 64.0;
const COMPRESSED_MEMORY_MIB: f64 = 128.0;
const DISK_MEMORY_MIB: f64 = 100.0;
const CLOUD_MEMORY_MIB: f64 = 64.0;
/// By what latency and the time of jobs alone allow.
const DEPLOY_RATIO: f64 = 1.1;
/// Beyond the one that makes the node.
const DEPLOY_REQUESTS: f64 = 1.1;
/// By curl's, over a link.
const UPLOAD_RATIO: f64 = 1.1;
const START_UP: Duration = Duration::from_millis(15);

/// Which promises of the wanted parts do not hold, in words. What was not
/// measured does not hold.
pub(crate) fn missed(
    wants: impl Fn(Part) -> bool,
    outcomes: &[Outcome],
    rows: &[Row],
    start_up: Duration,
) -> Vec<String> {
    let promises = Promises { outcomes };
    let mut missed = Vec::new();
    for group in Group::ALL.into_iter().filter(|group| wants(Part::Appliances(*group))) {
        missed.extend(promises.of(group).into_iter().flatten());
    }
    if wants(Part::CloudStack) {
        missed.extend(cloud(rows));
    }
    if start_up > START_UP {
        missed.push(format!("`flock --version` takes {start_up:?}, more than {START_UP:?}"));
    }
    missed
}

/// What is promised of nodes and uploads.
fn cloud(rows: &[Row]) -> Vec<String> {
    let mut missed = Vec::new();
    let mut at_most = |what: String, value: Option<f64>, most: f64| match value {
        None => missed.push(format!("{what} was not measured")),
        Some(value) if value > most => {
            missed.push(format!("{what} is {value:.3}, more than {most}"));
        }
        Some(_) => {}
    };
    let row = |id| cloud::counted(rows, id);
    for (id, most) in [("flock-deploy", DEPLOY_RATIO), ("flock-put-link", UPLOAD_RATIO)] {
        let ratio = row(id).and_then(|row| cloud::ratio(rows, row));
        at_most(format!("the time of {id} by its limit"), ratio, most);
    }
    let beyond = row("flock-deploy").and_then(Row::requests).and_then(Requests::beyond);
    at_most("flock-deploy's further requests for each node".to_owned(), beyond, DEPLOY_REQUESTS);
    for id in ["flock-deploy", "flock-list", "flock-put-link", "flock-put", "flock-direct"] {
        let resident = row(id).and_then(Row::resident);
        at_most(format!("the MiB that {id} uses"), resident, CLOUD_MEMORY_MIB);
    }
    missed
}

struct Promises<'a> {
    outcomes: &'a [Outcome],
}

impl Promises<'_> {
    /// What is promised of appliances of this kind, and not kept.
    fn of(&self, group: Group) -> Vec<Option<String>> {
        match group {
            Group::Plain => vec![
                self.at_most("flock", 1.25, "cat"),
                self.at_most("flock-sync", 1.25, "cat-sync"),
                self.at_most("flock", 0.1, "original"),
                self.memory("flock", PLAIN_MEMORY_MIB),
            ],
            Group::Gzip => vec![
                self.at_most("flock-gz-6", 0.5, "bsdtar-pigz"),
                self.no_larger("flock-gz-6", "bsdtar-pigz"),
                self.memory("flock-gz-6", COMPRESSED_MEMORY_MIB),
                self.memory("flock-gz-1", COMPRESSED_MEMORY_MIB),
            ],
            Group::Zstd => vec![
                self.at_most("flock-zst-3", 1.0, "bsdtar-zstd"),
                self.memory("flock-zst-3", COMPRESSED_MEMORY_MIB),
            ],
            Group::CompressedBase => vec![
                self.memory("flock-first", COMPRESSED_MEMORY_MIB),
                self.memory("flock-again", PLAIN_MEMORY_MIB),
            ],
            Group::Raw => vec![
                self.at_most("flock-raw", 1.25, "cp-raw"),
                self.memory("flock-raw", DISK_MEMORY_MIB),
            ],
            Group::FixedVhd => vec![
                self.at_most("flock-fixed", 1.25, "cp-fixed"),
                self.memory("flock-fixed", DISK_MEMORY_MIB),
            ],
            Group::DynamicVhd => vec![
                self.at_most("flock-dynamic", 1.5, "cp-dynamic"),
                self.at_most("flock-dynamic", 0.25, "tar2ext4-dynamic"),
                self.at_most("flock-dynamic", 0.1, "mke2fs-tar-dynamic"),
                self.at_most("flock-dynamic", 1.0 / 35.0, "mke2fs-dir-dynamic"),
                self.memory("flock-dynamic", DISK_MEMORY_MIB),
            ],
        }
    }

    /// Whether `id` takes at most `factor` times as long as `peer`.
    fn at_most(&self, id: &str, factor: f64, peer: &str) -> Option<String> {
        let (Some(ours), Some(theirs)) = (self.wall(id), self.wall(peer)) else {
            return Some(format!("{id} or {peer} was not measured"));
        };
        (ours > factor * theirs).then(|| {
            format!("{id} takes {:.3} × the time of {peer}, more than {factor}", ours / theirs)
        })
    }

    fn no_larger(&self, id: &str, peer: &str) -> Option<String> {
        let (ours, theirs) = (counted(self.outcomes, id)?, counted(self.outcomes, peer)?);
        (ours.size > theirs.size)
            .then(|| format!("{id} writes {} bytes, {peer} {}", ours.size, theirs.size))
    }

    fn memory(&self, id: &str, most: f64) -> Option<String> {
        let Some(used) = counted(self.outcomes, id).and_then(Outcome::memory) else {
            return Some(format!("{id} was not measured"));
        };
        (used > most).then(|| format!("{id} uses {used:.0} MiB, more than {most}"))
    }

    fn wall(&self, id: &str) -> Option<f64> {
        counted(self.outcomes, id)?.wall()
    }
}
