//! Months in the life of a company, day by day: people join, change, swap addresses, are disabled,
//! leave, return and are hired again, the configuration is edited, files are cut off and the API
//! fails. After each day the organization must be as a model says that knows nothing of the planner.
//!
//! `SEEDS=1-20 DAYS=120 cargo test --test months` runs more of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use chrono::Utc;
use dirsyncd::apply::{Control, Shutdown, Unwatched};
use dirsyncd::config::Config;
use dirsyncd::run::{Finished, Orders, RunError, Setup, sync};
use fastrand::Rng;
use serde_json::json;
use support::organization::Account;
use support::people::{self, BASE, Person};
use support::{Dirsyncd, Organization, database};
use uuid::Uuid;

const START: usize = 25;
const DELETE_AFTER: i64 = 10;
const RECYCLE_AFTER: i64 = 15;
const GRACE: i64 = 14;

/// Where somebody's entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    People,
    Former,
    Nowhere,
}

/// A human being, whatever becomes of the entry.
#[derive(Clone, Debug)]
struct Human {
    number: String,
    key: String,
    mail: String,
    title: String,
    enabled: bool,
    place: Place,
    /// The account that is the human's for good.
    account: Option<String>,
    /// The day when the account lost its person.
    left: Option<i64>,
}

struct Company {
    rng: Rng,
    humans: Vec<Human>,
    mails: usize,
    keys: usize,
    day: i64,
    /// Whether guests are left out by the configuration, and whether that was accepted.
    edit: Edit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    None,
    Waiting,
    Accepted,
}

impl Company {
    fn new(seed: u64) -> Self {
        let mut company = Company {
            rng: Rng::with_seed(seed),
            humans: Vec::new(),
            mails: 0,
            keys: 0,
            day: 0,
            edit: Edit::None,
        };
        for _ in 0..START {
            company.join(None);
        }
        company
    }

    fn fresh_key(&mut self) -> String {
        self.keys += 1;
        Uuid::new_v5(&Uuid::NAMESPACE_OID, self.keys.to_string().as_bytes()).to_string()
    }

    fn fresh_mail(&mut self) -> String {
        self.mails += 1;
        format!("m{}@example.org", self.mails)
    }

    fn join(&mut self, mail: Option<String>) -> String {
        let key = self.fresh_key();
        let mail = match mail {
            Some(mail) => mail,
            None => self.fresh_mail(),
        };
        let number = format!("N{}", self.humans.len());
        let said = format!("{number} joins with {mail}");
        self.humans.push(Human {
            number,
            key,
            mail,
            title: "Engineer".to_owned(),
            enabled: true,
            place: Place::People,
            account: None,
            left: None,
        });
        said
    }

    fn pick(&mut self, test: impl Fn(&Human) -> bool) -> Option<usize> {
        let found: Vec<usize> = (0..self.humans.len())
            .filter(|at| test(&self.humans[*at]))
            .collect();
        (!found.is_empty()).then(|| found[self.rng.usize(..found.len())])
    }

    /// Comes back into the directory, with an address of its own.
    fn come_back(&mut self, at: usize) {
        let mail = self.humans[at].mail.clone();
        let is_taken = self.humans.iter().enumerate().any(|(other, human)| {
            other != at && human.place != Place::Nowhere && human.mail == mail
        });
        if is_taken {
            self.humans[at].mail = self.fresh_mail();
        }
        self.humans[at].place = Place::People;
        self.humans[at].enabled = true;
    }

