//! The program as its users run it: a configuration in a folder, a process, an exit code and what it says.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use regex::bytes::Regex;
use serde_json::Value;
use tempfile::TempDir;

use super::directory::{PASSWORD, Slapd, Transport};
use super::organization::Organization;
use super::people::BASE;
use super::systemd::Systemd;
use super::{eventually, file_reference, set_mode, write_private};

/// The other group of nobody, which has no name, as the `fsGroup` of Kubernetes.
pub const NAMELESS_GROUP: &str = "42424";

/// The program with its configuration.
pub struct Dirsyncd {
    folder: Folder,
    /// The `[organization]` table.
    pub organization: String,
    /// The keys of the `[[source]]`.
    pub source: String,
    /// The keys of its `[source.mapping]`.
    pub mapping: String,
    /// The tables after it.
    pub rest: String,
    /// Whether it runs as a user without any rights.
    pub as_nobody: bool,
    /// `DIRSYNCD_LOG`, if it is set.
    pub log: Option<String>,
}

impl Dirsyncd {
    /// The program between this directory and this organization.
    pub fn between(slapd: &Slapd, transport: Transport, organization: &Organization) -> Self {
        let dirsyncd = Self::with_source(organization, String::new());
        let password = dirsyncd.password_file();
        write_private(&password, format!("{PASSWORD}\n"));
        let source = format!(
            "preset = \"openldap\"\nurl = {url:?}\nca_file = {ca:?}\nbind_dn = \"cn=sync,ou=services,{BASE}\"\npassword = {password}\nbase = \"ou=people,{BASE}\"\n",
            url = slapd.url(transport),
            ca = slapd.ca_file().display().to_string(),
            password = file_reference(&password),
        );
        Dirsyncd { source, ..dirsyncd }
    }

    /// The program between an LDIF file and this organization.
    pub fn from_ldif(organization: &Organization, ldif: &str) -> Self {
        let dirsyncd = Self::with_source(
            organization,
            format!(
                "kind = \"ldif\"\npreset = \"openldap\"\nfile = \"directory.ldif\"\nbase = \"ou=people,{BASE}\"\n"
            ),
        );
        dirsyncd.write_ldif(ldif);
        dirsyncd
    }

    /// The program with these keys of its source.
    pub fn with_source(organization: &Organization, source: String) -> Self {
        let path = tempfile::tempdir().unwrap();
        std::fs::create_dir(path.path().join("state")).unwrap();
        let secrets = Secrets::new(&[PASSWORD, &organization.scim_key, &organization.admin_key]);
        Dirsyncd {
            folder: Folder { path, secrets },
            organization: organization.block.clone(),
            source,
            mapping: "active = { expr = 'attr(\"employeeType\") != \"leaver\"' }\n".to_owned(),
            rest: String::new(),
            as_nobody: false,
            log: None,
        }
    }

    /// Replaces the LDIF file of [`Dirsyncd::from_ldif`].
    pub fn write_ldif(&self, ldif: &str) {
        std::fs::write(self.ldif_file(), ldif).unwrap();
    }

    pub fn ldif_file(&self) -> PathBuf {
        self.folder().join("directory.ldif")
    }

    /// The file with the LDAP password, which a daemon can have as `{ credential = "ldap-password" }` too.
    pub fn password_file(&self) -> PathBuf {
        self.folder().join("ldap-password")
    }

    /// Puts a secret into a file, and has it searched for in all that the program writes from now on; how the
    /// configuration names it.
    pub fn add_secret(&mut self, name: &str, secret: &str) -> String {
        let file = self.folder().join(name);
        write_private(&file, format!("{secret}\n"));
        let mut all = self.folder.secrets.all.clone();
        all.push(secret.to_owned());
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        self.folder.secrets = Secrets::new(&all);
        file_reference(&file)
    }

    /// Fails where one of the secrets is in what the program has said to somebody who has started it otherwise.
    #[track_caller]
    pub fn expect_no_secret_in(&self, place: &str, content: &[u8]) {
        self.folder.secrets.expect_none_in(&place, content);
    }

