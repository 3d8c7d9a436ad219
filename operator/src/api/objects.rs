//! Objects of any kind: listed, applied, created once, deleted as they were observed.

use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Resource, ResourceExt as _};
use printernizer_rules::backup_policy::runs::controller_of;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Api, ApiError, Key};

/// Name the operator applies objects under: what it set once and sets no longer is removed.
const FIELD_MANAGER: &str = "printernizer";

impl Api {
    /// The objects of a kind in a namespace that this label selector selects.
    pub async fn labelled<K>(&self, namespace: &str, labels: &str) -> Result<Vec<K>, ApiError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + DeserializeOwned,
    {
        let selected = ListParams::default().labels(labels);
        self.list::<K, K>(Some(namespace), selected, |object| object.try_parse().ok()).await
    }

    /// What `wanted` makes of the objects of a kind in a namespace.
    pub async fn each<K, T>(
        &self,
        namespace: &str,
        wanted: impl Fn(DynamicObject) -> Option<T>,
    ) -> Result<Vec<T>, ApiError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        self.list::<K, T>(Some(namespace), ListParams::default(), wanted).await
    }

    /// Applies an object by server-side apply: the fields it has are ours, whoever else wrote them.
    pub async fn apply<K>(&self, object: &K) -> Result<(), ApiError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Serialize,
    {
        let key = Key::of(object);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        self.write(self.of::<K>(&key.namespace).patch(&key.name, &params, &Patch::Apply(object))).await.map(drop)
    }

    /// Changes single fields of an object.
    pub async fn merge<K>(&self, key: &Key, fields: &serde_json::Value) -> Result<(), ApiError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.write(self.of::<K>(&key.namespace).patch(&key.name, &params, &Patch::Merge(fields))).await.map(drop)
    }

    /// Creates an object; one of its name that exists already is as good.
    pub async fn create_once<K>(&self, object: &K) -> Result<(), ApiError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Serialize,
    {
        let namespace = object.namespace().unwrap_or_default();
        match self.write(self.of::<K>(&namespace).create(&PostParams::default(), object)).await {
            Ok(_) | Err(ApiError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Creates an object of a controller. Whether it is there as this controller's, made now or before: else one of its name
    /// belongs to something else.
    pub async fn create_owned<K>(&self, object: &K) -> Result<bool, ApiError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Serialize,
    {
        let key = Key::of(object);
        match self.write(self.of::<K>(&key.namespace).create(&PostParams::default(), object)).await {
            Ok(_) => Ok(true),
            Err(ApiError::Conflict) => {
                // Listed, not got: the operator has no right that it needs for this alone.
                let named = ListParams::default().fields(&format!("metadata.name={}", key.name));
                let by = |there: DynamicObject| Some(controller_of(&there.metadata).map(str::to_owned));
                let there = self.list::<K, _>(Some(&key.namespace), named, by).await?;
                let by = there.first().ok_or(ApiError::Conflict)?.as_deref();
                Ok(by == controller_of(object.meta()))
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes exactly this version of an object.
    pub async fn delete<K>(&self, object: &K) -> Result<(), ApiError>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let key = Key::of(object);
        let preconditions = Preconditions { uid: object.uid(), resource_version: object.resource_version() };
        // What a CronJob has made goes with it; a CronJob of this API would else leave its Jobs behind.
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match self.write(self.of::<K>(&key.namespace).delete(&key.name, &params)).await {
            Ok(_) | Err(ApiError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
