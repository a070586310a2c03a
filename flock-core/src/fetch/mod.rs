//! Brings what is built from to this machine: downloads, git checkouts and
//! images from registries, through one cache.
//!
//! A [`Fetcher`] has one method for each kind:
//!
//! | method | brings | into the cache as |
//! |---|---|---|
//! | [`Fetcher::fetch`] | a file by HTTP(S), or one that is here already | the file, by its SHA-256 |
//! | [`Fetcher::checkout`] | a commit of a git repository | a plain tar, by the commit's id |
//! | [`Fetcher::pull`] | an image of an OCI registry | its layers, by their digests |
//!
//! ```no_run
//! use flock_core::cache::Cache;
//! use flock_core::fetch::{FetchOptions, Fetcher, Location};
//! use flock_core::Context;
//!
//! # async fn example() -> flock_core::Result<()> {
//! let fetcher = Fetcher::new(FetchOptions::new(Cache::user()?));
//! let source: Location = "https://example.org/base.tar.xz".parse()?;
//! let base = fetcher.fetch(&Context::new(), &source, None).await?;
//! println!("{} ({} bytes)", base.path.display(), base.bytes);
//! # Ok(())
//! # }
//! ```
//!
//! **What is fetched once stays.** With a checksum, a commit id or a digest
//! there is no question to ask, and no network is needed the second time.
//! Without one, the server is asked whether its file has changed once the
//! cached one was checked longer than [`FetchOptions::max_age`] ago.
//!
//! **What is cut goes on.** A download that stopped, by an error, a
//! cancellation or a killed process, is continued by the next call where the
//! server can (RFC 9110, section 14), and begins anew where it cannot or
//! where the file has changed. Passing failures are retried with growing
//! waits.
//!
//! **What a server says has one meaning**, for downloads, git and registries:
//!
//! | status | kind | tried again |
//! |---|---|---|
//! | 401, 407 | [`Unauthenticated`](ErrorKind::Unauthenticated), with a login or without | no |
//! | 402, 403, 451 | [`PermissionDenied`](ErrorKind::PermissionDenied), with a login or without | no |
//! | 404, 410, 400 and every other 4xx | [`NotFound`](ErrorKind::NotFound): the server gives nothing for this address | no |
//! | 405, 406, 415, 501, 505 | [`Unsupported`](ErrorKind::Unsupported): the server does not do that | no |
//! | 408, 425, 429, 5xx | [`Unavailable`](ErrorKind::Unavailable) | yes, not before `Retry-After` |
//! | any other | [`InvalidData`](ErrorKind::InvalidData) | no |
//!
//! None of them is [`InvalidConfig`](ErrorKind::InvalidConfig): that is for
//! what is wrong before anybody is asked.
//!
//! **Who cannot be reached is told with the reason**: the context value
//! `reason` of the error is `unknown_host`, `dns`, `refused`, `unreachable` or
//! `timeout`. A host that nobody knows is asked for once more, a refused
//! connection twice; the others as often as the options say. Each wait is told
//! by a message to the context's progress.
//!
//! **Nobody is trusted.** TLS certificates are verified; redirects do not
//! leave HTTPS and do not take credentials to another host; checksums and
//! digests are verified before a file appears in the cache; a size limit
//! bounds it. Users, passwords and queries of URLs are in no error, message
//! or progress event.

mod certificate;
mod credentials;
mod download;
mod git;
mod git_modules;
mod git_run;
mod git_source;
mod http;
mod kept;
mod manifest;
mod oci;
mod options;
mod redact;
mod registry;
mod retry;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use url::Url;

use crate::cache::{CacheKey, PruneOptions};
use crate::progress::Level;
use crate::{Context, Error, ErrorKind, Result};

pub use self::credentials::login;
pub use self::git::GitCheckout;
pub(crate) use self::git_run::check_git;
pub use self::git_source::{GitReference, GitSource};
pub use self::manifest::LayerMediaType;
pub use self::oci::{OciImage, OciLayer};
pub use self::options::{Credential, FetchOptions, Platform, ProxyChoice};
pub use crate::location::{ImageReference, Location};
pub use crate::rootfs::checksum::Checksum;

use self::download::{Job, Received, download};
use self::redact::{redacted, short_name};
use self::store::Validators;

/// Fetches, keeps and verifies; see the [module](self). Cheap to clone;
/// clones share connections.
#[derive(Debug, Clone)]
pub struct Fetcher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: FetchOptions,
    /// Made when first needed: a local file needs no certificates.
    client: OnceCell<reqwest::Client>,
    pruned: AtomicBool,
}

/// A file that is on this machine now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fetched {
    /// Where it is. A file in the cache must not be changed; a later prune
    /// may remove it.
    pub path: PathBuf,
    /// Its hash. Of a local file it is known only if a checksum was given:
    /// reading all of it for nothing else would cost more than using it.
    pub sha256: Option<Checksum>,
    /// Its size in bytes; 0 for a local directory.
    pub bytes: u64,
    /// Whether its content was here already.
    pub from_cache: bool,
    /// Where it came from.
    pub source: Location,
}

