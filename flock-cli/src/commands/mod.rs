//! One module per command: call the library, render what it says.

mod app;
mod build;
mod cache;
mod cloudstack;
mod completions;
mod config;
mod deploy;
mod doctor;
mod image;
mod job;
mod man;
mod node;
mod simulator;
mod template;

use std::io;
use std::path::Path;

use flock_core::settings::{ColorChoice, Places, Settings};
use flock_core::{Error, ErrorKind};
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command, Global};
use crate::exit::Exit;
use crate::output::{Printer, Result};

pub(crate) use cloudstack::Parameter;

/// What a command works with.
pub(crate) struct Session {
    pub(crate) printer: Printer,
    pub(crate) places: Places,
    pub(crate) settings: Settings,
    /// Whether flock runs in another directory than the shell.
    pub(crate) moved: bool,
}

/// Runs the command and prints how it went.
pub(crate) fn run(cli: &Cli) -> Exit {
    let global = &cli.global;
    // For what goes wrong before the settings are known.
    let early = Printer::new(global.json, global.quiet, early_color(global));
    let outcome = match &cli.command {
        Command::App(command) => in_session(cli, |session| app::run(session, command)),
        Command::Build(command) => in_session(cli, |session| build::run(session, command)),
        Command::Cache(command) => in_session(cli, |session| cache::run(session, command)),
        Command::Image(command) => in_session(cli, |session| image::run(session, command)),
        Command::Deploy(command) => in_session(cli, |session| deploy::run(session, command)),
        Command::Node(command) => in_session(cli, |session| node::run(session, command)),
        Command::CloudStack(command) => {
            in_session(cli, |session| cloudstack::run(session, command))
        }
        Command::Template(command) => in_session(cli, |session| template::run(session, command)),
        Command::Job(command) => in_session(cli, |session| job::run(session, command)),
        Command::Config(command) => in_session(cli, |session| config::run(session, command)),
        Command::Simulator(command) => in_session(cli, |session| simulator::run(session, command)),
        Command::Doctor(_) => in_session(cli, doctor::run),
        Command::Completions { shell } => completions::run(&early, *shell),
        Command::Man { dir } => man::run(&early, dir.as_deref()),
    };
    outcome.unwrap_or_else(|stop| early.stop(&stop))
}

/// Runs a command that needs the settings.
fn in_session(cli: &Cli, command: impl FnOnce(&Session) -> Result<Exit>) -> Result<Exit> {
    let session = session(cli)?;
    Ok(command(&session).unwrap_or_else(|stop| session.printer.stop(&stop)))
}

/// The colours that the command line alone asks for.
fn early_color(global: &Global) -> ColorChoice {
    match global.color.as_deref() {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => {
            ColorChoice::Never
        }
        _ => ColorChoice::Auto,
    }
}

fn session(cli: &Cli) -> Result<Session, Error> {
    let global = &cli.global;
    if let Some(directory) = &global.directory {
        std::env::set_current_dir(directory)
            .map_err(|source| Error::io("work in", directory, source))?;
    }
    let places = Places::usual(Path::new(""))?;
    let settings = Settings::resolve(&places, cli.settings(), |name| std::env::var(name).ok())?;
    let printer = Printer::new(global.json, global.quiet, settings.color.value);
    log(global.verbose, printer)?;
    let moved = global.directory.is_some();
    Ok(Session { printer, places, settings, moved })
}

/// Sends the libraries' log to standard error, as far as it is wanted.
fn log(verbose: u8, printer: Printer) -> Result<(), Error> {
    let variable = std::env::var("FLOCK_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = match (verbose, variable) {
        (0, None) => return Ok(()),
        (_, Some(filter)) => filter,
        (1, None) => "flock_core=debug,flock_cloudstack=debug".to_owned(),
        (_, None) => "debug,flock_core=trace,flock_cloudstack=trace".to_owned(),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|source| {
        Error::new(ErrorKind::InvalidConfig, format!("FLOCK_LOG: '{filter}' is not a filter"))
            .hint("for example FLOCK_LOG=flock_core=debug")
            .caused_by(source)
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(printer.err.is_color())
        .init();
    Ok(())
}

/// Asserts that `docs/json.md` shows this document.
#[cfg(test)]
fn is_documented(body: impl serde::Serialize) {
    let document = crate::output::Document::new(body);
    let json = serde_json::to_string_pretty(&document).unwrap();
    let docs = include_str!("../../../docs/json.md");
    assert!(docs.contains(&format!("```json\n{json}\n```")), "docs/json.md lacks:\n{json}");
}
