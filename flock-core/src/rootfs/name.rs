//! Names inside a root file system, as bytes.

/// The longest path, and the longest target of a link, in bytes: what Linux
/// takes (`PATH_MAX` without its NUL).
pub(crate) const MAX_PATH: usize = 4095;

/// The longest component of a path, in bytes: what Linux takes (`NAME_MAX`).
pub(crate) const MAX_NAME: usize = 255;

/// Why a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadName {
    #[error("it has a `..` component")]
    ParentDirectory,
    #[error("it holds a NUL byte")]
    Nul,
    #[error("it is longer than {MAX_PATH} bytes")]
    TooLong,
    #[error("it has a component of more than {MAX_NAME} bytes")]
    LongComponent,
}

/// The components of a path, without empty ones and `.`.
pub(crate) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// The path without leading `/` and `./`, trailing `/`, and components that
/// say nothing. Empty for the root.
pub(crate) fn normalize(path: &[u8]) -> Result<Vec<u8>, BadName> {
    if path.contains(&0) {
        return Err(BadName::Nul);
    }
    let mut out = Vec::with_capacity(path.len());
    for part in components(path) {
        if part == b".." {
            return Err(BadName::ParentDirectory);
        }
        if part.len() > MAX_NAME {
            return Err(BadName::LongComponent);
        }
        if !out.is_empty() {
            out.push(b'/');
        }
        out.extend_from_slice(part);
    }
    if out.len() > MAX_PATH { Err(BadName::TooLong) } else { Ok(out) }
}

/// The path without its first `count` components; `None` if nothing is left
/// but the entry itself was above that.
pub(crate) fn strip(path: &[u8], count: usize) -> Option<&[u8]> {
    let mut rest = path;
    for _ in 0..count {
        if rest.is_empty() {
            return None;
        }
        rest = match rest.iter().position(|b| *b == b'/') {
            Some(at) => &rest[at + 1..],
            None => &[],
        };
    }
    Some(rest)
}

/// A path for a message: with control characters and bytes that are not
/// ASCII escaped.
pub(crate) fn show(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => path.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_goes() {
        assert_eq!(normalize(b"./a//b/./c/").unwrap(), b"a/b/c");
        assert_eq!(normalize(b"/etc").unwrap(), b"etc");
        assert_eq!(normalize(b"./").unwrap(), b"");
        assert_eq!(normalize(b"...").unwrap(), b"...");
        assert_eq!(normalize(b"a/../b"), Err(BadName::ParentDirectory));
        assert_eq!(normalize(b"a\0b"), Err(BadName::Nul));
        assert_eq!(normalize(&b"a/".repeat(3000)), Err(BadName::TooLong));
    }

    #[test]
    fn leading_components_go() {
        assert_eq!(strip(b"a/b/c", 1), Some(&b"b/c"[..]));
        assert_eq!(strip(b"a", 1), Some(&b""[..]));
        assert_eq!(strip(b"a", 2), None);
        assert_eq!(strip(b"", 1), None);
        assert_eq!(strip(b"", 0), Some(&b""[..]));
    }

    #[test]
    fn messages_stay_on_one_line() {
        assert_eq!(show("späte/datei".as_bytes()), "späte/datei");
        assert_eq!(show(b"a\nb\xff"), "a\\nb\\xff");
    }
}
