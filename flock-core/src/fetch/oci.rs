//! Images of registries: manifest, configuration and layers into the cache.

use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use url::Url;

use super::download::{Job, Received, download};
use super::kept::MAX_SMALL_FILE;
use super::manifest::{Config, Descriptor, LayerMediaType, Manifest, choose};
use super::options::Platform;
use super::registry::Registry;
use super::{Fetcher, blocking, is_fresh, joined, now};
use crate::cache::CacheKey;
use crate::location::{ImageReference, sha256};
use crate::rootfs::checksum::Checksum;
use crate::{Context, Error, ErrorKind, Result};

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
    /// is decompressed:
    /// [`OpenOptions::content`](crate::rootfs::source::OpenOptions::content)
    /// does, while it is.
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
        let client = self.client(ctx).await?.clone();
        let (options, name) = (self.options().clone(), image.clone());
        let registry = blocking(ctx, move |_| Registry::new(&client, &options, &name)).await?;
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
        if config.size > MAX_SMALL_FILE {
            return Err(invalid("the image's configuration is larger than 8 MiB"));
        }
        let config_path = self.blob(ctx, &registry, &config).await?;
        let text = self.read_small(ctx, config_path.clone()).await?;
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
        let key = CacheKey::derived("tag", &[&image.to_string()]);
        if let Some(record) = self.record::<TagRecord>(ctx, key.clone()).await?
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
        let content = CacheKey::sha256(&digest.hex())?;
        self.keep_bytes(ctx, content, bytes, image.to_string()).await?;
        let record = TagRecord { digest: digest.to_string(), checked: now() };
        self.keep_record(ctx, key, &record, image.to_string()).await?;
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
        if let Some((path, _)) = self.lookup(ctx, key.clone()).await? {
            return self.read_small(ctx, path).await;
        }
        let (bytes, _) = registry.manifest(ctx, &digest.to_string()).await?;
        let actual = Checksum::from_bytes(Sha256::digest(&bytes).into());
        digest.verify(&actual, "the image's manifest")?;
        self.keep_bytes(ctx, key, bytes.clone(), registry.origin()).await?;
        Ok(bytes)
    }

    /// A blob of the cache. One that has not the size that the image says is
    /// not used: whichever of them is wrong, a download tells.
    async fn cached_blob(
        &self,
        ctx: &Context,
        key: CacheKey,
        size: u64,
    ) -> Result<Option<PathBuf>> {
        let found = self.lookup(ctx, key).await?;
        Ok(found.filter(|(_, bytes)| *bytes == size).map(|(path, _)| path))
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
        if let Some(path) = self.cached_blob(ctx, key, blob.size).await? {
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
        let lock = self.lock(ctx, key.clone()).await?;
        // Whoever held the lock before us may have brought it.
        if let Some(path) = self.cached_blob(ctx, key.clone(), size).await? {
            return Ok(path);
        }
        let job = Job {
            url,
            label: format!("{} {}", registry.repository(), &digest.hex()[..12]),
            headers: registry.headers(),
            key: key.clone(),
            expected: Some(digest),
            size: Some(size),
            known: None,
        };
        match download(self.client(ctx).await?, self.options(), ctx, job, lock).await? {
            Received::File { path, .. } => {
                self.set_origin(ctx, key, registry.origin()).await?;
                Ok(path)
            }
            Received::NotModified => {
                Err(invalid("the registry answered a question that was not asked"))
            }
        }
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidData, message)
}
