//! The order of version numbers, as Debian has it.
//!
//! (Specification: Debian Policy Manual, section 5.6.12 "Version", the part
//! on sorting. Kernel releases of other distributions sort well by it too.)

use std::cmp::Ordering;

/// Compares two versions: stretches without digits and stretches of digits in
/// turn, the former letters before signs and `~` before everything, even
/// before the end, the latter as numbers of any length.
pub(super) fn compare(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_text, left_rest) = split(left, |byte| !byte.is_ascii_digit());
        let (right_text, right_rest) = split(right, |byte| !byte.is_ascii_digit());
        let (left_number, left_rest) = split(left_rest, u8::is_ascii_digit);
        let (right_number, right_rest) = split(right_rest, u8::is_ascii_digit);
        let order = compare_text(left_text, right_text)
            .then_with(|| compare_numbers(left_number, right_number));
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    Ordering::Equal
}

/// The longest begin of which every byte passes, and what follows.
fn split(bytes: &[u8], passes: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| !passes(byte)).unwrap_or(bytes.len());
    bytes.split_at(end)
}

fn compare_text(left: &[u8], right: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(sign) => i32::from(*sign) + 256,
    };
    let length = left.len().max(right.len());
    let unequal = (0..length)
        .map(|at| weight(left.get(at)).cmp(&weight(right.get(at))))
        .find(|order| order.is_ne());
    unequal.unwrap_or(Ordering::Equal)
}

fn compare_numbers(left: &[u8], right: &[u8]) -> Ordering {
    let (_, left) = split(left, |byte| *byte == b'0');
    let (_, right) = split(right, |byte| *byte == b'0');
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_order() {
        let ascending = [
            "0-rescue-5f0c",
            "5.10.0-28-amd64",
            "6.1.0",
            "6.1.0-9-amd64",
            "6.1.0-18-amd64",
            "6.1.0-18-cloud-amd64",
            "6.1.00000000000000000000000000000000012",
            "6.2~rc1",
            "6.2",
            "6.2a",
            "6.2+b",
            "6.10",
        ];
        let mut sorted = ascending;
        sorted.reverse();
        sorted.sort_by(|left, right| compare(left.as_bytes(), right.as_bytes()));
        assert_eq!(sorted, ascending);
        assert_eq!(compare(b"1.02", b"1.2"), Ordering::Equal);
        assert_eq!(compare(b"~", b""), Ordering::Less);
    }
}
