//! How a [`Fetcher`](super::Fetcher) goes about it.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::redact::redacted;
use crate::cache::{Cache, DEFAULT_KEEP};
use crate::secret::Secret;

/// What to show a server that asks who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// HTTP's Basic scheme (RFC 7617).
    Basic {
        /// The user's name.
        username: String,
        /// The password, or an access token in its place.
        password: Secret,
    },
    /// HTTP's Bearer scheme (RFC 6750).
    Bearer(Secret),
}

/// Which proxy stands between us and the servers.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyChoice {
    /// As `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
    #[default]
    Environment,
    /// None, whatever the environment says.
    Direct,
    /// This one for every server; its URL may hold a user and a password.
    Url(Url),
}

impl fmt::Debug for ProxyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::Direct => f.write_str("Direct"),
            Self::Url(url) => write!(f, "Url({})", redacted(url)),
        }
    }
}

/// Options of a [`Fetcher`](super::Fetcher).
///
/// ```
/// use std::time::Duration;
/// use flock_core::cache::Cache;
/// use flock_core::fetch::FetchOptions;
///
/// # let dir = tempfile::tempdir().unwrap();
/// let options = FetchOptions::new(Cache::at(dir.path()))
///     .with_max_age(Duration::from_secs(24 * 3600))
///     .with_retries(2);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchOptions {
    /// Where what is fetched is kept.
    pub cache: Cache,
    /// How long making a connection may take; 15 s by default.
    pub connect_timeout: Duration,
    /// How long a server may send nothing; 60 s by default.
    pub read_timeout: Duration,
    /// How long one call may take with all its retries; no limit but the
    /// context's by default.
    pub total_timeout: Option<Duration>,
    /// How often in a row a request that failed for a passing reason is made
    /// again without having brought us further; 5 by default.
    pub retries: usize,
    /// The wait before the first retry; 500 ms by default. It doubles with
    /// each further one up to a minute, with jitter.
    pub retry_delay: Duration,
    /// The proxy; by default what the environment says.
    pub proxy: ProxyChoice,
    /// A PEM file of certificate authorities to trust besides the system's.
    /// For git it takes the place of the system's file (`http.sslCAInfo`).
    pub ca_file: Option<PathBuf>,
    /// For how long a cached download or tag is used without asking the
    /// server whether it has changed; an hour by default.
    pub max_age: Duration,
    /// After how long without use cached files are removed, once per fetcher
    /// when it has downloaded something; 60 days by default.
    pub keep_unused: Duration,
    /// The size in bytes beyond which a download is refused; 64 GiB by
    /// default.
    pub max_size: u64,
    /// Whether a cached download may be used, with a warning, where the
    /// server that could tell its age cannot be reached; no by default.
    pub allow_stale: bool,
    /// How many layers of an image are downloaded at once; 3 by default.
    pub parallel: NonZeroUsize,
    /// The `User-Agent` header; `flock/VERSION` by default.
    pub user_agent: String,
    /// The credentials by host, in lower case (`example.org`, or
    /// `example.org:8443` where the URL has a port). Each goes to its host, and
    /// only over HTTPS or to this machine; redirects do not take it elsewhere.
    ///
    /// Of a registry there are two exceptions. It also goes to the token
    /// service that the registry names, on whatever host that is, if both are
    /// spoken to by HTTPS (that of Docker's registry is on another host); a
    /// registry in plain HTTP can name only its own host. And it travels in
    /// the clear to one of the
    /// [`insecure_registries`](Self::insecure_registries). A credential for
    /// the token service's own host goes before the registry's.
    pub credentials: BTreeMap<String, Credential>,
    /// A file of credentials, in the format of docker's (`{"auths": {"HOST":
    /// {"username": …, "password": …}}}`, or `auth`, or `registrytoken` for the
    /// Bearer scheme), for downloads, git by HTTP(S) and registries. It must be
    /// there. [`credentials`](Self::credentials) go before it; the same rules
    /// hold. None by default.
    pub credentials_file: Option<PathBuf>,
    /// The file that `docker login` writes, whose `auths` are used for
    /// registries; by default `$DOCKER_CONFIG/config.json`, else
    /// `~/.docker/config.json`. `None` uses no such file.
    pub docker_config: Option<PathBuf>,
    /// The registries that may be spoken to in plain HTTP (`HOST` or
    /// `HOST:PORT`); none by default. A credential for one then travels in the
    /// clear. Registries on this machine are always
    /// spoken to in plain HTTP, but for those on port 443.
    pub insecure_registries: Vec<String>,
    /// The platform to choose from an image for several; by default Linux on
    /// this machine's architecture.
    pub platform: Platform,
}

