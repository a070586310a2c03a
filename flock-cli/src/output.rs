//! What is printed, and where: data on standard output, all else on standard
//! error.

use std::io::{self, IsTerminal as _, Write};

use flock_core::settings::ColorChoice;
use flock_core::{Error, ErrorKind};
use serde::Serialize;

use crate::error::{self, ErrorDocument};
use crate::exit::Exit;
use crate::terminal::printable;

/// The version of every JSON document that flock prints.
pub(crate) const SCHEMA: u32 = 1;

/// A document with the version of its schema.
#[derive(Debug, Serialize)]
pub(crate) struct Document<T> {
    schema: u32,
    #[serde(flatten)]
    body: T,
}

impl<T: Serialize> Document<T> {
    pub(crate) fn new(body: T) -> Self {
        Self { schema: SCHEMA, body }
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It failed.
    Error(Error),
    /// Nobody reads the output any more, which is no error.
    BrokenPipe,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The result of a command and of what it prints.
pub(crate) type Result<T, E = Stop> = std::result::Result<T, E>;

/// Prints what commands have to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    /// Data is one JSON document.
    pub(crate) json: bool,
    /// Standard error has warnings and errors only.
    pub(crate) quiet: bool,
    /// How standard output is coloured.
    pub(crate) out: Style,
    /// How standard error is coloured.
    pub(crate) err: Style,
}

impl Printer {
    pub(crate) fn new(json: bool, quiet: bool, color: ColorChoice) -> Self {
        let style = |terminal: bool| match color {
            ColorChoice::Always => Style { color: true },
            ColorChoice::Never => Style::plain(),
            _ => Style { color: terminal },
        };
        Self {
            json,
            quiet,
            out: style(io::stdout().is_terminal()),
            err: style(io::stderr().is_terminal()),
        }
    }

    /// Prints `body` as the JSON document of the command, or `text` for a
    /// person.
    pub(crate) fn result(&self, body: impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        if !self.json {
            return self.text(&text());
        }
        let mut json = serde_json::to_string_pretty(&Document::new(body)).map_err(|source| {
            Error::new(ErrorKind::Unexpected, "cannot write the result as JSON").caused_by(source)
        })?;
        json.push('\n');
        self.text(&json)
    }

    /// Prints text on standard output as it is.
    pub(crate) fn text(&self, text: &str) -> Result<()> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Stop::BrokenPipe),
            Err(error) => {
                let message = "cannot write to standard output";
                Err(Error::new(ErrorKind::Unexpected, message).caused_by(error).into())
            }
        }
    }

    /// Says on standard error what a person may want to know.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            to_stderr(&format!("{}\n", printable(text)));
        }
    }

    /// Says on standard error what a person should know.
    pub(crate) fn warning(&self, text: &str) {
        to_stderr(&format!("{} {}\n", self.err.yellow("warning:"), printable(text)));
    }

    /// Shows why the command ended and turns it into the exit code.
    pub(crate) fn stop(&self, stop: &Stop) -> Exit {
        let Stop::Error(error) = stop else { return Exit::Done };
        let text = match self.json.then(|| serde_json::to_string(&ErrorDocument::from(error))) {
            Some(Ok(json)) => format!("{json}\n"),
            Some(Err(_)) | None => error::text(error, self.err),
        };
        to_stderr(&text);
        Exit::from(error.kind())
    }
}

/// Writes to standard error; when even that fails there is nobody to tell.
pub(crate) fn to_stderr(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Colours words, or leaves them. No meaning is in the colour alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    color: bool,
}

impl Style {
    pub(crate) const fn plain() -> Self {
        Self { color: false }
    }

    pub(crate) fn is_color(self) -> bool {
        self.color
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }

    /// By SGR, ECMA-48 section 8.3.117.
    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Names and values in two columns.
pub(crate) fn columns(rows: &[(&str, String)], indent: &str) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{indent}{name:width$}  {value}\n")).collect()
}

/// Rows in columns as wide as their widest value, in characters.
pub(crate) fn table(rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|value| value.chars().count()).max()
    };
    let widths: Vec<_> = (0..).map_while(width).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(value, width)| format!("{value:width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// A number of bytes for a person, in powers of 1024.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = bytes;
    let mut rest = 0;
    while scaled >= 1024 && unit + 1 < UNITS.len() {
        rest = scaled % 1024;
        scaled /= 1024;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} bytes"),
        _ => format!("{scaled}.{} {}", rest * 10 / 1024, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let row = |row: &[&str]| row.iter().map(ToString::to_string).collect();
        let rows = [row(&["a", "bü", "c"]), row(&["aaa", "", "cc"]), row(&["a"])];
        assert_eq!(table(rows), "a    bü  c\naaa      cc\na\n");
        assert_eq!(table([]), "");
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1_600_000, "1.5 MiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
