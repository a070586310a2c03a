//! Sending an appliance to a web server by HTTP PUT.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flock_core::progress::{Level, Task, Unit};
use flock_core::rootfs::checksum::Checksum;
use flock_core::{Context, Error, ErrorKind, Result};
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue,
};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use url::{Host, Url};

use super::body::FileBody;
use super::http;
use super::send::watched;
use crate::blocking;
use crate::error::BACKEND;
use crate::image_builder::{Appliance, PutUpload, shown};
use crate::tls::{self, Trust};

/// How often an upload that broke is begun or continued, in all.
const MAX_TRIES: u32 = 5;
/// The wait before the second try; it doubles from try to try.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How long a server may take to say what it has.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// The headers in which servers tell the checksum of a file: RFC 9530, RFC
/// 3230, and those of package repositories.
const DIGESTS: [&str; 4] = ["repr-digest", "digest", "x-checksum-sha256", "etag"];

/// An appliance on its way to a web server.
#[derive(Debug)]
pub(crate) struct Put<'a> {
    pub(crate) ctx: &'a Context,
    pub(crate) appliance: &'a Appliance,
    pub(crate) upload: &'a PutUpload,
    /// Where it goes.
    pub(crate) target: Url,
    /// Where CloudStack sees it.
    pub(crate) display: Url,
}

/// What is at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    length: Option<u64>,
    etag: Option<String>,
    digests: Vec<String>,
}

/// The client, and what it shows to the server that is uploaded to.
struct Session {
    client: Client,
    login: Option<HeaderValue>,
}

