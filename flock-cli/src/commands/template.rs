//! `flock template`.

mod register;

use std::fmt::Write as _;

use flock_cloudstack::image_builder::DeleteOptions;
use flock_cloudstack::{Client, CloudStackImageBuilder};
use flock_core::image_builder::{Image, ImageBuilder as _, ImageBuilderExt as _, ImageStatus};
use flock_core::{Context, Error, ErrorKind, ListFilter};
use serde::Serialize;

use super::Session;
use crate::cli::{Delete, Template, TemplateName};
use crate::confirm::confirm;
use crate::exit::Exit;
use crate::output::{Result, Style, columns, size};
use crate::{backend, interrupt, progress};

/// What `flock template show`, `wait` and `copy` print with `--json`.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    template: &'a Image,
}

/// What `flock template list --json` prints.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    templates: &'a [Image],
}

/// What `flock template delete --json` prints.
#[derive(Debug, Serialize)]
struct Deleted<'a> {
    deleted: &'a Image,
    /// The only zone that it was deleted from, `null` for all of them.
    zone: Option<&'a str>,
}

/// What `flock template extract --json` prints.
#[derive(Debug, Serialize)]
struct Extracted<'a> {
    template: &'a Image,
    url: &'a str,
}

pub(crate) fn run(session: &Session, command: &Template) -> Result<Exit> {
    match command {
        Template::Register(command) => register::run(session, command),
        Template::List { app, .. } => list(session, app.as_deref()),
        Template::Show(one) => show(session, &one.name),
        Template::Wait { template, timeout } => {
            let work = Work::new(session, *timeout)?;
            let image = interrupt::run(&work.ctx, async {
                let image = work.find(&template.name).await?;
                work.builder.wait(&work.ctx, &image.id).await
            })?;
            print(session, &image)
        }
        Template::Delete(command) => delete(session, command),
        Template::Copy { template, zone } => {
            let work = Work::new(session, None)?;
            let image = interrupt::run(&work.ctx, async {
                let image = work.find(&template.name).await?;
                work.builder.copy(&work.ctx, &image.id, zone).await
            })?;
            print(session, &image)
        }
        Template::Extract { template, zone } => extract(session, &template.name, zone.as_deref()),
    }
}

/// What every command works with.
struct Work {
    ctx: Context,
    builder: CloudStackImageBuilder,
}

impl Work {
    fn new(session: &Session, timeout: Option<std::time::Duration>) -> Result<Self> {
        let reporter = progress::reporter(session.settings.progress.value, session.printer);
        let ctx = Context::new().with_progress(reporter);
        let mut config = backend::config(session, &ctx)?;
        if let Some(timeout) = timeout {
            config = config.with_job_timeout(timeout);
        }
        let builder = CloudStackImageBuilder::new(Client::new(config)?);
        Ok(Self { ctx, builder })
    }

    /// The template of that name, matched exactly.
    async fn find(&self, name: &TemplateName) -> Result<Image, Error> {
        let found = self.builder.find(&self.ctx, &name.app, &name.version).await;
        found.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                error.hint(format!("`flock template list {}` shows those that there are", name.app))
            }
            _ => error,
        })
    }
}

fn list(session: &Session, app: Option<&str>) -> Result<Exit> {
    let work = Work::new(session, None)?;
    let filter = app.map_or_else(ListFilter::all, ListFilter::app);
    let templates = interrupt::run(&work.ctx, work.builder.list(&work.ctx, &filter))?;
    if templates.is_empty() && !session.printer.json {
        session.printer.note("no templates; `flock template register APP` makes one");
    }
    let style = session.printer.out;
    session.printer.result(Listed { templates: &templates }, || table(&templates, style))?;
    Ok(Exit::Done)
}

fn table(templates: &[Image], style: Style) -> String {
    let name = |image: &Image| format!("{}:{}", image.name, image.version);
    let width = templates.iter().map(|image| name(image).chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for image in templates {
        let zones: Vec<_> =
            zones(image).map(|(zone, status)| format!("{zone}: {status}")).collect();
        let status = colored(image.status, style, 8);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:width$}  {status}  {}", name(image), zones.join(", "));
    }
    text
}

/// The status, as wide as asked.
fn colored(status: ImageStatus, style: Style, width: usize) -> String {
    let word = match status {
        ImageStatus::Ready => "ready",
        ImageStatus::Building => "building",
        _ => "failed",
    };
    let padded = format!("{word:width$}");
    match status {
        ImageStatus::Ready => style.green(&padded),
        ImageStatus::Building => style.yellow(&padded),
        _ => style.red(&padded),
    }
}

/// The zones that it is in, and how far it is there.
fn zones(image: &Image) -> impl Iterator<Item = (&str, &str)> {
    let zones = image.details.iter();
    zones.filter_map(|(key, value)| Some((key.strip_prefix("zone.")?, value.as_str())))
}

fn show(session: &Session, name: &TemplateName) -> Result<Exit> {
    let work = Work::new(session, None)?;
    let image = interrupt::run(&work.ctx, work.find(name))?;
    print(session, &image)
}

