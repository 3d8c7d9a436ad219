//! Values that are kept once, for as long as the program runs. Objects of the API are large; a state of the world holds
//! them as one pointer with the hash of their text, so that states are copied, compared and hashed cheaply.

use std::collections::hash_map::DefaultHasher;
use std::fmt::{self, Debug, Write};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::LazyLock;

use dashmap::DashMap;
use printernizer_crds::print_job::StartIntent;
use printernizer_crds::{PrintJobStatus, PrinterStatus};
use printernizer_rules::device::DeviceReport;
use printernizer_rules::print_job::Watch;
use printernizer_rules::print_job::gate::Closed;

use crate::ids::{self, Ids};
use crate::operator::Step;

struct Node<T> {
    hash: u64,
    ids: Ids,
    value: T,
}

/// A kept value. Two are equal when their texts are, as far as 64 bits tell.
pub struct Kept<T: 'static>(&'static Node<T>);

/// What can be kept.
pub trait Keepable: Debug + Sized + Send + Sync + 'static {
    /// All that are kept of this kind.
    fn table() -> &'static DashMap<u64, Kept<Self>>;
    /// The random ids it holds.
    fn ids(&self) -> Ids {
        Ids::default()
    }
}

/// Text that is hashed as it is written.
struct Hashed(DefaultHasher);

impl Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

impl<T: Keepable> Kept<T> {
    /// Keeps a value, unless an equal one is kept already.
    pub fn new(value: T) -> Self {
        let mut text = Hashed(DefaultHasher::new());
        // Writing into a hasher cannot fail.
        let _ = write!(text, "{value:?}");
        let hash = text.0.finish();
        if let Some(known) = T::table().get(&hash) {
            return *known;
        }
        *T::table().entry(hash).or_insert_with(|| {
            let ids = value.ids();
            Kept(Box::leak(Box::new(Node { hash, ids, value })))
        })
    }

    /// The random ids it holds.
    pub fn ids(self) -> Ids {
        self.0.ids
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Kept<T> {}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash
    }
}

impl<T> Eq for Kept<T> {}

impl<T> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: Debug> Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

/// What was computed before.
pub type Known<K, V> = LazyLock<DashMap<K, V>>;

/// What was computed before, or what is computed now. The same key must always give the same value.
pub fn once<K: Eq + Hash, V: Copy>(known: &DashMap<K, V>, key: K, compute: impl FnOnce(&K) -> V) -> V {
    if let Some(value) = known.get(&key) {
        return *value;
    }
    let value = compute(&key);
    known.insert(key, value);
    value
}

macro_rules! keepable {
    ($($type:ty, $ids:expr;)+) => { $(
        impl Keepable for $type {
            fn table() -> &'static DashMap<u64, Kept<Self>> {
                static TABLE: LazyLock<DashMap<u64, Kept<$type>>> = LazyLock::new(DashMap::new);
                &TABLE
            }
            fn ids(&self) -> Ids {
                let ids: fn(&$type) -> Ids = $ids;
                ids(self)
            }
        }
    )+ };
}

keepable! {
    PrintJobStatus, ids::of_job;
    PrinterStatus, ids::of_printer;
    StartIntent, |_| Ids::default();
    DeviceReport, |_| Ids::default();
    Watch, |_| Ids::default();
    Closed, |_| Ids::default();
    Vec<Step>, |steps| steps.iter().fold(Ids::default(), |all, step| all.and(step.ids()));
}
