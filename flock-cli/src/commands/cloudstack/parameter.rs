//! `KEY=VALUE` on the command line.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use flock_cloudstack::Parameters;
use flock_core::{Error, ErrorKind, Result};

/// The most that a request may hold (`maxFormContentSize` in CloudStack's
/// server.properties): 1 MiB.
const MAX_VALUE: u64 = 1 << 20;

/// A parameter of a call. `Debug` is for clap, which shows it to nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    name: String,
    value: Source,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// `KEY=VALUE`, and `KEY=@@VALUE` for a value that begins with `@`.
    Text(String),
    /// `KEY=@FILE`.
    File(PathBuf),
    /// `KEY=@-`.
    StandardInput,
}

impl FromStr for Parameter {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("there is no '=' in it")?;
        if name.is_empty() {
            return Err("there is no name before the '='".to_owned());
        }
        let value = match value.strip_prefix('@') {
            None => Source::Text(value.to_owned()),
            Some(rest) if rest.starts_with('@') => Source::Text(rest.to_owned()),
            Some("-") => Source::StandardInput,
            Some("") => return Err("there is no file behind the '@'".to_owned()),
            Some(file) => Source::File(PathBuf::from(file)),
        };
        Ok(Self { name: name.to_owned(), value })
    }
}

/// The parameters with their values, read from files where they are there.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] for a name given twice and for a value that is
/// too long or not UTF-8; those of reading a file.
pub(super) fn read_all(given: &[Parameter]) -> Result<Parameters> {
    let mut parameters = Parameters::new();
    for Parameter { name, value } in given {
        if parameters.get(name).is_some() {
            let message = format!("{name} is given twice");
            return Err(Error::new(ErrorKind::InvalidConfig, message).with("parameter", name));
        }
        let value = match value {
            Source::Text(text) => text.clone(),
            Source::File(path) => from_file(path)?,
            Source::StandardInput => read(&mut io::stdin().lock(), Path::new("standard input"))?,
        };
        parameters = parameters.with(name, value);
    }
    Ok(parameters)
}

fn from_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|source| Error::io("read", path, source))?;
    read(&mut file, path)
}

/// A value without the newline at its end, which editors put there.
fn read(from: &mut impl Read, path: &Path) -> Result<String> {
    let unfit = |what: &str| {
        let message = format!("{} {what}", path.display());
        Error::new(ErrorKind::InvalidConfig, message).with("path", path.display().to_string())
    };
    let mut bytes = Vec::new();
    from.take(MAX_VALUE + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::io("read", path, source))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_VALUE) {
        return Err(unfit("is longer than the 1 MiB that CloudStack takes"));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| {
        unfit("is not text in UTF-8").hint("encode it in base64 where it is binary")
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Vec<Parameter> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_value_is_behind_the_first_equals_sign() {
        let given = parsed(&["name=a=b", "tags[0].key=k", "empty=", "text=@@home"]);
        let parameters = read_all(&given).unwrap();
        let all: Vec<_> = parameters.iter().collect();
        assert_eq!(all, [("empty", ""), ("name", "a=b"), ("tags[0].key", "k"), ("text", "@home")]);
        for wrong in ["name", "=value", "name=@"] {
            assert!(wrong.parse::<Parameter>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_may_be_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("value");
        let text = format!("password=@{}", path.display());
        let read = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            read_all(&parsed(&[&text]))
        };
        assert_eq!(read(b"hush\n").unwrap().get("password"), Some("hush"));
        assert_eq!(read(b"two\nlines\n\n").unwrap().get("password"), Some("two\nlines\n"));
        assert_eq!(read(b"\xff").unwrap_err().kind(), ErrorKind::InvalidConfig);
        assert_eq!(read(&vec![b'x'; 2 << 20]).unwrap_err().kind(), ErrorKind::InvalidConfig);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read_all(&parsed(&[&text])).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_name_given_twice_is_refused() {
        let error = read_all(&parsed(&["id=1", "id=2"])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    }
}
