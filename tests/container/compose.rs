//! What compose.yaml starts, started as compose would, but for the engine: the images by their Containerfiles, on one
//! loopback that is theirs alone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::contained::{Container, Process, buildah, words};
use super::image::{IMAGE, built};
use super::manifests::document;
use super::support::eventually;
use super::{file, run};

/// The image of the OpenLDAP, built anew when its files change: installing its packages takes a while.
fn openldap() -> String {
    built();
    let folder = file("deploy/container/openldap");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut key = blake3::Hasher::new();
    for file in files {
        key.update(&fs::read(file).unwrap());
    }
    let image = format!(
        "localhost/openldap-of-the-tests:{}",
        &key.finalize().to_hex()[..12]
    );
    let images = buildah(&["images", "--format", "{{.Name}}:{{.Tag}}"]);
    if !images.lines().any(|line| line == image) {
        let base = run(Command::new(file("tests/support/rootfs.sh")).arg("image"));
        let base = Path::new(base.trim())
            .file_name()
            .unwrap()
            .to_str()
            .unwrap();
        let base = format!("DEBIAN=localhost/{base}");
        buildah(&[
            "bud",
            "--isolation=chroot",
            "--pull-never",
            "--network=host",
            "--format=docker",
            "--quiet",
            // How this machine reaches its mirror.
            "--volume=/etc/apt/apt.conf.d:/etc/apt/apt.conf.d:ro",
            "--build-arg",
            &base,
            "--tag",
            &image,
            &folder.display().to_string(),
        ]);
    }
    image
}

/// A folder for all that is outside of the containers.
struct Outside(TempDir);

impl Outside {
    /// With the configuration and the secrets as the script makes them.
    fn prepared() -> Self {
        let outside = Outside(tempfile::tempdir().unwrap());
        let script = file("deploy/container/prepare.sh");
        run(Command::new(script).env("PRIVATE", outside.path("private")));
        fs::create_dir(outside.path("volumes")).unwrap();
        // Names that compose's own DNS answers.
        fs::write(
            outside.path("hosts"),
            "127.0.0.1 localhost openldap simulator\n",
        )
        .unwrap();
        outside
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// What a service has of it, and in which network it is.
    fn options(&self, service: &Value, network: Option<u32>) -> Vec<String> {
        let mut options = Vec::new();
        let mut add = |source: &Path, target: &str, mode: &str| {
            options.push("-v".to_owned());
            options.push(format!("{}:{target}:{mode}", source.display()));
        };
        add(&self.path("hosts"), "/etc/hosts", "ro");
        for volume in words(&service["volumes"]) {
            let (source, target) = volume.split_once(':').unwrap();
            let (target, mode) = target.split_once(':').unwrap_or((target, "rw"));
            match source.strip_prefix("./") {
                Some(private) => add(&self.path(private), target, mode),
                None => add(&self.path("volumes").join(source), target, mode),
            }
        }
        let secrets = &document("compose.yaml")["secrets"];
        for secret in service["secrets"].as_array().unwrap() {
            let name = secret.as_str().or(secret["source"].as_str()).unwrap();
            let target = secret["target"].as_str().unwrap_or(name);
            let place = secrets[name]["file"].as_str().unwrap();
            let place = self.path(place.strip_prefix("./").unwrap());
            add(
                &place,
                &format!("/run/secrets/{target}").replace("/run/secrets//", "/"),
                "ro",
            );
        }
        for tmpfs in words(&service["tmpfs"]) {
            options.extend(["-t".to_owned(), tmpfs.to_owned()]);
        }
        if let Some(process) = network {
            options.extend(["-n".to_owned(), process.to_string()]);
        }
        options
    }
}

/// Whether a service is healthy, by what compose.yaml asks or else its image.
fn is_healthy(service: &Value, container: &Container, process: &Process<'_>) -> bool {
    let mut check = words(&service["healthcheck"]["test"]);
    if check.is_empty() {
        check = container.health_check();
    }
    assert_eq!(check.remove(0), "CMD");
    process.beside(&check).output().unwrap().status.success()
}

#[test]
fn what_compose_starts_makes_the_accounts_and_stops_when_it_is_told_to() {
    let outside = Outside::prepared();
    let images = [openldap(), IMAGE.to_owned(), IMAGE.to_owned()];
    let containers = images.map(|image| Container::of(&image));
    let names = ["openldap", "simulator", "dirsyncd"];
    let log = |name: &str| File::create(outside.path(name)).unwrap();
    let said = |name: &str| fs::read_to_string(outside.path(name)).unwrap();
    let mut running: Vec<Process<'_>> = Vec::new();
    for (name, container) in names.iter().zip(&containers) {
        let service = &document("compose.yaml")["services"][name];
        // Compose waits for these, which are there already, and healthy.
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            assert!(names[..running.len()].contains(&other.as_str()), "{other}");
            assert_eq!(how["condition"], "service_healthy");
        }
        let options = outside.options(service, running.first().map(|first| first.id));
        let mut command = container.command(&options, &words(&service["command"]));
        command
            .stdout(log(name))
            .stderr(log(&format!("{name}.err")));
        let process = container.start(&mut command);
        eventually(
            &format!("a healthy {name}"),
            Duration::from_secs(60),
            || is_healthy(service, container, &process).then_some(()),
        );
        running.push(process);
    }

    // All that have an address, of a directory that is read by TLS with a password.
    let people = fs::read_to_string(file("deploy/container/openldap/people.ldif")).unwrap();
    let people = people
        .lines()
        .filter(|line| line.starts_with("mail: "))
        .count();
    assert!(people > 0);
    let daemon = running.pop().unwrap();
    let status = [
        "/usr/bin/dirsyncd",
        "status",
        "--json",
        "--socket",
        "/var/lib/dirsyncd/dirsyncd.db.sock",
    ];
    let status = eventually("the first sync", Duration::from_secs(90), || {
        let status: Value = serde_json::from_str(&run(&mut daemon.beside(&status))).unwrap();
        (!status["last_good_sync"].is_null()).then_some(status)
    });
    assert_eq!(status["accounts"], people, "{}", said("dirsyncd.err"));
    let service = &document("compose.yaml")["services"]["dirsyncd"];
    let container = &containers[2];
    assert!(is_healthy(service, container, &daemon));

    assert_eq!(daemon.stop(Duration::from_secs(10)), Some(0));
    // Where nobody answers, nobody is healthy: with its volume, and nothing else that runs.
    let options = outside.options(service, Some(running[0].id));
    let check = container
        .bare(&options, &container.health_check()[1..])
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(3), "{check:?}");
    for process in running.into_iter().rev() {
        assert_eq!(process.stop(Duration::from_secs(10)), Some(0));
    }
    for name in ["scim-key", "ldap-password"] {
        let secret = said(&format!("private/{name}"));
        for log in names
            .map(|name| [name.to_owned(), format!("{name}.err")])
            .concat()
        {
            assert!(!said(&log).contains(&secret), "{log} shows {name}");
        }
    }
}
