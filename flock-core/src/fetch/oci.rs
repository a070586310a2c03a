//! Images of registries: manifest, configuration and layers into the cache.

use std::io::{Read as _, Write};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use url::Url;

use super::download::{Job, Received, download};
use super::manifest::{Config, Descriptor, LayerMediaType, Manifest, choose};
use super::options::Platform;
use super::registry::Registry;
use super::{Fetcher, blocking, is_fresh, joined, now, read_record, write_record};
use crate::cache::CacheKey;
use crate::location::{ImageReference, sha256};
use crate::rootfs::checksum::Checksum;
use crate::{Context, Error, ErrorKind, Result};

/// How large the configuration of an image may be.
const MAX_CONFIG: u64 = 8 << 20;

/// How many indexes may point to each other before the image.
const MAX_NESTING: usize = 3;

/// An image on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OciImage {
    /// The name it was pulled by.
    pub reference: ImageReference,
    /// The digest of the image's manifest: for this platform, where the image
    /// is there for several.
    pub digest: Checksum,
    /// What it runs on.
    pub platform: Platform,
    /// The image's configuration: JSON, in the cache.
    pub config: PathBuf,
    /// Its layers, the lowest first. Applied in this order, with the
    /// whiteouts of the OCI Image Specification ("Image Layer Filesystem
    /// Changeset"), they make the root file system.
    pub layers: Vec<OciLayer>,
}

/// One layer of an image, in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OciLayer {
    /// The layer as the registry has it, perhaps compressed; verified.
    pub path: PathBuf,
    /// The digest of that file.
    pub digest: Checksum,
    /// The digest of the uncompressed tar. Not verified here, where nothing
    /// is decompressed.
    pub diff_id: Checksum,
    /// How the tar is packed.
    pub media_type: LayerMediaType,
    /// The size in bytes of that file.
    pub size: u64,
}

/// What a tag stood for when the registry was last asked.
#[derive(serde::Serialize, serde::Deserialize)]
struct TagRecord {
    digest: String,
    checked: u64,
}

impl Fetcher {
    /// Brings an image of a registry to this machine.
    ///
    /// Of an image for several platforms it takes the one of
    /// [`FetchOptions::platform`](super::FetchOptions::platform). Everything
    /// is verified against the digests above it. With a digest in the name,
    /// what is in the cache needs no network; a tag is looked up again after
    /// [`FetchOptions::max_age`](super::FetchOptions::max_age). Logins come
    /// from the options, else from what `docker login` wrote; without any it
    /// pulls anonymously. Registries are spoken to by HTTPS, but for those on
    /// this machine and those that the options allow. Idempotent; cancel-safe:
    /// layers that were received, in part or whole, stay for the next call.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: no such image, or not for this platform;
    /// - [`ErrorKind::Unsupported`]: it holds no tar layers, or its manifest
    ///   is of Docker's schema 1;
    /// - and those of [`Fetcher::fetch`].
    pub async fn pull(&self, ctx: &Context, image: &ImageReference) -> Result<OciImage> {
        let ctx = &self.bounded(ctx);
        ctx.check()?;
        let pulled = self.pull_image(ctx, image).await;
        pulled.map_err(|error| error.during("pull").with("image", image.to_string()))
    }

    async fn pull_image(&self, ctx: &Context, image: &ImageReference) -> Result<OciImage> {
        let registry = Registry::new(self.client().await?, self.options(), image)?;
        let registry = Arc::new(registry);
        let mut digest = self.resolve(ctx, &registry, image).await?;
        let mut nesting = 0;
        let (config, layers) = loop {
            let bytes = self.manifest(ctx, &registry, &digest).await?;
            match Manifest::parse(&bytes)? {
                Manifest::Image { config, layers } => break (config, layers),
                Manifest::Index(_) if nesting == MAX_NESTING => {
                    return Err(invalid("the image's indexes are nested too deeply"));
                }
                Manifest::Index(manifests) => {
                    nesting += 1;
                    digest = choose(&manifests, &self.options().platform)?.digest()?;
                }
            }
        };
        // What cannot be used is not downloaded first.
        let types: Vec<_> = layers.iter().map(Descriptor::layer_type).collect::<Result<_>>()?;
        if config.size > MAX_CONFIG {
            return Err(invalid("the image's configuration is larger than 8 MiB"));
        }
        let config_path = self.blob(ctx, &registry, &config).await?;
        let text = read_small(&config_path)?;
        let Config { platform, diff_ids } = Config::parse(&text)?;
        if diff_ids.len() != layers.len() {
            return Err(invalid("the image's configuration does not fit its layers"));
        }
        let paths = self.layers(ctx, &registry, &layers).await?;
        self.prune_once(ctx).await;
        let layers = layers.iter().zip(paths).zip(types.into_iter().zip(diff_ids));
        let layers = layers.map(|((layer, path), (media_type, diff_id))| {
            Ok(OciLayer { path, digest: layer.digest()?, diff_id, media_type, size: layer.size })
        });
        let layers = layers.collect::<Result<_>>()?;
        let reference = image.clone();
        Ok(OciImage { reference, digest, platform, config: config_path, layers })
    }

