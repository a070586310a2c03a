use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::*;
use crate::progress::{ProgressEvent, ProgressReporter};

struct Fixture {
    dir: tempfile::TempDir,
    options: OpenOptions,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions::new(Cache::at(dir.path().join("cache")));
        Self { dir, options }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn open(&self, path: &Path) -> Result<PlainFile> {
        open(path, &self.options, &Context::new())
    }

    /// How many files there are, and whether none is unfinished.
    fn cached(&self) -> usize {
        let count = |room: &str| match fs::read_dir(self.options.cache.dir().join(room)) {
            Ok(entries) => entries.count(),
            Err(_) => 0,
        };
        assert_eq!(count("tmp"), 0);
        count("files")
    }
}

fn content(plain: &PlainFile) -> Vec<u8> {
    let content = fs::read(&plain.path).unwrap();
    assert_eq!(content.len() as u64, plain.len);
    content
}

fn sha256(data: &[u8]) -> Checksum {
    Checksum::from_bytes(Sha256::digest(data).into())
}

fn text() -> Vec<u8> {
    (0..3_000_000u32).map(|i| (i / 777).to_le_bytes()[(i % 4) as usize]).collect()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Lets the file look as if it had not been touched for long. Its time of
/// change cannot be set, so that is waited for.
fn settle() {
    std::thread::sleep(Duration::from_millis(3100));
}

#[derive(Default)]
struct Events(Mutex<Vec<ProgressEvent>>);

impl ProgressReporter for Events {
    fn report(&self, event: ProgressEvent) {
        self.0.lock().unwrap().push(event);
    }
}

#[test]
fn a_plain_file_is_used_where_it_is() {
    let fixture = Fixture::new();
    let path = fixture.file("base.tar", b"plain content");
    let plain = fixture.open(&path).unwrap();
    assert_eq!((plain.path.as_path(), plain.len), (path.as_path(), 13));
    assert_eq!(plain.compression, Compression::None);
    assert_eq!(plain.sha256_of_input, None);
    assert!(!fixture.options.cache.dir().exists());
    assert_eq!(fixture.open(&fixture.file("empty", b"")).unwrap().len, 0);
}

#[test]
fn every_compression_is_undone_into_the_cache() {
    let text = text();
    let zstd = zstd::bulk::compress(&text, 1).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(&text).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&text).unwrap();
    let fixture = Fixture::new();
    for (compression, packed) in [
        (Compression::Gzip, gzip(&text)),
        (Compression::Zstd, zstd),
        (Compression::Xz, xz.finish().unwrap()),
        (Compression::Bzip2, bzip2.finish().unwrap()),
    ] {
        // The name says nothing.
        let path = fixture.file("base.tar", &packed);
        let plain = fixture.open(&path).unwrap();
        assert!(content(&plain) == text, "{compression}");
        assert_eq!(plain.compression, compression);
        assert_eq!(plain.sha256_of_input, Some(sha256(&packed)));
        assert!(plain.path.starts_with(fixture.options.cache.dir()));
    }
    assert_eq!(fixture.cached(), 4, "no notes for files that changed just now");
}

