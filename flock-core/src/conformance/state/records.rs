//! Single records: conditions, listings, odd keys and values.

use std::sync::Arc;

use super::{Cases, Subject, doc, key, prefix};
use crate::ErrorKind::{Conflict, QuotaExceeded};
use crate::conformance::{Outcome, ensure, expect_eq, expect_err, expect_some};
use crate::state::{
    Condition, Document, MAX_DOCUMENT, MAX_KEY, Prefix, Revision, StateStoreExt, current_revision,
};

pub(super) fn cases(cases: Cases) -> Cases {
    cases
        .case("get_of_a_missing_record_is_none", get_missing)
        .case("what_is_put_is_got", put_and_get)
        .case("every_change_has_a_higher_revision", revisions_rise)
        .case("put_if_absent_conflicts_with_a_record", put_if_absent)
        .case("put_if_unchanged_conflicts_with_a_change", put_if_unchanged)
        .case("put_if_unchanged_conflicts_with_a_deletion", put_after_deletion)
        .case("a_record_made_again_is_not_unchanged", made_again)
        .case("delete_is_idempotent", delete_twice)
        .case("delete_if_unchanged_conflicts_with_a_change", delete_if_unchanged)
        .case("list_is_sorted_by_bytes", list_sorted)
        .case("list_is_of_whole_segments", list_segments)
        .case("list_of_nothing_is_empty", list_nothing)
        .case("odd_keys_are_kept_apart", odd_keys)
        .case("odd_values_come_back_as_they_were", odd_values)
        .case("a_document_may_have_a_mebibyte", big_value)
        .case("a_document_above_the_limit_is_refused", too_big_value)
}

async fn get_missing(s: Arc<Subject>) -> Outcome {
    expect_eq(s.store.get(&s.ctx, &key("a/b")?).await?, None, "get")
}

async fn put_and_get(s: Arc<Subject>) -> Outcome {
    let at = key("a/b")?;
    let revision = s.store.put(&s.ctx, &at, doc("one")?, Condition::Any).await?;
    let record = expect_some(s.store.get(&s.ctx, &at).await?, "the record")?;
    expect_eq(&record.key, &at, "key")?;
    expect_eq(record.value.as_str(), "\"one\"", "value")?;
    expect_eq(record.revision, revision, "revision")?;
    let second = s.store.put(&s.ctx, &at, doc("two")?, Condition::Any).await?;
    let record = expect_some(s.store.get(&s.ctx, &at).await?, "the record")?;
    expect_eq(record.value.as_str(), "\"two\"", "value after the second put")?;
    expect_eq(record.revision, second, "revision after the second put")
}

async fn revisions_rise(s: Arc<Subject>) -> Outcome {
    let (a, b) = (key("a")?, key("b")?);
    let mut last = s.store.list(&s.ctx, &Prefix::all()).await?.revision;
    for _ in 0..3 {
        for at in [&a, &b] {
            let put = s.store.put(&s.ctx, at, doc(1)?, Condition::Any).await?;
            ensure(put > last, format!("revision {put} of a put does not follow {last}"))?;
            last = put;
        }
        let deleted = s.store.delete(&s.ctx, &a, Condition::Any).await?;
        ensure(deleted > last, format!("revision {deleted} of a delete does not follow {last}"))?;
        last = deleted;
        expect_eq(s.store.list(&s.ctx, &prefix("x")?).await?.revision, last, "listing's revision")?;
    }
    Ok(())
}

async fn put_if_absent(s: Arc<Subject>) -> Outcome {
    let at = key("a")?;
    let first = s.store.put(&s.ctx, &at, doc(1)?, Condition::Absent).await?;
    let second = s.store.put(&s.ctx, &at, doc(2)?, Condition::Absent).await;
    let error = expect_err(second, Conflict, "second put if absent")?;
    expect_eq(current_revision(&error), Some(Some(first)), "the revision that the error tells")?;
    let record = expect_some(s.store.get(&s.ctx, &at).await?, "the record")?;
    expect_eq(record.value.as_str(), "1", "value after the conflict")?;
    s.store.delete(&s.ctx, &at, Condition::Any).await?;
    s.store.put(&s.ctx, &at, doc(3)?, Condition::Absent).await?;
    Ok(())
}

