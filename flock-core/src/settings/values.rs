//! The settings' texts, as values.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ColorChoice, MIN_MEMORY, ProgressStyle};
use crate::app::parse_size;

/// Whether a text is a value of the setting, so that a file's mistakes are
/// told at once, and also where a nearer layer gives the value.
pub(super) fn check(key: &str, text: &str, directory: &Path) -> Result<(), String> {
    match key {
        "cache_dir" | "ca_file" | "credentials_file" | "config" => path(text, directory).map(drop),
        "cache_max_age" => age(text, directory).map(drop),
        "threads" => count(text, directory).map(drop),
        "memory" => memory(text, directory).map(drop),
        "color" => color(text, directory).map(drop),
        "progress" => progress(text, directory).map(drop),
        _ => Ok(()),
    }
}

pub(super) fn path(text: &str, directory: &Path) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("an empty path".to_owned());
    }
    Ok(directory.join(text))
}

pub(super) fn some_path(text: &str, directory: &Path) -> Result<Option<PathBuf>, String> {
    path(text, directory).map(Some)
}

pub(super) fn count(text: &str, _: &Path) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| format!("'{text}' is not a number of threads"))
}

pub(super) fn memory(text: &str, _: &Path) -> Result<Option<u64>, String> {
    match parse_size(text) {
        Ok(bytes) if bytes >= MIN_MEMORY => Ok(Some(bytes)),
        Ok(_) => Err(format!("'{text}' is too little memory: 16MiB is the least")),
        Err(_) => Err(format!("'{text}' is not an amount of memory, such as 512MiB or 2GiB")),
    }
}

pub(super) fn age(text: &str, _: &Path) -> Result<Duration, String> {
    parse_age(text)
}

/// Reads an age as the settings have it: a number with `s`, `m`, `h` or `d`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not an age, such as 30d, 12h, 90m or 0s");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

pub(super) fn color(text: &str, _: &Path) -> Result<ColorChoice, String> {
    match text {
        "auto" => Ok(ColorChoice::Auto),
        "always" => Ok(ColorChoice::Always),
        "never" => Ok(ColorChoice::Never),
        _ => Err(format!("'{text}' is none of auto, always and never")),
    }
}

pub(super) fn progress(text: &str, _: &Path) -> Result<ProgressStyle, String> {
    match text {
        "auto" => Ok(ProgressStyle::Auto),
        "json" => Ok(ProgressStyle::Json),
        "none" => Ok(ProgressStyle::None),
        _ => Err(format!("'{text}' is none of auto, json and none")),
    }
}