#[test]
fn the_second_time_it_is_there() {
    let fixture = Fixture::new();
    let packed = gzip(b"content");
    let path = fixture.file("base.tar.gz", &packed);
    settle();
    let first = fixture.open(&path).unwrap();
    assert_eq!(fixture.cached(), 2, "the content, and the note");
    let events = Arc::new(Events::default());
    let ctx = Context::new().with_progress(events.clone());
    let second = open(&path, &fixture.options, &ctx).unwrap();
    assert_eq!((&second.path, second.sha256_of_input), (&first.path, first.sha256_of_input));
    let events = events.0.lock().unwrap();
    assert!(
        matches!(events[..], [ProgressEvent::Started { .. }, ProgressEvent::Skipped { .. }]),
        "{events:?}"
    );

    // With the note, a wrong checksum is known without reading; a note that is
    // damaged is not believed.
    let wrong = fixture.options.clone().with_sha256(Some(sha256(b"other")));
    let error = open(&path, &wrong, &Context::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let identity = Identity::of(&File::open(&path).unwrap()).unwrap();
    fixture.options.cache.insert(&identity.key()).unwrap().commit().unwrap();
    assert_eq!(fixture.open(&path).unwrap().path, first.path);
}

#[test]
fn a_file_that_the_cache_keeps_is_decompressed_once() {
    let fixture = Fixture::new();
    let cache = &fixture.options.cache;
    let key = CacheKey::derived("download", &["base"]);
    let mut writer = cache.insert(&key).unwrap();
    writer.write_all(&gzip(b"content")).unwrap();
    writer.commit().unwrap();
    // Each lookup touches the file, as each build does.
    let open = || fixture.open(&cache.lookup(&key).unwrap().unwrap()).unwrap().path;
    let made = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let first = open();
    let before = made(&first);
    assert_eq!((open(), made(&first)), (first.clone(), before));
    assert_eq!(fixture.cached(), 3, "the download, the content, and one note");
}

#[test]
fn the_same_content_elsewhere_is_decompressed_once_if_its_checksum_is_given() {
    let mut fixture = Fixture::new();
    let packed = gzip(b"content");
    fixture.options.sha256 = Some(sha256(&packed));
    let first = fixture.open(&fixture.file("one.gz", &packed)).unwrap();
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let made = modified(&first.path);
    let second = fixture.open(&fixture.file("two.gz", &packed)).unwrap();
    assert_eq!((&second.path, modified(&second.path)), (&first.path, made));
    // What the cache has does not hide that this file is another.
    let other = fixture.file("three.gz", &gzip(b"other content"));
    assert_eq!(fixture.open(&other).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut fixture = Fixture::new();
    fixture.options.sha256 = Some(sha256(b"right"));
    for content in [b"wrong".to_vec(), gzip(b"wrong")] {
        let error = fixture.open(&fixture.file("base", &content)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(error.context_value("actual"), Some(sha256(&content).to_string().as_str()));
    }
    assert_eq!(fixture.cached(), 0);
    let right = fixture.open(&fixture.file("base", b"right")).unwrap();
    assert_eq!(right.sha256_of_input, fixture.options.sha256);
}

#[test]
fn damaged_data_leaves_nothing() {
    let fixture = Fixture::new();
    let packed = gzip(&text());
    let mut flipped = packed.clone();
    flipped[packed.len() / 2] ^= 1;
    let tail = [&packed[..], b"tail"].concat();
    for bad in [&packed[..packed.len() / 2], &packed[..packed.len() - 1], &flipped, &tail] {
        let path = fixture.file("base.tar.gz", bad);
        let error = fixture.open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(error.hints().count(), 1);
        assert_eq!(fixture.cached(), 0);
    }
}

#[test]
fn a_bomb_is_stopped_and_leaves_nothing() {
    let mut fixture = Fixture::new();
    fixture.options.limits = Limits::default().with_max_output(1 << 20);
    let error = fixture.open(&fixture.file("bomb", &gzip(&vec![0; 5 << 20]))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert_eq!(error.context_value("limit"), Some("max_output"));
    assert_eq!(fixture.cached(), 0);
}

#[test]
fn a_cancelled_one_leaves_nothing() {
    struct CancelAtProgress(Mutex<Option<Context>>);
    impl ProgressReporter for CancelAtProgress {
        fn report(&self, _: ProgressEvent) {
            if let Some(ctx) = self.0.lock().unwrap().take() {
                ctx.cancel();
            }
        }
    }
    let fixture = Fixture::new();
    let path = fixture.file("base.tar.gz", &gzip(&text()));
    let reporter = Arc::new(CancelAtProgress(Mutex::new(None)));
    let ctx = Context::new().with_progress(reporter.clone());
    *reporter.0.lock().unwrap() = Some(ctx.clone());
    let error = open(&path, &fixture.options, &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(fixture.cached(), 0);
}

#[test]
fn what_is_no_archive_is_told_apart() {
    let fixture = Fixture::new();
    let error = fixture.open(fixture.dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let error = fixture.open(&fixture.dir.path().join("missing")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[cfg(unix)]
fn named_pipe(fixture: &Fixture) -> PathBuf {
    let path = fixture.dir.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    path
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_taken_into_the_cache() {
    let fixture = Fixture::new();
    let path = named_pipe(&fixture);
    let text = text();
    for packed in [gzip(&text), text.clone()] {
        let writer = std::thread::spawn({
            let (path, packed) = (path.clone(), packed.clone());
            move || fs::write(path, packed).unwrap()
        });
        let plain = fixture.open(&path).unwrap();
        writer.join().unwrap();
        assert!(content(&plain) == text);
        assert_eq!(plain.sha256_of_input, Some(sha256(&packed)));
    }
    assert_eq!(fixture.cached(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_that_does_not_end_is_stopped() {
    let mut fixture = Fixture::new();
    fixture.options.limits = Limits::default().with_max_output(1 << 20);
    let path = named_pipe(&fixture);
    let writer = std::thread::spawn({
        let path = path.clone();
        // Writes until nobody reads any more.
        move || io::copy(&mut io::repeat(b'x'), &mut File::create(path).unwrap())
    });
    let error = fixture.open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert_eq!(error.context_value("limit"), Some("max_output"));
    assert_eq!(error.to_string(), format!("cannot read all of {}", path.display()));
    assert!(writer.join().unwrap().is_err());
    assert_eq!(fixture.cached(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_without_a_writer_can_be_given_up() {
    let fixture = Fixture::new();
    let path = named_pipe(&fixture);
    let ctx = Context::new().with_timeout(Duration::from_millis(50));
    let error = open(&path, &fixture.options, &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    // The thread still waits for the other end; give it one, to end.
    drop(File::options().write(true).open(&path).unwrap());
}

#[test]
fn many_at_once_decompress_once() {
    let fixture = Fixture::new();
    let path = fixture.file("base.tar.gz", &gzip(&text()));
    settle();
    let started = SystemTime::now();
    let events = Arc::new(Events::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let ctx = Context::new().with_progress(events.clone());
            scope.spawn({
                let (path, options) = (&path, &fixture.options);
                move || open(path, options, &ctx).unwrap()
            });
        }
    });
    let events = events.0.lock().unwrap();
    let done = events.iter().filter(|e| matches!(e, ProgressEvent::Done { .. })).count();
    let skipped = events.iter().filter(|e| matches!(e, ProgressEvent::Skipped { .. })).count();
    assert_eq!((done, skipped), (1, 3), "{:?} after {:?}", events, started.elapsed());
}

#[test]
fn what_comes_out_is_verified_too() {
    let fixture = Fixture::new();
    let (right, wrong) = (sha256(&text()), sha256(b"something else"));
    let with = |content: Checksum| fixture.options.clone().with_content(Some(content));
    let ctx = Context::new();
    let packed = fixture.file("layer.gz", &gzip(&text()));
    let error = open(&packed, &with(wrong), &ctx).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(error.context_value("actual"), Some(right.to_string().as_str()));
    assert_eq!(fixture.cached(), 0, "nothing wrong is kept");
    // Also what somebody decompressed who did not ask, and what was verified before.
    settle();
    open(&packed, &fixture.options, &ctx).unwrap();
    assert_eq!(open(&packed, &with(wrong), &ctx).unwrap_err().kind(), ErrorKind::InvalidData);
    for _ in 0..2 {
        assert_eq!(content(&open(&packed, &with(right), &ctx).unwrap()), text());
    }
    assert_eq!(open(&packed, &with(wrong), &ctx).unwrap_err().kind(), ErrorKind::InvalidData);
    let plain = fixture.file("layer", &text());
    open(&plain, &with(right), &ctx).unwrap();
    assert_eq!(open(&plain, &with(wrong), &ctx).unwrap_err().kind(), ErrorKind::InvalidData);
}
