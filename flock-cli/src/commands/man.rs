//! `flock man`.

use std::fs;
use std::io;
use std::path::Path;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use flock_core::{Error, ErrorKind};

use crate::cli;
use crate::exit::Exit;
use crate::output::{Printer, Result};

pub(crate) fn run(printer: &Printer, dir: Option<&Path>) -> Result<Exit> {
    // What the short help passes over belongs into a manual page.
    let command = cli::command().mut_args(|arg| arg.hide_short_help(false));
    // `flock help` says what the pages say.
    let mut command = command.disable_help_subcommand(true);
    // Gives the commands below their full names.
    command.build();
    match dir {
        None => printer.text(&String::from_utf8_lossy(&page(&command)?))?,
        Some(dir) => {
            fs::create_dir_all(dir).map_err(|e| Error::io("make the directory", dir, e))?;
            write_all(&command, "flock", dir)?;
        }
    }
    Ok(Exit::Done)
}

/// Writes the page of `command`, called `name`, and those of the commands
/// below it.
fn write_all(command: &clap::Command, name: &str, dir: &Path) -> Result<(), Error> {
    let path = dir.join(format!("{name}.1"));
    fs::write(&path, page(command)?).map_err(|source| Error::io("write", &path, source))?;
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_all(below, &format!("{name}-{}", below.get_name()), dir)?;
    }
    Ok(())
}

fn page(command: &clap::Command) -> Result<Vec<u8>, Error> {
    let mut page = Vec::new();
    render(command, &mut page).map_err(|source| {
        Error::new(ErrorKind::Unexpected, "cannot write the manual page").caused_by(source)
    })?;
    Ok(page)
}

/// The sections in the order of man-pages(7).
fn render(command: &clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    let man = Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    let exits = Exit::ALL.iter().map(|(exit, what)| (exit.code().to_string(), (*what).to_owned()));
    section("EXIT STATUS", exits).to_writer(page)?;
    let environment = cli::environment().map(|(name, what)| (name.to_owned(), what));
    section("ENVIRONMENT", environment).to_writer(page)?;
    if command.get_version().is_some() {
        man.render_version_section(page)?;
    }
    Ok(())
}

/// A section of names, each with what it means.
fn section(heading: &str, rows: impl Iterator<Item = (String, String)>) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (name, what) in rows {
        roff.control("TP", []).text([bold(name)]).text([roman(what)]);
    }
    roff
}
