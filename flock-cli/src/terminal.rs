//! Text from outside that is shown on a terminal.

use std::borrow::Cow;

/// The text with escapes instead of the characters that would do something to
/// a terminal, or make it show something else than is there: control
/// characters (ECMA-48, C0, DEL and C1) except the end of a line, and those
/// that turn the direction of what follows (Unicode Standard Annex #9, sections
/// 2.1, 2.2 and 2.4).
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_active(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

fn is_active(character: char) -> bool {
    match character {
        '\n' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        other => other.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        for (text, shown) in [
            ("two\nlines, grün 日本", "two\nlines, grün 日本"),
            ("\x1b[31m\x07\r\t", r"\u{1b}[31m\u{7}\r\t"),
            ("\u{9b}2J\x7f", r"\u{9b}2J\u{7f}"),
            ("a\u{202e}b\u{2066}c\u{2069}", r"a\u{202e}b\u{2066}c\u{2069}"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
