//! Profiles: how to reach CloudStack, in the `flockr.yaml` that flockr had.
//!
//! The file is a map of profiles. Its `secretkey` may hold the key itself, as
//! with flockr, or say where it is: a map with one of `file`, `env` and
//! `command`. The other keys that flockr did not have may all be left out.
//!
//! ```
//! use flock_core::profile::Profiles;
//!
//! let text = "
//! production:
//!   apikey: abc
//!   url: https://cloud.example.org/client/api
//!   secretkey: {env: CLOUD_SECRET}
//! ";
//! let profiles = Profiles::parse(text, "flockr.yaml")?;
//! let profile = profiles.select(None)?;
//! assert_eq!(profile.name, "production");
//! assert_eq!(profile.timeout.as_secs(), 3600);
//! # Ok::<(), flock_core::Error>(())
//! ```

use std::fs;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, Serializer};
use url::Url;

use crate::document::{self, Affects, Entry, Key, Node, Problem, Reader, Section, Value};
use crate::secret::{Secret, SecretSource};
use crate::{Error, ErrorKind, Result};

/// The name of the file, in the project and in the user's configuration.
pub const FILE_NAME: &str = "flockr.yaml";
/// Where flockr had it.
pub const SYSTEM_FILE: &str = "/etc/flockr/flockr.yaml";
/// The profile taken when none is asked for.
pub const DEFAULT_PROFILE: &str = "production";

const KEYS: &[Key] = &[
    Key::filled_in("apikey", "your_api_key"),
    Key::filled_in("url", "cloudstack_url"),
    Key::new("expires"),
    Key::filled_in("secretkey", "your_secret_key"),
    Key::new("timeout"),
    Key::new("request_timeout"),
    Key::new("verifysslcert"),
    Key::new("ca_file"),
    Key::new("http_get_only"),
    Key::new("namespace"),
    Key::new("max_concurrency"),
    Key::new("max_requests_per_second"),
];

const EXPIRES: Duration = Duration::from_secs(600);
const TIMEOUT: Duration = Duration::from_secs(3600);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The most that CloudStack keeps of a tag's value.
const MAX_NAMESPACE: usize = 255;

const SECRET: &[Key] = &[Key::new("file"), Key::new("env"), Key::new("command")];

/// The profiles of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Profiles {
    /// The file's name, as it stands in errors.
    pub file: String,
    /// The profiles, in the order of the file.
    pub profiles: Vec<Profile>,
}

/// How to reach one CloudStack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Profile {
    /// The profile's name.
    pub name: String,
    /// The API's address; `None` while the file holds a placeholder.
    pub url: Option<Url>,
    /// The API key; `None` while the file holds a placeholder.
    pub apikey: Option<String>,
    /// Where the secret key comes from; `None` while the file holds a
    /// placeholder.
    pub secretkey: Option<SecretSource>,
    /// How long a signed request is valid. Default: 600 seconds.
    #[serde(serialize_with = "seconds")]
    pub expires: Duration,
    /// How long a job may take. Default: 3600 seconds.
    #[serde(serialize_with = "seconds")]
    pub timeout: Duration,
    /// How long one request may take. Default: 60 seconds.
    #[serde(serialize_with = "seconds")]
    pub request_timeout: Duration,
    /// Whether the server's certificate is verified. Default: true.
    pub verifysslcert: bool,
    /// A PEM file of certificate authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether every request is sent with GET, for clouds whose front end
    /// refuses POST. Default: false.
    pub http_get_only: bool,
    /// Separates users of flock who share an account; it stands in the tags of
    /// what flock makes. `None` is the backend's default.
    pub namespace: Option<String>,
    /// The most requests under way at once. `None` is the backend's default.
    pub max_concurrency: Option<NonZeroUsize>,
    /// The most requests begun in a second. `None` is no bound.
    pub max_requests_per_second: Option<NonZeroU32>,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

