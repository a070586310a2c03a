//! `flock completions`.

use clap_complete::{Shell, generate};

use crate::cli;
use crate::exit::Exit;
use crate::output::{Printer, Result};

pub(crate) fn run(printer: &Printer, shell: Shell) -> Result<Exit> {
    let mut script = Vec::new();
    generate(shell, &mut cli::command(), "flock", &mut script);
    printer.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
