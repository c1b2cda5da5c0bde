//! A private slapd, and changes to it by the real LDAP clients.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

use super::people::{BASE, Person, directory};
use super::{SOON, eventually};

/// The password of the accounts that bind; no output of the program may hold it.
pub const PASSWORD: &str = "ldap-pass-4Zq8Wk2";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/slapd.sh");

/// How the directory is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `ldaps://`
    Tls,
    /// `ldap://` with StartTLS.
    StartTls,
}

/// A running slapd of its own; it ends with this.
pub struct Slapd {
    folder: TempDir,
    /// A sed script over its configuration.
    edit: Mutex<String>,
    pub port: u16,
    pub tls_port: u16,
}

impl Slapd {
    /// Starts one with these people.
    pub fn start(people: &[Person]) -> Self {
        let is_there = ["/usr/sbin/slapd", "/usr/bin/ldapmodify", "/usr/bin/openssl"]
            .iter()
            .all(|program| std::path::Path::new(program).exists());
        assert!(
            is_there,
            "slapd, ldap-utils or openssl is not installed: run tests/install-packages.sh"
        );
        let folder = tempfile::tempdir().unwrap();
        let ldif = folder.path().join("people.ldif");
        std::fs::write(&ldif, directory(people)).unwrap();
        let mut slapd = Slapd {
            folder,
            edit: Mutex::default(),
            port: 0,
            tls_port: 0,
        };
        // A free port may be taken by somebody else before slapd binds it; then others are tried.
        let mut said = String::new();
        for _ in 0..5 {
            (slapd.port, slapd.tls_port) = (free_port(), free_port());
            match slapd.launch() {
                Ok(()) => return slapd,
                Err(words) => said = words,
            }
        }
        panic!("slapd does not start: {said}");
    }

    fn launch(&self) -> Result<(), String> {
        let output = Command::new(SCRIPT)
            .arg("start")
            .arg(self.folder.path())
            .args([self.port.to_string(), self.tls_port.to_string()])
            .arg(self.folder.path().join("people.ldif"))
            .env("PATH", path())
            .env("SLAPD_EDIT", self.edit.lock().unwrap().as_str())
            .output()
            .unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Ends it, as a crash would; what it holds stays.
    pub fn stop(&self) {
        let stop = Command::new(SCRIPT)
            .arg("stop")
            .arg(self.folder.path())
            .status();
        assert!(stop.unwrap().success());
        eventually("slapd's end", SOON, || {
            TcpStream::connect(("127.0.0.1", self.tls_port))
                .is_err()
                .then_some(())
        });
    }

    /// From now on it keeps no log of what was deleted.
    pub fn forget_deletions(&self) {
        self.reconfigure("/^syncprov-sessionlog/d");
    }

    /// From now on this account of ou=services has its limits only where it asks for no pages.
    pub fn let_read_paged(&self, name: &str) {
        self.reconfigure(&format!(
            "/^limits dn.exact=\"cn={name},/s/size.prtotal=5/size.prtotal=unlimited/"
        ));
    }

    /// From now on it takes no TLS connection without a client certificate of its CA.
    pub fn demand_certificates(&self) {
        self.reconfigure("/^sizelimit 500/iTLSVerifyClient demand");
    }

    /// Starts it again with its configuration edited by a sed script.
    fn reconfigure(&self, edit: &str) {
        self.stop();
        edit.clone_into(&mut self.edit.lock().unwrap());
        self.start_again();
    }

    /// A copy of all that it holds.
    pub fn backup(&self) -> String {
        let state = self.client(
            "ldapsearch",
            &["-LLL", "-s", "base", "-b", BASE, "contextCSN"],
            None,
        );
        let state = state
            .lines()
            .find(|line| line.starts_with("contextCSN"))
            .unwrap();
        // A server that ends gently keeps it by itself.
        self.slapcat()
            .replacen("\n\n", &format!("\n{state}\n\n"), 1)
    }

    /// Puts a copy back, as an administrator does after a loss.
    pub fn restore(&self, backup: &str) {
        self.stop();
        std::fs::remove_dir_all(self.folder.path().join("db")).unwrap();
        std::fs::write(self.folder.path().join("people.ldif"), backup).unwrap();
        self.start_again();
    }

    /// The cookie of a content synchronization of now (RFC 4533), in base64.
    pub fn sync_cookie(&self) -> String {
        let output = self.client(
            "ldapsearch",
            &[
                "-E",
                "!sync=ro",
                "-b",
                BASE,
                "(&(objectClass=person)(!(objectClass=*)))",
                "1.1",
            ],
            None,
        );
        let (_, cookie) = output.split_once("# cookie: ").unwrap();
        let cookie = cookie.lines().next().unwrap();
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, cookie)
    }

    /// Starts it again at the same place.
    pub fn start_again(&self) {
        self.launch().unwrap();
    }

    /// Gives it a certificate that is valid between these times (YYYYMMDDHHMMSSZ), and starts it again with it.
    pub fn certify(&self, not_before: &str, not_after: &str) {
        let certify = Command::new(SCRIPT)
            .arg("certify")
            .arg(self.folder.path())
            .args([not_before, not_after])
            .status();
        assert!(certify.unwrap().success());
        self.stop();
        self.start_again();
    }

