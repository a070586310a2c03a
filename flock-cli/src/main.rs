//! `flock`: build appliances from a base operating system and an application.

mod backend;
mod cli;
mod commands;
mod confirm;
mod error;
mod exit;
mod interrupt;
mod output;
mod progress;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli) => commands::run(&cli).into(),
        Err(exit) => exit.into(),
    }
}
