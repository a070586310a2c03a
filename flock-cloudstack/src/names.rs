//! One at a time on a name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use flock_core::{Context, Result};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// The names that calls work on, in this process.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<HashMap<String, Arc<Turn<()>>>>);

impl Names {
    /// Waits until nobody else works on the name. The turn lasts as long as
    /// what is answered.
    ///
    /// # Errors
    /// The end of the context.
    pub(crate) async fn turn(&self, ctx: &Context, name: &str) -> Result<OwnedMutexGuard<()>> {
        let turn = {
            let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            names.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(names.entry(name.to_owned()).or_default())
        };
        ctx.run(async { Ok(turn.lock_owned().await) }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_has_one_turn_and_is_forgotten() {
        let (names, ctx) = (Names::default(), Context::new());
        let first = names.turn(&ctx, "a").await.unwrap();
        let _other = names.turn(&ctx, "b").await.unwrap();
        let brief = Context::new().with_timeout(std::time::Duration::from_millis(20));
        assert!(names.turn(&brief, "a").await.is_err());
        drop(first);
        let _again = names.turn(&ctx, "a").await.unwrap();
        drop(names.turn(&ctx, "c").await.unwrap());
        let _last = names.turn(&ctx, "d").await.unwrap();
        assert_eq!(names.0.lock().unwrap().len(), 3);
    }
}
