//! Leases, fencing, and leases that renew themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Cases, Subject, doc, key};
use crate::ErrorKind::{Conflict, InvalidConfig};
use crate::conformance::{Failure, Outcome, ensure, expect_eq, expect_err, expect_some};
use crate::state::{
    Condition, HeldLease, Lease, MAX_LEASE, StateStoreExt, Transaction, lost_lease,
};
use crate::{Error, Result};

pub(super) fn cases(cases: Cases) -> Cases {
    cases
        .case("a_lease_has_one_holder", one_holder)
        .case("a_lease_ends_by_itself", ends)
        .case("a_lease_does_not_end_early", not_early)
        .case("a_renewed_lease_goes_on", renewed)
        .case("a_lease_that_is_over_cannot_be_renewed", over)
        .case("a_released_lease_is_free", released)
        .case("a_late_release_leaves_the_next_holder_alone", late_release)
        .case("tokens_rise", tokens_rise)
        .case("a_lease_of_no_time_or_too_much_is_refused", odd_times)
        .case("of_many_who_want_a_lease_one_gets_it", contended)
        .case("a_fenced_write_needs_its_lease", fenced)
        .case("a_fence_holds_after_somebody_else_took_over", taken_over)
        .case("a_fence_holds_when_nobody_took_over", fence_of_expired)
        .case("a_fence_is_of_its_own_lease", fence_of_other)
        .case("a_fence_holds_where_there_is_nothing_to_write", fence_of_nothing)
        .case("a_held_lease_renews_itself", held_renews)
        .case("a_held_lease_that_is_lost_cancels_the_work", held_lost)
        .case("a_held_lease_is_waited_for", held_waits)
}