impl Put<'_> {
    /// Sends the appliance, unless the server has exactly it already. Gives
    /// its checksum if that was asked for. Can be repeated.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthenticated`], [`ErrorKind::PermissionDenied`],
    /// [`ErrorKind::NotFound`] for a directory that is not there,
    /// [`ErrorKind::QuotaExceeded`], [`ErrorKind::Unsupported`] as the server
    /// says; [`ErrorKind::Unavailable`] and [`ErrorKind::Timeout`] if it cannot
    /// be reached, after several tries; [`ErrorKind::Conflict`] if the
    /// appliance changes meanwhile; [`ErrorKind::InvalidData`] if the server
    /// has something else afterwards; [`ErrorKind::InvalidConfig`] if that is
    /// not what CloudStack would see; the end of the context.
    pub(crate) async fn run(&self, checksum: bool) -> Result<Option<Checksum>> {
        let session = self.session().await?;
        let before = self.look(&session, &self.target).await?;
        if let Some(sum) = self.is_there(before.as_ref()).await? {
            return Ok(checksum.then_some(sum));
        }
        let sum = self.send(&session, before.as_ref(), checksum).await?;
        self.appliance.check_unchanged()?;
        if self.upload.verify {
            self.verify(&session).await?;
        }
        match sum {
            None if checksum => super::sha256(self.ctx, self.appliance).await.map(Some),
            sum => Ok(sum),
        }
    }

    async fn session(&self) -> Result<Session> {
        let trust = Trust { ca_file: self.upload.ca_file.clone(), verify: true };
        let client = http::client(self.ctx, trust).await?;
        let (upload, target) = (self.upload.clone(), self.target.clone());
        let login = blocking::run(self.ctx, move |ctx| login(ctx, &upload, &target)).await?;
        let session = Session { client, login };
        if self.has_login(&session) && self.target.scheme() != "https" && !is_local(&self.target) {
            let place = shown(&self.target);
            let text = format!("the login for {place} travels in the clear; https would hide it");
            self.ctx.message(Level::Warning, text);
        }
        Ok(session)
    }

    /// A user and a password in the address are sent by the client itself.
    fn has_login(&self, session: &Session) -> bool {
        session.login.is_some() || self.target.password().is_some()
    }

    /// What is at an address, as far as the server tells.
    async fn look(&self, session: &Session, url: &Url) -> Result<Option<Seen>> {
        let request = session.request(Method::HEAD, url, &self.target).timeout(LOOK_TIMEOUT);
        let asked = async { request.send().await.map_err(|error| broken(url, error)) };
        let response = self.ctx.run(asked).await?;
        match response.status() {
            status if status.is_success() => Ok(Some(Seen::read(response.headers()))),
            // What needs a login to be looked at needs one to be written.
            StatusCode::UNAUTHORIZED => Err(self.refused(session, url, response).await),
            _ => Ok(None),
        }
    }

    /// Whether exactly the appliance is there: a server that tells checksums
    /// has told its. The same length alone says nothing.
    async fn is_there(&self, seen: Option<&Seen>) -> Result<Option<Checksum>> {
        let Some(seen) = seen.filter(|seen| seen.length == Some(self.appliance.length)) else {
            return Ok(None);
        };
        if !seen.digests.iter().any(|digest| could_be_sha256(digest)) {
            return Ok(None);
        }
        let sum = super::sha256(self.ctx, self.appliance).await?;
        if !seen.digests.iter().any(|digest| says(digest, &sum)) {
            return Ok(None);
        }
        self.task(0).skip("it is there already");
        Ok(Some(sum))
    }

    fn task(&self, start: u64) -> Task {
        let label = format!("upload {}", self.appliance.path.display());
        let task = self.ctx.task(label, Unit::Bytes, Some(self.appliance.length));
        task.advance(start);
        task
    }

    /// Sends it, and goes on where that broke if the server has kept what it
    /// had got.
    async fn send(
        &self,
        session: &Session,
        before: Option<&Seen>,
        checksum: bool,
    ) -> Result<Option<Checksum>> {
        let (mut start, mut wait) = (0, FIRST_WAIT);
        for tries in 1.. {
            let error = match self.attempt(session, start, checksum).await {
                Ok(sum) => return Ok(sum),
                Err(error) if tries == MAX_TRIES || !error.is_retryable() => return Err(error),
                Err(error) => error,
            };
            let text = format!("{error}; the upload is tried again");
            self.ctx.message(Level::Warning, text);
            self.ctx.sleep(error.retry_after().unwrap_or_default().max(wait)).await?;
            wait *= 2;
            // Who has not taken a part will not take another.
            start = if start == 0 { self.kept(session, before).await } else { 0 };
        }
        Ok(None)
    }

    /// How much of it the server has kept of an upload that broke: none, if
    /// what is there may be something else.
    async fn kept(&self, session: &Session, before: Option<&Seen>) -> u64 {
        match self.look(session, &self.target).await {
            Ok(Some(now)) if before != Some(&now) => {
                now.length.filter(|length| *length < self.appliance.length).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Sends it from `start` on; a part by `Content-Range` (RFC 9110, section
    /// 14.5), which few servers take.
    async fn attempt(
        &self,
        session: &Session,
        start: u64,
        checksum: bool,
    ) -> Result<Option<Checksum>> {
        let length = self.appliance.length;
        let body = FileBody::new(self.appliance.file.clone(), start..length)
            .with_checksum(checksum && start == 0);
        let meter = body.meter();
        let mut request = session
            .request(Method::PUT, &self.target, &self.target)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, length - start)
            .body(reqwest::Body::wrap(body));
        if start > 0 {
            request =
                request.header(CONTENT_RANGE, format!("bytes {start}-{}/{length}", length - 1));
        }
        let task = self.task(start);
        let exchange = async { request.send().await.map_err(|error| broken(&self.target, error)) };
        let response = watched(self.ctx, &task, &meter, length - start, exchange).await?;
        if response.status().is_success() {
            if start > 0 {
                self.check_whole(session).await?;
            }
            task.done();
            return Ok(meter.checksum());
        }
        let error = self.refused(session, &self.target, response).await;
        // A server that takes no parts says so; all of it may still do.
        Err(if start > 0 { error.retryable() } else { error })
    }

    /// Fails, to be tried again, unless a part has made it whole: a server may
    /// have taken the part for all of it.
    async fn check_whole(&self, session: &Session) -> Result<()> {
        match self.look(session, &self.target).await? {
            Some(seen) if seen.length == Some(self.appliance.length) => Ok(()),
            _ => {
                let message = format!("{} takes no parts of files", shown(&self.target));
                Err(Error::new(ErrorKind::Unavailable, message).in_backend(BACKEND))
            }
        }
    }

    /// Asks what is there now, and what CloudStack will see.
    async fn verify(&self, session: &Session) -> Result<()> {
        let wanted = self.appliance.length;
        if let Some(Seen { length: Some(length), .. }) = self.look(session, &self.target).await?
            && length != wanted
        {
            let place = shown(&self.target);
            let message = format!("{place} has {length} bytes after {wanted} were sent there");
            return Err(Error::new(ErrorKind::InvalidData, message)
                .in_backend(BACKEND)
                .with("url", place)
                .hint("the server may be out of space, or keep the file elsewhere"));
        }
        if self.display != self.target { self.verify_display(session).await } else { Ok(()) }
    }

    /// The address that CloudStack is told may be one that cannot be reached
    /// from here; only what certainly is wrong counts.
    async fn verify_display(&self, session: &Session) -> Result<()> {
        let url = &self.display;
        let request = session.client.head(url.clone()).timeout(LOOK_TIMEOUT);
        let asked = async { Ok(request.send().await) };
        let Ok(response) = self.ctx.run(asked).await? else { return Ok(()) };
        let status = response.status();
        let length = Seen::read(response.headers()).length;
        let what = match (status, length) {
            (StatusCode::NOT_FOUND | StatusCode::GONE, _) => "has no such file".to_owned(),
            (status, Some(length)) if status.is_success() && length != self.appliance.length => {
                format!("has a file of {length} bytes, not of {}", self.appliance.length)
            }
            _ => return Ok(()),
        };
        let message =
            format!("what was uploaded is not where CloudStack will look: {} {what}", shown(url));
        Err(Error::new(ErrorKind::InvalidConfig, message)
            .in_backend(BACKEND)
            .with("url", shown(url))
            .hint("display_url must lead to the directory that upload_url writes to"))
    }

    async fn refused(&self, session: &Session, url: &Url, response: reqwest::Response) -> Error {
        let status = response.status();
        let error = http::refused(url, response).await;
        match (status, self.has_login(session)) {
            (StatusCode::UNAUTHORIZED, false) => error
                .hint("give a login for it: upload.user and upload.secret, or --credentials-file"),
            (StatusCode::UNAUTHORIZED, true) => error.hint("check the login given for it"),
            _ => error,
        }
    }
}

impl Session {
    /// A request with the login, which only goes to the server that is
    /// uploaded to.
    fn request(&self, method: Method, url: &Url, target: &Url) -> RequestBuilder {
        let request = self.client.request(method, url.clone());
        match self.login.clone().filter(|_| url.origin() == target.origin()) {
            Some(login) => request.header(AUTHORIZATION, login),
            None => request,
        }
    }
}

/// The error for a request that got no answer.
fn broken(url: &Url, source: reqwest::Error) -> Error {
    let error = http::broken(url, source);
    match tls::is_unknown_authority(&error) {
        true => error.hint("name the authority that signed it (upload.ca_file, --ca-file)"),
        false => error,
    }
}

/// The `Authorization` header. Blocks.
fn login(ctx: &Context, upload: &PutUpload, target: &Url) -> Result<Option<HeaderValue>> {
    let text = match (&upload.secret, &upload.user, &upload.credentials_file) {
        (Some(secret), Some(user), _) => {
            let login = format!("{user}:{}", secret.resolve(ctx)?.expose());
            format!("Basic {}", STANDARD.encode(login))
        }
        (Some(secret), None, _) => format!("Bearer {}", secret.resolve(ctx)?.expose()),
        (None, _, Some(file)) => match flock_core::fetch::login(file, target)? {
            Some(login) => login.expose().to_owned(),
            None => return Ok(None),
        },
        (None, _, None) => return Ok(None),
    };
    let mut header = HeaderValue::from_str(&text).map_err(|_| {
        let message = "the login for the upload holds characters that no header can";
        Error::new(ErrorKind::InvalidConfig, message).in_backend(BACKEND)
    })?;
    header.set_sensitive(true);
    Ok(Some(header))
}

impl Seen {
    fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            length: text(CONTENT_LENGTH.as_str()).and_then(|text| text.trim().parse().ok()),
            etag: text(ETAG.as_str()).map(str::to_owned),
            digests: DIGESTS.iter().filter_map(|name| text(name)).map(str::to_owned).collect(),
        }
    }
}

