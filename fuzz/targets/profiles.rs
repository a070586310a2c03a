//! A `flockr.yaml`: profiles or an error, and never a secret in either.
#![no_main]

use flock_core::profile::Profiles;
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "S3cr3tValue";

fuzz_target!(|text: &str| {
    let _ = Profiles::parse(text, "flockr.yaml");
    // The fuzzer finds out what is looked for.
    if text.contains(SECRET) {
        return;
    }
    let profile = "production:\n  secretkey: S3cr3tValue\n";
    for text in [format!("{text}\n{profile}"), format!("{profile}{text}")] {
        let shown = match Profiles::parse(&text, "flockr.yaml") {
            Ok(profiles) => format!("{profiles:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains(SECRET), "{shown}");
    }
});