    /// The folder with the configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path.path()
    }

    /// The folder with the database and the files beside it.
    pub fn state(&self) -> PathBuf {
        self.folder().join("state")
    }

    pub fn database(&self) -> PathBuf {
        self.state().join("dirsyncd.db")
    }

    pub fn config_file(&self) -> PathBuf {
        self.folder().join("config.toml")
    }

    /// The text of the configuration.
    pub fn config(&self) -> String {
        let Dirsyncd {
            organization,
            source,
            mapping,
            rest,
            ..
        } = self;
        format!(
            "database = \"state/dirsyncd.db\"\n\n{organization}\n[[source]]\n{source}\n[source.mapping]\n{mapping}\n{rest}"
        )
    }

    /// Replaces a key of the `[[source]]`, or adds it.
    pub fn set_source(&mut self, key: &str, value: &str) {
        let old = std::mem::take(&mut self.source);
        for line in old
            .lines()
            .filter(|line| !line.starts_with(&format!("{key} =")))
        {
            self.source += line;
            self.source.push('\n');
        }
        self.source += &format!("{key} = {value}\n");
    }

    /// Runs a verb to its end, with the configuration as it is now.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait()
    }

    /// Starts a verb, with the configuration as it is now; the daemon as a service of systemd.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_with(arguments, &[])
    }

    /// Starts a verb with these environment variables.
    pub fn start_with(&self, arguments: &[&str], environment: &[(&str, &Path)]) -> Running {
        std::fs::write(self.config_file(), self.config()).unwrap();
        // Whatever the umask of the tests is.
        set_mode(&self.config_file(), 0o644);
        let mut words: Vec<OsString> = arguments.iter().map(Into::into).collect();
        words.extend(["--config".into(), self.config_file().into()]);
        self.execute(&words, environment)
    }

    /// Runs it with exactly these arguments, to its end.
    pub fn run_bare(&self, arguments: &[&str]) -> Output {
        let words: Vec<OsString> = arguments.iter().map(Into::into).collect();
        self.execute(&words, &[]).wait()
    }

    fn execute(&self, words: &[OsString], environment: &[(&str, &Path)]) -> Running {
        let is_daemon = words.first().is_some_and(|verb| verb == "run");
        let systemd = is_daemon.then(Systemd::new);
        let program = env!("CARGO_BIN_EXE_dirsyncd");
        let mut command = if self.as_nobody {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=65534", "--regid=65534", "--groups", NAMELESS_GROUP])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        for variable in [
            "DIRSYNCD_LOG",
            "DIRSYNCD_CONFIG",
            "NOTIFY_SOCKET",
            "WATCHDOG_PID",
            "WATCHDOG_USEC",
            "CREDENTIALS_DIRECTORY",
        ] {
            command.env_remove(variable);
        }
        if let Some(systemd) = &systemd {
            command.envs(systemd.environment(self.folder()));
        }
        for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(proxy).env_remove(proxy.to_uppercase());
        }
        if let Some(log) = &self.log {
            command.env("DIRSYNCD_LOG", log);
        }
        let said = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(said.path().join(name)).unwrap();
        let child = command
            .args(words)
            // Nobody answers what it asks.
            .stdin(Stdio::null())
            .envs(environment.iter().copied())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        Running {
            child,
            said,
            systemd,
            words: format!("{words:?}"),
            secrets: self.folder.secrets.clone(),
        }
    }

    /// The plan as JSON, with the exit code.
    pub fn plan(&self) -> Plan {
        self.plan_with(&[])
    }

    /// The same with these arguments.
    pub fn plan_with(&self, arguments: &[&str]) -> Plan {
        let output = self.run(&[&["plan", "--format", "json"], arguments].concat());
        assert!(
            matches!(output.code, Some(0 | 3)),
            "no plan was made: {output}"
        );
        let json: Value = serde_json::from_str(&output.stdout).unwrap();
        Plan {
            code: output.code.unwrap(),
            json,
        }
    }

    /// Syncs, which must end with this code.
    #[track_caller]
    pub fn sync(&self, code: i32) -> Output {
        self.run(&["sync"]).expect_code(code)
    }

    /// What is planned must be nothing, with exit code 0 also for those who ask for details.
    #[track_caller]
    pub fn expect_nothing_to_do(&self) {
        let output = self.run(&["plan", "--detailed-exitcode"]).expect_code(0);
        assert!(output.stdout.contains("Nothing to do: "), "{output}");
    }
}

/// The folder with the configuration. The database, its log and all else that the program has written
/// there must be free of secrets.
struct Folder {
    path: TempDir,
    secrets: Secrets,
}

impl Drop for Folder {
    fn drop(&mut self) {
        let mut folders = vec![self.path.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                // What the directory holds may be the password, too.
                let is_input = path.extension().is_some_and(|ending| ending == "ldif");
                if path.is_dir() {
                    folders.push(path);
                } else if !is_input
                    && let Ok(content) = std::fs::read(&path)
                    && !self.secrets.is_one(&content)
                {
                    self.secrets.expect_none_in(&path.display(), &content);
                }
            }
        }
    }
}

/// The secrets of a world, to be searched for.
#[derive(Clone)]
struct Secrets {
    /// As they are, as bytes in a debugging output, and as HTTP or LDIF would encode them.
    any: Regex,
    all: Vec<String>,
}

impl Secrets {
    fn new(secrets: &[&str]) -> Self {
        let forms = secrets.iter().flat_map(|secret| {
            let bytes = format!("{:?}", secret.as_bytes());
            [
                (*secret).to_owned(),
                bytes.trim_matches(['[', ']']).to_owned(),
                base64::engine::general_purpose::STANDARD.encode(secret),
            ]
        });
        let forms: Vec<String> = forms.map(|form| regex::escape(&form)).collect();
        Secrets {
            any: Regex::new(&forms.join("|")).unwrap(),
            all: secrets.iter().map(|secret| (*secret).to_owned()).collect(),
        }
    }