/// Prints all about a template.
fn print(session: &Session, image: &Image) -> Result<Exit> {
    session.printer.result(Shown { template: image }, || describe(image, session.printer.out))?;
    Ok(if image.status == ImageStatus::Failed { Exit::Failed } else { Exit::Done })
}

fn describe(image: &Image, style: Style) -> String {
    let mut rows = vec![("status", colored(image.status, style, 0)), ("id", image.id.to_string())];
    rows.extend(image.size.map(|bytes| ("size", size(bytes))));
    let known = [
        ("format", "format"),
        ("hypervisor", "hypervisor"),
        ("OS type", "os_type"),
        ("registered", "created"),
    ];
    rows.extend(
        known.iter().filter_map(|(label, key)| {
            image.details.get(*key).map(|value| (*label, value.clone()))
        }),
    );
    rows.extend(zones(image).map(|(zone, status)| ("zone", format!("{zone}: {status}"))));
    rows.push(("request", image.owner.request.to_string()));
    let name = format!("{}:{}", image.name, image.version);
    format!("{}\n{}", style.bold(&name), columns(&rows, "  "))
}

fn delete(session: &Session, command: &Delete) -> Result<Exit> {
    let (name, work) = (&command.template.name, Work::new(session, None)?);
    let image = interrupt::run(&work.ctx, work.find(name))?;
    let zone = command.zone.as_deref();
    let place = zone.map(|zone| format!(" from zone {zone}")).unwrap_or_default();
    confirm(&format!("Delete template {name}{place}?"), command.yes)?;
    let mut options = DeleteOptions::new().with_force(command.force);
    options.zone.clone_from(&command.zone);
    let deleted = work.builder.delete_with(&work.ctx, &image.id, &options);
    interrupt::run(&work.ctx, deleted).map_err(|error| match error.kind() {
        ErrorKind::Conflict if !command.force => error.hint("`--force` does that"),
        _ => error,
    })?;
    let document = Deleted { deleted: &image, zone };
    session.printer.result(document, || format!("deleted template {name}{place}\n"))?;
    Ok(Exit::Done)
}

fn extract(session: &Session, name: &TemplateName, zone: Option<&str>) -> Result<Exit> {
    let work = Work::new(session, None)?;
    let (image, url) = interrupt::run(&work.ctx, async {
        let image = work.find(name).await?;
        let url = work.builder.extract(&work.ctx, &image.id, zone).await?;
        Ok((image, url))
    })?;
    let document = Extracted { template: &image, url: url.as_str() };
    session.printer.result(document, || format!("{url}\n"))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use flock_core::{Owner, RequestId};

    use super::super::is_documented;
    use super::*;

    pub(super) fn example() -> Image {
        let request: RequestId = "6e0f3c4a-93d1-5f0b-8a55-2f4f1d0c7b11".parse().unwrap();
        let owner = Owner::new("default", "site", request);
        let id = "5ce8f0b1-a910-4631-a8de-1e332bf3a6b7";
        let mut image = Image::new(id, "site", "v1.0", owner, ImageStatus::Ready);
        image.size = Some(51_380_224);
        let details = [
            ("created", "2026-11-21T08:41:23+0000"),
            ("format", "TAR"),
            ("hypervisor", "LXC"),
            ("os_type", "Debian GNU/Linux 12 (64-bit)"),
            ("zone.paris", "Download Complete"),
        ];
        image.details = details.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        image
    }

    /// The examples in the documentation are these documents.
    #[test]
    fn the_documents_are_documented() {
        let image = example();
        is_documented(Listed { templates: std::slice::from_ref(&image) });
        is_documented(Shown { template: &image });
        is_documented(Deleted { deleted: &image, zone: None });
        let url = "http://198.51.100.7/userdata/a7a2ca0e-65c7-4b9e-bc61-3a4ab6adf6c0.tar";
        is_documented(Extracted { template: &image, url });
    }

    #[test]
    fn a_list_has_a_line_for_each() {
        let mut other = example();
        other.version = "v1.10".to_owned();
        other.status = ImageStatus::Building;
        other.details.insert("zone.berlin".to_owned(), "5% Downloaded".to_owned());
        insta::assert_snapshot!(table(&[example(), other], Style::plain()), @r"
        site:v1.0   ready     paris: Download Complete
        site:v1.10  building  berlin: 5% Downloaded, paris: Download Complete
        ");
    }

    #[test]
    fn a_template_is_described() {
        insta::assert_snapshot!(describe(&example(), Style::plain()), @r"
        site:v1.0
          status      ready
          id          5ce8f0b1-a910-4631-a8de-1e332bf3a6b7
          size        49.0 MiB
          format      TAR
          hypervisor  LXC
          OS type     Debian GNU/Linux 12 (64-bit)
          registered  2026-11-21T08:41:23+0000
          zone        paris: Download Complete
          request     6e0f3c4a-93d1-5f0b-8a55-2f4f1d0c7b11
        ");
    }
}
