//! Making, finding and destroying volumes.

use std::sync::Arc;

use super::super::subject::expect_one_made;
use super::super::{Fixture, Outcome, SuiteOn, ensure, expect_eq, expect_err};
use super::{Reasons, Subject};
use crate::volume_driver::{VolumeSpec, VolumeStatus};
use crate::{Context, ErrorKind, ListFilter, Owner, RequestId};

type S = Arc<Subject>;

pub(super) fn cases<F: Fixture<Subject = Subject>>(on: SuiteOn<F>, why: &Reasons) -> SuiteOn<F> {
    on.case("check_has_no_effect", check_has_no_effect)
        .case("create_makes_a_ready_volume", create_makes_a_ready_volume)
        .case("create_twice_is_the_same_volume", create_twice_is_the_same_volume)
        .case("create_twice_at_once_makes_one", create_twice_at_once_makes_one)
        .case("name_of_another_request_already_exists", name_of_another_request_already_exists)
        .case("empty_name_is_refused", empty_name_is_refused)
        .case("unknown_option_is_refused", unknown_option_is_refused)
        .case("owner_of_another_namespace_is_refused", owner_of_another_namespace_is_refused)
        .case("list_of_nothing_is_empty", list_of_nothing_is_empty)
        .case("list_is_sorted_by_name", list_is_sorted_by_name)
        .case("list_keeps_to_its_filter", list_keeps_to_its_filter)
        .case("get_unknown_is_not_found", get_unknown_is_not_found)
        .case("destroy_removes_it", destroy_removes_it)
        .case("destroy_twice_is_not_found", destroy_twice_is_not_found)
        .case("destroy_unknown_is_not_found", destroy_unknown_is_not_found)
        .case("name_is_free_after_destroy", name_is_free_after_destroy)
        .case_unless(why.foreign(), "foreign_volumes_are_not_listed", foreign_is_not_listed)
        .case_unless(why.foreign(), "foreign_volumes_are_not_found", foreign_is_not_found)
        .case_unless(why.foreign(), "foreign_names_do_not_collide", foreign_names_do_not_collide)
}

async fn check_has_no_effect(s: S) -> Outcome {
    let health = s.driver.check(&Context::new()).await?;
    expect_eq(health.backend.as_str(), s.driver.name(), "the backend's name")?;
    s.expect_none().await
}

async fn create_makes_a_ready_volume(s: S) -> Outcome {
    let spec = s.spec("data")?;
    let volume = s.driver.create(&Context::new(), &spec).await?;
    expect_eq(volume.name.as_str(), "data", "its name")?;
    expect_eq(&volume.owner, &spec.owner, "its owner")?;
    expect_eq(volume.status, VolumeStatus::Ready, "its status")?;
    ensure(volume.attachments.is_empty(), "a new volume is attached")?;
    expect_eq(s.get(&volume).await?, volume.clone(), "what get says of it")?;
    expect_eq(s.list().await?, vec![volume], "what list says of it")
}

async fn create_twice_is_the_same_volume(s: S) -> Outcome {
    let spec = s.spec("data")?;
    let first = s.driver.create(&Context::new(), &spec).await?;
    let second = s.driver.create(&Context::new(), &spec).await?;
    expect_eq(&second, &first, "the second answer")?;
    s.expect_only(&first).await
}

async fn create_twice_at_once_makes_one(s: S) -> Outcome {
    let (ctx, spec) = (Context::new(), s.spec("data")?);
    let (first, second) = tokio::join!(s.driver.create(&ctx, &spec), s.driver.create(&ctx, &spec));
    for volume in expect_one_made([first, second])? {
        s.expect_only(&volume).await?;
    }
    Ok(())
}

async fn name_of_another_request_already_exists(s: S) -> Outcome {
    let volume = s.create("data").await?;
    expect_err(s.create("data").await, ErrorKind::AlreadyExists, "create by another request")?;
    expect_eq(s.get(&volume).await?, volume.clone(), "the first request's volume")?;
    s.expect_only(&volume).await
}

async fn empty_name_is_refused(s: S) -> Outcome {
    expect_err(s.create("").await, ErrorKind::InvalidConfig, "create without a name")?;
    s.expect_none().await
}

async fn unknown_option_is_refused(s: S) -> Outcome {
    let mut spec = s.spec("data")?;
    spec.options.insert("no-backend-has-this-option".to_owned(), true.into());
    let refused = s.driver.create(&Context::new(), &spec).await;
    expect_err(refused, ErrorKind::InvalidConfig, "create with an unknown option")?;
    s.expect_none().await
}

async fn owner_of_another_namespace_is_refused(s: S) -> Outcome {
    let owner = Owner::new(format!("not-{}", s.namespace), "app", RequestId::random());
    let spec = VolumeSpec::new(owner, "data", s.size()?);
    let refused = s.driver.create(&Context::new(), &spec).await;
    expect_err(refused, ErrorKind::InvalidConfig, "create for another namespace")?;
    s.expect_none().await
}

