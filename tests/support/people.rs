//! People of the example company, and how the directory has them.

use std::fmt::Write;

use base64::Engine;
use uuid::Uuid;

/// The root of the directory.
pub const BASE: &str = "dc=example,dc=org";

/// The departments; each is an OU below `ou=people` as well.
pub const DEPARTMENTS: [&str; 4] = ["Engineering", "Sales", "Finance", "Legal"];

/// One person.
#[derive(Clone, Debug)]
pub struct Person {
    pub uid: String,
    pub given: String,
    pub family: String,
    pub mail: Option<String>,
    pub department: String,
    pub title: String,
    pub employee_type: String,
    pub employee_number: Option<String>,
}

impl Person {
    /// A person of staff in Engineering, with `uid@example.org`.
    pub fn new(uid: &str, given: &str, family: &str) -> Self {
        Person {
            uid: uid.to_owned(),
            given: given.to_owned(),
            family: family.to_owned(),
            mail: Some(format!("{uid}@example.org")),
            department: DEPARTMENTS[0].to_owned(),
            title: "Engineer".to_owned(),
            employee_type: "staff".to_owned(),
            employee_number: Some(format!("n-{uid}")),
        }
    }

    /// Four people whom most tests need no more than.
    pub fn four() -> Vec<Self> {
        vec![
            Person::new("ada", "Ada", "Lovelace"),
            Person::new("grace", "Grace", "Hopper"),
            Person::new("alan", "Alan", "Turing"),
            Person::new("barbara", "Barbara", "Liskov"),
        ]
    }

    /// Who comes back as another person: the employee number is the same, the rest is new.
    pub fn anew(&self) -> Self {
        Person {
            employee_number: self.employee_number.clone(),
            ..Person::new("countess", "Ada", "King")
        }
    }

    /// So many people of staff with ordinary names.
    pub fn several(count: usize) -> Vec<Self> {
        (0..count)
            .map(|n| Person::new(&format!("p{n:02}"), "Pat", &format!("Person {n:02}")))
            .collect()
    }

    pub fn with_mail(mut self, mail: Option<&str>) -> Self {
        self.mail = mail.map(str::to_owned);
        self
    }

    pub fn disabled(mut self) -> Self {
        "leaver".clone_into(&mut self.employee_type);
        self
    }

    pub fn without_employee_number(mut self) -> Self {
        self.employee_number = None;
        self
    }

    pub fn name(&self) -> String {
        format!("{} {}", self.given, self.family)
    }

    pub fn dn(&self) -> String {
        format!("uid={},ou={},ou=people,{BASE}", self.uid, self.department)
    }

    /// The entryUUID: the same for the same uid in every run.
    pub fn key(&self) -> String {
        Uuid::new_v5(&Uuid::NAMESPACE_DNS, self.uid.as_bytes()).to_string()
    }

    /// The entry as slapadd and `ldapadd -e relax` take it.
    pub fn entry(&self) -> String {
        let mut entry = String::new();
        line(&mut entry, "dn", &self.dn());
        line(&mut entry, "objectClass", "inetOrgPerson");
        line(&mut entry, "entryUUID", &self.key());
        line(&mut entry, "uid", &self.uid);
        line(&mut entry, "cn", &self.name());
        line(&mut entry, "sn", &self.family);
        line(&mut entry, "givenName", &self.given);
        line(&mut entry, "displayName", &self.name());
        if let Some(mail) = &self.mail {
            line(&mut entry, "mail", mail);
        }
        line(&mut entry, "title", &self.title);
        line(&mut entry, "departmentNumber", &self.department);
        line(&mut entry, "employeeType", &self.employee_type);
        if let Some(number) = &self.employee_number {
            line(&mut entry, "employeeNumber", number);
        }
        line(&mut entry, "preferredLanguage", "en");
        entry.push('\n');
        entry
    }
}

/// A line of an LDIF file (RFC 2849): base64 for what is no SAFE-STRING.
fn line(out: &mut String, name: &str, value: &str) {
    let is_safe = value.is_ascii() && !value.starts_with([' ', ':', '<']) && !value.ends_with(' ');
    let written = if is_safe {
        writeln!(out, "{name}: {value}")
    } else {
        let encoded = base64::engine::general_purpose::STANDARD.encode(value);
        writeln!(out, "{name}:: {encoded}")
    };
    written.unwrap();
}

/// The whole directory: the tree, the accounts that bind, and these people.
pub fn directory(people: &[Person]) -> String {
    let mut ldif = format!(
        "dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n\n"
    );
    let mut unit = |name: &str, below: &str| {
        write!(
            ldif,
            "dn: ou={name},{below}{BASE}\nobjectClass: organizationalUnit\nou: {name}\n\n"
        )
        .unwrap();
    };
    unit("people", "");
    unit("services", "");
    unit("empty", "");
    for department in DEPARTMENTS {
        unit(department, "ou=people,");
    }
    for name in ["sync", "limited"] {
        write!(
            ldif,
            "dn: cn={name},ou=services,{BASE}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: {name}\nuserPassword: {}\n\n",
            super::directory::PASSWORD
        )
        .unwrap();
    }
    for person in people {
        ldif.push_str(&person.entry());
    }
    ldif
}

/// What is wrong with some people of a [`crowd`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Flaws {
    /// One in 50 has no mail.
    pub without_mail: bool,
    /// One in 500 has the mail of the person before.
    pub shared_mail: bool,
}

/// A deterministic crowd in the shape of a real directory: one in ten with a name outside ASCII, one in 40 disabled,
/// all departments, and the flaws that are asked for.
pub fn crowd(count: usize, flaws: Flaws) -> Vec<Person> {
    const GIVEN: [&str; 7] = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Ken"];
    const FAMILY: [&str; 6] = [
        "Lovelace", "Hopper", "Dijkstra", "Liskov", "Knuth", "O'Neill",
    ];
    const FAR_GIVEN: [&str; 9] = [
        "Zoë",
        "Søren",
        "Łukasz",
        "José",
        "Jürgen",
        "Đorđe",
        "Ελένη",
        "Мария",
        "静香",
    ];
    const FAR_FAMILY: [&str; 7] = [
        "Müller",
        "Nuñez",
        "Åström",
        "Šimić",
        "Παπαδόπουλος",
        "Иванова",
        "佐藤",
    ];
    (0..count)
        .map(|n| {
            let is_far = n % 10 == 3;
            let (given, family) = if is_far {
                (
                    FAR_GIVEN[(n / 10) % FAR_GIVEN.len()],
                    FAR_FAMILY[(n / 10) % FAR_FAMILY.len()],
                )
            } else {
                (GIVEN[n % GIVEN.len()], FAMILY[n % FAMILY.len()])
            };
            let uid = format!("u{n:07}");
            let mut person = Person::new(&uid, given, family);
            DEPARTMENTS[n % DEPARTMENTS.len()].clone_into(&mut person.department);
            if n % 40 == 11 {
                person = person.disabled();
            }
            if flaws.without_mail && n % 50 == 7 {
                person.mail = None;
            }
            if flaws.shared_mail && n % 500 == 99 {
                person.mail = Some(format!("u{:07}@example.org", n - 1));
            }
            person
        })
        .collect()
}
