//! `flock app`.

use std::path::{Path, PathBuf};

use flock_core::app::{self, App, AppConfig, NewApp};
use flock_core::appliance::{BuildRequest, MissingInput};
use flock_core::document::{Affects, Problem};
use flock_core::{Error, ErrorKind};
use serde::Serialize;

use super::Session;
use crate::cli::{self, Create};
use crate::exit::Exit;
use crate::output::{Result, Style, columns};

/// What `flock app create --json` prints.
#[derive(Debug, Serialize)]
struct Created<'a> {
    app: &'a str,
    path: &'a Path,
    /// What is still to be filled in.
    unfinished: Vec<Problem>,
}

/// What `flock app list --json` prints.
#[derive(Debug, Serialize)]
struct Listed {
    apps: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    app: String,
    /// Whether nothing stands in the way of a build.
    buildable: bool,
    /// The base, `null` where none is named.
    base: Option<String>,
    /// Why the configuration cannot be read or understood, `null` if it can.
    error: Option<String>,
    /// Whether it cannot even be read.
    #[serde(skip)]
    is_unreadable: bool,
}

/// What `flock app show --json` prints.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    app: &'a str,
    path: PathBuf,
    config: &'a AppConfig,
    unfinished: Vec<&'a Problem>,
}

/// What `flock app validate --json` prints.
#[derive(Debug, Serialize)]
struct Validated<'a> {
    app: &'a str,
    path: &'a Path,
    /// Whether the file can be understood.
    valid: bool,
    /// Whether nothing stands in the way of a build.
    buildable: bool,
    problems: &'a [Problem],
    /// The inputs of this machine that are not there, of what can be built.
    missing: &'a [MissingInput],
}

/// The working directory; paths in messages stay as short as they were typed.
const HERE: &str = "";

pub(crate) fn run(session: &Session, command: &cli::App) -> Result<Exit> {
    match command {
        cli::App::Create(new) => create(session, new),
        cli::App::List => list(session),
        cli::App::Show { name } => show(session, name),
        cli::App::Validate { name } => validate(session, name),
    }
}

/// Opens an application by the name on the command line.
pub(crate) fn open(name: &str) -> Result<App> {
    Ok(App::open(Path::new(HERE), name).map_err(|error| advise(error, name))?)
}

/// Adds the command that makes an application that is not there.
fn advise(error: Error, name: &str) -> Error {
    match error.kind() {
        ErrorKind::NotFound => error.hint(format!("`flock app create {name}` makes a new one")),
        _ => error,
    }
}

fn create(session: &Session, new: &Create) -> Result<Exit> {
    let mut known = NewApp::default();
    known.base.clone_from(&new.base);
    known.repository.clone_from(&new.repository);
    known.kind = new.kind.map(Into::into);
    known.wwwroot.clone_from(&new.wwwroot);
    let path = app::create(Path::new(HERE), &new.name, &known)?;
    let config = AppConfig::load(&path)?;
    let unfinished: Vec<_> = config.unfinished().cloned().collect();
    let document = Created { app: &new.name, path: &path, unfinished };
    session.printer.result(document, || format!("created {}\n", path.display()))?;
    if !config.is_buildable() {
        session.printer.note("To build it, fill in:");
        for problem in config.unfinished().filter(|found| found.affects == Affects::Build) {
            session.printer.note(&format!("  {} (line {})", problem.key, problem.at.line));
        }
        session.printer.note(&format!("`flock app validate {}` checks it.", new.name));
    }
    Ok(Exit::Done)
}

fn list(session: &Session) -> Result<Exit> {
    let names = app::list(Path::new(HERE))?;
    let apps = names.into_iter().map(row).collect::<Vec<_>>();
    let width = apps.iter().map(|row| row.app.len()).max().unwrap_or(0);
    if apps.is_empty() && !session.printer.json {
        session.printer.note("no applications here; `flock app create NAME` makes one");
    }
    let text = |row: &Row| {
        let state = match (&row.base, row.buildable, &row.error) {
            (_, _, Some(error)) if row.is_unreadable => error,
            (_, _, Some(_)) => "config.yaml has mistakes",
            (Some(base), true, _) => base,
            _ => "not filled in",
        };
        format!("{:width$}  {state}\n", row.app)
    };
    let lines: String = apps.iter().map(text).collect();
    session.printer.result(Listed { apps }, || lines)?;
    Ok(Exit::Done)
}

