//! The configuration and the command line are wrong.

use crate::refused;
use crate::support::{Dirsyncd, Organization, Person, people};

/// A configuration that is right.
fn right() -> (Organization, Dirsyncd) {
    let organization = Organization::start();
    let dirsyncd = Dirsyncd::from_ldif(&organization, &people::directory(&Person::four()));
    (organization, dirsyncd)
}

#[test]
fn a_mistake_is_told_with_file_line_and_the_nearest_known_name() {
    let (organization, dirsyncd) = right();
    let config = format!(
        "{}\n[schedule]\nsync = \"*/15 * * * *\"\ntime_zone = \"Europe/Berlin\"\n",
        dirsyncd.config()
    );
    let cases: [(&str, &str, &[&str]); 20] = [
        (
            "database =",
            "databse =",
            &["unknown key `databse`", "did you mean `database`?"],
        ),
        (
            "[organization]",
            "[organisation]",
            &["`organisation`", "did you mean `organization`?"],
        ),
        ("[schedule]", "[shedule]", &["did you mean `schedule`?"]),
        ("scim_key =", "scim_kee =", &["did you mean `scim_key`?"]),
        ("preset =", "prest =", &["did you mean `preset`?"]),
        ("time_zone =", "timezone =", &["did you mean `time_zone`?"]),
        (
            "active =",
            "activ =",
            &["unknown attribute `activ`", "did you mean `active`?"],
        ),
        ("{ expr =", "{ exp =", &["did you mean `expr`?"]),
        (
            "\"openldap\"",
            "\"openldp\"",
            &["unknown preset `openldp`", "did you mean `openldap`?"],
        ),
        (
            "\"ldif\"",
            "\"ldiff\"",
            &["unknown value `ldiff`", "did you mean `ldif`?"],
        ),
        (
            "\"state/dirsyncd.db\"",
            "17",
            &["invalid type: integer `17`"],
        ),
        (
            "\"Europe/Berlin\"",
            "\"Europe/Berlni\"",
            &["is no time zone", "did you mean `Europe/Berlin`?"],
        ),
        (
            "\"*/15 * * * *\"",
            "\"every hour\"",
            &["is no cron expression", "write five fields"],
        ),
        (
            "\"*/15 * * * *\"",
            "\"0 0 30 2 *\"",
            &["is no cron expression", "it never comes"],
        ),
        (
            "\"ou=people,dc=example,dc=org\"",
            "\"people\"",
            &["`people` is no DN"],
        ),
        (
            "preset = \"openldap\"",
            "preset = \"openldap\"\nfilter = \"(mail=*\"",
            &["filter"],
        ),
        (
            "attr(\"employeeType\") !=",
            "attr(\"employeeType\" !=",
            &["the expression for `active` is wrong"],
        ),
        (
            "attr(\"employeeType\")",
            "atr(\"employeeType\")",
            &["the expression for `active` is wrong", "atr"],
        ),
        (
            "[source.mapping]",
            "[source.mapping]\nemail = false",
            &["the mapping has no `email`"],
        ),
        (
            "[schedule]",
            "[policy]\ndelete_after = \"soon\"\n[schedule]",
            &["`soon` is no duration", "30days"],
        ),
    ];
    let file = dirsyncd.folder().join("wrong.toml");
    let path = file.display().to_string();
    std::fs::write(&file, &config).unwrap();
    dirsyncd.run_bare(&["plan", "-c", &path]).expect_code(0);
    for (from, to, words) in cases {
        println!("{from} -> {to}");
        assert!(config.contains(from), "{from}");
        std::fs::write(&file, config.replacen(from, to, 1)).unwrap();
        let before = crate::support::unchanged::Before::of(dirsyncd.folder(), &organization);
        for verb in ["plan", "sync", "check", "run"] {
            let output = dirsyncd
                .run_bare(&[verb, "-c", &path])
                .expect_code(2)
                .expect_words(words);
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

#[test]
fn a_configuration_that_is_not_there_is_told() {
    let (_organization, dirsyncd) = right();
    let path = dirsyncd.folder().join("nowhere.toml").display().to_string();
    for verb in ["plan", "sync", "check", "run"] {
        let output = dirsyncd
            .run_bare(&[verb, "--config", &path])
            .expect_code(2)
            .expect_words(&["cannot read the configuration", &path, "--config FILE"]);
        refused::expect_one_error(&output);
    }
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
