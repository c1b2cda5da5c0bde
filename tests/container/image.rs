//! The image: what is in it, and that it runs.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};

use super::contained::{Container, buildah, config, storage};
use super::support::eventually;
use super::{file, run};

pub(crate) const IMAGE: &str = "localhost/dirsyncd-of-the-tests";
const DAEMON: u32 = 10001;

/// What the script said while it built the image of this program, once for all tests.
pub(crate) fn built() -> &'static str {
    static BUILT: LazyLock<String> = LazyLock::new(|| {
        assert!(
            nix::unistd::geteuid().is_root(),
            "images are built by root alone: run this test as root"
        );
        run(Command::new(file("deploy/container/build.sh"))
            .arg(env!("CARGO_BIN_EXE_dirsyncd"))
            .env("STORAGE", storage())
            .env("IMAGE", IMAGE)
            .env("PEOPLE", "100"))
    });
    &BUILT
}

/// A container of it.
fn container() -> Container {
    built();
    Container::of(IMAGE)
}

/// All that is in a folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                folders.push(path.clone());
            }
            found.push(path);
        }
    }
    found
}

#[test]
fn the_script_builds_an_image_in_which_the_demo_runs() {
    let said = built();
    assert!(said.contains("The demo took"), "{said}");
}

#[test]
fn the_image_says_how_it_is_run() {
    built();
    let config = config(IMAGE);
    assert_eq!(config["User"], "10001:10001");
    assert_eq!(config["Entrypoint"], json!(["/usr/bin/dirsyncd"]));
    assert_eq!(config["Cmd"], json!(["run"]));
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Volumes"], json!({"/var/lib/dirsyncd": {}}));
    // Whether it is answered is seen in compose.rs.
    assert_eq!(
        config["Healthcheck"]["Test"],
        json!([
            "CMD",
            "/usr/bin/dirsyncd",
            "status",
            "--quiet",
            "--socket",
            "/var/lib/dirsyncd/dirsyncd.db.sock"
        ])
    );
    let label = |name: &str| &config["Labels"][format!("org.opencontainers.image.{name}")];
    assert_eq!(label("title"), "dirsyncd");
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), "Apache-2.0");
    // No variable holds a secret: these name places.
    let variables: Vec<&str> = config["Env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable.as_str().unwrap().split('=').next().unwrap())
        .collect();
    assert_eq!(
        variables,
        [
            "PATH",
            "DIRSYNCD_CONFIG",
            "CREDENTIALS_DIRECTORY",
            "SSL_CERT_FILE",
            "TMPDIR"
        ]
    );
}

#[test]
fn nothing_is_in_the_image_but_what_the_program_needs() {
    let container = container();
    let expected = Regex::new(concat!(
        r"^/(usr/bin/dirsyncd|lib(64)?/([a-z0-9_]+-linux-gnu/)?(ld-linux[^/]*|lib[^/]+)\.so\.\d+",
        r"|etc/(passwd|group|nsswitch\.conf|os-release|ssl/certs/ca-certificates\.crt)",
        r"|var/lib/dpkg/status\.d/(libc6|libgcc-s1|ca-certificates))$"
    ))
    .unwrap();
    let mut files = 0;
    for path in entries(&container.root) {
        let inside = path.strip_prefix(&container.root).unwrap();
        let inside = format!("/{}", inside.display());
        let found = fs::symlink_metadata(&path).unwrap();
        assert_eq!(found.mode() & 0o6000, 0, "setuid or setgid: {inside}");
        let is_ours = inside == "/var/lib/dirsyncd";
        let (owner, mode) = if is_ours {
            (DAEMON, 0o700)
        } else {
            (0, found.mode() & 0o755)
        };
        assert_eq!(
            (found.uid(), found.mode() & 0o7777),
            (owner, mode),
            "{inside}"
        );
        if !found.is_dir() {
            assert!(found.is_file() && expected.is_match(&inside), "{inside}");
            files += 1;
        }
    }
    assert!(files > 10, "{files} files");
    // Nor did an earlier layer have more: none takes anything out.
    let layers = tempfile::tempdir().unwrap();
    let target = format!("dir:{}", layers.path().display());
    buildah(&["push", "--quiet", IMAGE, &target]);
    let manifest: Value =
        serde_json::from_slice(&fs::read(layers.path().join("manifest.json")).unwrap()).unwrap();
    let blobs = manifest["layers"].as_array().unwrap();
    assert!(!blobs.is_empty());
    for blob in blobs {
        let name = blob["digest"]
            .as_str()
            .unwrap()
            .trim_start_matches("sha256:");
        let listed = run(Command::new("tar").arg("-tf").arg(layers.path().join(name)));
        assert!(!listed.contains(".wh."), "{listed}");
    }
}

#[test]
fn the_demo_runs_without_rights_on_a_root_that_cannot_be_written() {
    let said = run(&mut container().command(&[], &["demo", "--people", "50"]));
    assert!(said.contains("The demo took"), "{said}");
}

#[test]
fn the_program_is_pid_1_and_stops_when_it_is_told_to() {
    let container = container();
    let said = tempfile::NamedTempFile::new().unwrap();
    let mut command = container.command(&[], &["simulate", "--state", "/var/lib/dirsyncd/state"]);
    command.stdout(File::create(said.path()).unwrap());
    let process = container.start(command.stderr(Stdio::inherit()));
    eventually("it listens", Duration::from_secs(60), || {
        let said = fs::read_to_string(said.path()).unwrap();
        said.contains("listening on").then_some(())
    });
    let id = process.id.to_string();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let field = |name: &str| -> Vec<&str> {
        let line = status
            .lines()
            .find(|line| line.starts_with(&format!("{name}:")));
        line.unwrap().split_whitespace().skip(1).collect()
    };
    assert_eq!(field("NSpid"), [id.as_str(), "1"]);
    assert_eq!(field("Uid"), ["10001"; 4]);
    assert_eq!(field("Gid"), ["10001"; 4]);
    assert_eq!(field("CapEff"), ["0000000000000000"]);
    assert_eq!(field("NoNewPrivs"), ["1"]);

    assert_eq!(process.stop(Duration::from_secs(30)), Some(0));
}

#[test]
fn the_scripts_can_be_run() {
    for script in ["build.sh", "prepare.sh", "openldap/start.sh"] {
        let found = fs::metadata(file("deploy/container").join(script)).unwrap();
        assert_eq!(found.permissions().mode() & 0o111, 0o111, "{script}");
    }
}