/// What the cache knows about a URL.
#[derive(Serialize, Deserialize)]
struct UrlRecord {
    sha256: String,
    bytes: u64,
    validators: Validators,
    /// When the server was last asked, in seconds since 1970.
    checked: u64,
}

impl Fetcher {
    /// A fetcher with these options. Touches neither disk nor network.
    #[must_use]
    pub fn new(options: FetchOptions) -> Self {
        let (client, pruned) = (OnceCell::new(), AtomicBool::new(false));
        Self(Arc::new(Inner { options, client, pruned }))
    }

    /// Brings the file of `source` to this machine and verifies it.
    ///
    /// With a checksum, a cached file of that content is used without any
    /// network. A local path is used in place and only verified. Idempotent;
    /// cancel-safe: what was received stays for the next call. Calls that
    /// want the same URL at the same time, in any process, share one
    /// download.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`]: no such file or address;
    /// - [`ErrorKind::Unauthenticated`], [`ErrorKind::PermissionDenied`]: the
    ///   server wants another login, or none helps;
    /// - [`ErrorKind::Unavailable`], [`ErrorKind::Timeout`]: the server cannot
    ///   be reached or stopped answering, and retries did not help;
    /// - [`ErrorKind::InvalidData`]: a wrong checksum, a web page in place of
    ///   a file, an untrusted certificate, too many redirects, an answer that
    ///   is not HTTP;
    /// - [`ErrorKind::QuotaExceeded`]: larger than the limit, or a full disk;
    /// - [`ErrorKind::InvalidConfig`]: an image, which is
    ///   [pulled](Fetcher::pull), or a git repository, which is [checked
    ///   out](Fetcher::checkout); unusable options;
    /// - [`ErrorKind::Cancelled`].
    pub async fn fetch(
        &self,
        ctx: &Context,
        source: &Location,
        checksum: Option<&Checksum>,
    ) -> Result<Fetched> {
        let ctx = &self.bounded(ctx);
        ctx.check()?;
        match source {
            Location::Url(url) if !matches!(url.scheme(), "http" | "https") => {
                Err(not_a_file(source))
            }
            Location::Url(url) => self.fetch_url(ctx, url, checksum.copied()).await,
            Location::Path(path) => local(ctx, path, checksum.copied()).await,
            Location::Image(image) => {
                let message = format!("{image} is an image, not one file");
                Err(Error::new(ErrorKind::InvalidConfig, message))
            }
            Location::Ssh(_) => Err(not_a_file(source)),
        }
        .map_err(|error| error.during("fetch"))
    }

    async fn fetch_url(
        &self,
        ctx: &Context,
        url: &Url,
        checksum: Option<Checksum>,
    ) -> Result<Fetched> {
        if let Some(checksum) = checksum
            && let Some(found) = self.cached(ctx, url, checksum).await?
        {
            return Ok(found);
        }
        let key = CacheKey::derived("url", &[url.as_str()]);
        let lock = self.lock(ctx, key.clone()).await?;
        // Whoever held the lock before us may have brought it.
        let record: Option<UrlRecord> = self.record(ctx, key.clone()).await?;
        let found = match (&checksum, &record) {
            (Some(checksum), _) => self.cached(ctx, url, *checksum).await?,
            (None, Some(record)) => self.cached(ctx, url, record.sha256.parse()?).await?,
            (None, None) => None,
        };
        let fresh = record.as_ref().is_some_and(|r| is_fresh(r.checked, self.options().max_age));
        let found = match found {
            Some(found) if fresh || checksum.is_some() => return Ok(found),
            other => other,
        };
        let known = record.filter(|_| found.is_some());
        let job = Job {
            url,
            label: short_name(url),
            headers: self.credential_headers(ctx, url).await?,
            key: CacheKey::derived("download", &[url.as_str()]),
            expected: checksum,
            size: None,
            known: known.as_ref().map(|record| &record.validators),
        };
        let client = self.client(ctx).await?;
        match (download(client, self.options(), ctx, job, lock).await, found, known) {
            (Ok(Received::NotModified), Some(found), Some(record)) => {
                let record = UrlRecord { checked: now(), ..record };
                self.keep_record(ctx, key, &record, redacted(url)).await?;
                Ok(found)
            }
            (Ok(Received::NotModified), ..) => {
                let message = format!("{} was answered wrongly", redacted(url));
                Err(Error::new(ErrorKind::InvalidData, message))
            }
            (Ok(Received::File { path, sha256, bytes, validators }), ..) => {
                let record = UrlRecord { sha256: sha256.hex(), bytes, validators, checked: now() };
                self.keep_record(ctx, key, &record, redacted(url)).await?;
                let content = CacheKey::sha256(&sha256.hex())?;
                self.set_origin(ctx, content, redacted(url)).await?;
                self.prune_once(ctx).await;
                let source = Location::Url(url.clone());
                Ok(Fetched { path, sha256: Some(sha256), bytes, from_cache: false, source })
            }
            (Err(error), Some(found), Some(_)) if self.may_be_stale(ctx, &error) => {
                let text = format!("{error}; using the copy that was downloaded earlier");
                ctx.message(Level::Warning, text);
                Ok(found)
            }
            (Err(error), ..) => Err(error),
        }
    }

