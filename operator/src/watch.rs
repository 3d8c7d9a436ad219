//! What the API server has, as this process last heard. It only wakes the controllers: no verdict, claim, release or
//! send is decided on it. One object that does not decode harms only itself.

mod index;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use kube::core::DeserializeGuard;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api as KubeApi, Client, Resource};
use prometheus::IntCounter;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::Key;
use crate::error::{is_definition_missing, of_list, without_values};
use crate::scope::Scope;
use crate::telemetry::{Gate, Heartbeat};

pub use index::{Index, Mark};

/// A kind that can be watched: one whose objects are in namespaces.
pub trait Watched:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// What a watch tells about itself.
pub struct Signs {
    /// Open once everything was listed, in all namespaces.
    pub ready: Gate,
    /// That it is alive.
    pub heartbeat: Heartbeat,
    /// Lists and watches that failed.
    pub errors: IntCounter,
}

/// Watches end, and are begun again, after this time: a connection that died silently is found out.
const WATCH_SECONDS: u32 = 200;
/// The same trouble is told again only after this time.
const REPEAT: Duration = Duration::from_secs(60);

/// Keeps an index of the selected objects of all namespaces this process works in up to date until cancelled, and tells
/// about every one that appears, changes or goes. Each namespace is listed and watched by itself.
pub async fn follow<K: Watched>(
    client: Client,
    scope: Scope,
    selected: watcher::Config,
    index: Arc<Index<K>>,
    Signs { ready, heartbeat, errors }: Signs,
    cancel: CancellationToken,
    tell: impl Fn(&Key, Option<&Arc<K>>, Option<&Arc<K>>) + Send,
) {
    let config = selected.timeout(WATCH_SECONDS).page_size(100);
    let mut parts: Vec<Part<'_, K>> = scope.parts().into_iter().map(|of| Part::new(of, &index)).collect();
    let streams = parts.iter().enumerate().map(|(at, part)| {
        let api: KubeApi<DeserializeGuard<K>> = match part.namespace {
            Some(namespace) => KubeApi::namespaced(client.clone(), namespace),
            None => KubeApi::all(client.clone()),
        };
        let events = watcher(api, config.clone()).default_backoff().map(Some);
        // An end is told: without one of them not everything is watched.
        events.chain(stream::iter([None])).map(move |event| (at, event)).boxed()
    });
    let mut events = stream::select_all(streams.collect::<Vec<_>>());
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return,
            _ = tick.tick() => { heartbeat.beat(); continue }
            event = events.next() => event,
        };
        heartbeat.beat();
        let Some((at, Some(event))) = event else { return };
        let Some(part) = parts.get_mut(at) else { return };
        if event.is_err() {
            errors.inc();
        }
        part.take(event, &tell);
        index.set_whole(is_whole(&parts));
        if index.is_whole() {
            ready.open();
        } else {
            ready.close();
        }
    }
}

/// What is watched by itself: a namespace, or all of them at once.
struct Part<'a, K> {
    namespace: Option<&'a str>,
    index: &'a Index<K>,
    /// What the list that is read has so far.
    listed: HashSet<Key>,
    /// Whether it was listed, and its kind was not gone since. One that may not be read any more keeps what was known of it.
    is_known: bool,
    /// What was told last of it, and when.
    trouble: Option<(String, Instant)>,
}

