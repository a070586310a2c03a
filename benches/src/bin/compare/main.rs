//! Compares whole runs of flock with other ways to the same result: on equal
//! inputs, in one session, each result verified.

mod cloud;
mod machine;
mod measure;
mod part;
mod report;
mod targets;
mod verify;
mod ways;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use flock_benches::inputs::{self, Inputs, Size, WWWROOT};
use flock_benches::tree::Tree;

use measure::Measured;
use part::Part;
use ways::{DISK_SIZE, Places, Way};

/// Compares flock with other ways to the same result.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Options {
    /// Where inputs and outputs go; inputs stay there for the next time
    #[arg(long, default_value = "target/compare")]
    work: PathBuf,
    /// Runs of each way (slow ones get fewer, as the table says)
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How large the inputs are
    #[arg(long, value_enum, default_value_t = Size::Full)]
    size: Size,
    /// Compare these only
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// The program to measure [default: the one beside this program]
    #[arg(long)]
    flock: Option<PathBuf>,
    /// Write the table into this file, between its `compare` markers if it
    /// has them
    #[arg(long)]
    output: Option<PathBuf>,
    /// Exit with 1 if a figure that flock promises does not hold
    #[arg(long)]
    check: bool,
    #[command(subcommand)]
    role: Option<cloud::Role>,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
}

