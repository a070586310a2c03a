//! How flock works with CloudStack: with a simulated one, and a real web server
//! for uploads.

mod backdrop;
mod link;
mod nodes;
mod requests;
mod simulator;
mod table;
mod uploads;
mod web;

use std::path::{Path, PathBuf};

use anyhow::Result;
use flock_benches::inputs::Size;

pub(crate) use self::backdrop::Role;
pub(crate) use self::requests::Requests;
pub(crate) use self::table::table;
use self::uploads::{Road, Tool, Uploads};
use crate::measure::{Measured, Program};
use crate::report::{largest, median};
use crate::ways::Places;

/// How much is asked of flock.
#[derive(Debug, Clone, Copy)]
struct Amounts {
    deployed: usize,
    listed: usize,
}

impl Amounts {
    fn of(size: Size) -> Self {
        match size {
            Size::Small => Self { deployed: 100, listed: 1_000 },
            Size::Full => Self { deployed: 1_000, listed: 10_000 },
        }
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
enum Task {
    Deploy,
    List,
    Upload(Tool, Road),
    Direct,
}

/// What the time of a row is compared with.
#[derive(Debug, Clone, Copy)]
enum Limit {
    /// Seconds that are needed whatever does it.
    Seconds(f64),
    /// Another row.
    Row(&'static str),
    None,
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
struct Run {
    measured: Measured,
    /// What the cloud was asked, where that is of interest.
    requests: Option<Requests>,
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    label: String,
    task: Task,
    limit: Limit,
    runs: Vec<Run>,
    /// Why there is nothing to show, or why it does not count.
    failure: Option<String>,
}

/// Measures everything, in turns, so that a disturbance hits all alike.
///
/// # Errors
/// Where nothing can be measured at all; what goes wrong with one row is in
/// that row.
pub(crate) fn measure(places: &Places, size: Size, runs: usize) -> Result<Vec<Row>> {
    let amounts = Amounts::of(size);
    let mut rows = rows(amounts);
    let mut uploads = Uploads::new(places)?;
    for run in 0..runs {
        for row in rows.iter_mut().filter(|row| row.failure.is_none()) {
            crate::say(&format!("run {} of {runs}: {}", run + 1, row.id))?;
            let ran = match row.task {
                Task::Deploy => nodes::deploy(places, amounts.deployed),
                Task::List => nodes::list(places, amounts.listed),
                Task::Upload(tool, road) => uploads.run(tool, road),
                Task::Direct => uploads.direct(),
            };
            match ran {
                Ok(run) => row.runs.push(run),
                Err(error) => {
                    let failure = format!("{error:#}");
                    crate::say(&format!("  does not count: {failure}"))?;
                    row.failure = Some(failure);
                }
            }
        }
    }
    Ok(rows)
}

fn rows(amounts: Amounts) -> Vec<Row> {
    let Amounts { deployed, listed } = amounts;
    let upload = |tool, road| Task::Upload(tool, road);
    let at_once = nodes::AT_ONCE;
    vec![
        Row::new(
            "flock-deploy",
            format!("**flock** `deploy` of {deployed} nodes, {at_once} at once"),
            Task::Deploy,
            Limit::Seconds(nodes::least_time(deployed).as_secs_f64()),
        ),
        Row::new(
            "flock-list",
            format!("**flock** `node list` of {listed}"),
            Task::List,
            Limit::None,
        ),
        Row::new(
            "curl-link",
            "`curl -T` over a link of 1 Gbit/s, the limit",
            upload(Tool::Curl, Road::Link),
            Limit::Row("curl-link"),
        ),
        Row::new(
            "flock-put-link",
            "**flock** `template register` over that link",
            upload(Tool::Flock, Road::Link),
            Limit::Row("curl-link"),
        ),
        Row::new(
            "curl",
            "`curl -T` within the machine, the limit",
            upload(Tool::Curl, Road::Loopback),
            Limit::Row("curl"),
        ),
        Row::new(
            "sum-curl",
            "`openssl dgst -sha256`, then `curl -T`: with the checksum for CloudStack",
            upload(Tool::SumAndCurl, Road::Loopback),
            Limit::Row("curl"),
        ),
        Row::new(
            "flock-put",
            "**flock** `template register` within the machine",
            upload(Tool::Flock, Road::Loopback),
            Limit::Row("curl"),
        ),
        Row::new(
            "flock-direct",
            "**flock** `template register`, directly to the simulator",
            Task::Direct,
            Limit::None,
        ),
    ]
}

impl Row {
    fn new(id: &'static str, label: impl Into<String>, task: Task, limit: Limit) -> Self {
        Self { id, label: label.into(), task, limit, runs: Vec::new(), failure: None }
    }

    fn counts(&self) -> bool {
        self.failure.is_none() && !self.runs.is_empty()
    }

    fn walls(&self) -> impl Iterator<Item = f64> {
        self.runs.iter().map(|run| run.measured.wall.as_secs_f64())
    }

    pub(crate) fn wall(&self) -> Option<f64> {
        median(self.walls())
    }

    /// The largest peak of resident memory, in MiB.
    pub(crate) fn resident(&self) -> Option<f64> {
        largest(self.runs.iter().map(|run| run.measured.resident))
    }

    /// The most requests of all runs.
    pub(crate) fn requests(&self) -> Option<Requests> {
        self.runs.iter().filter_map(|run| run.requests).max_by_key(|requests| requests.all)
    }
}

/// The row `id`, if it was measured and counts.
pub(crate) fn counted<'a>(rows: &'a [Row], id: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.id == id && row.counts())
}

/// How many times as long as its limit a row took.
pub(crate) fn ratio(rows: &[Row], row: &Row) -> Option<f64> {
    let limit = match row.limit {
        Limit::Seconds(seconds) => seconds,
        Limit::Row(id) => counted(rows, id)?.wall()?,
        Limit::None => return None,
    };
    Some(row.wall()? / limit)
}

/// Where flock keeps things and finds its profile, new for each run.
fn home(places: &Places, profile: &str) -> Result<PathBuf> {
    let home = places.scratch.join("cloud-home");
    crate::remove(&home)?;
    std::fs::create_dir_all(&home)?;
    std::fs::write(home.join("flockr.yaml"), profile)?;
    Ok(home)
}

/// flock with such a home.
fn flock(places: &Places, home: &Path, args: &[&str]) -> Program {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let mut env = crate::ways::environment(home);
    env.push(("FLOCK_CONFIG".to_owned(), text(home.join("flockr.yaml"))));
    env.push(("FLOCK_PROFILE".to_owned(), simulator::PROFILE.to_owned()));
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    Program { name: places.flock.clone(), args, env }
}
