//! `flock man`.

use std::fs;
use std::path::Path;

use clap_mangen::Man;
use flock_core::{Error, ErrorKind};

use crate::cli;
use crate::exit::Exit;
use crate::output::{Printer, Result};

pub(crate) fn run(printer: &Printer, dir: Option<&Path>) -> Result<Exit> {
    let mut command = cli::command();
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
    Man::new(command.clone()).render(&mut page).map_err(|source| {
        Error::new(ErrorKind::Unexpected, "cannot write the manual page").caused_by(source)
    })?;
    Ok(page)
}
