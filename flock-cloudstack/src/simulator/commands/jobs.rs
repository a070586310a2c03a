//! What became of jobs.

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::call::{Call, to_json};
use super::parameters::{Entity, OWNED, PAGED, date, id};
use super::{Command, Outcome};
use crate::simulator::clock::{self, date as written};
use crate::simulator::error::ApiError;
use crate::simulator::world::jobs::{Job, Phase};

pub(super) const COMMANDS: &[Command] = &[
    Command::sync(
        "queryAsyncJobResult",
        "Retrieves the current status of asynchronous job.",
        &[&[id("jobid", Entity::Job).required()]],
        query_job,
    ),
    Command::sync(
        "listAsyncJobs",
        "Lists all pending asynchronous jobs for the account.",
        &[PAGED, OWNED, &[date("startdate")]],
        list_jobs,
    ),
];

/// What `jobresultcode` says of every job that failed.
const FAILED: u16 = 530;

#[derive(Debug, Serialize)]
struct JobView<'a> {
    accountid: Uuid,
    userid: Uuid,
    cmd: String,
    jobstatus: u8,
    jobprocstatus: u8,
    jobresultcode: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobresulttype: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobresult: Option<ResultView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobinstancetype: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobinstanceid: Option<Uuid>,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<String>,
    jobid: Uuid,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ResultView<'a> {
    Object(&'a RawValue),
    Error { errorcode: u16, errortext: String },
}

impl<'a> JobView<'a> {
    fn new(job: &'a Job, is_admin: bool) -> Self {
        let (jobstatus, jobresultcode, jobresult) = match &job.phase {
            Phase::Pending(_) => (0, 0, None),
            Phase::Succeeded(result) => (1, 0, Some(ResultView::Object(result))),
            Phase::Failed(error) => {
                let error = error.clone();
                let error = if is_admin { error } else { error.for_user() };
                let view = ResultView::Error { errorcode: error.code, errortext: error.text };
                (2, FAILED, Some(view))
            }
        };
        Self {
            accountid: job.owner,
            userid: job.user,
            cmd: class(job.command),
            jobstatus,
            jobprocstatus: 0,
            jobresultcode,
            jobresulttype: jobresult.as_ref().map(|_| "object"),
            jobresult,
            jobinstancetype: job.instance.map(|(kind, _)| kind),
            jobinstanceid: job.instance.map(|(_, id)| id),
            created: written(job.created),
            completed: job.completed.map(written),
            jobid: job.id,
        }
    }
}

/// `DeployVirtualMachineCmd` for `deployVirtualMachine`.
fn class(command: &str) -> String {
    let mut letters = command.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain("Cmd".chars()).collect()
}

fn query_job(call: &mut Call<'_>) -> Outcome {
    let id = call.required_id("jobid")?;
    let gone = || ApiError::no_entity(call.command.name, "jobid", id);
    let job = call.world.jobs.get(id).ok_or_else(gone)?;
    to_json(&JobView::new(job, call.is_admin))
}

fn list_jobs(call: &mut Call<'_>) -> Outcome {
    let owner = call.listed_owner()?;
    let since = match call.text("startdate") {
        None => None,
        Some(text) => Some(clock::parse(text).ok_or_else(|| {
            ApiError::parameter(format!("Unable to parse date {text} for parameter startdate"))
        })?),
    };
    let keyword = call.text("keyword");
    let wanted = call.world.jobs.iter().filter(|job| {
        owner.is_none_or(|owner| job.owner == owner)
            && since.is_none_or(|since| job.created >= since)
            && keyword.is_none_or(|word| super::lists::contains(job.command, word))
    });
    call.page()?.list("asyncjobs", wanted, |job| JobView::new(job, call.is_admin))
}
