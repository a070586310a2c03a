//! The cloud's part of the report.

use std::fmt::Write as _;

use super::{Row, ratio};
use crate::report::{largest, median};

/// The section, as Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "\n### CloudStack (simulated)\n\n\
         | what | seconds (least–most) | runs | × the limit | requests | CPU s | \
         anonymous memory, MiB | resident memory, MiB |\n|---|--:|--:|--:|--:|--:|--:|--:|",
    );
    for row in rows {
        let line = match (&row.failure, row.wall()) {
            (None, Some(wall)) => measured(rows, row, wall),
            (failure, _) => {
                let reason = failure.as_deref().unwrap_or("no run").replace(['|', '\n'], " ");
                format!("not measured: {reason} | | | | | | ")
            }
        };
        let _ = writeln!(text, "| {} | {line} |", row.label);
    }
    text
}

fn measured(rows: &[Row], row: &Row, wall: f64) -> String {
    let (least, most) = (row.walls().fold(f64::MAX, f64::min), row.walls().fold(0.0, f64::max));
    let cpu = median(row.runs.iter().map(|run| run.measured.cpu.as_secs_f64()));
    let anonymous = largest(row.runs.iter().map(|run| run.measured.memory));
    format!(
        "{wall:.2} ({least:.2}–{most:.2}) | {} | {} | {} | {:.2} | {:.0} | {:.0}",
        row.runs.len(),
        ratio(rows, row).map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        requests(row),
        cpu.unwrap_or_default(),
        anonymous.unwrap_or_default(),
        row.resident().unwrap_or_default(),
    )
}

fn requests(row: &Row) -> String {
    let Some(requests) = row.requests() else { return String::new() };
    match requests.beyond() {
        Some(beyond) => format!("{} + {beyond:.3} for each node", requests.deploys),
        None => requests.all.to_string(),
    }
}
