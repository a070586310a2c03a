//! Compressed data: no more comes out than the limit allows, and an error says
//! that it was the limit or the data.
#![no_main]

use std::io::Read as _;

use flock_core::rootfs::decompress::{Compression, Decoder, Limits};
use flock_core::{Error, ErrorKind};
use libfuzzer_sys::fuzz_target;

const MOST: u64 = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default().with_max_output(MOST).with_max_memory(16 << 20);
    let Ok(mut decoder) = Decoder::new(data, Compression::recognise(data), limits) else { return };
    let mut buffer = [0; 16 << 10];
    let mut total = 0;
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => total += length as u64,
            Err(error) => {
                let error = Error::io("read", std::path::Path::new("data"), error);
                let expected = [ErrorKind::InvalidData, ErrorKind::QuotaExceeded];
                assert!(expected.contains(&error.kind()), "{:?}: {error}", error.kind());
                break;
            }
        }
    }
    assert!(total <= MOST, "{total} bytes came out");
});
