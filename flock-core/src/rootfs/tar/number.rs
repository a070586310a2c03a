//! The two ways in which a tar header writes a number.

/// Reads a numeric header field: octal digits (POSIX ustar), or base-256 with
/// the top bit of the first byte set (GNU and star). An empty field is zero.
/// `None` if it is neither, or beyond 64 bits.
pub(crate) fn parse(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => parse_base256(field),
        _ => parse_octal(field),
    }
}

fn parse_base256(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    // Bit 7 marks the encoding and bit 6 is the sign. No field is wider than
    // 12 bytes, so 128 bits never overflow.
    let mut value = i128::from(first & 0x3f);
    if first & 0x40 != 0 {
        value -= 0x40;
    }
    for byte in rest.iter().take(12) {
        value = value * 256 + i128::from(*byte);
    }
    i64::try_from(value).ok()
}

fn parse_octal(field: &[u8]) -> Option<i64> {
    // Some old writers leave a NUL in front when the field before it is full.
    let field = field.strip_prefix(b"\0").unwrap_or(field);
    let digits = field.trim_ascii_start();
    let end = digits.iter().position(|b| !(b'0'..=b'7').contains(b)).unwrap_or(digits.len());
    let (digits, tail) = digits.split_at(end);
    if !matches!(tail.first(), None | Some(b' ' | 0)) {
        return None;
    }
    digits
        .iter()
        .try_fold(0i64, |value, digit| value.checked_mul(8)?.checked_add(i64::from(digit - b'0')))
}

/// Writes `value` in octal, zero-padded and ended by NUL. `false`, and zero
/// in the field, if it does not fit.
pub(crate) fn write_octal(field: &mut [u8], value: u64) -> bool {
    let digits = field.len() - 1;
    let fits = digits * 3 >= 64 || value >> (digits * 3) == 0;
    let mut rest = if fits { value } else { 0 };
    for byte in field[..digits].iter_mut().rev() {
        *byte = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    field[digits] = 0;
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_as_different_writers_pad_it() {
        assert_eq!(parse(b"0000644\0"), Some(0o644));
        assert_eq!(parse(b"   644 \0"), Some(0o644));
        assert_eq!(parse(b"\0 644 \0"), Some(0o644));
        assert_eq!(parse(b"77777777"), Some(0o77777777));
        assert_eq!(parse(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(parse(b""), Some(0));
        assert_eq!(parse(b"12x4\0"), None);
        assert_eq!(parse(b"-1\0"), None);
        assert_eq!(parse(b"777777777777777777777777"), None);
    }

    #[test]
    fn base256_both_signs() {
        assert_eq!(parse(&[0x80, 0, 0, 0, 0x80, 0, 0, 1]), Some(0x8000_0001));
        assert_eq!(parse(&[0xff; 12]), Some(-1));
        assert_eq!(parse(&[0x80, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0]), None);
        let mut least = [0xff; 12];
        least[4..].copy_from_slice(&i64::MIN.to_be_bytes());
        assert_eq!(parse(&least), Some(i64::MIN));
    }

    #[test]
    fn octal_is_written_or_refused() {
        let mut field = [1u8; 8];
        assert!(write_octal(&mut field, 0o755));
        assert_eq!(&field, b"0000755\0");
        assert!(!write_octal(&mut field, 1 << 21));
        assert_eq!(&field, b"0000000\0");
        let mut size = [0u8; 12];
        assert!(write_octal(&mut size, (1 << 33) - 1));
        assert!(!write_octal(&mut size, 1 << 33));
    }
}
