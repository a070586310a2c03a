//! One file over HTTP, through cuts, stalls and restarts.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Response, StatusCode};
use tokio::sync::mpsc;
use url::Url;

use super::blocking;
use super::http::{self, ContentRange};
use super::options::FetchOptions;
use super::redact::redacted;
use super::retry::Retries;
use super::store::{Store, Validators, too_large};
use crate::cache::{CacheKey, CacheLock};
use crate::progress::{Task, Unit};
use crate::rootfs::checksum::Checksum;
use crate::{Context, Error, ErrorKind, Result};

/// How many chunks may wait for the disk.
const CHUNKS_AHEAD: usize = 16;

/// What to download.
pub(super) struct Job<'a> {
    pub(super) url: &'a Url,
    /// What a person calls it.
    pub(super) label: String,
    /// Sent with every request.
    pub(super) headers: HeaderMap,
    /// The key of the unfinished file.
    pub(super) key: CacheKey,
    pub(super) expected: Option<Checksum>,
    /// The size, where it is known for sure.
    pub(super) size: Option<u64>,
    /// What we have complete already: if it is still the same, say so.
    pub(super) known: Option<&'a Validators>,
}

/// What became of it.
pub(super) enum Received {
    /// It is what is known already.
    NotModified,
    /// A complete, verified file, in the cache under its hash.
    File { path: PathBuf, sha256: Checksum, bytes: u64, validators: Validators },
}

/// What one request led to.
enum Step {
    NotModified,
    Complete,
    /// What was there is of no use; ask for the whole.
    Anew,
}

/// Downloads the file. Retries for passing failures; what was received stays
/// for the next call, whatever ends this one.
pub(super) async fn download(
    client: &Client,
    options: &FetchOptions,
    ctx: &Context,
    job: Job<'_>,
    lock: CacheLock,
) -> Result<Received> {
    let (cache, key, verified) = (options.cache.clone(), job.key.clone(), job.expected.is_some());
    let store = blocking(ctx, move |ctx| Store::open(&cache, &key, lock, verified, ctx)).await?;
    let best = store.len();
    let mut transfer =
        Transfer { client, options, ctx, job, store: Some(store), task: None, renewed: false };
    let mut retries = Retries::new(options);
    transfer.run(&mut retries, best).await
}

struct Transfer<'a> {
    client: &'a Client,
    options: &'a FetchOptions,
    ctx: &'a Context,
    job: Job<'a>,
    /// Away only while a chunk is being written.
    store: Option<Store>,
    task: Option<Task>,
    /// Whether a damaged file was thrown away already.
    renewed: bool,
}

