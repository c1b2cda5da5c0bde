//! Where a page is played: a real slapd, the simulator as the organization, and a folder with what the page has so
//! far.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use regex::Regex;
use tempfile::TempDir;

use crate::page::{Block, Kind, Page, Shown};
use crate::support::directory::{PASSWORD, Transport, free_port};
use crate::support::people::BASE;
use crate::support::{Organization, Person, SOON, Slapd, eventually, set_mode, write_private};
use crate::updates;

/// The longest that a command may take.
const LONG: Duration = Duration::from_secs(120);

/// What is there when a page begins, as `<!-- test: begins … -->` says it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// `with nothing`: a directory, and in the folder the password of the bind and the CA of the server.
    Nothing,
    /// `configured`: that, an empty organization, and a `config.toml` for both, which no command has to name.
    Configured,
    /// The same, with accounts that another tool has made: `configured, after another tool`.
    Another,
    /// The same, after the first sync; what is not said.
    Synced,
}

impl Begin {
    fn of(page: &Page) -> Self {
        match page.begins.as_deref() {
            Some("with nothing") => Begin::Nothing,
            Some("configured") => Begin::Configured,
            Some("configured, after another tool") => Begin::Another,
            None => Begin::Synced,
            Some(other) => panic!("{}: no page begins {other:?}", page.name),
        }
    }
}

/// Plays a page from its beginning to its end.
pub fn play(page: &Page) {
    let begun = quarter();
    let mut stage = Stage::set(page);
    let mut lines: Vec<&str> = page.text.lines().collect();
    let mut printed = Vec::new();
    for block in page.blocks.iter().filter(|block| block.is_run()) {
        if let Some(text) = stage.block(block, &page.name) {
            // The schedule of a page is every 15 minutes, and a sync of it no part of the page.
            if quarter() != begun {
                drop(stage);
                return play(page);
            }
            assert!(updates(), "{}", differs(page, block, &text));
            printed.push((block, text));
        }
    }
    stage.end(&page.name);
    // From the end, so that the lines before stay where they are.
    for (block, text) in printed.iter().rev() {
        let end = block.line + block.text.lines().count();
        lines.splice(block.line..end, text.lines());
    }
    if !printed.is_empty() {
        std::fs::write(&page.path, lines.join("\n") + "\n").unwrap();
    }
}

/// The quarter of an hour that it is.
fn quarter() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        / 900
}

fn differs(page: &Page, block: &Block, printed: &str) -> String {
    format!(
        "{}:{} is not what is printed (INSTA_UPDATE=always cargo test --test book writes it):\n--- the page\n{}--- printed\n{printed}",
        page.name, block.line, block.text
    )
}

struct Stage {
    slapd: Slapd,
    /// Kept for as long as the page goes on.
    _organization: Option<Organization>,
    folder: TempDir,
    /// How the page names something, and what it is here.
    names: Vec<(&'static str, String)>,
    is_configured: bool,
    running: Vec<(String, Child)>,
}

impl Stage {
    fn set(page: &Page) -> Self {
        let begin = Begin::of(page);
        let mut people = Person::four();
        people.extend([
            Person::new("edsger", "Edsger", "Dijkstra"),
            Person::new("zoe", "Zoë", "Müller"),
        ]);
        let slapd = Slapd::start(&people);
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o700);
        let file = |name: &str| folder.path().join(name);
        write_private(&file("ldap-password"), format!("{PASSWORD}\n"));
        std::fs::copy(slapd.ca_file(), file("ldap-ca.pem")).unwrap();
        let path = folder.path().canonicalize().unwrap().display().to_string();
        let mut names = vec![
            ("ldaps://ldap.example.org", slapd.url(Transport::Tls)),
            ("/home/you/dirsyncd", path),
            ("cn=dirsyncd,ou=services", "cn=sync,ou=services".to_owned()),
            (" by root", format!(" by {}", user())),
        ];
        let organization = (begin != Begin::Nothing).then(Organization::start);
        match &organization {
            Some(organization) => {
                for (name, key) in [
                    ("scim-key", &organization.scim_key),
                    ("admin-key", &organization.admin_key),
                ] {
                    write_private(&file(name), format!("{key}\n"));
                }
                names.push(("https://api.atlassian.com", organization.url.clone()));
                std::fs::write(file("config.toml"), configuration(organization, &slapd)).unwrap();
                set_mode(&file("config.toml"), 0o644);
                if begin == Begin::Another {
                    organization.create_by_hand(
                        "ada@example.org",
                        "A. Lovelace",
                        Some("payroll-17"),
                    );
                    organization.create_by_hand(
                        "grace@example.org",
                        "Grace Hopper",
                        Some("payroll-18"),
                    );
                    organization.create_by_hand(
                        "rosa@example.org",
                        "Rosa Parks",
                        Some("payroll-19"),
                    );
                }
            }
            None => names.push(("127.0.0.1:8099", format!("127.0.0.1:{}", free_port()))),
        }
        let stage = Stage {
            slapd,
            _organization: organization,
            folder,
            names,
            is_configured: begin != Begin::Nothing,
            running: Vec::new(),
        };
        if begin == Begin::Synced {
            let (code, said) = stage.command("dirsyncd sync");
            assert_eq!(code, Some(0), "{said}");
        }
        stage
    }