async fn put_if_unchanged(s: Arc<Subject>) -> Outcome {
    let at = key("a")?;
    let first = s.store.put(&s.ctx, &at, doc(1)?, Condition::Any).await?;
    // A change elsewhere does not matter.
    s.store.put(&s.ctx, &key("b")?, doc(1)?, Condition::Any).await?;
    let second = s.store.put(&s.ctx, &at, doc(2)?, Condition::Unchanged(first)).await?;
    let late = s.store.put(&s.ctx, &at, doc(3)?, Condition::Unchanged(first)).await;
    let error = expect_err(late, Conflict, "put on a stale revision")?;
    expect_eq(current_revision(&error), Some(Some(second)), "the revision that the error tells")?;
    let record = expect_some(s.store.get(&s.ctx, &at).await?, "the record")?;
    expect_eq(record.value.as_str(), "2", "value after the conflict")
}

async fn put_after_deletion(s: Arc<Subject>) -> Outcome {
    let at = key("a")?;
    let first = s.store.put(&s.ctx, &at, doc(1)?, Condition::Any).await?;
    s.store.delete(&s.ctx, &at, Condition::Any).await?;
    let late = s.store.put(&s.ctx, &at, doc(2)?, Condition::Unchanged(first)).await;
    let error = expect_err(late, Conflict, "put on a deleted record")?;
    expect_eq(current_revision(&error), Some(None), "the revision that the error tells")?;
    expect_eq(s.store.get(&s.ctx, &at).await?, None, "get after the conflict")
}

async fn made_again(s: Arc<Subject>) -> Outcome {
    let at = key("a")?;
    let first = s.store.put(&s.ctx, &at, doc(1)?, Condition::Absent).await?;
    s.store.delete(&s.ctx, &at, Condition::Unchanged(first)).await?;
    s.store.put(&s.ctx, &at, doc(1)?, Condition::Absent).await?;
    let late = s.store.put(&s.ctx, &at, doc(2)?, Condition::Unchanged(first)).await;
    expect_err(late, Conflict, "put on the record's first life").map(drop)
}

async fn delete_twice(s: Arc<Subject>) -> Outcome {
    let at = key("a")?;
    s.store.put(&s.ctx, &at, doc(1)?, Condition::Any).await?;
    let deleted = s.store.delete(&s.ctx, &at, Condition::Any).await?;
    expect_eq(s.store.get(&s.ctx, &at).await?, None, "get after delete")?;
    let again = s.store.delete(&s.ctx, &at, Condition::Any).await?;
    expect_eq(again, deleted, "revision of a delete that changes nothing")?;
    s.store.delete(&s.ctx, &at, Condition::Absent).await?;
    Ok(())
}

async fn delete_if_unchanged(s: Arc<Subject>) -> Outcome {
    let at = key("a")?;
    let first = s.store.put(&s.ctx, &at, doc(1)?, Condition::Any).await?;
    let second = s.store.put(&s.ctx, &at, doc(2)?, Condition::Any).await?;
    let late = s.store.delete(&s.ctx, &at, Condition::Unchanged(first)).await;
    expect_err(late, Conflict, "delete of a stale revision")?;
    ensure(s.store.get(&s.ctx, &at).await?.is_some(), "the record is gone")?;
    s.store.delete(&s.ctx, &at, Condition::Unchanged(second)).await?;
    let gone = s.store.delete(&s.ctx, &at, Condition::Unchanged(second)).await;
    let error = expect_err(gone, Conflict, "delete of a revision that is gone")?;
    expect_eq(current_revision(&error), Some(None), "the revision that the error tells")
}

async fn keys_below(s: &Subject, prefix: &Prefix) -> crate::Result<Vec<String>> {
    let listing = s.store.list(&s.ctx, prefix).await?;
    Ok(listing.records.into_iter().map(|record| record.key.to_string()).collect())
}

async fn list_sorted(s: Arc<Subject>) -> Outcome {
    let mut keys = ["n/b", "n/a", "n/B", "n/a/x", "n/a-x", "n/10", "n/9", "n/~", "n/!", "n/a0"];
    for text in keys {
        s.store.put(&s.ctx, &key(text)?, doc(text)?, Condition::Any).await?;
    }
    keys.sort_unstable();
    expect_eq(keys_below(&s, &prefix("n")?).await?, keys, "keys")?;
    for record in s.store.list(&s.ctx, &prefix("n")?).await?.records {
        expect_eq(record.value.to::<String>()?, record.key.to_string(), "value")?;
        ensure(record.revision > Revision::START, "a record without a revision")?;
    }
    Ok(())
}

