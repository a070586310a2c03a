//! Fetches templates from the addresses they were registered with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{CONTENT_RANGE, RANGE};
use flock_core::rootfs::decompress::Compression;
use flock_core::{Error, ErrorKind};
use reqwest::{Client, Response};
use url::Url;
use uuid::Uuid;

use super::content::{CUT, Checksum, Expected, Findings, Intake};
use super::error::ApiError;
use super::format::Format;
use super::request::Request;
use super::server::Shared;
use super::storage;
use super::world::Event;
use super::world::template::Stage;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the server may be silent when it is asked for the size.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may be silent in a download.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a download that breaks off is resumed.
const RESUMES: usize = 5;

/// The client for all downloads. Redirects are not followed, which is
/// CloudStack's default too.
pub(crate) fn client() -> Result<Client, Error> {
    let client = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    client.map_err(|source| {
        Error::new(ErrorKind::Unexpected, "cannot set up the HTTP client").caused_by(source)
    })
}

/// What the management server checks before a template is registered: that
/// the name suits the format, and that something is there, by HEAD or by GET.
pub(crate) async fn check(shared: &Shared, request: &Request) -> Result<(), ApiError> {
    let url = request.text("url").unwrap_or_default();
    let (parsed, _) = parse(url, request.text("format").and_then(Format::parse), shared)
        .map_err(ApiError::parameter)?;
    let mut problem = String::new();
    for wanted in [shared.http.head(parsed.clone()), shared.http.get(parsed)] {
        match wanted.timeout(CHECK_TIMEOUT).send().await {
            Ok(response) if response.status() == StatusCode::OK => return Ok(()),
            Ok(response) => problem = unexpected(response.status()),
            Err(error) => problem = format!("Unable to connect: {}", chain(&error)),
        }
    }
    Err(ApiError::parameter(format!("Invalid URL: {url}: {problem}")))
}

/// The address, and what the file there is compressed with.
fn parse(url: &str, format: Option<Format>, shared: &Shared) -> Result<(Url, Compression), String> {
    let parsed = Url::parse(url).map_err(|error| format!("Invalid URL: {url}: {error}"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(format!("Unsupported scheme for url: {url}"));
    }
    let format = format.ok_or("Please specify a valid format")?;
    let compression = format.check_name(parsed.path(), shared.world().knows_xz())?;
    Ok((parsed, compression))
}

fn unexpected(status: StatusCode) -> String {
    format!("HTTP Server returned {} (expected 200 OK)", status.as_u16())
}

/// The error with its causes, which say what really happened.
fn chain(error: &reqwest::Error) -> String {
    let mut text = "the request failed".to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Fetches a template into a zone, and notes how far it is.
pub(crate) async fn run(shared: Arc<Shared>, template: Uuid, zone: Uuid) {
    let Some(order) = order(&shared, template) else { return };
    let download = Download { shared: &shared, template, zone };
    let outcome = download.run(order).await;
    download.note(outcome).await;
}

/// What is to be fetched.
struct Order {
    url: String,
    format: Format,
    checksum: Option<Checksum>,
}

fn order(shared: &Shared, template: Uuid) -> Option<Order> {
    let world = shared.world();
    let record = world.templates.get(template)?;
    Some(Order {
        url: record.url.clone()?,
        format: record.format,
        checksum: record.checksum.as_deref().and_then(|text| Checksum::parse(text).ok()),
    })
}

/// One download.
struct Download<'a> {
    shared: &'a Arc<Shared>,
    template: Uuid,
    zone: Uuid,
}

impl Download<'_> {
    async fn run(&self, order: Order) -> Result<(Findings, Option<PathBuf>), String> {
        let (url, compression) = parse(&order.url, Some(order.format), self.shared)?;
        let response = self.get(&url, 0).await?;
        let max_size = self.shared.options.max_template_size;
        let total = response.content_length();
        if total.is_some_and(|total| total > max_size) {
            return Err(TOO_LARGE.to_owned());
        }
        let (shared, zone, template) = (self.shared, self.zone, self.template);
        let file = storage::create(shared, zone, template, order.format, compression);
        let file = file.map_err(|error| format!("Unable to keep the template: {error}"))?;
        let (file, path) = file.unzip();
        let intake = Intake::start(Expected {
            format: order.format,
            compression,
            checksum: order.checksum,
            file,
            max_size,
        });
        let pulled = self.pull(&url, response, total, &intake).await;
        let outcome = match pulled {
            Ok(()) => intake.finish().await,
            Err(error) => Err(error),
        };
        if outcome.is_err()
            && let Some(path) = &path
        {
            storage::remove(path).await;
        }
        outcome.map(|findings| (findings, path))
    }

    /// Asks for the file from this byte on.
    async fn get(&self, url: &Url, from: u64) -> Result<Response, String> {
        let mut request = self.shared.http.get(url.clone());
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let failed = |error| format!("Unable to connect: {}", chain(&error));
        let response = request.send().await.map_err(failed)?;
        let expected = if from > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let is_there =
            from == 0 || range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")));
        match response.status() == expected && is_there {
            true => Ok(response),
            false => Err(unexpected(response.status())),
        }
    }

    /// Pulls the file through, resuming where it breaks off.
    async fn pull(
        &self,
        url: &Url,
        mut response: Response,
        total: Option<u64>,
        intake: &Intake,
    ) -> Result<(), String> {
        let (mut received, mut resumes, mut percent) = (0, 0, 0);
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) => {
                    received += bytes.len() as u64;
                    if received > self.shared.options.max_template_size {
                        return Err(TOO_LARGE.to_owned());
                    }
                    if !intake.push(bytes).await {
                        return Ok(());
                    }
                    let now = share(received, total);
                    if now != percent {
                        percent = now;
                        self.stage(Stage::Downloading(percent));
                    }
                }
                Ok(None) => return Ok(()),
                Err(_) if received > 0 && resumes < RESUMES => {
                    resumes += 1;
                    response = self.get(url, received).await.map_err(|_| CUT.to_owned())?;
                }
                Err(_) => return Err(CUT.to_owned()),
            }
        }
    }

    fn stage(&self, stage: Stage) {
        self.shared.world().set_stage(self.template, self.zone, stage);
    }

    async fn note(&self, outcome: Result<(Findings, Option<PathBuf>), String>) {
        let (findings, path) = match outcome {
            Ok(found) => found,
            Err(reason) => return self.stage(Stage::Failed(reason)),
        };
        let is_wanted = {
            let mut world = self.shared.world();
            let noted = world.set_findings(self.template, self.zone, &findings, path.clone());
            if noted {
                world.set_stage(self.template, self.zone, Stage::Installing);
                let delay = self.shared.options.install_time;
                world.schedule_in(delay, Event::Installed(self.template, self.zone));
            }
            noted
        };
        // It was deleted meanwhile.
        if let Some(path) = path.filter(|_| !is_wanted) {
            storage::remove(&path).await;
        }
    }
}

const TOO_LARGE: &str = "Download file size is too large";

/// How many per cent of the total this is.
pub(crate) fn share(received: u64, total: Option<u64>) -> u8 {
    let share = total.filter(|total| *total > 0).map(|total| received.saturating_mul(100) / total);
    share.and_then(|share| u8::try_from(share).ok()).map_or(0, |share| share.min(100))
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_are_whole_per_cents() {
        assert_eq!(share(0, Some(10)), 0);
        assert_eq!(share(999, Some(1000)), 99);
        assert_eq!(share(1000, Some(1000)), 100);
        assert_eq!(share(5, None), 0);
        assert_eq!(share(5, Some(0)), 0);
    }
}
