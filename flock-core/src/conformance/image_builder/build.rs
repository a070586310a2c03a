//! Making, finding and deleting images.

use std::sync::Arc;

use super::super::subject::{expect_one_made, unless};
use super::super::{Fixture, Outcome, SuiteOn, ensure, expect_eq, expect_err, expect_some};
use super::{Subject, SuiteOptions};
use crate::image_builder::{
    ApplianceFormat, ImageBuilderExt, ImageSource, ImageSpec, ImageStatus, SourceKind,
};
use crate::{Context, ErrorKind, ImageId, ListFilter, Owner, RequestId};

type S = Arc<Subject>;

pub(super) fn cases<F: Fixture<Subject = Subject>>(
    on: SuiteOn<F>,
    why: &SuiteOptions,
) -> SuiteOn<F> {
    let can = &why.capabilities;
    let foreign = unless(why.foreign, "no second namespace");
    let broken = unless(why.broken, "no source that cannot be built");
    let copies = unless(can.sources.contains(&SourceKind::Image), "images are not copied");
    let nodes = unless(why.nodes, "no provisioner");
    let kept = nodes.or(can.delete_in_use.then_some("images in use can be deleted"));
    let on = on
        .case("check_has_no_effect", check_has_no_effect)
        .case("build_makes_a_ready_image", build_makes_a_ready_image)
        .case("build_twice_is_the_same_image", build_twice_is_the_same_image)
        .case("build_twice_at_once_makes_one", build_twice_at_once_makes_one)
        .case("name_of_another_request_already_exists", name_of_another_request)
        .case("versions_of_a_name_are_images_of_their_own", versions_of_a_name)
        .case("empty_name_or_version_is_refused", empty_name_or_version_is_refused)
        .case("unknown_option_is_refused", unknown_option_is_refused)
        .case("owner_of_another_namespace_is_refused", owner_of_another_namespace)
        .case("missing_source_is_not_found", missing_source_is_not_found)
        .case_unless(broken, "broken_source_is_never_ready", broken_source_is_never_ready)
        .case_unless(copies, "copy_of_an_image_is_another_image", copy_of_an_image)
        .case_unless(copies, "copy_of_an_unknown_image_is_not_found", copy_of_an_unknown)
        .case("list_is_sorted_by_name_and_version", list_is_sorted)
        .case("list_keeps_to_its_filter", list_keeps_to_its_filter)
        .case("find_finds_by_name_and_version", find_finds_by_name_and_version)
        .case("get_unknown_is_not_found", get_unknown_is_not_found)
        .case("delete_removes_it", delete_removes_it)
        .case("delete_twice_is_not_found", delete_twice_is_not_found)
        .case("delete_unknown_is_not_found", delete_unknown_is_not_found)
        .case("name_is_free_after_delete", name_is_free_after_delete)
        .case_unless(nodes, "image_can_be_deployed", image_can_be_deployed)
        .case_unless(kept, "delete_in_use_is_a_conflict", delete_in_use_is_a_conflict)
        .case_unless(foreign, "foreign_images_are_not_listed", foreign_is_not_listed)
        .case_unless(foreign, "foreign_images_are_not_found", foreign_is_not_found)
        .case_unless(foreign, "foreign_names_do_not_collide", foreign_names_do_not_collide);
    unsupported_sources(on, why)
}

