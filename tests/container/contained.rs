//! Containers as a runtime starts them, by what their images say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::support::{SOON, eventually};
use super::{file, run};

/// The storage of buildah, below that of Cargo.
pub(crate) fn storage() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("containers")
}

pub(crate) fn buildah(arguments: &[&str]) -> String {
    let mut command = Command::new("buildah");
    command.arg("--root").arg(storage().join("root"));
    command.arg("--runroot").arg(storage().join("run"));
    command.args(["--storage-driver", "vfs"]).args(arguments);
    run(&mut command).trim().to_owned()
}

/// How an image says that it is run, in Docker's words.
pub(crate) fn config(image: &str) -> Value {
    let mut inspected: Value =
        serde_json::from_str(&buildah(&["inspect", "--type", "image", image])).unwrap();
    inspected["Docker"]["config"].take()
}

/// A list of words; none, where there is no list.
pub(crate) fn words(list: &Value) -> Vec<&str> {
    let list = list.as_array().into_iter().flatten();
    list.map(|word| word.as_str().unwrap()).collect()
}

/// A container of an image; it goes with this.
pub(crate) struct Container {
    name: String,
    /// Its root folder.
    pub(crate) root: PathBuf,
    config: Value,
    /// The volumes that its image wants and nobody gives.
    volumes: TempDir,
}

impl Container {
    pub(crate) fn of(image: &str) -> Self {
        let name = buildah(&["from", "--pull-never", image]);
        Container {
            root: PathBuf::from(buildah(&["mount", &name])),
            name,
            config: config(image),
            volumes: tempfile::tempdir().unwrap(),
        }
    }

    /// What its image runs, with these words after it or else those of the image, and with more options of `contained.sh`.
    pub(crate) fn command(&self, options: &[String], arguments: &[&str]) -> Command {
        let mut all = words(&self.config["Entrypoint"]);
        all.extend(match arguments {
            [] => words(&self.config["Cmd"]),
            _ => arguments.to_vec(),
        });
        self.bare(options, &all)
    }

    /// A command in place of what its image runs.
    pub(crate) fn bare(&self, options: &[String], instead: &[&str]) -> Command {
        let mut command = Command::new(file("tests/container/contained.sh"));
        command.args(["-u", &self.user().join(":")]);
        for variable in words(&self.config["Env"]) {
            command.args(["-e", variable]);
        }
        for (number, place) in self.config["Volumes"]
            .as_object()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let volume = self.volumes.path().join(number.to_string());
            command.args(["-v", &format!("{}:{}:rw", volume.display(), place.0)]);
        }
        command.args(options).arg(&self.root).args(instead);
        command
    }

    /// User and group.
    fn user(&self) -> [&str; 2] {
        let user = self.config["User"].as_str().unwrap();
        let (user, group) = user.split_once(':').unwrap();
        [user, group]
    }

    /// What the image's own health check runs.
    pub(crate) fn health_check(&self) -> Vec<&str> {
        words(&self.config["Healthcheck"]["Test"])
    }

    /// Starts a command of this container.
    pub(crate) fn start(&self, command: &mut Command) -> Process<'_> {
        // From here on it does not outlive a test that fails.
        let mut runtime = Runtime(command.spawn().unwrap());
        let children = format!("/proc/{0}/task/{0}/children", runtime.0.id());
        let id = eventually("the process in the container", SOON, || {
            assert_eq!(runtime.0.try_wait().unwrap(), None, "it has ended");
            let id = fs::read_to_string(&children).unwrap().trim().parse().ok()?;
            let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let user = format!("\nUid:\t{}\t", self.user()[0]);
            status.contains(&user).then_some(id)
        });
        Process {
            container: self,
            runtime,
            id,
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        buildah(&["rm", &self.name]);
    }
}

struct Runtime(Child);

impl Drop for Runtime {
    fn drop(&mut self) {
        // It has ended already, if all went well. What it runs ends with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What runs in a container.
pub(crate) struct Process<'a> {
    container: &'a Container,
    runtime: Runtime,
    /// Its number outside.
    pub(crate) id: u32,
}

impl Process<'_> {
    /// Another command beside it.
    pub(crate) fn beside(&self, words_of_it: &[&str]) -> Command {
        let [user, group] = self.container.user();
        let mut command = Command::new("setpriv");
        command
            .args(["--no-new-privs", "nsenter", "--mount", "--pid", "--net"])
            .args(["--root", "--wd", "--target", &self.id.to_string()])
            .args(["--setuid", user, "--setgid", group, "--"])
            .args(words_of_it)
            .env_clear();
        for variable in words(&self.container.config["Env"]) {
            let (name, value) = variable.split_once('=').unwrap();
            command.env(name, value);
        }
        command
    }

    /// Ends it by SIGTERM; its exit code.
    #[track_caller]
    pub(crate) fn stop(mut self, within: Duration) -> Option<i32> {
        run(Command::new("kill").args(["-TERM", &self.id.to_string()]));
        let status = eventually("it ends", within, || self.runtime.0.try_wait().unwrap());
        status.code()
    }
}
