//! `flock`: build appliances from a base operating system and an application.

mod cli;
mod commands;
mod error;
mod exit;
mod output;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::parse() {
        Ok(cli) => commands::run(&cli).into(),
        Err(exit) => exit.into(),
    }
}
