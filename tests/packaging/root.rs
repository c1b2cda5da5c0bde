//! A root folder of Debian with systemd, for one test, and the package to be installed there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::unistd::Uid;
use tempfile::TempDir;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The package, made of the program that the tests run.
pub(crate) fn package() -> &'static Path {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let cargo_deb = folder.with_file_name("tools").join("bin/cargo-deb");
        assert!(
            cargo_deb.exists(),
            "cargo-deb is not there: run tests/packaging/setup.sh"
        );
        let package = folder.join("dirsyncd.deb");
        let mut build = Command::new(cargo_deb);
        build
            .args("deb --locked --no-build --profile dev --fast --output".split(' '))
            .arg(&package)
            .current_dir(HERE);
        run(&mut build);
        package
    })
}

/// A folder of its own; it goes with this.
pub(crate) struct Root(TempDir);

impl Root {
    pub(crate) fn new() -> Self {
        assert!(
            Uid::effective().is_root(),
            "this test makes and enters a root folder, so it has to be run by root"
        );
        for program in ["/usr/sbin/debootstrap", "/usr/bin/systemd-nspawn"] {
            assert!(
                Path::new(program).exists(),
                "{program} is not installed: run tests/install-packages.sh"
            );
        }
        let script = Path::new(HERE).join("tests/support/rootfs.sh");
        let packages = ["systemd", "systemd-sysv", "procps"];
        let made = run(Command::new(script).args(packages));
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = folder.path().join("root");
        run(Command::new("cp").arg("-a").arg(made.trim()).arg(root));
        Root(folder)
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.0.path().join("root")
    }

    /// What is there by this name, `/…`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name.trim_start_matches('/'))
    }

    pub(crate) fn read(&self, name: &str) -> String {
        let read = std::fs::read_to_string(self.path(name));
        read.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Whether there is something by this name, be it a link that leads nowhere.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// Runs a command in there, which must succeed; what it says.
    #[track_caller]
    pub(crate) fn run(&self, words: &str) -> String {
        let mut command = Command::new("chroot");
        command
            .arg(self.folder())
            .args(words.split(' '))
            .env("DEBIAN_FRONTEND", "noninteractive");
        run(&mut command)
    }

    /// Installs a package, over what is there; with nobody to answer questions.
    #[track_caller]
    pub(crate) fn install(&self, package: &Path) {
        std::fs::copy(package, self.path("new.deb")).unwrap();
        self.run("dpkg --install /new.deb");
    }
}

/// Runs a command, which must succeed; both its outputs.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}
