//! Logins that `docker login` left behind.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::http::{authorization, secret_header};
use super::options::Credential;
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
}

/// The `Authorization` header for a registry from docker's configuration file,
/// if there is one. Entries that only name a credential helper give none.
pub(super) fn from_docker(
    path: &Path,
    registry: &str,
) -> Result<Option<reqwest::header::HeaderValue>> {
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
            "helper.example": {}
        }, "credsStore": "x"}"#;
        std::fs::write(&path, text).unwrap();
        for registry in ["docker.io", "ghcr.io"] {
            let header = from_docker(&path, registry).unwrap().unwrap();
            assert_eq!(header.to_str().unwrap(), "Basic bWU6aHVzaA==");
            assert!(header.is_sensitive());
        }
        for registry in ["helper.example", "other.example"] {
            assert!(from_docker(&path, registry).unwrap().is_none());
        }
        assert!(from_docker(&dir.path().join("none"), "ghcr.io").unwrap().is_none());
        std::fs::write(&path, r#"{"auths": {"x": {"auth": ["hush"]}}}"#).unwrap();
        let error = from_docker(&path, "x").unwrap_err();
        assert!(!format!("{error:?}").contains("hush"));
    }
}
