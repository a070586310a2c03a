//! Random faults that come again with the same seed.

use std::time::Duration;

use super::{Asked, Fault};

/// Random faults: each request meets one with the same likelihood.
///
/// What befalls a request depends on the seed, its command and how often the
/// command was asked for before, so that a run can be repeated as far as the
/// client asks in the same order.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    seed: u64,
    rate: f64,
    faults: Vec<Fault>,
    left: Option<u64>,
}

impl FaultPlan {
    /// Faults at this rate, from 0 for none to 1 for every request: those of
    /// [`FaultPlan::default_faults`].
    #[must_use]
    pub fn random(seed: u64, rate: f64) -> Self {
        Self { seed, rate, faults: Self::default_faults(), left: None }
    }

    /// Sets the faults to choose from. One that is there twice is chosen
    /// twice as often.
    #[must_use]
    pub fn with_faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults = faults.into_iter().collect();
        self
    }

    /// Ends after so many faults. Default: never.
    #[must_use]
    pub fn with_times(mut self, times: u64) -> Self {
        self.left = Some(times);
        self
    }

    /// What a client has to live with: rate limits, lost replies, connections
    /// closed before and after the effect, pages of proxies, slow and failed
    /// jobs, truncated replies, late effects.
    #[must_use]
    pub fn default_faults() -> Vec<Fault> {
        vec![
            Fault::RateLimit { retry_after: Duration::from_millis(20) },
            Fault::unavailable(),
            Fault::Proxy { status: 502, effect: false },
            Fault::Proxy { status: 504, effect: true },
            Fault::CloseConnection,
            Fault::LoseReply,
            Fault::LoseReply,
            Fault::TruncateReply,
            Fault::Delay(Duration::from_millis(50)),
            Fault::SlowJob(Duration::from_millis(200)),
            Fault::FailJob { code: 530, text: "Unexpected exception".to_owned() },
            Fault::FailJobHalfWay,
        ]
    }

    /// The fault, if this request, the `count`th of its command, is to meet
    /// one.
    pub(super) fn meet(&mut self, asked: &Asked<'_>, count: u64) -> Option<Fault> {
        if self.left == Some(0) {
            return None;
        }
        let number = mixed(self.seed ^ mixed(hash(asked.command)) ^ mixed(count));
        // 53 bits are what a float holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "the upper 53 bits fit")]
        let share = (number >> 11) as f64 / (1u64 << 53) as f64;
        if share >= self.rate {
            return None;
        }
        let suited: Vec<_> = self.faults.iter().filter(|fault| fault.suits(asked)).collect();
        let count = u64::try_from(suited.len()).ok().filter(|count| *count > 0)?;
        let chosen = usize::try_from(mixed(number) % count).ok()?;
        self.left = self.left.map(|left| left - 1);
        suited.get(chosen).map(|fault| (*fault).clone())
    }
}

/// FNV-1a, 64 bits.
fn hash(text: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// The output function of SplitMix64.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
