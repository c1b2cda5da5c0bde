//! A directory that can be told to misbehave, an organization, and the program between them.

use std::time::{Duration, Instant};

use crate::support::directory::PASSWORD;
use crate::support::people::BASE;
use crate::support::scripted::{Scripted, Search, Step, page_end, pages, person};
use crate::support::unchanged::Before;
use crate::support::{
    Dirsyncd, Organization, Output, Person, database, file_reference, write_private,
};

/// The program's `timeout` for the server.
const TIMEOUT: Duration = Duration::from_secs(1);

/// So long may a run take in all, whatever the server does.
const END: Duration = Duration::from_secs(20);

pub(crate) struct Host {
    pub(crate) server: Scripted,
    pub(crate) organization: Organization,
    pub(crate) dirsyncd: Dirsyncd,
    pub(crate) people: Vec<Person>,
}

impl Host {
    /// Twelve people in pages of five, all with an account. No guard would hold a departure.
    pub(crate) fn synced() -> Self {
        let server = Scripted::start();
        let organization = Organization::start();
        let mut dirsyncd = Dirsyncd::with_source(&organization, String::new());
        write_private(&dirsyncd.password_file(), format!("{PASSWORD}\n"));
        dirsyncd.source = format!(
            "preset = \"openldap\"\nurl = {:?}\nplaintext = true\npage_size = 5\nincremental = false\nconnect_timeout = \"{1}s\"\ntimeout = \"{1}s\"\nbind_dn = \"cn=sync\"\npassword = {2}\nbase = \"ou=people,{BASE}\"\n",
            server.url(),
            TIMEOUT.as_secs(),
            file_reference(&dirsyncd.password_file()),
        );
        "[guards]\ndeactivate = { percent = 100 }\n".clone_into(&mut dirsyncd.rest);
        let host = Host {
            server,
            organization,
            dirsyncd,
            people: Person::several(12),
        };
        host.server.answers(host.good());
        host.dirsyncd.sync(0);
        assert_eq!(host.organization.active(), 12);
        host
    }

    /// The entries of a page of five, counted from 0, without its end.
    pub(crate) fn page(&self, number: usize) -> Vec<Step> {
        let page = self.people.chunks(5).nth(number).unwrap();
        page.iter().map(person).collect()
    }

    /// All entries, and how they should come.
    pub(crate) fn good(&self) -> Search {
        let cookies: [&[u8]; 3] = [b"1", b"2", b""];
        let whole = (0..3).map(|number| {
            let mut page = self.page(number);
            page.push(page_end(cookies[number]));
            page
        });
        pages(whole.collect())
    }

    /// Plan and sync end in time with this code and one error that has these words; nothing is changed.
    #[track_caller]
    pub(crate) fn refuses(&self, code: i32, words: &[&str]) {
        let url = self.server.url();
        for verb in ["plan", "sync"] {
            let output = self.run(verb, code).expect_words(words);
            if code == 1 {
                assert!(output.stderr.contains(&url), "{output}");
                assert!(output.stderr.contains("source `directory`"), "{output}");
            }
            let said = |line: &&str| line.starts_with("dirsyncd: ");
            let (warnings, errors): (Vec<&str>, Vec<&str>) = output
                .stderr
                .lines()
                .filter(said)
                .partition(|line| line.starts_with("dirsyncd: warning: `plaintext = true`"));
            assert_eq!(errors.len(), usize::from(code == 1), "{output}");
            // That is warned of at every start.
            let is_plaintext = self.dirsyncd.source.contains("plaintext = true");
            assert_eq!(warnings.len(), usize::from(is_plaintext), "{output}");
        }
    }

    /// Runs a verb that must end in time with this code and change nothing in the organization.
    #[track_caller]
    pub(crate) fn run(&self, verb: &str, code: i32) -> Output {
        let before = Before::of(self.dirsyncd.folder(), &self.organization);
        let accounts = database::accounts(&self.dirsyncd.database());
        let start = Instant::now();
        let output = self
            .dirsyncd
            .start(&[verb])
            .wait_within(END)
            .expect_code(code);
        println!("{verb} ended with {code} after {:?}", start.elapsed());
        before.expect_organization_unchanged();
        assert_eq!(database::accounts(&self.dirsyncd.database()), accounts);
        assert!(!output.stderr.contains("panicked"), "{output}");
        // Whatever the server sends, the message stays readable.
        assert!(output.stdout.len() + output.stderr.len() < 8192, "{output}");
        output
    }

    /// The pull is complete and shows what the organization has; a departure shows that it is believed.
    #[track_caller]
    pub(crate) fn agrees(&self) {
        self.run("plan", 0).expect_words(&["Nothing to do: "]);
        self.run("sync", 0);
    }

    /// The server is well again, and all is as it was.
    #[track_caller]
    pub(crate) fn recovers(&self) {
        self.server.answers(self.good());
        self.agrees();
        assert_eq!(self.organization.active(), 12);
    }
}
