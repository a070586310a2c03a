//! What people write to say where something comes from: images read back as
//! they are shown, and passwords are never shown.
#![no_main]

use flock_core::fetch::{GitReference, GitSource, ImageReference, Location};
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "S3cr3tValue";

fuzz_target!(|text: &str| {
    let _ = text.parse::<GitReference>();
    if let Ok(source) = text.parse::<GitSource>() {
        let _ = format!("{source} {source:?}");
    }
    let _ = text.parse::<Location>();
    if let Ok(image) = text.parse::<ImageReference>() {
        let again = image.to_string().parse::<ImageReference>();
        assert_eq!(again.expect("an image again"), image);
    }
    let with_password = format!("https://user:{SECRET}@{text}");
    let shown = match with_password.parse::<Location>() {
        Ok(source) => format!("{source} {source:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!shown.contains(SECRET) || text.contains(SECRET), "{shown}");
});
