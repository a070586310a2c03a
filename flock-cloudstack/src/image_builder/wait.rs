//! Waiting until a template is ready, or saying why it will not be.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flock_core::progress::{Level, Task, Unit};
use flock_core::{Context, Error, Result};

use super::group::{Group, zone_name};
use super::status::{State, failed, words};
use super::{CloudStackImageBuilder, Patience, missing};
use crate::error::BACKEND;

/// The least and the most time between two looks.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A look comes after this part of the time that the wait has taken so far.
const WAIT_PART: u32 = 5;
/// How long a new template may take to be listed.
const APPEARS: Duration = Duration::from_secs(5);
/// How many looks in a row may fail for a passing reason.
const MAX_FAILURES: u32 = 10;

/// How a wait ended.
#[derive(Debug)]
pub(super) enum Waited {
    Ready(Group),
    /// It will not become ready, for this reason.
    Failed(Error),
}

impl CloudStackImageBuilder {
    /// Waits until the template is ready in those of the zones where it is
    /// listed, in all where none are named. Safe to cancel.
    ///
    /// # Errors
    /// [`NotFound`](flock_core::ErrorKind::NotFound) if it is not there, or is
    /// deleted meanwhile;
    /// [`Timeout`](flock_core::ErrorKind::Timeout) after the client's
    /// `job_timeout`; those of asking CloudStack; the end of the context.
    pub(super) async fn wait_for(
        &self,
        ctx: &Context,
        id: &str,
        zones: Option<&[String]>,
    ) -> Result<Waited> {
        let ctx = &ctx.clone().with_timeout(self.client.config().job_timeout);
        let mut watch = Watch::new(ctx, self.patience);
        let mut failures = 0;
        loop {
            match self.group(ctx, id).await {
                Ok(Some(group)) => match watch.look(&group, zones) {
                    Verdict::Ready => return Ok(Waited::Ready(group)),
                    Verdict::Failed(error) => return Ok(Waited::Failed(error)),
                    Verdict::Wait => failures = 0,
                },
                Ok(None) if watch.is_new() => {}
                Ok(None) => return Err(missing(id)),
                Err(error) if ctx.check().is_err() => return Err(watch.unfinished(id, error)),
                Err(error) if error.is_retryable() && failures < MAX_FAILURES => failures += 1,
                Err(error) => return Err(error),
            }
            let wait = (watch.begun.elapsed() / WAIT_PART).clamp(SHORTEST_WAIT, LONGEST_WAIT);
            ctx.sleep(wait).await.map_err(|end| watch.unfinished(id, end))?;
        }
    }
}

/// What one look says.
enum Verdict {
    Ready,
    Wait,
    Failed(Error),
}

/// What was seen so far.
struct Watch<'a> {
    ctx: &'a Context,
    patience: Patience,
    begun: Instant,
    /// What it is called, once it was seen.
    name: Option<String>,
    zones: BTreeMap<String, Seen>,
}

/// What was seen of one zone.
struct Seen {
    words: String,
    /// Since when.
    since: Instant,
    /// When people were last told of it.
    told: Instant,
    /// The progress in percent, until it is ready.
    task: Option<Task>,
    percent: u64,
}

impl<'a> Watch<'a> {
    fn new(ctx: &'a Context, patience: Patience) -> Self {
        Self { ctx, patience, begun: Instant::now(), name: None, zones: BTreeMap::new() }
    }

    /// Whether it may be too early to see anything.
    fn is_new(&self) -> bool {
        self.name.is_none() && self.begun.elapsed() < APPEARS
    }

    fn look(&mut self, group: &Group, zones: Option<&[String]>) -> Verdict {
        self.name = Some(group.name.clone());
        let (mut listed, mut ready) = (0, 0);
        for item in group.within(zones) {
            listed += 1;
            let zone = zone_name(item);
            let seen = self.zones.entry(zone.to_owned()).or_insert_with(|| {
                let label = format!("wait for {} in {zone}", group.name);
                Seen::new(self.ctx.task(label, Unit::Items, Some(100)))
            });
            seen.update(words(item));
            match State::of(item) {
                State::Ready => {
                    ready += 1;
                    if seen.finish() && item.size == Some(0) && !item.status.contains("Bypassed") {
                        let text =
                            format!("CloudStack says that {} has 0 bytes in {zone}", group.name);
                        self.ctx.message(Level::Warning, text);
                    }
                }
                State::Failed(says) => return Verdict::Failed(failed(&group.name, zone, &says)),
                State::Unknown(says) if seen.since.elapsed() >= self.patience.unknown => {
                    return Verdict::Failed(failed(&group.name, zone, &says));
                }
                State::Working(Some(percent)) => seen.advance(percent),
                _ => {}
            }
            if let Some(text) = seen.stall(self.patience.stall) {
                let text = format!("{} in {zone}: {text}", group.name);
                self.ctx.message(Level::Warning, text);
            }
        }
        if listed > 0 && ready == listed { Verdict::Ready } else { Verdict::Wait }
    }

