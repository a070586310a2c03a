//! Keys of the state store: what is accepted stays as it is, and any name can
//! be escaped and read back.
#![no_main]

use flock_core::state::Key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(key) = Key::new(text) {
        assert_eq!(key.as_str(), text);
    }
    let parent = Key::new("nodes").expect("a plain key");
    if let Ok(key) = parent.child(text) {
        assert_eq!(key.name(), text);
        assert_eq!(key.as_str().split('/').count(), 2, "{}", key.as_str());
        assert_eq!(Key::new(key.as_str()).expect("a key again"), key);
    }
});
