//! The `ldap3` crate panics where an answer of a server is not what the protocol says. Such a
//! panic ends the pull, not the program, and the error says what it means.

use std::cell::Cell;
use std::ffi::OsStr;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Once;

use futures_util::FutureExt;

use super::DirectoryError;
use super::search::malformed;

thread_local! {
    /// Whether the last panic of this thread was one of the crates that decode.
    static IS_THEIRS: Cell<bool> = const { Cell::new(false) };
}

/// Does the work with the server at `url`. A panic of our own code goes on.
///
/// # Errors
/// Those of the work, and [`DirectoryError::Broken`] when `ldap3` panics in it.
pub(super) async fn careful<T>(
    url: &str,
    work: impl Future<Output = Result<T, DirectoryError>>,
) -> Result<T, DirectoryError> {
    silence();
    // On the heap, as it is large and callers hold it.
    match AssertUnwindSafe(Box::pin(work)).catch_unwind().await {
        Ok(result) => result,
        Err(_) if IS_THEIRS.take() => Err(malformed(url, 0)),
        Err(ours) => panic::resume_unwind(ours),
    }
}

/// Keeps their panics off standard error, also those in tasks that the crate spawns itself.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let is_theirs = panic
                .location()
                .is_some_and(|place| is_of_ldap3(Path::new(place.file())));
            IS_THEIRS.set(is_theirs);
            if is_theirs {
                tracing::debug!(%panic, "the answer of the server cannot be decoded");
            } else {
                default(panic);
            }
        }));
    });
}

/// Whether a source file is one of `ldap3` or of its decoder `lber`, whose folders have the
/// version behind the name, or not when they are vendored.
fn is_of_ldap3(file: &Path) -> bool {
    file.iter().filter_map(OsStr::to_str).any(|folder| {
        let name = folder.split('-').next().unwrap_or_default();
        matches!(name, "ldap3" | "lber")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn their_files_are_told_by_their_folder() {
        for file in [
            "/r/src/index-1/ldap3-0.12.1/src/result.rs",
            "vendor/lber/src/parse.rs",
        ] {
            assert!(is_of_ldap3(Path::new(file)), "{file}");
        }
        for file in ["src/directory/ldap.rs", "/home/wilber/ldap/src/main.rs"] {
            assert!(!is_of_ldap3(Path::new(file)), "{file}");
        }
    }

    #[tokio::test]
    #[should_panic(expected = "ours")]
    async fn a_panic_of_our_own_goes_on() {
        let work = async { panic!("ours") };
        let _: Result<(), _> = careful("ldap://localhost", work).await;
    }
}