    /// The end of the wait, which is not the end of CloudStack's work.
    fn unfinished(&self, id: &str, end: Error) -> Error {
        let name = self.name.as_deref().unwrap_or(id);
        let states: Vec<_> =
            self.zones.iter().map(|(zone, seen)| format!("{zone}: {}", seen.words)).collect();
        let states =
            if states.is_empty() { "not listed yet".to_owned() } else { states.join(", ") };
        Error::new(end.kind(), format!("template {name} is not ready yet ({states})"))
            .in_backend(BACKEND)
            .with("image", id)
            .with("template", name)
            .hint("CloudStack goes on with it")
            .caused_by(end)
    }
}

impl Seen {
    fn new(task: Task) -> Self {
        let now = Instant::now();
        Self { words: String::new(), since: now, told: now, task: Some(task), percent: 0 }
    }

    fn update(&mut self, words: String) {
        if self.words != words {
            let now = Instant::now();
            (self.words, self.since, self.told) = (words, now, now);
        }
    }

    fn advance(&mut self, percent: u64) {
        let more = percent.min(100).saturating_sub(self.percent);
        self.percent += more;
        if let Some(task) = &self.task {
            task.advance(more);
        }
    }

    /// Notes that it is ready; tells whether that is new.
    fn finish(&mut self) -> bool {
        self.advance(100);
        self.task.take().map(Task::done).is_some()
    }

    /// What to tell if nothing has changed for long and it is not ready.
    fn stall(&mut self, patience: Duration) -> Option<String> {
        if self.task.is_none() || self.told.elapsed() < patience {
            return None;
        }
        self.told = Instant::now();
        let minutes = self.since.elapsed().as_secs() / 60;
        Some(format!("no progress for {minutes} minutes ({})", self.words))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn group(items: &[(&str, &str, bool)]) -> Group {
        let items = items.iter().map(|(zone, status, ready)| {
            let item = json!({
                "id": "1", "name": "web:1", "zoneid": zone, "zonename": zone, "status": status,
                "isready": ready,
            });
            serde_json::from_value(item).unwrap()
        });
        Group::all(items.collect()).remove(0)
    }

    fn verdict(watch: &mut Watch<'_>, items: &[(&str, &str, bool)]) -> String {
        match watch.look(&group(items), None) {
            Verdict::Ready => "ready".to_owned(),
            Verdict::Wait => "wait".to_owned(),
            Verdict::Failed(error) => error.to_string(),
        }
    }

    #[test]
    fn it_is_ready_when_every_zone_is() {
        let ctx = Context::new();
        let mut watch = Watch::new(&ctx, Patience::default());
        let (a, b) = (("a", "Download Complete", true), ("b", "5% Downloaded", false));
        assert_eq!(verdict(&mut watch, &[a, b]), "wait");
        let only = ["a".to_owned()];
        assert!(matches!(watch.look(&group(&[a, b]), Some(&only)), Verdict::Ready));
        assert!(matches!(watch.look(&group(&[a]), Some(&["c".to_owned()])), Verdict::Wait));
        assert_eq!(verdict(&mut watch, &[a, ("b", "Download Complete", true)]), "ready");
        let end = ctx.clone().with_timeout(Duration::ZERO).check().unwrap_err();
        let error = watch.unfinished("1", end);
        assert_eq!(error.context_value("image"), Some("1"));
        assert!(error.to_string().contains("b: Download Complete"), "{error}");
    }

    #[test]
    fn unknown_words_fail_only_if_they_stay() {
        let ctx = Context::new();
        let mut watch = Watch::new(&ctx, Patience::default());
        assert_eq!(verdict(&mut watch, &[("a", "Some new word", false)]), "wait");
        watch.patience.unknown = Duration::ZERO;
        let failed = verdict(&mut watch, &[("a", "Some new word", false)]);
        assert_eq!(failed, "template web:1 failed in zone a: Some new word");
    }

    #[test]
    fn a_stall_is_told_once_in_a_while() {
        let mut seen = Seen::new(Context::new().task("x", Unit::Items, None));
        seen.update("5% Downloaded".to_owned());
        assert_eq!(seen.stall(Duration::from_secs(60)), None);
        assert!(seen.stall(Duration::ZERO).unwrap().contains("5% Downloaded"));
        assert!(seen.finish());
        assert_eq!(seen.stall(Duration::ZERO), None);
        assert!(!seen.finish());
    }
}
