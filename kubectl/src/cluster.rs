//! The API server as the kubeconfig and the flags name it: every call with a time limit, every refusal in words.
//!
//! Writes carry the field manager [`MANAGER`]. It does not begin with `kubectl` on purpose: Flux takes over, and then
//! removes, what managers with that prefix have written (fluxcd/pkg, ssa/manager_apply.go: the managers to be overridden are
//! compared by prefix), a confirmed bed among it.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, ListParams, LogParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Api, Client, Config, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::arguments::ClusterArguments;
use crate::error::Error;

/// Who has written what this program writes.
pub const MANAGER: &str = "printernizer-cli";
/// Longest wait for one answer where nothing else is said.
const LIMIT: Duration = Duration::from_secs(30);
/// Objects of one page of a list.
const PAGE: u32 = 500;
/// How often an object is read again that others have changed in between.
const TRIES: usize = 10;
/// Most names that are told where one was not found.
const NAMES: usize = 8;

/// A kind of this API, as this program handles it.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// What people call it.
    const WORD: &'static str;
    /// What people call several.
    const WORDS: &'static str;
}

impl Object for printernizer_crds::Printer {
    const WORD: &'static str = "printer";
    const WORDS: &'static str = "printers";
}

impl Object for printernizer_crds::PrintJob {
    const WORD: &'static str = "job";
    const WORDS: &'static str = "jobs";
}

impl Object for printernizer_crds::BackupPolicy {
    const WORD: &'static str = "backup policy";
    const WORDS: &'static str = "backup policies";
}

impl Object for k8s_openapi::api::core::v1::Secret {
    const WORD: &'static str = "Secret";
    const WORDS: &'static str = "Secrets";
}

impl Object for k8s_openapi::api::core::v1::Pod {
    const WORD: &'static str = "pod";
    const WORDS: &'static str = "pods";
}

impl Object for k8s_openapi::api::core::v1::PersistentVolumeClaim {
    const WORD: &'static str = "PersistentVolumeClaim";
    const WORDS: &'static str = "PersistentVolumeClaims";
}

impl Object for k8s_openapi::api::batch::v1::CronJob {
    const WORD: &'static str = "CronJob";
    const WORDS: &'static str = "CronJobs";
}

impl Object for k8s_openapi::api::batch::v1::Job {
    const WORD: &'static str = "Job";
    const WORDS: &'static str = "Jobs";
}

/// What a change of an object came to.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// It was written.
    Written(Box<K>),
    /// It was so already.
    Already(Box<K>),
}

/// A connection to the API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    namespace: String,
    server: String,
    limit: Duration,
}

impl Cluster {
    /// As the flags and the kubeconfig say. Nothing is asked of the API server yet.
    pub async fn connect(flags: &ClusterArguments) -> Result<Self, Error> {
        let options = KubeConfigOptions {
            context: flags.context.clone(),
            cluster: flags.cluster.clone(),
            user: flags.user.clone(),
        };
        let config = match &flags.kubeconfig {
            Some(file) => Kubeconfig::read_from(file),
            None => Kubeconfig::read(),
        };
        let config = match config {
            Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
            // In a pod there is none, and kubectl takes the pod's account too.
            Err(missing) if flags.kubeconfig.is_none() && options.context.is_none() => {
                Config::incluster().map_err(|_| missing)
            }
            Err(error) => Err(error),
        };
        let mut config = config.map_err(Error::Kubeconfig)?;
        // It repeats writes too, for minutes, in the middle of a call.
        config.default_retry = false;
        if flags.act_as.is_some() {
            config.auth_info.impersonate.clone_from(&flags.act_as);
        }
        if !flags.act_as_groups.is_empty() {
            config.auth_info.impersonate_groups = Some(flags.act_as_groups.clone());
        }
        let namespace = flags.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = without_login(&config.cluster_url.to_string());
        let client = Client::try_from(config).map_err(|e| Error::Client(Box::new(e)))?;
        let limit = flags.request_timeout.unwrap_or(LIMIT);
        Ok(Self { client, namespace, server: server.trim_end_matches('/').to_owned(), limit })
    }

