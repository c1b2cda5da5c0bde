//! A company between two states of its directory: what one sync has to do is of every kind that there is. Or before its
//! first sync, or before that one is reverted, or when its database is lost.

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
    kept: Kept,
    /// What the program is told to do.
    command: Vec<String>,
    /// How it ends when nothing interrupts it.
    code: i32,
    /// Who is to lose the login.
    pub(crate) leavers: Vec<Person>,
    /// What comes of a sync that nothing interrupts.
    pub(crate) reference: Told,
    /// The events of that sync.
    pub(crate) events: String,
}

/// Copies of database and organization.
struct Kept {
    /// Where there is a database.
    database: Option<PathBuf>,
    organization: PathBuf,
    /// Both are in it.
    _folder: TempDir,
    groups: Vec<OrganizationGroup>,
}

impl Kept {
    /// As they are. That is the end of this organization.
    fn of(dirsyncd: &Dirsyncd, organization: &mut Organization) -> Self {
        let groups = organization.groups();
        organization.kill();
        let folder = tempfile::tempdir().unwrap();
        let database = dirsyncd.database();
        let database = database.exists().then(|| {
            let copy = folder.path().join("dirsyncd.db");
            std::fs::copy(&database, &copy).unwrap();
            copy
        });
        let copy = folder.path().join("organization");
        std::fs::create_dir(&copy).unwrap();
        for file in std::fs::read_dir(organization.state()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        Kept {
            database,
            organization: copy,
            _folder: folder,
            groups,
        }
    }
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

/// The units of the groups.
fn units() -> String {
    let unit = |unit: &str| {
        let entry = "changetype: add\nobjectClass: organizationalUnit";
        format!("dn: ou={unit},{BASE}\n{entry}\nou: {unit}\n\n")
    };
    unit("groups") + &unit("clubs")
}

fn group_rules() -> String {
    format!(
        "[[group]]\nbase = \"ou=groups,{BASE}\"\non_leave = \"delete\"\n[[group]]\nbase = \"ou=clubs,{BASE}\"\non_leave = \"empty\"\n"
    )
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
        let mut groups = units();
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
        dirsyncd.rest = match way {
            Way::Scim => group_rules() + RULES,
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
        let kept = Kept::of(&dirsyncd, &mut organization);

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

        Stage {
            leavers: [leaving, disabled].concat(),
            ..Stage::new(way, slapd, dirsyncd, kept, &["sync"])
        }
        .rehearsed(&[RESTORED_LATER])
    }

    /// Before the first sync: there is neither a database nor an account of ours, but one that is taken over and one
    /// that is only linked.
    pub(crate) fn first_sync() -> Self {
        let joining = people("joining", 6);
        let disabled = people("disabled", 1).remove(0).disabled();
        let (adopted, linked) = (people("adopted", 1), people("linked", 1));
        let slapd = Slapd::start(&[&joining[..], &adopted, &linked, &[disabled]].concat());
        let mut groups = units();
        let members: Vec<&Person> = joining.iter().chain(&adopted).collect();
        for n in 0..3 {
            groups += &group("groups", &format!("group{n}"), &members[n..]);
        }
        groups += &group("clubs", "choir", &members[..2]);
        slapd.modify(&groups);
        let mut organization = Organization::start();
        let mut dirsyncd = Dirsyncd::between(&slapd, Transport::Tls, &organization);
        dirsyncd.rest = group_rules() + RULES;
        let mail = |person: &[Person]| person[0].mail.clone().unwrap();
        organization.create_by_hand(&mail(&adopted), "Somebody", Some("payroll-adopted"));
        organization.seed(&mail(&linked), "Somebody");
        let kept = Kept::of(&dirsyncd, &mut organization);
        Stage::new(Way::Scim, slapd, dirsyncd, kept, &["sync"]).rehearsed(&[])
    }

    /// When a sync that did something of every kind is to be reverted.
    pub(crate) fn revert() -> Self {
        let stage = Stage::of(1);
        let before = stage.kept.database.as_ref();
        let before = before.map_or(0, |path| database::texts(path, "SELECT '' FROM runs").len());
        let revert = stage.synced(&["revert", &(before + 1).to_string()], |_| {});
        // That a deletion was cancelled is not undone.
        Stage { code: 3, ..revert }.rehearsed(&["not undone (restore)"])
    }

    /// When the database is lost after such a sync.
    pub(crate) fn rebuild() -> Self {
        Stage::of(1)
            .synced(&["reconcile", "--rebuild"], |kept| kept.database = None)
            .rehearsed(&[])
    }

    /// After the sync, when this is to be done.
    fn synced(self, command: &[&str], change: impl FnOnce(&mut Kept)) -> Self {
        let mut scene = self.scene();
        let (output, _) = scene.run(Trap::NONE);
        scene.expect_end(output, "nothing interrupts it");
        let mut kept = Kept::of(&scene.dirsyncd, &mut scene.organization);
        drop(scene);
        change(&mut kept);
        let Stage {
            way, slapd, first, ..
        } = self;
        Stage::new(way, slapd, first, kept, command)
    }

    fn new(way: Way, slapd: Slapd, first: Dirsyncd, kept: Kept, command: &[&str]) -> Self {
        Stage {
            way,
            slapd,
            first,
            kept,
            command: command.iter().map(|&word| word.to_owned()).collect(),
            code: 0,
            leavers: Vec::new(),
            reference: Told::default(),
            events: String::new(),
        }
    }

    /// With what comes of it when nothing interrupts it; the first time it says these words.
    fn rehearsed(mut self, words: &[&str]) -> Self {
        let mut scene = self.scene();
        let (output, events) = scene.run(Trap::NONE);
        output.expect_code(self.code).expect_words(words);
        scene.run(Trap::NONE).0.expect_code(self.code);
        // After a revert the directory still wants what was done.
        if self.command[0] != "revert" {
            scene.dirsyncd.expect_nothing_to_do();
        }
        let reference = scene.told("nothing interrupts it");
        drop(scene);
        self.reference = reference;
        self.events = events;
        self
    }

    /// Everything as it was before the sync.
    pub(crate) fn scene(&self) -> Scene<'_> {
        let organization = Organization::start_copy_of(&self.kept.organization);
        // The same source, as what the last pull read is continued by the same only.
        let mut dirsyncd = Dirsyncd::with_source(&organization, self.first.source.clone());
        dirsyncd.rest = self.first.rest.clone();
        dirsyncd.organization = self.block(&organization);
        if let Some(database) = &self.kept.database {
            std::fs::copy(database, dirsyncd.database()).unwrap();
        }
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
    #[track_caller]
    pub(crate) fn database(&self) -> &PathBuf {
        self.kept.database.as_ref().unwrap()
    }
}

impl Scene<'_> {
    fn ports(&self) -> (u16, u16) {
        (self.organization.port(), self.stage.slapd.tls_port)
    }

    /// Starts what is to be done, which goes into this trap.
    pub(crate) fn start(&mut self, trap: Trap) -> Trapped {
        self.start_by_clock(trap, 0)
    }

    fn start_by_clock(&mut self, trap: Trap, ahead: i64) -> Trapped {
        self.starts += 1;
        let command: Vec<&str> = self.stage.command.iter().map(String::as_str).collect();
        Trapped::start(&self.dirsyncd, self.ports(), &command, trap, ahead)
    }

    /// The same with the clock so many seconds ahead.
    pub(crate) fn start_ahead(&mut self, ahead: i64) -> Trapped {
        self.start_by_clock(Trap::NONE, ahead)
    }

    /// Starts a sync; while it sends, somebody sets the wall clock so many seconds ahead.
    pub(crate) fn start_leaping(&mut self, ahead: i64) -> Trapped {
        let trap = Trap {
            what: "r",
            at: count(&self.stage.events, "r") - 10,
            how: How::Leap,
        };
        self.start_by_clock(trap, ahead)
    }

    /// Does what is to be done, and gives the events too. What it had sent when it ended is carried out then.
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
        let database = self.stage.kept.database.as_ref();
        let before = database.map_or(0, |path| database::texts(path, "SELECT '' FROM runs").len());
        let last = match self.stage.code {
            0 => "done",
            _ => "incomplete",
        };
        expect_closed(&path, before + self.starts, last, story);
        Told::of(
            &self.organization,
            self.stage.way,
            &self.stage.kept.groups,
            self.mark,
            &path,
        )
    }

    /// This sync was the last: all must be as without interruptions. One more takes an old group whose renaming was
    /// broken off, until the organization shows its members in the new one, and the login of whose deletion
    /// this one has cancelled.
    #[track_caller]
    pub(crate) fn expect_end(&mut self, mut output: Output, story: &str) {
        let code = Some(self.stage.code);
        assert_eq!(output.code, code, "{story}: {output}");
        let waits = ["until all its members are in", RESTORED_LATER];
        if waits.iter().any(|words| output.stdout.contains(words)) {
            (output, _) = self.run(Trap::NONE);
            assert_eq!(output.code, code, "{story}: {output}");
        }
        let story = format!("{story}: {output}");
        self.told(&story).expect_as(&self.stage.reference, &story);
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