    /// Does what a block says; how it would have to be, if it is not.
    fn block(&mut self, block: &Block, page: &str) -> Option<String> {
        match block.kind {
            Kind::Ldif => self.slapd.modify(&block.text),
            Kind::Toml { is_added: true } => {
                let path = self.folder.path().join("config.toml");
                let text = std::fs::read_to_string(&path).unwrap();
                std::fs::write(path, format!("{text}\n{}", block.text)).unwrap();
            }
            Kind::Console { code } => return self.console(block, code, page),
            Kind::Background => {
                let shown = block.shown();
                let [shown] = shown.as_slice() else {
                    panic!("{page}:{}: one command goes on at a time", block.line);
                };
                return self.background(shown);
            }
            _ => {}
        }
        None
    }

    fn console(&self, block: &Block, code: i32, page: &str) -> Option<String> {
        let (mut made, mut fits) = (String::new(), true);
        let shown = block.shown();
        for (number, one) in shown.iter().enumerate() {
            let (ended, said) = self.command(&one.command);
            let expected = if number + 1 == shown.len() { code } else { 0 };
            assert_eq!(
                ended,
                Some(expected),
                "{page}:{}: {}\n{said}",
                block.line,
                one.command
            );
            let is_so = is_like(&one.output, &said);
            fits &= is_so;
            made += &format!(
                "$ {}\n{}",
                one.command,
                if is_so { &one.output } else { &said }
            );
        }
        (!fits).then_some(made)
    }

    /// Starts what goes on until the page ends, and waits until it has said what is shown.
    fn background(&mut self, shown: &Shown) -> Option<String> {
        let log = self
            .folder
            .path()
            .join(format!("said-{}", self.running.len()));
        let child = self.start(&format!("exec {}", shown.command), &log);
        self.running.push((shown.command.clone(), child));
        let said = || self.as_shown(&std::fs::read_to_string(&log).unwrap());
        let deadline = std::time::Instant::now() + SOON;
        eventually("what a command in the background says", SOON * 2, || {
            (is_like(&shown.output, &said()) || std::time::Instant::now() > deadline).then_some(())
        });
        let said = said();
        (!is_like(&shown.output, &said)).then(|| format!("$ {}\n{said}", shown.command))
    }

    /// Runs a command to its end; its exit code, and what it has said, as a page shows it.
    fn command(&self, command: &str) -> (Option<i32>, String) {
        let said = tempfile::NamedTempFile::new().unwrap();
        let mut child = self.start(command, said.path());
        let ended = eventually(command, LONG, || child.try_wait().unwrap());
        let text = std::fs::read_to_string(said.path()).unwrap();
        (ended.code(), self.as_shown(&text))
    }

    fn start(&self, command: &str, said: &Path) -> Child {
        let mut command = command.to_owned();
        for (shown, here) in &self.names {
            command = command.replace(shown, here);
        }
        let programs = Path::new(env!("CARGO_BIN_EXE_dirsyncd")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let said = File::create(said).unwrap();
        let mut bash = Command::new("bash");
        bash.args(["-c", &command])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", programs.display()))
            .env_remove("DIRSYNCD_LOG")
            .env_remove("DIRSYNCD_CONFIG")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said);
        for proxy in ["http_proxy", "https_proxy", "all_proxy"] {
            bash.env_remove(proxy).env_remove(proxy.to_uppercase());
        }
        if self.is_configured {
            bash.env("DIRSYNCD_CONFIG", self.folder.path().join("config.toml"));
        }
        bash.spawn().unwrap()
    }

