//! One API request, from its parameters to its reply.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{Method, Uri};
use axum::response::Response;

use super::auth::{self, Caller};
use super::commands::{self, Call, Command, Errand, Prepare, Prepared};
use super::error::ApiError;
use super::faults::{Asked, Fault};
use super::reply::{self, Form};
use super::request::Request;
use super::server::Shared;
use super::world::jobs::{Failure, JobFate};
use super::{fetch, key_pair};

/// The largest body: user data of a mebibyte with each character encoded.
const MAX_BODY: usize = 4 << 20;

/// Answers an API request. Once it is read, it takes effect even if the
/// client does not wait for the reply.
pub(crate) async fn handle(State(shared): State<Arc<Shared>>, http: HttpRequest) -> Response {
    let (parts, body) = http.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return reply::text(400, "the request cannot be read");
    };
    let now = shared.clock.now();
    let is_post = parts.method == Method::POST;
    if shared.options.get_only && is_post || !is_post && parts.method != Method::GET {
        return reply::dated(reply::text(405, "Method Not Allowed"), now);
    }
    let request = parse(is_post, &parts.uri, &body);
    let command = request.exact("command").and_then(commands::find);
    let name = command.map_or("unknown", |command| command.name);
    let is_async = command.is_some_and(|command| command.is_async);
    let fault = shared.faults.meet(&Asked::new(name, is_async, &request));
    if fault == Some(Fault::Hang) {
        std::future::pending::<()>().await;
    }
    let work = respond(Arc::clone(&shared), request, command, fault);
    let done = shared.spawn(work).await.ok().flatten();
    done.map_or_else(reply::sever, |response| reply::dated(response, shared.clock.now()))
}

fn parse(is_post: bool, uri: &Uri, body: &[u8]) -> Request {
    let query = uri.query().unwrap_or_default().as_bytes();
    Request::parse(is_post, query, body)
}

/// The reply, with what goes wrong.
async fn respond(
    shared: Arc<Shared>,
    request: Request,
    command: Option<&'static Command>,
    fault: Option<Fault>,
) -> Response {
    let form = form(&request);
    let envelope = envelope(&request, command);
    if let Some(response) = fault.as_ref().and_then(|fault| instead(fault, &envelope, form)) {
        tokio::time::sleep(shared.options.latency).await;
        return response;
    }
    if let Some(Fault::Delay(delay)) = fault {
        tokio::time::sleep(delay).await;
    }
    let fate = fault.as_ref().map(job_fate).unwrap_or_default();
    let outcome = answer(&shared, &request, command, fate).await;
    tokio::time::sleep(shared.options.latency).await;
    let response = reply::answer(&envelope, &outcome, form);
    match fault {
        Some(Fault::LoseReply) => reply::sever(),
        Some(Fault::TruncateReply) => reply::truncated(response).await,
        Some(Fault::Proxy { status, .. }) => reply::proxy_page(status),
        _ => response,
    }
}

/// What comes in place of an effect, if the fault is one that keeps the
/// request from having any.
fn instead(fault: &Fault, envelope: &str, form: Form) -> Option<Response> {
    let refuse = |error| Some(reply::answer(envelope, &Err(error), form));
    match fault {
        Fault::RateLimit { retry_after } => refuse(throttled(*retry_after)),
        Fault::Refuse { code, text } => refuse(ApiError::with_code(*code, text)),
        Fault::Proxy { status, effect: false } => Some(reply::proxy_page(*status)),
        Fault::CloseConnection => Some(reply::sever()),
        _ => None,
    }
}

fn job_fate(fault: &Fault) -> JobFate {
    let failing = |error, is_half_way| JobFate {
        failure: Some(Failure { error, is_half_way }),
        ..JobFate::default()
    };
    match fault {
        Fault::SlowJob(slower) => JobFate { slower: *slower, ..JobFate::default() },
        Fault::FailJob { code, text } => failing(ApiError::with_code(*code, text), false),
        Fault::FailJobHalfWay => {
            failing(ApiError::internal("The job failed after a part of its work"), true)
        }
        _ => JobFate::default(),
    }
}

fn form(request: &Request) -> Form {
    match request.exact("response") {
        Some(form) if form.eq_ignore_ascii_case("json") => Form::Json,
        _ => Form::Xml,
    }
}

fn envelope(request: &Request, command: Option<&Command>) -> String {
    match command {
        Some(command) => command.envelope(),
        None if request.exact("command").is_none() => "null".to_owned(),
        None => "errorresponse".to_owned(),
    }
}

fn throttled(wait: Duration) -> ApiError {
    let text = format!(
        "The given user has reached his/her account api limit, please retry after [{}] ms.",
        wait.as_millis()
    );
    ApiError::with_code(429, text)
}

/// Checks the request, runs the command, and sends its errands off.
async fn answer(
    shared: &Arc<Shared>,
    request: &Request,
    command: Option<&'static Command>,
    fate: JobFate,
) -> Result<String, ApiError> {
    let (caller, command) = admit(shared, request, command)?;
    let is_admin = caller.is_admin;
    let prepared = prepare(shared, request, command).await?;
    let (outcome, garbage) = {
        let mut world = shared.world();
        let mut call = Call {
            world: &mut world,
            request,
            command,
            account: caller.account,
            user: caller.user,
            is_admin,
            prepared,
            fate,
            errands: Vec::new(),
        };
        if command.is_async {
            call.custom_job_id()?;
        }
        let outcome = (command.run)(&mut call);
        for errand in call.errands {
            match errand {
                Errand::Fetch { template, zone } => {
                    shared.spawn(fetch::run(Arc::clone(shared), template, zone));
                }
            }
        }
        (outcome, std::mem::take(&mut world.garbage))
    };
    super::storage::collect(garbage).await;
    outcome.map_err(|error| if is_admin { error } else { error.for_user() })
}

/// Who asks, and whether the command may be run with these parameters.
fn admit(
    shared: &Shared,
    request: &Request,
    command: Option<&'static Command>,
) -> Result<(Caller, &'static Command), ApiError> {
    let mut world = shared.world();
    request.check_characters()?;
    let caller = auth::verify(&world, request, &shared.options)?;
    let command = command.ok_or_else(ApiError::unverified)?;
    if caller.denied.contains(&command.name.to_ascii_lowercase()) {
        return Err(ApiError::not_for_role(command.name));
    }
    if !caller.is_admin {
        world.throttle.admit(caller.account).map_err(throttled)?;
    }
    if shared.options.post_only && command.is_change() && !request.is_post {
        let name = command.name;
        let text = format!("State changing command {name} needs to be sent using POST request");
        return Err(ApiError::with_code(400, text));
    }
    commands::check(command, request, &world, caller.account)?;
    Ok((caller, command))
}

/// Does what must not be done while others wait for the world.
async fn prepare(
    shared: &Shared,
    request: &Request,
    command: &Command,
) -> Result<Prepared, ApiError> {
    match command.prepare {
        None => Ok(Prepared::Nothing),
        Some(Prepare::RemoteSize) => {
            fetch::check(shared, request).await?;
            Ok(Prepared::Nothing)
        }
        Some(Prepare::KeyPair) => {
            let made = tokio::task::spawn_blocking(key_pair::generate).await;
            let failed = || ApiError::internal("The key pair could not be made");
            made.ok().flatten().map(Prepared::KeyPair).ok_or_else(failed)
        }
    }
}
