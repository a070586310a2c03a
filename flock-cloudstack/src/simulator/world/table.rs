//! Records by id, in the order in which they were made.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

/// Records by id. They are listed in the order of their making, which is how
/// CloudStack orders most lists.
#[derive(Debug)]
pub(crate) struct Table<T> {
    records: BTreeMap<u64, T>,
    places: HashMap<Uuid, u64>,
    next: u64,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { records: BTreeMap::new(), places: HashMap::new(), next: 1 }
    }
}

impl<T> Table<T> {
    /// The number that the next record gets, CloudStack's internal id.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    pub(crate) fn insert(&mut self, id: Uuid, record: T) {
        self.places.insert(id, self.next);
        self.records.insert(self.next, record);
        self.next += 1;
    }

    pub(crate) fn get(&self, id: Uuid) -> Option<&T> {
        self.places.get(&id).and_then(|place| self.records.get(place))
    }

    pub(crate) fn get_mut(&mut self, id: Uuid) -> Option<&mut T> {
        self.places.get(&id).and_then(|place| self.records.get_mut(place))
    }

    pub(crate) fn remove(&mut self, id: Uuid) -> Option<T> {
        self.places.remove(&id).and_then(|place| self.records.remove(&place))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.records.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.records.values_mut()
    }
}

impl<T> FromIterator<(Uuid, T)> for Table<T> {
    fn from_iter<I: IntoIterator<Item = (Uuid, T)>>(records: I) -> Self {
        let mut table = Self::default();
        records.into_iter().for_each(|(id, record)| table.insert(id, record));
        table
    }
}
