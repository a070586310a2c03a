//! Asynchronous jobs: what takes CloudStack longer than a reply may take.

use std::fmt;
use std::time::{Duration, Instant};

use flock_core::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Client, Parameters};
use crate::error::{ApiError, BACKEND, is_outcome_unknown, not_protocol, number};

/// The least and the most time between two looks at a job.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// A look comes after this part of the time that the job has taken so far.
const WAIT_PART: u32 = 5;

/// The parameter by which a caller chooses a job's id: `BaseAsyncCmd` of
/// CloudStack, which no list of parameters shows.
const CUSTOM_ID: &str = "customjobid";
/// After which waits a job is looked for whose reply got lost.
const LOOKS: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1500)];

/// CloudStack's name for a job. Keep it, and the wait for the job can go on
/// in another process; CloudStack forgets jobs after a day.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(String);

impl JobId {
    /// The job that CloudStack calls so.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// CloudStack's name for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A job that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Started {
    /// The job.
    pub job: JobId,
    /// The id of what it makes, where the command makes something: known
    /// before the job ends, and there even if the job fails.
    pub id: Option<String>,
}

impl Started {
    /// The job that a reply of [`Client::call`] tells of; `None` where there is
    /// none, or it has ended already.
    #[must_use]
    pub fn from_reply(reply: &Value) -> Option<Self> {
        let job = reply.get("jobid").and_then(text)?;
        if reply.get("jobstatus").and_then(number).is_some_and(|status| status != 0) {
            return None;
        }
        Some(Self { job: JobId(job), id: reply.get("id").and_then(text) })
    }
}

/// A job as CloudStack reports it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Job {
    /// The job.
    pub id: JobId,
    /// How far it is.
    pub status: JobStatus,
    /// The id of what it is about, where CloudStack tells.
    pub instance: Option<String>,
}

/// How far a job is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum JobStatus {
    /// It is waiting or working.
    Pending,
    /// It ended well, with this result: `{"virtualmachine": {…}}`.
    Succeeded(Value),
    /// It failed, for this reason.
    Failed(Error),
}

impl Client {
    /// Begins an asynchronous command.
    ///
    /// Unless `parameters` choose the job's id (`customjobid`, which every role
    /// may give), it is chosen here, and after a lost reply the job is looked
    /// for: if CloudStack has it, all is well. If it has not, that does not
    /// prove that nothing was made: a command that makes something does so
    /// before its job begins. For the same reason no id is used twice.
    ///
    /// Not safe to cancel: the job may have begun.
    ///
    /// # Errors
    /// Those of [`call`](Client::call); [`ErrorKind::InvalidData`] if the
    /// reply names no job.
    pub async fn start(
        &self,
        ctx: &Context,
        command: &str,
        parameters: &Parameters,
    ) -> Result<Started> {
        let body = match parameters.get(CUSTOM_ID) {
            Some(_) => self.call(ctx, command, parameters).await?,
            None => {
                let job = JobId(Uuid::new_v4().to_string());
                let asked = parameters.clone().with(CUSTOM_ID, job.as_str());
                match self.call(ctx, command, &asked).await {
                    Err(lost) if is_outcome_unknown(&lost) => {
                        return self.find_started(ctx, &job).await.ok_or(lost);
                    }
                    answered => answered?,
                }
            }
        };
        let job = body.get("jobid").and_then(text);
        let job = job.ok_or_else(|| not_protocol(command, "the reply names no job"))?;
        Ok(Started { job: JobId(job), id: body.get("id").and_then(text) })
    }

    /// The job of a command whose reply got lost, if CloudStack has it. It may
    /// have it only a little later than the connection broke.
    async fn find_started(&self, ctx: &Context, job: &JobId) -> Option<Started> {
        for wait in LOOKS {
            ctx.sleep(wait).await.ok()?;
            match self.job(ctx, job).await {
                Ok(found) => return Some(Started { job: found.id, id: found.instance }),
                Err(error) => tracing::debug!(%job, %error, "the job is not there"),
            }
        }
        None
    }

    /// Looks at a job once. Safe to cancel.
    ///
    /// # Errors
    /// Those of [`call`](Client::call): [`ErrorKind::NotFound`] or
    /// [`ErrorKind::InvalidConfig`] for a job that CloudStack does not know,
    /// or has forgotten.
    pub async fn job(&self, ctx: &Context, job: &JobId) -> Result<Job> {
        const COMMAND: &str = "queryAsyncJobResult";
        let asked = Parameters::new().with("jobid", job.as_str());
        let body = self.call(ctx, COMMAND, &asked).await?;
        let about = body.get("cmd").and_then(Value::as_str).and_then(command);
        let result = body.get("jobresult").cloned().unwrap_or(Value::Null);
        let status = match body.get("jobstatus").and_then(number) {
            Some(0) => JobStatus::Pending,
            Some(1) => JobStatus::Succeeded(result),
            Some(_) => {
                JobStatus::Failed(failure(about.as_deref(), &result).with("job", job.as_str()))
            }
            None => return Err(not_protocol(COMMAND, "the reply has no job status")),
        };
        let instance = body.get("jobinstanceid").and_then(text);
        Ok(Job { id: job.clone(), status, instance })
    }

