//! The one way to the API server: quorum reads, and writes that ask leadership first. Every call has a timeout.
//!
//! Statuses are written by `replace` with the resourceVersion they were decided on, never by apply or merge: an apply
//! by a paused old leader would erase an intent. A 409 means: observe again.

mod error;
mod objects;
mod status;

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api as KubeApi, Client, Resource, ResourceExt};
use printernizer_crds::{PrintJob, PrintRecord, Printer};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::leadership::Leadership;
use crate::scope::Scope;
use crate::telemetry::Metrics;

pub use error::ApiError;
pub use status::WithStatus;

/// Longest wait for one answer of the API server.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(4);
/// Objects asked for in one call of a list.
const PAGE: u32 = 250;
/// Namespaces that are listed at once: many of them are no reason for a burst.
const LISTS_AT_ONCE: usize = 8;
/// PrintJobs that have not ended. The phase follows from the conditions and is written together with them.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Cancelled";
/// Where a Printer says which device it stands for.
const PRINTER_SERIALS: [&str; 3] =
    ["spec.connection.bambu.serialNumber", "spec.connection.prusaLink.serialNumber", "status.device.serialNumber"];

/// A field selector for this value, whatever it contains.
fn selects(field: &str, value: &str) -> String {
    let escaped: String = value.chars().flat_map(|c| [r"\,=".contains(c).then_some('\\'), Some(c)]).flatten().collect();
    format!("{field}={escaped}")
}

/// Whether this can be the name of an object. A name that people write into a field becomes a part of an address.
fn is_object_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// Whether this can stand between the dots of such a name.
pub(crate) fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().next_back()];
    ends.iter().all(|end| end.is_some_and(plain)) && text.bytes().all(|b| plain(b) || b == b'-')
}

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// The key of this name in this namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Stands for one version of one object: two are the same only if nothing was written in between.
pub fn version<K: Resource>(object: &K) -> u64 {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
    BuildHasherDefault::<DefaultHasher>::default().hash_one((&object.meta().uid, &object.meta().resource_version))
}

/// The API server, as this process may use it.
#[derive(Clone)]
pub struct Api {
    client: Client,
    leadership: Leadership,
    metrics: Metrics,
}

impl Api {
    /// `client` must not retry by itself: a repeated write is not the same write.
    pub fn new(client: Client, leadership: Leadership, metrics: Metrics) -> Self {
        Self { client, leadership, metrics }
    }

    /// The client, for watches.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether this process leads, and for how long yet.
    pub fn leadership(&self) -> &Leadership {
        &self.leadership
    }