    fn may_be_stale(&self, ctx: &Context, error: &Error) -> bool {
        let unreachable = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
        self.options().allow_stale && unreachable && ctx.check().is_ok()
    }

    /// The file of this content, if the cache has it.
    async fn cached(&self, ctx: &Context, url: &Url, sha256: Checksum) -> Result<Option<Fetched>> {
        let key = CacheKey::sha256(&sha256.hex())?;
        let Some((path, bytes)) = self.lookup(ctx, key).await? else { return Ok(None) };
        let source = Location::Url(url.clone());
        Ok(Some(Fetched { path, sha256: Some(sha256), bytes, from_cache: true, source }))
    }

    async fn credential_headers(
        &self,
        ctx: &Context,
        url: &Url,
    ) -> Result<reqwest::header::HeaderMap> {
        let mut headers = reqwest::header::HeaderMap::new();
        // A user in the URL goes before the options; the client sends it.
        if url.username().is_empty() && url.password().is_none() {
            let (options, url) = (self.options().clone(), url.clone());
            let login = blocking(ctx, move |_| credentials::for_url(&options, &url)).await?;
            headers.extend(login.map(|login| (reqwest::header::AUTHORIZATION, login)));
        }
        Ok(headers)
    }

    fn options(&self) -> &FetchOptions {
        &self.0.options
    }

    async fn client(&self, ctx: &Context) -> Result<&reqwest::Client> {
        let make = || {
            let options = self.options().clone();
            blocking(ctx, move |_| http::client(&options))
        };
        self.0.client.get_or_try_init(make).await
    }

    /// The context with the total timeout of the options.
    fn bounded(&self, ctx: &Context) -> Context {
        match self.options().total_timeout {
            Some(timeout) => ctx.child().with_timeout(timeout),
            None => ctx.clone(),
        }
    }

    /// Removes what was not used for long. Failing to is no failure of the
    /// fetch.
    async fn prune_once(&self, ctx: &Context) {
        if self.0.pruned.swap(true, Ordering::Relaxed) {
            return;
        }
        let options = PruneOptions::default().with_unused_for(self.options().keep_unused);
        let pruned = self.with_cache(ctx, move |cache, ctx| cache.prune(&options, ctx)).await;
        if let Err(error) = pruned {
            ctx.message(Level::Warning, format!("the cache was not tidied up: {error}"));
        }
    }
}

fn not_a_file(source: &Location) -> Error {
    let message = format!("{source} is the address of a git repository, not of a file");
    Error::new(ErrorKind::InvalidConfig, message)
        .hint("a local file with a colon in its name is written ./NAME")
}

/// A local file, used where it is.
async fn local(ctx: &Context, path: &Path, checksum: Option<Checksum>) -> Result<Fetched> {
    let path = path.to_path_buf();
    blocking(ctx, move |ctx| {
        let metadata = std::fs::metadata(&path).map_err(|e| Error::io("open", &path, e))?;
        let bytes = if metadata.is_file() { metadata.len() } else { 0 };
        if let Some(checksum) = checksum {
            if !metadata.is_file() {
                let message = format!("{} is no file that could have a checksum", path.display());
                return Err(Error::new(ErrorKind::InvalidConfig, message));
            }
            checksum.verify(&hash_file(&path, ctx)?, path.display())?;
        }
        let source = Location::Path(path.clone());
        Ok(Fetched { path, sha256: checksum, bytes, from_cache: true, source })
    })
    .await
}

fn hash_file(path: &Path, ctx: &Context) -> Result<Checksum> {
    use sha2::Digest;
    use std::io::Read;
    let read = |error| Error::io("read", path, error);
    let mut file = std::fs::File::open(path).map_err(read)?;
    let mut hash = sha2::Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        ctx.check()?;
        match file.read(&mut buffer).map_err(read)? {
            0 => return Ok(Checksum::from_bytes(hash.finalize().into())),
            bytes => hash.update(&buffer[..bytes]),
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time in the future is no sign of freshness: the clock was wrong once.
fn is_fresh(checked: u64, max_age: Duration) -> bool {
    now().checked_sub(checked).is_some_and(|age| age < max_age.as_secs())
}

/// Runs blocking work on its own thread. If the caller goes away, the work's
/// context is cancelled.
async fn blocking<T: Send + 'static>(
    ctx: &Context,
    work: impl FnOnce(&Context) -> Result<T> + Send + 'static,
) -> Result<T> {
    struct CancelOnDrop(Context);
    impl Drop for CancelOnDrop {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let child = ctx.child();
    let _guard = CancelOnDrop(child.clone());
    joined(tokio::task::spawn_blocking(move || work(&child)).await)?
}

/// The result of a task; its panic goes on here.
fn joined<T>(result: std::result::Result<T, tokio::task::JoinError>) -> Result<T> {
    result.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => Error::new(ErrorKind::Cancelled, "the program is ending").caused_by(error),
    })
}