impl FetchOptions {
    /// Options with the defaults that each field names.
    #[must_use]
    pub fn new(cache: Cache) -> Self {
        Self {
            cache,
            connect_timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(60),
            total_timeout: None,
            retries: 5,
            retry_delay: Duration::from_millis(500),
            proxy: ProxyChoice::default(),
            ca_file: None,
            max_age: crate::settings::DEFAULT_CACHE_MAX_AGE,
            keep_unused: DEFAULT_KEEP,
            max_size: 64 << 30,
            allow_stale: false,
            parallel: NonZeroUsize::MIN.saturating_add(2),
            user_agent: concat!("flock/", env!("CARGO_PKG_VERSION")).to_owned(),
            credentials: BTreeMap::new(),
            credentials_file: None,
            docker_config: docker_config(),
            insecure_registries: Vec::new(),
            platform: Platform::default(),
        }
    }

    /// Sets [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets [`read_timeout`](Self::read_timeout).
    #[must_use]
    pub fn with_read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// Sets [`total_timeout`](Self::total_timeout).
    #[must_use]
    pub fn with_total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = Some(timeout);
        self
    }

    /// Sets [`retries`](Self::retries).
    #[must_use]
    pub fn with_retries(mut self, retries: usize) -> Self {
        self.retries = retries;
        self
    }

    /// Sets [`retry_delay`](Self::retry_delay).
    #[must_use]
    pub fn with_retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }

    /// Sets [`proxy`](Self::proxy).
    #[must_use]
    pub fn with_proxy(mut self, proxy: ProxyChoice) -> Self {
        self.proxy = proxy;
        self
    }

    /// Sets [`ca_file`](Self::ca_file).
    #[must_use]
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Sets [`max_age`](Self::max_age).
    #[must_use]
    pub fn with_max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    /// Sets [`keep_unused`](Self::keep_unused).
    #[must_use]
    pub fn with_keep_unused(mut self, age: Duration) -> Self {
        self.keep_unused = age;
        self
    }

    /// Sets [`max_size`](Self::max_size).
    #[must_use]
    pub fn with_max_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// Sets [`allow_stale`](Self::allow_stale).
    #[must_use]
    pub fn with_allow_stale(mut self, allow: bool) -> Self {
        self.allow_stale = allow;
        self
    }

    /// Sets [`parallel`](Self::parallel).
    #[must_use]
    pub fn with_parallel(mut self, layers: NonZeroUsize) -> Self {
        self.parallel = layers;
        self
    }

    /// Sets [`user_agent`](Self::user_agent).
    #[must_use]
    pub fn with_user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    /// Adds one of the [`credentials`](Self::credentials).
    #[must_use]
    pub fn with_credential(mut self, host: impl Into<String>, credential: Credential) -> Self {
        self.credentials.insert(host.into().to_ascii_lowercase(), credential);
        self
    }

    /// Sets [`credentials_file`](Self::credentials_file).
    #[must_use]
    pub fn with_credentials_file(mut self, path: Option<PathBuf>) -> Self {
        self.credentials_file = path;
        self
    }

    /// Sets [`docker_config`](Self::docker_config).
    #[must_use]
    pub fn with_docker_config(mut self, path: Option<PathBuf>) -> Self {
        self.docker_config = path;
        self
    }

    /// Adds one of the [`insecure_registries`](Self::insecure_registries).
    #[must_use]
    pub fn with_insecure_registry(mut self, host: impl Into<String>) -> Self {
        self.insecure_registries.push(host.into().to_ascii_lowercase());
        self
    }

    /// Sets [`platform`](Self::platform).
    #[must_use]
    pub fn with_platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }
}

/// An operating system and processor, in the words of the OCI Image
/// Specification (those of Go).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Platform {
    /// The operating system: `linux`.
    pub os: String,
    /// The processor: `amd64`, `arm64`, …
    pub architecture: String,
    /// The processor's variant (`v7`); `None` takes any.
    pub variant: Option<String>,
}

impl Platform {
    /// That system on that processor, of any variant.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self { os: os.into(), architecture: architecture.into(), variant: None }
    }

    /// Sets [`variant`](Self::variant).
    #[must_use]
    pub fn with_variant(mut self, variant: impl Into<String>) -> Self {
        self.variant = Some(variant.into());
        self
    }
}

impl Default for Platform {
    /// Linux on this machine's architecture.
    fn default() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            // riscv64 and s390x are called the same in both.
            other => (other, None),
        };
        let own = str::to_owned;
        Self { os: own("linux"), architecture: own(architecture), variant: variant.map(own) }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

fn docker_config() -> Option<PathBuf> {
    let dir = match std::env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => etcetera::home_dir().ok()?.join(".docker"),
    };
    Some(dir.join("config.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_password_is_not_shown() {
        let url = Url::parse("http://u:hush@proxy:3128").unwrap();
        assert!(!format!("{:?}", ProxyChoice::Url(url)).contains("hush"));
    }
}
