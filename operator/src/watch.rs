//! What the API server has, as this process last heard. It only wakes the controllers: no verdict, claim, release or
//! send is decided on it. One object that does not decode harms only itself.

mod index;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::core::DeserializeGuard;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api as KubeApi, Client, Resource};
use prometheus::IntCounter;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::Key;
use crate::error::{is_definition_missing, of_list, without_values};
use crate::telemetry::{Gate, Heartbeat};

pub use index::{Index, Mark};

/// What a watch tells about itself.
pub struct Signs {
    /// Opened once everything was listed.
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

/// Keeps an index of the selected objects up to date until cancelled, and tells about every one that appears, changes or goes.
pub async fn follow<K>(
    client: Client,
    namespaces: Option<String>,
    selected: watcher::Config,
    index: Arc<Index<K>>,
    Signs { ready, heartbeat, errors }: Signs,
    cancel: CancellationToken,
    tell: impl Fn(&Key, Option<&Arc<K>>, Option<&Arc<K>>) + Send,
) where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let api: KubeApi<DeserializeGuard<K>> = match namespaces {
        Some(namespace) => KubeApi::namespaced(client, &namespace),
        None => KubeApi::all(client),
    };
    let config = selected.timeout(WATCH_SECONDS).page_size(100);
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut listed: HashSet<Key> = HashSet::new();
    let mut trouble: Option<(String, Instant)> = None;
    let mut tick = tokio::time::interval(Duration::from_secs(5));
    loop {
        let event = tokio::select! {
            () = cancel.cancelled() => return,
            _ = tick.tick() => { heartbeat.beat(); continue }
            event = events.next() => event,
        };
        heartbeat.beat();
        let apply = |object: DeserializeGuard<K>| -> Key {
            let key = Key::of(&object);
            match object.0 {
                Ok(mut object) => {
                    object.meta_mut().managed_fields = None;
                    let new = Arc::new(object);
                    let old = index.insert(&key, Arc::clone(&new));
                    tell(&key, old.as_ref(), Some(&new));
                }
                Err(error) => {
                    warn!(namespace = %key.namespace, name = %key.name, error = without_values(&error.error), "this object cannot be read and is left alone; correct it or delete it");
                }
            }
            key
        };
        let remove = |key: &Key| {
            if let Some(old) = index.remove(key) {
                tell(key, Some(&old), None);
            }
        };
        if matches!(event, Some(Ok(watcher::Event::InitDone | watcher::Event::Apply(_) | watcher::Event::Delete(_)))) {
            ready.open();
            if trouble.take().is_some() {
                info!(kind = %K::kind(&()), "the watch works again");
            }
        }
        match event {
            Some(Ok(watcher::Event::Init)) => listed.clear(),
            Some(Ok(watcher::Event::InitApply(object))) => {
                listed.insert(apply(object));
            }
            Some(Ok(watcher::Event::InitDone)) => {
                // What is not listed any more was deleted while nobody watched.
                index.others(&listed).iter().for_each(&remove);
            }
            Some(Ok(watcher::Event::Apply(object))) => {
                apply(object);
            }
            Some(Ok(watcher::Event::Delete(object))) => remove(&Key::of(&object)),
            Some(Err(error)) => {
                errors.inc();
                // An API server that is away comes back. A kind that is gone does not, without a person.
                if is_definition_missing(&error) {
                    ready.close();
                }
                let error = of_list(&error);
                if trouble.as_ref().is_none_or(|(told, at)| *told != error || at.elapsed() >= REPEAT) {
                    warn!(kind = %K::kind(&()), error, "the watch failed and is begun again");
                    trouble = Some((error, Instant::now()));
                }
            }
            None => return,
        }
    }
}
