//! What becomes of progress events: bars, lines of JSON, or nothing.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flock_core::progress::{Level, ProgressEvent, ProgressReporter, TaskId, Unit};
use flock_core::settings::ProgressStyle;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle as BarStyle};
use serde::Serialize;

use crate::output::{Printer, SCHEMA, to_stderr};

/// The reporter that the settings ask for. Warnings are shown by each.
pub(crate) fn reporter(style: ProgressStyle, printer: Printer) -> Arc<dyn ProgressReporter> {
    match style {
        ProgressStyle::Json => Arc::new(Lines),
        ProgressStyle::Auto if io::stderr().is_terminal() && !printer.quiet => {
            Arc::new(Bars::new(printer))
        }
        _ => Arc::new(Quiet { printer }),
    }
}

/// Shows messages only.
struct Quiet {
    printer: Printer,
}

impl ProgressReporter for Quiet {
    fn report(&self, event: ProgressEvent) {
        if let ProgressEvent::Message { level, text } = event {
            message(self.printer, level, &text);
        }
    }
}

fn message(printer: Printer, level: Level, text: &str) {
    match level {
        Level::Info => printer.note(text),
        _ => printer.warning(text),
    }
}

/// One JSON object a line, on standard error.
struct Lines;

/// A line of `--progress json`.
#[derive(Serialize)]
struct Line {
    schema: u32,
    #[serde(flatten)]
    event: ProgressEvent,
}

impl ProgressReporter for Lines {
    fn report(&self, event: ProgressEvent) {
        // Events are plain data, which always has a JSON form.
        if let Ok(line) = serde_json::to_string(&Line { schema: SCHEMA, event }) {
            to_stderr(&format!("{line}\n"));
        }
    }
}

/// A bar for each task under way, on a terminal.
struct Bars {
    printer: Printer,
    all: MultiProgress,
    running: Mutex<HashMap<TaskId, ProgressBar>>,
}

impl Bars {
    fn new(printer: Printer) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self { printer, all, running: Mutex::new(HashMap::new()) }
    }

    fn start(&self, task: TaskId, label: String, unit: Unit, total: Option<u64>) {
        let bar = self.all.add(ProgressBar::no_length().with_message(label));
        set_total(&bar, unit, total);
        bar.enable_steady_tick(Duration::from_millis(200));
        self.running().insert(task, bar);
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, ProgressBar>> {
        // The map is whole whatever happened to the thread that held it.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, task: TaskId) {
        if let Some(bar) = self.running().remove(&task) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }
}

impl ProgressReporter for Bars {
    fn report(&self, event: ProgressEvent) {
        match event {
            ProgressEvent::Started { task, label, unit, total } => {
                self.start(task, label, unit, total);
            }
            ProgressEvent::Progress { task, done, total } => {
                if let Some(bar) = self.running().get(&task) {
                    if let Some(total) = total {
                        bar.set_length(total);
                    }
                    bar.set_position(done);
                }
            }
            ProgressEvent::Message { level, text } => {
                self.all.suspend(|| message(self.printer, level, &text));
            }
            ProgressEvent::Skipped { task, .. }
            | ProgressEvent::Done { task, .. }
            | ProgressEvent::Abandoned { task } => self.end(task),
            _ => {}
        }
    }
}

fn set_total(bar: &ProgressBar, unit: Unit, total: Option<u64>) {
    let template = match (unit, total.is_some()) {
        (Unit::Bytes, true) => {
            "{msg}  {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}"
        }
        (Unit::Bytes, false) => "{msg}  {spinner} {binary_bytes} {binary_bytes_per_sec}",
        (_, true) => "{msg}  {wide_bar} {human_pos}/{human_len}",
        (_, false) => "{msg}  {spinner} {human_pos}",
    };
    if let Some(total) = total {
        bar.set_length(total);
    }
    if let Ok(style) = BarStyle::with_template(template) {
        bar.set_style(style);
    }
}

#[cfg(test)]
mod tests {
    use flock_core::Context;

    use super::*;

    #[test]
    fn a_line_is_versioned_json() {
        let event = ProgressEvent::Message { level: Level::Warning, text: "dropped".to_owned() };
        let line = serde_json::to_string(&Line { schema: SCHEMA, event }).unwrap();
        let expected = r#"{"schema":1,"event":"message","level":"warning","text":"dropped"}"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn bars_end_with_their_tasks() {
        let printer = Printer::new(false, false, flock_core::settings::ColorChoice::Never);
        let bars = Arc::new(Bars {
            printer,
            all: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            running: Mutex::new(HashMap::new()),
        });
        let ctx = Context::new().with_progress(Arc::clone(&bars) as Arc<dyn ProgressReporter>);
        let known = ctx.task("download", Unit::Bytes, Some(10));
        let unknown = ctx.task("index", Unit::Items, None);
        assert_eq!(bars.running().len(), 2);
        known.done();
        drop(unknown);
        assert_eq!(bars.running().len(), 0);
    }
}
