//! All objects of one kind as last heard, found by name, or by what marks a few among thousands.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::api::Key;

/// What objects are found by beside their names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// The serial number of a device.
    Device(String),
    /// The UID of a PrintJob that is claimed.
    Claim(String),
}

/// All objects of one kind, as last heard.
pub struct Index<K> {
    objects: RwLock<Objects<K>>,
    marks: fn(&K) -> Vec<Mark>,
    is_whole: AtomicBool,
}

struct Objects<K> {
    all: HashMap<Key, Arc<K>>,
    marked: HashMap<Mark, BTreeSet<Key>>,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self::marked_by(|_| Vec::new())
    }
}

impl<K> Index<K> {
    /// An index whose objects are also found by these marks of theirs.
    pub fn marked_by(marks: fn(&K) -> Vec<Mark>) -> Self {
        let objects = RwLock::new(Objects { all: HashMap::new(), marked: HashMap::new() });
        Self { objects, marks, is_whole: AtomicBool::new(false) }
    }

    /// Whether everything was listed: until then what is not found here may be there.
    pub fn is_whole(&self) -> bool {
        self.is_whole.load(Ordering::Acquire)
    }

    /// Notes whether everything was listed.
    pub(super) fn set_whole(&self, is_whole: bool) {
        self.is_whole.store(is_whole, Ordering::Release);
    }

    fn read<T>(&self, f: impl FnOnce(&Objects<K>) -> T) -> T {
        f(&self.objects.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read(|objects| objects.all.get(key).cloned())
    }

    /// All objects.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.read(|objects| objects.all.values().cloned().collect())
    }

    /// The first object that is found to be this; all are asked.
    pub fn find(&self, wanted: impl Fn(&K) -> bool) -> Option<Arc<K>> {
        self.read(|objects| objects.all.values().find(|object| wanted(object)).cloned())
    }

    /// The objects with this mark, in the order of their keys.
    pub fn marked(&self, mark: &Mark) -> Vec<Arc<K>> {
        self.read(|objects| {
            let keys = objects.marked.get(mark).into_iter().flatten();
            keys.filter_map(|key| objects.all.get(key)).cloned().collect()
        })
    }

    /// The keys of all objects of a namespace, or of all, but these.
    pub(super) fn others(&self, namespace: Option<&str>, than: &HashSet<Key>) -> Vec<Key> {
        let is = |key: &&Key| namespace.is_none_or(|name| key.namespace == name) && !than.contains(*key);
        self.read(|objects| objects.all.keys().filter(is).cloned().collect())
    }

    /// Puts an object in place of what was there under its name.
    pub(super) fn insert(&self, key: &Key, object: Arc<K>) -> Option<Arc<K>> {
        self.replace(key, Some(object))
    }

    /// Removes the object of this name.
    pub(super) fn remove(&self, key: &Key) -> Option<Arc<K>> {
        self.replace(key, None)
    }

    fn replace(&self, key: &Key, object: Option<Arc<K>>) -> Option<Arc<K>> {
        let marks = object.as_deref().map(self.marks).unwrap_or_default();
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let Objects { all, marked } = &mut *objects;
        let before = match object {
            Some(object) => all.insert(key.clone(), object),
            None => all.remove(key),
        };
        for mark in before.as_deref().map(self.marks).unwrap_or_default() {
            if let Some(keys) = marked.get_mut(&mark).filter(|_| !marks.contains(&mark)) {
                keys.remove(key);
                if keys.is_empty() {
                    marked.remove(&mark);
                }
            }
        }
        for mark in marks {
            marked.entry(mark).or_default().insert(key.clone());
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_found_by_the_marks_it_has_now_and_by_no_other() {
        let index: Index<Vec<&str>> =
            Index::marked_by(|serials| serials.iter().map(|s| Mark::Device((*s).to_owned())).collect());
        let [one, other] = ["one", "other"].map(|name| Key::new("farm", name));
        let by = |serial: &str| -> Vec<Vec<&str>> {
            index.marked(&Mark::Device(serial.to_owned())).iter().map(|found| found.to_vec()).collect()
        };
        assert_eq!(index.insert(&one, Arc::new(vec!["1", "2"])), None);
        index.insert(&other, Arc::new(vec!["2"]));
        assert_eq!((by("1"), by("2").len(), by("3").len()), (vec![vec!["1", "2"]], 2, 0));
        assert_eq!(index.marked(&Mark::Claim("1".to_owned())), Vec::<Arc<Vec<&str>>>::new(), "another kind of mark");
        let before = index.insert(&one, Arc::new(vec!["2", "3"]));
        assert_eq!(before.as_deref(), Some(&vec!["1", "2"]));
        assert_eq!((by("1").len(), by("2").len(), by("3")), (0, 2, vec![vec!["2", "3"]]));
        index.remove(&one);
        assert_eq!((by("2"), by("3").len()), (vec![vec!["2"]], 0));
        index.remove(&other);
        assert!(index.read(|o| o.all.is_empty() && o.marked.is_empty()), "nothing is kept of what is gone");
    }
}
