//! A store opened more than once, by several managers or one after another.

use std::sync::Arc;
use std::time::Duration;

use super::{Cases, Subject, SuiteOptions, doc, key, prefix};
use crate::Context;
use crate::ErrorKind::Conflict;
use crate::conformance::{Outcome, ensure, expect_eq, expect_err, expect_some};
use crate::state::{Condition, Prefix, StateStoreExt, Transaction};

pub(super) fn cases(cases: Cases, options: &SuiteOptions) -> Cases {
    let once = (!options.reopening).then_some("it cannot be opened again");
    cases
        .case_unless(once, "a_store_opened_again_has_its_records", records)
        .case_unless(once, "a_store_opened_again_has_its_history", history)
        .case_unless(once, "a_store_opened_twice_shows_writes_at_once", writes)
        .case_unless(once, "a_watch_sees_what_others_write", watched)
        .case_unless(once, "a_lease_counts_for_everybody", leases)
        .case_unless(once, "tokens_rise_across_openings", tokens)
        .case_unless(once, "stores_of_other_names_are_apart", apart)
}

async fn records(s: Arc<Subject>) -> Outcome {
    s.store.put(&s.ctx, &key("a")?, doc("kept")?, Condition::Any).await?;
    s.store.put(&s.ctx, &key("b")?, doc("gone")?, Condition::Any).await?;
    s.store.delete(&s.ctx, &key("b")?, Condition::Any).await?;
    let before = s.store.list(&s.ctx, &Prefix::all()).await?;
    let again = s.reopen().await?;
    expect_eq(again.list(&s.ctx, &Prefix::all()).await?, before.clone(), "listing")?;
    let next = again.put(&s.ctx, &key("c")?, doc(1)?, Condition::Absent).await?;
    ensure(next > before.revision, "revisions start anew")
}

async fn history(s: Arc<Subject>) -> Outcome {
    let first = s.store.put(&s.ctx, &key("a")?, doc(1)?, Condition::Any).await?;
    let second = s.store.put(&s.ctx, &key("a")?, doc(2)?, Condition::Any).await?;
    let again = s.reopen().await?;
    let mut watch = again.watch(&s.ctx, &Prefix::all(), Some(first)).await?;
    let ctx = Context::new().with_timeout(Duration::from_secs(20));
    expect_eq(watch.next(&ctx).await?.revision, second, "revision of the next change")
}

async fn writes(s: Arc<Subject>) -> Outcome {
    let other = s.reopen().await?;
    let at = key("a")?;
    for n in 0..20 {
        let (writer, reader) = if n % 2 == 0 { (&s.store, &other) } else { (&other, &s.store) };
        let revision = writer.put(&s.ctx, &at, doc(n)?, Condition::Any).await?;
        let record = expect_some(reader.get(&s.ctx, &at).await?, "the record")?;
        expect_eq((record.value.to::<i32>()?, record.revision), (n, revision), "the record")?;
        let stale = reader.put(&s.ctx, &at, doc(-1)?, Condition::Absent).await;
        expect_err(stale, Conflict, "put if absent through the other")?;
    }
    Ok(())
}

async fn watched(s: Arc<Subject>) -> Outcome {
    const WRITES: usize = 40;
    let other = s.reopen().await?;
    let mut watch = s.store.watch(&s.ctx, &prefix("n")?, None).await?;
    let ctx = Context::new().with_timeout(Duration::from_secs(20));
    let waiting = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < WRITES {
            seen.push(watch.next(&ctx).await?.revision);
        }
        Ok::<_, crate::Error>(seen)
    });
    let mut written = Vec::new();
    for n in 0..WRITES {
        let writer = if n % 4 == 0 { &s.store } else { &other };
        written.push(writer.put(&s.ctx, &key("n/a")?, doc(n)?, Condition::Any).await?);
        if n % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
    expect_eq(waiting.await??, written, "revisions seen")
}

async fn leases(s: Arc<Subject>) -> Outcome {
    let other = s.reopen().await?;
    let name = key("l/a")?;
    let lease = expect_some(s.store.acquire(&s.ctx, &name, "one", s.long()).await?, "lease")?;
    expect_eq(other.acquire(&s.ctx, &name, "two", s.long()).await?, None, "acquire by another")?;
    // Whoever has the lease may use it through any opening of the store.
    let put = Transaction::new().put(key("a")?, doc(1)?, Condition::Any).with_fence(&lease);
    other.commit(&s.ctx, &put).await?;
    let lease = other.renew(&s.ctx, &lease, s.short()).await?;
    s.until_free(&name).await?;
    let next = expect_some(other.acquire(&s.ctx, &name, "two", s.long()).await?, "lease")?;
    ensure(next.token > lease.token, "the token does not rise")?;
    expect_err(s.store.commit(&s.ctx, &put).await, Conflict, "the old holder's write").map(drop)
}

async fn tokens(s: Arc<Subject>) -> Outcome {
    let name = key("l/a")?;
    let mut last = None;
    for _ in 0..4 {
        let store = s.reopen().await?;
        let lease = expect_some(store.acquire(&s.ctx, &name, "one", s.long()).await?, "lease")?;
        ensure(Some(lease.token) > last, format!("{} does not follow {last:?}", lease.token))?;
        last = Some(lease.token);
        store.release(&s.ctx, &lease).await?;
    }
    Ok(())
}

async fn apart(s: Arc<Subject>) -> Outcome {
    let other = (s.open)(format!("{}-other", s.name)).await?;
    s.store.put(&s.ctx, &key("a")?, doc(1)?, Condition::Any).await?;
    expect_eq(other.get(&s.ctx, &key("a")?).await?, None, "the record in another store")?;
    let name = key("l/a")?;
    let here = s.store.acquire(&s.ctx, &name, "one", s.long()).await?;
    let there = other.acquire(&s.ctx, &name, "one", s.long()).await?;
    ensure(here.is_some() && there.is_some(), "leases of one name in two stores exclude each other")
}
