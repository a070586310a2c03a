//! The state stores of this crate under the conformance suite.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use flock_core::Context;
use flock_core::conformance::{self, Suite, state::SuiteOptions};
use flock_core::state::{MemoryStore, SqliteConfig, SqliteStore, StateStore};
use tempfile::TempDir;

const HISTORY: usize = 500;

fn memory() -> Suite {
    let stores = Arc::new(Mutex::new(HashMap::<String, MemoryStore>::new()));
    let options = SuiteOptions::default().with_history(HISTORY).with_reopening();
    conformance::state::suite("memory", options, move |name| {
        let stores = Arc::clone(&stores);
        async move {
            let mut stores = stores.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || MemoryStore::new().with_history(HISTORY);
            Ok(Arc::new(stores.entry(name).or_insert_with(new).clone()) as Arc<dyn StateStore>)
        }
    })
}

fn sqlite(directory: Arc<TempDir>) -> Suite {
    let options = SuiteOptions::default().with_history(HISTORY).with_reopening();
    conformance::state::suite("sqlite", options, move |name| {
        let directory = Arc::clone(&directory);
        async move {
            let path = directory.path().join(name).join("state.db");
            let config = SqliteConfig::at(path).with_history(HISTORY);
            let store = SqliteStore::open(&Context::new(), config).await?;
            Ok(Arc::new(store) as Arc<dyn StateStore>)
        }
    })
}

fn main() -> std::io::Result<ExitCode> {
    let directory = Arc::new(tempfile::tempdir()?);
    Ok(conformance::main([memory(), sqlite(directory)]))
}
