//! `flock cloudstack`: any command of CloudStack's API.

mod mask;
mod parameter;

use flock_cloudstack::{Client, JobId, Started};
use flock_core::{Context, Error};
use serde::Serialize;
use serde_json::Value;

pub(crate) use mask::mask;
pub(crate) use parameter::Parameter;

use super::Session;
use crate::cli::{Call, CloudStack};
use crate::exit::Exit;
use crate::output::Result;
use crate::{backend, interrupt};

/// What `flock cloudstack call --json` prints.
#[derive(Debug, Serialize)]
struct Called<'a> {
    command: &'a str,
    /// The job that was begun, `null` where there is none.
    job: Option<&'a JobId>,
    /// The id of what the job is about, `null` where CloudStack tells none.
    id: Option<&'a str>,
    /// What CloudStack answered; with `--wait` the job's result.
    reply: &'a Value,
}

pub(crate) fn run(session: &Session, command: &CloudStack) -> Result<Exit> {
    match command {
        CloudStack::Call(command) => call(session, command),
    }
}

fn call(session: &Session, command: &Call) -> Result<Exit> {
    let parameters = parameter::read_all(&command.parameters)?;
    let ctx = Context::new();
    let mut config = backend::config(session, &ctx)?;
    if let Some(timeout) = command.timeout {
        config = config.with_job_timeout(timeout);
    }
    let client = Client::new(config)?;
    let (started, mut reply) = interrupt::run(&ctx, async {
        let reply = client.call(&ctx, &command.command, &parameters).await?;
        let started = Started::from_reply(&reply);
        match &started {
            Some(started) if command.wait => {
                let result = client.wait(&ctx, &started.job).await;
                Ok((None, result.map_err(|error| with_id(error, started))?))
            }
            _ => Ok((started, reply)),
        }
    })?;
    if !command.show_secrets {
        mask(&mut reply);
    }
    let called = Called {
        command: &command.command,
        job: started.as_ref().map(|started| &started.job),
        id: started.as_ref().and_then(|started| started.id.as_deref()),
        reply: &reply,
    };
    session.printer.result(called, || format!("{reply:#}\n"))?;
    if let Some(Started { job, .. }) = &started {
        session.printer.note(&format!("job {job} goes on; to wait for it: flock job wait {job}"));
    }
    if let Some(note) = further_pages(&reply) {
        session.printer.note(&note);
    }
    Ok(Exit::Done)
}

fn with_id(error: Error, started: &Started) -> Error {
    match &started.id {
        Some(id) => error.with("id", id),
        None => error,
    }
}

/// What to say of a list that has more items than the reply.
fn further_pages(reply: &Value) -> Option<String> {
    let count = reply.get("count")?.as_u64()?;
    let shown = reply.as_object()?.values().find_map(Value::as_array).map_or(0, Vec::len);
    let is_more = u64::try_from(shown).is_ok_and(|shown| shown < count);
    is_more.then(|| format!("{shown} of {count}; page=2 pagesize=500 shows the next"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cut_list_is_told() {
        let note = further_pages(&json!({"count": 3, "zone": [{"id": "1"}]}));
        assert_eq!(note.as_deref(), Some("1 of 3; page=2 pagesize=500 shows the next"));
        for whole in [json!({"count": 1, "zone": [{}]}), json!({}), json!({"success": true})] {
            assert_eq!(further_pages(&whole), None);
        }
    }
}
