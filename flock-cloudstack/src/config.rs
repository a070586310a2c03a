//! How to reach a CloudStack.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use flock_core::profile::Profile;
use flock_core::secret::Secret;
use flock_core::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::error::BACKEND;

/// The namespace where none is given.
pub const DEFAULT_NAMESPACE: &str = "default";

/// How to reach a CloudStack, and as whom.
///
/// `Debug` and serialisation show `***` for the secret key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CloudStackConfig {
    /// The API's address, for example `https://cloud.example.org/client/api`.
    pub url: Url,
    /// The API key: whose requests these are.
    pub api_key: String,
    /// The secret key that signs them.
    pub secret_key: Secret,
    /// Separates users of flock that share an account; goes into every owner
    /// tag. Default: [`DEFAULT_NAMESPACE`].
    pub namespace: String,
    /// For how long a signed request is valid. Default: 600 seconds. A server
    /// that enforces time stamps takes at most 15 minutes.
    pub expires: Duration,
    /// How long a job may take where the context has no nearer deadline.
    /// Default: 3600 seconds.
    pub job_timeout: Duration,
    /// How long one request may take. Default: 60 seconds.
    pub request_timeout: Duration,
    /// Which HTTP methods the cloud takes. Default: [`Method::Post`].
    pub method: Method,
    /// Whether the API's certificate is verified. Default: true.
    pub verify_tls: bool,
    /// Certificate authorities to trust beside the system's, as a PEM file.
    pub ca_file: Option<PathBuf>,
    /// The most requests under way at once. Default: 16.
    pub max_concurrency: NonZeroUsize,
    /// The most requests begun in a second; `None` for no bound, the default.
    pub max_requests_per_second: Option<NonZeroU32>,
}

/// Which HTTP methods are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// GET for what only reads, POST for the rest. CloudStack 4.21 and newer
    /// can be set to want this.
    #[default]
    Post,
    /// GET for everything, for clouds whose front end refuses POST. User data
    /// is limited to 4 KiB then.
    GetOnly,
}

impl CloudStackConfig {
    /// A configuration with the defaults.
    pub fn new(url: Url, api_key: impl Into<String>, secret_key: Secret) -> Self {
        Self {
            url,
            api_key: api_key.into(),
            secret_key,
            namespace: DEFAULT_NAMESPACE.to_owned(),
            expires: Duration::from_secs(600),
            job_timeout: Duration::from_secs(3600),
            request_timeout: Duration::from_secs(60),
            method: Method::default(),
            verify_tls: true,
            ca_file: None,
            max_concurrency: NonZeroUsize::MIN.saturating_add(15),
            max_requests_per_second: None,
        }
    }

    /// A name for the account at its cloud, by which what is kept of it can be
    /// told from what is kept of others: the address's host and port, and the
    /// beginning of the API key's SHA-256. Another key is another account.
    /// [`Deployments::new`](flock_core::deployments::Deployments::new) wants
    /// such a name.
    #[must_use]
    pub fn place(&self) -> String {
        let (host, port) = (self.url.host_str(), self.url.port_or_known_default());
        let key: [u8; 32] = Sha256::digest(&self.api_key).into();
        let key: String = key.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("{}:{}:{key}", host.unwrap_or_default(), port.unwrap_or_default())
    }

    /// What a profile of flockr's `flockr.yaml` says. Fetches the secret key,
    /// which may block on a file or a program.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the profile lacks the address or a key,
    /// which the context value `key` names; those of [`SecretSource::resolve`](flock_core::secret::SecretSource::resolve).
    pub fn from_profile(ctx: &Context, profile: &Profile) -> Result<Self> {
        let missing = |key: &str| {
            let message = format!("the profile '{}' has no {key}", profile.name);
            Error::new(ErrorKind::InvalidConfig, message)
                .in_backend(BACKEND)
                .with("profile", &profile.name)
                .with("key", key)
        };
        let url = profile.url.clone().ok_or_else(|| missing("url"))?;
        let api_key = profile.apikey.clone().ok_or_else(|| missing("apikey"))?;
        let secret = profile.secretkey.as_ref().ok_or_else(|| missing("secretkey"))?;
        let mut config = Self::new(url, api_key, secret.resolve(ctx)?);
        config.expires = profile.expires;
        config.job_timeout = profile.timeout;
        config.request_timeout = profile.request_timeout;
        config.verify_tls = profile.verifysslcert;
        config.ca_file.clone_from(&profile.ca_file);
        if profile.http_get_only {
            config.method = Method::GetOnly;
        }
        if let Some(namespace) = &profile.namespace {
            config.namespace.clone_from(namespace);
        }
        if let Some(requests) = profile.max_concurrency {
            config.max_concurrency = requests;
        }
        config.max_requests_per_second = profile.max_requests_per_second;
        Ok(config)
    }

