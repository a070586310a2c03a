//! The table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use flock_benches::inputs::Size;

use crate::ways::{Group, Product};
use crate::{Outcome, cloud, machine};

const BEGIN: &str = "<!-- compare: begin -->";
const END: &str = "<!-- compare: end -->";

/// What belongs to all rows.
pub(crate) struct Session {
    pub(crate) machine: String,
    pub(crate) inputs: String,
    pub(crate) size: Size,
    pub(crate) start_up: Duration,
}

impl Outcome {
    pub(crate) fn wall(&self) -> Option<f64> {
        median(self.runs.iter().map(|run| run.wall.as_secs_f64()))
    }

    fn cpu(&self) -> Option<f64> {
        median(self.runs.iter().map(|run| run.cpu.as_secs_f64()))
    }

    /// The largest peak of all runs, in MiB.
    pub(crate) fn memory(&self) -> Option<f64> {
        largest(self.runs.iter().map(|run| run.memory))
    }
}

/// The way `id`, if it was measured and counts.
pub(crate) fn counted<'a>(outcomes: &'a [Outcome], id: &str) -> Option<&'a Outcome> {
    let found = outcomes.iter().find(|outcome| outcome.way.id == id)?;
    (found.failure.is_none() && !found.runs.is_empty()).then_some(found)
}

/// The whole report, as Markdown.
pub(crate) fn table(session: &Session, outcomes: &[Outcome], rows: &[cloud::Row]) -> String {
    let mut text = String::new();
    let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let programs = [
        "cat", "tar", "bsdtar", "python3", "gzip", "pigz", "zstd", "mke2fs", "qemu-img", "curl",
        "nginx",
    ];
    let start_up = session.start_up.as_secs_f64() * 1_000.0;
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "Command: `cargo run --release -p flock-benches --bin compare -- {command}`.\n\
         Machine: {}.\nPeers: {}.\nInputs ({:?}): {}.\n\
         `flock --version` takes {start_up:.1} ms (median of 21).",
        session.machine,
        machine::versions(&programs),
        session.size,
        session.inputs,
    );
    for group in Group::ALL {
        let limit = counted(outcomes, group.limit()).and_then(Outcome::wall);
        let rows: Vec<_> = outcomes.iter().filter(|outcome| outcome.way.group == group).collect();
        if !rows.is_empty() {
            add_group(&mut text, group, &rows, limit);
        }
    }
    if !rows.is_empty() {
        text.push_str(&cloud::table(rows));
    }
    text
}

fn add_group(text: &mut String, group: Group, rows: &[&Outcome], limit: Option<f64>) {
    let flock = rows
        .iter()
        .find(|row| row.way.id == group.measure())
        .filter(|row| row.failure.is_none())
        .and_then(|row| row.wall());
    let _ = writeln!(
        text,
        "\n### {}\n\n\
         | way | seconds (least–most) | runs | × `{}` | flock is faster by | CPU s | \
         anonymous memory, MiB | output, MB |\n|---|--:|--:|--:|--:|--:|--:|--:|",
        group.title(),
        group.limit_program(),
    );
    for row in rows {
        let line = match (&row.failure, row.wall()) {
            (None, Some(wall)) => measured(row, wall, limit, flock),
            (failure, _) => {
                let reason = failure.as_deref().unwrap_or("no run").replace(['|', '\n'], " ");
                format!("not measured: {reason} | | | | | | ")
            }
        };
        let _ = writeln!(text, "| {} | {line} |", row.way.label);
    }
}

fn measured(row: &Outcome, wall: f64, limit: Option<f64>, flock: Option<f64>) -> String {
    let walls = || row.runs.iter().map(|run| run.wall.as_secs_f64());
    let (least, most) = (walls().fold(f64::MAX, f64::min), walls().fold(0.0, f64::max));
    let ratio = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
    format!(
        "{wall:.2} ({least:.2}–{most:.2}) | {} | {} | {} | {:.2} | {:.0} | {:.1}",
        row.runs.len(),
        ratio(limit.map(|limit| wall / limit)),
        ratio(flock.filter(|_| row.way.product != Product::Limit).map(|flock| wall / flock)),
        row.cpu().unwrap_or_default(),
        row.memory().unwrap_or_default(),
        to_f64(row.size) / 1e6,
    )
}

/// Puts the table into `path`: between the markers if the file has them, as
/// the whole file otherwise.
pub(crate) fn write(path: &Path, table: &str) -> Result<()> {
    let old = fs::read_to_string(path).unwrap_or_default();
    let new = match (old.find(BEGIN), old.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}\n{table}\n{}", &old[..begin + BEGIN.len()], &old[end..])
        }
        _ => table.to_owned(),
    };
    fs::write(path, new).with_context(|| format!("cannot write {}", path.display()))
}

/// The largest of numbers of bytes, in MiB.
pub(crate) fn largest(bytes: impl Iterator<Item = u64>) -> Option<f64> {
    Some(to_f64(bytes.max()?) / f64::from(1 << 20))
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[expect(clippy::cast_precision_loss, reason = "file sizes are far below 2^52")]
fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}