    /// One thing that happens. Tells it, for the message of a failure.
    fn event(&mut self) -> Option<String> {
        let here = |human: &Human| human.place == Place::People;
        let works = |human: &Human| human.place == Place::People && human.enabled;
        let kind = self.rng.u8(..20);
        let at = match kind {
            0 | 1 => return Some(self.join(None)),
            // A new human gets the address of somebody who is gone.
            2 => {
                let old = self.pick(|human| human.place == Place::Nowhere)?;
                let mail = self.humans[old].mail.clone();
                let is_taken = self
                    .humans
                    .iter()
                    .any(|human| human.place != Place::Nowhere && human.mail == mail);
                return (!is_taken).then(|| self.join(Some(mail)));
            }
            3..=5 => self.pick(here)?,
            6 | 7 => self.pick(works)?,
            8 | 9 => self.pick(works)?,
            10 => self.pick(here)?,
            11 => self.pick(|human| human.place == Place::People && !human.enabled)?,
            12 | 13 => self.pick(here)?,
            14 => self.pick(here)?,
            15 | 16 => self.pick(|human| human.place != Place::People)?,
            17 | 18 => self.pick(|human| human.place == Place::Nowhere || human.enabled)?,
            _ => self.pick(works)?,
        };
        let number = self.humans[at].number.clone();
        Some(match kind {
            3..=5 => {
                let title = ["Engineer", "Head", "Guest", "Writer"][self.rng.usize(..4)];
                title.clone_into(&mut self.humans[at].title);
                format!("{number} becomes {title}")
            }
            6 | 7 => {
                self.humans[at].mail = self.fresh_mail();
                format!("{number} gets {}", self.humans[at].mail)
            }
            // Two or three exchange their addresses.
            8 | 9 => {
                let mut round = vec![at];
                for _ in 0..self.rng.usize(1..3) {
                    if let Some(other) = self.pick(works)
                        && !round.contains(&other)
                    {
                        round.push(other);
                    }
                }
                let mut mails: Vec<String> = round
                    .iter()
                    .map(|at| self.humans[*at].mail.clone())
                    .collect();
                mails.rotate_left(1);
                for (at, mail) in round.iter().zip(mails) {
                    self.humans[*at].mail = mail;
                }
                format!("{round:?} exchange their addresses")
            }
            10 => {
                self.humans[at].enabled = false;
                format!("{number} is disabled")
            }
            11 => {
                self.humans[at].enabled = true;
                format!("{number} is enabled")
            }
            12 | 13 => {
                self.humans[at].place = Place::Nowhere;
                format!("{number} leaves")
            }
            14 => {
                self.humans[at].place = Place::Former;
                format!("{number} is moved to the former ones")
            }
            15 | 16 => {
                self.come_back(at);
                format!("{number} is back with {}", self.humans[at].mail)
            }
            17 | 18 => {
                self.come_back(at);
                self.humans[at].key = self.fresh_key();
                if self.rng.bool() {
                    self.humans[at].mail = self.fresh_mail();
                }
                format!("{number} has a new entry with {}", self.humans[at].mail)
            }
            _ => {
                self.humans[at].place = Place::Nowhere;
                format!("{number} leaves")
            }
        })
    }

    fn ldif(&self) -> String {
        let mut ldif = people::directory(&[]);
        ldif += &format!("dn: ou=former,{BASE}\nobjectClass: organizationalUnit\nou: former\n\n");
        for human in &self.humans {
            let base = match human.place {
                Place::People => format!("ou=people,{BASE}"),
                Place::Former => format!("ou=former,{BASE}"),
                Place::Nowhere => continue,
            };
            let person = Person {
                mail: Some(human.mail.clone()),
                title: human.title.clone(),
                employee_type: if human.enabled { "staff" } else { "leaver" }.to_owned(),
                employee_number: Some(human.number.clone()),
                ..Person::new(&human.number, "Pat", &human.number)
            };
            ldif += &person
                .entry()
                .replace(&person.dn(), &format!("uid={},{base}", human.number))
                .replace(&person.key(), &human.key);
        }
        ldif
    }

    fn is_in_scope(&self, human: &Human) -> bool {
        let is_guest = human.title == "Guest";
        human.place == Place::People && !(is_guest && self.edit != Edit::None)
    }

    /// Out by an edit that was not accepted, and nothing else.
    fn is_waiting(&self, human: &Human) -> bool {
        human.place == Place::People && human.title == "Guest" && self.edit == Edit::Waiting
    }
}

struct Life {
    company: Company,
    organization: Organization,
    dirsyncd: Dirsyncd,
    runtime: tokio::runtime::Runtime,
    foreign: Account,
    story: Vec<String>,
}

impl Life {
    fn begin(seed: u64) -> Self {
        let company = Company::new(seed);
        let organization = Organization::start();
        let foreign = organization.create_by_hand("robot@example.org", "Robot", Some("by-hand"));
        let mut dirsyncd = Dirsyncd::from_ldif(&organization, &company.ldif());
        dirsyncd.mapping += "employeeNumber = \"employeeNumber\"\n";
        dirsyncd.rest = format!(
            "[policy]\ndelete_after = \"{DELETE_AFTER}days\"\nrecycle_after = \"{RECYCLE_AFTER}days\"\n[guards]\n"
        );
        for guard in [
            "create",
            "update",
            "same_attribute",
            "deactivate",
            "delete",
            "change_email",
        ] {
            dirsyncd.rest += &format!("{guard} = {{ always = 1000, percent = 100 }}\n");
        }
        Life {
            company,
            organization,
            dirsyncd,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
            foreign,
            story: vec![format!("seed {seed}")],
        }
    }

