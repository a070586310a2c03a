//! `flock job`: what CloudStack works on.

use std::time::Duration;

use flock_cloudstack::{Client, Job as Found, JobId, JobStatus};
use flock_core::{Context, Error};
use serde::Serialize;
use serde_json::Value;

use super::Session;
use super::cloudstack::mask;
use crate::cli::{Job, JobOptions};
use crate::error::Shown;
use crate::exit::Exit;
use crate::output::{Result, Style, columns};
use crate::{backend, interrupt};

/// What `flock job show --json` and `flock job wait --json` print.
#[derive(Debug, Serialize)]
struct Report<'a> {
    id: &'a JobId,
    /// `pending`, `succeeded` or `failed`.
    status: &'static str,
    /// The id of what the job is about, `null` where CloudStack tells none.
    instance: Option<&'a str>,
    /// What came of it; `null` unless it succeeded.
    result: Option<&'a Value>,
    /// Why it failed; `null` unless it did.
    error: Option<Shown<'a>>,
}

pub(crate) fn run(session: &Session, command: &Job) -> Result<Exit> {
    match command {
        Job::Show { job } => show(session, job),
        Job::Wait { job, timeout } => wait(session, job, *timeout),
    }
}

fn show(session: &Session, options: &JobOptions) -> Result<Exit> {
    let ctx = Context::new();
    let client = backend::client(session, &ctx)?;
    let id = JobId::new(&options.id);
    let mut job = interrupt::run(&ctx, client.job(&ctx, &id))?;
    print(session, options, &mut job)?;
    Ok(Exit::Done)
}

fn wait(session: &Session, options: &JobOptions, timeout: Option<Duration>) -> Result<Exit> {
    let ctx = Context::new();
    let mut config = backend::config(session, &ctx)?;
    if let Some(timeout) = timeout {
        config = config.with_job_timeout(timeout);
    }
    let client = Client::new(config)?;
    let id = JobId::new(&options.id);
    let mut job = interrupt::run(&ctx, async {
        client.wait(&ctx, &id).await?;
        // Again, for what the job is about.
        client.job(&ctx, &id).await
    })?;
    print(session, options, &mut job)?;
    Ok(Exit::Done)
}

fn print(session: &Session, options: &JobOptions, job: &mut Found) -> Result<()> {
    if let (JobStatus::Succeeded(result), false) = (&mut job.status, options.show_secrets) {
        mask(result);
    }
    let report = report(job);
    session.printer.result(&report, || text(&report, session.printer.out))
}

fn report(job: &Found) -> Report<'_> {
    let (status, result, error): (_, _, Option<&Error>) = match &job.status {
        JobStatus::Succeeded(result) => ("succeeded", Some(result), None),
        JobStatus::Failed(error) => ("failed", None, Some(error)),
        _ => ("pending", None, None),
    };
    let instance = job.instance.as_deref();
    Report { id: &job.id, status, instance, result, error: error.map(Shown::from) }
}

fn text(report: &Report<'_>, style: Style) -> String {
    let status = match report.status {
        "succeeded" => style.green(report.status),
        "failed" => style.red(report.status),
        other => style.yellow(other),
    };
    let mut rows = vec![("job", report.id.to_string()), ("status", status)];
    rows.extend(report.instance.map(|id| ("about", id.to_owned())));
    rows.extend(report.error.as_ref().map(|error| ("error", error.message().to_owned())));
    let mut text = columns(&rows, "");
    if let Some(result) = report.result.filter(|result| !result.is_null()) {
        text.push_str(&format!("{result:#}\n"));
    }
    text
}
