use std::io::Write;

use proptest::prelude::*;

use super::*;

const FORMATS: [Compression; 4] =
    [Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::Bzip2];

fn compress(compression: Compression, data: &[u8]) -> Vec<u8> {
    fn written<W: Write>(mut encoder: W, data: &[u8]) -> W {
        encoder.write_all(data).unwrap();
        encoder
    }
    match compression {
        Compression::None => data.to_vec(),
        Compression::Gzip => {
            let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            written(encoder, data).finish().unwrap()
        }
        Compression::Xz => {
            written(liblzma::write::XzEncoder::new(Vec::new(), 0), data).finish().unwrap()
        }
        Compression::Zstd => zstd::bulk::compress(data, 1).unwrap(),
        Compression::Bzip2 => {
            let encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            written(encoder, data).finish().unwrap()
        }
    }
}

fn decode(compression: Compression, data: &[u8], limits: Limits) -> Result<Vec<u8>, Error> {
    let mut output = Vec::new();
    let input = io::BufReader::with_capacity(7, data);
    let mut decoder = Decoder::new(input, compression, limits)?;
    match decoder.read_to_end(&mut output) {
        Ok(_) => Ok(output),
        Err(error) => Err(Error::io("decode", std::path::Path::new("input"), error)),
    }
}

#[test]
fn each_format_is_recognised_and_read() {
    let data: Vec<u8> = (0..100_000u32).flat_map(|i| (i % 1000).to_le_bytes()).collect();
    for format in FORMATS {
        for content in [&data[..], b""] {
            let packed = compress(format, content);
            assert_eq!(Compression::recognise(&packed), format);
            assert_eq!(decode(format, &packed, Limits::default()).unwrap(), content, "{format}");
        }
    }
    for other in [&b""[..], b"\x1f", b"BZh9", b"<!DOCTYPE html>", b"\x1f\x8b\x09", &data] {
        assert_eq!(Compression::recognise(other), Compression::None);
    }
    assert_eq!(Compression::recognise(b"\x5a\x2a\x4d\x18"), Compression::Zstd);
}

#[test]
fn streams_behind_each_other_are_one() {
    for format in FORMATS {
        let mut packed = compress(format, b"one ");
        packed.extend(compress(format, b""));
        packed.extend(compress(format, b"two"));
        assert_eq!(decode(format, &packed, Limits::default()).unwrap(), b"one two", "{format}");
    }
    let mut padded = compress(Compression::Xz, b"one ");
    padded.extend([0; 8]);
    padded.extend(compress(Compression::Xz, b"two"));
    assert_eq!(decode(Compression::Xz, &padded, Limits::default()).unwrap(), b"one two");
}

#[test]
fn every_cut_and_every_tail_is_an_error() {
    for format in FORMATS {
        let packed = compress(format, b"some text, some text, some other text");
        for len in 0..packed.len() {
            let result = decode(format, &packed[..len], Limits::default());
            // Nothing at all is a fine series of no zstd frames, but it is
            // not recognised as one either.
            let Err(error) = result else {
                assert_eq!(len, 0, "{format} cut at {len}");
                continue;
            };
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{format} cut at {len}");
        }
        for tail in [&b"x"[..], b"garbage behind the end", &[0; 3], b"\0\0\0x"] {
            if format == Compression::Gzip && tail == [0; 3] {
                continue;
            }
            let long = [&packed, tail].concat();
            let error = decode(format, &long, Limits::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{format}, then {tail:?}");
        }
    }
}

#[test]
fn a_flipped_bit_is_noticed() {
    for format in [Compression::Gzip, Compression::Xz, Compression::Bzip2] {
        let mut packed = compress(format, &b"text that is checked ".repeat(100));
        let middle = packed.len() / 2;
        packed[middle] ^= 0x10;
        let error = decode(format, &packed, Limits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{format}");
        assert_eq!(error.hints().count(), 1);
    }
}

#[test]
fn a_bomb_is_stopped() {
    let zeros = vec![0; 3 << 20];
    for format in FORMATS {
        let packed = compress(format, &zeros);
        let limits = Limits::default().with_max_output(1 << 20);
        let error = decode(format, &packed, limits).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{format}");
        assert_eq!(error.context_value("limit"), Some("max_output"));
        assert_eq!(error.hints().count(), 1);
    }
    let limits = Limits::default().with_max_output(100);
    assert_eq!(decode(Compression::None, &[0; 100], limits).unwrap().len(), 100);
    let error = decode(Compression::None, &[0; 101], limits).unwrap_err();
    assert_eq!(error.context_value("limit"), Some("max_output"));
    let limits = Limits::default();
    assert!(limits.check(Compression::Gzip, 1, 1 << 30).is_ok());
    let error = limits.check(Compression::Gzip, 1 << 20, (1 << 30) + 1000).unwrap_err();
    assert_eq!(error.context_value("limit"), Some("max_ratio"));
    assert!(limits.check(Compression::Gzip, 2 << 20, (1 << 30) + 1000).is_ok());
}

#[test]
fn a_file_cannot_ask_for_all_memory() {
    let data: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.window_log(25).unwrap();
    zstd.write_all(&data).unwrap();
    let zstd = zstd.finish().unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
    xz.write_all(&data[..1000]).unwrap();
    let xz = xz.finish().unwrap();
    let small = Limits::default().with_max_memory(1 << 20);
    for (format, packed) in [(Compression::Zstd, zstd), (Compression::Xz, xz)] {
        let error = decode(format, &packed, small).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded, "{format}: {error:?}");
        assert_eq!(error.context_value("limit"), Some("max_memory"));
        assert!(decode(format, &packed, Limits::default()).is_ok(), "{format}");
    }
}

#[test]
fn errors_of_the_input_come_through() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(Error::new(ErrorKind::Cancelled, "stop").into())
        }
    }
    for format in FORMATS {
        let mut decoder =
            Decoder::new(io::BufReader::new(Broken), format, Limits::default()).unwrap();
        let error = decoder.read(&mut [0; 16]).unwrap_err();
        let error = Error::io("decode", std::path::Path::new("input"), error);
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{format}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(
        mut data in proptest::collection::vec(any::<u8>(), 0..2000),
        damage in any::<(u16, u8)>(),
        which in 0usize..4,
        header in any::<bool>(),
    ) {
        let format = FORMATS[which];
        if header {
            data = compress(format, &data);
            let at = usize::from(damage.0) % data.len();
            data[at] ^= damage.1;
        }
        let limits = Limits::default().with_max_output(1 << 24);
        if let Err(error) = decode(format, &data, limits) {
            prop_assert!(matches!(
                error.kind(),
                ErrorKind::InvalidData | ErrorKind::QuotaExceeded
            ), "{error:?}");
        }
    }
}
