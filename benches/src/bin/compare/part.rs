//! What can be compared by itself.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::ways::Group;

/// A part of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Appliances of one kind.
    Appliances(Group),
    /// Nodes and uploads.
    CloudStack,
}

const ALL: [Part; 8] = [
    Part::Appliances(Group::Plain),
    Part::Appliances(Group::Gzip),
    Part::Appliances(Group::Zstd),
    Part::Appliances(Group::CompressedBase),
    Part::Appliances(Group::Raw),
    Part::Appliances(Group::FixedVhd),
    Part::Appliances(Group::DynamicVhd),
    Part::CloudStack,
];

impl ValueEnum for Part {
    fn value_variants<'a>() -> &'a [Self] {
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Appliances(group) => group.to_possible_value(),
            Self::CloudStack => {
                let about = "Nodes on a simulated CloudStack, and uploads to a web server";
                Some(PossibleValue::new("cloudstack").help(about))
            }
        }
    }
}
