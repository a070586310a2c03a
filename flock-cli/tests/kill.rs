//! Builds that are killed, and builds that meet.
//!
//! `FLOCK_KILL_RUNS=1000 cargo test -p flock-cli --test kill` kills more often
//! than the hundred times that are usual.

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use flock_core::conformance::{self, Failure, Suite, ensure, expect_eq};
use harness::{Doing as _, Kind, Noise, Outcome, Place, Tar, listing, run, setting};

fn main() -> ExitCode {
    let suite = Suite::new("kill")
        .with_time_limit(Duration::from_secs(1_200))
        .test("nothing_incomplete_under_the_final_name", killed_at_random_moments)
        .test("of_two_builds_at_once_one_says_so", two_at_once);
    conformance::main([suite])
}

/// A base of 60 MB in a few hundred files, plain and compressed.
fn base(place: &Place) -> Outcome<PathBuf> {
    let path = place.path("base.tar");
    let mut tar = Tar::create(&path)?;
    tar.directory("./")?;
    for number in 0..300 {
        let size = 200_000;
        let contents = std::io::Read::take(Noise(number + 1), size);
        tar.file_from(&format!("data-{number:03}"), size, contents)?;
    }
    tar.finish()?;
    run(Command::new("gzip").args(["-1", "--keep"]).arg(&path))?;
    Ok(path)
}

/// One kind of build, with what it makes when nobody disturbs it.
struct Way {
    app: PathBuf,
    output: PathBuf,
    kind: Kind,
    whole: Vec<u8>,
    takes: Duration,
    fresh_cache: bool,
}

impl Way {
    fn new(
        place: &Place,
        base: &Path,
        application: &Path,
        kind: Kind,
        fresh_cache: bool,
    ) -> Outcome<Self> {
        let app = place.app(base, application)?;
        let extension = match kind {
            Kind::Tar("none") => "tar",
            Kind::Tar(_) => "tar.zst",
            Kind::Disk(format) => format,
        };
        let output = place.path("out").join("appliance").with_extension(extension);
        let started = Instant::now();
        run(&mut place.build(&app, &output, kind))?;
        let takes = started.elapsed();
        let whole = fs::read(&output).doing("read the appliance")?;
        fs::remove_file(&output).doing("remove the appliance")?;
        Ok(Self { app, output, kind, whole, takes, fresh_cache })
    }

    /// Kills one build at a moment of `random`; tells whether it was running.
    fn kill_once(&self, place: &Place, random: &mut Noise) -> Outcome<bool> {
        if self.fresh_cache {
            match fs::remove_dir_all(place.path("home/cache")) {
                // The last one was killed before it had one.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                emptied => emptied.doing("empty the cache")?,
            }
        }
        let mut child = place
            .build(&self.app, &self.output, self.kind)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .doing("run flock")?;
        let moment = u64::try_from(self.takes.as_micros()).doing("measure")? * 11 / 10;
        std::thread::sleep(Duration::from_micros(random.number() % moment));
        child.kill().doing("kill")?;
        let status = child.wait().doing("wait")?;
        self.check_whole()?;
        Ok(!status.success())
    }

    /// What is there under the final name is complete.
    fn check_whole(&self) -> Outcome {
        match fs::read(&self.output) {
            Ok(found) => {
                ensure(found == self.whole, format!("{} bytes are incomplete", found.len()))?;
                fs::remove_file(&self.output).doing("remove the appliance")
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Failure::new(error.to_string())),
        }
    }

    /// The next build succeeds, and nothing lies around after it.
    fn check_clean(&self, place: &Place) -> Outcome {
        run(&mut place.build(&self.app, &self.output, self.kind))?;
        expect_eq(
            listing(&place.path("out"))?,
            vec![PathBuf::from(self.output.file_name().unwrap_or_default())],
            "left over",
        )?;
        self.check_whole()
    }
}

async fn killed_at_random_moments() -> Outcome {
    let place = Place::new()?;
    fs::create_dir(place.path("out")).doing("make the output's directory")?;
    let (base, application) = (base(&place)?, place.application()?);
    let packed = base.with_extension("tar.gz");
    let runs = setting("FLOCK_KILL_RUNS", 100);
    let mut random = Noise(0x5eed ^ u64::from(std::process::id()));
    let mut killed = 0;
    let ways = [
        (&base, Kind::Tar("none"), false),
        (&base, Kind::Tar("zstd:3"), false),
        (&packed, Kind::Tar("none"), true),
        (&base, Kind::Disk("vhd"), false),
    ];
    for (base, kind, fresh) in ways {
        let way = Way::new(&place, base, &application, kind, fresh)?;
        for number in 0..runs.div_ceil(4) {
            killed += u64::from(way.kill_once(&place, &mut random)?);
            if number % 10 == 9 {
                way.check_clean(&place)?;
            }
        }
        way.check_clean(&place)?;
    }
    harness::note(format_args!("{killed} of {runs} builds were killed before their end"));
    ensure(killed * 2 > runs, format!("only {killed} of {runs} builds were killed in time"))
}

async fn two_at_once() -> Outcome {
    let place = Place::new()?;
    fs::create_dir(place.path("out")).doing("make the output's directory")?;
    let app = place.app(&base(&place)?, &place.application()?)?;
    let output = place.path("out").join("appliance.tar.gz");
    let build = || place.build(&app, &output, Kind::Tar("gzip:9"));
    let mut first = build().stderr(Stdio::piped()).spawn().doing("run flock")?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while listing(&place.path("out"))?.is_empty() {
        ensure(Instant::now() < deadline, "the first build writes nothing")?;
        std::thread::sleep(Duration::from_millis(1));
    }
    let second = build().output().doing("run flock again")?;
    ensure(
        first.try_wait().doing("look")?.is_none(),
        "the first build ended before the second; the test needs a larger input",
    )?;
    let words = String::from_utf8_lossy(&second.stderr);
    expect_eq(second.status.code(), Some(1), &words)?;
    ensure(words.contains("appliance.tar.gz"), format!("it does not name the output: {words}"))?;
    ensure(words.contains("another"), format!("it does not say why: {words}"))?;
    let first = first.wait_with_output().doing("wait")?;
    ensure(first.status.success(), String::from_utf8_lossy(&first.stderr))?;
    run(Command::new("gzip").arg("-t").arg(&output))?;
    Ok(())
}
