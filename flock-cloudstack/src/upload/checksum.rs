//! What a file sums up to.

use std::os::unix::fs::FileExt as _;

use flock_core::progress::Unit;
use flock_core::rootfs::checksum::Checksum;
use flock_core::{Context, Error, Result};
use sha2::{Digest as _, Sha256};

use crate::blocking;
use crate::image_builder::Appliance;

/// How much is read at once.
const CHUNK: usize = 256 << 10;

/// The SHA-256 of an appliance. Reports progress in bytes.
///
/// # Errors
/// Those of reading; the end of the context.
pub(crate) async fn sha256(ctx: &Context, appliance: &Appliance) -> Result<Checksum> {
    let appliance = appliance.clone();
    blocking::run(ctx, move |ctx| {
        let label = format!("sum up {}", appliance.path.display());
        let task = ctx.task(label, Unit::Bytes, Some(appliance.length));
        let (mut hash, mut buffer, mut at) = (Sha256::new(), vec![0; CHUNK], 0);
        loop {
            ctx.check()?;
            let read = appliance
                .file
                .read_at(&mut buffer, at)
                .map_err(|source| Error::io("read", &appliance.path, source))?;
            let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else { break };
            hash.update(chunk);
            at += read as u64;
            task.advance(read as u64);
        }
        appliance.check_unchanged()?;
        task.done();
        Ok(Checksum::from_bytes(hash.finalize().into()))
    })
    .await
}
