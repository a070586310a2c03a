//! A `config.yaml`: whatever it holds, the answer is a configuration or a list
//! of problems, each in a line that the text has.
#![no_main]

use flock_core::app::AppConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let problems = AppConfig::problems(text);
    let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count() + 1;
    for problem in &problems {
        assert!((1..=lines).contains(&problem.at.line), "{problem} in {lines} lines");
    }
    match AppConfig::parse(text, "config.yaml") {
        Ok(config) => {
            if config.is_buildable() {
                config.check_buildable("config.yaml").expect("buildable");
            }
        }
        Err(error) => {
            assert!(!problems.is_empty(), "{error}, but no problems");
            assert!(error.to_string().contains("config.yaml"), "{error}");
        }
    }
});