fn row(app: String) -> Row {
    let (config, error) = match AppConfig::load(&Path::new(&app).join(app::CONFIG_FILE)) {
        Ok(config) => (Some(config), None),
        Err(error) => (None, Some(error)),
    };
    Row {
        app,
        buildable: config.as_ref().is_some_and(AppConfig::is_buildable),
        base: config.and_then(|config| config.build.base).map(|base| base.to_string()),
        is_unreadable: error.as_ref().is_some_and(|e| e.kind() != ErrorKind::InvalidConfig),
        error: error.as_ref().map(with_cause),
    }
}

/// The error with its cause, in one line.
fn with_cause(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn show(session: &Session, name: &str) -> Result<Exit> {
    let app = open(name)?;
    let document = Shown {
        app: &app.name,
        path: app.config_path(),
        config: &app.config,
        unfinished: app.config.unfinished().collect(),
    };
    session.printer.result(document, || text(&app, session.printer.out))?;
    Ok(Exit::Done)
}

fn text(app: &App, style: Style) -> String {
    let build = &app.config.build;
    let missing = || "not filled in".to_owned();
    let mut rows = vec![
        ("configuration", app.config_path().display().to_string()),
        ("base", build.base.as_ref().map_or_else(missing, ToString::to_string)),
    ];
    rows.extend(build.base_checksum.map(|checksum| ("base checksum", checksum.to_string())));
    if !build.deploy_app {
        rows.push(("application", "none: the base alone".to_owned()));
    } else if build.applications.is_empty() {
        rows.push(("application", missing()));
    }
    for one in build.applications.iter().filter(|_| build.deploy_app) {
        let reference =
            one.reference.as_ref().map(|text| format!(" at {text}")).unwrap_or_default();
        rows.push(("application", format!("{}{reference}", one.repository)));
        rows.push(("  becomes", one.wwwroot.clone()));
    }
    if !build.exclude.is_empty() {
        rows.push(("left out", build.exclude.join(", ")));
    }
    rows.push(("compression", app.config.compression().to_string()));
    let template = &app.config.template;
    rows.extend(template.ostype.clone().map(|ostype| ("OS type", ostype)));
    rows.extend(template.hypervisor.clone().map(|hypervisor| ("hypervisor", hypervisor)));
    format!("{}\n{}", style.bold(&app.name), columns(&rows, "  "))
}

fn validate(session: &Session, name: &str) -> Result<Exit> {
    let (app, directory) =
        app::locate(Path::new(HERE), name).map_err(|error| advise(error, name))?;
    let path = directory.join(app::CONFIG_FILE);
    let problems = AppConfig::load_problems(&path)?;
    let none = |affects| !problems.iter().any(|problem| problem.affects == affects);
    let valid = none(Affects::File);
    let buildable = valid && none(Affects::Build);
    let missing = if buildable { missing(session, &app, &directory)? } else { Vec::new() };
    let report = report(&path, &problems, buildable, &missing);
    let (problems, missing) = (&problems, &missing);
    let document = Validated { app: &app, path: &path, valid, buildable, problems, missing };
    session.printer.result(document, || report)?;
    if !session.printer.json {
        for MissingInput { key, path, .. } in missing {
            session.printer.warning(&format!("{key}: {} is not there", path.display()));
        }
    }
    Ok(if buildable { Exit::Done } else { Exit::Usage })
}

/// What a build would not find now: it may be made until then.
fn missing(session: &Session, app: &str, directory: &Path) -> Result<Vec<MissingInput>> {
    let config = AppConfig::load(&directory.join(app::CONFIG_FILE))?;
    let app = App::new(app, directory, config);
    Ok(BuildRequest::from_app(&app, &session.settings)?.missing_inputs())
}

fn report(path: &Path, problems: &[Problem], buildable: bool, missing: &[MissingInput]) -> String {
    let is_later = |affects| matches!(affects, Affects::Template | Affects::Deploy);
    let mut text = String::new();
    for problem in problems.iter().filter(|problem| !is_later(problem.affects)) {
        text.push_str(&format!("{}:{problem}", path.display()));
        if let Some(hint) = &problem.hint {
            text.push_str(&format!(" ({hint})"));
        }
        text.push('\n');
    }
    if buildable {
        let state = if missing.is_empty() { "can be built" } else { "is complete" };
        text.push_str(&format!("{} {state}\n", path.display()));
    }
    // What only later steps need, in one line: a fresh file has all of it.
    let later: Vec<_> = problems.iter().filter(|problem| is_later(problem.affects)).collect();
    if !later.is_empty() {
        let keys: Vec<_> = later.iter().map(|problem| problem.key.as_str()).collect();
        text.push_str(&format!("not needed to build, and not filled in: {}\n", keys.join(", ")));
    }
    text
}