async fn list_segments(s: Arc<Subject>) -> Outcome {
    let inside = ["a/b/!", "a/b/0", "a/b/c/d", "a/b/~"];
    // '.' and '0' are the neighbours of '/' among the bytes.
    for text in ["a", "a/b", "a/b-", "a/b.", "a/b0", "a/bb", "a/c", "b", "0"].iter().chain(&inside)
    {
        s.store.put(&s.ctx, &key(text)?, doc(1)?, Condition::Any).await?;
    }
    expect_eq(keys_below(&s, &prefix("a/b")?).await?, inside, "keys below a/b")?;
    expect_eq(keys_below(&s, &prefix("a/b/c/d")?).await?.len(), 0, "keys below a leaf")?;
    expect_eq(keys_below(&s, &prefix("a")?).await?.len(), 10, "keys below a")?;
    expect_eq(keys_below(&s, &Prefix::all()).await?.len(), 13, "all keys")
}

async fn list_nothing(s: Arc<Subject>) -> Outcome {
    let empty = s.store.list(&s.ctx, &Prefix::all()).await?;
    expect_eq(empty.records.len(), 0, "records of a new store")?;
    let revision = s.store.put(&s.ctx, &key("a")?, doc(1)?, Condition::Any).await?;
    let listing = s.store.list(&s.ctx, &prefix("b")?).await?;
    expect_eq(listing.records.len(), 0, "records below an unused prefix")?;
    expect_eq(listing.revision, revision, "revision of an empty listing")
}

async fn odd_keys(s: Arc<Subject>) -> Outcome {
    let printable: String = (b'!'..=b'~').filter(|b| *b != b'/').map(char::from).collect();
    let longest = "x".repeat(MAX_KEY);
    let deepest = vec!["x"; MAX_KEY / 2].join("/");
    let keys = [
        "k",
        "K",
        "%",
        "_",
        "*",
        "?",
        "[a]",
        "\\",
        "'",
        "\"",
        "''",
        ";--",
        "$1",
        "...",
        "k%2Fk",
        &printable,
        &longest,
        &longest[1..],
        &deepest,
    ];
    for text in keys {
        s.store.put(&s.ctx, &key(text)?, doc(text)?, Condition::Absent).await?;
    }
    for text in keys {
        let record = expect_some(s.store.get(&s.ctx, &key(text)?).await?, text)?;
        expect_eq(record.value.to::<String>()?, text, "the value under an odd key")?;
    }
    let name = "Büro 1/2 %\n☃";
    s.store.put(&s.ctx, &key("names")?.child(name)?, doc(1)?, Condition::Absent).await?;
    let listing = s.store.list(&s.ctx, &prefix("names")?).await?;
    let names: Vec<String> = listing.records.iter().map(|record| record.key.name()).collect();
    expect_eq(names, [name], "names")
}

async fn odd_values(s: Arc<Subject>) -> Outcome {
    let texts = [
        "null",
        "true",
        "0",
        "-0.0",
        "1e400",
        "18446744073709551616",
        "3.141592653589793238462643383279",
        "\"\"",
        "\"\\u0000\\ud83d\\ude00☃\"",
        "[]",
        "{}",
        " {\"b\" : 1, \"a\": [ null ],\"b\":2 }\n",
    ];
    let at = key("value")?;
    for text in texts {
        s.store.put(&s.ctx, &at, Document::parse(text)?, Condition::Any).await?;
        let record = expect_some(s.store.get(&s.ctx, &at).await?, "the record")?;
        expect_eq(record.value.as_str(), text, "the text of the value")?;
    }
    Ok(())
}

async fn big_value(s: Arc<Subject>) -> Outcome {
    let at = key("big")?;
    let value = doc("ä".repeat(MAX_DOCUMENT / 2 - 1))?;
    expect_eq(value.as_str().len(), MAX_DOCUMENT, "the test's own document")?;
    s.store.put(&s.ctx, &at, value.clone(), Condition::Any).await?;
    let record = expect_some(s.store.get(&s.ctx, &at).await?, "the record")?;
    ensure(record.value == value, "the big document came back changed")?;
    let listing = s.store.list(&s.ctx, &Prefix::all()).await?;
    ensure(listing.records[0].value == value, "the big document is listed changed")
}

async fn too_big_value(s: Arc<Subject>) -> Outcome {
    let at = key("big")?;
    let value = doc("x".repeat(MAX_DOCUMENT - 1))?;
    let put = s.store.put(&s.ctx, &at, value, Condition::Any).await;
    expect_err(put, QuotaExceeded, "put of a document above the limit")?;
    expect_eq(s.store.get(&s.ctx, &at).await?, None, "get after the refusal")
}
