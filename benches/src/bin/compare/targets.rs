//! The figures that flock promises.

use std::time::Duration;

use crate::Outcome;
use crate::report::counted;

const PLAIN_MEMORY_MIB: f64 = 64.0;
const COMPRESSED_MEMORY_MIB: f64 = 128.0;
const DISK_MEMORY_MIB: f64 = 100.0;
const START_UP: Duration = Duration::from_millis(15);

/// Which promises do not hold, in words. What was not measured does not hold.
pub(crate) fn missed(outcomes: &[Outcome], start_up: Duration) -> Vec<String> {
    let promises = Promises { outcomes };
    let mut missed = Vec::new();
    missed.extend(promises.at_most("flock", 1.25, "cat"));
    missed.extend(promises.at_most("flock-sync", 1.25, "cat-sync"));
    missed.extend(promises.at_most("flock", 0.1, "original"));
    missed.extend(promises.at_most("flock-gz-6", 0.5, "bsdtar-pigz"));
    missed.extend(promises.no_larger("flock-gz-6", "bsdtar-pigz"));
    missed.extend(promises.at_most("flock-zst-3", 1.0, "bsdtar-zstd"));
    for id in ["flock", "flock-again"] {
        missed.extend(promises.memory(id, PLAIN_MEMORY_MIB));
    }
    for id in ["flock-gz-6", "flock-gz-1", "flock-zst-3", "flock-first"] {
        missed.extend(promises.memory(id, COMPRESSED_MEMORY_MIB));
    }
    disks(&promises, &mut missed);
    if start_up > START_UP {
        missed.push(format!("`flock --version` takes {start_up:?}, more than {START_UP:?}"));
    }
    missed
}

/// What is promised of disks.
fn disks(promises: &Promises<'_>, missed: &mut Vec<String>) {
    missed.extend(promises.at_most("flock-raw", 1.25, "cp-raw"));
    missed.extend(promises.at_most("flock-fixed", 1.25, "cp-fixed"));
    missed.extend(promises.at_most("flock-dynamic", 1.5, "cp-dynamic"));
    missed.extend(promises.at_most("flock-dynamic", 0.25, "tar2ext4-dynamic"));
    missed.extend(promises.at_most("flock-dynamic", 0.1, "mke2fs-tar-dynamic"));
    missed.extend(promises.at_most("flock-dynamic", 1.0 / 35.0, "mke2fs-dir-dynamic"));
    for id in ["flock-raw", "flock-fixed", "flock-dynamic"] {
        missed.extend(promises.memory(id, DISK_MEMORY_MIB));
    }
}

struct Promises<'a> {
    outcomes: &'a [Outcome],
}

impl Promises<'_> {
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