    /// Starts it again without the overlay that expands dynamic groups.
    pub fn start_without_dynlist(&self) {
        self.reconfigure("/dynlist/d");
    }

    /// The certificate of the CA that signed the server's.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The URL of its socket, which only this machine's processes reach.
    pub fn socket_url(&self) -> String {
        let path = self.folder.path().join("run/ldapi");
        let path = path.canonicalize().unwrap().display().to_string();
        format!("ldapi://{}", path.replace('/', "%2F"))
    }

    /// The certificate of this name and its key, from the same CA: `client` is known, `stranger` is not.
    pub fn client_certificate(&self, name: &str) -> [PathBuf; 2] {
        ["pem", "key"].map(|ending| self.folder.path().join(format!("{name}.{ending}")))
    }

    /// The URL as the configuration has it.
    pub fn url(&self, transport: Transport) -> String {
        match transport {
            Transport::Tls => format!("ldaps://127.0.0.1:{}", self.tls_port),
            Transport::StartTls => format!("ldap://127.0.0.1:{}", self.port),
        }
    }

    /// Applies changes (RFC 2849) as the directory's administrator.
    pub fn modify(&self, ldif: &str) {
        self.client("ldapmodify", &[], Some(ldif));
    }

    /// Replaces values of an entry.
    pub fn replace(&self, dn: &str, values: &[(&str, &str)]) {
        let mut ldif = format!("dn: {dn}\nchangetype: modify\n");
        for (attribute, value) in values {
            ldif += &format!("replace: {attribute}\n{attribute}: {value}\n-\n");
        }
        self.modify(&ldif);
    }

    /// Adds people under the keys that they always have: what a restored backup does.
    pub fn add(&self, person: &Person) {
        self.client("ldapadd", &["-e", "!relax"], Some(&person.entry()));
    }

    /// Adds all of these.
    pub fn add_all(&self, people: &[Person]) {
        let entries: String = people.iter().map(Person::entry).collect();
        self.client("ldapadd", &["-e", "!relax"], Some(&entries));
    }

    /// Adds a person's entry elsewhere than where people of the department are.
    pub fn add_at(&self, person: &Person, dn: &str) {
        let entry = person.entry().replace(&person.dn(), dn);
        self.client("ldapadd", &["-e", "!relax"], Some(&entry));
    }

    /// Takes all of these away.
    pub fn delete_all(&self, people: &[Person]) {
        let names: Vec<String> = people.iter().map(Person::dn).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.client("ldapdelete", &names, None);
    }

    /// Takes an entry away.
    pub fn delete(&self, dn: &str) {
        self.client("ldapdelete", &[dn], None);
    }

    /// Takes a referral object away (RFC 3296), not what it refers to.
    pub fn delete_referral(&self, dn: &str) {
        self.client("ldapdelete", &["-M", dn], None);
    }

    /// Renames an entry, or moves it below `superior`; the old RDN's value goes.
    pub fn rename(&self, dn: &str, rdn: &str, superior: Option<&str>) {
        let mut arguments = vec!["-r"];
        if let Some(superior) = superior {
            arguments.extend(["-s", superior]);
        }
        arguments.extend([dn, rdn]);
        self.client("ldapmodrdn", &arguments, None);
    }

    /// What `ldapsearch -LLL` writes of all people, with the operational attributes.
    pub fn export(&self) -> String {
        let base = format!("ou=people,{BASE}");
        let paging = [
            "-LLL",
            "-E",
            "pr=100/noprompt",
            "-b",
            &base,
            "(uid=*)",
            "*",
            "+",
        ];
        self.client("ldapsearch", &paging, None)
    }

    /// What `slapcat` writes of everything.
    pub fn slapcat(&self) -> String {
        let output = Command::new("slapcat")
            .arg("-f")
            .arg(self.folder.path().join("slapd.conf"))
            .env("PATH", path())
            .output()
            .unwrap();
        assert!(output.status.success(), "slapcat: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs one of the LDAP clients over StartTLS.
    fn client(&self, program: &str, arguments: &[&str], input: Option<&str>) -> String {
        let url = self.url(Transport::StartTls);
        let name = format!("cn=admin,{BASE}");
        let bind = ["-x", "-ZZ", "-H", &url, "-D", &name, "-w", "admin-secret"];
        client(program, &self.ca_file(), &bind, arguments, input)
    }
}

/// Runs one of the LDAP clients, which must succeed; what it writes.
pub(super) fn client(
    program: &str,
    ca_file: &Path,
    bind: &[&str],
    arguments: &[&str],
    input: Option<&str>,
) -> String {
    let mut child = Command::new(program)
        .args(bind)
        .args(arguments)
        .env("LDAPTLS_CACERT", ca_file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Dropped at once, so that the client sees the end of its input.
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.unwrap_or_default().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}\n{}",
        String::from_utf8_lossy(&output.stderr),
        input.unwrap_or_default()
    );
    String::from_utf8(output.stdout).unwrap()
}

impl Drop for Slapd {
    fn drop(&mut self) {
        // Also runs when a test panics, so it must not panic itself.
        let _ = Command::new(SCRIPT)
            .arg("stop")
            .arg(self.folder.path())
            .status();
    }
}

/// A port of loopback that nobody listens on at the moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// The search path with the system programs, which Debian keeps from ordinary users.
pub(super) fn path() -> String {
    format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    )
}