impl Profiles {
    /// Parses the text of a `flockr.yaml`. `file` stands for it in errors.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`], with every problem in its message.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        let mut reader = Reader::default();
        let profiles = reader.parse(text).map(|root| read(&mut reader, &root)).unwrap_or_default();
        let mut problems: Vec<Problem> = reader.into_problems();
        problems.retain(|problem| problem.affects == Affects::File);
        if problems.is_empty() {
            return Ok(Self { file: file.to_owned(), profiles });
        }
        Err(document::error(file, &problems))
    }

    /// Reads and parses a `flockr.yaml`. Relative paths in it are taken from
    /// its directory.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; those of
    /// [`Profiles::parse`]; another if it cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let mut profiles = Self::parse(&document::read(path)?, &path.display().to_string())?;
        let directory = path.parent().unwrap_or(Path::new(""));
        for profile in &mut profiles.profiles {
            profile.move_paths(directory);
        }
        Ok(profiles)
    }

    /// The profile called `name`; without a name `production`, or the only one
    /// there is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none of that name, or several and
    /// none called `production`.
    pub fn select(&self, name: Option<&str>) -> Result<&Profile> {
        let wanted = name.unwrap_or(DEFAULT_PROFILE);
        if let Some(profile) = self.profiles.iter().find(|profile| profile.name == wanted) {
            return Ok(profile);
        }
        match (name, self.profiles.as_slice()) {
            (None, [only]) => Ok(only),
            _ => {
                let names: Vec<_> = self.profiles.iter().map(|p| p.name.as_str()).collect();
                let message = format!("no profile '{wanted}' in {}", self.file);
                let hint = match names.as_slice() {
                    [] => "the file holds no profile".to_owned(),
                    names => format!("the profiles there are {}", names.join(", ")),
                };
                Err(Error::new(ErrorKind::NotFound, message).with("profile", wanted).hint(hint))
            }
        }
    }

    /// Whether the file holds a secret key itself, not only where it is.
    #[must_use]
    pub fn holds_secrets(&self) -> bool {
        let literal = |profile: &Profile| matches!(profile.secretkey, Some(SecretSource::Value(_)));
        self.profiles.iter().any(literal)
    }
}

impl Profile {
    /// A profile of this name with the defaults. The secret key is one, or
    /// says where it comes from.
    ///
    /// ```
    /// use flock_core::profile::Profile;
    /// use flock_core::secret::SecretSource;
    ///
    /// let url = "https://cloud.example.org/client/api".parse()?;
    /// let secret = SecretSource::Env { env: "CLOUD_SECRET".to_owned() };
    /// let profile = Profile::new("production", url, "my-api-key", secret).with_namespace("lab");
    /// assert_eq!(profile.expires.as_secs(), 600);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        name: impl Into<String>,
        url: Url,
        apikey: impl Into<String>,
        secretkey: impl Into<SecretSource>,
    ) -> Self {
        Self {
            name: name.into(),
            url: Some(url),
            apikey: Some(apikey.into()),
            secretkey: Some(secretkey.into()),
            expires: EXPIRES,
            timeout: TIMEOUT,
            request_timeout: REQUEST_TIMEOUT,
            verifysslcert: true,
            ca_file: None,
            http_get_only: false,
            namespace: None,
            max_concurrency: None,
            max_requests_per_second: None,
        }
    }

    /// Sets [`expires`](Self::expires).
    #[must_use]
    pub fn with_expires(mut self, expires: Duration) -> Self {
        self.expires = expires;
        self
    }

    /// Sets [`timeout`](Self::timeout).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`request_timeout`](Self::request_timeout).
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets [`verifysslcert`](Self::verifysslcert).
    #[must_use]
    pub fn with_verifysslcert(mut self, verify: bool) -> Self {
        self.verifysslcert = verify;
        self
    }

    /// Sets [`ca_file`](Self::ca_file).
    #[must_use]
    pub fn with_ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(file.into());
        self
    }

    /// Sets [`http_get_only`](Self::http_get_only).
    #[must_use]
    pub fn with_http_get_only(mut self, get_only: bool) -> Self {
        self.http_get_only = get_only;
        self
    }

    /// Sets [`namespace`](Self::namespace).
    #[must_use]
    pub fn with_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// Sets [`max_concurrency`](Self::max_concurrency).
    #[must_use]
    pub fn with_max_concurrency(mut self, requests: NonZeroUsize) -> Self {
        self.max_concurrency = Some(requests);
        self
    }

    /// Sets [`max_requests_per_second`](Self::max_requests_per_second).
    #[must_use]
    pub fn with_max_requests_per_second(mut self, requests: NonZeroU32) -> Self {
        self.max_requests_per_second = Some(requests);
        self
    }

    /// Takes relative paths from `directory`.
    fn move_paths(&mut self, directory: &Path) {
        if let Some(SecretSource::File { file }) = &mut self.secretkey {
            *file = directory.join(&*file);
        }
        if let Some(file) = &mut self.ca_file {
            *file = directory.join(&*file);
        }
    }
}