    fn sync(&self, accepts_scope_change: bool) -> Result<Finished, RunError> {
        let path = self.dirsyncd.config_file();
        let setup = Setup::new(Config::parse(&path, &self.dirsyncd.config()).unwrap()).unwrap();
        let control = Control {
            watch: &Unwatched,
            stop: Shutdown::never(),
            now: &Utc::now,
        };
        let orders = Orders {
            accepts_scope_change,
            ..Orders::ROUTINE
        };
        self.runtime
            .block_on(sync(&setup, orders, "test", &control))
    }

    #[track_caller]
    fn check(&self, is_right: bool, what: &str) {
        assert!(
            is_right,
            "day {}: {what}\n{}\n{:#?}",
            self.company.day,
            self.story.join("\n"),
            self.organization.accounts()
        );
    }

    /// What must hold also when not everything went well.
    fn check_safety(&self, before: &BTreeMap<String, Account>) {
        let after: BTreeMap<String, Account> = accounts(&self.organization);
        let foreign = after.get(&self.foreign.account_id);
        self.check(foreign == Some(&self.foreign), "the foreign account");
        for human in &self.company.humans {
            let Some(id) = &human.account else { continue };
            let was_active = before.get(id).is_some_and(|account| account.active);
            let keeps = self.company.is_waiting(human)
                || (self.company.is_in_scope(human) && human.enabled);
            if was_active && keeps {
                let is_active = after.get(id).is_some_and(|account| account.active);
                self.check(is_active, &format!("{} lost the login", human.number));
            }
        }
    }

    /// What must hold when everything went well.
    fn check_all(&mut self) {
        let accounts = accounts(&self.organization);
        let by_key: HashMap<&str, &Account> = accounts
            .values()
            .filter_map(|account| Some((account.external_id.as_deref()?, account)))
            .collect();
        let holders: HashMap<&str, &Account> = accounts
            .values()
            .map(|account| (account.email.as_str(), account))
            .collect();
        let day = self.company.day;
        let mut humans = std::mem::take(&mut self.company.humans);
        let mut owned = BTreeSet::from([self.foreign.account_id.clone()]);
        let mut faults = Vec::new();
        for human in &mut humans {
            let number = human.number.clone();
            let mut expect = |is_right: bool, what: &str| {
                if !is_right {
                    faults.push(format!("{number}: {what}"));
                }
            };
            let is_in_scope = self.company.is_in_scope(human);
            let is_waiting = self.company.is_waiting(human);
            let account = by_key.get(human.key.as_str()).copied();
            let own = human.account.as_ref().and_then(|id| accounts.get(id));
            // The address may still be that of somebody else's account.
            let is_blocked = holders.get(human.mail.as_str()).is_some_and(|holder| {
                holder.external_id.as_deref() != Some(human.key.as_str())
                    && Some(&holder.account_id) != human.account.as_ref()
            });
            if is_in_scope && human.enabled {
                human.left = None;
                match account {
                    Some(account) => {
                        expect(account.active, "is to be active");
                        expect(is_blocked || account.email == human.mail, "the address");
                        let title = account.title.as_deref();
                        expect(is_blocked || title == Some(&*human.title), "the title");
                        // The same account for good, as long as there is one.
                        if own.is_some() {
                            expect(
                                human.account.as_ref() == Some(&account.account_id),
                                "another account",
                            );
                        }
                        human.account = Some(account.account_id.clone());
                    }
                    None => expect(is_blocked, "is to have an account"),
                }
            } else if is_waiting {
                // As it was before the edit, or without an account if it came afterwards.
            } else if let Some(own) = own {
                expect(!own.active, "is to have no login");
                if is_in_scope {
                    human.left = None;
                } else {
                    let left = *human.left.get_or_insert(day);
                    let status = self.organization.account_status(&own.account_id);
                    if day - left > DELETE_AFTER + GRACE + 1 {
                        expect(status.is_none(), "is to be deleted for good");
                    }
                    if day - left < DELETE_AFTER {
                        expect(status.is_some(), "is deleted too early");
                    }
                }
            }
            if let Some(id) = &human.account
                && accounts.contains_key(id)
            {
                expect(owned.insert(id.clone()), "shares an account");
            }
        }
        self.company.humans = humans;
        // An edit that puts nobody out of an account is in force.
        let waits = |human: &Human| {
            let account = human.account.as_ref().and_then(|id| accounts.get(id));
            self.company.is_waiting(human) && account.is_some_and(|account| account.active)
        };
        if self.company.edit == Edit::Waiting && !self.company.humans.iter().any(waits) {
            self.company.edit = Edit::Accepted;
        }
        let strays = accounts.keys().filter(|id| !owned.contains(*id));
        faults.extend(strays.map(|id| format!("the account {id} is nobody's")));
        self.check(faults.is_empty(), &faults.join("; "));
        let foreign = accounts.get(&self.foreign.account_id);
        self.check(foreign == Some(&self.foreign), "the foreign account");
    }