    /// Whether this is the file of a secret.
    fn is_one(&self, content: &[u8]) -> bool {
        let content = content.trim_ascii_end();
        self.all.iter().any(|secret| secret.as_bytes() == content)
    }

    /// Fails where one of them is shown, unless the test has failed already.
    #[track_caller]
    fn expect_none_in(&self, place: &dyn std::fmt::Display, content: &[u8]) {
        if let Some(found) = self.any.find(content)
            && !std::thread::panicking()
        {
            let found = String::from_utf8_lossy(found.as_bytes());
            panic!("the secret {found} is shown by {place}");
        }
    }
}

/// A running process of the program; it is killed when this goes.
pub struct Running {
    child: Child,
    said: TempDir,
    systemd: Option<Systemd>,
    words: String,
    secrets: Secrets,
}

impl Running {
    /// What a daemon is started by.
    pub fn systemd(&self) -> &Systemd {
        self.systemd.as_ref().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.said.path().join(name)).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether it has been stopped (SIGSTOP) and not continued yet.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let (_, state) = stat.rsplit_once(')').unwrap();
        state.trim_start().starts_with('T')
    }

    /// Sends it a signal, by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for its end, one minute at most.
    pub fn wait(self) -> Output {
        self.wait_within(Duration::from_secs(60))
    }

    /// Waits for its end. A service that ends well has told when it was ready, and that it stops.
    #[track_caller]
    pub fn wait_within(mut self, time: Duration) -> Output {
        let child = &mut self.child;
        let status = eventually(&format!("the end of {}", self.words), time, || {
            child.try_wait().unwrap()
        });
        if let Some(systemd) = self.systemd.as_mut().filter(|_| status.success()) {
            let told = systemd.end();
            let turns: Vec<&str> = told
                .iter()
                .flat_map(|message| message.lines())
                .filter(|line| ["READY=1", "STOPPING=1"].contains(line))
                .collect();
            let is_right = matches!(turns[..], ["READY=1", .., "STOPPING=1"]);
            assert!(is_right, "{} told systemd {told:?}", self.words);
        }
        Output {
            words: self.words.clone(),
            code: status.code(),
            stdout: self.read("stdout"),
            stderr: self.read("stderr"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Here every output is searched for secrets, whether a test looks at it or not.
        for name in ["stdout", "stderr"] {
            let content = std::fs::read(self.said.path().join(name)).unwrap();
            let place = format!("{} on {name}", self.words);
            self.secrets.expect_none_in(&place, &content);
        }
    }
}

/// How a run ended and what it said.
#[derive(Clone, Debug)]
pub struct Output {
    words: String,
    /// None after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// What it was told to do.
    pub fn verb(&self) -> &str {
        self.words.split('"').nth(1).unwrap_or_default()
    }

    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Standard output or error must hold each of these.
    #[track_caller]
    pub fn expect_words(self, words: &[&str]) -> Self {
        let both = format!("{}{}", self.stdout, self.stderr);
        for word in words {
            assert!(both.contains(word), "`{word}` is not in {self}");
        }
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Output {
            words,
            code,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "{words} ended with {code:?}\n--- stdout ---\n{stdout}\n--- stderr ---\n{stderr}"
        )
    }
}

/// A plan as JSON.
#[derive(Clone)]
pub struct Plan {
    pub code: i32,
    pub json: Value,
}

/// An operation of a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Planned {
    pub kind: String,
    pub account: String,
    pub reason: String,
    /// Attribute, old value, new value.
    pub changes: Vec<(String, Option<String>, Option<String>)>,
    pub held: bool,
}

impl Plan {
    /// The operations, in the order in which they are sent.
    pub fn operations(&self) -> Vec<Planned> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let certain = |value: &Value| text(value).unwrap_or_default();
        let change = |change: &Value| {
            (
                certain(&change["attribute"]),
                text(&change["old"]),
                text(&change["new"]),
            )
        };
        self.list("operations")
            .iter()
            .map(|operation| Planned {
                kind: certain(&operation["kind"]),
                account: certain(&operation["account"]),
                reason: certain(&operation["message"]),
                changes: operation["changes"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(change)
                    .collect(),
                held: !operation["hold"].is_null(),
            })
            .collect()
    }

    /// One of its lists: `refused`, `skipped`, `holds`, `suspended`.
    pub fn list(&self, name: &str) -> &[Value] {
        self.json[name].as_array().map_or(&[], Vec::as_slice)
    }

    /// How many operations of a kind there are.
    pub fn count(&self, kind: &str) -> usize {
        let operations = self.operations();
        operations
            .iter()
            .filter(|planned| planned.kind == kind)
            .count()
    }
}
