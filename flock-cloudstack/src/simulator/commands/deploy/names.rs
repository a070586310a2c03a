//! What machines may be called.

use uuid::Uuid;

use crate::simulator::error::ApiError;
use crate::simulator::world::World;

/// A machine's name is its host name: a label of RFC 1123 that does not begin
/// with a digit.
pub(crate) fn check_host_name(name: &str) -> Result<(), ApiError> {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_valid = (1..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && !name.ends_with('-');
    match is_valid {
        true => Ok(()),
        false => Err(ApiError::parameter(format!(
            "Invalid name {name}. Vm name can contain ASCII letters 'a' through 'z', the digits \
             '0' through '9', and the hyphen ('-'), must be between 1 and 63 characters long, \
             and can't start or end with \"-\" and can't start with digit"
        ))),
    }
}

/// Refuses a name that another machine has in one of these networks; a
/// destroyed one keeps its name until it is expunged.
pub(crate) fn check_unique(world: &World, networks: &[Uuid], name: &str) -> Result<(), ApiError> {
    let lower = name.to_ascii_lowercase();
    let has = |id: &Uuid| world.networks.get(*id).filter(|one| one.names.contains(&lower));
    match networks.iter().find_map(has) {
        None => Ok(()),
        Some(network) => Err(ApiError::parameter(format!(
            "The vm with hostName {name} already exists in the network domain: cs.internal; \
             network={}",
            network.name
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::check_host_name;

    #[test]
    fn names_are_host_names() {
        let longest = "a".repeat(63);
        for name in ["a", "web-01", "A1", longest.as_str()] {
            assert_eq!(check_host_name(name), Ok(()), "{name}");
        }
        let longer = "a".repeat(64);
        for name in ["", "-a", "a-", "1a", "a_b", "a.b", "ä", "a b", longer.as_str()] {
            assert_eq!(check_host_name(name).unwrap_err().code, 431, "{name}");
        }
    }
}
