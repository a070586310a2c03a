//! The cache, the way async code meets it: each piece of blocking work runs
//! once, on a thread for such.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Fetcher, blocking};
use crate::cache::{Cache, CacheKey, CacheLock};
use crate::{Context, Error, ErrorKind, Result};

/// How large a manifest or a configuration of an image may be.
pub(super) const MAX_SMALL_FILE: u64 = 8 << 20;

impl Fetcher {
    /// Runs `work` on the cache.
    pub(super) async fn with_cache<T: Send + 'static>(
        &self,
        ctx: &Context,
        work: impl FnOnce(&Cache, &Context) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let cache = self.options().cache.clone();
        blocking(ctx, move |ctx| work(&cache, ctx)).await
    }

    pub(super) async fn lock(&self, ctx: &Context, key: CacheKey) -> Result<CacheLock> {
        self.with_cache(ctx, move |cache, ctx| cache.lock(&key, ctx)).await
    }

    /// The file of this key with its size, if the cache has it.
    pub(super) async fn lookup(
        &self,
        ctx: &Context,
        key: CacheKey,
    ) -> Result<Option<(PathBuf, u64)>> {
        self.with_cache(ctx, move |cache, _| {
            let Some(path) = cache.lookup(&key)? else { return Ok(None) };
            let metadata = std::fs::metadata(&path).map_err(|e| Error::io("look at", &path, e))?;
            Ok(Some((path, metadata.len())))
        })
        .await
    }

    /// A small JSON file of the cache; one that cannot be read is none.
    pub(super) async fn record<T: DeserializeOwned + Send + 'static>(
        &self,
        ctx: &Context,
        key: CacheKey,
    ) -> Result<Option<T>> {
        self.with_cache(ctx, move |cache, _| {
            let Some(path) = cache.lookup(&key)? else { return Ok(None) };
            let text = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
            Ok(serde_json::from_slice(&text).ok())
        })
        .await
    }

    pub(super) async fn keep_record(
        &self,
        ctx: &Context,
        key: CacheKey,
        record: &impl Serialize,
        origin: String,
    ) -> Result<()> {
        let bytes = serde_json::to_vec(record).map_err(|source| {
            Error::new(ErrorKind::Unexpected, "cannot write down what was fetched")
                .caused_by(source)
        })?;
        self.keep_bytes(ctx, key, bytes, origin).await
    }

    /// Puts a small file into the cache.
    pub(super) async fn keep_bytes(
        &self,
        ctx: &Context,
        key: CacheKey,
        bytes: Vec<u8>,
        origin: String,
    ) -> Result<()> {
        self.with_cache(ctx, move |cache, _| {
            let mut writer = cache.insert(&key)?;
            let path = writer.path().to_path_buf();
            writer.write_all(&bytes).map_err(|error| Error::io("write", &path, error))?;
            writer.commit()?;
            cache.set_origin(&key, &origin)
        })
        .await
    }

    /// Notes where a file of the cache came from.
    pub(super) async fn set_origin(
        &self,
        ctx: &Context,
        key: CacheKey,
        origin: String,
    ) -> Result<()> {
        self.with_cache(ctx, move |cache, _| cache.set_origin(&key, &origin)).await
    }

    /// Reads a manifest or a configuration. What has its digest in the cache
    /// may be something else, and of any size.
    pub(super) async fn read_small(&self, ctx: &Context, path: PathBuf) -> Result<Vec<u8>> {
        blocking(ctx, move |_| {
            let failed = |error| Error::io("read", &path, error);
            let mut bytes = Vec::new();
            let file = std::fs::File::open(&path).map_err(failed)?;
            file.take(MAX_SMALL_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
            if bytes.len() as u64 > MAX_SMALL_FILE {
                let message = "what the image names as its description is larger than 8 MiB";
                return Err(Error::new(ErrorKind::InvalidData, message));
            }
            Ok(bytes)
        })
        .await
    }
}