/// For every kind of source and every format that is excluded, the case that
/// it is refused.
fn unsupported_sources<F: Fixture<Subject = Subject>>(
    mut on: SuiteOn<F>,
    why: &SuiteOptions,
) -> SuiteOn<F> {
    use ApplianceFormat::{Qcow2, Raw, Tar, Vhd};
    let path = || std::path::PathBuf::from("/nonexistent/source");
    let formats = [(Tar, "tar"), (Raw, "raw"), (Vhd, "vhd"), (Qcow2, "qcow2")];
    let appliances = formats.map(|(format, name)| {
        (format!("{name}_appliance"), ImageSource::Appliance { path: path(), format })
    });
    let others = [
        ("recipe", ImageSource::Recipe { directory: path(), file: "recipe".into() }),
        ("installer", ImageSource::Installer { medium: path(), answers: path() }),
        ("copy", ImageSource::Image { image: ImageId::new("none") }),
    ];
    let others = others.map(|(name, source)| (name.to_owned(), source));
    for (name, source) in appliances.into_iter().chain(others) {
        let can = &why.capabilities;
        let taken = can.sources.contains(&source.kind())
            && match &source {
                ImageSource::Appliance { format, .. } => can.formats.contains(format),
                _ => true,
            };
        if !taken {
            on = on.case(&format!("{name}_is_unsupported"), move |s: S| {
                refused_without_effect(s, source.clone())
            });
        }
    }
    on
}

async fn refused_without_effect(s: S, source: ImageSource) -> Outcome {
    let spec = ImageSpec::new(s.owner(), "web", "1", source);
    let refused = s.builder.build(&Context::new(), &spec).await;
    expect_err(refused, ErrorKind::Unsupported, "build")?;
    s.expect_none().await
}

async fn check_has_no_effect(s: S) -> Outcome {
    let health = s.builder.check(&Context::new()).await?;
    expect_eq(health.backend.as_str(), s.builder.name(), "the backend's name")?;
    s.expect_none().await
}

async fn build_makes_a_ready_image(s: S) -> Outcome {
    let spec = s.spec("web", "1.2");
    let image = s.builder.build(&Context::new(), &spec).await?;
    expect_eq((image.name.as_str(), image.version.as_str()), ("web", "1.2"), "what it is called")?;
    expect_eq(&image.owner, &spec.owner, "its owner")?;
    expect_eq(image.status, ImageStatus::Ready, "its status")?;
    let got = s.get(&image).await?;
    expect_eq((&got.id, got.status), (&image.id, image.status), "what get says of it")?;
    s.expect_only(&image).await
}

async fn build_twice_is_the_same_image(s: S) -> Outcome {
    let spec = s.spec("web", "1");
    let first = s.builder.build(&Context::new(), &spec).await?;
    let second = s.builder.build(&Context::new(), &spec).await?;
    expect_eq(&second.id, &first.id, "the second answer's id")?;
    s.expect_only(&first).await
}

async fn build_twice_at_once_makes_one(s: S) -> Outcome {
    let (ctx, spec) = (Context::new(), s.spec("web", "1"));
    let (first, second) = tokio::join!(s.builder.build(&ctx, &spec), s.builder.build(&ctx, &spec));
    for image in expect_one_made([first, second])? {
        s.expect_only(&image).await?;
    }
    Ok(())
}

async fn name_of_another_request(s: S) -> Outcome {
    let image = s.build("web", "1").await?;
    expect_err(s.build("web", "1").await, ErrorKind::AlreadyExists, "build by another request")?;
    expect_eq(s.get(&image).await?.owner, image.owner.clone(), "the first image's owner")?;
    s.expect_only(&image).await
}

async fn versions_of_a_name(s: S) -> Outcome {
    let (one, two) = (s.build("web", "1").await?, s.build("web", "2").await?);
    ensure(one.id != two.id, "two versions are one image")?;
    s.delete(&one).await?;
    s.expect_only(&two).await
}

async fn empty_name_or_version_is_refused(s: S) -> Outcome {
    expect_err(s.build("", "1").await, ErrorKind::InvalidConfig, "build without a name")?;
    expect_err(s.build("web", "").await, ErrorKind::InvalidConfig, "build without a version")?;
    s.expect_none().await
}

async fn unknown_option_is_refused(s: S) -> Outcome {
    let mut spec = s.spec("web", "1");
    spec.options.insert("no-backend-has-this-option".to_owned(), true.into());
    let refused = s.builder.build(&Context::new(), &spec).await;
    expect_err(refused, ErrorKind::InvalidConfig, "build with an unknown option")?;
    s.expect_none().await
}

