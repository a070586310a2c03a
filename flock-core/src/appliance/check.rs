//! What can be known of a build before it begins.

use std::fs::{self, File, FileType, Metadata};
use std::io;
use std::mem::discriminant;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{BuildRequest, inject, naming, sources};
use crate::app::{InjectedContent, RepositoryType};
use crate::image_builder::ApplianceFormat;
use crate::location::Location;
use crate::rootfs::checksum::Checksum;
use crate::rootfs::compress::Format;
use crate::rootfs::output::{OutputFile, OutputOptions};
use crate::rootfs::{exclude, name};
use crate::{Error, ErrorKind, Result};

/// Something on this machine that a build reads.
struct Input<'a> {
    path: &'a Path,
    /// The key that names it.
    key: &'static str,
    checksum: Option<&'a Checksum>,
    /// Whether all of it becomes part of the appliance.
    is_packed: bool,
}

/// An input of this machine that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MissingInput {
    /// The key that names it: `build.base_url`.
    pub key: &'static str,
    /// Where it should be.
    pub path: PathBuf,
}

impl BuildRequest {
    /// The inputs of this machine that are not there, which is no error as
    /// long as nothing is built. Looks at nothing else.
    #[must_use]
    pub fn missing_inputs(&self) -> Vec<MissingInput> {
        let is_missing = |input: &Input<'_>| {
            fs::metadata(input.path).is_err_and(|error| {
                matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            })
        };
        let inputs = self.inputs().into_iter().filter(is_missing);
        inputs.map(|input| MissingInput { key: input.key, path: input.path.into() }).collect()
    }

    /// Checks what can be checked without fetching or writing anything: as
    /// [`BuildRequest::check_inputs`], and that the output can be written.
    ///
    /// # Errors
    /// - Those of [`BuildRequest::check_inputs`].
    /// - [`ErrorKind::InvalidConfig`] for an output that is there and is no
    ///   plain file, is one of the inputs, would be packed with one, or whose
    ///   name speaks of another compression; [`ErrorKind::NotFound`] and
    ///   [`ErrorKind::PermissionDenied`] for its directory.
    /// - [`ErrorKind::AlreadyExists`] for an output that is there, without
    ///   `force`: only if nothing else is wrong.
    pub fn check(&self) -> Result<()> {
        self.check_inputs()?;
        self.check_name()?;
        for input in self.inputs() {
            self.check_against(&input)?;
        }
        OutputFile::check(&self.output, &self.output_options())
    }

    /// Checks everything but the output, for a build that goes elsewhere: what
    /// is of this machine is there and can be read, and the rest is
    /// consistent.
    ///
    /// # Errors
    /// - [`ErrorKind::NotFound`], [`ErrorKind::PermissionDenied`] for an input
    ///   of this machine.
    /// - [`ErrorKind::InvalidConfig`] for an input that is a device; a
    ///   checksum of what has none (a directory, an image); a place in the
    ///   appliance that is its root or has `..`; a file to put in that is too
    ///   large, or a key that is not public; a pattern that matches nothing;
    ///   an address or reference that is none; a level of compression that is
    ///   none.
    /// - [`ErrorKind::InvalidData`] for an empty base.
    /// - [`ErrorKind::Unsupported`] for what is to be fetched, without the
    ///   feature `fetch`.
    pub fn check_inputs(&self) -> Result<()> {
        for input in self.inputs() {
            self.check_input(&input)?;
        }
        sources::check(self)?;
        self.compression.validate()?;
        for application in &self.applications {
            check_place(&application.wwwroot, "an application")?;
        }
        for pattern in &self.exclude {
            exclude::glob(pattern)?;
        }
        for file in inject::files(self)? {
            check_place(&file.path, "a file")?;
        }
        Ok(())
    }

    /// Checks that the programs that fetching runs are here. Runs
    /// `git --version` if a branch or tag of a git repository is asked for; a
    /// commit may be in the cache, which needs no git. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if there is no `git`.
    pub fn check_programs(&self) -> Result<()> {
        sources::check_programs(self)
    }

    /// Checks that the appliance can be written as a stream.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a disk, which is not written from
    /// beginning to end.
    pub fn check_streams(&self) -> Result<()> {
        if self.format == ApplianceFormat::Tar {
            return Ok(());
        }
        let message = format!("a disk ({}) cannot be written to a stream", self.format);
        Err(Error::new(ErrorKind::Unsupported, message).hint("name a file for the output"))
    }

    pub(super) fn output_options(&self) -> OutputOptions {
        OutputOptions::default().with_force(self.force).with_sync(self.sync)
    }

    /// What is read of this machine.
    fn inputs(&self) -> Vec<Input<'_>> {
        let mut inputs = Vec::new();
        if let Location::Path(path) = &self.base {
            let checksum = self.base_checksum.as_ref();
            inputs.push(Input { path, key: "build.base_url", checksum, is_packed: true });
        }
        for one in &self.applications {
            let Location::Path(path) = &one.repository else { continue };
            // git packs what is committed, not what lies there.
            let is_packed = one.kind != RepositoryType::Git;
            let key = "build.application_repository";
            inputs.push(Input { path, key, checksum: one.checksum.as_ref(), is_packed });
        }
        for content in self.inject.contents() {
            let InjectedContent::File(path) = content else { continue };
            inputs.push(Input { path, key: "build.inject", checksum: None, is_packed: false });
        }
        if let Some(path) = self.config.as_deref().filter(|path| path.exists()) {
            inputs.push(Input { path, key: "", checksum: None, is_packed: false });
        }
        inputs
    }

    fn check_input(&self, input: &Input<'_>) -> Result<()> {
        let metadata = fs::metadata(input.path).map_err(|source| self.missing(input, source))?;
        let kind = metadata.file_type();
        let refuse = |kind, message, hint: &str| {
            let error = Error::new(kind, message).with("path", input.path.display().to_string());
            Err(error.with("key", input.key).hint(hint))
        };
        let shown = input.path.display();
        if kind.is_char_device() || kind.is_block_device() {
            let message = format!("{shown} is a device, not an input");
            return refuse(ErrorKind::InvalidConfig, message, "copy what is on it to a file");
        }
        if kind.is_dir() && input.checksum.is_some() {
            let message = format!("{shown} is a directory and has no checksum");
            let hint = "leave the checksum away, or pack the directory as a tar archive";
            return refuse(ErrorKind::InvalidConfig, message, hint);
        }
        if kind.is_file() && metadata.len() == 0 && input.key == "build.base_url" {
            let hint = "it may be a download that never ended; fetch or make it again";
            return refuse(ErrorKind::InvalidData, format!("the base {shown} is empty"), hint);
        }
        check_readable(input.path, kind)
    }

    fn missing(&self, input: &Input<'_>, source: io::Error) -> Error {
        let error = Error::io("find", input.path, source).with("key", input.key);
        if error.kind() != ErrorKind::NotFound {
            return error;
        }
        let named = format!("`{}` names it", input.key);
        match self.config.as_deref().and_then(Path::parent) {
            None => error.hint(named),
            Some(from) => {
                let from = if from == Path::new("") { Path::new(".") } else { from };
                error.hint(format!("{named}; relative paths are taken from {}", from.display()))
            }
        }
    }

    /// Refuses to write over an input, or into one.
    fn check_against(&self, input: &Input<'_>) -> Result<()> {
        let refuse = |what: &str| {
            let (output, input) = (self.output.display(), input.path.display());
            let message = format!("the output {output} {what} {input}");
            Err(Error::new(ErrorKind::InvalidConfig, message)
                .with("path", output.to_string())
                .hint("name another file for the output"))
        };
        let Ok(metadata) = fs::metadata(input.path) else { return Ok(()) };
        if fs::metadata(&self.output).is_ok_and(|there| is_same(&there, &metadata)) {
            return refuse("is an input of the build:");
        }
        if metadata.is_dir() && input.is_packed {
            let parent = self.output.parent().filter(|parent| *parent != Path::new(""));
            let parent = fs::canonicalize(parent.unwrap_or(Path::new(".")));
            let is_inside = fs::canonicalize(input.path)
                .is_ok_and(|directory| parent.is_ok_and(|parent| parent.starts_with(directory)));
            if is_inside {
                return refuse("would become part of what is packed:");
            }
        }
        Ok(())
    }

    /// Refuses an output whose name speaks of another format or compression.
    fn check_name(&self) -> Result<()> {
        let shown = self.output.display();
        if let Some(named) = naming::named_format(&self.output).filter(|it| *it != self.format) {
            let message =
                format!("the output {shown} has a name for {named}, not for {}", self.format);
            return Err(Error::new(ErrorKind::InvalidConfig, message)
                .with("path", shown.to_string())
                .with("named_format", named.to_string())
                .hint(format!("ask for a {named}, or let the name end in .{}", self.format)));
        }
        let named = Format::from_file_name(&self.output)
            .map_err(|error| error.with("path", shown.to_string()))?;
        match named {
            Some(named) if discriminant(&named) != discriminant(&self.compression) => {
                let (is, says) = (self.compression.name(), named.name());
                let message = format!("the output {shown} has a name for {says}, not for {is}");
                let error = Error::new(ErrorKind::InvalidConfig, message);
                let extension = self.compression.extension();
                Err(error.with("path", shown.to_string()).hint(format!(
                    "leave the compression away, or let the name end in .{}{extension}",
                    self.format
                )))
            }
            _ => Ok(()),
        }
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Opening a pipe would wait for its other end, so that is left to the build.
fn check_readable(path: &Path, kind: FileType) -> Result<()> {
    let opened = match kind {
        kind if kind.is_file() => File::open(path).map(drop),
        kind if kind.is_dir() => fs::read_dir(path).map(drop),
        _ => Ok(()),
    };
    opened.map_err(|source| Error::io("read", path, source))
}

/// Refuses a place in the appliance that can be none.
fn check_place(path: &str, what: &str) -> Result<()> {
    let why = match name::normalize(path.as_bytes()) {
        Ok(path) if path.is_empty() => "it is the root of the appliance".to_owned(),
        Ok(_) => return Ok(()),
        Err(why) => why.to_string(),
    };
    let message = format!("cannot put {what} at '{}': {why}", path.escape_debug());
    Err(Error::new(ErrorKind::InvalidConfig, message).with("entry", path))
}
