//! That nothing was changed: not in a folder, not in the organization.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::organization::{Mark, Organization};

/// Every file below a folder, with the digest of what is in it.
pub fn tree_digest(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.insert(path.clone(), "a folder".to_owned());
                folders.push(path);
            } else {
                let digest = blake3::hash(&std::fs::read(&path).unwrap());
                files.insert(path, digest.to_hex().to_string());
            }
        }
    }
    files
}

/// How a folder and the organization were.
pub struct Before<'a> {
    folder: PathBuf,
    files: BTreeMap<PathBuf, String>,
    organization: &'a Organization,
    mark: Mark,
}

impl<'a> Before<'a> {
    pub fn of(folder: &Path, organization: &'a Organization) -> Self {
        Before {
            folder: folder.to_owned(),
            files: tree_digest(folder),
            organization,
            mark: organization.mark(),
        }
    }

    /// The files are as they were, and the organization was sent no write.
    #[track_caller]
    pub fn expect_unchanged(&self) {
        assert_eq!(tree_digest(&self.folder), self.files, "files have changed");
        self.expect_organization_unchanged();
    }

    /// The organization was sent no write.
    #[track_caller]
    pub fn expect_organization_unchanged(&self) {
        let writes = self.organization.writes_since(self.mark);
        assert!(writes.is_empty(), "the organization was sent {writes:?}");
    }
}