fn read(r: &mut Reader, root: &Node) -> Vec<Profile> {
    let entries: &[Entry] = match &root.value {
        Value::Map(entries) => entries,
        Value::Null => &[],
        other => {
            let message =
                format!("the file must be a map of profiles, this is {}", other.describe());
            r.problem(root.at, "", message);
            &[]
        }
    };
    let mut profiles: Vec<Profile> = Vec::new();
    for entry in entries {
        if profiles.iter().any(|profile| profile.name == entry.key) {
            r.problem(entry.at, &entry.key, format!("the profile {} is given twice", entry.key));
            continue;
        }
        profiles.push(profile(r, entry));
    }
    profiles
}

fn profile(r: &mut Reader, entry: &Entry) -> Profile {
    let s = r.section(&entry.node, &entry.key, Affects::Deploy, KEYS);
    let seconds = |text: &str| match text.parse() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("'{text}' is not a number of seconds")),
    };
    Profile {
        name: entry.key.clone(),
        url: r.parsed(&s, "url", |text| match Url::parse(text.trim()) {
            Ok(url) if url.password().is_some() => {
                Err("keep the password out of the address".to_owned())
            }
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
            _ => Err("this must be an address with http:// or https://".to_owned()),
        }),
        apikey: r.text(&s, "apikey"),
        secretkey: secret(r, &s),
        expires: r.parsed(&s, "expires", seconds).unwrap_or(EXPIRES),
        timeout: r.parsed(&s, "timeout", seconds).unwrap_or(TIMEOUT),
        request_timeout: r.parsed(&s, "request_timeout", seconds).unwrap_or(REQUEST_TIMEOUT),
        verifysslcert: r.boolean(&s, "verifysslcert").unwrap_or(true),
        ca_file: r.text(&s, "ca_file").map(PathBuf::from),
        http_get_only: r.boolean(&s, "http_get_only").unwrap_or(false),
        namespace: r.parsed(&s, "namespace", namespace),
        max_concurrency: r.parsed(&s, "max_concurrency", count),
        max_requests_per_second: r.parsed(&s, "max_requests_per_second", count),
    }
}

fn namespace(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NAMESPACE || text.chars().any(char::is_control) {
        return Err(format!("this must be a name of 1 to {MAX_NAMESPACE} bytes"));
    }
    Ok(text.to_owned())
}

/// A number above zero.
fn count<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("'{text}' is not a number above zero"))
}

fn secret(r: &mut Reader, s: &Section<'_>) -> Option<SecretSource> {
    let node = r.get(s, "secretkey")?;
    let path = s.key("secretkey");
    if !matches!(node.value, Value::Map(_)) {
        let text = r.scalar(node, &path)?;
        if text == "***" {
            r.problem(node.at, &path, format!("{path} holds '***', which stands for a secret"));
            return None;
        }
        return Some(SecretSource::Value(Secret::new(text)));
    }
    let map = r.section(node, &path, Affects::Deploy, SECRET);
    let file = r.text(&map, "file");
    let env = r.text(&map, "env");
    let command = r.texts(&map, "command");
    match (file, env, command.is_empty()) {
        (Some(file), None, true) => Some(SecretSource::File { file: PathBuf::from(file) }),
        (None, Some(env), true) => Some(SecretSource::Env { env }),
        (None, None, false) => Some(SecretSource::Command { command }),
        _ => {
            r.problem(node.at, &path, format!("{path} needs one of file, env and command"));
            None
        }
    }
}