async fn acquire(s: &Subject, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>> {
    s.store.acquire(&s.ctx, &key(name)?, holder, ttl).await
}

async fn must_acquire(
    s: &Subject,
    name: &str,
    holder: &str,
    ttl: Duration,
) -> Result<Lease, Failure> {
    expect_some(acquire(s, name, holder, ttl).await?, "a lease that should be free")
}

fn ensure_lost(error: &Error, lease: &Lease) -> Outcome {
    expect_eq(lost_lease(error), Some(lease.name.as_str()), "the lease that the error tells")
}

async fn write_fenced(s: &Subject, lease: &Lease) -> Result<()> {
    let put = Transaction::new().put(key("fenced")?, doc(&lease.holder)?, Condition::Any);
    s.store.commit(&s.ctx, &put.with_fence(lease)).await.map(drop)
}

async fn one_holder(s: Arc<Subject>) -> Outcome {
    let name = key("l/a")?;
    expect_eq(s.store.lease_info(&s.ctx, &name).await?, None, "info of a free lease")?;
    let lease = must_acquire(&s, "l/a", "one", s.long()).await?;
    expect_eq(&lease.name, &name, "name")?;
    expect_eq(lease.holder.as_str(), "one", "holder")?;
    ensure(lease.remaining() <= s.long(), "the holder may rely on the lease for too long")?;
    ensure(lease.remaining() > s.long() / 2, "the lease is shorter than asked for")?;
    expect_eq(acquire(&s, "l/a", "two", s.long()).await?, None, "acquire by another")?;
    expect_eq(acquire(&s, "l/a", "one", s.long()).await?, None, "acquire by the holder itself")?;
    ensure(acquire(&s, "l/b", "two", s.long()).await?.is_some(), "another name is not free")?;
    let info = expect_some(s.store.lease_info(&s.ctx, &name).await?, "info of a held lease")?;
    expect_eq(info.holder.as_str(), "one", "holder in the info")?;
    expect_eq(info.token, lease.token, "token in the info")?;
    ensure(info.remaining > s.long() / 2, "the info has too little time remaining")
}

async fn ends(s: Arc<Subject>) -> Outcome {
    must_acquire(&s, "l/a", "one", s.short()).await?;
    s.until_free(&key("l/a")?).await?;
    must_acquire(&s, "l/a", "two", s.long()).await.map(drop)
}

async fn not_early(s: Arc<Subject>) -> Outcome {
    let lease = must_acquire(&s, "l/a", "one", s.short()).await?;
    while Instant::now() + Duration::from_millis(20) < lease.valid_until {
        let taken = acquire(&s, "l/a", "two", s.short()).await?;
        // What came back after the end says nothing.
        if Instant::now() < lease.valid_until {
            expect_eq(taken, None, "acquire before the end")?;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

async fn renewed(s: Arc<Subject>) -> Outcome {
    let mut lease = must_acquire(&s, "l/a", "one", s.short()).await?;
    let (token, start) = (lease.token, Instant::now());
    while start.elapsed() < s.short() * 3 {
        tokio::time::sleep(s.short() / 5).await;
        let before = lease.valid_until;
        lease = s.store.renew(&s.ctx, &lease, s.short()).await?;
        ensure(lease.valid_until > before, "a renewal does not make it last longer")?;
        expect_eq(lease.token, token, "token after a renewal")?;
    }
    expect_eq(acquire(&s, "l/a", "two", s.short()).await?, None, "acquire after renewals")?;
    write_fenced(&s, &lease).await?;
    Ok(())
}

async fn over(s: Arc<Subject>) -> Outcome {
    let lease = must_acquire(&s, "l/a", "one", s.short()).await?;
    s.until_free(&lease.name).await?;
    let late = s.store.renew(&s.ctx, &lease, s.long()).await;
    ensure_lost(&expect_err(late, Conflict, "renew after the end")?, &lease)?;
    let next = must_acquire(&s, "l/a", "one", s.long()).await?;
    let late = s.store.renew(&s.ctx, &lease, s.long()).await;
    ensure_lost(&expect_err(late, Conflict, "renew after another took over")?, &lease)?;
    s.store.renew(&s.ctx, &next, s.long()).await?;
    Ok(())
}

async fn released(s: Arc<Subject>) -> Outcome {
    let lease = must_acquire(&s, "l/a", "one", s.long()).await?;
    s.store.release(&s.ctx, &lease).await?;
    expect_eq(s.store.lease_info(&s.ctx, &lease.name).await?, None, "info after release")?;
    s.store.release(&s.ctx, &lease).await?;
    let late = s.store.renew(&s.ctx, &lease, s.long()).await;
    ensure_lost(&expect_err(late, Conflict, "renew after release")?, &lease)?;
    must_acquire(&s, "l/a", "two", s.long()).await.map(drop)
}

async fn late_release(s: Arc<Subject>) -> Outcome {
    let old = must_acquire(&s, "l/a", "one", s.short()).await?;
    s.until_free(&old.name).await?;
    let new = must_acquire(&s, "l/a", "one", s.long()).await?;
    s.store.release(&s.ctx, &old).await?;
    let info = expect_some(s.store.lease_info(&s.ctx, &new.name).await?, "the new lease")?;
    expect_eq(info.token, new.token, "token after the late release")?;
    s.store.renew(&s.ctx, &new, s.long()).await?;
    Ok(())
}

async fn tokens_rise(s: Arc<Subject>) -> Outcome {
    let mut last = None;
    for name in ["l/a", "l/b", "l/a", "l/a", "l/c"] {
        let lease = must_acquire(&s, name, "one", s.long()).await?;
        ensure(Some(lease.token) > last, format!("{} does not follow {last:?}", lease.token))?;
        last = Some(lease.token);
        s.store.put(&s.ctx, &key("a")?, doc(1)?, Condition::Any).await?;
        s.store.release(&s.ctx, &lease).await?;
    }
    let expired = must_acquire(&s, "l/a", "one", s.short()).await?;
    s.until_free(&expired.name).await?;
    let next = must_acquire(&s, "l/a", "one", s.short()).await?;
    ensure(next.token > expired.token, "the token does not rise after a lease ended by itself")
}

async fn odd_times(s: Arc<Subject>) -> Outcome {
    let lease = must_acquire(&s, "l/a", "one", MAX_LEASE).await?;
    for ttl in [Duration::ZERO, MAX_LEASE + Duration::from_nanos(1), Duration::MAX] {
        expect_err(acquire(&s, "l/b", "one", ttl).await, InvalidConfig, "acquire")?;
        expect_err(s.store.renew(&s.ctx, &lease, ttl).await, InvalidConfig, "renew")?;
    }
    expect_eq(s.store.lease_info(&s.ctx, &key("l/b")?).await?, None, "info after the refusals")
}

async fn contended(s: Arc<Subject>) -> Outcome {
    let tasks: Vec<_> = (0..20)
        .map(|n| {
            let s = Arc::clone(&s);
            tokio::spawn(async move { acquire(&s, "l/a", &n.to_string(), s.long()).await })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await??);
    }
    expect_eq(winners.len(), 1, "those who got the lease")?;
    let info = expect_some(s.store.lease_info(&s.ctx, &key("l/a")?).await?, "info")?;
    expect_eq(&info.holder, &winners[0].holder, "holder")
}

async fn fenced(s: Arc<Subject>) -> Outcome {
    let lease = must_acquire(&s, "l/a", "one", s.long()).await?;
    write_fenced(&s, &lease).await?;
    s.store.release(&s.ctx, &lease).await?;
    let before = s.store.get(&s.ctx, &key("fenced")?).await?;
    let late = write_fenced(&s, &lease).await;
    ensure_lost(&expect_err(late, Conflict, "a fenced write after release")?, &lease)?;
    let empty = Transaction::new().with_fence(&lease);
    let late = s.store.commit(&s.ctx, &empty).await;
    ensure_lost(&expect_err(late, Conflict, "a fenced transaction without writes")?, &lease)?;
    expect_eq(s.store.get(&s.ctx, &key("fenced")?).await?, before, "the record")
}

async fn taken_over(s: Arc<Subject>) -> Outcome {
    let old = must_acquire(&s, "l/a", "old", s.short()).await?;
    write_fenced(&s, &old).await?;
    s.until_free(&old.name).await?;
    let new = must_acquire(&s, "l/a", "new", s.long()).await?;
    write_fenced(&s, &new).await?;
    let late = write_fenced(&s, &old).await;
    ensure_lost(&expect_err(late, Conflict, "the old holder's write")?, &old)?;
    let record = expect_some(s.store.get(&s.ctx, &key("fenced")?).await?, "the record")?;
    expect_eq(record.value.to::<String>()?.as_str(), "new", "who wrote last")?;
    write_fenced(&s, &new).await?;
    Ok(())
}

async fn fence_of_expired(s: Arc<Subject>) -> Outcome {
    let lease = must_acquire(&s, "l/a", "one", s.short()).await?;
    s.until_free(&lease.name).await?;
    let late = write_fenced(&s, &lease).await;
    ensure_lost(&expect_err(late, Conflict, "a fenced write after the end")?, &lease)?;
    expect_eq(s.store.get(&s.ctx, &key("fenced")?).await?, None, "the record")
}

async fn fence_of_other(s: Arc<Subject>) -> Outcome {
    let a = must_acquire(&s, "l/a", "one", s.long()).await?;
    let b = must_acquire(&s, "l/b", "one", s.long()).await?;
    let mut mixed = a.clone();
    mixed.token = b.token;
    let refused = write_fenced(&s, &mixed).await;
    ensure_lost(&expect_err(refused, Conflict, "a fence with another lease's token")?, &a)?;
    s.store.release(&s.ctx, &mixed).await?;
    write_fenced(&s, &a).await?;
    Ok(())
}

async fn hold(s: &Subject, ttl: Duration) -> Result<HeldLease, Failure> {
    let store = Arc::clone(&s.store);
    let held = HeldLease::acquire(store, &s.ctx, &key("l/a")?, "one", ttl).await?;
    expect_some(held, "a lease that should be free")
}

async fn fence_of_nothing(s: Arc<Subject>) -> Outcome {
    let pool = s.store.index_pool(&key("pool")?, 3);
    let lease = must_acquire(&s, "l/a", "one", s.long()).await?;
    let index = pool.allocate(&s.ctx, "web", Some(&lease)).await?;
    expect_eq(pool.allocate(&s.ctx, "web", Some(&lease)).await?, index, "the number again")?;
    pool.release(&s.ctx, "db", Some(&lease)).await?;
    s.store.release(&s.ctx, &lease).await?;
    let again = pool.allocate(&s.ctx, "web", Some(&lease)).await;
    ensure_lost(&expect_err(again, Conflict, "the number again, under a lost lease")?, &lease)?;
    let release = pool.release(&s.ctx, "db", Some(&lease)).await;
    ensure_lost(&expect_err(release, Conflict, "a release of none, under a lost lease")?, &lease)
}

async fn held_renews(s: Arc<Subject>) -> Outcome {
    let held = hold(&s, s.short()).await?;
    tokio::time::sleep(s.short() * 3).await;
    held.context().check()?;
    write_fenced(&s, &held.lease()).await?;
    let work = held.context().clone();
    held.release(&s.ctx).await?;
    ensure(work.is_cancelled(), "the work goes on after the release")?;
    s.ctx.check()?;
    expect_eq(s.store.lease_info(&s.ctx, &key("l/a")?).await?, None, "info after the release")
}

async fn held_lost(s: Arc<Subject>) -> Outcome {
    let held = hold(&s, s.short()).await?;
    s.store.release(&s.ctx, &held.lease()).await?;
    let ended = tokio::time::timeout(s.short() * 3, held.context().ended()).await;
    ensure(ended.is_ok(), "the work goes on though the lease is lost")?;
    s.ctx.check()?;
    let work = hold(&s, s.long()).await?.context().clone();
    ensure(work.is_cancelled(), "the work goes on though the lease was dropped")
}

async fn held_waits(s: Arc<Subject>) -> Outcome {
    let first = hold(&s, s.long()).await?;
    let (store, ctx) = (Arc::clone(&s.store), s.ctx.clone());
    let (name, ttl) = (key("l/a")?, s.long());
    let waiting =
        tokio::spawn(
            async move { HeldLease::acquire_when_free(store, &ctx, &name, "two", ttl).await },
        );
    tokio::time::sleep(Duration::from_millis(50)).await;
    ensure(!waiting.is_finished(), "a lease that is held was given")?;
    first.release(&s.ctx).await?;
    let second = waiting.await??;
    expect_eq(second.lease().holder.as_str(), "two", "holder")?;
    second.release(&s.ctx).await?;
    Ok(())
}
