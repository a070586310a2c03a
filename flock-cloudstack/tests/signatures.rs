//! Signatures are those that CloudStack computes.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use flock_cloudstack::signature::{sign, string_to_sign};
use flock_core::secret::Secret;
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

/// See `data/make-signatures`, which says the same in another language.
#[derive(Deserialize)]
struct Vector {
    why: String,
    parameters: BTreeMap<String, String>,
    secret: String,
    string_to_sign: String,
    signature: String,
}

#[test]
fn every_vector_is_signed_as_cloudstack_does() {
    let vectors: Vectors = serde_json::from_str(include_str!("data/signatures.json")).unwrap();
    assert!(vectors.vectors.len() > 20);
    for Vector { why, parameters, secret, string_to_sign: text, signature } in vectors.vectors {
        let pairs = || parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        assert_eq!(string_to_sign(pairs()), text, "{why}");
        assert_eq!(sign(pairs(), &Secret::new(secret)), signature, "{why}");
    }
}

#[test]
fn the_order_of_the_parameters_does_not_matter() {
    let one = [("command", "listZones"), ("apikey", "k"), ("Zone", "z"), ("a", "1")];
    let mut other = one;
    other.reverse();
    assert_eq!(string_to_sign(one), string_to_sign(other));
    assert_eq!(string_to_sign(one), "zone=z&a=1&apikey=k&command=listzones");
}
