//! The configuration and the command line are wrong.

use crate::catalogue::Chapter;
use crate::refused;
use crate::support::{Dirsyncd, Organization, Person, people};

/// A configuration that is right.
fn right() -> (Organization, Dirsyncd) {
    let organization = Organization::start();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&Person::four()));
    (organization, dirsyncd)
}

#[test]
fn every_verb_refuses_a_mistake_with_its_place_and_changes_nothing() {
    let (organization, dirsyncd) = right();
    let config = dirsyncd.config();
    let file = dirsyncd.folder().join("wrong.toml");
    let path = file.display().to_string();
    std::fs::write(&file, &config).unwrap();
    dirsyncd.run_bare(&["plan", "-c", &path]).expect_code(0);
    for (from, to) in [
        ("[organization]", "[organisation]"),
        ("\"ou=people,dc=example,dc=org\"", "\"people\""),
        ("attr(\"employeeType\")", "atr(\"employeeType\")"),
    ] {
        assert!(config.contains(from), "{from}");
        std::fs::write(&file, config.replacen(from, to, 1)).unwrap();
        let before = crate::support::unchanged::Before::of(dirsyncd.folder(), &organization);
        for verb in ["plan", "sync", "check", "run"] {
            let output = dirsyncd.run_bare(&[verb, "-c", &path]).expect_code(2);
            refused::expect_one_error(&output);
            // dirsyncd: FILE:LINE:COLUMN: what is wrong
            let rest = output
                .stderr
                .split_once(&format!("dirsyncd: {path}:"))
                .expect(&output.stderr)
                .1;
            let line: usize = rest.split(':').next().unwrap().parse().unwrap();
            assert!(line > 0 && line <= config.lines().count() + 2, "{output}");
            assert!(
                output.stderr.contains(&format!("\n  {line} | ")),
                "{output}"
            );
        }
        before.expect_unchanged();
    }
}

/// A small configuration that is right.
const MINIMAL: &str = r#"[organization]
id = "8f1b"
directory = "d-1"
scim_key = { file = "scim-key" }

[[source]]
preset = "openldap"
url = "ldaps://ldap.example.org"
bind_dn = "cn=sync,dc=example,dc=org"
password = { credential = "ldap-password" }
base = "ou=people,dc=example,dc=org"
"#;