async fn list_of_nothing_is_empty(s: S) -> Outcome {
    s.expect_none().await?;
    s.create("data").await?;
    let none = s.driver.list(&Context::new(), &ListFilter::app("another")).await?;
    ensure(none.is_empty(), "another application has this one's volume")
}

async fn list_is_sorted_by_name(s: S) -> Outcome {
    for name in ["m", "z", "a"] {
        s.create(name).await?;
    }
    let names: Vec<_> = s.list().await?.into_iter().map(|volume| volume.name).collect();
    expect_eq(names, vec!["a", "m", "z"], "names listed")
}

async fn list_keeps_to_its_filter(s: S) -> Outcome {
    let mut specs = [s.spec("a")?, s.spec("b")?, s.spec("c")?];
    specs[2].owner.app = "other".to_owned();
    for spec in &specs {
        s.driver.create(&Context::new(), spec).await?;
    }
    let filters = [
        (ListFilter::all(), vec!["a", "b", "c"]),
        (ListFilter::app("app"), vec!["a", "b"]),
        (ListFilter::app("ap"), vec![]),
        (ListFilter::request(&specs[1].owner), vec!["b"]),
    ];
    for (filter, wanted) in filters {
        let found = s.driver.list(&Context::new(), &filter).await?;
        let names: Vec<_> = found.into_iter().map(|volume| volume.name).collect();
        expect_eq(names, wanted, &format!("names listed for {filter:?}"))?;
    }
    Ok(())
}

async fn get_unknown_is_not_found(s: S) -> Outcome {
    let got = s.driver.get(&Context::new(), &s.unknown).await;
    expect_err(got, ErrorKind::NotFound, "get of an unknown volume").map(drop)
}

async fn destroy_removes_it(s: S) -> Outcome {
    let (gone, stays) = (s.create("gone").await?, s.create("stays").await?);
    s.destroy(&gone).await?;
    expect_err(s.get(&gone).await, ErrorKind::NotFound, "get of a destroyed volume")?;
    s.expect_only(&stays).await
}

async fn destroy_twice_is_not_found(s: S) -> Outcome {
    let volume = s.create("data").await?;
    s.destroy(&volume).await?;
    expect_err(s.destroy(&volume).await, ErrorKind::NotFound, "the second destroy").map(drop)
}

async fn destroy_unknown_is_not_found(s: S) -> Outcome {
    let volume = s.create("data").await?;
    let refused = s.driver.destroy(&Context::new(), &s.unknown).await;
    expect_err(refused, ErrorKind::NotFound, "destroy of an unknown volume")?;
    s.expect_only(&volume).await
}

async fn name_is_free_after_destroy(s: S) -> Outcome {
    let first = s.create("data").await?;
    s.destroy(&first).await?;
    let second = s.create("data").await?;
    s.expect_only(&second).await
}

async fn foreign_is_not_listed(s: S) -> Outcome {
    let (foreign, namespace) = s.foreign()?;
    let owner = Owner::new(namespace, "app", RequestId::random());
    let spec = VolumeSpec::new(owner, "theirs", s.size()?);
    foreign.create(&Context::new(), &spec).await?;
    let ours = s.create("ours").await?;
    s.expect_only(&ours).await?;
    let theirs = foreign.list(&Context::new(), &ListFilter::all()).await?;
    let names: Vec<_> = theirs.into_iter().map(|volume| volume.name).collect();
    expect_eq(names, vec!["theirs"], "names listed in the other namespace")
}

async fn foreign_is_not_found(s: S) -> Outcome {
    let (ctx, (foreign, namespace)) = (Context::new(), s.foreign()?);
    let owner = Owner::new(namespace, "app", RequestId::random());
    let theirs = foreign.create(&ctx, &VolumeSpec::new(owner, "theirs", s.size()?)).await?;
    expect_err(s.get(&theirs).await, ErrorKind::NotFound, "get of a foreign volume")?;
    expect_err(s.destroy(&theirs).await, ErrorKind::NotFound, "destroy of a foreign volume")?;
    if let Some(node) = s.nodes.first() {
        let attached = s.attach(&theirs, node).await;
        expect_err(attached, ErrorKind::NotFound, "attach of a foreign volume")?;
    }
    expect_eq(foreign.get(&ctx, &theirs.id).await?, theirs, "the foreign volume afterwards")
}

async fn foreign_names_do_not_collide(s: S) -> Outcome {
    let (foreign, namespace) = s.foreign()?;
    let owner = Owner::new(namespace, "app", RequestId::random());
    let spec = VolumeSpec::new(owner, "data", s.size()?);
    let theirs = foreign.create(&Context::new(), &spec).await?;
    let ours = s.create("data").await?;
    ensure(ours.id != theirs.id, "two namespaces share a volume")?;
    s.expect_only(&ours).await
}
