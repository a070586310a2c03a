//! Several writes at once.

use std::sync::Arc;

use super::{Cases, Subject, doc, key};
use crate::ErrorKind::{Conflict, InvalidConfig, QuotaExceeded};
use crate::conformance::{Outcome, expect_eq, expect_err, expect_some};
use crate::state::{Condition, MAX_WRITES, Prefix, StateStoreExt, Transaction, current_revision};

pub(super) fn cases(cases: Cases) -> Cases {
    cases
        .case("a_transaction_has_one_revision", one_revision)
        .case("a_transaction_is_all_or_nothing", all_or_nothing)
        .case("a_check_needs_its_condition_and_writes_nothing", check_only)
        .case("an_empty_transaction_changes_nothing", empty)
        .case("a_transaction_may_have_as_many_writes_as_allowed", full)
        .case("a_transaction_beyond_the_limits_is_refused", beyond)
}

async fn one_revision(s: Arc<Subject>) -> Outcome {
    let (a, b, c) = (key("a")?, key("b")?, key("c")?);
    s.store.put(&s.ctx, &c, doc(0)?, Condition::Any).await?;
    let transaction = Transaction::new()
        .put(b.clone(), doc(2)?, Condition::Absent)
        .delete(c.clone(), Condition::Any)
        .put(a.clone(), doc(1)?, Condition::Absent);
    let revision = s.store.commit(&s.ctx, &transaction).await?;
    for at in [&a, &b] {
        let record = expect_some(s.store.get(&s.ctx, at).await?, at.as_str())?;
        expect_eq(record.revision, revision, "revision")?;
    }
    expect_eq(s.store.get(&s.ctx, &c).await?, None, "the deleted record")
}

async fn all_or_nothing(s: Arc<Subject>) -> Outcome {
    let (a, b, c) = (key("a")?, key("b")?, key("c")?);
    let first = s.store.put(&s.ctx, &b, doc("kept")?, Condition::Any).await?;
    for last in [Condition::Absent, Condition::Unchanged(crate::state::Revision::START)] {
        let transaction = Transaction::new()
            .put(a.clone(), doc(1)?, Condition::Any)
            .delete(c.clone(), Condition::Any)
            .put(b.clone(), doc(2)?, last);
        let refused = s.store.commit(&s.ctx, &transaction).await;
        let error = expect_err(refused, Conflict, "a transaction with a failing condition")?;
        expect_eq(current_revision(&error), Some(Some(first)), "the revision in the error")?;
        expect_eq(error.context_value("key"), Some("b"), "the key in the error")?;
    }
    let listing = s.store.list(&s.ctx, &Prefix::all()).await?;
    expect_eq(listing.records.len(), 1, "records after the refusals")?;
    expect_eq(listing.revision, first, "revision after the refusals")?;
    expect_eq(listing.records[0].value.as_str(), "\"kept\"", "the record after the refusals")
}

async fn check_only(s: Arc<Subject>) -> Outcome {
    let (a, b) = (key("a")?, key("b")?);
    let first = s.store.put(&s.ctx, &a, doc(1)?, Condition::Any).await?;
    let value = doc(1)?;
    let guarded = |condition| {
        let checked = Transaction::new().check(a.clone(), condition);
        checked.put(b.clone(), value.clone(), Condition::Any)
    };
    let second = s.store.commit(&s.ctx, &guarded(Condition::Unchanged(first))).await?;
    let record = expect_some(s.store.get(&s.ctx, &a).await?, "the record that was checked")?;
    expect_eq(record.revision, first, "revision of the record that was checked")?;
    s.store.delete(&s.ctx, &a, Condition::Any).await?;
    let refused = s.store.commit(&s.ctx, &guarded(Condition::Unchanged(first))).await;
    expect_err(refused, Conflict, "a check of a record that is gone")?;
    let record = expect_some(s.store.get(&s.ctx, &b).await?, "the guarded record")?;
    expect_eq(record.revision, second, "revision of the guarded record")?;
    s.store.commit(&s.ctx, &guarded(Condition::Absent)).await?;
    Ok(())
}

async fn empty(s: Arc<Subject>) -> Outcome {
    let first = s.store.put(&s.ctx, &key("a")?, doc(1)?, Condition::Any).await?;
    expect_eq(s.store.commit(&s.ctx, &Transaction::new()).await?, first, "revision")?;
    let check = Transaction::new().check(key("a")?, Condition::Unchanged(first));
    expect_eq(s.store.commit(&s.ctx, &check).await?, first, "revision of a check")
}

async fn full(s: Arc<Subject>) -> Outcome {
    let mut transaction = Transaction::new();
    for n in 0..MAX_WRITES {
        transaction = transaction.put(key(&format!("k/{n}"))?, doc(n)?, Condition::Absent);
    }
    s.store.commit(&s.ctx, &transaction).await?;
    expect_eq(s.store.list(&s.ctx, &Prefix::all()).await?.records.len(), MAX_WRITES, "records")
}

async fn beyond(s: Arc<Subject>) -> Outcome {
    let mut many = Transaction::new();
    for n in 0..=MAX_WRITES {
        many = many.put(key(&format!("k/{n}"))?, doc(n)?, Condition::Any);
    }
    expect_err(s.store.commit(&s.ctx, &many).await, QuotaExceeded, "too many writes")?;
    let twice = Transaction::new()
        .put(key("a")?, doc(1)?, Condition::Any)
        .delete(key("a")?, Condition::Any);
    expect_err(s.store.commit(&s.ctx, &twice).await, InvalidConfig, "two writes of one key")?;
    expect_eq(s.store.list(&s.ctx, &Prefix::all()).await?.records.len(), 0, "records")
}