    /// Waits for a job and gives its result. Safe to cancel: the job goes on,
    /// and its id is the error's context value `job`.
    ///
    /// # Errors
    /// What the job failed with; those of [`job`](Client::job);
    /// [`ErrorKind::Timeout`] if it takes longer than
    /// [`job_timeout`](crate::CloudStackConfig::job_timeout) from now.
    pub async fn wait(&self, ctx: &Context, job: &JobId) -> Result<Value> {
        let (begun, limited) =
            (Instant::now(), ctx.clone().with_timeout(self.config().job_timeout));
        loop {
            let wait = (begun.elapsed() / WAIT_PART).clamp(SHORTEST_WAIT, LONGEST_WAIT);
            let looked = match limited.sleep(wait).await {
                Ok(()) => self.job(&limited, job).await,
                Err(ended) => Err(ended),
            };
            match looked {
                Ok(Job { status: JobStatus::Pending, .. }) => {}
                Ok(Job { status: JobStatus::Succeeded(result), .. }) => return Ok(result),
                Ok(Job { status: JobStatus::Failed(error), .. }) => return Err(error),
                Err(error) if limited.check().is_err() => return Err(unfinished(job, error)),
                Err(error) => return Err(error.with("job", job.as_str())),
            }
        }
    }

    /// Begins an asynchronous command and waits for its result.
    ///
    /// # Errors
    /// Those of [`start`](Client::start) and [`wait`](Client::wait).
    pub async fn run(
        &self,
        ctx: &Context,
        command: &str,
        parameters: &Parameters,
    ) -> Result<Value> {
        let started = self.start(ctx, command, parameters).await?;
        self.wait(ctx, &started.job).await.map_err(|error| match &started.id {
            Some(id) => error.with("id", id),
            None => error,
        })
    }
}

/// The end of a wait, which is not the end of the job.
fn unfinished(job: &JobId, ended: Error) -> Error {
    Error::new(ended.kind(), format!("job {job} has not ended yet; it goes on in CloudStack"))
        .in_backend(BACKEND)
        .with("job", job.as_str())
        .caused_by(ended)
}

/// Why a job failed: the error in its result, or its result as text.
fn failure(about: Option<&str>, result: &Value) -> Error {
    let about = about.unwrap_or("queryAsyncJobResult");
    if let Some(error) = ApiError::read(result) {
        return error.into_error(about);
    }
    let text = match result {
        Value::String(text) => text.clone(),
        Value::Null => "no reason given".to_owned(),
        other => {
            other.get("errortext").and_then(text).unwrap_or_else(|| "no reason given".to_owned())
        }
    };
    let error = Error::new(ErrorKind::Unexpected, format!("{about}: {text}"));
    error.in_backend(BACKEND).with("command", about)
}

/// The name of the command that a class implements, which is all that
/// CloudStack tells of it: `org.….DeployVMCmdByAdmin` is `deployVirtualMachine`
/// (`@APICommand` of the classes `org.apache.cloudstack.api.command.user.*`,
/// 4.22).
fn command(class: &str) -> Option<String> {
    let (_, class) = class.rsplit_once('.').unwrap_or(("", class));
    let name = class.split_once("Cmd").map_or(class, |(name, _)| name);
    match name {
        "ResetVMPassword" => return Some("resetPasswordForVirtualMachine".to_owned()),
        "ResetVMSSHKey" => return Some("resetSSHKeyForVirtualMachine".to_owned()),
        _ => {}
    }
    let name = match name.strip_suffix("VM") {
        Some(verb) => format!("{verb}VirtualMachine"),
        None => name.to_owned(),
    };
    let mut letters = name.chars();
    let first = letters.next()?;
    Some(first.to_lowercase().chain(letters).collect())
}

/// A text, also one that old versions write as a number.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn classes_are_commands() {
        for (class, wanted) in [
            (
                "org.apache.cloudstack.api.command.admin.vm.DeployVMCmdByAdmin",
                "deployVirtualMachine",
            ),
            ("org.apache.cloudstack.api.command.user.volume.CreateVolumeCmd", "createVolume"),
            ("DeployVirtualMachineCmd", "deployVirtualMachine"),
            ("CreateVMSnapshotCmd", "createVMSnapshot"),
            ("ResetVMPasswordCmd", "resetPasswordForVirtualMachine"),
        ] {
            assert_eq!(command(class).as_deref(), Some(wanted), "{class}");
        }
        assert_eq!(command(""), None);
        assert_eq!(command("Cmd"), None);
    }
}
