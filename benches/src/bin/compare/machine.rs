//! What a measurement was made on.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The processor, its cores, the memory, the kernel and the file system of
/// `work`, in one line.
pub(crate) fn describe(work: &Path, cores: usize) -> String {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".into());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok())
        .map_or_else(|| "unknown".into(), |kilobytes| format!("{} GiB", kilobytes >> 20));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("unknown");
    format!(
        "{cpu}, {cores} cores, {memory} memory, Linux {}, {} (load {load} before the first run)",
        kernel.trim(),
        file_system(work),
    )
}

/// The versions of the peers that are there.
pub(crate) fn versions(programs: &[&str]) -> String {
    let first_line = |program: &&str| {
        let flag = match *program {
            "mke2fs" => "-V",
            "nginx" => "-v",
            _ => "--version",
        };
        let output = Command::new(program).arg(flag).output().ok()?;
        let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
        let line = String::from_utf8_lossy(&text).lines().next()?.trim().to_owned();
        Some(if line.contains(program) { line } else { format!("{program} {line}") })
    };
    programs.iter().filter_map(first_line).collect::<Vec<_>>().join("; ")
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The kind of the file system, from the longest mount point above `path`.
fn file_system(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mut found = ("", "unknown file system");
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (words.next(), words.next()) else { continue };
        if path.starts_with(point) && point.len() >= found.0.len() {
            found = (point, kind);
        }
    }
    found.1.to_owned()
}
