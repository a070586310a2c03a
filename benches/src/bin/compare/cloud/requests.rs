//! What was asked of the cloud.

use serde::{Deserialize, Serialize};

/// How many requests came.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Requests {
    pub(crate) all: u64,
    /// Those that make a machine.
    pub(crate) deploys: u64,
}

impl Requests {
    /// What came since these earlier ones.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self { all: self.all - earlier.all, deploys: self.deploys - earlier.deploys }
    }

    /// How many there are beyond those that make a machine, for each of them;
    /// `None` if none was made.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn beyond(self) -> Option<f64> {
        (self.deploys > 0).then(|| (self.all - self.deploys) as f64 / self.deploys as f64)
    }
}