    /// With this client, in this namespace.
    pub fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self { client, namespace: namespace.into(), server: "the API server".to_owned(), limit: LIMIT }
    }

    /// The namespace that is worked in.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The client.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn call<T>(&self, doing: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        match tokio::time::timeout(self.limit, call).await {
            Ok(answer) => answer.map_err(|error| self.refusal(doing, error)),
            Err(_) => Err(Error::Silent { doing: doing.to_owned(), server: self.server.clone(), limit: self.limit }),
        }
    }

    fn refusal(&self, doing: &str, error: kube::Error) -> Error {
        let doing = doing.to_owned();
        match error {
            kube::Error::Api(status) => refused(doing, status),
            kube::Error::HyperError(_) | kube::Error::Service(_) => {
                Error::Unreachable { doing, server: self.server.clone(), source: Box::new(error) }
            }
            other => Error::Api { doing, source: Box::new(other) },
        }
    }

    /// All objects of the namespace, or of the cluster, with these labels; by namespace and name.
    pub async fn list<K: Object>(&self, all: bool, labels: Option<&str>) -> Result<Vec<K>, Error> {
        let api: Api<K> = if all { Api::all(self.client.clone()) } else { self.api() };
        let place = if all { "all namespaces".to_owned() } else { format!("namespace {}", self.namespace) };
        let doing = format!("list the {} of {place}", K::WORDS);
        let mut params = ListParams::default().limit(PAGE);
        params.label_selector = labels.map(str::to_owned);
        let mut found = Vec::new();
        loop {
            let page = self.call(&doing, Box::pin(api.list(&params))).await?;
            found.extend(page.items);
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                break;
            }
        }
        found.sort_by_cached_key(|object: &K| (object.namespace(), object.name_any()));
        Ok(found)
    }

    /// The object, or `None` where there is none of that name.
    pub async fn find<K: Object>(&self, name: &str) -> Result<Option<K>, Error> {
        let doing = format!("read {} {name}", K::WORD);
        let api = self.api::<K>();
        self.call(&doing, Box::pin(api.get_opt(name))).await
    }

    /// The object. Where there is none of that name, the error tells which there are.
    pub async fn get<K: Object>(&self, name: &str) -> Result<K, Error> {
        match self.find(name).await? {
            Some(object) => Ok(object),
            None => Err(self.not_found::<K>(name).await?),
        }
    }

    async fn not_found<K: Object>(&self, name: &str) -> Result<Error, Error> {
        // A cluster that does not know the kind says so to a list, with words that a missing object has too.
        let there = self.list::<K>(false, None).await?;
        let names: Vec<String> = there.iter().take(NAMES).map(ResourceExt::name_any).collect();
        let others = match (names.len(), there.len() - names.len()) {
            (0, _) => format!("; there are no {} in it", K::WORDS),
            (_, 0) => format!("; there are: {}", names.join(", ")),
            (_, more) => format!("; there are: {} and {more} more", names.join(", ")),
        };
        Ok(Error::NotFound { kind: K::WORD, name: name.to_owned(), namespace: self.namespace.clone(), others })
    }

    /// Changes the spec of the object as `change` says, which is asked again for the newest object each time another has
    /// changed it in between: `None` means that nothing is to be written, an error that what it was about is not so any more.
    /// An object that has taken the place of the first is left alone.
    pub async fn change<K: Object>(
        &self,
        first: K,
        change: impl Fn(&K) -> Result<Option<Value>, Error>,
    ) -> Result<Change<K>, Error> {
        let name = first.name_any();
        let doing = format!("change {} {name}", K::WORD);
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let shown = first.uid();
        let mut object = Box::new(first);
        for _ in 0..TRIES {
            let Some(spec) = change(&object)? else { return Ok(Change::Already(object)) };
            // With its version and UID, so that nothing but the object that was looked at is changed.
            let patch = json!({
                "metadata": { "resourceVersion": object.resource_version(), "uid": object.uid() },
                "spec": spec,
            });
            let (api, patch) = (self.api::<K>(), Patch::Merge(patch));
            let answer = tokio::time::timeout(self.limit, Box::pin(api.patch(&name, &params, &patch))).await;
            match answer {
                Ok(Ok(written)) => return Ok(Change::Written(Box::new(written))),
                Ok(Err(kube::Error::Api(status))) if status.is_conflict() => {
                    object = Box::new(self.get(&name).await?);
                    if object.uid() != shown {
                        return Err(Error::NotNow(format!(
                            "{} {name} was deleted since it was shown, and another has its name. Look again",
                            K::WORD
                        )));
                    }
                }
                Ok(Err(error)) => return Err(self.refusal(&doing, error)),
                Err(_) => return Err(Error::Silent { doing, server: self.server.clone(), limit: self.limit }),
            }
        }
        Err(Error::Contended { doing })
    }

    /// Creates the object; with `dry_run` only asks whether it would be taken.
    pub async fn create<K: Object>(&self, object: &K, dry_run: bool) -> Result<K, Error> {
        let params = PostParams { dry_run, field_manager: Some(MANAGER.to_owned()) };
        let doing = format!("create {} {}", K::WORD, object.name_any());
        let api = self.api();
        self.call(&doing, Box::pin(api.create(&params, object))).await
    }

    /// The metadata of the object, or `None` where there is none of that name. What it holds is not read.
    pub async fn find_metadata<K: Object>(&self, name: &str) -> Result<Option<ObjectMeta>, Error> {
        let doing = format!("read {} {name}", K::WORD);
        let api = self.api::<K>();
        Ok(self.call(&doing, Box::pin(api.get_metadata_opt(name))).await?.map(|found| found.metadata))
    }

    /// Writes these fields of the object of which this is the metadata, if it is still as it was.
    pub async fn overwrite<K: Object>(&self, old: &ObjectMeta, mut patch: Value) -> Result<K, Error> {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let name = old.name.as_deref().unwrap_or_default();
        let doing = format!("change {} {name}", K::WORD);
        patch["metadata"]["resourceVersion"] = old.resource_version.clone().into();
        patch["metadata"]["uid"] = old.uid.clone().into();
        let (api, patch) = (self.api(), Patch::Merge(patch));
        self.call(&doing, Box::pin(api.patch(name, &params, &patch))).await
    }

    /// All that the pod has written.
    pub async fn logs(&self, pod: &str) -> Result<String, Error> {
        let doing = format!("read the log of pod {pod}");
        let api = self.api::<k8s_openapi::api::core::v1::Pod>();
        self.call(&doing, Box::pin(api.logs(pod, &LogParams::default()))).await
    }

    /// Deletes the object this one is, and no other of its name.
    pub async fn delete<K: Object>(&self, object: &K) -> Result<(), Error> {
        let name = object.name_any();
        let doing = format!("delete {} {name}", K::WORD);
        let preconditions = kube::api::Preconditions { uid: object.uid(), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let api = self.api::<K>();
        self.call(&doing, Box::pin(api.delete(&name, &params))).await.map(drop)
    }
}

