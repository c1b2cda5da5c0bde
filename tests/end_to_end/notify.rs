//! Telling people: through webhooks, Slack and mail, what is news, once, and over restarts.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::hooks::{Answer, Hook, Hooks, Mail};
use crate::support::people::directory;
use crate::support::program::Running;
use crate::support::{Dirsyncd, Organization, Person, SOON, database, eventually};

const SECRET: &str = "whsec_Tm9ib2R5IHdpbGwgZ3Vlc3MgdGhpcyBzZWNyZXQhIQ==";

/// Two deactivations are let through, and nothing is done by a schedule.
const DAEMON: &str = "[guards]\ndeactivate = { at_most = 2 }\n[schedule]\nsync = \"0 0 1 1 *\"\n[daemon]\nhang_after = \"4s\"\n";

/// A company in an LDIF file, and who is told of it.
struct Company {
    organization: Organization,
    dirsyncd: Dirsyncd,
    people: Vec<Person>,
    hooks: Hooks,
}

impl Company {
    /// With one webhook, and these keys of `[notify]` and of the webhook.
    fn new(rest: &str, notify: &str, webhook: &str) -> Self {
        let people = Person::several(8);
        let organization = Organization::start();
        let mut dirsyncd = Dirsyncd::from_ldif(&organization, &directory(&people));
        let hooks = Hooks::start();
        let secret = dirsyncd.add_secret("webhook-secret", SECRET);
        dirsyncd.rest = format!(
            "{rest}[notify]\n{notify}\n[[notify.webhook]]\nurl = \"{}\"\nsecret = {secret}\n{webhook}",
            hooks.url("hook?for=ops")
        );
        Company {
            organization,
            dirsyncd,
            people,
            hooks,
        }
    }

    fn without(&self, gone: usize) {
        self.dirsyncd.write_ldif(&directory(&self.people[gone..]));
    }

    fn daemon(&self) -> Running {
        let daemon = self.dirsyncd.start(&["run"]);
        expect_logged(&daemon, "waiting for the next run");
        daemon
    }

    /// Has the daemon sync, and waits for its end.
    fn sync(&self, daemon: &Running) {
        let before = self.ended();
        daemon.signal("USR1");
        eventually("the end of a run", SOON, || {
            (self.ended() > before).then_some(())
        });
    }

    fn ended(&self) -> usize {
        if !self.dirsyncd.database().exists() {
            return 0;
        }
        self.database("SELECT id || '' FROM runs WHERE finished_at IS NOT NULL")
            .len()
    }

    fn database(&self, query: &str) -> Vec<String> {
        database::texts(&self.dirsyncd.database(), query)
    }

    /// What waits is due now.
    fn hurry(&self) {
        database::execute(
            &self.dirsyncd.database(),
            "UPDATE outbox SET next_at = 1 WHERE state = 'waiting'",
        );
    }

    /// Waits until the outbox has so many letters of each state.
    fn expect_outbox(&self, states: &[&str]) {
        eventually(&format!("{states:?}"), SOON, || {
            (self.database("SELECT state FROM outbox ORDER BY number") == states).then_some(())
        });
    }
}

fn expect_logged(daemon: &Running, words: &str) {
    eventually(words, SOON, || {
        daemon.stderr().contains(words).then_some(())
    });
}

fn stop(daemon: Running) -> String {
    daemon.signal("TERM");
    daemon
        .wait_within(Duration::from_secs(20))
        .expect_code(0)
        .stderr
}