/// Refuses each of these and keeps what is said; each begins in a file of its own.
#[track_caller]
fn told(chapter: &str, mistakes: impl IntoIterator<Item = (String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let (_organization, dirsyncd) = right();
    let path = folder.path().join("config.toml").display().to_string();
    let mut told = Chapter::default();
    for (mistake, config) in mistakes {
        std::fs::write(&path, config).unwrap();
        let output = dirsyncd
            .run_bare(&["plan", "--config", &path])
            .expect_code(2);
        refused::expect_one_error(&output);
        told.met(&mistake, &output);
    }
    told.end(chapter);
}

/// [`MINIMAL`] with a text in place of another.
#[track_caller]
fn edit((from, to): (&str, &str)) -> (String, String) {
    assert!(MINIMAL.contains(from), "{from}");
    let title = format!("`{}` in place of `{}`", to.trim(), from.trim());
    (title, MINIMAL.replacen(from, to, 1))
}

/// [`MINIMAL`] with these lines at its end.
fn add(text: &str) -> (String, String) {
    (text.replace('\n', "  "), format!("{MINIMAL}{text}\n"))
}

/// [`MINIMAL`] with these lines in this table.
fn table(name: &str, lines: &str) -> (String, String) {
    add(&format!("[{name}]\n{lines}"))
}

#[test]
fn the_organization_and_the_file_as_a_whole() {
    let whole = [
        (
            "nothing but a source".to_owned(),
            MINIMAL.split_once("\n\n").unwrap().1.to_owned(),
        ),
        (
            "no [[source]]".to_owned(),
            MINIMAL.split_once("\n\n").unwrap().0.to_owned(),
        ),
        ("[organization".to_owned(), "[organization".to_owned()),
        (
            "database = 17".to_owned(),
            format!("database = 17\n{MINIMAL}"),
        ),
        (
            "a table twice".to_owned(),
            format!("{MINIMAL}[log]\n[log]\n"),
        ),
        (
            "a key twice".to_owned(),
            MINIMAL.replacen("id =", "id = \"a\"\nid =", 1),
        ),
    ];
    let edits = [
        ("[organization]", "[organisation]"),
        ("directory =", "directroy ="),
        ("id = \"8f1b\"\n", ""),
        ("id = \"8f1b\"", "id = \"a/b\""),
        ("id = \"8f1b\"", "id = true"),
        ("{ file = \"scim-key\" }", "\"secret\""),
        ("{ file = \"scim-key\" }", "true"),
        ("{ file = \"scim-key\" }", "{ path = \"scim-key\" }"),
        ("{ file = \"scim-key\" }", "{ file = \"a\", env = \"b\" }"),
        ("{ file = \"scim-key\" }", "{ file = 7 }"),
        ("{ file = \"scim-key\" }", "{ credential = \"a/b\" }"),
        ("scim_key = { file = \"scim-key\" }\n", ""),
        ("id =", "api = \"http://api.example.org\"\nid ="),
        ("id =", "api = \"api.example.org\"\nid ="),
        ("id =", "provisioning = \"both\"\nid ="),
        (
            "id =",
            "provisioning = \"admin\"\nadmin_key = { env = \"K\" }\nid =",
        ),
        ("id =", "timeout = \"0s\"\nid ="),
        ("id =", "timeout = \"soon\"\nid ="),
        ("id =", "requests_per_second = 0\nid ="),
        (
            "directory = \"d-1\"\nscim_key = { file = \"scim-key\" }",
            "provisioning = \"admin\"",
        ),
    ];
    let admin = MINIMAL.replacen(
        "directory = \"d-1\"\nscim_key =",
        "provisioning = \"admin\"\nadmin_key =",
        1,
    );
    let groups = format!("{admin}[[group]]\nbase = \"ou=groups,dc=example,dc=org\"\n");
    let mistakes = whole.into_iter().chain(edits.map(edit));
    let mistakes = mistakes.chain([("groups of the admin way".to_owned(), groups)]);
    told("configuration_organization", mistakes);
}

#[test]
fn the_sources() {
    let edits = [
        ("preset = \"openldap\"", "preset = \"opendlap\""),
        ("preset = \"openldap\"\n", ""),
        ("preset = \"openldap\"\n", "filter = \"(mail=*)\"\n"),
        ("bind_dn", "binddn"),
        ("password = { credential = \"ldap-password\" }\n", ""),
        ("bind_dn = \"cn=sync,dc=example,dc=org\"\n", ""),
        ("base = \"ou=people,dc=example,dc=org\"\n", ""),
        ("ou=people,dc=example,dc=org", "people"),
        ("\"ou=people,dc=example,dc=org\"", "7"),
        ("url =", "kind = \"ldiff\"\nurl ="),
        ("url =", "kind = \"ldif\"\nurl ="),
        ("url =", "file = \"a.ldif\"\nurl ="),
        ("url =", "name = \"\"\nurl ="),
    ];
    let adds = [
        "filter = \"(mail=*\"",
        "filter = []",
        "filter = \"mail\"",
        "filter = \"(&(mail=*)\"",
        "filter = \"(mail=*)(uid=*)\"",
        "filter = \"(=a)\"",
        "filter = \"(mail)\"",
        "filter = \"(mail=a(b)\"",
        "filter = \"(mail=a\\\\zz)\"",
        "filter = \"(mail>=a*)\"",
        "filter = \"(uac:1.2.840.113556.1.4.803:=two)\"",
        "filter = \"(uac:1.2.840.113556.1.4.803)\"",
        "filter = \"(:=a)\"",
        "members_of = [\"cn=a,dc=x\", \"staff\"]",
        "members_of = []",
        "member_of = \"cn=a\"",
        "exclude_base = \"ou=a,,dc=x\"",
        "exclude_base = \"ou=a\\\\,dc=x\\\\\"",
        "exclude_base = \"ou=a\\\"b,dc=x\"",
        "exclude_base = \"ou=#0g\"",
        "scope = \"tree\"",
        "page_size = 0",
        "page_size = \"all\"",
        "page_size = -1",
        "plaintext = true",
        "plaintext = \"yes\"",
        "incremental = \"often\"",
        "full_every = \"2000years\"",
        "[[source]]\nname = \"b\"",
        "[[source]]\nbase = \"dc=x\"\npreset = \"openldap\"\nurl = \"ldaps://a\"",
    ];
    let second = |name: &str| {
        let source = MINIMAL.split_once("\n\n").unwrap().1;
        let source = source.replacen("preset", &format!("name = \"{name}\"\npreset"), 1);
        let first = MINIMAL.replacen("preset", "name = \"a\"\npreset", 1);
        let both = format!("{first}\n{source}");
        (format!("a second source `{name}`"), both)
    };
    let ldif = |lines: &str| {
        let (head, _) = MINIMAL.split_once("url =").unwrap();
        let config = format!("{head}kind = \"ldif\"\nbase = \"dc=example\"\n{lines}\n");
        (format!("an LDIF file with {lines}"), config)
    };
    let mistakes = edits.map(edit).into_iter().chain(adds.map(add));
    let mistakes = mistakes.chain([
        second("a"),
        ldif(""),
        ldif("file = \"a.ldif\"\nurl = \"ldaps://a\""),
        ldif("file = \"a.ldif\"\nfilter = \"(uac:1.2.840.113556.1.4.1941:=cn=a)\""),
    ]);
    let mistakes: Vec<_> = mistakes
        .chain([{
            let (name, both) = second("b");
            let rule = "[[group]]\nbase = \"dc=example\"\n";
            (format!("{name} and {rule}"), format!("{both}\n{rule}"))
        }])
        .collect();
    told("configuration_source", mistakes);
}

#[test]
fn the_servers() {
    let with = |lines: &str| {
        let (head, _) = MINIMAL.split_once("url =").unwrap();
        let config = format!("{head}{lines}\nbase = \"dc=example,dc=org\"\n");
        (lines.replace('\n', "  "), config)
    };
    let mistakes = [
        "bind_dn = 'cn=a'",
        "url = 'ldap.example.org'",
        "url = 'https://ldap.example.org'",
        "url = 'ldaps://h/dc=x'",
        "url = 'ldaps://a'\ndiscover = '_ldap._tcp.a'",
        "url = 'ldaps://a'\ndns_server = '127.0.0.1'",
        "discover = 'example.org'",
        "discover = '_ldap._tcp.'",
        "discover = '_ldap._tcp.a'\ndns_server = 'ns.example.org'",
        "discover = '_ldaps._tcp.a'\nplaintext = true",
        "discover = '_ldap._tcp.a'\nbind = 'external'",
        "url = []",
        "url = ['ldaps://a', 'ldaps://a']",
        "url = ['ldaps://a', 'b']",
        "url = ['ldaps://a', 'ldap://[::1]:1389']",
        "url = 'ldapi://%2Esocket'",
        "url = 'ldapi://%2Fsocket'\nbind = 'external'\nfollow_referrals = ['b']",
        "url = 3",
        "url = 'ldaps://'",
        "url = 'ldapi://run'",
        "url = 'ldapi:///run/ldapi'",
        "url = ['ldap://a', 'ldaps://b']\nplaintext = true",
        "url = 'ldaps://a'\nbind = 'external'",
        "url = 'ldaps://a'\nbind = 'simple'",
        "url = 'ldapi://%2Fa'\nbind = 'external'\nbind_dn = 'cn=a'",
        "url = 'ldapi://%2Fa'\nbind = 'external'\npassword = { env = 'P' }",
        "url = 'ldaps://a'\nclient_certificate = 'c.pem'",
        "url = 'ldaps://a'\nclient_key = { file = 'c.key' }",
        "url = 'ldaps://a'\nclient_certificate = 'c.pem'\nclient_key = '-----BEGIN PRIVATE KEY-----'",
        "url = 'ldapi://%2Fa'\nclient_certificate = 'c.pem'\nclient_key = { file = 'c.key' }",
        "url = 'ldap://a'\nplaintext = true\nclient_certificate = 'c.pem'\nclient_key = { file = 'c.key' }",
        "url = 'ldaps://a'\nconnect_timeout = '0s'",
        "url = 'ldaps://a'\nfollow_referrals = ['c/dc=x']",
        "url = 'ldaps://a'\nfollow_referrals = ['c:99999']",
    ];
    told("configuration_servers", mistakes.map(with));
}

/// What else is said of mappings stands in `src/mapping/tests/snapshots`.
#[test]
fn the_mapping() {
    let rules = [
        "userNmae = \"uid\"",
        "email = false",
        "email = { attribute = \"mail\", required = false }",
        "title = true",
        "title = 7",
        "title = \"not a name\"",
        "title = []",
        "title = { exp = 'x' }",
        "title = {}",
        "title = { attribute = 7 }",
        "title = { attribute = \"a\", expr = 'attr(\"b\")' }",
        "title = { value = 7 }",
    ];
    let mistakes = rules.map(|rule| table("source.mapping", rule));
    told("configuration_mapping", mistakes);
}

#[test]
fn the_rules_of_groups() {
    let rule = |lines: &str| add(&format!("[[group]]\nbase = \"ou=g,dc=x\"\n{lines}"));
    let mistakes = [
        "source = \"other\"",
        "base_dn = \"dc=x\"",
        "filter = \"(cn=\"",
        "match = \"team-(\"",
        "match = \"team-(.*)\"\nname = \"$team\"",
        "name_attribute = \"c n\"",
        "key = \"c n\"",
        "on_leave = \"deactivate\"",
        "nested = \"yes\"",
    ];
    let of_a_file = {
        let (head, _) = MINIMAL.split_once("url =").unwrap();
        let group =
            "[[group]]\nbase = \"dc=x\"\nfilter = \"(member:1.2.840.113556.1.4.1941:=cn=a)\"\n";
        let config = format!("{head}kind = \"ldif\"\nfile = \"a\"\nbase = \"dc=x\"\n{group}");
        ("a filter that only a server applies".to_owned(), config)
    };
    told(
        "configuration_group",
        mistakes.map(rule).into_iter().chain([of_a_file]),
    );
}

#[test]
fn the_policies_and_the_budget() {
    let policies = [
        "on_leave = \"delete\"",
        "on_lave = \"keep\"",
        "deactivate_after = { pulls = 0 }",
        "deactivate_after = 2",
        "delete_after = \"30d\"",
        "delete_after = true",
        "delete_after = 90",
        "adopt = \"all\"",
        "adopt = 1",
        "match = [[]]",
        "match = \"mail\"",
        "match = [\"mail\"]",
        "rehire_within = \"soon\"",
    ]
    .map(|lines| table("policy", lines));
    let apply = ["quarantine_after = 0", "max_calls = 1", "deadline = \"0s\""];
    let reconcile = [
        "correct = [\"changed\", \"rekeyed\"]",
        "limit = { percent = 5, per = \"source\" }",
        "limit = { always = 5 }",
    ];
    let journal = ["keep = \"29days\"", "keep = true", "keep = 400"];
    let mistakes = policies
        .into_iter()
        .chain(apply.map(|lines| table("apply", lines)))
        .chain(reconcile.map(|lines| table("reconcile", lines)))
        .chain(journal.map(|lines| table("journal", lines)));
    told("configuration_policy", mistakes);
}

#[test]
fn the_guards() {
    let limits = [
        "delete = 5",
        "delete = { percent = 5, par = 'ou' }",
        "delete = [{ percent = 5 }, { percent = 101 }]",
        "delete = [{ always = 5 }]",
        "delete = { at_most = 5, population = 9 }",
        "delete = { at_most = 5, per = 'group' }",
        "delete = { at_most = 5, per = 'team' }",
        "remove_members = { at_most = 5, per = 'ou' }",
        "protected = ['']",
        "administrators = ['org-*']",
        "hold_expiry = '0s'",
        "hold_expiry = 'soon'",
    ];
    let day = "2026-12-24T12:00:00";
    let freezes = [
        "".to_owned(),
        "time_zone = 'Europe/Berlin'".to_owned(),
        format!("from = {day}"),
        format!("from = {day}\nto = {day}\ndays = ['sat']"),
        format!("from = {day}\nto = {day}"),
        format!("from = {day}Z\nto = {day}"),
        format!("from = {day}\nto = 2026-12-25"),
        "from = 'noon'\nto = 'one'".to_owned(),
        "days = ['saturday']".to_owned(),
        "days = []".to_owned(),
        "hours = '8-18'".to_owned(),
        "hours = '24:00-08:00'".to_owned(),
        "hours = '08:00-24:01'".to_owned(),
        "hours = '08:60-09:00'".to_owned(),
        "hours = '08:00-09:00'\ntime_zone = 'Berlin'".to_owned(),
        "hours = '08:00-09:00'\nwhat = []".to_owned(),
        "hours = '08:00-09:00'\nwhat = ['same_attribute']".to_owned(),
        "hours = '08:00-09:00'\nwhat = ['everything']".to_owned(),
    ];
    let limits = limits.iter().map(|lines| table("guards", lines));
    let freezes = freezes.iter().map(|lines| table("[guards.freeze]", lines));
    told("configuration_guards", limits.chain(freezes));
}

#[test]
fn the_daemon_and_its_schedule() {
    let schedule = [
        "sync = \"every day\"",
        "sync = \"0 0 30 2 *\"",
        "sync = \"0 0 32 * *\"",
        "sync = \"\"",
        "sync = { cron = \"*/15 * * * *\", jitter = \"20m\" }",
        "sync = \"0 * * * *\"\ntime_zone = \"Europe/Berlni\"",
        "sync = \"0 * * * *\"\nreconcile = \"daily\"",
        "sync = { cron = \"0 * * * *\", jitter = \"soon\" }",
        "sync = { cron = \"0 * * * *\", zone = \"UTC\" }",
        "sync = 15",
        "time_zone = \"UTC\"",
    ];
    let daemon = [
        "socket = true",
        "socket = 7",
        "hang_after = \"0s\"",
        "listen = \"127.0.0.1:8765\"",
        "token = { env = \"TOKEN\" }",
        "token = \"s3cret\"\nlisten = \"127.0.0.1:8765\"",
        "token = { env = \"TOKEN\" }\nlisten = \"0.0.0.0:8765\"",
        "token = { env = \"TOKEN\" }\nlisten = \"[2001:db8::1]:8765\"",
        "token = { env = \"TOKEN\" }\nlisten = \"localhost\"",
    ];
    let others = [
        ("telemetry", "otlp = \"http://192.0.2.1:4318\""),
        (
            "telemetry",
            "otlp = \"https://user:word@collector.example.org\"",
        ),
        ("log", "level = \"loud=very\""),
        ("log", "format = \"xml\""),
    ];
    let mistakes = schedule.iter().map(|lines| table("schedule", lines));
    let mistakes = mistakes.chain(daemon.iter().map(|lines| table("daemon", lines)));
    let mistakes = mistakes.chain(others.iter().map(|(name, lines)| table(name, lines)));
    told("configuration_daemon", mistakes);
}

#[test]
fn the_channels() {
    let secret = "secret = { env = 'S' }";
    let webhook = |lines: &str| table("[notify.webhook]", lines);
    let mail = |url: &str, rest: &str| {
        let lines = format!("url = '{url}'\nfrom = 'a@example.org'\n{rest}");
        table("[notify.email]", &lines)
    };
    let to = "to = 'b@example.org'";
    let url = "url = 'https://hooks.example.org'";
    let mistakes = [
        table("notify", "at_most = 0"),
        webhook(url),
        webhook(&format!("url = 'http://hooks.example.org'\n{secret}")),
        webhook(&format!("url = 'https://u:p@hooks.example.org'\n{secret}")),
        webhook(&format!("{url}\n{secret}\nevents = ['gossip']")),
        webhook(&format!(
            "{url}\n{secret}\n[[notify.webhook]]\n{url}\n{secret}"
        )),
        webhook(&format!("{url}\n{secret}\nsubject = '{{{{ headlin }}}}'")),
        webhook(&format!("{url}\n{secret}\ntext = '{{{{ headline'")),
        table(
            "[notify.slack]",
            "secret_url = 'https://hooks.slack.com/services/T0'",
        ),
        mail("https://mail.example.org", to),
        mail("smtp://u:p@mail.example.org", to),
        mail(
            "smtps://mail.example.org",
            &format!("{to}\nplaintext = true"),
        ),
        mail("smtps://mail.example.org", "to = []"),
        mail("smtps://mail.example.org", "to = 'nobody'"),
        mail("smtps://mail.example.org", &format!("{to}\nuser = 'u'")),
        mail(
            "smtps://mail.example.org",
            &format!("{to}\npassword = {{ env = 'P' }}"),
        ),
    ];
    told("configuration_notify", mistakes);
}

#[test]
fn a_configuration_that_is_not_there_is_told() {
    let (_organization, dirsyncd) = right();
    let path = dirsyncd.folder().join("nowhere.toml").display().to_string();
    let mut chapter = Chapter::default();
    for verb in ["plan", "sync", "check", "run"] {
        let output = dirsyncd.run_bare(&[verb, "--config", &path]).expect_code(2);
        refused::expect_one_error(&output);
        chapter.met(verb, &output);
    }
    chapter.end("configuration_file");
}

#[test]
fn a_secret_written_into_the_configuration_is_refused_and_not_shown() {
    let (organization, dirsyncd) = right();
    let file = dirsyncd.folder().join("wrong.toml");
    let path = file.display().to_string();
    // Every output is searched for the keys.
    for key in ["scim_key", "admin_key"] {
        let secret = format!("{:?}", organization.scim_key);
        let block = crate::support::replaced(&organization.block, key, &secret);
        let config = dirsyncd.config().replace(&organization.block, &block);
        std::fs::write(&file, config).unwrap();
        dirsyncd
            .run_bare(&["plan", "--config", &path])
            .expect_code(2)
            .expect_words(&["a secret does not stand in the configuration"]);
    }
    // It would be found there.
    std::fs::remove_file(&file).unwrap();
}

#[test]
#[should_panic(expected = "is shown by")]
fn an_output_with_a_secret_fails_its_test() {
    let (organization, dirsyncd) = right();
    // An argument that is one too many is told as it is.
    drop(dirsyncd.start(&["plan", &organization.scim_key]).wait());
}

#[test]
#[should_panic(expected = "is shown by")]
fn a_file_with_a_secret_fails_its_test() {
    let (organization, dirsyncd) = right();
    let text = format!("the key is {}", organization.admin_key);
    std::fs::write(dirsyncd.state().join("dirsyncd.db-journal"), text).unwrap();
    drop(dirsyncd);
}

#[test]
fn no_key_turns_the_check_of_certificates_off() {
    let (_organization, dirsyncd) = right();
    let file = dirsyncd.folder().join("wrong.toml");
    let path = file.display().to_string();
    let config = dirsyncd.config();
    for key in [
        "danger_accept_invalid_certificates",
        "accept_invalid_certs",
        "insecure",
        "insecure_skip_verify",
        "no_verify",
        "skip_verify",
        "ssl_verify",
        "tls",
        "tls_reqcert",
        "tls_verify",
        "verify",
        "verify_hostname",
    ] {
        for table in ["[organization]", "[[source]]"] {
            let set = format!("{table}\n{key} = false");
            std::fs::write(&file, config.replacen(table, &set, 1)).unwrap();
            dirsyncd
                .run_bare(&["plan", "--config", &path])
                .expect_code(2)
                .expect_words(&[&format!("unknown key `{key}`")]);
        }
    }
}

#[test]
fn wrong_usage_is_told_with_the_way_to_help() {
    let (_organization, dirsyncd) = right();
    let cases: [(&[&str], &str); 6] = [
        (&["plna"], "unrecognized subcommand 'plna'"),
        (&["plan", "--formt", "json"], "'--format'"),
        (
            &["plan", "--format", "xml"],
            "[possible values: text, json, csv, markdown, html]",
        ),
        (&["plan", "--limit", "few"], "invalid value 'few'"),
        (&["sync", "--detailed-exitcode"], "unexpected argument"),
        (&["simulate"], "--state"),
    ];
    for (arguments, words) in cases {
        dirsyncd
            .run_bare(arguments)
            .expect_code(2)
            .expect_words(&[words, "--help"]);
    }
    dirsyncd.run_bare(&[]).expect_code(2);
    dirsyncd
        .run_bare(&["--help"])
        .expect_code(0)
        .expect_words(&["Exit codes:"]);
    dirsyncd.run_bare(&["--version"]).expect_code(0);
}
