//! Logins of the options and of files that `docker login` writes, each for
//! one host.

use std::collections::BTreeMap;
use std::path::Path;

use reqwest::header::HeaderValue;
use serde::Deserialize;
use url::Url;

use super::http::{authorization, secret_header};
use super::options::{Credential, FetchOptions};
use crate::cache::Cache;
use crate::secret::Secret;
use crate::{Error, ErrorKind, Result};

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// Base64 of `USER:PASSWORD`.
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    #[serde(rename = "registrytoken")]
    token: Option<Secret>,
}

/// The `Authorization` header for a registry: of the options, else of the
/// file with credentials, else of what `docker login` wrote. Blocks.
pub(super) fn for_registry(options: &FetchOptions, registry: &str) -> Result<Option<HeaderValue>> {
    if let Some(given) = given(options, registry)? {
        return Ok(Some(given));
    }
    match &options.docker_config {
        Some(path) => from_file(path, registry),
        None => Ok(None),
    }
}

/// The `Authorization` header for a URL: of the options, else of the file with
/// credentials. None where it would travel in the clear. Blocks.
pub(super) fn for_url(options: &FetchOptions, url: &Url) -> Result<Option<HeaderValue>> {
    if url.scheme() != "https" && !crate::location::is_loopback(url) {
        return Ok(None);
    }
    let Some(host) = url.host_str().map(str::to_ascii_lowercase) else { return Ok(None) };
    match url.port() {
        Some(port) => given(options, &format!("{host}:{port}")),
        None => given(options, &host),
    }
}

/// The value of the `Authorization` header for a URL, by a file as `docker
/// login` writes it, for programs that send requests of their own. `None` if
/// the file has none for the URL's host, or it would travel in the clear.
/// Blocks.
///
/// # Errors
/// [`ErrorKind::NotFound`] if the file is not there;
/// [`ErrorKind::InvalidConfig`] if it is none of that kind; others of reading.
pub fn login(file: &Path, url: &Url) -> Result<Option<Secret>> {
    let options =
        FetchOptions::new(Cache::at(Path::new(""))).with_credentials_file(Some(file.to_owned()));
    let header = for_url(&options, url)?;
    let text = header.as_ref().map(HeaderValue::to_str).transpose().map_err(|_| {
        Error::new(ErrorKind::InvalidConfig, "a credential holds bytes that no header can")
    })?;
    Ok(text.map(Secret::new))
}

fn given(options: &FetchOptions, host: &str) -> Result<Option<HeaderValue>> {
    if let Some(credential) = options.credentials.get(host) {
        return authorization(credential).map(Some);
    }
    let Some(path) = &options.credentials_file else { return Ok(None) };
    // This one was asked for, so it must be there.
    std::fs::metadata(path).map_err(|error| {
        Error::io("read the credentials in", path, error).hint(
            "the setting `credentials_file` (--credentials-file, FLOCK_CREDENTIALS_FILE) names it",
        )
    })?;
    from_file(path, host)
}

/// The `Authorization` header for a host from a file as docker's, if there is
/// one. Entries that only name a credential helper give none.
fn from_file(path: &Path, registry: &str) -> Result<Option<HeaderValue>> {
    let text = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| Error::io("read the logins in", path, error))?,
    };
    // The parser's own message may quote a password.
    let config: DockerConfig = serde_json::from_slice(&text).map_err(|error| {
        let message = format!("{} is not a docker configuration", path.display());
        Error::new(ErrorKind::InvalidConfig, message).with("line", error.line().to_string())
    })?;
    let entry = config.auths.iter().find(|(name, _)| host_of(name) == host_of(registry));
    let Some((_, entry)) = entry else { return Ok(None) };
    match entry {
        Entry { auth: Some(auth), .. } if !auth.expose().is_empty() => {
            secret_header(&format!("Basic {}", auth.expose().trim())).map(Some)
        }
        Entry { username: Some(username), password: Some(password), .. } => {
            let (username, password) = (username.clone(), password.clone());
            authorization(&Credential::Basic { username, password }).map(Some)
        }
        Entry { token: Some(token), .. } if !token.expose().is_empty() => {
            authorization(&Credential::Bearer(token.clone())).map(Some)
        }
        _ => Ok(None),
    }
}

/// The host of a key in `auths`, which may be a URL. Docker's own registry has
/// several names.
fn host_of(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    let host = name.split('/').next().unwrap_or(name);
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_found_by_host() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let text = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "bWU6aHVzaA=="},
            "ghcr.io": {"username": "me", "password": "hush"},
            "token.example": {"registrytoken": "hush"},
            "helper.example": {}
        }, "credsStore": "x"}"#;
        std::fs::write(&path, text).unwrap();
        for registry in ["docker.io", "ghcr.io"] {
            let header = from_file(&path, registry).unwrap().unwrap();
            assert_eq!(header.to_str().unwrap(), "Basic bWU6aHVzaA==");
            assert!(header.is_sensitive());
        }
        let header = from_file(&path, "token.example").unwrap().unwrap();
        assert_eq!(header.to_str().unwrap(), "Bearer hush");
        for registry in ["helper.example", "other.example"] {
            assert!(from_file(&path, registry).unwrap().is_none());
        }
        assert!(from_file(&dir.path().join("none"), "ghcr.io").unwrap().is_none());
        std::fs::write(&path, r#"{"auths": {"x": {"auth": ["hush"]}}}"#).unwrap();
        let error = from_file(&path, "x").unwrap_err();
        assert!(!format!("{error:?}").contains("hush"));
    }

    #[test]
    fn a_credential_does_not_travel_in_the_clear() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.json");
        std::fs::write(&path, r#"{"auths": {"file.example": {"auth": "eA=="}}}"#).unwrap();
        let token = Credential::Bearer(Secret::new("hush"));
        let options = FetchOptions::new(Cache::at("/nonexistent"))
            .with_credential("Example.org", token.clone())
            .with_credential("localhost:5000", token)
            .with_credentials_file(Some(path));
        let given = |url: &str| for_url(&options, &Url::parse(url).unwrap()).unwrap().is_some();
        assert!(given("https://EXAMPLE.org/x") && given("http://localhost:5000/x"));
        assert!(given("https://file.example/x") && !given("http://file.example/x"));
        assert!(!given("http://example.org/x") && !given("https://example.org:8443/x"));
        assert!(!given("https://sub.example.org/x"));
        assert!(!format!("{options:?}").contains("hush"));
        let file = dir.path().join("credentials.json");
        let login = |url: &str| login(&file, &Url::parse(url).unwrap()).unwrap();
        assert_eq!(login("https://file.example/x").unwrap().expose(), "Basic eA==");
        assert_eq!((login("http://file.example/x"), login("https://example.org/")), (None, None));
        let missing = options.with_credentials_file(Some(dir.path().join("none")));
        let error = for_registry(&missing, "h").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