/// Whether nothing is missing: one namespace that was not listed yet may hold what another one is judged by.
fn is_whole<K>(parts: &[Part<'_, K>]) -> bool {
    parts.iter().all(|part| part.is_known)
}

impl<'a, K> Part<'a, K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone,
{
    fn new(namespace: Option<&'a str>, index: &'a Index<K>) -> Self {
        Self { namespace, index, listed: HashSet::new(), is_known: false, trouble: None }
    }

    /// What was heard of it.
    fn take(
        &mut self,
        event: Result<watcher::Event<DeserializeGuard<K>>, watcher::Error>,
        tell: &impl Fn(&Key, Option<&Arc<K>>, Option<&Arc<K>>),
    ) {
        let event = match event {
            Ok(event) => event,
            Err(error) => return self.fail(&error),
        };
        if matches!(event, watcher::Event::InitDone | watcher::Event::Apply(_) | watcher::Event::Delete(_)) {
            self.is_known = true;
            if self.trouble.take().is_some() {
                info!(kind = %K::kind(&()), namespace = self.namespace, "the watch works again");
            }
        }
        match event {
            watcher::Event::Init => self.listed.clear(),
            watcher::Event::InitApply(object) => {
                let key = self.apply(object, tell);
                self.listed.insert(key);
            }
            watcher::Event::InitDone => {
                // What is not listed any more was deleted while nobody watched. Of other namespaces this list says nothing.
                for key in self.index.others(self.namespace, &self.listed) {
                    self.remove(&key, tell);
                }
            }
            watcher::Event::Apply(object) => {
                self.apply(object, tell);
            }
            watcher::Event::Delete(object) => self.remove(&Key::of(&object), tell),
        }
    }

    fn apply(&self, object: DeserializeGuard<K>, tell: &impl Fn(&Key, Option<&Arc<K>>, Option<&Arc<K>>)) -> Key {
        let key = Key::of(&object);
        match object.0 {
            Ok(mut object) => {
                object.meta_mut().managed_fields = None;
                let new = Arc::new(object);
                let old = self.index.insert(&key, Arc::clone(&new));
                tell(&key, old.as_ref(), Some(&new));
            }
            Err(error) => {
                warn!(namespace = %key.namespace, name = %key.name, error = without_values(&error.error), "this object cannot be read and is left alone; correct it or delete it");
            }
        }
        key
    }

    fn remove(&self, key: &Key, tell: &impl Fn(&Key, Option<&Arc<K>>, Option<&Arc<K>>)) {
        if let Some(old) = self.index.remove(key) {
            tell(key, Some(&old), None);
        }
    }

    fn fail(&mut self, error: &watcher::Error) {
        // An API server that is away comes back. A kind that is gone does not, without a person.
        if is_definition_missing(error) {
            self.is_known = false;
        }
        let error = of_list(error);
        if self.trouble.as_ref().is_none_or(|(told, at)| *told != error || at.elapsed() >= REPEAT) {
            warn!(kind = %K::kind(&()), namespace = self.namespace, error, "the watch failed and is begun again");
            self.trouble = Some((error, Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    type Event = watcher::Event<DeserializeGuard<ConfigMap>>;

    fn object(namespace: &str, name: &str) -> DeserializeGuard<ConfigMap> {
        let object =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "namespace": namespace, "name": name } });
        DeserializeGuard(Ok(serde_json::from_value(object).unwrap()))
    }

    fn failed(code: u16) -> watcher::Error {
        let status = Status { code, message: "no".into(), ..Status::default() };
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn a_list_says_nothing_of_what_is_in_other_namespaces() {
        let index = Index::default();
        let (mut a, mut b) = (Part::new(Some("a"), &index), Part::new(Some("b"), &index));
        let gone = RefCell::new(Vec::new());
        let tell = |key: &Key, _: Option<&Arc<ConfigMap>>, new: Option<&Arc<ConfigMap>>| {
            if new.is_none() {
                gone.borrow_mut().push(key.to_string());
            }
        };
        let list = |part: &mut Part<'_, ConfigMap>, objects: Vec<DeserializeGuard<ConfigMap>>| {
            part.take(Ok(Event::Init), &tell);
            for object in objects {
                part.take(Ok(Event::InitApply(object)), &tell);
            }
            part.take(Ok(Event::InitDone), &tell);
        };
        list(&mut a, vec![object("a", "stays"), object("a", "goes")]);
        list(&mut b, vec![object("b", "one"), object("b", "goes")]);
        // The watch of a is cut; when it is listed again an object is not there any more.
        a.take(Err(failed(500)), &tell);
        list(&mut a, vec![object("a", "stays")]);
        assert_eq!(*gone.borrow(), ["a/goes"]);
        b.take(Ok(Event::Delete(object("b", "goes"))), &tell);
        assert_eq!(*gone.borrow(), ["a/goes", "b/goes"]);
        let mut left: Vec<String> = index.all().iter().map(|o| Key::of(o.as_ref()).to_string()).collect();
        left.sort_unstable();
        assert_eq!(left, ["a/stays", "b/one"]);
        // One that watches everything knows what is gone anywhere.
        let mut all = Part::new(None, &index);
        list(&mut all, vec![object("b", "one")]);
        assert_eq!(gone.borrow().last().unwrap(), "a/stays");
    }

    #[test]
    fn one_namespace_that_was_not_listed_leaves_the_whole_unknown() {
        let index: Index<ConfigMap> = Index::default();
        let mut parts = [Part::new(Some("a"), &index), Part::new(Some("b"), &index)];
        let nobody = |_: &Key, _: Option<&Arc<ConfigMap>>, _: Option<&Arc<ConfigMap>>| {};
        for (at, event, whole) in [
            (0, Ok(Event::InitDone), false),
            (1, Err(failed(403)), false),
            (1, Ok(Event::InitDone), true),
            (1, Err(failed(403)), true),
            (0, Err(failed(404)), false),
        ] {
            let told = format!("{at}: {event:?}");
            parts[at].take(event, &nobody);
            assert_eq!(is_whole(&parts), whole, "{told}");
        }
    }

    #[test]
    fn a_namespace_is_known_from_its_list_on_until_its_kind_is_gone() {
        let index: Index<ConfigMap> = Index::default();
        let mut part = Part::new(Some("a"), &index);
        let mut known = |event| {
            part.take(event, &|_, _, _| {});
            part.is_known
        };
        assert!(!known(Err(failed(403))));
        assert!(!known(Ok(Event::Init)));
        assert!(!known(Ok(Event::InitApply(object("a", "b")))));
        assert!(known(Ok(Event::InitDone)));
        assert!(known(Err(failed(500))), "what was heard is still known");
        assert!(!known(Err(failed(404))), "the definition is missing");
        assert!(known(Ok(Event::InitDone)));
    }
}
