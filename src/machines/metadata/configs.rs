//! The dynamic configurations of an image.
//!
//! Invariant: a resource without an override has no entry.

use imbl::OrdMap;

use super::ConfigResource;

/// All overrides. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Configs {
    by_resource: OrdMap<ConfigResource, OrdMap<String, String>>,
}

impl Configs {
    /// One override.
    #[must_use]
    pub fn get(&self, resource: ConfigResource, name: &str) -> Option<&str> {
        self.by_resource.get(&resource)?.get(name).map(String::as_str)
    }

    /// The overrides of a resource, by name.
    pub fn overrides(&self, resource: ConfigResource) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.by_resource.get(&resource).into_iter().flat_map(OrdMap::iter);
        entries.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn set(&mut self, resource: ConfigResource, name: &str, value: Option<&str>) {
        let mut entries = self.by_resource.remove(&resource).unwrap_or_default();
        match value {
            Some(value) => entries.insert(name.to_owned(), value.to_owned()),
            None => entries.remove(name),
        };
        if !entries.is_empty() {
            self.by_resource.insert(resource, entries);
        }
    }

    pub(super) fn forget(&mut self, resource: ConfigResource) {
        self.by_resource.remove(&resource);
    }

    pub(super) fn by_resource(&self) -> &OrdMap<ConfigResource, OrdMap<String, String>> {
        &self.by_resource
    }
}
