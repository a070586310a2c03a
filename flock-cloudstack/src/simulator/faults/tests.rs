use super::*;
use crate::simulator::request::Request;

fn faults() -> Faults {
    Faults::new(Arc::default())
}

fn meet(faults: &Faults, command: &str) -> Option<Fault> {
    let request = Request::parse(false, b"name=web-1", b"");
    faults.meet(&Asked::new(command, command == "deployVirtualMachine", &request))
}

#[test]
fn rules_choose_requests() {
    let faults = faults();
    let named = |name: &'static str| {
        FaultRule::new(Fault::LoseReply)
            .with_command("listZones")
            .with_predicate(move |asked| asked.parameter("name") == Some(name))
            .with_skip(1)
            .with_times(2)
    };
    faults.add(named("web-1"));
    faults.add(named("web-2"));
    let met: Vec<_> = (0..5).map(|_| meet(&faults, "listZones").is_some()).collect();
    assert_eq!(met, [false, true, true, false, false]);
    assert_eq!(meet(&faults, "listTemplates"), None);
    assert_eq!(faults.happened(), BTreeMap::from([("lose_reply", 2)]));
}

#[test]
fn a_fault_of_jobs_waits_for_one() {
    let faults = faults();
    faults.add(FaultRule::new(Fault::FailJobHalfWay).with_times(1));
    assert_eq!(meet(&faults, "listZones"), None);
    assert_eq!(meet(&faults, "deployVirtualMachine"), Some(Fault::FailJobHalfWay));
    faults.once(UPLOAD, Fault::CutUpload { after: 7 });
    assert_eq!(meet(&faults, "deployVirtualMachine"), None);
    faults.clear();
    assert_eq!(meet(&faults, UPLOAD), None);
}

#[test]
fn a_plan_comes_again_with_its_seed() {
    let run = |seed: u64, rate: f64| {
        let faults = faults();
        faults.set_plan(FaultPlan::random(seed, rate));
        (0..1000).map(|_| meet(&faults, "listZones")).collect::<Vec<_>>()
    };
    assert_eq!(run(1, 0.1), run(1, 0.1));
    assert_ne!(run(1, 0.1), run(2, 0.1));
    let count = run(1, 0.1).iter().flatten().count();
    assert!((60..140).contains(&count), "{count}");
    assert_eq!(run(1, 0.0).iter().flatten().count(), 0);
    assert_eq!(run(1, 1.0).iter().flatten().count(), 1000);
}

#[test]
fn a_plan_ends_where_it_is_told_to() {
    let faults = faults();
    let lost = FaultPlan::random(3, 1.0).with_faults([Fault::LoseReply]).with_times(5);
    faults.set_plan(lost);
    let met = (0..10).filter_map(|_| meet(&faults, "listZones")).count();
    assert_eq!(met, 5);
}
