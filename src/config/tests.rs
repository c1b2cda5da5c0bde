//! What `config.toml` may say, and how it is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use super::*;
use crate::model::Attribute;

const MINIMAL: &str = r#"
[organization]
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

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("/etc/dirsyncd/config.toml"), text).map_err(|error| error.to_string())
}

#[test]
fn a_minimal_configuration_has_safe_defaults() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.database, Path::new("/var/lib/dirsyncd/dirsyncd.db"));
    assert_eq!(
        config.organization.api.as_str(),
        "https://api.atlassian.com/"
    );
    assert_eq!(
        config.organization.provisioning,
        Provisioning::Scim {
            directory: "d-1".into(),
            key: SecretRef::File("/etc/dirsyncd/scim-key".into()),
        }
    );
    assert_eq!(config.organization.max_users, 1_000_000);
    assert_eq!(config.organization.forecast_accounts, 200);
    assert_eq!(config.policy, Policy::default());
    assert!(!config.deletes());
    assert_eq!(config.schedule, []);
    let socket = Path::new("/var/lib/dirsyncd/dirsyncd.db.sock");
    assert_eq!(config.daemon.socket.as_deref(), Some(socket));
    assert_eq!(config.daemon.listen, None);
    assert!(config.reconcile.correct.is_empty());
    assert_eq!(config.reconcile.limit.allowed(1000), Some(100));
    let source = &config.sources[0];
    assert_eq!(source.name.as_str(), "directory");
    assert_eq!(source.key, "entryUUID");
    assert_eq!(source.search.filter_text, "(objectClass=inetOrgPerson)");
    let SourceKind::Ldap(server) = &source.kind else {
        panic!("{source:?}")
    };
    assert!(!server.plaintext);
    assert_eq!(server.page_size, 1000);
}

