//! The patterns of what is left out.

use globset::{Glob, GlobBuilder};

use super::name;
use crate::{Error, ErrorKind, Result};

/// The glob of a pattern as a person writes it: without what says nothing
/// (a leading `/` or `./`, a trailing `/`), and `*` and `?` stop at `/`.
///
/// # Errors
/// [`ErrorKind::InvalidConfig`] for a pattern that is none, or that cannot
/// match anything: silence would let its author believe that it does.
pub(crate) fn glob(pattern: &str) -> Result<Glob> {
    let refuse = |why: &str| {
        let message = format!("'{}' cannot be left out: {why}", pattern.escape_debug());
        Error::new(ErrorKind::InvalidConfig, message)
    };
    let parts: Vec<_> = name::components(pattern.as_bytes()).collect();
    if parts.is_empty() {
        return Err(refuse("it names nothing below the root")
            .hint("name a path in the appliance, as in var/cache/apt/*"));
    }
    if parts.contains(&&b".."[..]) {
        return Err(refuse("no path in the appliance has '..'")
            .hint("name the path from the root of the appliance"));
    }
    if pattern.starts_with('!') {
        return Err(refuse("a pattern cannot be turned round with '!'")
            .hint("for a name that begins with '!' write '\\!'"));
    }
    let path = parts.join(&b'/');
    let glob = GlobBuilder::new(&String::from_utf8_lossy(&path)).literal_separator(true).build();
    glob.map_err(|error| {
        let message = format!("'{pattern}' is not a glob: {}", error.kind());
        Error::new(ErrorKind::InvalidConfig, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_goes() {
        for pattern in ["/var//cache/./apt/", "./var/cache/apt", "var/cache/apt"] {
            assert!(glob(pattern).unwrap().compile_matcher().is_match("var/cache/apt"));
        }
        assert!(glob("\\!x").unwrap().compile_matcher().is_match("!x"));
        assert!(!glob("var/*").unwrap().compile_matcher().is_match("var/cache/apt"));
    }

    #[test]
    fn what_can_match_nothing_is_refused() {
        for pattern in ["", "/", "./", "!x", "../x", "a/../b", "a[", "{a"] {
            let error = glob(pattern).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{pattern}");
            assert!(error.to_string().contains(pattern), "{error}");
        }
    }
}
