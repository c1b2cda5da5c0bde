//! A company between two states of its directory: what one sync has to do is of every kind that there is.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::account::{Told, Way, expect_closed};
use crate::support::directory::Transport;
use crate::support::organization::{Mark, OrganizationGroup};
use crate::support::people::BASE;
use crate::support::{Dirsyncd, Organization, Output, Person, SOON, Slapd, database, eventually};
use crate::trap::{How, Trap, Trapped, count};

/// The directory as it is to be, and copies of database and organization as they were before.
pub(crate) struct Stage {
    way: Way,
    pub(crate) slapd: Slapd,
    /// Its folder has the password; it is never run any more.
    first: Dirsyncd,
    database: PathBuf,
    organization: PathBuf,
    /// Both are in it.
    _folder: TempDir,
    groups: Vec<OrganizationGroup>,
    /// Who is to lose the login.
    pub(crate) leavers: Vec<Person>,
    /// What comes of a sync that nothing interrupts.
    pub(crate) reference: Told,
    /// The events of that sync.
    pub(crate) events: String,
}

/// A copy of database and organization, for one story.
pub(crate) struct Scene<'a> {
    stage: &'a Stage,
    pub(crate) organization: Organization,
    pub(crate) dirsyncd: Dirsyncd,
    mark: Mark,
    /// How often the program was started.
    starts: usize,
}

/// So many people whose names begin so.
fn people(name: &str, count: usize) -> Vec<Person> {
    (0..count)
        .map(|n| Person::new(&format!("{name}{n:02}"), "Pat", &format!("{name} {n:02}")))
        .collect()
}

/// A group below this unit; its key is the server's.
fn group(unit: &str, name: &str, members: &[&Person]) -> String {
    let mut entry =
        format!("dn: cn={name},ou={unit},{BASE}\nchangetype: add\nobjectClass: groupOfNames\n");
    for member in members {
        writeln!(entry, "member: {}", member.dn()).unwrap();
    }
    entry + "\n"
}

fn change(dn: &str, verb: &str, attribute: &str, value: &str) -> String {
    format!("dn: {dn}\nchangetype: modify\n{verb}: {attribute}\n{attribute}: {value}\n\n")
}

fn gone(dn: &str) -> String {
    format!("dn: {dn}\nchangetype: delete\n\n")
}

/// Lets these people have left 40 days earlier than they have.
fn age(dirsyncd: &Dirsyncd, people: &[Person]) {
    let keys: Vec<String> = people
        .iter()
        .map(|one| format!("'{}'", one.key()))
        .collect();
    database::execute(
        &dirsyncd.database(),
        &format!(
            "UPDATE accounts SET since = since - 3456000000, departed_at = departed_at - 3456000000 WHERE external_id IN ({})",
            keys.join(", ")
        ),
    );
}

const RESTORED_LATER: &str = "a later run restores the login";

const RULES: &str = "[policy]\ndelete_after = \"30days\"\n[guards]\ncreate = []\nupdate = []\nsame_attribute = []\n\
    deactivate = []\ndelete = []\nchange_email = []\nremove_members = []\n";

impl Stage {
    /// With so many people of most kinds, and groups.
    pub(crate) fn of(size: usize) -> Self {
        Self::by(Way::Scim, size)
    }