#[test]
fn the_example_configuration_is_one_and_names_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    Config::parse(&path, &text).unwrap();
    // Each key that a configuration may have is in the example, live or commented out.
    let known = [
        "database",
        "id",
        "provisioning",
        "directory",
        "api",
        "scim_key",
        "admin_key",
        "ca_file",
        "timeout",
        "operation_timeout",
        "requests_per_second",
        "max_users",
        "forecast_accounts",
        "name",
        "kind",
        "preset",
        "file",
        "url",
        "discover",
        "dns_server",
        "plaintext",
        "client_certificate",
        "client_key",
        "bind",
        "bind_dn",
        "password",
        "page_size",
        "connect_timeout",
        "follow_referrals",
        "ignore_referrals",
        "base",
        "scope",
        "filter",
        "members_of",
        "exclude_base",
        "exclude_members_of",
        "include",
        "exclude",
        "key",
        "without_mail",
        "source",
        "match",
        "name_attribute",
        "nested",
        "exact",
        "on_leave",
        "on_disabled",
        "delete_after",
        "adopt",
        "create",
        "update",
        "same_attribute",
        "deactivate",
        "delete",
        "change_email",
        "remove_members",
        "protected",
        "protected_groups",
        "administrators",
        "hold_expiry",
        "quarantine_after",
        "max_calls",
        "deadline",
        "from",
        "to",
        "days",
        "hours",
        "what",
        "correct",
        "limit",
        "keep",
        "sync",
        "reconcile",
        "time_zone",
        "by_hand",
        "at_most",
        "secret",
        "secret_url",
        "events",
        "people",
        "subject",
        "text",
        "user",
        "level",
        "format",
    ];
    for key in known
        .into_iter()
        .chain(Attribute::ALL.map(Attribute::name))
        .chain(["active"])
    {
        let is_there = text.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            line.strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
        });
        assert!(is_there, "config.example.toml does not show `{key}`");
    }
    // And what is commented out is right as well.
    let live: String = text
        .lines()
        .map(|line| match line.strip_prefix("#") {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => rest,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let live = Config::parse(&path, &live).unwrap_or_else(|error| panic!("uncommented: {error}"));
    assert_eq!(live.guards, Guards::default());
}

/// A configuration with these lines in place of those about the server.
fn with_server(lines: &str) -> Result<Config, String> {
    let (head, _) = MINIMAL.split_once("url =").unwrap();
    parse(&format!("{head}{lines}\nbase = \"dc=example,dc=org\"\n"))
}

fn server(lines: &str) -> Box<Ldap> {
    let config = with_server(lines).unwrap_or_else(|error| panic!("{lines}: {error}"));
    match &config.sources[0].kind {
        SourceKind::Ldap(server) => server.clone(),
        SourceKind::Ldif(_) => panic!("{config:?}"),
    }
}

#[test]
fn servers_are_one_url_or_a_list_of_them() {
    for (lines, urls) in [
        ("url = 'ldaps://a'", vec!["ldaps://a"]),
        (
            "url = ['ldaps://a:1636', 'ldap://b', 'ldapi://%2Frun%2Fldapi']",
            vec!["ldaps://a:1636", "ldap://b", "ldapi://%2Frun%2Fldapi"],
        ),
    ] {
        let server = server(lines);
        let urls = urls.into_iter().map(|url| url.parse().unwrap());
        assert_eq!(server.servers, Servers::Listed(urls.collect()));
        assert_eq!(server.connect_timeout, std::time::Duration::from_secs(10));
        assert_eq!(server.bind, Bind::Anonymous);
    }
}

#[test]
fn servers_may_be_named_by_dns() {
    for (lines, scheme, dns_server) in [
        ("discover = '_ldaps._tcp.a.org'", "ldaps", None),
        (
            "discover = '_ldap._tcp.dc._msdcs.a.org'\ndns_server = '127.0.0.1'",
            "ldap",
            Some("127.0.0.1:53"),
        ),
        (
            "discover = '_LDAP._tcp.a.org'\ndns_server = '[::1]:5353'",
            "ldap",
            Some("[::1]:5353"),
        ),
    ] {
        let Servers::Discovered(discovery) = server(lines).servers else {
            panic!("{lines}")
        };
        assert!(lines.contains(&discovery.record));
        assert_eq!(discovery.scheme(), scheme);
        let wanted = dns_server.map(|address| address.parse().unwrap());
        assert_eq!(discovery.dns_server, wanted);
    }
}

#[test]
fn traces_go_to_another_machine_without_tls_only_where_that_is_wanted() {
    let telemetry = |rest: &str| parse(&format!("{MINIMAL}[telemetry]\n{rest}"));
    let there = "otlp = \"http://192.0.2.1:4318\"\n";
    let config = telemetry(&format!("{there}plaintext = true\n")).unwrap();
    assert_eq!(
        config.telemetry.otlp.unwrap().as_str(),
        "http://192.0.2.1:4318/"
    );
    telemetry(&format!("{there}plaintext = false\n")).unwrap_err();
}

#[test]
fn each_way_to_bind_has_its_own_keys() {
    let certificate = "client_certificate = 'c.pem'\nclient_key = { file = 'c.key' }";
    let with = |lines: &str| server(&format!("url = 'ldaps://a'\n{lines}"));
    let both = with(&format!("bind = 'external'\n{certificate}"));
    assert_eq!(both.bind, Bind::External);
    assert_eq!(
        both.client_certificate,
        Some(ClientCertificate {
            chain: "/etc/dirsyncd/c.pem".into(),
            key: SecretRef::File("/etc/dirsyncd/c.key".into()),
        })
    );
    let simple = "bind_dn = 'cn=a'\npassword = { env = 'P' }";
    let simple = with(&format!("{simple}\n{certificate}"));
    assert!(matches!(simple.bind, Bind::Simple { .. }), "{simple:?}");
    assert!(simple.client_certificate.is_some());
    let socket = server("url = 'ldapi://%2Frun%2Fldapi'\nbind = 'external'");
    assert_eq!(socket.bind, Bind::External);
    let either = format!("url = ['ldapi://%2frun', 'ldaps://a']\nbind = 'external'\n{certificate}");
    assert!(server(&either).client_certificate.is_some());
    // Without TLS there is no certificate to check.
    server("url = 'ldap://[::1]:1389'\nplaintext = true");
}

#[test]
fn referrals_are_followed_to_hosts_that_are_named() {
    let server =
        server("url = 'ldaps://a'\nfollow_referrals = ['B.example.org', 'c:1636', '[::1]:389']");
    let host = |host: &str, port| ReferralHost {
        host: host.to_owned(),
        port,
    };
    assert_eq!(
        server.follow_referrals,
        [
            host("b.example.org", None),
            host("c", Some(1636)),
            host("[::1]", Some(389)),
        ]
    );
    for wrong in ["", "ldap://c", "c/dc=x", "c:0x", "a@c", "c:99999", "c?x"] {
        let lines = format!("url = 'ldaps://a'\nfollow_referrals = ['{wrong}']");
        let error = with_server(&lines).expect_err(wrong);
        assert!(error.contains("config.toml:10:20: "), "{error}");
        assert!(error.contains("is neither HOST nor HOST:PORT"), "{error}");
    }
}

#[test]
fn each_way_of_provisioning_has_its_own_keys() {
    let with = |lines: &str| {
        let organization = MINIMAL.find("[[source]]").unwrap();
        parse(&format!(
            "[organization]\nid = \"o\"\n{lines}\n{}",
            &MINIMAL[organization..]
        ))
    };
    let admin = with("provisioning = \"admin\"\nadmin_key = { env = \"K\" }").unwrap();
    assert_eq!(admin.organization.provisioning, Provisioning::Admin);
    for (lines, words) in [
        ("", "needs `directory` and `scim_key`"),
        ("directory = \"d\"", "needs `directory` and `scim_key`"),
        ("provisioning = \"admin\"", "needs `admin_key`"),
        (
            "provisioning = \"admin\"\nadmin_key = { env = \"K\" }\ndirectory = \"d\"",
            "belongs to provisioning = \"scim\"",
        ),
        ("provisioning = \"both\"", "unknown value `both`"),
    ] {
        let error = with(lines).unwrap_err();
        assert!(error.contains(words), "{lines}: {error}");
    }
}

#[test]
fn the_api_is_reached_by_https_but_on_loopback() {
    for (api, is_accepted) in [
        ("https://api.example.org", true),
        ("http://127.0.0.1:8080", true),
        ("http://[::1]:8080", true),
        ("http://localhost", true),
        ("http://api.example.org", false),
        ("http://10.0.0.1", false),
        ("ftp://localhost", false),
    ] {
        let text = MINIMAL.replacen("id =", &format!("api = \"{api}\"\nid ="), 1);
        assert_eq!(parse(&text).is_ok(), is_accepted, "{api}");
    }
}

#[test]
fn a_limit_allows_the_larger_of_always_and_the_share() {
    for (always, percent, at_most, population, allowed) in [
        (5, Some(10.0), None, 20, Some(5)),
        (5, Some(10.0), None, 59, Some(5)),
        (5, Some(10.0), None, 60, Some(6)),
        (5, Some(10.0), Some(50), 10_000, Some(50)),
        (0, None, Some(7), 3, Some(7)),
        (9, None, None, 3, None),
    ] {
        let limit = Limit {
            always,
            percent,
            at_most,
            ..Limit::default()
        };
        assert_eq!(
            limit.allowed(population),
            allowed,
            "{limit:?} of {population}"
        );
    }
}

#[test]
fn a_person_is_whom_any_of_the_filters_finds() {
    let search = |filter: &str| {
        with_server(&format!("url = 'ldaps://a'\nfilter = {filter}"))
            .map(|config| config.sources[0].search.filter_text.clone())
            .map_err(|error| error.to_string())
    };
    assert_eq!(search("'(uid=a)'").unwrap(), "(uid=a)");
    assert_eq!(
        search("['(uid=a)', '(|(sn=b)(cn=c))']").unwrap(),
        "(|(uid=a)(|(sn=b)(cn=c)))"
    );
    assert!(
        search("[]")
            .unwrap_err()
            .contains("give at least one filter")
    );
    let error = search("['(uid=a)', '(uid=']").unwrap_err();
    assert!(
        error.contains("`(uid=` is not a usable search filter"),
        "{error}"
    );
}

fn guards(text: &str) -> Result<Guards, String> {
    parse(&format!("{MINIMAL}\n{text}")).map(|config| config.guards)
}

#[test]
fn guards_are_limits_of_kinds_and_scopes() {
    let guards = guards(
        r#"
[guards]
create = []
deactivate = { always = 5, percent = 10 }
delete = [{ at_most = 3 }, { percent = 2, population = 50, per = "ou" }]
remove_members = { percent = 50, per = "group" }
protected = ["Boss@Example.org"]
protected_groups = ["site-*"]
administrators = ["org-admins"]
hold_expiry = "3days"
"#,
    )
    .unwrap();
    assert_eq!(guards.limits(Guard::Create), []);
    let one = Limit {
        always: 5,
        percent: Some(10.0),
        ..Limit::default()
    };
    assert_eq!(guards.limits(Guard::Deactivate), [one]);
    let two = [
        Limit {
            at_most: Some(3),
            ..Limit::default()
        },
        Limit {
            percent: Some(2.0),
            population: 50,
            per: Per::Ou,
            ..Limit::default()
        },
    ];
    assert_eq!(guards.limits(Guard::Delete), two);
    assert_eq!(guards.limits(Guard::RemoveMembers)[0].per, Per::Group);
    let default = Guards::default();
    assert_eq!(
        guards.limits(Guard::Update),
        default.limits(Guard::Update),
        "what is not set is as it was"
    );
    assert!(guards.protected.contains("boss@example.org"));
    assert!(guards.protects_group("Site-Owners"));
    assert_eq!(guards.administrators, ["org-admins"]);
    assert_eq!(guards.hold_expiry, chrono::TimeDelta::days(3));
    assert!(guards.counts_per(Per::Ou) && !guards.counts_per(Per::Domain));
}

#[test]
fn a_freeze_is_in_its_own_time_zone_or_in_that_of_the_schedule() {
    let text = r#"
[[guards.freeze]]
from = 2026-12-24T12:00:00
to = 2027-01-02T00:00:00
what = ["deactivate", "delete"]
[[guards.freeze]]
days = ["sat", "sun"]
hours = "18:00-08:00"
time_zone = "America/New_York"
"#;
    let zone = "[schedule]\nsync = \"0 * * * *\"\ntime_zone = \"Europe/Berlin\"\n";
    let both = guards(&format!("{text}{zone}")).unwrap().freezes;
    assert_eq!(both[0].zone, chrono_tz::Europe::Berlin);
    assert_eq!(
        both[0].what,
        Some([Guard::Deactivate, Guard::Delete].into())
    );
    let at = |text: &str| text.parse::<crate::model::Timestamp>().unwrap();
    assert_eq!(
        both[0].until(at("2026-12-24T11:00:00Z")),
        Some(at("2027-01-01T23:00:00Z"))
    );
    // Saturday, 28 November, at six in the evening in New York.
    assert_eq!(both[1].zone, chrono_tz::America::New_York);
    assert_eq!(both[1].until(at("2026-11-28T22:59:59Z")), None);
    assert_eq!(
        both[1].until(at("2026-11-28T23:00:00Z")),
        Some(at("2026-11-29T13:00:00Z"))
    );
    assert_eq!(guards(text).unwrap().freezes[0].zone, chrono_tz::UTC);
    let hours = |hours: &str| {
        let text = format!("[[guards.freeze]]\nhours = \"{hours}\"\n");
        guards(&text).unwrap().freezes[0].window.clone()
    };
    for (text, start, length) in [
        ("00:00-24:00", 0, 24 * 60),
        ("08:00-08:00", 480, 24 * 60),
        ("23:30-00:15", 23 * 60 + 30, 45),
        ("09:00-17:30", 540, 510),
    ] {
        let expected = Window::Weekly {
            days: (0..7).collect(),
            start: chrono::TimeDelta::minutes(start),
            length: chrono::TimeDelta::minutes(length),
        };
        assert_eq!(hours(text), expected, "{text}");
    }
}

#[test]
fn each_job_has_times_of_its_own_and_the_rest_from_the_whole_schedule() {
    let text = format!(
        r#"{MINIMAL}
[schedule]
time_zone = "Europe/Berlin"
jitter = "30s"
at_start = true
sync = "*/15 * * * *"
full = {{ cron = "0 2 * * 0", time_zone = "UTC", jitter = "10m", at_start = false, catch_up = false }}
prune = {{ cron = "0 4 * * *" }}
"#
    );
    let jobs = parse(&text).unwrap().schedule;
    let told: Vec<_> = jobs
        .iter()
        .map(|one| {
            let times = one.schedule.to_string();
            let seconds = one.jitter.as_secs();
            (one.job, times, seconds, one.at_start, one.catch_up)
        })
        .collect();
    let of = |text: &str| text.to_owned();
    assert_eq!(
        told,
        [
            (Job::Full, of("0 2 * * 0 (UTC)"), 600, false, false),
            (
                Job::Sync,
                of("*/15 * * * * (Europe/Berlin)"),
                30,
                true,
                true
            ),
            (Job::Prune, of("0 4 * * * (Europe/Berlin)"), 30, true, true),
        ]
    );
}

#[test]
fn reconciling_corrects_what_it_is_told_to() {
    let text = format!(
        "{MINIMAL}\n\
         [reconcile]\ncorrect = [\"deleted\", \"changed\"]\nlimit = {{ at_most = 3 }}\n"
    );
    let reconcile = parse(&text).unwrap().reconcile;
    let kinds = [DriftKind::Changed, DriftKind::Deleted];
    assert_eq!(reconcile.correct, kinds.into());
    assert_eq!(reconcile.limit.allowed(1000), Some(3));
}