/// Whether a header's value is long enough to hold a SHA-256 in hexadecimal or
/// in Base64.
fn could_be_sha256(digest: &str) -> bool {
    digest.len() >= 44
}

/// Whether a header's value holds this checksum.
fn says(digest: &str, sum: &Checksum) -> bool {
    let hex = sum.hex();
    let pairs = hex.as_bytes().chunks_exact(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    let bytes: Vec<_> = pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect();
    digest.to_ascii_lowercase().contains(&hex) || digest.contains(&STANDARD.encode(bytes))
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The address of a file below a directory: `NAME/FILE`, whatever is in the
/// names.
pub(crate) fn below(directory: &Url, name: &str, file: &str) -> Url {
    let mut url = directory.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(name).push(file);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_found_in_headers() {
        let sum = Checksum::from_bytes([0xab; 32]);
        let base64 = STANDARD.encode([0xab; 32]);
        assert!(says(&format!("\"{}\"", sum.hex()), &sum));
        assert!(says(&sum.hex().to_uppercase(), &sum));
        assert!(says(&format!("sha-256=:{base64}:"), &sum));
        assert!(!says("\"5f-60a\"", &sum) && !could_be_sha256("\"5f-60a\""));
    }

    #[test]
    fn a_file_goes_below_its_directory() {
        for (directory, wanted) in [
            ("https://h/up", "https://h/up/web/web%3F.tar"),
            ("https://h/up/?sig=x", "https://h/up/web/web%3F.tar?sig=x"),
            ("https://h", "https://h/web/web%3F.tar"),
        ] {
            assert_eq!(below(&directory.parse().unwrap(), "web", "web?.tar").as_str(), wanted);
        }
    }

    #[test]
    fn this_machine_is_known() {
        let local = |url: &str| is_local(&url.parse().unwrap());
        assert!(
            local("http://localhost:1/") && local("http://127.0.0.9/") && local("http://[::1]/")
        );
        assert!(!local("http://192.0.2.1/") && !local("http://h/"));
    }
}