/// A warning if the file holds a secret and others than its owner may read it.
///
/// # Errors
/// As of asking for the file's mode.
pub fn exposure(path: &Path, profiles: &Profiles) -> Result<Option<String>> {
    use std::os::unix::fs::MetadataExt as _;

    if !profiles.holds_secrets() {
        return Ok(None);
    }
    let metadata = fs::metadata(path).map_err(|source| Error::io("look at", path, source))?;
    if metadata.mode() & 0o077 == 0 {
        return Ok(None);
    }
    let path = path.display();
    Ok(Some(format!(
        "{path} holds a secret key and others may read it; `chmod 600 {path}` ends that"
    )))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const FLOCKR: &str = include_str!("../tests/data/flockr.yaml");

    fn filled_in() -> String {
        FLOCKR
            .replace("your_api_key", "abc")
            .replace("cloudstack_url ", "https://cloud.example.org/client/api")
            .replace("your_secret_key", "hush")
    }

    #[test]
    fn flockrs_file_parses_as_it_is() {
        let profiles = Profiles::parse(FLOCKR, "flockr.yaml").unwrap();
        let profile = profiles.select(None).unwrap();
        assert_eq!((&profile.apikey, &profile.url, &profile.secretkey), (&None, &None, &None));
        assert!(!profiles.holds_secrets());

        let profiles = Profiles::parse(&filled_in(), "flockr.yaml").unwrap();
        let profile = profiles.select(Some("production")).unwrap();
        assert_eq!(profile.apikey.as_deref(), Some("abc"));
        assert_eq!(
            profile.secretkey.as_ref().unwrap().resolve(&crate::Context::new()).unwrap().expose(),
            "hush"
        );
        assert_eq!((profile.expires.as_secs(), profile.timeout.as_secs()), (600, 3600));
        assert!(profile.verifysslcert && !profile.http_get_only);
        assert_eq!((&profile.ca_file, &profile.namespace), (&None, &None));
        for shown in [format!("{profiles:?}"), serde_json::to_string(&profiles).unwrap()] {
            assert!(!shown.contains("hush"), "{shown}");
        }
    }

    #[test]
    fn the_profile_is_the_one_asked_for() {
        let two = "a: {apikey: x}\nb: {apikey: y}\n";
        let profiles = Profiles::parse(two, "f").unwrap();
        assert_eq!(profiles.select(Some("b")).unwrap().apikey.as_deref(), Some("y"));
        let error = profiles.select(None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.hints().next(), Some("the profiles there are a, b"));
        let one = Profiles::parse("a: {apikey: x}", "f").unwrap();
        assert_eq!(one.select(None).unwrap().name, "a");
        assert!(one.select(Some("c")).is_err());
        assert!(Profiles::parse("", "f").unwrap().select(None).is_err());
    }

    #[test]
    fn a_secret_may_be_elsewhere() {
        let text = "a: {secretkey: {file: /k}}\nb: {secretkey: {command: [pass, show, k]}}\n";
        let profiles = Profiles::parse(text, "f").unwrap();
        assert_eq!(profiles.profiles[0].secretkey, Some(SecretSource::File { file: "/k".into() }));
        assert!(matches!(profiles.profiles[1].secretkey, Some(SecretSource::Command { .. })));
        assert!(!profiles.holds_secrets());
    }

    #[test]
    fn a_profile_may_say_more_than_flockrs() {
        let text = "a: {ca_file: /ca.pem, http_get_only: yes, namespace: team, \
                    max_concurrency: 4, max_requests_per_second: 20, request_timeout: 5}";
        let profiles = Profiles::parse(text, "f").unwrap();
        let profile = profiles.select(None).unwrap();
        assert_eq!(profile.ca_file.as_deref(), Some(Path::new("/ca.pem")));
        assert!(profile.http_get_only);
        assert_eq!(profile.namespace.as_deref(), Some("team"));
        assert_eq!(profile.max_concurrency.map(NonZeroUsize::get), Some(4));
        assert_eq!(profile.max_requests_per_second.map(NonZeroU32::get), Some(20));
        assert_eq!(profile.request_timeout.as_secs(), 5);
    }

    #[test]
    fn a_profile_of_a_program_is_one_of_a_file() {
        let profiles = Profiles::parse(&filled_in(), "f").unwrap();
        let url = "https://cloud.example.org/client/api".parse().unwrap();
        let made = Profile::new("production", url, "abc", Secret::new("hush"));
        assert_eq!(&made, profiles.select(None).unwrap());
        let more = made
            .with_ca_file("/ca.pem")
            .with_expires(Duration::from_secs(1))
            .with_timeout(Duration::from_secs(2))
            .with_request_timeout(Duration::from_secs(3))
            .with_verifysslcert(false)
            .with_http_get_only(true)
            .with_namespace("team")
            .with_max_concurrency(NonZeroUsize::MIN)
            .with_max_requests_per_second(NonZeroU32::MIN);
        let keys = "  expires: 1\n  timeout: 2\n  request_timeout: 3\n  verifysslcert: no\n  \
                    ca_file: /ca.pem\n  http_get_only: yes\n  namespace: team\n  \
                    max_concurrency: 1\n  max_requests_per_second: 1\n";
        let head = "production:\n  apikey: abc\n  secretkey: hush\n  \
                    url: https://cloud.example.org/client/api\n";
        let profiles = Profiles::parse(&format!("{head}{keys}"), "f").unwrap();
        assert_eq!(&more, profiles.select(None).unwrap());
    }

    #[test]
    fn paths_are_taken_from_the_files_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        fs::write(&path, "a: {ca_file: ca.pem, secretkey: {file: key}}\nb: {ca_file: /ca.pem}")
            .unwrap();
        let profiles = Profiles::load(&path).unwrap().profiles;
        assert_eq!(profiles[0].ca_file, Some(dir.path().join("ca.pem")));
        let file = dir.path().join("key");
        assert_eq!(profiles[0].secretkey, Some(SecretSource::File { file }));
        assert_eq!(profiles[1].ca_file, Some("/ca.pem".into()));
        // A name without a directory is one in the working directory.
        let mut here = Profiles::parse("a: {ca_file: ca.pem}", "f").unwrap().profiles;
        here[0].move_paths(Path::new(FILE_NAME).parent().unwrap());
        assert_eq!(here[0].ca_file, Some("ca.pem".into()));
    }

    #[test]
    fn mistakes_are_shown_where_they_stand() {
        let text = filled_in().replace("apikey", "apikee");
        let error = Profiles::parse(&text, "flockr.yaml").unwrap_err();
        assert_eq!(error.to_string(), "flockr.yaml:2:3: unknown key 'production.apikee'");
        assert!(!format!("{error:?}").contains("hush"));
        for (from, to) in [
            ("expires: 600", "expires: soon"),
            ("timeout: 3600", "timeout: 0"),
            ("timeout: 3600", "request_timeout: 0"),
            ("verifysslcert: true", "verifysslcert: perhaps"),
            ("secretkey: hush", "secretkey: {env: A, file: b}"),
            ("secretkey: hush", "secretkey: [hush]"),
            ("expires: 600", "namespace: ''"),
            ("expires: 600", "max_concurrency: 0"),
            ("expires: 600", "max_requests_per_second: -1"),
            ("https://cloud", "cloud"),
            ("https://cloud", "https://me:hush@cloud"),
        ] {
            let error = Profiles::parse(&filled_in().replace(from, to), "f").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{to}");
            assert!(!format!("{error:?}").contains("hush"), "{to}");
        }
    }

    #[test]
    fn a_readable_secret_is_warned_of() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), filled_in()).unwrap();
        let profiles = Profiles::load(file.path()).unwrap();
        assert_eq!(exposure(file.path(), &profiles).unwrap(), None);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(exposure(file.path(), &profiles).unwrap().is_some());
        let elsewhere = Profiles::parse("a: {secretkey: {env: K}}", "f").unwrap();
        assert_eq!(exposure(file.path(), &elsewhere).unwrap(), None);
    }
}
