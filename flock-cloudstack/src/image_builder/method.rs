//! The ways in which an appliance gets to CloudStack.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use flock_core::Result;
use flock_core::location::Location;
use flock_core::secret::SecretSource;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use url::Url;

/// How an appliance gets to CloudStack.
///
/// As JSON, an object with `method` and the fields of that method; where no
/// field must be given, the method's name alone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Upload {
    /// It is sent to a web server by HTTP PUT, from which CloudStack fetches
    /// it.
    Put(PutUpload),
    /// It is sent to CloudStack itself (`getUploadParamsForTemplate`, from 4.6
    /// on), to the secondary storage VM of one zone, and copied to further
    /// zones from there. That VM must be reachable from here.
    Direct(DirectUpload),
    /// CloudStack fetches it from flock, which serves it until the template is
    /// ready. This machine must be reachable from the cloud.
    Serve(ServeUpload),
    /// CloudStack fetches it from this address, where it is already. The file
    /// of the spec is not looked at.
    Url(UrlUpload),
}

/// How to send an appliance to a web server.
///
/// `Debug` shows the addresses without logins and queries.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PutUpload {
    /// The directory that takes files: the appliance becomes
    /// `NAME/NAME.EXTENSION` below it. A user and a password in it are sent as
    /// a login.
    pub upload_url: Url,
    /// The same directory as CloudStack sees it. Default: `upload_url`.
    #[serde(default)]
    pub display_url: Option<Url>,
    /// Puts the version into the file's name, `NAME/NAME-VERSION.EXTENSION`,
    /// so that a version does not take the place of one that CloudStack may
    /// still be fetching. Default: false, as flockr had it.
    #[serde(default)]
    pub versioned: bool,
    /// The user to log in as.
    #[serde(default)]
    pub user: Option<String>,
    /// The user's password; without a user, a bearer token (RFC 6750).
    #[serde(default)]
    pub secret: Option<SecretSource>,
    /// A file of logins by host, as `docker login` writes it, for where no
    /// `secret` is given; see [`flock_core::fetch::login`].
    #[serde(default)]
    pub credentials_file: Option<PathBuf>,
    /// A PEM file of certificate authorities to trust beside the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Whether to ask the server afterwards how long the file is that it now
    /// has, at both addresses, where it answers that. Default: true.
    #[serde(default = "yes")]
    pub verify: bool,
}

/// How to send an appliance to CloudStack itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DirectUpload {
    /// A PEM file of certificate authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether the certificate of the secondary storage VM is verified; for
    /// the upload alone. Default: true.
    pub verify_tls: bool,
}

/// How to serve an appliance to CloudStack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ServeUpload {
    /// The address and port to listen at, `0.0.0.0:8099`. Port 0 takes any
    /// that is free.
    pub listen: SocketAddr,
    /// What CloudStack reaches it by, `http://192.0.2.7:8099/`. Without a port
    /// it gets the one that is listened at, if that is not the scheme's own.
    pub display_url: Url,
}

/// Where an appliance is.
///
/// `Debug` shows the address without a login and a query.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UrlUpload {
    /// The address, whose path ends in the format's extension.
    pub url: Url,
}

impl Upload {
    /// Its name: `put`, `direct`, `serve` or `url`.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Direct(_) => "direct",
            Self::Serve(_) => "serve",
            Self::Url(_) => "url",
        }
    }
}

impl PutUpload {
    /// To this directory, which CloudStack sees at the same address.
    #[must_use]
    pub fn new(upload_url: Url) -> Self {
        Self {
            upload_url,
            display_url: None,
            versioned: false,
            user: None,
            secret: None,
            credentials_file: None,
            ca_file: None,
            verify: true,
        }
    }

    /// Sets [`display_url`](Self::display_url).
    #[must_use]
    pub fn with_display_url(mut self, url: Url) -> Self {
        self.display_url = Some(url);
        self
    }

    /// Sets [`user`](Self::user) and [`secret`](Self::secret).
    #[must_use]
    pub fn with_login(mut self, user: Option<String>, secret: SecretSource) -> Self {
        self.user = user;
        self.secret = Some(secret);
        self
    }

