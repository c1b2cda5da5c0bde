//! Files of the repository that are made from the code.

use std::path::Path;

/// A file that is to be as it is made from the code; `INSTA_UPDATE=always` writes it.
#[track_caller]
pub(crate) fn expect_made(path: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("INSTA_UPDATE").is_some_and(|word| word == "always") {
        std::fs::write(&file, made).unwrap();
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    assert!(
        written == made,
        "{path} is not of this version: INSTA_UPDATE=always cargo test --lib made_from"
    );
}
