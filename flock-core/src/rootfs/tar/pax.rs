//! Records of a pax extended header (POSIX.1-2017, pax, "pax Extended
//! Header"): `LENGTH KEYWORD=VALUE\n`, the length in decimal and counting
//! itself.

/// Keyword and value of one record. Both are bytes: values need not be UTF-8.
pub(crate) type Record = (Vec<u8>, Vec<u8>);

/// Reads all records of an extended header. `None` if they are malformed.
pub(crate) fn parse(mut data: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !data.is_empty() {
        // Some writers pad the data with NULs instead of giving its length.
        if data.iter().all(|b| *b == 0) {
            break;
        }
        let space = data.iter().take(20).position(|b| *b == b' ')?;
        let length = decimal(&data[..space])?;
        let length =
            usize::try_from(length).ok().filter(|l| (space + 1..=data.len()).contains(l))?;
        let (record, rest) = data.split_at(length);
        let body = record[space + 1..].strip_suffix(b"\n")?;
        let equals = body.iter().position(|b| *b == b'=').filter(|at| *at > 0)?;
        records.push((body[..equals].to_vec(), body[equals + 1..].to_vec()));
        data = rest;
    }
    Some(records)
}

/// Appends one record.
pub(crate) fn write(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut length = body + digits(body);
    if digits(length) > digits(body) {
        length += 1;
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// A number in decimal digits and nothing else.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A time in seconds since the epoch with an optional fraction, as seconds
/// and nanoseconds; digits beyond the ninth are cut. The nanoseconds count
/// forward, also before 1970.
pub(crate) fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|b| *b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    let nanos = (0..9).fold(0u32, |nanos, at| {
        nanos * 10 + fraction.get(at).map_or(0, |digit| u32::from(digit - b'0'))
    });
    match (negative, nanos) {
        (false, _) => Some((seconds, nanos)),
        (true, 0) => Some((-seconds, 0)),
        (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
    }
}

/// Writes a time so that [`time`] reads it back.
pub(crate) fn format_time(seconds: i64, nanos: u32) -> String {
    let (sign, whole, nanos) = match (seconds < 0, nanos) {
        (false, _) => ("", seconds.unsigned_abs(), nanos),
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, _) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanos),
    };
    if nanos == 0 {
        return format!("{sign}{whole}");
    }
    let text = format!("{sign}{whole}.{nanos:09}");
    text.trim_end_matches('0').to_owned()
}

/// The name of an extended attribute from its keyword, in which GNU tar
/// writes `=` as `%3D` and `%` as `%25`.
pub(crate) fn decode_xattr_name(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = match (rest.strip_prefix(b"%3D"), rest.strip_prefix(b"%25")) {
            (Some(tail), _) => (b'=', tail),
            (_, Some(tail)) => (b'%', tail),
            _ => (*first, tail),
        };
        out.push(byte);
        rest = tail;
    }
    out
}

/// A text in which `%` and two hexadecimal digits stand for any byte.
pub(crate) fn decode_percent(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = match rest {
            [b'%', high, low, ..] => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                out.push(high << 4 | low);
                rest = &rest[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// The reverse of [`decode_xattr_name`].
pub(crate) fn encode_xattr_name(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'=' => out.extend_from_slice(b"%3D"),
            b'%' => out.extend_from_slice(b"%25"),
            _ => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_count_themselves() {
        for length in [1usize, 90, 95, 96, 97, 98, 99, 985, 990, 995, 1000] {
            let mut out = Vec::new();
            write(&mut out, b"k", &vec![b'v'; length]);
            let space = out.iter().position(|b| *b == b' ').unwrap();
            assert_eq!(decimal(&out[..space]), Some(out.len() as u64), "value of {length}");
        }
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in
            [&b"5 a=\n1"[..], b"x a=b\n", b"6 a=b", b"0 a=b\n", b"99 a=b\n", b"6 =b\nx", b"5 ab\n"]
        {
            assert_eq!(parse(bad), None, "{}", bad.escape_ascii());
        }
        assert_eq!(parse(b"\0\0"), Some(vec![]));
    }

    #[test]
    fn times_before_the_epoch_count_forward() {
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"7.1234567899"), Some((7, 123_456_789)));
        assert_eq!(time(b""), None);
        assert_eq!(time(b"1.x"), None);
        assert_eq!(format_time(-2, 750_000_000), "-1.25");
        assert_eq!(format_time(i64::MIN, 0), "-9223372036854775808");
    }

    #[test]
    fn percent_signs_stand_for_bytes() {
        assert_eq!(decode_percent(b"user.a%3Db%c3%A9"), "user.a=bé".as_bytes());
        assert_eq!(decode_percent(b"100%, %4, %zz%"), b"100%, %4, %zz%");
    }

    proptest! {
        #[test]
        fn records_survive(key in "[a-zA-Z.]{1,20}", value in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            write(&mut out, key.as_bytes(), &value);
            prop_assert_eq!(parse(&out), Some(vec![(key.into_bytes(), value)]));
        }

        #[test]
        fn times_survive(seconds in -1_000_000_000_000i64..1_000_000_000_000, nanos in 0u32..1_000_000_000) {
            prop_assert_eq!(time(format_time(seconds, nanos).as_bytes()), Some((seconds, nanos)));
        }

        #[test]
        fn xattr_names_survive(name in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode_xattr_name(&encode_xattr_name(&name)), name);
        }

        #[test]
        fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (parse(&data), time(&data), decimal(&data));
        }
    }
}