async fn owner_of_another_namespace(s: S) -> Outcome {
    let owner = Owner::new(format!("not-{}", s.namespace), "app", RequestId::random());
    let spec = ImageSpec::new(owner, "web", "1", s.source.clone());
    let refused = s.builder.build(&Context::new(), &spec).await;
    expect_err(refused, ErrorKind::InvalidConfig, "build for another namespace")?;
    s.expect_none().await
}

async fn missing_source_is_not_found(s: S) -> Outcome {
    let spec = ImageSpec::new(s.owner(), "web", "1", s.missing.clone());
    let refused = s.builder.build(&Context::new(), &spec).await;
    expect_err(refused, ErrorKind::NotFound, "build from a source that is not there")?;
    s.expect_none().await
}

async fn broken_source_is_never_ready(s: S) -> Outcome {
    let source = expect_some(s.broken.clone(), "the subject's broken source")?;
    let spec = ImageSpec::new(s.owner(), "web", "1", source);
    let failed = s.builder.build(&Context::new(), &spec).await;
    expect_err(failed, ErrorKind::InvalidData, "build from a broken source")?;
    for image in s.list().await? {
        ensure(image.status != ImageStatus::Ready, "an image of a broken source is ready")?;
        s.delete(&image).await?;
    }
    s.expect_none().await
}

async fn copy_of_an_image(s: S) -> Outcome {
    let original = s.build("web", "1").await?;
    let source = ImageSource::Image { image: original.id.clone() };
    let spec = ImageSpec::new(s.owner(), "web", "2", source);
    let copy = s.builder.build(&Context::new(), &spec).await?;
    ensure(copy.id != original.id, "the copy is the original")?;
    s.delete(&original).await?;
    s.expect_only(&copy).await
}

async fn copy_of_an_unknown(s: S) -> Outcome {
    let source = ImageSource::Image { image: s.unknown.clone() };
    let spec = ImageSpec::new(s.owner(), "web", "1", source);
    let refused = s.builder.build(&Context::new(), &spec).await;
    expect_err(refused, ErrorKind::NotFound, "a copy of an unknown image")?;
    s.expect_none().await
}

async fn list_is_sorted(s: S) -> Outcome {
    for (name, version) in [("m", "2"), ("z", "1"), ("m", "1"), ("a", "9")] {
        s.build(name, version).await?;
    }
    let images = s.list().await?;
    let listed: Vec<_> = images.iter().map(|i| (i.name.as_str(), i.version.as_str())).collect();
    expect_eq(listed, vec![("a", "9"), ("m", "1"), ("m", "2"), ("z", "1")], "images listed")
}

async fn list_keeps_to_its_filter(s: S) -> Outcome {
    s.expect_none().await?;
    let mut specs = [s.spec("a", "1"), s.spec("b", "1"), s.spec("c", "1")];
    specs[2].owner.app = "other".to_owned();
    for spec in &specs {
        s.builder.build(&Context::new(), spec).await?;
    }
    let filters = [
        (ListFilter::all(), vec!["a", "b", "c"]),
        (ListFilter::app("app"), vec!["a", "b"]),
        (ListFilter::app("ap"), vec![]),
        (ListFilter::request(&specs[1].owner), vec!["b"]),
    ];
    for (filter, wanted) in filters {
        let found = s.builder.list(&Context::new(), &filter).await?;
        let names: Vec<_> = found.into_iter().map(|image| image.name).collect();
        expect_eq(names, wanted, &format!("names listed for {filter:?}"))?;
    }
    Ok(())
}

async fn find_finds_by_name_and_version(s: S) -> Outcome {
    let (ctx, image) = (Context::new(), s.build("web", "1").await?);
    expect_eq(s.builder.find(&ctx, "web", "1").await?.id, image.id, "the image found")?;
    let none = s.builder.find(&ctx, "web", "2").await;
    expect_err(none, ErrorKind::NotFound, "find of another version").map(drop)
}

