//! One call of a command: who asks for what, and how it answers.

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use super::lists::Page;
use super::{Command, Outcome};
use crate::simulator::error::ApiError;
use crate::simulator::key_pair::GeneratedKey;
use crate::simulator::request::Request;
use crate::simulator::world::World;
use crate::simulator::world::jobs::{Instance, JobFate, NewJob, Work};
use crate::simulator::world::records::Account;

/// What was found out before the world was locked.
#[derive(Debug, Default)]
pub(crate) enum Prepared {
    #[default]
    Nothing,
    /// What [`Prepare::KeyPair`](super::Prepare::KeyPair) made.
    KeyPair(GeneratedKey),
}

/// What is to be done after the world was unlocked.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Fetch a template into a zone.
    Fetch {
        /// Which.
        template: Uuid,
        /// Whereto.
        zone: Uuid,
    },
}

/// One call of a command.
pub(crate) struct Call<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) request: &'a Request,
    pub(crate) command: &'static Command,
    /// The account that calls.
    pub(crate) account: Uuid,
    pub(crate) user: Uuid,
    pub(crate) is_admin: bool,
    pub(crate) prepared: Prepared,
    /// What is to become of the job that the call starts.
    pub(crate) fate: JobFate,
    pub(crate) errands: Vec<Errand>,
}

/// What an asynchronous command answers.
#[derive(Debug, Serialize)]
struct Started {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    jobid: Uuid,
}

impl<'a> Call<'a> {
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.declared(name);
        self.request.text(name)
    }

    /// A text that the table says is required.
    pub(crate) fn required(&self, name: &str) -> Result<&'a str, ApiError> {
        self.text(name).ok_or_else(|| ApiError::missing(self.command.name, name))
    }

    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        self.declared(name);
        self.request.boolean(name)
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.declared(name);
        self.request.integer(name)
    }

    pub(crate) fn id(&self, name: &str) -> Option<Uuid> {
        self.declared(name);
        self.request.id(name)
    }

    /// An id that the table says is required.
    pub(crate) fn required_id(&self, name: &str) -> Result<Uuid, ApiError> {
        self.id(name).ok_or_else(|| ApiError::missing(self.command.name, name))
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<Uuid> {
        self.declared(name);
        self.request.ids(name)
    }

    pub(crate) fn list(&self, name: &str) -> Vec<&'a str> {
        self.declared(name);
        self.request.list(name)
    }

    /// A handler must not look at what its table does not say.
    fn declared(&self, name: &str) {
        debug_assert!(
            self.command.parameters().any(|parameter| parameter.name == name),
            "{} does not declare {name}",
            self.command.name
        );
    }

    /// Whose the new thing becomes: the caller's, or for an administrator
    /// that of `account`.
    pub(crate) fn owner(&self) -> Result<Uuid, ApiError> {
        let Some(name) = self.text("account") else { return Ok(self.account) };
        let found = self.world.account_named(name).map(|account| account.id);
        match found {
            Some(id) if id == self.account || self.is_admin => Ok(id),
            Some(_) => Err(ApiError::denied(format!(
                "The account {name} is not the caller's, who is no administrator"
            ))),
            None => Err(ApiError::parameter(format!("Unable to find account {name} in domain"))),
        }
    }

    /// Whose things are listed: `None` for everybody's.
    pub(crate) fn listed_owner(&self) -> Result<Option<Uuid>, ApiError> {
        if self.text("account").is_some() {
            return self.owner().map(Some);
        }
        let everybody = self.is_admin && self.boolean("listall") == Some(true);
        Ok((!everybody).then_some(self.account))
    }

    /// Which part of a list is wanted.
    pub(crate) fn page(&self) -> Result<Page, ApiError> {
        let most = self.world.options.max_page_size;
        Page::new(self.integer("page"), self.integer("pagesize"), most)
    }

    /// Starts a job that takes the usual time, and answers with it.
    pub(crate) fn start(
        &mut self,
        entity: Option<Uuid>,
        instance: Option<Instance>,
        queue: Option<Uuid>,
        work: impl Work + 'static,
    ) -> Outcome {
        let duration = self.world.options.job_time;
        self.start_for(duration, entity, instance, queue, Box::new(work))
    }

    /// Starts a job that only writes something down.
    pub(crate) fn start_quick(&mut self, work: impl Work + 'static) -> Outcome {
        let duration = self.world.options.job_time / 10;
        self.start_for(duration, None, None, None, Box::new(work))
    }

    fn start_for(
        &mut self,
        duration: Duration,
        entity: Option<Uuid>,
        instance: Option<Instance>,
        queue: Option<Uuid>,
        work: Box<dyn Work>,
    ) -> Outcome {
        let jobid = self.world.start_job(NewJob {
            id: self.custom_job_id()?,
            owner: self.account,
            user: self.user,
            command: self.command.name,
            instance,
            queue,
            duration,
            fate: std::mem::take(&mut self.fate),
            work,
        });
        to_json(&Started { id: entity, jobid })
    }

    /// The job id that the caller chose, if that is allowed.
    pub(crate) fn custom_job_id(&self) -> Result<Option<Uuid>, ApiError> {
        let text = self.request.text("customjobid");
        let Some(text) = text.filter(|_| self.world.options.custom_job_ids) else {
            return Ok(None);
        };
        let wrong = |_| ApiError::parameter(format!("The customjobid {text} is not a UUID"));
        let id = Uuid::parse_str(text).map_err(wrong)?;
        match self.world.jobs.get(id) {
            None => Ok(Some(id)),
            Some(_) => Err(ApiError::internal(format!("A job with the id {id} exists already"))),
        }
    }

    /// The caller.
    pub(crate) fn caller(&self) -> Result<&Account, ApiError> {
        self.world.accounts.get(self.account).ok_or_else(ApiError::unverified)
    }
}

/// Writes what a reply consists of.
pub(crate) fn to_json(body: &impl Serialize) -> Outcome {
    serde_json::to_string(body)
        .map_err(|error| ApiError::internal(format!("The reply cannot be written: {error}")))
}

/// Writes one object under its name: `{"volume":{…}}`.
pub(crate) fn named(name: &str, body: &impl Serialize) -> Outcome {
    Ok(format!("{{\"{name}\":{}}}", to_json(body)?))
}

/// What says that it worked.
pub(crate) fn success() -> Outcome {
    to_json(&crate::simulator::world::jobs::Success { success: true })
}
