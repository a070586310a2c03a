//! `flock template register`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use flock_cloudstack::image_builder::{
    DirectUpload, PutUpload, ServeUpload, TemplateOptions, Upload, UrlUpload,
};
use flock_core::app::App;
use flock_core::image_builder::{ApplianceFormat, Image, ImageSource, ImageStatus};
use flock_core::{Error, ErrorKind};
use serde::Serialize;

use super::{Work, colored, zones};
use crate::cli::{Method, Register};
use crate::commands::{Session, app};
use crate::exit::Exit;
use crate::interrupt;
use crate::output::{Result, Stop, size};

/// What `flock template register --json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    template: &'a Image,
    seconds: f64,
}

/// What is registered.
struct Wanted {
    /// The application's name.
    app: String,
    file: PathBuf,
    format: ApplianceFormat,
    options: TemplateOptions,
}

pub(super) fn run(session: &Session, command: &Register) -> Result<Exit> {
    let wanted = wanted(session, command)?;
    let mut work = Work::new(session, command.timeout)?;
    if let Some(timeout) = command.timeout {
        // For the upload too, not only for what CloudStack does.
        work.ctx = work.ctx.with_timeout(timeout);
    }
    let start = Instant::now();
    let built = interrupt::run(&work.ctx, build(&work, command, &wanted));
    let image = built.map_err(|error| advise(error, command, &wanted))?;
    let took = start.elapsed();
    let report = Report { template: &image, seconds: took.as_secs_f64() };
    session.printer.result(report, || done(&image, took))?;
    let name = format!("{}:{}", image.name, image.version);
    if image.status != ImageStatus::Ready {
        session.printer.note(&format!("to wait until it is ready: flock template wait {name}"));
    }
    Ok(Exit::Done)
}

async fn build(work: &Work, command: &Register, wanted: &Wanted) -> Result<Image, Error> {
    let Wanted { app, file, format, options } = wanted;
    let builder = work.builder.clone().with_options(options.clone());
    let source = ImageSource::Appliance { path: file.clone(), format: *format };
    builder.build_content(&work.ctx, app, &command.version, &source).await
}

/// What the configuration and the command line say together.
fn wanted(session: &Session, command: &Register) -> Result<Wanted> {
    let app = match app::open(&command.app) {
        Ok(app) => Some(app),
        // With a file or an address at hand, no application is needed.
        Err(Stop::Error(error))
            if error.kind() == ErrorKind::NotFound
                && (command.file.is_some() || command.url.is_some()) =>
        {
            None
        }
        Err(stop) => return Err(stop),
    };
    let format = format(command, app.as_ref());
    let file = match (&command.file, &app) {
        (Some(file), _) => file.clone(),
        (None, Some(app)) => app.appliance_path(format),
        (None, None) => PathBuf::new(),
    };
    let configured = app.as_ref().map(|app| TemplateOptions::from_config(&app.config.template));
    let configured = configured.unwrap_or_default();
    let mut options = TemplateOptions::new().with_force(command.force).with_wait(!command.no_wait);
    options.upload = Some(upload(session, command, configured.upload.as_ref())?);
    options.os_type.clone_from(&command.os_type);
    options.hypervisor.clone_from(&command.hypervisor);
    options.zones = Some(command.zone.clone()).filter(|zones| !zones.is_empty());
    let name = app.map_or_else(|| command.app.clone(), |app| app.name);
    Ok(Wanted { app: name, file, format, options: options.or(&configured) })
}

/// The format asked for, configured, or spoken of by a name.
fn format(command: &Register, app: Option<&App>) -> ApplianceFormat {
    let of_url = || command.url.as_ref().map(|url| Path::new(url.path()));
    let named = command.file.as_deref().or_else(of_url).and_then(ApplianceFormat::from_file_name);
    let configured = app.and_then(|app| app.config.template.format).map(Into::into);
    let asked = command.format.map(Into::into);
    asked.or(named).or(configured).unwrap_or(ApplianceFormat::Tar)
}

