//! A private Samba domain controller in the place of Active Directory.

use std::fmt::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use base64::Engine;
use tempfile::TempDir;

use super::directory::{PASSWORD, client, path};
use super::people::{DEPARTMENTS, Person};
use super::{SOON, eventually};

/// The root of the domain.
pub const DOMAIN: &str = "DC=ad,DC=example,DC=org";

/// Who reads: a plain user of the domain, whose password is [`PASSWORD`].
pub const READER: &str = "sync@ad.example.org";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/samba.sh");

/// Bits of userAccountControl: a normal account without a password, and the same disabled.
pub const ENABLED: &str = "544";
pub const DISABLED: &str = "546";

/// A running domain controller of its own; it ends with this.
pub struct SambaAd {
    folder: TempDir,
    address: String,
}

impl SambaAd {
    /// Starts one with these people and what else there should be (LDIF).
    pub fn start(people: &[Person], more: &str) -> Self {
        let is_there = ["/usr/sbin/samba", "/usr/bin/ldbadd", "/usr/bin/ldapmodify"]
            .iter()
            .all(|program| std::path::Path::new(program).exists());
        assert!(
            is_there,
            "samba, ldb-tools or ldap-utils is not installed: run tests/install-packages.sh"
        );
        let folder = tempfile::tempdir().unwrap();
        let ldif = folder.path().join("people.ldif");
        std::fs::write(&ldif, domain(people) + more).unwrap();
        let samba = SambaAd {
            folder,
            address: own_address(),
        };
        samba.script(&["start"], &[&samba.address, ldif.to_str().unwrap()]);
        samba
    }

    /// Ends it, as a crash would; what it holds stays.
    pub fn stop(&self) {
        self.script(&["stop"], &[]);
        eventually("samba's end", SOON, || {
            TcpStream::connect((self.address.as_str(), 389))
                .is_err()
                .then_some(())
        });
    }

    /// Starts it again at the same place.
    pub fn start_again(&self) {
        self.script(&["again"], &[]);
    }

    /// Lets the reader see what was deleted, which a plain user may not.
    pub fn show_deleted(&self) {
        self.script(&["show-deleted"], &["sync"]);
    }

