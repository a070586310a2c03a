//! The body of a request or an answer that is, for the most part, a file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use flock_core::rootfs::checksum::Checksum;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::reader::{AHEAD, Part};

/// What is known of a body while it is sent and afterwards.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    sent: AtomicU64,
    checksum: OnceLock<Checksum>,
    fault: OnceLock<String>,
}

impl Meter {
    /// How many bytes of the file have gone to the connection.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// The checksum of the range, if it was asked for and all of it was read.
    pub(crate) fn checksum(&self) -> Option<Checksum> {
        self.checksum.get().copied()
    }

    pub(super) fn set_checksum(&self, checksum: Checksum) {
        let _ = self.checksum.set(checksum);
    }

    pub(super) fn set_fault(&self, fault: String) {
        let _ = self.fault.set(fault);
    }

    /// Why the file could not be read.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }
}

/// A part of a file, with bytes before and behind it. Its length is known from
/// the start, so it travels with `Content-Length` and is never chunked. Reads
/// on a thread of its own, a little ahead; nothing before it is first asked.
#[derive(Debug)]
pub(crate) struct FileBody {
    head: Bytes,
    tail: Bytes,
    /// What is to be read, until the reading begins.
    waiting: Option<Part>,
    chunks: Option<mpsc::Receiver<io::Result<Bytes>>>,
    /// What is left of all of it, and of the file.
    left: u64,
    left_of_file: u64,
    meter: Arc<Meter>,
}

impl FileBody {
    /// These bytes of the file.
    pub(crate) fn new(file: Arc<File>, range: Range<u64>) -> Self {
        let length = range.end.saturating_sub(range.start);
        Self {
            head: Bytes::new(),
            tail: Bytes::new(),
            waiting: Some(Part { file, range, checksum: false }),
            chunks: None,
            left: length,
            left_of_file: length,
            meter: Arc::default(),
        }
    }

    /// The same between these bytes.
    pub(crate) fn between(mut self, head: Bytes, tail: Bytes) -> Self {
        self.left = self.left_of_file + head.len() as u64 + tail.len() as u64;
        (self.head, self.tail) = (head, tail);
        self
    }

    /// The same, whose file is summed up on the way.
    pub(crate) fn with_checksum(mut self, wanted: bool) -> Self {
        if let Some(part) = &mut self.waiting {
            part.checksum = wanted;
        }
        self
    }

    /// The meter of this body.
    pub(crate) fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let Some(part) = self.waiting.take() {
            let (sender, receiver) = mpsc::channel(AHEAD);
            let meter = Arc::clone(&self.meter);
            tokio::task::spawn_blocking(move || part.read(&meter, &sender));
            self.chunks = Some(receiver);
        }
        match &mut self.chunks {
            Some(chunks) => chunks.poll_recv(cx),
            None => Poll::Ready(None),
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = &mut *self;
        let next = if !body.head.is_empty() {
            std::mem::take(&mut body.head)
        } else if body.left_of_file > 0 {
            let chunk = match ready!(body.poll_chunk(cx)) {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
            };
            body.left_of_file = body.left_of_file.saturating_sub(chunk.len() as u64);
            body.meter.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            chunk
        } else if !body.tail.is_empty() {
            std::mem::take(&mut body.tail)
        } else {
            return Poll::Ready(None);
        };
        body.left = body.left.saturating_sub(next.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(next))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use sha2::{Digest as _, Sha256};

    use super::super::reader::CHUNK;
    use super::*;

    async fn collect(mut body: FileBody) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let left = body.size_hint().exact();
            match std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(frame) => all.extend_from_slice(&frame?.into_data().unwrap()),
                None => {
                    assert_eq!(left, Some(0));
                    return Ok(all);
                }
            }
        }
    }

    fn file(length: usize) -> (Arc<File>, Vec<u8>) {
        let bytes: Vec<u8> = (0..=250).cycle().step_by(7).take(length).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (Arc::new(file), bytes)
    }

    #[tokio::test]
    async fn it_is_the_file_between_its_ends() {
        let (file, bytes) = file(3 * CHUNK + 17);
        let length = bytes.len() as u64;
        let body = FileBody::new(Arc::clone(&file), 0..length)
            .between(Bytes::from_static(b"<<"), Bytes::from_static(b">>"))
            .with_checksum(true);
        let meter = body.meter();
        let all = collect(body).await.unwrap();
        assert_eq!(all, [b"<<", &bytes[..], b">>"].concat());
        assert_eq!(meter.sent(), length);
        let sum = Checksum::from_bytes(Sha256::digest(&bytes).into());
        assert_eq!(meter.checksum(), Some(sum));

        let part = FileBody::new(file, 100..CHUNK as u64 + 300);
        assert_eq!(collect(part).await.unwrap(), bytes[100..CHUNK + 300]);
    }

    #[tokio::test]
    async fn a_file_that_ends_early_is_an_error() {
        let (file, _) = file(1000);
        let body = FileBody::new(file, 0..2000).with_checksum(true);
        let meter = body.meter();
        assert!(collect(body).await.is_err());
        assert!(meter.fault().is_some() && meter.checksum().is_none());
    }

    #[tokio::test]
    async fn nothing_is_read_that_nobody_wants() {
        let (file, _) = file(10 * CHUNK);
        let length = 10 * CHUNK as u64;
        let mut body = FileBody::new(Arc::clone(&file), 0..length);
        let first = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        assert_eq!(first.unwrap().unwrap().into_data().unwrap().len(), CHUNK);
        drop(body);
        // The thread that reads ends with the body, and gives the file back.
        while Arc::strong_count(&file) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
