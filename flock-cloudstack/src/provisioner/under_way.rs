//! Which nodes are being deployed in this process, so that two deploys of the
//! same node go one after the other.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flock_core::{Context, Result};
use tokio::sync::Notify;

use super::names::NodeName;

/// The nodes under way.
#[derive(Debug, Clone, Default)]
pub(super) struct UnderWay(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    nodes: Mutex<HashSet<NodeName>>,
    fewer: Notify,
}

/// The right to deploy these nodes, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    nodes: Vec<NodeName>,
    under_way: UnderWay,
}

impl UnderWay {
    /// Waits until none of the nodes is under way, and takes them all at once,
    /// so that two deploys never wait for each other.
    ///
    /// # Errors
    /// The end of the context.
    pub(super) async fn enter(&self, ctx: &Context, nodes: &[NodeName]) -> Result<Turn> {
        loop {
            let fewer = self.0.fewer.notified();
            tokio::pin!(fewer);
            // From here on no notification is missed.
            fewer.as_mut().enable();
            {
                let mut under_way = self.lock();
                if !nodes.iter().any(|node| under_way.contains(node)) {
                    under_way.extend(nodes.iter().cloned());
                    return Ok(Turn { nodes: nodes.to_vec(), under_way: self.clone() });
                }
            }
            ctx.run(async {
                fewer.await;
                Ok(())
            })
            .await?;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<NodeName>> {
        self.0.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock();
        for node in &self.nodes {
            under_way.remove(node);
        }
        self.under_way.0.fewer.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flock_core::{Owner, RequestId};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nodes_are_taken_all_at_once() {
        let owner = Owner::new("default", "web", RequestId::random());
        let nodes = |names: &[&str]| -> Vec<_> {
            names.iter().map(|name| NodeName::new(&owner, name)).collect()
        };
        let (under_way, ctx) = (UnderWay::default(), Context::new());
        let first = under_way.enter(&ctx, &nodes(&["a", "b"])).await.unwrap();
        under_way.enter(&ctx, &nodes(&["c"])).await.unwrap();
        let soon = ctx.clone().with_timeout(Duration::from_secs(1));
        assert!(under_way.enter(&soon, &nodes(&["b", "c"])).await.is_err());
        let others = nodes(&["b", "c"]);
        let (late, ()) = tokio::join!(under_way.enter(&ctx, &others), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(first);
        });
        assert!(late.is_ok());
    }
}