    /// The digest that the name stands for.
    async fn resolve(
        &self,
        ctx: &Context,
        registry: &Registry,
        image: &ImageReference,
    ) -> Result<Checksum> {
        if let Some(digest) = image.digest() {
            return Ok(digest);
        }
        let tag = image.tag().unwrap_or("latest");
        let (cache, key) = (&self.options().cache, CacheKey::derived("tag", &[&image.to_string()]));
        if let Some(record) = read_record::<TagRecord>(cache, &key)?
            && is_fresh(record.checked, self.options().max_age)
            && let Ok(digest) = record.digest.parse()
        {
            return Ok(digest);
        }
        let (bytes, claimed) = registry.manifest(ctx, tag).await?;
        let digest = Checksum::from_bytes(Sha256::digest(&bytes).into());
        if let Some(claimed) = claimed.filter(|claimed| claimed.starts_with("sha256:")) {
            sha256(&claimed)?.verify(&digest, format!("the manifest of {image}"))?;
        }
        Manifest::parse(&bytes)?;
        self.keep_manifest(&digest, &bytes)?;
        let record = TagRecord { digest: digest.to_string(), checked: now() };
        write_record(cache, &key, &record)?;
        Ok(digest)
    }

    /// A manifest by its digest, from the cache if it is there.
    async fn manifest(
        &self,
        ctx: &Context,
        registry: &Registry,
        digest: &Checksum,
    ) -> Result<Vec<u8>> {
        let key = CacheKey::sha256(&digest.hex())?;
        if let Some(path) = self.options().cache.lookup(&key)? {
            return read_small(&path);
        }
        let (bytes, _) = registry.manifest(ctx, &digest.to_string()).await?;
        let actual = Checksum::from_bytes(Sha256::digest(&bytes).into());
        digest.verify(&actual, "the image's manifest")?;
        self.keep_manifest(digest, &bytes)?;
        Ok(bytes)
    }

    fn keep_manifest(&self, digest: &Checksum, bytes: &[u8]) -> Result<()> {
        let mut writer = self.options().cache.insert(&CacheKey::sha256(&digest.hex())?)?;
        let path = writer.path().to_path_buf();
        writer.write_all(bytes).map_err(|error| Error::io("write", &path, error))?;
        writer.commit().map(drop)
    }

    /// All layers, a few at a time; the first error ends the others.
    async fn layers(
        &self,
        ctx: &Context,
        registry: &Arc<Registry>,
        layers: &[Descriptor],
    ) -> Result<Vec<PathBuf>> {
        let ctx = ctx.child();
        let places = Arc::new(Semaphore::new(self.options().parallel.get()));
        let mut tasks = JoinSet::new();
        for (number, layer) in layers.iter().cloned().enumerate() {
            let (fetcher, ctx) = (self.clone(), ctx.clone());
            let (registry, places) = (Arc::clone(registry), Arc::clone(&places));
            tasks.spawn(async move {
                // The semaphore is never closed; without a place it is one more at once.
                let _place = places.acquire_owned().await;
                Ok((number, fetcher.blob(&ctx, &registry, &layer).await?))
            });
        }
        let mut paths = vec![PathBuf::new(); layers.len()];
        let mut failed = None;
        while let Some(ended) = tasks.join_next().await {
            match joined(ended)? {
                Ok((number, path)) => paths[number] = path,
                Err(error) => {
                    // The cancelled ones fail too; the first says why.
                    failed.get_or_insert(error);
                    ctx.cancel();
                }
            }
        }
        failed.map_or(Ok(paths), Err)
    }

    /// One blob, from the cache if it is there.
    async fn blob(&self, ctx: &Context, registry: &Registry, blob: &Descriptor) -> Result<PathBuf> {
        let digest = blob.digest()?;
        let key = CacheKey::sha256(&digest.hex())?;
        if let Some(path) = self.options().cache.lookup(&key)? {
            return Ok(path);
        }
        let url = registry.url("blobs", &digest.to_string())?;
        match self.download_blob(ctx, registry, &url, digest, blob.size).await {
            // There is no token yet, or it has run out.
            Err(error) if error.kind() == ErrorKind::Unauthenticated => {
                registry.reopen(ctx, &url).await?;
                self.download_blob(ctx, registry, &url, digest, blob.size).await
            }
            other => other,
        }
    }

    async fn download_blob(
        &self,
        ctx: &Context,
        registry: &Registry,
        url: &Url,
        digest: Checksum,
        size: u64,
    ) -> Result<PathBuf> {
        let key = CacheKey::sha256(&digest.hex())?;
        let cache = self.options().cache.clone();
        let lock = blocking(ctx, {
            let (cache, key) = (cache.clone(), key.clone());
            move |ctx| cache.lock(&key, ctx)
        })
        .await?;
        // Whoever held the lock before us may have brought it.
        if let Some(path) = cache.lookup(&key)? {
            return Ok(path);
        }
        let job = Job {
            url,
            label: format!("{} {}", registry.repository(), &digest.hex()[..12]),
            headers: registry.headers(),
            key,
            expected: Some(digest),
            size: Some(size),
            known: None,
        };
        match download(self.client().await?, self.options(), ctx, job, lock).await? {
            Received::File { path, .. } => Ok(path),
            Received::NotModified => {
                Err(invalid("the registry answered a question that was not asked"))
            }
        }
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidData, message)
}

/// Reads a manifest or a configuration. What has its digest in the cache may
/// be something else, and of any size.
fn read_small(path: &std::path::Path) -> Result<Vec<u8>> {
    let failed = |error| Error::io("read", path, error);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_CONFIG + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_CONFIG {
        return Err(invalid("what the image names as its description is larger than 8 MiB"));
    }
    Ok(bytes)
}
