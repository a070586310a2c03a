//! Many at once, and calls that are cut off.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cases, Subject, doc, key, prefix};
use crate::ErrorKind::{Cancelled, Conflict, QuotaExceeded, Timeout};
use crate::conformance::{Outcome, ensure, expect_eq, expect_err, expect_some};
use crate::state::{Condition, Prefix, Revision, StateRecord, StateStoreExt, Transaction};
use crate::{Context, Result};

pub(super) fn cases(cases: Cases) -> Cases {
    cases
        .case("concurrent_updates_lose_nothing", updates)
        .case("of_many_who_create_a_record_one_does", creates)
        .case("transfers_between_records_keep_the_sum", transfers)
        .case("an_update_can_make_and_delete_a_record", update_from_and_to_nothing)
        .case("indexes_are_given_once", indexes)
        .case("many_indexes_are_given_at_once", many_indexes)
        .case("a_pool_of_indexes_can_be_exhausted_and_refilled", index_pool)
        .case("a_cancelled_call_fails_and_the_store_goes_on", cancelled)
        .case("a_call_after_its_deadline_fails", deadline)
        .case("a_call_cut_off_has_its_whole_effect_or_none", cut_off)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Count(u64);

impl StateRecord for Count {
    const VERSION: u32 = 1;
}

async fn updates(s: Arc<Subject>) -> Outcome {
    const TASKS: u64 = 8;
    const EACH: u64 = 20;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let s = Arc::clone(&s);
        tasks.spawn(async move {
            for _ in 0..EACH / 2 {
                let add = |old: Option<Count>| Ok(Some(Count(old.map_or(0, |old| old.0) + 1)));
                s.store.update(&s.ctx, &key("count")?, None, add).await?;
                while !add_one_slowly(&s).await? {}
            }
            Ok::<_, crate::Error>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let count = expect_some(s.store.load::<Count>(&s.ctx, &key("count")?).await?, "count")?;
    expect_eq(count.value, Count(TASKS * EACH), "count")
}

/// Lets the others go on between reading and writing; false if they wrote.
async fn add_one_slowly(s: &Subject) -> Result<bool> {
    let at = key("count")?;
    let Some(old) = s.store.load::<Count>(&s.ctx, &at).await? else { return Ok(false) };
    tokio::task::yield_now().await;
    let new = Count(old.value.0 + 1);
    match s.store.save(&s.ctx, &at, &new, Condition::Unchanged(old.revision), None).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == Conflict => Ok(false),
        Err(error) => Err(error),
    }
}

async fn creates(s: Arc<Subject>) -> Outcome {
    for round in 0..5 {
        let at = key(&format!("round/{round}"))?;
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..10 {
            let (s, at) = (Arc::clone(&s), at.clone());
            tasks.spawn(async move {
                s.store.put(&s.ctx, &at, doc(n)?, Condition::Absent).await.map(|at| (n, at))
            });
        }
        let mut winners = Vec::new();
        while let Some(done) = tasks.join_next().await {
            match done? {
                Ok(winner) => winners.push(winner),
                Err(error) => expect_eq(error.kind(), Conflict, "the losers' error")?,
            }
        }
        expect_eq(winners.len(), 1, "those who made the record")?;
        let record = expect_some(s.store.get(&s.ctx, &at).await?, "the record")?;
        expect_eq((record.value.to::<i32>()?, record.revision), winners[0], "the record")?;
    }
    Ok(())
}

/// Moves one from one account to another, if nobody else moves meanwhile.
async fn transfer(s: &Subject, from: &str, to: &str) -> Result<Revision> {
    let listing = s.store.list(&s.ctx, &prefix("accounts")?).await?;
    let mut transaction = Transaction::new();
    for record in listing.records {
        let change = match record.key.name() {
            name if name == from => -1,
            name if name == to => 1,
            _ => continue,
        };
        let value = doc(record.value.to::<i64>()? + change)?;
        transaction = transaction.put(record.key, value, Condition::Unchanged(record.revision));
    }
    s.store.commit(&s.ctx, &transaction).await
}

async fn transfers(s: Arc<Subject>) -> Outcome {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    for name in NAMES {
        s.store.put(&s.ctx, &key("accounts")?.child(name)?, doc(100)?, Condition::Absent).await?;
    }
    let mut tasks = tokio::task::JoinSet::new();
    // All in one direction, so that half transfers do not cancel out.
    for (from, to) in [(0, 1), (1, 2), (0, 2), (0, 1)] {
        let s = Arc::clone(&s);
        tasks.spawn(async move {
            let mut done = 0;
            while done < 10 {
                match transfer(&s, NAMES[from], NAMES[to]).await {
                    Ok(_) => done += 1,
                    Err(error) if error.kind() == Conflict => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
    }
    while !tasks.is_empty() {
        expect_eq(sum(&s).await?, 300, "the sum in a listing")?;
        while let Some(done) = tasks.try_join_next() {
            done??;
        }
    }
    expect_eq(sum(&s).await?, 300, "the sum in the end")
}

async fn sum(s: &Subject) -> Result<i64> {
    let listing = s.store.list(&s.ctx, &prefix("accounts")?).await?;
    let mut sum = 0;
    for record in listing.records {
        sum += record.value.to::<i64>()?;
    }
    Ok(sum)
}

async fn update_from_and_to_nothing(s: Arc<Subject>) -> Outcome {
    let at = key("count")?;
    let made =
        s.store.update(&s.ctx, &at, None, |old| Ok(Some(Count(if old.is_none() { 1 } else { 0 }))));
    let made = expect_some(made.await?, "the record")?;
    expect_eq(&made.value, &Count(1), "value")?;
    let loaded = s.store.load::<Count>(&s.ctx, &at).await?;
    expect_eq(loaded, Some(made), "the record as it was made")?;
    let gone = s.store.update(&s.ctx, &at, None, |_: Option<Count>| Ok(None)).await?;
    expect_eq(gone, None, "the record after its deletion")?;
    expect_eq(s.store.get(&s.ctx, &at).await?, None, "get")
}

async fn indexes(s: Arc<Subject>) -> Outcome {
    const OWNERS: u32 = 12;
    let mut tasks = tokio::task::JoinSet::new();
    // Every owner asks twice at once.
    for n in 0..OWNERS * 2 {
        let s = Arc::clone(&s);
        tasks.spawn(async move {
            let hosts = key("indexes/hosts")?;
            let pool = s.store.index_pool(&hosts, OWNERS);
            pool.allocate(&s.ctx, &format!("host {}", n % OWNERS), None).await
        });
    }
    let mut given = Vec::new();
    while let Some(done) = tasks.join_next().await {
        given.push(done??);
    }
    given.sort_unstable();
    let wanted: Vec<u32> = (0..OWNERS).flat_map(|n| [n, n]).collect();
    expect_eq(given, wanted, "indexes")
}

async fn many_indexes(s: Arc<Subject>) -> Outcome {
    let hosts = key("indexes/hosts")?;
    let owners = |of: &str| (0..90).map(|n| format!("{of}/{n}")).collect::<Vec<_>>();
    let avoid: HashSet<u32> = [0, 7].into();
    let (a, b, pool) = (owners("a"), owners("b"), s.store.index_pool(&hosts, 182));
    let (of_a, of_b) = tokio::join!(
        pool.allocate_all(&s.ctx, &a, &avoid, None),
        pool.allocate_all(&s.ctx, &b, &avoid, None),
    );
    let (of_a, of_b) = (of_a?, of_b?);
    let mut given: Vec<u32> = of_a.iter().chain(&of_b).copied().collect();
    given.sort_unstable();
    let wanted: Vec<u32> = (1..182).filter(|index| *index != 7).collect();
    expect_eq(given, wanted, "indexes")?;
    let again = pool.allocate_all(&s.ctx, &a, &of_a.iter().copied().collect(), None).await?;
    expect_eq(again, of_a, "the indexes of those who have them already")?;
    let more = ["c".to_owned(), "d".to_owned(), "e".to_owned()];
    let refused = pool.allocate_all(&s.ctx, &more, &HashSet::new(), None).await;
    expect_err(refused, QuotaExceeded, "three of two")?;
    expect_eq(pool.taken(&s.ctx).await?.len(), 180, "indexes after the refusal")
}

async fn index_pool(s: Arc<Subject>) -> Outcome {
    let hosts = key("indexes/hosts")?;
    let pool = s.store.index_pool(&hosts, 3);
    for (index, owner) in ["a", "b", "c"].into_iter().enumerate() {
        let given = pool.allocate(&s.ctx, owner, None).await?;
        expect_eq(usize::try_from(given)?, index, "index")?;
    }
    expect_err(pool.allocate(&s.ctx, "d", None).await, QuotaExceeded, "one too many")?;
    pool.release(&s.ctx, "b", None).await?;
    pool.release(&s.ctx, "b", None).await?;
    expect_eq(pool.allocate(&s.ctx, "d", None).await?, 1, "the index that was given back")?;
    expect_eq(pool.allocate(&s.ctx, "c", None).await?, 2, "the index of one who has it already")?;
    let taken = pool.taken(&s.ctx).await?;
    let names: Vec<&str> = taken.iter().map(|(_, owner)| owner.as_str()).collect();
    expect_eq(names, ["a", "d", "c"], "owners")
}

async fn cancelled(s: Arc<Subject>) -> Outcome {
    let ctx = Context::new();
    ctx.cancel();
    let at = key("a")?;
    expect_err(s.store.put(&ctx, &at, doc(1)?, Condition::Any).await, Cancelled, "put")?;
    expect_err(s.store.get(&ctx, &at).await, Cancelled, "get")?;
    expect_err(s.store.list(&ctx, &Prefix::all()).await, Cancelled, "list")?;
    expect_err(s.store.watch(&ctx, &Prefix::all(), None).await, Cancelled, "watch")?;
    expect_err(s.store.acquire(&ctx, &at, "one", s.long()).await, Cancelled, "acquire")?;
    expect_err(s.store.lease_info(&ctx, &at).await, Cancelled, "lease_info")?;
    let lease = expect_some(s.store.acquire(&s.ctx, &at, "one", s.long()).await?, "lease")?;
    expect_err(s.store.renew(&ctx, &lease, s.long()).await, Cancelled, "renew")?;
    expect_err(s.store.release(&ctx, &lease).await, Cancelled, "release")?;
    expect_eq(s.store.get(&s.ctx, &at).await?, None, "the record")?;
    ensure(s.store.lease_info(&s.ctx, &at).await?.is_some(), "the lease is gone")
}

async fn deadline(s: Arc<Subject>) -> Outcome {
    let ctx = Context::new().with_timeout(Duration::ZERO);
    let at = key("a")?;
    expect_err(s.store.put(&ctx, &at, doc(1)?, Condition::Any).await, Timeout, "put")?;
    expect_err(s.store.get(&ctx, &at).await, Timeout, "get")?;
    expect_eq(s.store.get(&s.ctx, &at).await?, None, "the record")
}

async fn cut_off(s: Arc<Subject>) -> Outcome {
    let (a, b) = (key("pair/a")?, key("pair/b")?);
    let mut watch = s.store.watch(&s.ctx, &prefix("pair")?, None).await?;
    for n in 0..60_u64 {
        let (s, a, b) = (Arc::clone(&s), a.clone(), b.clone());
        let ctx = Context::new();
        let inner = ctx.clone();
        let task = tokio::spawn(async move {
            let pair = Transaction::new().put(a, doc(n)?, Condition::Any);
            s.store.commit(&inner, &pair.put(b, doc(n)?, Condition::Any)).await
        });
        tokio::time::sleep(Duration::from_micros(n * 37 % 2000)).await;
        // Dropped in the middle, or cancelled in the middle.
        if n % 2 == 0 { task.abort() } else { ctx.cancel() }
    }
    let end = s.store.put(&s.ctx, &key("pair/end")?, doc(0)?, Condition::Any).await?;
    let ctx = Context::new().with_timeout(Duration::from_secs(20));
    loop {
        let changes = watch.next(&ctx).await?;
        if changes.revision == end {
            break;
        }
        expect_eq(changes.events.len(), 2, "records of one transaction")?;
    }
    let listing = s.store.list(&s.ctx, &prefix("pair")?).await?;
    if let [first, second, _end] = listing.records.as_slice() {
        expect_eq(&first.value, &second.value, "the second record of the pair")?;
        expect_eq(first.revision, second.revision, "the second record's revision")?;
    }
    Ok(())
}
