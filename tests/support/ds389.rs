//! A private 389 Directory Server.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::directory::{client, free_port, path};
use super::people::{BASE, Person, directory};
use super::{SOON, eventually};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/ds389.sh");

/// A running 389 Directory Server of its own; it ends with this.
pub struct Ds389 {
    folder: TempDir,
    port: u16,
    tls_port: u16,
}

impl Ds389 {
    /// Starts one with these people; `cn=sync,ou=services` reads them without a limit, `cn=limited` gets five entries.
    pub fn start(people: &[Person]) -> Self {
        let is_there = [
            "/usr/sbin/ns-slapd",
            "/usr/bin/certutil",
            "/usr/bin/ldapmodify",
        ]
        .iter()
        .all(|program| std::path::Path::new(program).exists());
        assert!(
            is_there,
            "389-ds-base, libnss3-tools or ldap-utils is not installed: run tests/install-packages.sh"
        );
        // A free port may be taken by somebody else before the server binds it; then others are tried.
        let mut said = String::new();
        for _ in 0..3 {
            let server = Ds389 {
                folder: tempfile::tempdir().unwrap(),
                port: free_port(),
                tls_port: free_port(),
            };
            let ldif = server.folder.path().join("people.ldif");
            std::fs::write(&ldif, import(people)).unwrap();
            let ports = [server.port.to_string(), server.tls_port.to_string()];
            match server.script("start", &[&ports[0], &ports[1], ldif.to_str().unwrap()]) {
                Ok(()) => return server,
                Err(words) => said = words,
            }
        }
        panic!("ns-slapd does not start: {said}");
    }

    /// Ends it, as a crash would; what it holds stays.
    pub fn stop(&self) {
        self.script("stop", &[]).unwrap();
        eventually("ns-slapd's end", SOON, || {
            TcpStream::connect(("127.0.0.1", self.tls_port))
                .is_err()
                .then_some(())
        });
    }

    /// Starts it again at the same place.
    pub fn start_again(&self) {
        self.script("again", &[]).unwrap();
    }

    fn script(&self, verb: &str, arguments: &[&str]) -> Result<(), String> {
        let output = Command::new(SCRIPT)
            .arg(verb)
            .arg(self.folder.path())
            .args(arguments)
            .env("PATH", path())
            .output()
            .unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The certificate of the CA that signed the server's.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// `ldaps://…`
    pub fn url(&self) -> String {
        format!("ldaps://127.0.0.1:{}", self.tls_port)
    }

    /// `ldap://…`, which takes StartTLS.
    pub fn plain_url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    /// Applies changes (RFC 2849) as the directory manager.
    pub fn modify(&self, ldif: &str) {
        self.client("ldapmodify", &[], Some(ldif));
    }

    /// Adds a person, whose key the server chooses.
    pub fn add(&self, person: &Person) {
        let entry = entry(person);
        let entry = entry
            .lines()
            .filter(|line| !line.starts_with("nsUniqueId:"))
            .fold(String::new(), |entry, line| entry + line + "\n");
        self.client("ldapadd", &[], Some(&entry));
    }

    /// Takes an entry away.
    pub fn delete(&self, dn: &str) {
        self.client("ldapdelete", &[dn], None);
    }

    /// Renames an entry and moves it below `superior`.
    pub fn rename(&self, dn: &str, rdn: &str, superior: &str) {
        self.client("ldapmodrdn", &["-r", "-s", superior, dn, rdn], None);
    }

    /// The nsUniqueId of an entry.
    pub fn key(&self, dn: &str) -> String {
        let search = [
            "-LLL",
            "-b",
            dn,
            "-s",
            "base",
            "(objectClass=*)",
            "nsUniqueId",
        ];
        let found = self.client("ldapsearch", &search, None);
        let key = found
            .lines()
            .find_map(|line| line.strip_prefix("nsUniqueId: "));
        key.unwrap().to_owned()
    }

    fn client(&self, program: &str, arguments: &[&str], input: Option<&str>) -> String {
        let url = self.url();
        let bind = [
            "-x",
            "-H",
            &url,
            "-D",
            "cn=Directory Manager",
            "-w",
            "admin-secret",
        ];
        client(program, &self.ca_file(), &bind, arguments, input)
    }
}

impl Drop for Ds389 {
    fn drop(&mut self) {
        // Also runs when a test panics, so it must not panic itself.
        let _ = Command::new(SCRIPT)
            .arg("stop")
            .arg(self.folder.path())
            .status();
    }
}

/// The person's key as the server writes it: eight digits a group.
pub fn key(person: &Person) -> String {
    let digits = person.key().replace('-', "");
    let groups: Vec<&str> = (0..4)
        .map(|group| &digits[8 * group..8 * group + 8])
        .collect();
    groups.join("-")
}

fn entry(person: &Person) -> String {
    let key = format!("nsUniqueId: {}", key(person));
    person
        .entry()
        .replace(&format!("entryUUID: {}", person.key()), &key)
}

/// The whole directory, with who may read what.
fn import(people: &[Person]) -> String {
    let mut ldif = directory(&[]);
    for person in people {
        ldif += &entry(person);
    }
    let may_read = format!(
        "o: Example\naci: (targetattr != \"userPassword\")(version 3.0; acl \"read\"; allow (read, search, compare) userdn = \"ldap:///cn=*,ou=services,{BASE}\";)\n"
    );
    let unlimited = "cn: sync\nnsSizeLimit: -1\nnsLookThroughLimit: -1\n";
    ldif.replacen("o: Example\n", &may_read, 1)
        .replacen("cn: sync\n", unlimited, 1)
        .replacen("cn: limited\n", "cn: limited\nnsSizeLimit: 5\n", 1)
}