    /// With so many people of most kinds.
    pub(crate) fn by(way: Way, size: usize) -> Self {
        let few = (size / 4).max(1);
        let stay = people("stay", 4);
        let titled = people("titled", size);
        let moved = people("moved", size);
        let swapped = people("swapped", 2);
        let leaving = people("leaving", size);
        let disabled = people("disabled", few);
        let to_delete = people("deleted", size);
        let returning = people("returning", size);
        let rescued = people("rescued", size);
        let left = [&to_delete[..], &returning, &rescued].concat();
        let at_first = [
            &stay[..],
            &titled,
            &moved,
            &swapped,
            &leaving,
            &disabled,
            &left,
        ]
        .concat();
        let slapd = Slapd::start(&at_first);
        let [a, b, c, d] = &stay[..] else {
            unreachable!()
        };
        let mut groups = String::new();
        for unit in ["groups", "clubs"] {
            let entry = "changetype: add\nobjectClass: organizationalUnit";
            writeln!(groups, "dn: ou={unit},{BASE}\n{entry}\nou: {unit}\n").unwrap();
        }
        for n in 0..few {
            groups += &group("groups", &format!("grow{n}"), &[a, b]);
            groups += &group("groups", &format!("shrink{n}"), &[a, b, c]);
            groups += &group("groups", &format!("old{n}"), &[c, d]);
            groups += &group("groups", &format!("dropped{n}"), &[a, d]);
            groups += &group("clubs", &format!("club{n}"), &[b, c]);
        }
        // No club at all would be taken for a fault.
        groups += &group("clubs", "choir", &[a, b]);
        slapd.modify(&groups);

        let mut organization = Organization::start();
        let mut dirsyncd = Dirsyncd::between(&slapd, Transport::Tls, &organization);
        if way == Way::Admin {
            dirsyncd.organization = organization.admin_block();
        }
        let rules = format!(
            "[[group]]\nbase = \"ou=groups,{BASE}\"\non_leave = \"delete\"\n[[group]]\nbase = \"ou=clubs,{BASE}\"\non_leave = \"empty\"\n"
        );
        dirsyncd.rest = match way {
            Way::Scim => rules + RULES,
            Way::Admin => RULES.to_owned(),
        };
        dirsyncd.sync(0);
        slapd.delete_all(&left);
        dirsyncd.sync(0);
        age(&dirsyncd, &rescued);
        dirsyncd.sync(0);
        age(&dirsyncd, &to_delete);
        let adopted = people("adopted", few);
        for person in &adopted {
            let mail = person.mail.as_deref().unwrap();
            let key = format!("payroll-{}", person.uid);
            match way {
                Way::Scim => drop(organization.create_by_hand(mail, "Somebody", Some(&key))),
                Way::Admin => drop(organization.seed(mail, "Somebody")),
            }
        }
        let linked = people("linked", 1);
        organization.seed(linked[0].mail.as_deref().unwrap(), "Somebody");
        let there = organization.groups();
        organization.kill();

        let joining = people("joining", size);
        slapd.add_all(&[&joining[..], &adopted, &linked, &returning, &rescued].concat());
        let mut changes = String::new();
        for person in &titled {
            changes += &change(&person.dn(), "replace", "title", "Director");
        }
        for person in &moved {
            let mail = format!("new-{}@example.org", person.uid);
            changes += &change(&person.dn(), "replace", "mail", &mail);
        }
        for (person, other) in [(0, 1), (1, 0)] {
            let mail = swapped[other].mail.as_deref().unwrap();
            changes += &change(&swapped[person].dn(), "replace", "mail", mail);
        }
        for person in &disabled {
            changes += &change(&person.dn(), "replace", "employeeType", "leaver");
        }
        for person in &leaving {
            changes += &gone(&person.dn());
        }
        for n in 0..few {
            let in_groups = |name: &str| format!("cn={name}{n},ou=groups,{BASE}");
            for person in &joining {
                changes += &change(&in_groups("grow"), "add", "member", &person.dn());
            }
            changes += &change(&in_groups("shrink"), "delete", "member", &c.dn());
            changes += &group(
                "groups",
                &format!("made{n}"),
                &[a, &joining[0], &adopted[0]],
            );
            let renamed = format!("changetype: modrdn\nnewrdn: cn=renamed{n}\ndeleteoldrdn: 1");
            writeln!(changes, "dn: {}\n{renamed}\n", in_groups("old")).unwrap();
            changes += &gone(&in_groups("dropped"));
            changes += &gone(&format!("cn=club{n},ou=clubs,{BASE}"));
        }
        slapd.modify(&changes);

        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("dirsyncd.db");
        std::fs::copy(dirsyncd.database(), &database).unwrap();
        let copy = folder.path().join("organization");
        std::fs::create_dir(&copy).unwrap();
        for file in std::fs::read_dir(organization.state()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        let mut stage = Stage {
            way,
            slapd,
            first: dirsyncd,
            database,
            organization: copy,
            _folder: folder,
            groups: there,
            leavers: [leaving, disabled].concat(),
            reference: Told::default(),
            events: String::new(),
        };
        let mut scene = stage.scene();
        let (output, events) = scene.run(Trap::NONE);
        output.expect_code(0).expect_words(&[RESTORED_LATER]);
        scene.run(Trap::NONE).0.expect_code(0);
        scene.dirsyncd.expect_nothing_to_do();
        let reference = scene.told("nothing interrupts it");
        drop(scene);
        stage.reference = reference;
        stage.events = events;
        stage
    }

    /// Everything as it was before the sync.
    pub(crate) fn scene(&self) -> Scene<'_> {
        let organization = Organization::start_copy_of(&self.organization);
        // The same source, as what the last pull read is continued by the same only.
        let mut dirsyncd = Dirsyncd::with_source(&organization, self.first.source.clone());
        dirsyncd.rest = self.first.rest.clone();
        dirsyncd.organization = self.block(&organization);
        std::fs::copy(&self.database, dirsyncd.database()).unwrap();
        Scene {
            stage: self,
            mark: organization.mark(),
            organization,
            dirsyncd,
            starts: 0,
        }
    }

