//! The mapping's rules, over entries as the kinds of directory give them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use proptest::prelude::*;

mod functions;
mod refused;
mod rules;
mod scope;
mod traced;

use super::value::{guid, sid};
use super::*;
use crate::config::Config;

/// The moment of the run.
fn now() -> Timestamp {
    moment("2026-11-25T12:00:00Z")
}

fn moment(text: &str) -> Timestamp {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

/// The mapping of a source with these lines in its table and in `[source.mapping]`.
fn mapping(source: &str, rules: &str) -> Mapping {
    let config = config(source, rules);
    Mapping::compile(&config.sources[0], &config.organization.provisioning)
        .unwrap_or_else(|e| panic!("{e}"))
}

fn config(source: &str, rules: &str) -> Config {
    let text = format!(
        "[organization]\nid = \"o\"\ndirectory = \"d\"\nscim_key = {{ env = \"K\" }}\n\
         [[source]]\nkind = \"ldif\"\nfile = \"f\"\nbase = \"dc=example\"\n{source}\n[source.mapping]\n{rules}\n"
    );
    Config::parse(Path::new("config.toml"), &text).unwrap_or_else(|e| panic!("{e}"))
}

/// Why no account can be made.
fn unmapped(why: NotMapped) -> Unmapped {
    match why {
        NotMapped::Unmapped(unmapped) => *unmapped,
        NotMapped::Excluded(excluded) => panic!("{excluded:?}"),
    }
}

fn problem(why: NotMapped) -> Problem {
    unmapped(why).problem
}

fn refused(rules: &str) -> String {
    let text = format!(
        "[organization]\nid = \"o\"\ndirectory = \"d\"\nscim_key = {{ env = \"K\" }}\n\
         [[source]]\nkind = \"ldif\"\nfile = \"f\"\nbase = \"dc=example\"\npreset = \"openldap\"\n[source.mapping]\n{rules}\n"
    );
    let config = Config::parse(Path::new("config.toml"), &text).unwrap_or_else(|e| panic!("{e}"));
    match Mapping::compile(&config.sources[0], &config.organization.provisioning) {
        Ok(_) => panic!("{rules} compiles"),
        Err(error) => config
            .invalid(error.span.clone(), error.to_string())
            .to_string(),
    }
}

fn entry(attributes: &[(&str, &str)]) -> Entry {
    let mut entry = Entry::new("uid=zoe,ou=people,dc=example");
    for (name, value) in attributes {
        entry.push(name, value.as_bytes().to_vec());
    }
    entry
}

const ZOE: [(&str, &str); 7] = [
    ("entryUUID", "8F2A1C3E-0000-4000-8000-000000000001"),
    ("mail", "zoe@example.org"),
    ("cn", "Zoë Müller"),
    ("givenName", "Zoë"),
    ("sn", "Müller"),
    ("title", "Engineer"),
    ("departmentNumber", "R&D"),
];

#[test]
fn the_openldap_preset_maps_an_inet_org_person() {
    let account = mapping("preset = \"openldap\"", "")
        .map(&entry(&ZOE), now())
        .unwrap();
    assert_eq!(account.key.as_str(), "8f2a1c3e-0000-4000-8000-000000000001");
    assert!(account.active);
    insta::assert_json_snapshot!(account.profile, @r#"
    {
      "userName": "zoe@example.org",
      "email": "zoe@example.org",
      "displayName": "Zoë Müller",
      "givenName": "Zoë",
      "familyName": "Müller",
      "title": "Engineer",
      "department": "R&D"
    }
    "#);
}

#[test]
fn each_preset_knows_who_is_disabled() {
    let with = |preset: &str, key: &str, attribute: &str, value: &str| {
        let mut entry = entry(&ZOE);
        entry.push(key, b"8f2a1c3e-0000-4000-8000-000000000002".to_vec());
        if !attribute.is_empty() {
            entry.push(attribute, value.as_bytes().to_vec());
        }
        mapping(&format!("preset = \"{preset}\""), "")
            .map(&entry, now())
            .unwrap()
            .active
    };
    for (preset, key, attribute, value, active) in [
        ("openldap", "x", "", "", true),
        (
            "openldap",
            "x",
            "pwdAccountLockedTime",
            "000001010000Z",
            false,
        ),
        // Locked out for a while after wrong passwords: still an employee.
        (
            "openldap",
            "x",
            "pwdAccountLockedTime",
            "20261125101500Z",
            true,
        ),
        (
            "active-directory",
            "objectGUID",
            "userAccountControl",
            "512",
            true,
        ),
        (
            "active-directory",
            "objectGUID",
            "userAccountControl",
            "514",
            false,
        ),
        (
            "active-directory",
            "objectGUID",
            "userAccountControl",
            "66050",
            false,
        ),
        ("389ds", "nsUniqueId", "nsAccountLock", "TRUE", false),
        ("389ds", "nsUniqueId", "nsAccountLock", "false", true),
        ("freeipa", "ipaUniqueID", "nsaccountlock", "true", false),
        ("freeipa", "ipaUniqueID", "", "", true),
    ] {
        assert_eq!(
            with(preset, key, attribute, value),
            active,
            "{preset} {attribute} {value}"
        );
    }
}

#[test]
fn every_preset_compiles_and_asks_for_what_it_reads() {
    for (name, _) in crate::config::Preset::ALL {
        let attributes = mapping(&format!("preset = \"{name}\""), "").attributes();
        assert!(
            attributes.contains(&"mail".to_owned()),
            "{name}: {attributes:?}"
        );
        assert!(attributes.len() >= 10, "{name}: {attributes:?}");
    }
    let attributes = mapping("preset = \"active-directory\"", "").attributes();
    assert!(attributes.contains(&"objectGUID".to_owned()));
    assert!(attributes.contains(&"userAccountControl".to_owned()));
}

#[test]
fn a_rule_is_a_name_a_list_a_constant_or_an_expression() {
    let zoe = |rule: &str| {
        let mapping = mapping("preset = \"openldap\"", &format!("nickName = {rule}"));
        mapping
            .map(&entry(&ZOE), now())
            .unwrap()
            .profile
            .get(Attribute::NickName)
            .map(str::to_owned)
    };
    for (rule, value) in [
        (r#""givenName""#, Some("Zoë")),
        (r#""GIVENNAME""#, Some("Zoë")),
        (r#""displayName""#, None),
        (r#"["displayName", "cn"]"#, Some("Zoë Müller")),
        (r#"{ value = "Staff" }"#, Some("Staff")),
        (
            r#"{ expr = 'attr("givenName") + "." + attr("sn")' }"#,
            Some("Zoë.Müller"),
        ),
        (
            r#"{ expr = 'attr("mail").split("@")[0].upperAscii()' }"#,
            Some("ZOE"),
        ),
        (
            r#"{ expr = 'attr("title") == "" ? "none" : attr("title")' }"#,
            Some("Engineer"),
        ),
        (
            r#"{ expr = 'attrs("mail").map(m, m.replace("@", " at ")).join(", ")' }"#,
            Some("zoe at example.org"),
        ),
        (r#"{ expr = 'string(size(attrs("nothing")))' }"#, Some("0")),
        (r#"{ expr = 'size(attrs("mail"))' }"#, Some("1")),
        (r#"{ expr = 'attr("nothing")' }"#, None),
        (
            r#"{ expr = '{"who": attr("givenName")}.who' }"#,
            Some("Zoë"),
        ),
        // A name that is given hides another.
        (
            r#"{ expr = '["A"].map(now, now.lower()).first()' }"#,
            Some("a"),
        ),
        ("false", None),
    ] {
        assert_eq!(zoe(rule).as_deref(), value, "{rule}");
    }
}

#[test]
fn an_expression_tells_which_attributes_it_reads() {
    let mapping = mapping(
        "filter = \"(a=*)\"\nkey = \"k\"",
        r#"
        userName = "mail"
        email = ["mail", "MAIL", "mailAlternateAddress"]
        title = { expr = '[attr("a"), {"x": attr("b")}["x"], attrs("c-d;lang-de").map(v, v + attr("e"))[0]][0]' }
        "#,
    );
    let attributes = mapping.attributes();
    assert_eq!(
        attributes,
        [
            "MAIL",
            "a",
            "b",
            "c-d;lang-de",
            "e",
            "k",
            "mailAlternateAddress"
        ]
    );
}

#[test]
fn people_are_looked_for_by_what_identifies_them() {
    let rules = "userName = \"uid\"\nactive = \"enabled\"\n\
        employeeNumber = { expr = 'attr(\"o\") + attr(\"employeeNumber\")' }";
    let names = mapping("preset = \"openldap\"", rules).names_of_identifiers();
    assert_eq!(names, ["employeeNumber", "mail", "o", "uid"]);
}

#[test]
fn a_key_is_one_text_of_255_bytes_at_most() {
    let (longest, too_long) = ("k".repeat(255), "ä".repeat(128));
    for (values, wanted) in [
        (&[" K "][..], Ok("k")),
        (&[&longest], Ok(longest.as_str())),
        (&[&too_long], Err("it is longer than 255 bytes")),
        (&["a\u{7}b"], Err("holds control characters")),
        (&[" "], Err("it is empty")),
        (&["a", "b"], Err("it has 2 values, and a key has one")),
        (&[], Err("the entry has no `entryUUID`")),
    ] {
        let mut entry = entry(&ZOE[1..]);
        for value in values {
            entry.push("entryUUID", value.as_bytes().to_vec());
        }
        let mapping = mapping("preset = \"openldap\"", "");
        let key = mapping.key(&entry);
        match (mapping.map(&entry, now()).map_err(problem), wanted) {
            (Ok(account), Ok(wanted)) => {
                assert_eq!(account.key.as_str(), wanted);
                assert_eq!(key, Some(account.key));
            }
            (Err(problem), Err(words)) => {
                assert!(problem.to_string().contains(words), "{problem}");
                assert_eq!(key, None);
            }
            (mapped, _) => panic!("{values:?}: {mapped:?}"),
        }
    }
}

#[test]
fn what_the_api_takes_is_sent_and_nothing_else() {
    let (hundred, more) = ("ä".repeat(100), "ä".repeat(101));
    for (name, value, wanted) in [
        ("cn", hundred.as_str(), true),
        ("cn", &more, false),
        ("title", "§ 5\u{a0}BGB", true),
        ("title", "a\u{85}b", false),
        ("title", "a\u{7f}b", false),
        ("mail", "zoe.m+x@mail.example.org", true),
        ("mail", "zoe", false),
        ("mail", "@example.org", false),
        ("mail", "zoe@localhost", false),
        ("mail", "zoe@example..org", false),
        ("mail", "zoe@.org", false),
        ("mail", "zoe@example.org.", false),
        ("mail", "zoe m@example.org", false),
        ("mail", "zoe@mail@example.org", false),
    ] {
        let mut all = ZOE.to_vec();
        all.retain(|(other, _)| *other != name);
        all.push((name, value));
        match mapping("preset = \"openldap\"", "").map(&entry(&all), now()) {
            Ok(account) => {
                let mut values = account.profile.iter();
                assert!(values.any(|(_, one)| one == value), "{value:?}");
                assert!(wanted, "{value:?} is sent");
            }
            Err(why) => {
                let problem = problem(why);
                assert!(matches!(problem, Problem::Unacceptable { .. }), "{problem}");
                assert!(!wanted, "{problem}");
            }
        }
    }
}

#[test]
fn what_cannot_be_mapped_is_told_by_entry_and_attribute() {
    let binary = |attribute: &str| {
        let mut entry = entry(&ZOE[..2]);
        entry.push(attribute, vec![0xff, 0xfe]);
        entry
    };
    let without = |name: &str| {
        let rest: Vec<_> = ZOE
            .iter()
            .copied()
            .filter(|(other, _)| *other != name)
            .collect();
        entry(&rest)
    };
    let plus = |name: &str, value: &str| {
        let mut all = ZOE.to_vec();
        all.retain(|(other, _)| *other != name);
        all.push((name, value));
        entry(&all)
    };
    let long = "x".repeat(101);
    for (entry, has_key, words) in [
        (
            without("entryUUID"),
            false,
            vec!["no `entryUUID`", "that the bind DN may read it"],
        ),
        (
            plus("entryUUID", " "),
            false,
            vec!["`entryUUID` is no usable key"],
        ),
        (
            without("mail"),
            true,
            vec![
                "no value for `userName` (from `mail`)",
                "leave the person out",
            ],
        ),
        (
            plus("mail", "zoe"),
            true,
            vec!["`email`", "\"zoe\"", "is no e-mail address"],
        ),
        (
            plus("mail", "zoe@@example.org"),
            true,
            vec!["is no e-mail address"],
        ),
        (
            plus("cn", &long),
            true,
            vec!["`displayName`", "has 101 characters", "100 at most"],
        ),
        (
            plus("title", "a\u{7}b"),
            true,
            vec!["`title`", "control character"],
        ),
        (
            binary("cn"),
            true,
            vec!["uid=zoe,ou=people,dc=example", "cn"],
        ),
    ] {
        let unmapped = unmapped(
            mapping("preset = \"openldap\"", "")
                .map(&entry, now())
                .unwrap_err(),
        );
        assert_eq!(unmapped.key.is_some(), has_key, "{unmapped:?}");
        let text = unmapped.problem.to_string();
        for word in words {
            assert!(text.contains(word), "{text}");
        }
    }
}

#[test]
fn an_object_guid_is_shown_as_windows_does() {
    let bytes: Vec<u8> = vec![
        0x3e, 0x1c, 0x2a, 0x8f, 0x01, 0x02, 0x03, 0x44, 0x80, 0x00, 0, 0, 0, 0, 0, 0x01,
    ];
    let mut entry = entry(&ZOE[1..]);
    entry.push("objectGUID", bytes);
    entry.push("userAccountControl", b"512".to_vec());
    let account = mapping("preset = \"active-directory\"", "")
        .map(&entry, now())
        .unwrap();
    assert_eq!(account.key.as_str(), "8f2a1c3e-0201-4403-8000-000000000001");
}

#[test]
fn active_takes_an_ldap_boolean_and_refuses_other_words() {
    let active = |value: &str| {
        let mut entry = entry(&ZOE);
        entry.push("enabled", value.as_bytes().to_vec());
        mapping("preset = \"openldap\"", "active = \"enabled\"")
            .map(&entry, now())
            .map(|a| a.active)
    };
    assert!(active("TRUE").unwrap());
    assert!(!active("false").unwrap());
    let problem = problem(active("perhaps").unwrap_err()).to_string();
    assert!(
        problem.contains("\"perhaps\" is neither TRUE nor FALSE"),
        "{problem}"
    );
}

#[test]
fn an_account_control_that_cannot_be_read_is_no_permission_to_log_in() {
    let mut entry = entry(&ZOE);
    entry.push("objectGUID", vec![7; 16]);
    let mapping = mapping("preset = \"active-directory\"", "");
    let problem = problem(mapping.map(&entry, now()).unwrap_err()).to_string();
    assert!(
        problem.contains("`active`") && problem.contains("bind DN may read"),
        "{problem}"
    );
}

#[test]
fn no_faulty_value_keeps_the_login_of_a_disabled_person_open() {
    let mapping = mapping(
        "preset = \"openldap\"",
        "active = { expr = 'attr(\"employeeType\") != \"leaver\"' }",
    );
    for (name, value) in [("mail", ""), ("mail", "no address"), ("cn", "a\u{7}b")] {
        let mut all = ZOE.to_vec();
        all.retain(|(other, _)| *other != name);
        all.extend([(name, value), ("employeeType", "leaver")]);
        let account = mapping.map(&entry(&all), now()).unwrap();
        assert!(!account.active, "{name} {value:?}");
    }
}

#[test]
fn a_rule_that_makes_no_sense_is_refused_where_it_is_read() {
    for (rule, word) in [
        ("{ }", "give `attribute`, `expr` or `value`"),
        ("{ value = \"a\", expr = \"b\" }", "give only one of"),
        (
            "{ value = \"a\", join = \"b\" }",
            "go with `attribute` only",
        ),
        ("{ attribute = \"a b\" }", "`a b` is not an LDAP attribute"),
        (
            "{ attribute = false }",
            "expected an LDAP attribute name or a list of them",
        ),
        (
            "{ attribute = { attribute = \"a\", join = \"b\" } }",
            "expected an LDAP attribute name or a list of them",
        ),
        ("{ attribute = [] }", "the list of LDAP attributes is empty"),
        (
            "{ attribute = \"a\", language = \"e_n\" }",
            "`e_n` is not a language tag",
        ),
        ("{ atribute = \"a\" }", "did you mean `attribute`?"),
    ] {
        let text = format!(
            "[organization]\nid = \"o\"\ndirectory = \"d\"\nscim_key = {{ env = \"K\" }}\n\
             [[source]]\nkind = \"ldif\"\nfile = \"f\"\nbase = \"dc=example\"\npreset = \"openldap\"\n[source.mapping]\ntitle = {rule}\n"
        );
        let error = Config::parse(Path::new("config.toml"), &text).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains(word) && error.contains(":11:"),
            "{rule}: {error}"
        );
    }
}

/// What `title` becomes by a rule, of Zoë's entry with these attributes more.
fn title(rule: &str, more: &[(&str, &[u8])]) -> Result<Option<String>, Problem> {
    let mut entry = entry(&ZOE);
    for (name, value) in more {
        entry.push(name, value.to_vec());
    }
    mapping("preset = \"openldap\"", &format!("title = {rule}"))
        .map(&entry, now())
        .map(|account| account.profile.get(Attribute::Title).map(str::to_owned))
        .map_err(problem)
}

const GUID: [u8; 16] = [
    0x3e, 0x1c, 0x2a, 0x8f, 0x01, 0x02, 0x03, 0x44, 0x80, 0x00, 0, 0, 0, 0, 0, 0x01,
];
const SID: [u8; 28] = [
    1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 0xe9, 0x03, 0, 0, 0xff, 0xff, 0xff, 0xff, 7, 0, 0, 0,
    0xf4, 0x01, 0, 0,
];
const SID_TEXT: &str = "S-1-5-21-1001-4294967295-7-500";

#[test]
fn binary_values_have_their_usual_text_form_wherever_they_are_read() {
    let guid_text = "8f2a1c3e-0201-4403-8000-000000000001";
    for (attribute, octets, text) in [
        ("objectGUID", &GUID[..], guid_text),
        ("mS-DS-ConsistencyGuid", &GUID, guid_text),
        ("msExchMailboxGuid", &GUID, guid_text),
        (
            "OBJECTGUID",
            b"{8F2A1C3E-0201-4403-8000-000000000001}",
            guid_text,
        ),
        ("objectSid", &SID, SID_TEXT),
        ("sIDHistory", &SID, SID_TEXT),
        ("tokenGroups", &SID, SID_TEXT),
        ("objectSid", SID_TEXT.as_bytes(), SID_TEXT),
        (
            "objectSid",
            &[1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
            "S-1-1-0",
        ),
        ("objectSid", &[1, 0, 1, 0, 0, 0, 0, 1], "S-1-0x010000000001"),
    ] {
        let more = [(attribute, octets)];
        for rule in [
            format!("\"{attribute}\""),
            format!("{{ expr = 'attr(\"{attribute}\")' }}"),
            format!("{{ expr = 'attrs(\"{attribute}\").join()' }}"),
            format!("{{ attribute = \"{attribute}\", join = \" \" }}"),
        ] {
            let read = title(&rule, &more);
            assert_eq!(read.unwrap().as_deref(), Some(text), "{rule}");
        }
        let mut entry = entry(&ZOE);
        entry.push(attribute, octets.to_vec());
        let by_key = mapping(&format!("preset = \"openldap\"\nkey = \"{attribute}\""), "");
        assert_eq!(by_key.map(&entry, now()).unwrap().key.as_str(), text);
    }
}

#[test]
fn damaged_binary_values_are_told_by_attribute() {
    for (attribute, octets) in [
        ("objectGUID", &GUID[..15]),
        ("objectGUID", b"8f2a1c3e"),
        ("objectGUID", b""),
        ("objectSid", &SID[..27]),
        ("objectSid", &SID[..7]),
        ("objectSid", &[2, 0, 0, 0, 0, 0, 0, 5]),
        ("objectSid", &[1, 16, 0, 0, 0, 0, 0, 5]),
        ("objectSid", b"S-1-5-x"),
        ("objectSid", b"S-1-5-4294967296"),
        ("objectSid", b"S-1-281474976710656"),
        ("objectSid", b"S-2-5-21"),
    ] {
        let problem = title(&format!("\"{attribute}\""), &[(attribute, octets)]);
        let problem = problem.unwrap_err().to_string();
        let words = [
            format!("a value of `{attribute}` is damaged"),
            format!("{} bytes are no ", octets.len()),
        ];
        for word in words {
            assert!(problem.contains(&word), "{octets:?}: {problem}");
        }
        let mut entry = entry(&ZOE);
        entry.push(attribute, octets.to_vec());
        let by_key = mapping(&format!("preset = \"openldap\"\nkey = \"{attribute}\""), "");
        let unmapped = unmapped(by_key.map(&entry, now()).unwrap_err());
        let problem = unmapped.problem.to_string();
        assert!(unmapped.key.is_none(), "{unmapped:?}");
        assert!(
            problem.contains(&format!("`{attribute}` is no usable key")),
            "{problem}"
        );
    }
}

#[test]
fn the_id_that_a_server_gives_is_the_key_that_is_read() {
    let id: [u8; 16] = std::array::from_fn(|at| 0xf0 + at as u8);
    for (attribute, key) in [
        ("entryUUID", Some("f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff")),
        ("ENTRYUUID", Some("f0f1f2f3-f4f5-f6f7-f8f9-fafbfcfdfeff")),
        ("objectGUID", Some("f3f2f1f0-f5f4-f7f6-f8f9-fafbfcfdfeff")),
        ("nsUniqueId", Some("f0f1f2f3-f4f5f6f7-f8f9fafb-fcfdfeff")),
        ("uid", None),
        ("mS-DS-ConsistencyGuid", None),
    ] {
        let found = key_of_id(attribute, id);
        assert_eq!(found.as_ref().map(ExternalId::as_str), key, "{attribute}");
        let Some(key) = key else { continue };
        let mut entry = entry(&ZOE[1..]);
        let value = match attribute {
            "objectGUID" => id.to_vec(),
            _ => key.to_uppercase().into_bytes(),
        };
        entry.push(attribute, value);
        let mapping = mapping(&format!("preset = \"openldap\"\nkey = \"{attribute}\""), "");
        assert_eq!(mapping.map(&entry, now()).unwrap().key.as_str(), key);
    }
}

#[test]
fn a_key_is_searched_for_by_the_octets_that_the_directory_has() {
    let guid_text = "8f2a1c3e-0201-4403-8000-000000000001";
    for (attribute, key, octets) in [
        ("objectGUID", guid_text, &GUID[..]),
        ("mS-DS-ConsistencyGuid", guid_text, &GUID),
        ("entryUUID", guid_text, guid_text.as_bytes()),
        ("objectSid", SID_TEXT, SID_TEXT.as_bytes()),
        ("uid", "zoe", b"zoe"),
        // Somebody asks for what can be nobody's.
        ("objectGUID", "zoe", b"zoe"),
    ] {
        let found = octets_of_key(attribute, &ExternalId::new(key));
        assert_eq!(found, octets, "{attribute}");
    }
}

#[test]
fn values_are_joined_in_an_order_of_their_own() {
    let ou = |values: &[&'static str], rule: &str| {
        let more: Vec<_> = values.iter().map(|ou| ("ou", ou.as_bytes())).collect();
        title(rule, &more).unwrap()
    };
    for (values, rule, joined) in [
        (
            &["Sales", "Berlin", " Zoo "][..],
            r#"{ attribute = "ou", join = ", " }"#,
            Some("Berlin, Sales, Zoo"),
        ),
        (
            &["Sales", "Berlin"],
            r#"{ attribute = "ou" }"#,
            Some("Sales"),
        ),
        (
            &["Sales"],
            r#"{ attribute = "ou", join = ", " }"#,
            Some("Sales"),
        ),
        (&[], r#"{ attribute = "ou", join = ", " }"#, None),
        (
            &["B", "A"],
            r#"{ attribute = ["l", "ou"], join = "/" }"#,
            Some("A/B"),
        ),
    ] {
        assert_eq!(ou(values, rule).as_deref(), joined, "{rule}");
    }
}

#[test]
fn a_language_is_taken_by_its_tag_or_a_longer_one_or_without() {
    let en: (&str, &[u8]) = ("displayName;lang-en", b"Zoe M.");
    let us: (&str, &[u8]) = ("displayName;lang-en-US", b"Zoe M. (US)");
    let eng: (&str, &[u8]) = ("displayName;lang-eng", b"not English");
    let none: (&str, &[u8]) = ("displayName", b"Zo\xc3\xab");
    let other: (&str, &[u8]) = ("displayName;lang-en;x-former", b"Zoe A.");
    let two: (&str, &[u8]) = ("DisplayName;Lang-FR;Lang-EN", b"Z.");
    for (more, language, value) in [
        (&[us, en, none][..], "en", Some("Zoe M.")),
        (&[us, none], "en", Some("Zoe M. (US)")),
        (&[us, none], "EN-us", Some("Zoe M. (US)")),
        (&[eng, other, none], "en", Some("Zo\u{eb}")),
        (&[en], "en-US", None),
        (&[en], "de", None),
        (&[two], "en", Some("Z.")),
        (&[], "en", None),
    ] {
        for rule in [
            format!("{{ attribute = \"displayName\", language = \"{language}\" }}"),
            format!("{{ expr = 'lang(\"displayName\", \"{language}\")' }}"),
        ] {
            assert_eq!(title(&rule, more).unwrap().as_deref(), value, "{rule}");
        }
    }
    let by_option = r#"{ expr = 'attr("displayName;lang-en")' }"#;
    assert_eq!(title(by_option, &[en, none]).unwrap().unwrap(), "Zoe M.");
    let joined = r#"{ attribute = "displayName", language = "en", join = "+" }"#;
    let both = title(joined, &[en, none, ("displayname;LANG-en", b"Ms Z")]);
    assert_eq!(both.unwrap().unwrap(), "Ms Z+Zoe M.");
}

#[test]
fn a_range_of_values_does_not_pass_for_none() {
    let part: (&str, &[u8]) = ("member;range=0-1499", b"cn=a");
    for rule in [
        r#""member""#,
        r#"{ attribute = ["member", "cn"] }"#,
        r#"{ attribute = "member", join = ", " }"#,
        r#"{ expr = 'string(size(attrs("member")))' }"#,
        r#"{ expr = 'attr("member")' }"#,
    ] {
        let problem = title(rule, &[part]).unwrap_err().to_string();
        assert!(
            problem.contains("only a part of the values of `member` (as `member;range=0-1499`)"),
            "{rule}: {problem}"
        );
    }
    let whole: (&str, &[u8]) = ("member", b"cn=b");
    assert_eq!(title(r#""member""#, &[whole]).unwrap().unwrap(), "cn=b");
    let of_language: (&str, &[u8]) = ("member;lang-en;range=0-9", b"cn=a");
    let rule = r#"{ attribute = "member", language = "en" }"#;
    assert!(matches!(
        title(rule, &[of_language, whole]),
        Err(Problem::Part { .. })
    ));
}

#[test]
fn values_with_the_option_binary_are_no_text() {
    let binary: (&str, &[u8]) = ("nickName;binary", &[0x0c, 1, 0x41]);
    assert_eq!(title(r#""nickName""#, &[binary]).unwrap(), None);
    let language = r#"{ attribute = "nickName", language = "en" }"#;
    assert_eq!(title(language, &[binary]).unwrap(), None);
}

#[test]
fn a_key_that_is_no_text_is_refused() {
    let text = "[organization]\nid = \"o\"\ndirectory = \"d\"\nscim_key = { env = \"K\" }\n\
        [[source]]\nname = \"hr\"\nkind = \"ldif\"\nfile = \"f\"\nbase = \"dc=example\"\npreset = \"openldap\"\nkey = \"jpegPhoto\"\n";
    let config = Config::parse(Path::new("config.toml"), text).unwrap();
    let error = Mapping::compile(&config.sources[0], &config.organization.provisioning);
    let error = error.map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        error,
        "the key of source `hr` is wrong: `jpegPhoto` holds binary data, which no account gets; map another attribute"
    );
}

#[test]
fn what_a_server_computes_and_what_time_changes_cannot_be_tracked() {
    let why = |source: &str, rule: &str| mapping(source, rule).untrackable().unwrap_or_default();
    for (rule, word) in [
        ("", ""),
        ("title = \"memberOf\"", "the mapping reads `memberOf`"),
        (
            "title = { expr = 'attrs(\"tokenGroups\")[0] + attr(\"title\")' }",
            "`tokenGroups`",
        ),
        ("title = { expr = 'attr(\"nsRole\")' }", "`nsRole`"),
        (
            "active = { expr = 'has_bit(attr(\"msDS-User-Account-Control-Computed\"), 16)' }",
            "`msDS-User-Account-Control-Computed`",
        ),
        ("title = \"msDS-cloudExtensionAttribute1\"", ""),
        ("title = \"c-o;lang-de\"", "`c-o;lang-de`"),
        (
            "active = { expr = 'file_time(attr(\"accountExpires\")) > now' }",
            "depends on the time",
        ),
        (
            "title = { expr = 'string(now.getFullYear())' }",
            "depends on the time",
        ),
        ("title = { expr = '[\"a\"].map(now, now + \"b\")[0]' }", ""),
    ] {
        let why = why("preset = \"active-directory\"", rule);
        assert!(why.contains(word), "{rule}: {why}");
        assert_eq!(why.is_empty(), word.is_empty(), "{rule}: {why}");
    }
    const CHAIN: &str = "1.2.840.113556.1.4.1941";
    for (filter, word) in [
        ("(&(objectClass=user)(mail=*))", ""),
        (
            "(&(objectClass=user)(!(MemberOf=cn=a,dc=b)))",
            "the filter reads `memberof`",
        ),
        ("(cn=memberOf)", ""),
        ("(manager=cn=a)", ""),
        ("(manager:caseExactMatch:=cn=a)", ""),
        (
            "(|(cn=a)(Manager:CHAIN:=cn=a))",
            "the filter follows `manager`",
        ),
        (
            "(!(manager:dn:CHAIN:=cn=a))",
            "the filter follows `manager`",
        ),
        ("(memberOf:CHAIN:=cn=a)", "the filter follows `memberof`"),
    ] {
        let filter = Filter::parse(&filter.replace("CHAIN", CHAIN)).unwrap();
        let why = untrackable_filter(&filter).unwrap_or_default();
        assert!(why.contains(word), "{filter:?}: {why}");
        assert_eq!(why.is_empty(), word.is_empty(), "{filter:?}: {why}");
    }
    let source = "preset = \"active-directory\"\nfilter = \"(memberOf=cn=a)\"";
    assert!(why(source, "").contains("the filter reads `memberof`"));
}

#[test]
fn accounts_expire_by_either_kind_of_time() {
    let active = |expression: &str, name: &str, value: &str| {
        let mut entry = entry(&ZOE);
        entry.push(name, value.as_bytes().to_vec());
        mapping(
            "preset = \"openldap\"",
            &format!("active = {{ expr = '{expression}' }}"),
        )
        .map(&entry, now())
        .map(|account| account.active)
        .map_err(|why| problem(why).to_string())
    };
    let expires = "file_time(attr(\"accountExpires\")) > now";
    let until = "ldap_time(attr(\"until\")) + duration(\"24h\") > now";
    let grace = "file_time(attr(\"accountExpires\")) + duration(\"720h\") > now";
    let left = "file_time(attr(\"accountExpires\")) - now > duration(\"24h\")";
    let since = "now - ldap_time(attr(\"since\")) > duration(\"24h\")";
    let shadow = "timestamp(int(attr(\"shadowExpire\")) * 86400) > now";
    for (expression, name, value, wanted) in [
        (expires, "accountExpires", "0", Ok(true)),
        (expires, "accountExpires", "9223372036854775807", Ok(true)),
        (expires, "accountExpires", "9223372036854775806", Ok(true)),
        // 2026-11-25T12:00:00Z, and one step later.
        (expires, "accountExpires", "134400816000000000", Ok(false)),
        (expires, "accountExpires", "134400816000000001", Ok(true)),
        (
            expires,
            "accountExpires",
            "-1",
            Err("\"-1\" is no Windows file time"),
        ),
        // A whole second before there were any.
        (
            expires,
            "accountExpires",
            "-10000000",
            Err("\"-10000000\" is no Windows file time"),
        ),
        (expires, "x", "", Err("there is no value")),
        (until, "until", "20261124120000Z", Ok(false)),
        (until, "until", "20261124120000.001Z", Ok(true)),
        (
            until,
            "until",
            "tomorrow",
            Err("\"tomorrow\" is no generalized time"),
        ),
        // What is written for "never" can be computed with.
        (grace, "accountExpires", "0", Ok(true)),
        (grace, "accountExpires", "9223372036854775806", Ok(true)),
        (grace, "accountExpires", "134374896000000000", Ok(false)),
        (grace, "accountExpires", "134374896000000001", Ok(true)),
        (left, "accountExpires", "9223372036854775807", Ok(true)),
        (left, "accountExpires", "134400816000000000", Ok(false)),
        (since, "since", "000001010000Z", Ok(true)),
        (since, "since", "16010101000000.0Z", Ok(true)),
        (since, "since", "99991231235959Z", Ok(false)),
        (shadow, "shadowExpire", "20782", Ok(false)),
        (shadow, "shadowExpire", "20783", Ok(true)),
    ] {
        match (active(expression, name, value), wanted) {
            (Ok(active), Ok(wanted)) => assert_eq!(active, wanted, "{value}"),
            (Err(problem), Err(words)) => assert!(problem.contains(words), "{problem}"),
            (found, _) => panic!("{expression} {value}: {found:?}"),
        }
    }
}

#[test]
fn the_example_of_the_active_directory_preset_disables_who_has_expired() {
    let preset = crate::config::Preset::text("active-directory").unwrap();
    let rule = preset
        .lines()
        .find_map(|line| line.strip_prefix("#   "))
        .unwrap();
    let mapping = mapping("preset = \"active-directory\"", rule);
    for (control, expires, active) in [
        ("512", "0", true),
        ("514", "0", false),
        ("512", "134400816000000000", false),
        ("512", "134400816000000001", true),
    ] {
        let mut entry = entry(&ZOE);
        entry.push("objectGUID", GUID.to_vec());
        entry.push("userAccountControl", control.into());
        entry.push("accountExpires", expires.into());
        assert_eq!(
            mapping.map(&entry, now()).unwrap().active,
            active,
            "{expires}"
        );
    }
    assert!(mapping.attributes().contains(&"accountExpires".to_owned()));
}

#[test]
fn generalized_times_are_read_in_all_their_forms() {
    for (text, wanted) in [
        ("20261125101500Z", Some("2026-11-25T10:15:00Z")),
        ("202611251015Z", Some("2026-11-25T10:15:00Z")),
        ("2026112510Z", Some("2026-11-25T10:00:00Z")),
        ("20261125101500.25Z", Some("2026-11-25T10:15:00.25Z")),
        (
            "20261125101500,123456789999Z",
            Some("2026-11-25T10:15:00.123456789Z"),
        ),
        ("202611251015.5Z", Some("2026-11-25T10:15:30Z")),
        ("2026112510.25Z", Some("2026-11-25T10:15:00Z")),
        ("2026112510+0130", Some("2026-11-25T08:30:00Z")),
        ("20261125231500-02", Some("2026-11-26T01:15:00Z")),
        ("20261125101500+0159", Some("2026-11-25T08:16:00Z")),
        ("20261125101500+0160", None),
        ("20161231235960Z", Some("2017-01-01T00:00:00Z")),
        ("000001010000Z", Some("0000-01-01T00:00:00Z")),
        ("20240229000000Z", Some("2024-02-29T00:00:00Z")),
        ("20230229000000Z", None),
        ("20261125101500", None),
        ("20261125101500z", None),
        ("20261125101500.Z", None),
        ("20261125101561Z", None),
        ("2026112524Z", None),
        ("20261125106000Z", None),
        ("20261125101500+2400", None),
        ("20261125101500+01000", None),
        ("20261125101500Z ZZ", None),
        ("20261Z", None),
        ("+0261125101500Z", None),
        ("", None),
    ] {
        assert_eq!(time::generalized(text), wanted.map(moment), "{text}");
    }
}

proptest! {
    #[test]
    fn no_octets_confuse_the_readers(octets in prop::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(guid(&octets).is_none_or(|text| text.len() == 36));
        prop_assert!(sid(&octets).is_none_or(|text| text.starts_with("S-1-")));
        let text = String::from_utf8_lossy(&octets);
        time::generalized(&text);
        time::file_time(&text);
    }

    #[test]
    fn nearly_a_time_is_read_or_refused(text in "[0-9]{8,16}([.,][0-9]{0,12})?(Z|[+-][0-9]{0,5})?") {
        if let Some(moment) = time::generalized(&text) {
            prop_assert!((-1..=10_000).contains(&chrono::Datelike::year(&moment)));
        }
    }

    #[test]
    fn security_identifiers_read_the_same_from_octets_and_text(
        authority in 0_u64..1 << 48,
        numbers in prop::collection::vec(any::<u32>(), 0..=15),
    ) {
        let mut octets = vec![1, numbers.len() as u8];
        octets.extend_from_slice(&authority.to_be_bytes()[2..]);
        octets.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let text = sid(&octets).unwrap();
        let tail: String = numbers.iter().map(|number| format!("-{number}")).collect();
        prop_assert!(text.ends_with(&tail));
        prop_assert_eq!(sid(text.as_bytes()).unwrap(), text);
    }

    #[test]
    fn guids_read_the_same_from_octets_and_text(octets in any::<[u8; 16]>()) {
        let text = guid(&octets).unwrap();
        prop_assert_eq!(guid(text.to_uppercase().as_bytes()).unwrap(), text.clone());
        prop_assert_eq!(key_of_id("objectGUID", octets), Some(ExternalId::new(text)));
    }

    #[test]
    fn every_moment_reads_as_it_was_written(
        seconds in -60_000_000_000_i64..250_000_000_000,
        nanoseconds in 0_u32..1_000_000_000,
        minutes in -1439_i32..1440,
    ) {
        let moment = DateTime::<Utc>::from_timestamp(seconds, nanoseconds).unwrap();
        let zone = FixedOffset::east_opt(minutes * 60).unwrap();
        let text = moment.with_timezone(&zone).format("%Y%m%d%H%M%S.%f%z").to_string();
        prop_assert_eq!(time::generalized(&text), Some(moment));
        let epoch = self::moment("1601-01-01T00:00:00Z");
        let steps = moment.signed_duration_since(epoch);
        let steps = i128::from(steps.num_seconds()) * 10_000_000 + i128::from(steps.subsec_nanos() / 100);
        let cut = moment - TimeDelta::nanoseconds((nanoseconds % 100).into());
        let wanted = (steps > 0).then_some(cut);
        prop_assert_eq!(time::file_time(&steps.to_string()), wanted);
    }
}
