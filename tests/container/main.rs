//! The container image and the manifests.