    /// What is said here, in the names of the page, and without what a terminal shows for a moment only.
    fn as_shown(&self, said: &str) -> String {
        static MOMENTARY: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(
                r"(?m)^dirsyncd: ([\d,]+ of )?[\d,]+ (operations|entries|people|accounts).*\n",
            )
            .unwrap()
        });
        let mut said = MOMENTARY.replace_all(said, "").into_owned();
        for (shown, here) in &self.names {
            said = said.replace(here, shown);
        }
        let lines = said.lines().map(|line| format!("{}\n", line.trim_end()));
        lines.collect()
    }

    /// Ends what still goes on, as by Ctrl-C; it must end well.
    fn end(&mut self, page: &str) {
        for (command, mut child) in std::mem::take(&mut self.running) {
            let asked = Command::new("kill")
                .args(["-s", "INT", &child.id().to_string()])
                .status();
            assert!(asked.unwrap().success());
            let ended = eventually(&command, LONG, || child.try_wait().unwrap());
            assert_eq!(ended.code(), Some(0), "{page}: {command}");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for (_, child) in &mut self.running {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Who runs the tests.
fn user() -> String {
    let user = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(user.stdout).unwrap().trim().to_owned()
}

/// The configuration as README shows it, for these two.
fn configuration(organization: &Organization, slapd: &Slapd) -> String {
    let table: toml::Table = organization.block.parse().unwrap();
    let table = &table["organization"];
    format!(
        "database = \"dirsyncd.db\"\n\n[organization]\nid = {id}\ndirectory = {directory}\napi = {api}\nscim_key = {{ file = \"scim-key\" }}\nadmin_key = {{ file = \"admin-key\" }}\n\n[[source]]\npreset = \"openldap\"\nurl = \"{url}\"\nca_file = \"ldap-ca.pem\"\nbind_dn = \"cn=sync,ou=services,{BASE}\"\npassword = {{ file = \"ldap-password\" }}\nbase = \"ou=people,{BASE}\"\n\n[schedule]\nsync = \"*/15 * * * *\"\n",
        id = table["id"],
        directory = table["directory"],
        api = table["api"],
        url = slapd.url(Transport::Tls),
    )
}

/// Whether what is printed is what is shown, but for what differs each time. `…` alone in a line is any lines.
fn is_like(shown: &str, printed: &str) -> bool {
    fn fits(shown: &[String], printed: &[String]) -> bool {
        match shown {
            [] => printed.is_empty(),
            [first, rest @ ..] if first == "…" => {
                (0..=printed.len()).any(|skipped| fits(rest, &printed[skipped..]))
            }
            [first, rest @ ..] => printed.first() == Some(first) && fits(rest, &printed[1..]),
        }
    }
    let lines = |text: &str| -> Vec<String> { text.lines().map(timeless).collect() };
    fits(&lines(shown), &lines(printed))
}

/// A line without what differs each time.
fn timeless(line: &str) -> String {
    static DIFFERENT: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [
            (
                r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
                "{id}",
            ),
            (
                r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?( ?UTC| ?Z)?",
                "{time}",
            ),
            (r"\b\d\d:\d\d(:\d\d)?( UTC)?\b", "{time}"),
            (r"\bjust now\b|\b\d+ min ago\b", "{ago}"),
            (
                r"\b\d+(\.\d+)? ?(ms|s|min|minutes?|seconds?|hours?|h|m|d|days)\b",
                "{duration}",
            ),
            (r"\b\d+(\.\d+)? (B|kB|KB|KiB|MB|MiB)\b", "{size}"),
            (r"127\.0\.0\.1:\d+", "{address}"),
            (r"\b(process|pid) \d+", "{process}"),
        ]
        .map(|(pattern, instead)| (Regex::new(pattern).unwrap(), instead))
        .to_vec()
    });
    let mut line = line.trim_end().to_owned();
    for (pattern, instead) in DIFFERENT.iter() {
        line = pattern.replace_all(&line, *instead).into_owned();
    }
    line
}

#[test]
fn what_differs_each_time_is_not_compared_and_the_rest_is() {
    assert!(is_like("read in 5 ms\n", "read in 17 ms\n"));
    assert!(is_like("a\n…\nd\n", "a\nb\nc\nd\n"));
    assert!(is_like("…\n", ""));
    assert!(!is_like("a\n…\nd\n", "a\nb\nc\n"));
    assert!(!is_like("4 to create\n", "5 to create\n"));
    assert!(!is_like("", "a\n"));
}
