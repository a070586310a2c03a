//! Uploads of templates that were announced.

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::HttpBody as _;
use axum::extract::multipart::Field;
use axum::extract::{FromRequest as _, Multipart, Path, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, HOST};
use axum::response::Response;
use flock_core::rootfs::decompress::Compression;
use uuid::Uuid;

use super::ticket;
use crate::simulator::clock::date;
use crate::simulator::content::{CUT, Checksum, Expected, Findings, Intake};
use crate::simulator::faults::{Asked, Fault, UPLOAD};
use crate::simulator::fetch::share;
use crate::simulator::format::Format;
use crate::simulator::reply;
use crate::simulator::request::Request as Parameters;
use crate::simulator::server::Shared;
use crate::simulator::storage;
use crate::simulator::world::template::Stage;
use crate::simulator::world::{Event, Ticket};

/// Takes in an upload.
pub(crate) async fn receive(
    State(shared): State<Arc<Shared>>,
    Path(number): Path<String>,
    request: Request,
) -> Response {
    let fault = shared.faults.meet(&Asked::new(UPLOAD, false, &Parameters::default()));
    match &fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::CloseConnection) => return reply::sever(),
        Some(Fault::Delay(delay)) => tokio::time::sleep(*delay).await,
        Some(Fault::Proxy { status, effect: false }) => return reply::proxy_page(*status),
        Some(Fault::Refuse { code, text }) => return reply::text(*code, text),
        Some(Fault::RateLimit { .. }) => return reply::text(429, "Too Many Requests"),
        _ => {}
    }
    let cut_after = match fault {
        Some(Fault::CutUpload { after }) => Some(after),
        _ => None,
    };
    // On its own, so that it is noted what became of it when the client goes.
    let work = upload(Arc::clone(&shared), number, request, cut_after);
    let done = shared.spawn(work).await.ok().flatten();
    let response = done.unwrap_or_else(reply::sever);
    match fault {
        Some(Fault::LoseReply) => reply::sever(),
        Some(Fault::TruncateReply) => reply::truncated(response).await,
        Some(Fault::Proxy { status, .. }) => reply::proxy_page(status),
        _ => response,
    }
}

/// Why an upload is refused: the status and the text.
type Refusal = (u16, String);

fn refuse(text: impl Into<String>) -> Refusal {
    (400, text.into())
}

async fn upload(
    shared: Arc<Shared>,
    number: String,
    request: Request,
    cut_after: Option<u64>,
) -> Response {
    let (ticket, length) = match admit(&shared, &number, request.headers()) {
        Ok(admitted) => admitted,
        Err((status, text)) => {
            drain(request).await;
            return reply::text(status, text);
        }
    };
    let upload = Upload { shared, ticket, length };
    if length > upload.shared.options.max_template_size {
        let text = "The file size exceeds the maximum size of a template";
        upload.end(Err(text.to_owned()));
        drain(request).await;
        return reply::text(400, text);
    }
    match upload.take(request, cut_after).await {
        Ok(()) => reply::text(200, "upload successful."),
        Err(End::Refused((status, text))) => {
            upload.end(Err(text.clone()));
            reply::text(status, text)
        }
        Err(End::Cut) => {
            upload.end(Err(CUT.to_owned()));
            reply::sever()
        }
    }
}

/// Reads a body that nobody wants, up to a point, so that the client comes to
/// read the reply. Of a longer one it may see only that it is cut off.
async fn drain(request: Request) {
    const ENOUGH: usize = 64 << 20;
    let mut body = request.into_body();
    let mut read = 0;
    while read < ENOUGH {
        match poll_fn(|task| Pin::new(&mut body).poll_frame(task)).await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, axum::body::Bytes::len),
            _ => return,
        }
    }
}

/// Checks everything that stands in the head of the request, and uses up the
/// ticket.
fn admit(shared: &Shared, number: &str, headers: &HeaderMap) -> Result<(Ticket, u64), Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let length: Option<u64> =
        header(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    let length = length.ok_or_else(|| refuse("content length is not set in the request"))?;
    let (Some(signature), Some(metadata), Some(expires)) =
        (header("x-signature"), header("x-metadata"), header("x-expires"))
    else {
        return Err(refuse("signature validation failed: a header is missing"));
    };
    let host = header("x-forwarded-host").or(header(HOST.as_str())).unwrap_or_default();
    let url = format!("http://{host}/upload/{number}");
    let mut world = shared.world();
    let expected = ticket::sign(&world.upload_key, metadata, &url, expires);
    let now = world.clock.now();
    let ticket = Uuid::parse_str(number).ok().and_then(|number| world.uploads.get_mut(&number));
    let ticket = ticket.filter(|ticket| {
        signature == expected && ticket.metadata == metadata && date(ticket.expires) == expires
    });
    let ticket = ticket.ok_or_else(|| refuse("signature validation failed"))?;
    if ticket.is_used {
        return Err(refuse("one time post url is already used"));
    }
    if ticket.expires < now {
        return Err(refuse("request not valid anymore"));
    }
    ticket.is_used = true;
    Ok((ticket.clone(), length))
}