fn topics(hook: &Hook) -> Vec<(String, String)> {
    let json = hook.json();
    let matters = json["data"]["matters"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    matters
        .iter()
        .map(|one| (text(&one["topic"]), text(&one["state"])))
        .collect()
}

fn one(topic: &str, state: &str) -> Vec<(String, String)> {
    vec![(topic.to_owned(), state.to_owned())]
}

#[test]
fn a_hold_is_told_once_signed_and_without_names_and_that_it_is_over() {
    let company = Company::new(DAEMON, "", "");
    let daemon = company.daemon();
    company.sync(&daemon);
    company.without(5);
    company.sync(&daemon);
    let first = company.hooks.expect(1).remove(0);
    // The same again is no news.
    company.sync(&daemon);
    company
        .dirsyncd
        .run(&["approve", "deactivate", "--reason", "they have told us"])
        .expect_code(0);
    company.sync(&daemon);
    let both = company.hooks.expect(2);
    for hook in &both {
        hook.expect_signed(SECRET);
        assert_eq!(hook.path, "/hook?for=ops");
        assert_eq!(hook.headers["content-type"], "application/json");
        assert!(
            !hook.body.contains("p00") && !hook.body.contains("Person"),
            "{}",
            hook.body
        );
    }
    let json = first.json();
    assert_eq!(
        (&json["type"], &json["data"]["run"]),
        (&"refusal".into(), &2.into())
    );
    assert_eq!(
        json["data"]["headline"],
        "the hold `deactivate` is open, with 5"
    );
    assert_eq!(json["data"]["look"], "dirsyncd holds");
    assert_eq!(topics(&first), one("hold deactivate", "new"));
    assert_eq!(
        (&both[1].json()["type"], topics(&both[1])),
        (&"recovery".into(), one("hold deactivate", "over"))
    );
    company.expect_outbox(&["sent", "sent"]);
    stop(daemon);
    assert_eq!(company.organization.active(), 3);
    company.hooks.expect(2);
}

#[test]
fn who_wants_names_gets_them_by_a_template_of_its_own() {
    let company = Company::new(
        "[guards]\ndeactivate = { at_most = 2 }\n",
        "by_hand = true",
        "people = true\nsubject = \"{{ event }}\"\ntext = '{% for line in lines %}[{{ line }}]{% endfor %}'\nevents = [\"refusal\"]\n",
    );
    company.dirsyncd.sync(0);
    company.without(4);
    company.dirsyncd.sync(3);
    company.dirsyncd.sync(3);
    let json = company.hooks.expect(1).remove(0).json();
    assert_eq!(json["data"]["subject"], "refusal");
    let text = json["data"]["text"].as_str().unwrap();
    assert!(
        text.starts_with("[4 deactivations among 8 accounts")
            && text.contains("Pat Person 00 (uid=p00,"),
        "{text}"
    );
    assert_eq!(
        json["data"]["matters"][0]["people"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    // The end was not wanted; and what looks at one person says nothing of the others.
    company.dirsyncd.write_ldif(&directory(&company.people));
    company
        .dirsyncd
        .run(&["sync", "--user", "p00@example.org"])
        .expect_code(0);
    company.dirsyncd.sync(0);
    company.hooks.expect(1);
    assert_eq!(company.database("SELECT topic FROM told"), [] as [&str; 0]);
}

#[test]
fn a_receiver_that_fails_is_asked_again_with_the_same_id_also_after_a_restart() {
    let company = Company::new(DAEMON, "", "timeout = \"1s\"\n");
    let fails = Answer::Of(
        "500 Internal Server Error",
        String::new(),
        format!("no use: {SECRET} \u{1b}[31m{}", "x".repeat(5000)),
    );
    company.hooks.answer(&[fails, Answer::Silence]);
    std::fs::remove_file(company.dirsyncd.ldif_file()).unwrap();
    let daemon = company.daemon();
    company.sync(&daemon);
    expect_logged(&daemon, "refused (500 Internal Server Error): no use: … ");
    company.hurry();
    expect_logged(&daemon, "it took too long");
    company.expect_outbox(&["waiting"]);
    // Killed in the middle.
    drop(daemon);
    company.hurry();
    let daemon = company.daemon();
    let all = company.hooks.expect(3);
    company.expect_outbox(&["sent"]);
    for hook in &all {
        hook.expect_signed(SECRET);
        assert_eq!((hook.id(), &hook.body), (all[0].id(), &all[0].body));
    }
    assert_eq!(topics(&all[0]), one("sync", "new"));
    assert!(!all[0].body.contains("directory.ldif"), "{}", all[0].body);
    company.dirsyncd.write_ldif(&directory(&company.people));
    company.sync(&daemon);
    let all = company.hooks.expect(4);
    assert_eq!(topics(&all[3]), one("sync", "over"));
    company.expect_outbox(&["sent", "sent"]);
    let log = stop(daemon);
    assert!(log.lines().all(|line| line.chars().count() < 600), "{log}");
}

#[test]
fn a_message_that_is_refused_for_good_is_given_up_and_no_redirect_is_followed() {
    let company = Company::new("", "by_hand = true", "");
    let elsewhere = Hooks::start();
    let location = format!("Location: {}\r\n", elsewhere.url("stolen"));
    company.hooks.answer(&[
        Answer::Of("307 Temporary Redirect", location, String::new()),
        Answer::Of("400 Bad Request", String::new(), "what is that?".to_owned()),
    ]);
    std::fs::remove_file(company.dirsyncd.ldif_file()).unwrap();
    company.dirsyncd.sync(1);
    company.dirsyncd.write_ldif(&directory(&company.people));
    company.dirsyncd.sync(0);
    company.hooks.expect(2);
    company.expect_outbox(&["given_up", "given_up"]);
    let errors = company.database("SELECT error FROM outbox ORDER BY number");
    assert_eq!(
        errors,
        [
            "refused (307 Temporary Redirect): ",
            "refused (400 Bad Request): what is that?"
        ]
    );
    elsewhere.expect(0);
}

#[test]
fn more_than_may_be_sent_in_an_hour_is_summed_up_in_the_last() {
    let company = Company::new("", "by_hand = true\nat_most = 2", "");
    for _ in 0..3 {
        std::fs::remove_file(company.dirsyncd.ldif_file()).unwrap();
        company.dirsyncd.sync(1);
        company.dirsyncd.write_ldif(&directory(&company.people));
        company.dirsyncd.sync(0);
    }
    let all = company.hooks.expect(2);
    assert_eq!(topics(&all[1]), one("sync", "over"));
    company.expect_outbox(&["sent", "sent", "waiting"]);
    // An hour later.
    let hour = "UPDATE outbox SET ended_at = ended_at - 3600000 WHERE state = 'sent'";
    database::execute(&company.dirsyncd.database(), hour);
    company.hurry();
    company.dirsyncd.sync(0);
    let last = company.hooks.expect(3).remove(2);
    last.expect_signed(SECRET);
    assert_eq!(
        (&last.json()["type"], topics(&last)),
        (&"recovery".into(), one("sync", "over"))
    );
    let former = last.json()["data"]["summed_up"].clone();
    let former: Vec<&str> = former
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["headline"].as_str().unwrap())
        .collect();
    assert_eq!(
        former,
        [
            "the sync failed",
            "over: the sync failed",
            "the sync failed"
        ]
    );
}

#[test]
fn what_goes_on_is_told_again_after_a_day() {
    let company = Company::new("", "by_hand = true", "");
    std::fs::remove_file(company.dirsyncd.ldif_file()).unwrap();
    company.dirsyncd.sync(1);
    let day = "UPDATE told SET detail = json_set(detail, '$.at', '2026-01-01T00:00:00Z')";
    database::execute(&company.dirsyncd.database(), day);
    company.dirsyncd.sync(1);
    company.dirsyncd.sync(1);
    let all = company.hooks.expect(2);
    assert_eq!(topics(&all[1]), one("sync", "ongoing"));
    assert_eq!(all[1].json()["data"]["reminder"], true);
    assert_eq!(all[1].json()["data"]["headline"], "still: the sync failed");
}

#[test]
fn who_is_in_quarantine_is_told_and_that_nobody_is_any_more() {
    let mut company = Company::new("[apply]\nquarantine_after = 1\n", "by_hand = true", "");
    company.dirsyncd.sync(0);
    let account = company
        .organization
        .of_key(&company.people[3].key())
        .unwrap();
    let refuse = serde_json::json!([{
        "match": format!("^PATCH .*/Users/{}", account.scim_id),
        "times": 1000,
        "status": 403,
        "body": {"key": "forbidden.by-policy", "message": "not this one"},
    }]);
    company.organization.faults(&refuse);
    "Director".clone_into(&mut company.people[3].title);
    company.dirsyncd.write_ldif(&directory(&company.people));
    company.dirsyncd.sync(4);
    let all = company.hooks.expect(1);
    assert_eq!(topics(&all[0]), one("operations", "new"));
    company.dirsyncd.sync(3);
    let all = company.hooks.expect(3);
    let kinds: Vec<Value> = all.iter().map(|hook| hook.json()["type"].clone()).collect();
    assert_eq!(kinds, ["failure", "quarantine", "recovery"]);
    assert_eq!(topics(&all[1]), one("quarantine", "new"));
    company.organization.heal();
    company.dirsyncd.run(&["retry", "--all"]).expect_code(0);
    company.dirsyncd.sync(0);
    assert_eq!(
        topics(&company.hooks.expect(4)[3]),
        one("quarantine", "over")
    );
}

#[test]
fn a_daemon_that_does_not_start_or_that_hangs_is_told() {
    let company = Company::new(
        "[schedule]\nsync = \"0 0 1 1 *\"\n[daemon]\nhang_after = \"1s\"\n",
        "",
        "",
    );
    let socket = company.dirsyncd.state().join("dirsyncd.db.sock");
    std::fs::write(&socket, "").unwrap();
    company.dirsyncd.start(&["run"]).wait().expect_code(1);
    assert_eq!(topics(&company.hooks.expect(1)[0]), one("start", "new"));
    std::fs::remove_file(&socket).unwrap();
    let daemon = company.daemon();
    assert_eq!(topics(&company.hooks.expect(2)[1]), one("start", "over"));
    company.organization.slow_writes(60_000);
    daemon.signal("USR1");
    assert_eq!(topics(&company.hooks.expect(3)[2]), one("hang", "new"));
    // Killed before it has noted that, the next one would wait and tell it again.
    company.expect_outbox(&["sent", "sent", "sent"]);
    drop(daemon);
    company.organization.heal();
    let daemon = company.daemon();
    assert_eq!(topics(&company.hooks.expect(4)[3]), one("hang", "over"));
    stop(daemon);
}

#[test]
fn slack_gets_its_form_and_its_url_stays_secret() {
    let mut company = Company::new("", "by_hand = true", "events = []\n");
    let url = company.hooks.url("services/T000/B000/XXXXsecretXXXX");
    let secret = company.dirsyncd.add_secret("slack-url", &url);
    company.dirsyncd.rest += &format!(
        "[[notify.slack]]\nsecret_url = {secret}\ntext = '<!here> {{{{ headline }}}} & more'\n"
    );
    std::fs::remove_file(company.dirsyncd.ldif_file()).unwrap();
    company.dirsyncd.sync(1);
    let hook = company.hooks.expect(1).remove(0);
    assert_eq!(hook.path, "/services/T000/B000/XXXXsecretXXXX");
    let section = &hook.json()["blocks"][1]["text"];
    assert_eq!(section["text"], "&lt;!here&gt; the sync failed &amp; more");
    assert!(
        hook.json()["text"]
            .as_str()
            .unwrap()
            .ends_with(": the sync failed")
    );
    // Where nobody listens, no word of the address either.
    let nobody = format!("http://127.0.0.1:1/{}", "T000secretT000");
    company.dirsyncd.add_secret("slack-url", &nobody);
    company.dirsyncd.write_ldif(&directory(&company.people));
    company.dirsyncd.sync(0);
    company.expect_outbox(&["sent", "waiting"]);
    assert!(
        company.database("SELECT error FROM outbox WHERE state = 'waiting'")[0]
            .starts_with("no answer: ")
    );
}

#[test]
fn webhooks_and_mail_go_by_tls_and_only_to_whom_the_ca_vouches_for() {
    let password = "correct horse battery";
    let mail = Mail::start_tls("sync", password);
    let hooks = Hooks::start_tls();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let mut company = Company::new("", "by_hand = true", "events = []\n");
    let of_hook = company.dirsyncd.add_secret("tls-hook-secret", secret);
    let of_mail = company.dirsyncd.add_secret("mail-password", password);
    let tables = |hook_ca: &Path, mail_ca: &Path| {
        format!(
            "[[notify.webhook]]\nname = \"tls\"\nurl = {:?}\nsecret = {of_hook}\nca_file = {hook_ca:?}\n[[notify.email]]\nurl = \"smtps://127.0.0.1:{}\"\nuser = \"sync\"\npassword = {of_mail}\nfrom = \"sync@example.org\"\nto = [\"ops@example.org\"]\nca_file = {mail_ca:?}\n",
            hooks.url("hook"),
            mail.port
        )
    };
    let before = company.dirsyncd.rest.clone();
    // Each with the CA of the other one.
    company.dirsyncd.rest = before.clone() + &tables(&mail.ca_file(), &hooks.ca_file());
    let refused = company.dirsyncd.run(&["check", "--notify"]).expect_code(1);
    refused.expect_words(&[
        "✗ channel `tls`: no answer: ",
        "✗ channel `email`: no answer: ",
    ]);
    assert!(hooks.all().is_empty() && mail.letters().is_empty());
    company.dirsyncd.rest = before + &tables(&hooks.ca_file(), &mail.ca_file());
    company.dirsyncd.run(&["check", "--notify"]).expect_words(&[
        "✓ channel `tls`: a test message went by webhook to 127.0.0.1 (204)",
        "✓ channel `email`: a test message went by email to ops@example.org",
    ]);
    hooks.expect(1)[0].expect_signed(secret);
    let letters = mail.letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(
        (&letters[0]["tls"], &letters[0]["login"]),
        (&true.into(), &true.into())
    );
}

#[test]
fn mail_goes_by_starttls_with_a_login() {
    let password = "correct horse battery";
    let mail = Mail::start("sync", password);
    let mut company = Company::new("", "by_hand = true", "events = [\"quarantine\"]\n");
    let secret = company.dirsyncd.add_secret("mail-password", password);
    let ca = format!("ca_file = {:?}\n", mail.ca_file());
    company.dirsyncd.rest += &format!(
        "[[notify.email]]\nurl = \"smtp://127.0.0.1:{}\"\nuser = \"sync\"\npassword = {secret}\nfrom = \"dirsyncd <sync@example.org>\"\nto = [\"ops@example.org\", \"Zoë <zoe@example.org>\"]\n{ca}",
        mail.port
    );
    std::fs::remove_file(company.dirsyncd.ldif_file()).unwrap();
    company.dirsyncd.sync(1);
    let letters = mail.letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = &letters[0];
    assert_eq!(
        (&letter["tls"], &letter["login"]),
        (&true.into(), &true.into())
    );
    assert_eq!(
        letter["to"],
        serde_json::json!(["ops@example.org", "zoe@example.org"])
    );
    assert_eq!(letter["headers"]["From"], "dirsyncd <sync@example.org>");
    let subject = letter["headers"]["Subject"].as_str().unwrap();
    assert!(
        subject.starts_with("dirsyncd on ") && subject.ends_with(": the sync failed"),
        "{subject}"
    );
    let id = company
        .database("SELECT id FROM outbox WHERE state = 'sent'")
        .remove(0);
    assert_eq!(
        letter["headers"]["Message-ID"],
        format!("<{id}@example.org>")
    );
    let text = letter["text"].as_str().unwrap();
    assert!(
        text.contains("- the sync came to nothing: the directory could not be read"),
        "{text}"
    );

    company.dirsyncd.run(&["check", "--notify"]).expect_words(&[
        "✓ channel `email`: a test message went by email to ops@example.org, zoe@example.org through 127.0.0.1 (250)",
        "✓ channel `webhook`: a test message went by webhook to 127.0.0.1 (204)",
    ]);
    assert_eq!(mail.letters().len(), 2);

    // Another password, and a certificate that is not trusted.
    company.dirsyncd.add_secret("mail-password", "another one");
    company
        .dirsyncd
        .run(&["check", "--notify"])
        .expect_code(1)
        .expect_words(&["✗ channel `email`: refused (535): "]);
    company.dirsyncd.rest = company.dirsyncd.rest.replace(&ca, "");
    let output = company.dirsyncd.run(&["check", "--notify"]).expect_code(1);
    output.expect_words(&["✗ channel `email`: no answer: ", "nknown"]);
    assert_eq!(mail.letters().len(), 2);
}

#[test]
fn the_channels_are_checked_and_tried_and_what_fails_is_told() {
    let mut company = Company::new("", "", "name = \"ops\"\n");
    company.dirsyncd.write_ldif(&directory(&company.people));
    let short = company.dirsyncd.add_secret("short", "whsec_c2hvcnQ=");
    company.dirsyncd.rest += &format!(
        "[[notify.webhook]]\nname = \"short\"\nurl = \"{}\"\nsecret = {short}\n[[notify.slack]]\nsecret_url = {{ file = \"nowhere\" }}\n",
        company.hooks.url("short")
    );
    let without = company.dirsyncd.run(&["check"]).expect_code(1);
    without.expect_words(&[
        "✓ channel `ops`: webhook for refusal, failure, quarantine, recovery",
        "✗ channel `slack`: cannot read the secret file",
    ]);
    company.hooks.expect(0);
    let with = company.dirsyncd.run(&["check", "--notify"]).expect_code(1);
    with.expect_words(&[
        "✓ channel `ops`: a test message went by webhook to 127.0.0.1 (204)",
        "✗ channel `short`: the secret is not `whsec_` and 24 to 64 octets in base64",
        "✗ channel `slack`: cannot read the secret file",
        "2 of the checks failed",
    ]);
    let hook = company.hooks.expect(1).remove(0);
    hook.expect_signed(SECRET);
    assert_eq!(
        (&hook.json()["type"], topics(&hook)),
        (&"test".into(), Vec::new())
    );
    for (text, words) in [
        (
            "[[notify.webhook]]\nurl = \"http://hooks.example.org/\"\nsecret = { env = \"S\" }\n",
            "plaintext = true",
        ),
        (
            "[[notify.webhook]]\nurl = \"https://user:pass@hooks.example.org/\"\nsecret = { env = \"S\" }\n",
            "no secret stands in a URL",
        ),
        (
            "[[notify.slack]]\nsecret_url = \"https://hooks.example.org/T0\"\n",
            "a secret does not stand in the configuration",
        ),
        (
            "[[notify.slack]]\nurl = \"https://hooks.example.org/T0\"\n",
            "unknown key `url`",
        ),
        (
            "[[notify.email]]\nurl = \"smtp://mail.example.org\"\nfrom = \"x\"\nto = \"ops@example.org\"\n",
            "`x` is no address",
        ),
        (
            "[[notify.email]]\nurl = \"mail.example.org\"\nfrom = \"a@b.c\"\nto = []\n",
            "put the scheme before it",
        ),
        (
            "[[notify.webhook]]\nurl = \"https://a.b/\"\nsecret = { env = \"S\" }\ntext = \"{{ lins }}\"\n",
            "did you mean `lines`?",
        ),
        (
            "[[notify.webhook]]\nname = \"ops\"\nurl = \"https://a.b/\"\nsecret = { env = \"S\" }\n",
            "two channels of [notify] are called `ops`",
        ),
    ] {
        let rest = company.dirsyncd.rest.clone();
        company.dirsyncd.rest += text;
        let output = company
            .dirsyncd
            .run(&["check"])
            .expect_code(2)
            .expect_words(&[words]);
        assert!(!format!("{output}").contains("/T0"), "{output}");
        company.dirsyncd.rest = rest;
    }
}
