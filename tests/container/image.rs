//! The image: what is in it, and that it runs.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};

use super::support::eventually;
use super::{file, run};

const IMAGE: &str = "localhost/dirsyncd-of-the-tests";
const DAEMON: u32 = 10001;

/// The storage of buildah, below that of Cargo.
fn storage() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("containers")
}

fn buildah(arguments: &[&str]) -> String {
    let mut command = Command::new("buildah");
    command.arg("--root").arg(storage().join("root"));
    command.arg("--runroot").arg(storage().join("run"));
    command.args(["--storage-driver", "vfs"]).args(arguments);
    run(&mut command).trim().to_owned()
}

/// What the script said while it built the image of this program, once for all tests.
fn built() -> &'static str {
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

/// The root folder of a container of the image; it goes with this.
struct Container {
    name: String,
    root: PathBuf,
}

impl Container {
    fn new() -> Self {
        built();
        let name = buildah(&["from", "--pull-never", IMAGE]);
        let root = PathBuf::from(buildah(&["mount", &name]));
        Container { name, root }
    }

    /// All that is in it.
    fn entries(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.root.clone()];
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

    fn inside(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).unwrap();
        format!("/{}", path.display())
    }

    /// The program in it, as PID 1 and without rights.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(file("tests/container/contained.sh"));
        command.arg(&self.root).args(arguments);
        command
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        buildah(&["rm", &self.name]);
    }
}

#[test]
fn the_script_builds_an_image_in_which_the_demo_runs() {
    let said = built();
    assert!(said.contains("The demo took"), "{said}");
}

#[test]
fn the_image_says_how_it_is_run() {
    built();
    let inspected: Value =
        serde_json::from_str(&buildah(&["inspect", "--type", "image", IMAGE])).unwrap();
    let config = &inspected["Docker"]["config"];
    assert_eq!(config["User"], "10001:10001");
    assert_eq!(config["Entrypoint"], json!(["/usr/bin/dirsyncd"]));
    assert_eq!(config["Cmd"], json!(["run"]));
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Volumes"], json!({"/var/lib/dirsyncd": {}}));
    // What is asked; whether it is answered is not seen here.
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
    let container = Container::new();
    let expected = Regex::new(concat!(
        r"^/(usr/bin/dirsyncd|lib(64)?/([a-z0-9_]+-linux-gnu/)?(ld-linux[^/]*|lib[^/]+)\.so\.\d+",
        r"|etc/(passwd|group|nsswitch\.conf|os-release|ssl/certs/ca-certificates\.crt)",
        r"|var/lib/dpkg/status\.d/(libc6|libgcc-s1|ca-certificates))$"
    ))
    .unwrap();
    let mut files = 0;
    for path in container.entries() {
        let (inside, found) = (
            container.inside(&path),
            fs::symlink_metadata(&path).unwrap(),
        );
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
    let container = Container::new();
    let said = run(&mut container.command(&["demo", "--people", "50"]));
    assert!(said.contains("The demo took"), "{said}");
}

#[test]
fn the_program_is_pid_1_and_stops_when_it_is_told_to() {
    let container = Container::new();
    let said = tempfile::NamedTempFile::new().unwrap();
    let mut runtime = Stopping(
        container
            .command(&["simulate", "--state", "/var/lib/dirsyncd/organization"])
            .stdout(File::create(said.path()).unwrap())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap(),
    );
    eventually("it listens", Duration::from_secs(60), || {
        let said = fs::read_to_string(said.path()).unwrap();
        said.contains("listening on").then_some(())
    });
    let children = format!("/proc/{0}/task/{0}/children", runtime.0.id());
    let process = fs::read_to_string(children).unwrap().trim().to_owned();
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let field = |name: &str| -> Vec<&str> {
        let line = status
            .lines()
            .find(|line| line.starts_with(&format!("{name}:")));
        line.unwrap().split_whitespace().skip(1).collect()
    };
    assert_eq!(field("NSpid"), [process.as_str(), "1"]);
    assert_eq!(field("Uid"), ["10001"; 4]);
    assert_eq!(field("Gid"), ["10001"; 4]);
    assert_eq!(field("CapEff"), ["0000000000000000"]);
    assert_eq!(field("NoNewPrivs"), ["1"]);

    run(Command::new("kill").args(["-TERM", &process]));

    let status = eventually("it ends", Duration::from_secs(30), || {
        runtime.0.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
}

/// A process that does not outlive a test that fails.
struct Stopping(Child);

impl Drop for Stopping {
    fn drop(&mut self) {
        // It has ended already, if all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_scripts_can_be_run() {
    for script in ["build.sh", "prepare.sh", "openldap/start.sh"] {
        let found = fs::metadata(file("deploy/container").join(script)).unwrap();
        assert_eq!(found.permissions().mode() & 0o111, 0o111, "{script}");
    }
}