    /// Sets [`credentials_file`](Self::credentials_file).
    #[must_use]
    pub fn with_credentials_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.credentials_file = Some(file.into());
        self
    }

    /// Sets [`ca_file`](Self::ca_file).
    #[must_use]
    pub fn with_ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(file.into());
        self
    }

    /// Sets [`versioned`](Self::versioned).
    #[must_use]
    pub fn with_versioned(mut self, versioned: bool) -> Self {
        self.versioned = versioned;
        self
    }

    /// Sets [`verify`](Self::verify).
    #[must_use]
    pub fn with_verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }
}

impl Default for DirectUpload {
    fn default() -> Self {
        Self { ca_file: None, verify_tls: true }
    }
}

impl DirectUpload {
    /// Sets [`ca_file`](Self::ca_file).
    #[must_use]
    pub fn with_ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(file.into());
        self
    }

    /// Sets [`verify_tls`](Self::verify_tls).
    #[must_use]
    pub fn with_verify_tls(mut self, verify: bool) -> Self {
        self.verify_tls = verify;
        self
    }
}

impl ServeUpload {
    /// At this address, which CloudStack reaches by this URL.
    #[must_use]
    pub fn new(listen: SocketAddr, display_url: Url) -> Self {
        Self { listen, display_url }
    }
}

impl UrlUpload {
    /// The appliance at this address.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self { url }
    }
}

impl fmt::Debug for PutUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutUpload")
            .field("upload_url", &shown(&self.upload_url))
            .field("display_url", &self.display_url.as_ref().map(shown))
            .field("versioned", &self.versioned)
            .field("user", &self.user)
            .field("secret", &self.secret)
            .field("credentials_file", &self.credentials_file)
            .field("ca_file", &self.ca_file)
            .field("verify", &self.verify)
            .finish()
    }
}

impl fmt::Debug for UrlUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlUpload").field("url", &shown(&self.url)).finish()
    }
}

/// An address without what may be secret in it.
pub(crate) fn shown(url: &Url) -> String {
    Location::from(url.clone()).to_string()
}

impl<'de> Deserialize<'de> for Upload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(tag = "method", rename_all = "lowercase")]
        enum Tagged {
            Put(PutUpload),
            Direct(DirectUpload),
            Serve(ServeUpload),
            Url(UrlUpload),
        }
        let value = match Value::deserialize(deserializer)? {
            Value::String(method) => serde_json::json!({ "method": method }),
            other => other,
        };
        Ok(match serde_json::from_value(value).map_err(de::Error::custom)? {
            Tagged::Put(put) => Self::Put(put),
            Tagged::Direct(direct) => Self::Direct(direct),
            Tagged::Serve(serve) => Self::Serve(serve),
            Tagged::Url(url) => Self::Url(url),
        })
    }
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Upload, serde_json::Error> {
        serde_json::from_value(value)
    }

    #[test]
    fn every_method_is_read() {
        assert_eq!(read(json!("direct")).unwrap(), Upload::Direct(DirectUpload::default()));
        let put = read(json!({"method": "put", "upload_url": "https://h/x", "user": "me",
            "secret": {"env": "PASSWORD"}}));
        let Upload::Put(put) = put.unwrap() else { panic!("not put") };
        assert!(put.verify && !put.versioned && put.secret.is_some());
        let serve = json!({"method": "serve", "listen": "0.0.0.0:0", "display_url": "http://h/"});
        assert_eq!(read(serve).unwrap().method(), "serve");
        assert_eq!(
            read(json!({"method": "url", "url": "http://h/x.vhd"})).unwrap().method(),
            "url"
        );
    }

    #[test]
    fn mistakes_are_refused() {
        for wrong in [
            json!("put"),
            json!("ftp"),
            json!({"method": "direct", "verify": false}),
            json!({"method": "put", "upload_url": "x"}),
            json!(7),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let put = PutUpload::new("https://me:hush@h/x?sig=hush".parse().unwrap());
        let url = UrlUpload::new("https://me:hush@h/x?sig=hush".parse().unwrap());
        for upload in [Upload::Put(put), Upload::Url(url)] {
            assert!(!format!("{upload:?}").contains("hush"));
        }
    }
}
