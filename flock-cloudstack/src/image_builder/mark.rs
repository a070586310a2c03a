//! The owner, written into a template's display text.
//!
//! Tags are put on a template by a second request, so a template may be there
//! without them: the process was killed in between, or the first reply got
//! lost. What is in the display text is there from the first moment on. It
//! only counts while there are no tags.

use flock_core::Owner;
use url::form_urlencoded::{Serializer, parse};

const BEGIN: &str = " [flock ";
const END: char = ']';

/// The display text with the owner behind it.
pub(super) fn write(text: &str, owner: &Owner) -> String {
    let mut pairs = Serializer::new(String::new());
    pairs.extend_pairs(owner.to_pairs());
    format!("{text}{BEGIN}{}{END}", pairs.finish())
}

/// The owner that a display text names.
pub(super) fn read(text: &str) -> Option<Owner> {
    let (_, mark) = text.trim_end().strip_suffix(END)?.rsplit_once(BEGIN)?;
    Owner::from_pairs(&parse(mark.as_bytes()).into_owned().collect())
}

#[cfg(test)]
mod tests {
    use flock_core::RequestId;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_owner_is_read_back(text in "\\PC*", namespace in "\\PC*", app in "\\PC*") {
            let owner = Owner::new(namespace, app, RequestId::random());
            let marked = write(&text, &owner);
            prop_assert!(marked.starts_with(&text));
            prop_assert_eq!(read(&marked), Some(owner));
        }

        #[test]
        fn other_texts_name_nobody(text in "\\PC*") {
            prop_assert_eq!(read(&text), None);
            prop_assert_eq!(read(&format!("{text}{BEGIN}{text}{END}")), None);
        }
    }
}
