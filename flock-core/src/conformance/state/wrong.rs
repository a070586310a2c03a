//! Stores that each do one thing wrong, to see that the suite notices.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{SuiteOptions, suite};
use crate::state::{
    Action, Changes, Condition, Event, EventSource, FencingToken, Key, Lease, LeaseInfo, Listing,
    MemoryStore, Prefix, Record, Revision, StateStore, Transaction, Watch,
};
use crate::{Context, Result};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    IgnoresConditions,
    IgnoresFences,
    DoesOnlyTheFirstWrite,
    ListsBackwards,
    MatchesPrefixesByText,
    LosesEveryFifthEvent,
    SplitsTransactions,
    WatchesFromNow,
    RepeatsTokens,
    ForgetsTheHolder,
    ReleasesWhateverIsThere,
    IgnoresCancellation,
    StripsWhitespace,
}

struct Wrong {
    store: MemoryStore,
    fault: Fault,
}

#[async_trait]
impl StateStore for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }

    async fn get(&self, ctx: &Context, key: &Key) -> Result<Option<Record>> {
        let fresh = Context::new();
        let ctx = if self.fault == Fault::IgnoresCancellation { &fresh } else { ctx };
        self.store.get(ctx, key).await
    }

    async fn list(&self, ctx: &Context, prefix: &Prefix) -> Result<Listing> {
        let by_text = self.fault == Fault::MatchesPrefixesByText;
        let asked = if by_text { Prefix::all() } else { prefix.clone() };
        let mut listing = self.store.list(ctx, &asked).await?;
        let text = prefix.start().trim_end_matches('/');
        listing.records.retain(|record| !by_text || record.key.as_str().starts_with(text));
        if self.fault == Fault::ListsBackwards {
            listing.records.reverse();
        }
        Ok(listing)
    }

    async fn commit(&self, ctx: &Context, transaction: &Transaction) -> Result<Revision> {
        let mut changed = Transaction::new();
        for (n, write) in transaction.writes().iter().enumerate() {
            let ignored = self.fault == Fault::IgnoresConditions;
            let condition = if ignored { Condition::Any } else { write.condition };
            let key = write.key.clone();
            changed = match &write.action {
                Action::Put(value) if self.fault == Fault::StripsWhitespace => {
                    let text = value.as_str().split_whitespace().collect::<String>();
                    changed.put(key, crate::state::Document::parse(text)?, condition)
                }
                Action::Put(value) => changed.put(key, value.clone(), condition),
                Action::Delete => changed.delete(key, condition),
                Action::Check => changed.check(key, condition),
            };
            if n == 0 && self.fault == Fault::DoesOnlyTheFirstWrite {
                break;
            }
        }
        if let Some(lease) = transaction.fence().filter(|_| self.fault != Fault::IgnoresFences) {
            changed = changed.with_fence(lease);
        }
        self.store.commit(ctx, &changed).await
    }

    async fn watch(
        &self,
        ctx: &Context,
        prefix: &Prefix,
        after: Option<Revision>,
    ) -> Result<Watch> {
        let after = after.filter(|_| self.fault != Fault::WatchesFromNow);
        let watch = self.store.watch(ctx, prefix, after).await?;
        Ok(Watch::new(Box::new(WrongWatch { watch, fault: self.fault, seen: 0, rest: None })))
    }

    async fn acquire(
        &self,
        ctx: &Context,
        name: &Key,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Lease>> {
        if self.fault == Fault::ForgetsTheHolder {
            // Like a store that checks and then takes in two steps.
            if let Some(info) = self.store.lease_info(ctx, name).await?
                && info.holder == holder
            {
                let now = std::time::Instant::now();
                let lease = Lease::new(name.clone(), holder.to_owned(), info.token, now, ttl);
                return Ok(Some(lease));
            }
        }
        let mut lease = self.store.acquire(ctx, name, holder, ttl).await?;
        if let Some(lease) = lease.as_mut().filter(|_| self.fault == Fault::RepeatsTokens) {
            lease.token = FencingToken::new(1);
        }
        Ok(lease)
    }

    async fn renew(&self, ctx: &Context, lease: &Lease, ttl: Duration) -> Result<Lease> {
        self.store.renew(ctx, lease, ttl).await
    }

    async fn release(&self, ctx: &Context, lease: &Lease) -> Result<()> {
        let mut released = lease.clone();
        if self.fault == Fault::ReleasesWhateverIsThere
            && let Some(info) = self.store.lease_info(ctx, &lease.name).await?
        {
            released.token = info.token;
        }
        self.store.release(ctx, &released).await
    }

    async fn lease_info(&self, ctx: &Context, name: &Key) -> Result<Option<LeaseInfo>> {
        self.store.lease_info(ctx, name).await
    }
}

