//! What the end-to-end tests stand on: a real slapd, the simulator as the organization, and the program itself as
//! its users run it. Nothing here knows the program's inside; only [`database`] looks into its SQLite file.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test crate uses a part"
)]

pub mod database;
pub mod directory;
pub mod ds389;
pub mod following;
pub mod hooks;
pub mod organization;
pub mod people;
pub mod program;
pub mod samba;
pub mod scripted;
pub mod systemd;
pub mod unchanged;
pub mod world;

pub use directory::Slapd;
pub use ds389::Ds389;
pub use organization::{Account, Organization, OrganizationGroup, file_reference, replaced};
pub use people::{Person, crowd};
pub use program::{Dirsyncd, Output, Planned};
pub use samba::SambaAd;
pub use world::{Change, Expected, World};

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Waits for a condition; the only place where a test sleeps.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes a file for its owner's eyes alone, as a secret or a database has to be.
#[track_caller]
pub fn write_private(path: &Path, content: impl AsRef<[u8]>) {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).unwrap();
    file.write_all(content.as_ref()).unwrap();
}

/// Lets a file have this mode.
#[track_caller]
pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The longest wait for something that takes a moment.
pub const SOON: Duration = Duration::from_secs(20);