/// What became of a way.
struct Outcome {
    way: Way,
    runs: Vec<Measured>,
    /// Bytes of the output.
    size: u64,
    /// Why there is nothing to show, or why it does not count.
    failure: Option<String>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(role) = &options.role {
        role.play()?;
        return Ok(ExitCode::SUCCESS);
    }
    let places = prepare(&options)?;
    let machine = machine::describe(&places.scratch, places.cores);
    let start_up = start_up(&places.flock)?;
    let mut chosen = ways::all(&places);
    chosen.retain(|way| options.wants(Part::Appliances(way.group)));
    let outcomes = compare(chosen, &places, options.runs)?;
    let rows = match options.wants(Part::CloudStack) {
        true => cloud::measure(&places, options.size, options.runs)?,
        false => Vec::new(),
    };
    let size = options.size;
    let session = report::Session { machine, inputs: describe(&places.inputs)?, size, start_up };
    let table = report::table(&session, &outcomes, &rows);
    say(&table)?;
    if let Some(output) = &options.output {
        report::write(output, &table)?;
    }
    fs::remove_dir_all(&places.scratch)?;
    if !options.check {
        return Ok(ExitCode::SUCCESS);
    }
    let missed = targets::missed(|part| options.wants(part), &outcomes, &rows, start_up);
    for target in &missed {
        say(&format!("MISSED: {target}"))?;
    }
    Ok(if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes the inputs, and an empty directory for all else.
fn prepare(options: &Options) -> Result<Places> {
    let flock = flock_program(options.flock.as_deref())?;
    fs::create_dir_all(&options.work)?;
    let work = options.work.canonicalize()?;
    let scratch = work.join("scratch");
    remove(&scratch)?;
    fs::create_dir_all(&scratch)?;
    let cores = std::thread::available_parallelism()?.get();
    say("preparing the inputs")?;
    let inputs = inputs::prepare(&work, options.size)?;
    let script = scratch.join("original.py");
    fs::write(&script, include_str!("../../../peers/original.py"))?;
    let places = Places { inputs, scratch, flock, script, cores };
    write_apps(&places)?;
    Ok(places)
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

fn flock_program(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("flock"),
    };
    let path = path.canonicalize().with_context(|| {
        format!("no {}; `cargo build --release -p flock-cli` makes it", path.display())
    })?;
    Ok(path)
}

fn write_apps(places: &Places) -> Result<()> {
    for base in [&places.inputs.base, &places.inputs.base_gz] {
        let directory = places.app_directory(base);
        fs::create_dir_all(&directory)?;
        let config = format!(
            "build:\n  base_format: TAR\n  base_url: {}\n  application_repository: {}\n  \
             application_wwwroot: {WWWROOT}\n  repository_type: TAR\n",
            base.display(),
            places.inputs.app.display(),
        );
        fs::write(directory.join("config.yaml"), config)?;
    }
    for subformat in ["fixed", "dynamic"] {
        let directory = places.disk_directory(subformat);
        fs::create_dir_all(&directory)?;
        let config =
            fs::read_to_string(places.app_directory(&places.inputs.base).join("config.yaml"))?;
        let disk = format!(
            "  disk:\n    size: {DISK_SIZE}\n    layout: bare\n    bootloader: none\n    subformat: {subformat}\n"
        );
        fs::write(directory.join("config.yaml"), config + &disk)?;
    }
    Ok(())
}

/// How long `flock --version` takes, the median of 21 runs.
fn start_up(flock: &Path) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..21 {
        let started = Instant::now();
        let output = Command::new(flock).arg("--version").output()?;
        times.push(started.elapsed());
        if !output.status.success() {
            bail!("`flock --version` fails");
        }
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Runs every way, in turns, so that a disturbance hits all alike.
fn compare(ways: Vec<Way>, places: &Places, runs: usize) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<_> = ways.into_iter().map(Outcome::new).collect();
    if outcomes.is_empty() {
        return Ok(outcomes);
    }
    let owners = is_root()?;
    let expected = expected_tree(&places.inputs, owners)?;
    for run in 0..runs {
        for outcome in &mut outcomes {
            if outcome.failure.is_some() || run >= outcome.way.most_runs {
                continue;
            }
            say(&format!("run {} of {runs}: {}", run + 1, outcome.way.id))?;
            if let Err(error) = outcome.run(places, &expected, owners) {
                let failure = format!("{error:#}");
                say(&format!("  does not count: {failure}"))?;
                outcome.failure = Some(failure);
            }
            outcome.way.clear()?;
        }
    }
    Ok(outcomes)
}

impl Outcome {
    fn new(way: Way) -> Self {
        let failure = way.missing.as_ref().map(|program| format!("`{program}` is not installed"));
        Self { way, runs: Vec::new(), size: 0, failure }
    }

    fn run(&mut self, places: &Places, expected: &Tree, owners: bool) -> Result<()> {
        self.way.clear_before()?;
        if self.runs.is_empty() {
            measure::run(&self.way.prepare, &places.scratch).context("cannot prepare")?;
        }
        settle(&places.inputs)?;
        let measured = measure::run(&self.way.steps, &places.scratch)?;
        let size = fs::metadata(&self.way.output).context("no output")?.len();
        if self.runs.is_empty() {
            verify::product(&self.way, places, expected, owners)?;
        }
        // flock promises the same bytes for the same input.
        let promised = self.way.id.starts_with("flock") && !self.runs.is_empty();
        if promised && size != self.size {
            bail!("an output of {size} bytes after one of {}", self.size);
        }
        self.size = size;
        self.runs.push(measured);
        Ok(())
    }
}

impl Way {
    /// Removes what a run left, except what later runs may use.
    fn clear(&self) -> Result<()> {
        for path in self.remove.iter().filter(|path| !path.ends_with("home")) {
            remove(path)?;
        }
        Ok(())
    }

    fn clear_before(&self) -> Result<()> {
        self.remove.iter().try_for_each(|path| remove(path))
    }
}

fn remove(path: &Path) -> Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    result.with_context(|| format!("cannot remove {}", path.display()))
}

/// Lets the disk finish what earlier runs wrote, and reads the inputs so that
/// all ways find them in memory.
fn settle(inputs: &Inputs) -> Result<()> {
    Command::new("sync").status()?;
    for input in [&inputs.base, &inputs.base_gz, &inputs.app, &inputs.app_placed] {
        std::io::copy(&mut fs::File::open(input)?, &mut std::io::sink())?;
    }
    Ok(())
}

/// The tree that every way has to make: the base without what stands in the
/// web root, and the application there.
fn expected_tree(inputs: &Inputs, owners: bool) -> Result<Tree> {
    let mut tree = Tree::read(&inputs.base, owners)?;
    tree.replace(WWWROOT, Tree::read(&inputs.app_placed, owners)?);
    Ok(tree)
}

fn describe(inputs: &Inputs) -> Result<String> {
    let part = |name: &str, path: &Path| -> Result<String> {
        let bytes = fs::metadata(path)?.len();
        let paths = Tree::read(path, false)?.len();
        Ok(format!("{name} of {} MB with {paths} paths", bytes / 1_000_000))
    };
    let base = part("a base", &inputs.base)?;
    Ok(format!("{base}, {}", part("an application", &inputs.app)?))
}

fn is_root() -> Result<bool> {
    let status = fs::read_to_string("/proc/self/status")?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    Ok(ids.split_whitespace().nth(1) == Some("0"))
}
