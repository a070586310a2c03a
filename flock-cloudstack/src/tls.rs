//! HTTPS: whom to believe, and what to say where no connection comes about.

use std::path::PathBuf;

use flock_core::{Error, ErrorKind, Result};
use reqwest::{Client, ClientBuilder};
use url::Url;

use crate::error::BACKEND;

/// Whom to believe that they are who they say.
#[derive(Debug, Clone)]
pub(crate) struct Trust {
    /// Authorities beside the system's.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) verify: bool,
}

impl Trust {
    /// Makes the client. Reads files.
    ///
    /// # Errors
    /// Those of reading [`ca_file`](Self::ca_file);
    /// [`ErrorKind::InvalidConfig`] if the certificates cannot be used.
    pub(crate) fn client(&self, mut builder: ClientBuilder) -> Result<Client> {
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path)
                .map_err(|source| Error::io("read the certificates in", path, source))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if certificates.is_empty() {
                return Err(unusable(format!("{} holds no PEM certificate", path.display())));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        if !self.verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        builder.build().map_err(|source| self.unusable(source))
    }

    fn unusable(&self, source: reqwest::Error) -> Error {
        let error = match &self.ca_file {
            Some(path) => unusable(format!("cannot use the certificates in {}", path.display()))
                .hint("each must be an X.509 certificate in PEM, whole"),
            None => unusable("cannot set up HTTPS".to_owned()),
        };
        error
            .hint("install the system's certificates (Debian: apt install ca-certificates)")
            .caused_by(source)
    }
}

fn unusable(message: String) -> Error {
    Error::new(ErrorKind::InvalidConfig, message).in_backend(BACKEND)
}

/// Why there is no connection by HTTPS to a server that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// No known authority has signed the certificate.
    UnknownAuthority,
    /// The certificate is an authority's, as that which `openssl req -x509`
    /// makes: a server may not have it (RFC 5280, section 4.2.1.9, as WebPKI
    /// reads it).
    Authority,
    Expired,
    NotYetValid,
    OtherName,
    /// Anything else about the certificate.
    Certificate,
    /// No version or cipher is common to both.
    NoAgreement,
    /// The server speaks something else than TLS, most likely plain HTTP.
    NoTls,
    /// The server was asked by HTTP and wants HTTPS.
    OnlyTls,
}

impl Obstacle {
    /// What the client's error tells. The types of the TLS library (rustls)
    /// are not ours to name, so its words are read.
    pub(crate) fn of(error: &reqwest::Error) -> Option<Self> {
        if !error.is_connect() {
            return None;
        }
        let cause = last_cause(error);
        let says = |words: &[&str]| words.iter().any(|word| cause.contains(word));
        let certificate = [
            ("UnknownIssuer", Self::UnknownAuthority),
            // One of that name is known, with another key.
            ("BadSignature", Self::UnknownAuthority),
            ("UnsupportedSignatureAlgorithmForPublicKey", Self::UnknownAuthority),
            ("CaUsedAsEndEntity", Self::Authority),
            ("expired", Self::Expired),
            ("not valid yet", Self::NotYetValid),
            ("not valid for", Self::OtherName),
        ];
        if says(&["invalid peer certificate"]) {
            let found = certificate.into_iter().find(|(word, _)| cause.contains(word));
            return Some(found.map_or(Self::Certificate, |(_, obstacle)| obstacle));
        }
        if says(&["InvalidContentType", "corrupt message"]) {
            return Some(Self::NoTls);
        }
        says(&["fatal alert", "peer is incompatible"]).then_some(Self::NoAgreement)
    }

    /// Whether a server that was asked by HTTP says that it wants HTTPS, in
    /// the words of nginx, Apache httpd, Tomcat or Go.
    pub(crate) fn of_answer(url: &Url, status: u16, text: &str) -> Option<Self> {
        const WORDS: [&str; 4] = [
            "sent to https port",
            "ssl-enabled server port",
            "requires tls",
            "http request to an https server",
        ];
        let text = text.to_ascii_lowercase();
        let is_it = url.scheme() == "http" && status == 400;
        (is_it && WORDS.iter().any(|words| text.contains(words))).then_some(Self::OnlyTls)
    }

    /// The error for it; the place is the server's.
    pub(crate) fn error(self, place: &str) -> Error {
        let (message, hint) = self.words();
        let Some(certificate) = self.certificate() else {
            return Error::new(ErrorKind::InvalidData, format!("{place} {message}"))
                .in_backend(BACKEND)
                .hint(hint);
        };
        let message = format!("the certificate of {place} is not trusted: {message}");
        let error = Error::new(ErrorKind::InvalidData, message).in_backend(BACKEND);
        let error = error.with(CERTIFICATE, certificate);
        if hint.is_empty() { error } else { error.hint(hint) }
    }

    /// What is wrong, and what to do about it where that is the same for all
    /// that speak HTTPS.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::UnknownAuthority => ("no authority that is known here has signed it", ""),
            Self::Authority => (
                "it is an authority's own, which servers must not show",
                "a server that signs its own certificate needs one with \
                 basicConstraints=CA:FALSE (openssl req -x509 -addext \
                 basicConstraints=critical,CA:FALSE); that can be named as ca_file",
            ),
            Self::Expired => {
                ("it has expired", "it has to be renewed, unless this machine's clock is wrong")
            }
            Self::NotYetValid => ("it is not valid yet", "check this machine's clock"),
            Self::OtherName => (
                "it is for another name",
                "use a name that the certificate has, or have it made for this one",
            ),
            Self::Certificate => ("it cannot be verified", ""),
            Self::NoAgreement => (
                "refuses to speak TLS with flock",
                "it must speak TLS 1.2 or 1.3; older versions are not safe",
            ),
            Self::NoTls => (
                "does not speak HTTPS",
                "if that is its port for HTTP, the address must begin with http://",
            ),
            Self::OnlyTls => {
                ("wants HTTPS, and was asked by HTTP", "the address must begin with https://")
            }
        }
    }

    fn certificate(self) -> Option<&'static str> {
        match self {
            Self::UnknownAuthority => Some(UNKNOWN_AUTHORITY),
            Self::Authority => Some("authority"),
            Self::Expired => Some("expired"),
            Self::NotYetValid => Some("not_yet_valid"),
            Self::OtherName => Some("other_name"),
            Self::Certificate => Some("other"),
            Self::NoAgreement | Self::NoTls | Self::OnlyTls => None,
        }
    }
}

/// The context value that the error for a certificate has: what is wrong with
/// it.
const CERTIFICATE: &str = "certificate";
const UNKNOWN_AUTHORITY: &str = "unknown_authority";

/// Whether an error is about a certificate.
pub(crate) fn is_certificate(error: &Error) -> bool {
    error.context_value(CERTIFICATE).is_some()
}

/// Whether a certificate would be trusted if the authority was known that
/// signed it.
pub(crate) fn is_unknown_authority(error: &Error) -> bool {
    error.context_value(CERTIFICATE) == Some(UNKNOWN_AUTHORITY)
}

/// The cause of all others, in words.
pub(crate) fn last_cause(error: &reqwest::Error) -> String {
    let first = std::error::Error::source(error);
    let causes = std::iter::successors(first, |cause| cause.source());
    causes.last().map_or_else(|| "no reason given".to_owned(), ToString::to_string)
}