/// How an upload comes to nothing.
enum End {
    Refused(Refusal),
    /// The connection broke, or was broken on demand.
    Cut,
}

/// An upload that was admitted.
struct Upload {
    shared: Arc<Shared>,
    ticket: Ticket,
    length: u64,
}

impl Upload {
    async fn take(&self, request: Request, cut_after: Option<u64>) -> Result<(), End> {
        let no_form = || End::Refused(refuse("the request is no multipart/form-data"));
        let mut form = Multipart::from_request(request, &()).await.map_err(|_| no_form())?;
        let mut field = loop {
            match form.next_field().await.map_err(|_| End::Cut)? {
                None => return Err(End::Refused((422, "the request has no file".to_owned()))),
                Some(field) if field.file_name().is_some() => break field,
                Some(_) => {}
            }
        };
        let (expected, path) = self.expect(field.file_name().unwrap_or_default())?;
        let outcome = self.pull(&mut field, expected, cut_after).await;
        if outcome.is_err()
            && let Some(path) = &path
        {
            storage::remove(path).await;
        }
        let findings = outcome?;
        self.keep(findings, path).await;
        Ok(())
    }

    /// What the file of this name should be, and where it is kept.
    fn expect(&self, name: &str) -> Result<(Expected, Option<PathBuf>), End> {
        let (format, checksum) = self.announced()?;
        let knows_xz = self.shared.world().knows_xz();
        let named = |text| End::Refused(refuse(text));
        let compression: Compression = format.check_name(name, knows_xz).map_err(named)?;
        let (zone, template) = (self.ticket.zone, self.ticket.template);
        let file = storage::create(&self.shared, zone, template, format, compression);
        let file = file.map_err(|error| End::Refused((500, error.to_string())))?;
        let (file, path) = file.unzip();
        let max_size = self.shared.options.max_template_size;
        Ok((Expected { format, compression, checksum, file, max_size }, path))
    }

    fn announced(&self) -> Result<(Format, Option<Checksum>), End> {
        let world = self.shared.world();
        let gone = || End::Refused(refuse("the template was deleted"));
        let template = world.templates.get(self.ticket.template).ok_or_else(gone)?;
        let checksum = template.checksum.as_deref().and_then(|text| Checksum::parse(text).ok());
        Ok((template.format, checksum))
    }

    async fn pull(
        &self,
        field: &mut Field<'_>,
        expected: Expected,
        cut_after: Option<u64>,
    ) -> Result<Findings, End> {
        let intake = Intake::start(expected);
        let (mut received, mut percent) = (0, 0);
        self.stage(Stage::Uploading(0));
        while let Some(bytes) = field.chunk().await.map_err(|_| End::Cut)? {
            received += bytes.len() as u64;
            if cut_after.is_some_and(|most| received > most) {
                return Err(End::Cut);
            }
            if !intake.push(bytes).await {
                break;
            }
            let now = share(received, Some(self.length));
            if now != percent {
                percent = now;
                self.stage(Stage::Uploading(percent));
            }
        }
        let checked = intake.finish().await;
        checked.map_err(|text| End::Refused(refuse(text)))
    }

    async fn keep(&self, findings: Findings, path: Option<PathBuf>) {
        let (template, zone) = (self.ticket.template, self.ticket.zone);
        let noted = self.shared.world().set_findings(template, zone, &findings, path.clone());
        match path {
            Some(path) if !noted => storage::remove(&path).await,
            _ => self.end(Ok(())),
        }
    }

    fn stage(&self, stage: Stage) {
        self.shared.world().set_stage(self.ticket.template, self.ticket.zone, stage);
    }

    /// The server hears of the end when it next looks after uploads.
    fn end(&self, outcome: Result<(), String>) {
        let delay = self.shared.options.upload_interval;
        let event = Event::UploadSeen(self.ticket.template, self.ticket.zone, outcome);
        self.shared.world().schedule_in(delay, event);
    }
}
