//! The mapping's rules, over entries as the kinds of directory give them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use super::*;
use crate::config::Config;

/// The mapping of a source with these lines in its table and in `[source.mapping]`.
fn mapping(source: &str, rules: &str) -> Mapping {
    let text = format!(
        "[organization]\nid = \"o\"\ndirectory = \"d\"\nscim_key = {{ env = \"K\" }}\n\
         [[source]]\nkind = \"ldif\"\nfile = \"f\"\nbase = \"dc=example\"\n{source}\n[source.mapping]\n{rules}\n"
    );
    let config = Config::parse(Path::new("config.toml"), &text).unwrap_or_else(|e| panic!("{e}"));
    Mapping::compile(&config.sources[0], &config.organization.provisioning)
        .unwrap_or_else(|e| panic!("{e}"))
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
        .map(&entry(&ZOE))
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
            .map(&entry)
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
            .map(&entry(&ZOE))
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
fn a_wrong_expression_is_refused_with_its_place() {
    for (rule, words) in [
        (
            r#"title = { expr = 'attr("a" +' }"#,
            vec![
                "config.toml:11:9",
                "the expression for `title` is wrong",
                "line 1, column",
            ],
        ),
        (
            r#"title = { expr = 'attr(mail)' }"#,
            vec!["`attr` takes one name in quotes"],
        ),
        (
            r#"title = { expr = 'mail + "x"' }"#,
            vec!["'mail'", "attributes are written attr(\"name\")"],
        ),
        (r#"title = { expr = 'lower(attr("a"))' }"#, vec!["'lower'"]),
    ] {
        let error = refused(rule);
        for word in words {
            assert!(error.contains(word), "{rule}: {error}");
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
        let unmapped = mapping("preset = \"openldap\"", "")
            .map(&entry)
            .unwrap_err();
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
        .map(&entry)
        .unwrap();
    assert_eq!(account.key.as_str(), "8f2a1c3e-0201-4403-8000-000000000001");
}

#[test]
fn active_takes_an_ldap_boolean_and_refuses_other_words() {
    let active = |value: &str| {
        let mut entry = entry(&ZOE);
        entry.push("enabled", value.as_bytes().to_vec());
        mapping("preset = \"openldap\"", "active = \"enabled\"")
            .map(&entry)
            .map(|a| a.active)
    };
    assert!(active("TRUE").unwrap());
    assert!(!active("false").unwrap());
    let problem = active("perhaps").unwrap_err().problem.to_string();
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
    let problem = mapping.map(&entry).unwrap_err().problem.to_string();
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
        let account = mapping.map(&entry(&all)).unwrap();
        assert!(!account.active, "{name} {value:?}");
    }
}
