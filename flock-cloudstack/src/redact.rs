//! What a server says, fit to be shown: without secrets that it repeats.

/// Parameters whose values are nobody's business.
const SECRET: [&str; 6] =
    ["signature=", "apikey=", "secretkey=", "sessionkey=", "password=", "passwd="];

/// The text with `***` in place of the values of secret parameters.
pub(crate) fn shown(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    while let Some((start, end)) = next_secret(&lower, at) {
        shown.push_str(&text[at..start]);
        shown.push_str("***");
        at = end;
    }
    shown.push_str(&text[at..]);
    shown
}

/// Where the next secret value begins and ends.
fn next_secret(lower: &str, from: usize) -> Option<(usize, usize)> {
    let rest = &lower[from..];
    let begins = SECRET.iter().filter_map(|name| rest.find(name).map(|at| from + at + name.len()));
    let start = begins.min()?;
    let is_end = |c: char| c == '&' || c == '"' || c == '\'' || c.is_whitespace();
    let length = lower[start..].find(is_end).unwrap_or(lower.len() - start);
    Some((start, start + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_that_are_repeated_are_hidden() {
        for (said, wanted) in [
            (
                "bad request: /api?apikey=a1&Signature=b%2F=&x=1",
                "bad request: /api?apikey=***&Signature=***&x=1",
            ),
            ("login failed, password=hunter2", "login failed, password=***"),
            ("'signature='", "'signature=***'"),
            ("the signature is wrong, ü", "the signature is wrong, ü"),
        ] {
            assert_eq!(shown(said), wanted);
        }
    }
}