struct WrongWatch {
    watch: Watch,
    fault: Fault,
    seen: usize,
    rest: Option<(Revision, Vec<Event>)>,
}

#[async_trait]
impl EventSource for WrongWatch {
    async fn next(&mut self) -> Result<Changes> {
        if let Some((revision, rest)) = self.rest.take() {
            return Ok(Changes::new(revision, rest));
        }
        let mut changes = self.watch.next(&Context::new()).await?;
        self.seen += 1;
        if self.fault == Fault::LosesEveryFifthEvent && self.seen.is_multiple_of(5) {
            changes = self.watch.next(&Context::new()).await?;
        }
        if self.fault == Fault::SplitsTransactions && changes.events.len() > 1 {
            self.rest = Some((changes.revision, changes.events.split_off(1)));
        }
        Ok(changes)
    }
}

/// Runs the one case on a store with that fault.
async fn notices(fault: Fault, case: &str) -> bool {
    let options = SuiteOptions::default().with_shortest_lease(Duration::from_millis(100));
    let suite = suite("wrong", options, move |_name| async move {
        let store = MemoryStore::new();
        Ok(Arc::new(Wrong { store, fault }) as Arc<dyn StateStore>)
    });
    // A watch that waits for what never comes need not take its full time.
    let suite = suite.with_time_limit(Duration::from_secs(5));
    let name = format!("state::wrong::{case}");
    let case = suite.cases().iter().find(|case| case.name() == name);
    case.expect("a case of that name").run().await.is_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_noticed() {
    let faults = [
        (Fault::IgnoresConditions, "put_if_absent_conflicts_with_a_record"),
        (Fault::IgnoresConditions, "put_if_unchanged_conflicts_with_a_change"),
        (Fault::IgnoresConditions, "a_record_made_again_is_not_unchanged"),
        (Fault::IgnoresConditions, "concurrent_updates_lose_nothing"),
        (Fault::IgnoresFences, "a_fenced_write_needs_its_lease"),
        (Fault::IgnoresFences, "a_fence_holds_after_somebody_else_took_over"),
        (Fault::IgnoresFences, "a_fence_holds_when_nobody_took_over"),
        (Fault::DoesOnlyTheFirstWrite, "a_transaction_has_one_revision"),
        (Fault::DoesOnlyTheFirstWrite, "a_transaction_is_all_or_nothing"),
        (Fault::DoesOnlyTheFirstWrite, "transfers_between_records_keep_the_sum"),
        (Fault::ListsBackwards, "list_is_sorted_by_bytes"),
        (Fault::MatchesPrefixesByText, "list_is_of_whole_segments"),
        (Fault::LosesEveryFifthEvent, "a_watch_sees_every_change_in_order"),
        (Fault::SplitsTransactions, "a_watch_gets_transactions_whole"),
        (Fault::WatchesFromNow, "a_watch_can_start_in_the_past"),
        (Fault::WatchesFromNow, "a_watch_from_the_future_is_refused"),
        (Fault::RepeatsTokens, "tokens_rise"),
        (Fault::ForgetsTheHolder, "a_lease_has_one_holder"),
        (Fault::ReleasesWhateverIsThere, "a_late_release_leaves_the_next_holder_alone"),
        (Fault::IgnoresCancellation, "a_cancelled_call_fails_and_the_store_goes_on"),
        (Fault::StripsWhitespace, "odd_values_come_back_as_they_were"),
    ];
    let mut tasks = tokio::task::JoinSet::new();
    for (fault, case) in faults {
        tasks.spawn(async move { (notices(fault, case).await, case, fault) });
    }
    while let Some(done) = tasks.join_next().await {
        let (noticed, case, fault) = done.unwrap();
        assert!(noticed, "{case} does not notice a store that {fault:?}");
    }
}
