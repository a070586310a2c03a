//! What a measurement takes place before: programs in processes of their own,
//! so that neither their memory nor their time is flock's.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::{link, simulator};

/// What this program is when it has started itself.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Role {
    #[command(hide = true)]
    Cloud(simulator::CloudOptions),
    #[command(hide = true)]
    Link(link::LinkOptions),
}

impl Role {
    /// Plays it until standard input ends.
    ///
    /// # Errors
    /// When it cannot be played.
    pub(crate) fn play(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        match self {
            Self::Cloud(options) => runtime.block_on(simulator::serve(options)),
            Self::Link(options) => runtime.block_on(link::serve(options)),
        }
    }
}

/// This program in another process, which ends with this.
#[derive(Debug)]
pub(super) struct Backdrop {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Backdrop {
    /// Starts it; gives what it says first, too.
    pub(super) fn start(arguments: &[&str]) -> Result<(Self, String)> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start another process of this program")?;
        let answers = BufReader::new(process.stdout.take().context("no output")?);
        let mut backdrop = Self { process, answers };
        let first = backdrop.line()?;
        Ok((backdrop, first))
    }

    /// Asks for a line.
    pub(super) fn ask(&mut self) -> Result<String> {
        let mut input = self.process.stdin.as_ref().context("no input")?;
        writeln!(input)?;
        self.line()
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the other process has ended");
        Ok(line.trim().to_owned())
    }
}

impl Drop for Backdrop {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It ends with its input; whether it does so well is of no interest.
        let _ = self.process.wait();
    }
}