impl Transfer<'_> {
    async fn run(&mut self, retries: &mut Retries, mut best: u64) -> Result<Received> {
        loop {
            match self.attempt().await {
                Ok(Step::NotModified) => {
                    if let Some(task) = self.task.take() {
                        task.skip("it has not changed");
                    }
                    return Ok(Received::NotModified);
                }
                Ok(Step::Complete) => {
                    if let Some(received) = self.finish().await? {
                        return Ok(received);
                    }
                }
                Ok(Step::Anew) => {}
                Err(error) => {
                    let have = self.store.as_ref().map_or(0, Store::len);
                    if have > best {
                        best = have;
                        retries.reset();
                    }
                    let bytes = have.to_string();
                    retries.wait(self.ctx, error.with("bytes_received", bytes)).await?;
                }
            }
        }
    }

    /// Lets a thread for blocking work do something with the file.
    async fn on_store<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut store = self.store.take().ok_or_else(|| self.nonsense("its file is gone"))?;
        let both = tokio::task::spawn_blocking(move || (work(&mut store), store));
        let (result, store) = super::joined(both.await)?;
        self.store = Some(store);
        result
    }

    fn store(&mut self) -> Result<&mut Store> {
        self.store.as_mut().ok_or_else(|| Error::new(ErrorKind::Unexpected, "no file to write to"))
    }

    /// Asks for what is missing and appends what comes.
    async fn attempt(&mut self) -> Result<Step> {
        let verified = self.job.expected.is_some();
        let store = self.store()?;
        if !verified && store.validators().if_range().is_none() {
            // Nothing could tell whether the rest belongs to what is there.
            self.on_store(Store::restart).await?;
        }
        let have = self.store()?.len();
        if have > 0 && self.job.size == Some(have) {
            return Ok(Step::Complete);
        }
        let response = self.send(have).await?;
        let total = match response.status() {
            StatusCode::NOT_MODIFIED if self.job.known.is_some() && have == 0 => {
                return Ok(Step::NotModified);
            }
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                // The validator still holds, or the whole would have come.
                let range = content_range(&response);
                if range.and_then(|range| range.total) == Some(have) {
                    return Ok(Step::Complete);
                }
                self.on_store(Store::restart).await?;
                return Ok(Step::Anew);
            }
            StatusCode::PARTIAL_CONTENT if have > 0 => {
                let Some(total) = self.continued_total(&response, have)? else {
                    self.on_store(Store::restart).await?;
                    return Ok(Step::Anew);
                };
                self.store()?.continued = true;
                total
            }
            StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                http::refuse_page(response.headers(), self.job.url)?;
                let validators = validators(&response);
                let total = validators.total;
                self.on_store(|store| store.begin(validators)).await?;
                self.task = None;
                total
            }
            _ => {
                let login = !self.job.headers.is_empty() || !self.job.url.username().is_empty();
                http::check_status(&response, self.job.url, login)?;
                return Err(self.nonsense("its status does not fit the request"));
            }
        };
        self.check_total(total)?;
        self.receive(response, total).await
    }

    async fn send(&mut self, have: u64) -> Result<Response> {
        let url = self.job.url;
        let mut request = self
            .client
            .get(url.clone())
            .headers(self.job.headers.clone())
            .header(header::ACCEPT_ENCODING, "identity");
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
            if let Some(validator) = self.store()?.validators().if_range() {
                request = request.header(header::IF_RANGE, validator);
            }
        } else if let Some(known) = self.job.known {
            if let Some(etag) = &known.etag {
                request = request.header(header::IF_NONE_MATCH, etag);
            } else if let Some(date) = &known.last_modified {
                request = request.header(header::IF_MODIFIED_SINCE, date);
            }
        }
        let sent =
            async { request.send().await.map_err(|source| http::transport_error(source, url)) };
        self.ctx.run(sent).await
    }

    /// The whole size of the file that a 206 answer continues (`Some(None)`
    /// if the server does not know it), or `None` if it does not continue
    /// what is there.
    fn continued_total(&mut self, response: &Response, have: u64) -> Result<Option<Option<u64>>> {
        let Some(range) = content_range(response) else { return Ok(None) };
        let ours = self.store()?.validators();
        let same_tag = match (&ours.etag, http::text(response.headers(), header::ETAG)) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        let same_size = ours.total.is_none() || range.total.is_none() || ours.total == range.total;
        let fits = range.first == Some(have) && same_tag && same_size;
        Ok(fits.then_some(range.total.or(ours.total)))
    }

    fn check_total(&self, total: Option<u64>) -> Result<()> {
        match (total, self.job.size) {
            (Some(total), Some(size)) if total != size => {
                Err(self.nonsense("its size is not the one announced"))
            }
            (Some(total), _) if total > self.options.max_size => {
                Err(too_large(self.options.max_size).with("size", total.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Writes the body behind what is there. The connection and the disk work
    /// at the same time.
    async fn receive(&mut self, mut response: Response, total: Option<u64>) -> Result<Step> {
        let store = self.store.take().ok_or_else(|| self.nonsense("its file is gone"))?;
        let task = self.task.get_or_insert_with(|| {
            let task = self.ctx.task(format!("download {}", self.job.label), Unit::Bytes, total);
            task.advance(store.len());
            task
        });
        let limit = self.job.size.unwrap_or(self.options.max_size);
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let writer = tokio::task::spawn_blocking(move || store.append(receiver, limit));
        let received = loop {
            let url = self.job.url;
            let next = async {
                response.chunk().await.map_err(|source| http::transport_error(source, url))
            };
            match self.ctx.run(next).await {
                Ok(Some(chunk)) => {
                    task.advance(chunk.len() as u64);
                    if sender.send(chunk).await.is_err() {
                        break Ok(());
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        drop(sender);
        let (store, written) = super::joined(writer.await)?;
        let have = self.store.insert(store).len();
        written?;
        received?;
        match total {
            Some(total) if have < total => {
                let shown = redacted(self.job.url);
                let message = format!("the connection to {shown} ended too early");
                Err(Error::new(ErrorKind::Unavailable, message).with("url", shown))
            }
            Some(total) if have > total => {
                self.on_store(Store::restart).await?;
                Err(self.nonsense("it sent more than it announced"))
            }
            _ => Ok(Step::Complete),
        }
    }

    /// Verifies the file and puts it into the cache. `None`: it came in
    /// pieces that do not fit together, so it has to come anew.
    async fn finish(&mut self) -> Result<Option<Received>> {
        let store = self.store.take().ok_or_else(|| self.nonsense("its file is gone"))?;
        let (sha256, bytes) = (store.sha256(), store.len());
        let verified = match (self.job.expected, self.job.size) {
            (_, Some(size)) if size != bytes => {
                Err(self.nonsense("its size is not the one announced"))
            }
            (Some(expected), _) => expected.verify(&sha256, redacted(self.job.url)),
            _ => Ok(()),
        };
        if verified.is_err() && store.continued && !self.renewed {
            self.renewed = true;
            self.store = Some(store);
            self.on_store(Store::restart).await?;
            return Ok(None);
        }
        let page = http::looks_like_page(store.head());
        if page || verified.is_err() {
            super::joined(tokio::task::spawn_blocking(move || store.discard()).await)??;
            return Err(if page { http::page(self.job.url) } else { mismatch(verified) });
        }
        let validators = store.validators().clone();
        // Committing waits for the disk; a cancellation would only lose it.
        let path = super::joined(tokio::task::spawn_blocking(move || store.commit()).await)??;
        if let Some(task) = self.task.take() {
            task.done();
        }
        Ok(Some(Received::File { path, sha256, bytes, validators }))
    }

    fn nonsense(&self, why: &str) -> Error {
        let shown = redacted(self.job.url);
        Error::new(ErrorKind::InvalidData, format!("{shown} was answered wrongly: {why}"))
            .with("url", shown)
    }
}

fn mismatch(verified: Result<()>) -> Error {
    verified.err().unwrap_or_else(|| Error::new(ErrorKind::InvalidData, "the download is damaged"))
}

fn content_range(response: &Response) -> Option<ContentRange> {
    ContentRange::parse(http::text(response.headers(), header::CONTENT_RANGE)?)
}

fn validators(response: &Response) -> Validators {
    let headers = response.headers();
    let own = |name| http::text(headers, name).map(str::to_owned);
    let date = |name| http::http_date(http::text(headers, name)?);
    let strong_date = match (date(header::LAST_MODIFIED), date(header::DATE)) {
        (Some(modified), Some(sent)) => {
            sent.duration_since(modified).is_ok_and(|age| age >= Duration::from_secs(1))
        }
        _ => false,
    };
    Validators {
        etag: own(header::ETAG),
        last_modified: own(header::LAST_MODIFIED),
        strong_date,
        total: response.content_length(),
    }
}