    /// Sets [`namespace`](Self::namespace).
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Sets [`expires`](Self::expires).
    #[must_use]
    pub fn with_expires(mut self, expires: Duration) -> Self {
        self.expires = expires;
        self
    }

    /// Sets [`job_timeout`](Self::job_timeout).
    #[must_use]
    pub fn with_job_timeout(mut self, timeout: Duration) -> Self {
        self.job_timeout = timeout;
        self
    }

    /// Sets [`request_timeout`](Self::request_timeout).
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets [`method`](Self::method).
    #[must_use]
    pub fn with_method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets [`verify_tls`](Self::verify_tls).
    #[must_use]
    pub fn with_verify_tls(mut self, verify: bool) -> Self {
        self.verify_tls = verify;
        self
    }

    /// Sets [`ca_file`](Self::ca_file).
    #[must_use]
    pub fn with_ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(file.into());
        self
    }

    /// Sets [`max_concurrency`](Self::max_concurrency).
    #[must_use]
    pub fn with_max_concurrency(mut self, requests: NonZeroUsize) -> Self {
        self.max_concurrency = requests;
        self
    }

    /// Sets [`max_requests_per_second`](Self::max_requests_per_second).
    #[must_use]
    pub fn with_max_requests_per_second(mut self, requests: NonZeroU32) -> Self {
        self.max_requests_per_second = Some(requests);
        self
    }
}

#[cfg(test)]
mod tests {
    use flock_core::profile::Profiles;

    use super::*;

    fn from(text: &str) -> Result<CloudStackConfig> {
        let profiles = Profiles::parse(text, "flockr.yaml").unwrap();
        CloudStackConfig::from_profile(&Context::new(), profiles.select(None).unwrap())
    }

    const FLOCKR: &str = "production:\n  apikey: k\n  url: https://cloud.example.org/client/api\n  \
                          secretkey: hush\n";

    #[test]
    fn flockrs_profile_leaves_the_defaults() {
        let config = from(FLOCKR).unwrap();
        let url = "https://cloud.example.org/client/api".parse().unwrap();
        assert_eq!(config, CloudStackConfig::new(url, "k", Secret::new("hush")));
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn a_profile_says_all_of_it() {
        let more = "  expires: 60\n  timeout: 30\n  verifysslcert: false\n  ca_file: /ca.pem\n  \
                    http_get_only: true\n  namespace: team\n  max_concurrency: 4\n  \
                    max_requests_per_second: 20\n  request_timeout: 7\n";
        let config = from(&format!("{FLOCKR}{more}")).unwrap();
        assert_eq!((config.expires.as_secs(), config.job_timeout.as_secs()), (60, 30));
        assert_eq!(config.request_timeout.as_secs(), 7);
        assert!(!config.verify_tls);
        assert_eq!(config.ca_file, Some("/ca.pem".into()));
        assert_eq!((config.method, config.namespace.as_str()), (Method::GetOnly, "team"));
        assert_eq!(config.max_concurrency.get(), 4);
        assert_eq!(config.max_requests_per_second.map(NonZeroU32::get), Some(20));
    }

    #[test]
    fn what_is_not_filled_in_is_named() {
        for key in ["apikey", "url", "secretkey"] {
            let text: String = FLOCKR
                .lines()
                .filter(|line| !line.contains(key))
                .map(|line| format!("{line}\n"))
                .collect();
            let error = from(&text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert_eq!(error.context_value("key"), Some(key));
        }
    }

    #[test]
    fn accounts_have_places_of_their_own() {
        let config = from(FLOCKR).unwrap();
        assert_eq!(config.place(), "cloud.example.org:443:8254c329a92850f6");
        let other = CloudStackConfig { api_key: "other".to_owned(), ..config.clone() };
        assert_ne!(other.place(), config.place());
    }
}