    fn script(&self, verb: &[&str], arguments: &[&str]) {
        let output = Command::new(SCRIPT)
            .args(verb)
            .arg(self.folder.path())
            .args(arguments)
            .env("PATH", path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "samba.sh {verb:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The certificate of the CA that signed the server's.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// `ldaps://…`
    pub fn url(&self) -> String {
        format!("ldaps://{}", self.address)
    }

    /// `ldap://…`
    pub fn plain_url(&self) -> String {
        format!("ldap://{}", self.address)
    }

    /// Applies changes (RFC 2849) as the domain's administrator.
    pub fn modify(&self, ldif: &str) {
        self.client("ldapmodify", &[], Some(ldif));
    }

    /// Applies changes to a deleted object, which needs the control for showing them.
    pub fn modify_deleted(&self, ldif: &str) {
        self.client("ldapmodify", &["-e", SHOW_DELETED], Some(ldif));
    }

    /// Replaces the values of an attribute of an entry.
    pub fn replace(&self, dn: &str, attribute: &str, value: &str) {
        self.modify(&format!(
            "dn: {dn}\nchangetype: modify\nreplace: {attribute}\n{attribute}: {value}\n"
        ));
    }

    /// Takes an entry away.
    pub fn delete(&self, dn: &str) {
        self.client("ldapdelete", &[dn], None);
    }

    /// Renames an entry and moves it below `superior`.
    pub fn rename(&self, dn: &str, rdn: &str, superior: &str) {
        self.client("ldapmodrdn", &["-r", "-s", superior, dn, rdn], None);
    }

    /// What the administrator finds, deleted objects too: one attribute of each entry, as LDIF has it.
    pub fn values(&self, filter: &str, attribute: &str) -> Vec<String> {
        let arguments = ["-LLL", "-o", "ldif-wrap=no", "-E", SHOW_DELETED];
        let search = ["-b", DOMAIN, filter, attribute];
        let found = self.client(
            "ldapsearch",
            &[arguments.as_slice(), &search].concat(),
            None,
        );
        let named = |line: &str| {
            let value = line.strip_prefix(attribute)?.strip_prefix(':')?;
            Some(value.trim_start_matches(':').trim().to_owned())
        };
        found.lines().filter_map(named).collect()
    }

    /// The objectGUID of the entry that the filter finds, in its usual text form.
    pub fn guid(&self, filter: &str) -> String {
        let [value] = &self.values(filter, "objectGUID")[..] else {
            panic!("{filter} does not find one entry");
        };
        let octets = base64::engine::general_purpose::STANDARD
            .decode(value)
            .unwrap();
        uuid::Uuid::from_bytes_le(octets.try_into().unwrap()).to_string()
    }

    fn client(&self, program: &str, arguments: &[&str], input: Option<&str>) -> String {
        let url = self.url();
        let bind = [
            "-x",
            "-H",
            &url,
            "-D",
            "Administrator@ad.example.org",
            "-w",
            "Passw0rd-Admin!",
        ];
        client(program, &self.ca_file(), &bind, arguments, input)
    }
}

impl Drop for SambaAd {
    fn drop(&mut self) {
        // Also runs when a test panics, so it must not panic itself.
        let _ = Command::new(SCRIPT)
            .arg("stop")
            .arg(self.folder.path())
            .status();
    }
}

const SHOW_DELETED: &str = "!1.2.840.113556.1.4.417";

/// An address of loopback that no other server of the tests has: the ports cannot be chosen.
fn own_address() -> String {
    static STARTED: AtomicU8 = AtomicU8::new(0);
    let [.., second, third, fourth] = std::process::id().to_be_bytes();
    let nth = STARTED.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{third}.{fourth}", 64 + nth * 8 + second % 8)
}

/// Where a person of this department is.
pub fn unit(department: &str) -> String {
    format!("OU={department},OU=People,{DOMAIN}")
}

/// The person's DN.
pub fn dn(person: &Person) -> String {
    format!("CN={},{}", person.name(), unit(&person.department))
}

/// The person as an enabled user, whom a password is not asked of.
pub fn entry(person: &Person) -> String {
    let Person {
        uid,
        given,
        family,
        title,
        department,
        ..
    } = person;
    let mut entry = format!(
        "dn: {}\nobjectClass: user\nsAMAccountName: {uid}\nuserPrincipalName: {uid}@ad.example.org\ngivenName: {given}\nsn: {family}\ndisplayName: {}\ntitle: {title}\ndepartment: {department}\npreferredLanguage: en\nuserAccountControl: {ENABLED}\n",
        dn(person),
        person.name(),
    );
    if let Some(mail) = &person.mail {
        writeln!(entry, "mail: {mail}").unwrap();
    }
    entry + "\n"
}

/// What stands in the domain besides what Samba makes.
fn domain(people: &[Person]) -> String {
    let mut ldif = String::new();
    let mut add_unit =
        |dn: &str| write!(ldif, "dn: {dn}\nobjectClass: organizationalUnit\n\n").unwrap();
    add_unit(&format!("OU=People,{DOMAIN}"));
    add_unit(&format!("OU=Services,{DOMAIN}"));
    for department in DEPARTMENTS {
        add_unit(&unit(department));
    }
    let utf16: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let password = base64::engine::general_purpose::STANDARD.encode(utf16);
    // A normal account whose password does not expire.
    write!(
        ldif,
        "dn: CN=sync,OU=Services,{DOMAIN}\nobjectClass: user\nsAMAccountName: sync\nuserPrincipalName: {READER}\nuserAccountControl: 66048\nclearTextPassword:: {password}\n\n"
    )
    .unwrap();
    for person in people {
        ldif += &entry(person);
    }
    ldif
}