    fn day(&mut self) {
        self.company.day += 1;
        self.organization.advance(Duration::from_secs(24 * 3600));
        database::age(&self.dirsyncd.database(), 1);
        let events = self.company.rng.usize(..4);
        for _ in 0..events {
            if let Some(said) = self.company.event() {
                self.story.push(format!("{}: {said}", self.company.day));
            }
        }
        let accepts = self.edit();
        self.dirsyncd.write_ldif(&self.company.ldif());
        let before = accounts(&self.organization);
        match self.company.rng.u8(..8) {
            0 => {
                self.story.push("the API fails now and then".to_owned());
                self.organization.faults(&json!([
                    {"match": "^(POST|PATCH) ", "times": 3, "status": 500}
                ]));
                // How it ends is open.
                let _ = self.sync(false);
                self.check_safety(&before);
                self.organization.heal();
            }
            1 => {
                self.story.push("the file is cut off".to_owned());
                let ldif = self.company.ldif();
                let end = self.company.rng.usize(ldif.len() / 2..ldif.len() - 2);
                self.dirsyncd.write_ldif(&ldif[..end]);
                let _ = self.sync(false);
                self.check_safety(&before);
                self.dirsyncd.write_ldif(&ldif);
            }
            _ => {}
        }
        let before = accounts(&self.organization);
        let mut rounds = 0;
        loop {
            let finished = self.sync(accepts).unwrap();
            let applied = &finished.applied;
            let failed = format!("{:?}", applied.failed);
            self.check(applied.failed.is_empty(), &failed);
            self.check_safety(&before);
            if finished.plan.operations.is_empty() {
                break;
            }
            rounds += 1;
            let holds: Vec<String> = finished
                .plan
                .holds
                .iter()
                .map(ToString::to_string)
                .collect();
            self.check(rounds < 5, &format!("no end of operations: {holds:?}"));
        }
        self.check_all();
    }

    /// Edits the configuration on some days; whether the edit is accepted today.
    fn edit(&mut self) -> bool {
        let next = match (self.company.edit, self.company.rng.u8(..12)) {
            (Edit::None, 0) => Edit::Waiting,
            (Edit::Waiting, 0..=2) => Edit::Accepted,
            (Edit::Waiting | Edit::Accepted, 3..=5) => Edit::None,
            (edit, _) => edit,
        };
        if next != self.company.edit {
            self.story
                .push(format!("{}: the edit is {next:?}", self.company.day));
        }
        self.company.edit = next;
        let filter = match next {
            Edit::None => "(objectClass=inetOrgPerson)",
            Edit::Waiting | Edit::Accepted => "(&(objectClass=inetOrgPerson)(!(title=Guest)))",
        };
        self.dirsyncd.set_source("filter", &format!("{filter:?}"));
        next == Edit::Accepted
    }
}

fn accounts(organization: &Organization) -> BTreeMap<String, Account> {
    organization
        .accounts()
        .into_iter()
        .map(|account| (account.account_id.clone(), account))
        .collect()
}

/// A range of numbers as `3` or `3-7`.
fn range(text: &str) -> std::ops::RangeInclusive<u64> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    first.parse().unwrap()..=last.parse().unwrap()
}

#[test]
fn months_of_a_company() {
    let seeds = std::env::var("SEEDS").unwrap_or_else(|_| "1-3".to_owned());
    let days: i64 = std::env::var("DAYS").map_or(75, |days| days.parse().unwrap());
    for seed in range(&seeds) {
        let mut life = Life::begin(seed);
        life.sync(false).unwrap();
        life.check_all();
        while life.company.day < days {
            life.day();
        }
    }
}
