//! A reply of CloudStack: whatever it holds, the answer is what is in its
//! envelope or an error, and what is in it can be looked at.
#![no_main]

use flock_cloudstack::{Started, api, open_reply};
use libfuzzer_sys::fuzz_target;
use serde::de::DeserializeOwned;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let reply = match open_reply("listZones", body) {
        Ok(reply) => reply,
        Err(error) => {
            assert!(error.to_string().starts_with("listZones: "), "{error}");
            assert_eq!(error.backend(), Some("cloudstack"));
            return;
        }
    };
    assert!(reply.is_object(), "{reply}");
    let _ = Started::from_reply(&reply);
    let members = reply.as_object().into_iter().flat_map(|members| members.values());
    for item in members.flat_map(|member| member.as_array().into_iter().flatten().chain([member])) {
        read(item);
    }
});

fn read(item: &Value) {
    fn as_<T: DeserializeOwned>(item: &Value) {
        let _ = serde_json::from_value::<T>(item.clone());
    }
    as_::<api::Zone>(item);
    as_::<api::Hypervisor>(item);
    as_::<api::OsType>(item);
    as_::<api::ServiceOffering>(item);
    as_::<api::DiskOffering>(item);
    as_::<api::Network>(item);
    as_::<api::SecurityGroup>(item);
    as_::<api::Volume>(item);
    as_::<api::Snapshot>(item);
}