/// How the appliance gets to CloudStack, with the user's settings for
/// certificates and logins.
fn upload(
    session: &Session,
    command: &Register,
    configured: Option<&Upload>,
) -> Result<Upload, Error> {
    let settings = &session.settings;
    let ca_file = settings.ca_file.value.clone();
    let put = |mut put: PutUpload| {
        if let Some(url) = &command.display_url {
            put = put.with_display_url(url.clone());
        }
        put.credentials_file.clone_from(&settings.credentials_file.value);
        put.ca_file.clone_from(&ca_file);
        Upload::Put(put)
    };
    let missing = |what: &str| {
        let message = format!("the upload needs {what}");
        Err(Error::new(ErrorKind::InvalidConfig, message))
    };
    let mut given = [&command.upload_url, &command.display_url, &command.url].into_iter().flatten();
    if given.any(|url| url.password().is_some()) {
        let message = "a password is in an address on the command line, where others may see it";
        let hint = "take it out, and give a file with the login: --credentials-file";
        return Err(Error::new(ErrorKind::InvalidConfig, message).hint(hint));
    }
    match (method(command, configured), configured) {
        (Method::Direct, _) => {
            let mut direct = DirectUpload::default().with_verify_tls(!command.insecure_upload);
            direct.ca_file = ca_file;
            Ok(Upload::Direct(direct))
        }
        (Method::Put, configured) => match (&command.upload_url, configured) {
            (Some(url), _) => Ok(put(PutUpload::new(url.clone()))),
            (None, Some(Upload::Put(configured))) => Ok(put(configured.clone())),
            _ => missing("the address of a web server: --upload-url, or template.upload_url"),
        },
        (Method::Serve, _) => match (command.listen, &command.display_url) {
            (Some(listen), Some(url)) => Ok(Upload::Serve(ServeUpload::new(listen, url.clone()))),
            _ => missing(
                "an address to serve at, and what CloudStack sees it as: --listen and \
                          --display-url",
            ),
        },
        (Method::Url, _) => match &command.url {
            Some(url) => Ok(Upload::Url(UrlUpload::new(url.clone()))),
            None => missing("the appliance's address: --url"),
        },
    }
}

/// The method asked for, or the one that the addresses speak of.
fn method(command: &Register, configured: Option<&Upload>) -> Method {
    let spoken_of = match () {
        () if command.url.is_some() => Method::Url,
        () if command.listen.is_some() => Method::Serve,
        () if command.upload_url.is_some() => Method::Put,
        () if command.insecure_upload => Method::Direct,
        () if configured.is_some() => Method::Put,
        () => Method::Direct,
    };
    command.upload.unwrap_or(spoken_of)
}

/// Names the commands and flags that help.
fn advise(error: Error, command: &Register, wanted: &Wanted) -> Error {
    let is_file = error.context_value("path").map(Path::new) == Some(&wanted.file);
    match error.kind() {
        ErrorKind::NotFound if is_file && command.file.is_none() => {
            let kind = match wanted.format {
                ApplianceFormat::Tar => String::new(),
                other => format!(" --type {other}"),
            };
            error
                .hint(format!("`flock build {}{kind}` makes it; --file names another", command.app))
        }
        ErrorKind::AlreadyExists if !command.force => {
            error.hint("`--version` takes another version, `--force` replaces it")
        }
        _ => error,
    }
}

fn done(image: &Image, took: Duration) -> String {
    let name = format!("{}:{}", image.name, image.version);
    let plain = crate::output::Style::plain();
    let state = match image.status {
        ImageStatus::Ready => "is ready".to_owned(),
        ImageStatus::Building => "is registered, and not ready yet".to_owned(),
        other => format!("is {}", colored(other, plain, 0)),
    };
    let bytes = image.size.map(|bytes| format!("{}, ", size(bytes))).unwrap_or_default();
    let zones: Vec<_> = zones(image).map(|(zone, _)| zone).collect();
    format!(
        "Template {name} {state}\n  {bytes}in {}, {:.1} s, id {}\n",
        zones.join(" and "),
        took.as_secs_f64(),
        image.id
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::is_documented;
    use super::super::tests::example;
    use super::*;

    /// The example in the documentation is this document.
    #[test]
    fn the_report_is_documented() {
        is_documented(Report { template: &example(), seconds: 12.5 });
    }

    #[test]
    fn the_end_is_told() {
        let mut image = example();
        let took = Duration::from_millis(12_500);
        insta::assert_snapshot!(done(&image, took), @r"
        Template site:v1.0 is ready
          49.0 MiB, in paris, 12.5 s, id 5ce8f0b1-a910-4631-a8de-1e332bf3a6b7
        ");
        image.status = ImageStatus::Building;
        assert!(done(&image, took).starts_with("Template site:v1.0 is registered, and not ready"));
    }
}