/// The address without the user and password that may stand in it.
fn without_login(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://{rest}"),
        _ => address.to_owned(),
    }
}

/// The API server's no, in words that say what to do.
fn refused(doing: String, status: Box<Status>) -> Error {
    let message = status.message.clone();
    match status.code {
        401 => Error::Unauthorized { doing, message },
        403 => Error::Forbidden { doing, message },
        // For an object that is missing it names the object.
        404 if status.details.as_ref().is_none_or(|d| d.name.is_empty()) => Error::NotInstalled { doing },
        409 if status.reason == "AlreadyExists" => Error::Exists { doing },
        400 | 404 | 409 | 422 => Error::Invalid { doing, message },
        _ => Error::Api { doing, source: Box::new(kube::Error::Api(status)) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u16, name: &str) -> String {
        let details = serde_json::from_value(json!({ "name": name })).unwrap();
        let status = Status { code, message: "the words".into(), details: Some(details), ..Status::default() };
        refused("list the printers of namespace farm".into(), Box::new(status)).chain()
    }

    #[test]
    fn a_refusal_says_what_was_to_be_done_and_what_to_do() {
        for (code, name, words) in [
            (401, "", "log in again"),
            (403, "", "you have no right to (the words)"),
            (404, "", "does not know printers and jobs"),
            (404, "a1", "cannot list the printers of namespace farm: the words"),
            (422, "a1", "cannot list the printers of namespace farm: the words"),
            (500, "", "the words"),
        ] {
            let said = said(code, name);
            assert!(said.contains(words) && said.contains("list the printers of namespace farm"), "{code}: {said}");
        }
    }

    #[test]
    fn a_login_in_the_address_of_the_api_server_is_not_told() {
        assert_eq!(without_login("https://me:hush@10.0.0.1:6443/"), "https://10.0.0.1:6443/");
        assert_eq!(without_login("https://10.0.0.1:6443/"), "https://10.0.0.1:6443/");
    }

    #[test]
    fn flux_does_not_take_what_is_written_here_for_kubectls() {
        assert!(!MANAGER.starts_with("kubectl"), "Flux would undo it");
    }
}
