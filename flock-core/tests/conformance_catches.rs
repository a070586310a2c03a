//! The suites on backends that are wrong on purpose: each fault must fail the
//! case that is there for it. A check that cannot fail would show here.

mod buggy;
mod memory;

use std::process::ExitCode;

use buggy::{Bug, Buggy};
use flock_core::conformance::{
    Failure, Outcome, Suite, ensure, image_builder, main as run, provisioner, volume_driver,
};
use flock_core::memory::MemoryBackend;
use flock_core::volume_driver::VolumeCapabilities;

/// Each bug with the cases that must notice it.
const BUGS: &[(Bug, &[&str])] = &[
    (
        Bug::ListsForeign,
        &[
            "volume::foreign_volumes_are_not_listed",
            "node::foreign_nodes_are_not_listed",
            "image::foreign_images_are_not_listed",
        ],
    ),
    (
        Bug::FindsForeign,
        &[
            "volume::foreign_volumes_are_not_found",
            "node::foreign_nodes_are_not_found",
            "image::foreign_images_are_not_found",
        ],
    ),
    (
        Bug::IgnoresFilter,
        &[
            "volume::list_keeps_to_its_filter",
            "node::list_keeps_to_its_filter",
            "image::list_keeps_to_its_filter",
        ],
    ),
    (
        Bug::ListsBackwards,
        &[
            "volume::list_is_sorted_by_name",
            "volume::snapshots_are_listed_oldest_first",
            "node::list_is_sorted_by_name_and_application",
            "image::list_is_sorted_by_name_and_version",
        ],
    ),
    (
        Bug::IgnoresContext,
        &[
            "volume::ended_context_has_no_effect",
            "volume::hanging_call_ends_when_cancelled",
            "volume::hanging_call_ends_at_the_deadline",
            "node::ended_context_has_no_effect",
            "node::hanging_node_ends_when_cancelled",
            "image::ended_context_has_no_effect",
            "image::hanging_build_ends_at_the_deadline",
        ],
    ),
    (
        Bug::ResendsBlindly,
        &[
            "volume::create_twice_is_the_same_volume",
            "volume::create_twice_at_once_makes_one",
            "volume::create_with_a_lost_reply_makes_one",
            "volume::cancelled_create_is_finished_by_the_next",
            "node::deploy_twice_is_the_same_node",
            "node::dropped_deploy_is_finished_by_the_next",
            "image::build_twice_is_the_same_image",
            "image::late_build_is_finished_by_the_next",
        ],
    ),
    (
        Bug::TakesWhatIsThere,
        &[
            "volume::name_of_another_request_already_exists",
            "node::name_of_another_request_already_exists",
            "image::name_of_another_request_already_exists",
        ],
    ),
    (
        Bug::ReadyBeforeComplete,
        &[
            "volume::half_made_volume_is_finished_by_a_second_create",
            "node::half_made_node_is_finished_by_a_second_deploy",
            "image::half_made_image_is_finished_by_a_second_build",
        ],
    ),
    (
        Bug::GoneIsFine,
        &[
            "volume::destroy_twice_is_not_found",
            "volume::destroy_unknown_is_not_found",
            "volume::detach_twice_is_not_found",
            "node::destroy_twice_is_not_found",
            "image::delete_twice_is_not_found",
        ],
    ),
    (
        Bug::DestroysAttached,
        &["volume::destroy_attached_is_a_conflict", "image::delete_in_use_is_a_conflict"],
    ),
    (Bug::StealsVolumes, &["volume::attach_elsewhere_is_a_conflict"]),
    (Bug::AlwaysWritable, &["volume::read_only_shows", "volume::read_only_cannot_be_written"]),
    (Bug::LosesData, &["volume::data_survives_reattach", "volume::data_follows_to_another_node"]),
    (Bug::TellsTheSizeAskedFor, &["volume::size_is_rounded_up"]),
    (Bug::ClaimsToResize, &["volume::grow_shows", "volume::resize_attached_is_a_conflict"]),
    (Bug::SilentlyPoor, &["volume::take_over_is_unsupported", "volume::read_only_is_unsupported"]),
    (Bug::LosesOutcomes, &["node::one_failing_node_does_not_stop_the_others"]),
    (Bug::SortsOutcomes, &["node::deploy_answers_in_the_order_of_the_names"]),
    (Bug::OneFailsAll, &["node::one_failing_node_does_not_stop_the_others"]),
    (Bug::ClaimsToStop, &["node::stop_and_start_show"]),
    (Bug::CutsAtOnce, &["node::stop_waits_for_the_grace_and_no_longer"]),
    (Bug::StartsTheStopped, &["node::deploy_leaves_a_stopped_node_stopped"]),
    (Bug::IgnoresTheImage, &["node::deploy_of_another_image_is_a_conflict"]),
    (Bug::SharesNames, &["node::name_of_another_application_is_free"]),
    (Bug::KeepsVolumesOfTheGone, &["node::destroy_detaches_volumes_that_stay"]),
    (Bug::BuildsFromAnything, &["image::missing_source_is_not_found"]),
    (Bug::HidesBrokenSources, &["image::broken_source_is_never_ready"]),
];

fn backend(bug: Bug) -> MemoryBackend {
    let backend = MemoryBackend::new();
    if bug != Bug::SilentlyPoor {
        return backend;
    }
    let mut poor = VolumeCapabilities::default();
    poor.min_size = 16;
    backend.with_volume_capabilities(poor)
}

fn suites(bug: Bug) -> [Suite; 3] {
    let make = move || backend(bug);
    let layer = move |inner| Buggy::new(inner, bug);
    let sample = make();
    [
        volume_driver::suite("", &memory::volume_options(&sample), move || {
            memory::volume_subject(make(), layer)
        }),
        provisioner::suite("", &memory::node_options(&sample), move || {
            memory::node_subject(make(), layer)
        }),
        image_builder::suite("", &memory::image_options(&sample), move || {
            memory::image_subject(make(), layer)
        }),
    ]
}

/// Runs the case `node::name` on a backend with this bug.
async fn outcome(bug: Bug, case: &str) -> Result<Outcome, Failure> {
    let (kind, name) = case.split_once("::").unwrap_or(("", case));
    let full = format!("{kind}::::{name}");
    let suites = suites(bug);
    let mut cases = suites.iter().flat_map(Suite::cases);
    let Some(case) = cases.find(|case| case.name() == full) else {
        return Err(Failure::new(format!("there is no case '{full}'")));
    };
    ensure(case.ignored().is_none(), format!("'{full}' is ignored"))?;
    Ok(case.run().await)
}

async fn catches(bug: Bug, case: &str) -> Outcome {
    let sound = if bug == Bug::SilentlyPoor { None } else { Some(Bug::None) };
    if let Some(sound) = sound {
        outcome(sound, case).await?.map_err(|failure| failure.context("without the bug"))?;
    }
    ensure(outcome(bug, case).await?.is_err(), format!("{case} passes with {bug:?}"))
}

fn main() -> ExitCode {
    let mut suite = Suite::new("catches");
    for (bug, cases) in BUGS {
        for case in *cases {
            suite = suite.test(&format!("{bug:?}::{case}"), move || catches(*bug, case));
        }
    }
    run([suite])
}