async fn get_unknown_is_not_found(s: S) -> Outcome {
    let got = s.builder.get(&Context::new(), &s.unknown).await;
    expect_err(got, ErrorKind::NotFound, "get of an unknown image").map(drop)
}

async fn delete_removes_it(s: S) -> Outcome {
    let (gone, stays) = (s.build("gone", "1").await?, s.build("stays", "1").await?);
    s.delete(&gone).await?;
    expect_err(s.get(&gone).await, ErrorKind::NotFound, "get of a deleted image")?;
    s.expect_only(&stays).await
}

async fn delete_twice_is_not_found(s: S) -> Outcome {
    let image = s.build("web", "1").await?;
    s.delete(&image).await?;
    expect_err(s.delete(&image).await, ErrorKind::NotFound, "the second delete").map(drop)
}

async fn delete_unknown_is_not_found(s: S) -> Outcome {
    let image = s.build("web", "1").await?;
    let refused = s.builder.delete(&Context::new(), &s.unknown).await;
    expect_err(refused, ErrorKind::NotFound, "delete of an unknown image")?;
    s.expect_only(&image).await
}

async fn name_is_free_after_delete(s: S) -> Outcome {
    let first = s.build("web", "1").await?;
    s.delete(&first).await?;
    let second = s.build("web", "1").await?;
    s.expect_only(&second).await
}

async fn image_can_be_deployed(s: S) -> Outcome {
    let image = s.build("web", "1").await?;
    let (_, node) = s.node(&image).await?;
    let made_from = node.image.unwrap_or_else(|| image.id.clone());
    expect_eq(made_from, image.id, "the image that the node was made from")
}

async fn delete_in_use_is_a_conflict(s: S) -> Outcome {
    let (ctx, image) = (Context::new(), s.build("web", "1").await?);
    let (nodes, node) = s.node(&image).await?;
    expect_err(s.delete(&image).await, ErrorKind::Conflict, "delete of an image in use")?;
    s.expect_only(&image).await?;
    nodes.destroy(&ctx, &node.id).await?;
    s.delete(&image).await?;
    s.expect_none().await
}

async fn foreign_is_not_listed(s: S) -> Outcome {
    let (foreign, owner) = s.foreign()?;
    let spec = ImageSpec::new(owner, "theirs", "1", s.source.clone());
    foreign.build(&Context::new(), &spec).await?;
    let ours = s.build("ours", "1").await?;
    s.expect_only(&ours).await?;
    let theirs = foreign.list(&Context::new(), &ListFilter::all()).await?;
    let names: Vec<_> = theirs.into_iter().map(|image| image.name).collect();
    expect_eq(names, vec!["theirs"], "names listed in the other namespace")
}

async fn foreign_is_not_found(s: S) -> Outcome {
    let (ctx, (foreign, owner)) = (Context::new(), s.foreign()?);
    let spec = ImageSpec::new(owner, "theirs", "1", s.source.clone());
    let theirs = foreign.build(&ctx, &spec).await?;
    expect_err(s.get(&theirs).await, ErrorKind::NotFound, "get of a foreign image")?;
    expect_err(s.delete(&theirs).await, ErrorKind::NotFound, "delete of a foreign image")?;
    let after = foreign.get(&ctx, &theirs.id).await?;
    expect_eq(after.status, ImageStatus::Ready, "the foreign image's status afterwards")
}

async fn foreign_names_do_not_collide(s: S) -> Outcome {
    let (foreign, owner) = s.foreign()?;
    let spec = ImageSpec::new(owner, "web", "1", s.source.clone());
    let theirs = foreign.build(&Context::new(), &spec).await?;
    let ours = s.build("web", "1").await?;
    ensure(ours.id != theirs.id, "two namespaces share an image")?;
    s.expect_only(&ours).await
}
