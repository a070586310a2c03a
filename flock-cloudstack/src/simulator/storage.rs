//! Where templates are kept, if they are.

use std::fs::File;
use std::path::PathBuf;

use flock_core::rootfs::decompress::Compression;
use uuid::Uuid;

use super::format::Format;
use super::server::Shared;

/// Makes the file for a template in a zone, if files are kept; with its
/// path.
pub(crate) fn create(
    shared: &Shared,
    zone: Uuid,
    template: Uuid,
    format: Format,
    compression: Compression,
) -> std::io::Result<Option<(File, PathBuf)>> {
    let Some(directory) = &shared.options.storage else { return Ok(None) };
    let extension = format.as_str().to_ascii_lowercase();
    let packed = match compression {
        Compression::Gzip => ".gz",
        Compression::Bzip2 => ".bz2",
        Compression::Xz => ".xz",
        _ => "",
    };
    let path = directory.join(format!("{template}-{zone}.{extension}{packed}"));
    Ok(Some((File::create(&path)?, path)))
}

/// Removes the files of templates that are gone.
pub(crate) async fn collect(garbage: Vec<PathBuf>) {
    for path in garbage {
        remove(&path).await;
    }
}

/// Removes a file that may not be there.
pub(crate) async fn remove(path: &std::path::Path) {
    if let Err(error) = tokio::fs::remove_file(path).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove a template's file");
    }
}
