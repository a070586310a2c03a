//! Runs programs and measures them from outside.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How often memory is looked at.
const SAMPLING: Duration = Duration::from_millis(4);

/// One program of a pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) name: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

/// Programs that run at once, each reading what the one before it writes.
#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) programs: Vec<Program>,
    /// Where the last one's output goes; nowhere if it writes a file itself.
    pub(crate) output: Option<PathBuf>,
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    pub(crate) wall: Duration,
    /// Of all processes, user and system.
    pub(crate) cpu: Duration,
    /// The largest sum of anonymous memory of all processes, in bytes.
    pub(crate) memory: u64,
    /// The largest sum of the peaks of resident memory, in bytes: with what
    /// is mapped of files, such as the program itself.
    pub(crate) resident: u64,
}

/// The largest memory seen so far, in bytes.
#[derive(Debug, Default)]
struct Peaks {
    anonymous: AtomicU64,
    resident: AtomicU64,
}

impl Peaks {
    /// Looks at these processes and their children.
    fn look(&self, ids: &[u32]) {
        let sum = |field| ids.iter().map(|id| memory(*id, field)).sum();
        self.anonymous.fetch_max(sum("RssAnon:"), Ordering::Relaxed);
        self.resident.fetch_max(sum("VmHWM:"), Ordering::Relaxed);
    }
}

/// Runs the pipelines one after the other.
///
/// The standard error of each program goes to a file in `scratch`; its last
/// line is in the error when the program fails.
pub(crate) fn run(steps: &[Pipeline], scratch: &Path) -> Result<Measured> {
    let peaks = Peaks::default();
    let cpu = children_cpu()?;
    let started = Instant::now();
    for step in steps {
        run_pipeline(step, scratch, &peaks)?;
    }
    let wall = started.elapsed();
    let cpu = children_cpu()?.saturating_sub(cpu);
    let Peaks { anonymous, resident } = peaks;
    Ok(Measured { wall, cpu, memory: anonymous.into_inner(), resident: resident.into_inner() })
}

fn run_pipeline(pipeline: &Pipeline, scratch: &Path, peaks: &Peaks) -> Result<()> {
    let complaints = scratch.join("stderr");
    let errors = File::create(&complaints)?;
    let mut children = start(pipeline, &errors)?;
    let ids: Vec<u32> = children.iter().map(Child::id).collect();
    let done = AtomicBool::new(false);
    let failed = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peaks.look(&ids);
                thread::sleep(SAMPLING);
            }
        });
        let mut failed = None;
        for (child, program) in children.iter_mut().zip(&pipeline.programs) {
            match child.wait() {
                Ok(status) if status.success() => {}
                Ok(status) => failed = Some(format!("{}: {status}", program.name.display())),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        done.store(true, Ordering::Relaxed);
        failed
    });
    if let Some(failed) = failed {
        let text = fs::read_to_string(&complaints).unwrap_or_default();
        let text = text.lines().take(3).collect::<Vec<_>>().join("; ");
        bail!("{failed}: {text}");
    }
    Ok(())
}

fn start(pipeline: &Pipeline, errors: &File) -> Result<Vec<Child>> {
    let mut children: Vec<Child> = Vec::new();
    let last = pipeline.programs.len() - 1;
    for (number, program) in pipeline.programs.iter().enumerate() {
        let input = children.last_mut().and_then(|child| child.stdout.take());
        let output = match (&pipeline.output, number == last) {
            (_, false) => Stdio::piped(),
            (Some(path), true) => File::create(path)?.into(),
            (None, true) => Stdio::null(),
        };
        let child = Command::new(&program.name)
            .args(&program.args)
            .envs(program.env.iter().map(|(key, value)| (key, value)))
            .stdin(input.map_or_else(Stdio::null, Stdio::from))
            .stdout(output)
            .stderr(errors.try_clone()?)
            .spawn()
            .with_context(|| format!("cannot run {}", program.name.display()))?;
        children.push(child);
    }
    Ok(children)
}

/// The memory of a process and its children, in bytes, as this field of
/// proc(5) has it.
fn memory(id: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    let own: u64 = value
        .and_then(|value| value.trim().strip_suffix("kB"))
        .and_then(|kilobytes| kilobytes.trim().parse().ok())
        .unwrap_or(0);
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    own * 1024 + children.map(|child| memory(child, field)).sum::<u64>()
}

/// The time that all waited-for children have used, as proc(5) counts it: in
/// hundredths of a second.
fn children_cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').context("/proc/self/stat without a name")?.1;
    // cutime and cstime are fields 16 and 17; the name was field 2.
    let ticks = after_name.split_whitespace().skip(13).take(2);
    let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// Where a program is, if `PATH` has it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|below| below.join(program)).find(|path| path.is_file())
}