    fn of<K>(&self, namespace: &str) -> KubeApi<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        KubeApi::namespaced(self.client.clone(), namespace)
    }

    async fn timed<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ApiError> {
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(result) => result.map_err(ApiError::from),
            Err(_) => Err(ApiError::Timeout),
        }
    }

    /// A write: asks leadership first, with enough lease left for the whole call.
    async fn write<T>(&self, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ApiError> {
        self.leadership.permit(CALL_TIMEOUT)?;
        Self::timed(call).await
    }

    /// Reads one object from the quorum; `None` when it is not there, also because nothing can have this name: the API server
    /// is not asked then.
    pub async fn get<K>(&self, key: &Key) -> Result<Option<K>, ApiError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        if !is_object_name(&key.name) {
            return Ok(None);
        }
        // No resourceVersion in the request: the API server answers from etcd, not from its cache.
        Self::timed(self.of::<K>(&key.namespace).get_opt(&key.name)).await
    }

    /// What `wanted` makes of the objects of a kind in a namespace, or in all, listed from the quorum page by page. Each
    /// is given as JSON: one that cannot be read as its kind must not hide the others, nor what it says itself.
    async fn list<K, T>(
        &self,
        namespace: Option<&str>,
        selected: ListParams,
        wanted: impl Fn(DynamicObject) -> Option<T>,
    ) -> Result<Vec<T>, ApiError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        let resource = ApiResource::erase::<K>(&());
        let objects: KubeApi<DynamicObject> = match namespace {
            Some(namespace) => KubeApi::namespaced_with(self.client.clone(), namespace, &resource),
            None => KubeApi::all_with(self.client.clone(), &resource),
        };
        let mut params = selected.limit(PAGE);
        let mut found = Vec::new();
        loop {
            let page = Self::timed(objects.list(&params)).await?;
            found.extend(page.items.into_iter().filter_map(&wanted));
            let Some(token) = page.metadata.continue_.filter(|token| !token.is_empty()) else { return Ok(found) };
            params = params.continue_token(&token);
        }
    }

    /// What `wanted` makes of the PrintJobs that have not ended and were given to the device with this serial number, in
    /// all namespaces this process works in.
    pub async fn unfinished_jobs_on<T>(
        &self,
        scope: &Scope,
        serial_number: &str,
        wanted: impl Fn(DynamicObject) -> Option<T>,
    ) -> Result<Vec<T>, ApiError> {
        let selector = format!("{UNFINISHED},{}", selects("status.printer.serialNumber", serial_number));
        self.select::<PrintJob, T>(scope, &[selector], wanted).await
    }

    /// What `wanted` makes of the Printers that stand for the device with this serial number, written or found out, in
    /// all namespaces this process works in. One may be given twice.
    pub async fn printers_of<T>(
        &self,
        scope: &Scope,
        serial_number: &str,
        wanted: impl Fn(DynamicObject) -> Option<T>,
    ) -> Result<Vec<T>, ApiError> {
        let selectors = PRINTER_SERIALS.map(|field| selects(field, serial_number));
        self.select::<Printer, T>(scope, &selectors, wanted).await
    }

    /// Lists by each selector; everything, where the API server has definitions of another version, which cannot select so.
    async fn select<K, T>(
        &self,
        scope: &Scope,
        selectors: &[String],
        wanted: impl Fn(DynamicObject) -> Option<T>,
    ) -> Result<Vec<T>, ApiError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        let by = |selector: &String| ListParams::default().fields(selector);
        let found = selectors.iter().map(|selector| self.in_scope::<K, T>(scope, by(selector), &wanted));
        match futures::future::try_join_all(found).await {
            Err(error) if error.is_bad_request() => self.in_scope::<K, T>(scope, ListParams::default(), &wanted).await,
            found => Ok(found?.into_iter().flatten().collect()),
        }
    }

    /// The same as [`list`](Self::list) in all namespaces this process works in. Where one cannot be listed nothing is known.
    async fn in_scope<K, T>(
        &self,
        scope: &Scope,
        selected: ListParams,
        wanted: &impl Fn(DynamicObject) -> Option<T>,
    ) -> Result<Vec<T>, ApiError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        let mut found = Vec::new();
        for parts in scope.parts().chunks(LISTS_AT_ONCE) {
            let lists = parts.iter().map(|part| self.list::<K, T>(*part, selected.clone(), wanted));
            found.extend(futures::future::try_join_all(lists).await?.into_iter().flatten());
        }
        Ok(found)
    }

    /// A Secret; `None` when it is not there.
    pub async fn secret(&self, key: &Key) -> Result<Option<Secret>, ApiError> {
        self.get(key).await
    }

    /// A ConfigMap; `None` when it is not there.
    pub async fn config_map(&self, key: &Key) -> Result<Option<ConfigMap>, ApiError> {
        self.get(key).await
    }

    /// Replaces the status of exactly the version of the object that is given; gives back what is stored now, which has all
    /// that was written.
    pub async fn replace_status<K: WithStatus>(&self, object: &K, status: K::Status) -> Result<K, ApiError> {
        let key = Key::of(object);
        let mut new = object.clone();
        new.set_status(status);
        new.meta_mut().managed_fields = None;
        let params = PostParams::default();
        let answer = self.write(self.of::<K>(&key.namespace).replace_status(&key.name, &params, &new)).await;
        // A definition that does not know a field drops it without a word.
        let written = answer.and_then(|after| match status::dropped(new.status(), after.status()) {
            None => Ok(after),
            Some(field) => Err(ApiError::Dropped(field)),
        });
        match &written {
            Ok(after) => {
                self.metrics.status_written(K::KIND);
                K::count(object, after, &self.metrics);
            }
            Err(ApiError::Dropped(_)) => self.metrics.status_written(K::KIND),
            Err(ApiError::Conflict) => self.metrics.status_conflict(K::KIND),
            Err(_) => {}
        }
        written
    }

    /// Changes finalizers and annotations of exactly this version of the object.
    pub async fn patch_metadata<K: WithStatus>(
        &self,
        object: &K,
        finalizers: &[String],
        annotations: &[(&str, String)],
    ) -> Result<K, ApiError> {
        let key = Key::of(object);
        let annotations: serde_json::Map<String, serde_json::Value> =
            annotations.iter().map(|(k, v)| ((*k).to_owned(), json!(v))).collect();
        let mut metadata = json!({ "resourceVersion": object.resource_version(), "finalizers": finalizers });
        if !annotations.is_empty() {
            metadata["annotations"] = serde_json::Value::Object(annotations);
        }
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        self.write(self.of::<K>(&key.namespace).patch(&key.name, &PatchParams::default(), &patch)).await
    }

    /// Adds a finalizer, with annotations, unless both are there.
    pub async fn ensure_finalizer<K: WithStatus>(
        &self,
        object: &K,
        finalizer: &str,
        annotations: &[(&str, String)],
    ) -> Result<K, ApiError> {
        let mut finalizers = object.finalizers().to_vec();
        let annotated = annotations.iter().all(|(k, v)| object.annotations().get(*k) == Some(v));
        if finalizers.iter().any(|f| f == finalizer) && annotated {
            return Ok(object.clone());
        }
        if !finalizers.iter().any(|f| f == finalizer) {
            finalizers.push(finalizer.to_owned());
        }
        self.patch_metadata(object, &finalizers, annotations).await
    }

    /// Removes a finalizer; one that is not there, or on an object that is gone, is removed.
    pub async fn remove_finalizer<K: WithStatus>(&self, object: &K, finalizer: &str) -> Result<(), ApiError> {
        if !object.finalizers().iter().any(|f| f == finalizer) {
            return Ok(());
        }
        let rest: Vec<String> = object.finalizers().iter().filter(|f| *f != finalizer).cloned().collect();
        match self.patch_metadata(object, &rest, &[]).await {
            Ok(_) | Err(ApiError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Creates a record; one that exists already is as good.
    pub async fn create_record(&self, record: &PrintRecord) -> Result<(), ApiError> {
        self.create_once(record).await
    }

    /// The wanted PrintRecords of a namespace, or of all; those that cannot be read are left out.
    pub async fn records(
        &self,
        namespace: Option<&str>,
        wanted: impl Fn(&PrintRecord) -> bool,
    ) -> Result<Vec<PrintRecord>, ApiError> {
        let read = |record: DynamicObject| record.try_parse::<PrintRecord>().ok().filter(&wanted);
        self.list::<PrintRecord, _>(namespace, ListParams::default(), read).await
    }

    /// Creates an Event.
    pub async fn create_event(&self, event: &Event) -> Result<(), ApiError> {
        let events = self.of::<Event>(&event.namespace().unwrap_or_default());
        self.write(events.create(&PostParams::default(), event)).await.map(drop)
    }

    /// Whether a PrintJob of this name exists, whatever it says.
    pub async fn job_exists(&self, key: &Key) -> Result<bool, ApiError> {
        Ok(Self::timed(self.of::<PrintJob>(&key.namespace).get_metadata_opt(&key.name)).await?.is_some())
    }

    /// Deletes exactly this version of a PrintRecord.
    pub async fn delete_record(&self, record: &PrintRecord) -> Result<(), ApiError> {
        self.delete(record).await
    }

    /// Deletes exactly this PrintJob.
    pub async fn delete_job(&self, job: &PrintJob) -> Result<(), ApiError> {
        self.delete(job).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_name_is_known_as_that() {
        for name in ["a", "backup-password", "a.b-c.d", "9", &"a".repeat(253)] {
            assert!(is_object_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "a/status",
            "A",
            "a b",
            "a?x=y",
            "-a",
            "a-",
            "a..b",
            "a.-b",
            "ä",
            "a\n",
            "%2e",
            &"a".repeat(254),
        ] {
            assert!(!is_object_name(name), "{name}");
        }
    }

    #[test]
    fn a_selector_holds_any_value() {
        assert_eq!(selects("status.device.serialNumber", "01P00A"), "status.device.serialNumber=01P00A");
        assert_eq!(selects("f", r"a,b=c\d"), r"f=a\,b\=c\\d");
    }
}