    /// The `[organization]` table.
    fn block(&self, organization: &Organization) -> String {
        match self.way {
            Way::Scim => organization.block.clone(),
            Way::Admin => organization.admin_block(),
        }
    }

    /// The database as it was before the sync.
    pub(crate) fn database(&self) -> &PathBuf {
        &self.database
    }
}

impl Scene<'_> {
    fn ports(&self) -> (u16, u16) {
        (self.organization.port(), self.stage.slapd.tls_port)
    }

    /// Starts a sync that goes into this trap.
    pub(crate) fn start(&mut self, trap: Trap) -> Trapped {
        self.starts += 1;
        Trapped::start(&self.dirsyncd, self.ports(), &["sync"], trap, 0)
    }

    /// The same with the clock so many seconds ahead.
    pub(crate) fn start_ahead(&mut self, ahead: i64) -> Trapped {
        self.starts += 1;
        Trapped::start(&self.dirsyncd, self.ports(), &["sync"], Trap::NONE, ahead)
    }

    /// Starts a sync; while it sends, somebody sets the wall clock so many seconds ahead.
    pub(crate) fn start_leaping(&mut self, ahead: i64) -> Trapped {
        self.starts += 1;
        let trap = Trap {
            what: "r",
            at: count(&self.stage.events, "r") - 10,
            how: How::Leap,
        };
        Trapped::start(&self.dirsyncd, self.ports(), &["sync"], trap, ahead)
    }

    /// Syncs, and gives the events too. What it had sent when it ended is carried out then.
    pub(crate) fn run(&mut self, trap: Trap) -> (Output, String) {
        let ended = self.start(trap).wait(Duration::from_secs(60));
        self.wait_for_requests();
        ended
    }

    /// Waits until the organization has carried out what it was sent by a process that is no more.
    pub(crate) fn wait_for_requests(&self) {
        let port = format!(":{:04X}", self.organization.port());
        eventually("the requests under way", SOON, || {
            // A connection that waits to be closed by the server (proc_net_tcp(5): state 8).
            let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let is_unread = sockets.lines().skip(1).any(|socket| {
                let fields: Vec<&str> = socket.split_whitespace().collect();
                fields[1].ends_with(&port) && fields[3] == "08"
            });
            let writes = self.organization.writes_since(self.mark);
            let is_answered = writes.iter().all(|request| request.status.is_some());
            (!is_unread && is_answered).then_some(())
        });
    }

    /// The organization was ended; here is another one as that one was.
    pub(crate) fn restart_organization(&mut self) {
        self.organization = Organization::start_copy_of(self.organization.state());
        self.dirsyncd.organization = self.stage.block(&self.organization);
        self.mark = self.organization.mark();
    }

    /// What has come of it all. The journal's story must be whole.
    #[track_caller]
    pub(crate) fn told(&self, story: &str) -> Told {
        let path = self.dirsyncd.database();
        let before = database::texts(&self.stage.database, "SELECT '' FROM runs").len();
        expect_closed(&path, before + self.starts, story);
        Told::of(
            &self.organization,
            self.stage.way,
            &self.stage.groups,
            self.mark,
            &path,
        )
    }

    /// This sync was the last: all must be as without interruptions. One more takes an old group whose renaming was
    /// broken off, until the organization shows its members in the new one, and the login of whose deletion
    /// this one has cancelled.
    #[track_caller]
    pub(crate) fn expect_end(&mut self, output: Output, story: &str) {
        assert_eq!(output.code, Some(0), "{story}: {output}");
        let waits = ["until all its members are in", RESTORED_LATER];
        if waits.iter().any(|words| output.stdout.contains(words)) {
            let (output, _) = self.run(Trap::NONE);
            assert_eq!(output.code, Some(0), "{story}: {output}");
        }
        self.told(story).expect_as(&self.stage.reference, story);
    }

    /// The next sync makes everything as without interruptions.
    #[track_caller]
    pub(crate) fn expect_end_by_sync(&mut self, story: &str) {
        let (output, _) = self.run(Trap::NONE);
        self.expect_end(output, story);
    }

    /// How many requests that change something have come since the beginning.
    pub(crate) fn writes(&self) -> usize {
        self.organization.writes_since(self.mark).len()
    }
}

/// A sync that stands still in the middle of its changes, before it sends one of them; it has the lock.
pub(crate) fn in_the_middle(stage: &Stage, scene: &mut Scene<'_>) -> Trapped {
    let trap = Trap {
        what: "r",
        at: count(&stage.events, "r") - 10,
        how: How::Stop,
    };
    let trapped = scene.start(trap);
    trapped.wait_until_stopped();
    assert!(scene.writes() > 0, "it has not begun yet");
    trapped
}
