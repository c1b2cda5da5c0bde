//! Who is none of the source's people.

use super::*;

fn excluded(source: &str, entry: &Entry) -> Option<String> {
    let mapping = mapping(&format!("preset = \"openldap\"\n{source}"), "");
    let why = mapping.excluded(entry, now()).map(|why| why.to_string());
    let mapped = match mapping.map(entry, now()) {
        Err(NotMapped::Excluded(excluded)) => {
            assert_eq!(excluded.dn, entry.dn());
            assert_eq!(
                excluded.key.as_ref().map(ExternalId::as_str),
                Some("8f2a1c3e-0000-4000-8000-000000000001")
            );
            Some(excluded.why.to_string())
        }
        Err(NotMapped::Unmapped(unmapped)) => panic!("{unmapped:?}"),
        Ok(_) => None,
    };
    assert_eq!(why, mapped);
    why
}

#[test]
fn include_and_exclude_decide_who_is_one_of_the_source_s() {
    for (source, wanted) in [
        ("", None),
        (r#"include = 'attr("title") == "Engineer"'"#, None),
        (
            r#"include = 'attr("title") == "Manager"'"#,
            Some(r#"`include` is not true of it (attr("title") == "Manager")"#),
        ),
        (
            r#"exclude = 'attr("cn").matches("^Zo")'"#,
            Some(r#"`exclude` is true of it (attr("cn").matches("^Zo"))"#),
        ),
        (r#"exclude = 'attr("employeeType") == "robot"'"#, None),
        (
            "include = 'true'\nexclude = 'true'",
            Some("`exclude` is true of it (true)"),
        ),
        (
            r#"exclude_base = "OU=People, dc=example""#,
            Some("it is below `OU=People, dc=example`, which `exclude_base` leaves out"),
        ),
        (
            r#"exclude_base = ["ou=other,dc=example", "uid=zoe,ou=people,dc=example"]"#,
            Some("it is below `uid=zoe,ou=people,dc=example`, which `exclude_base` leaves out"),
        ),
        (r#"exclude_base = "ou=people,dc=example2""#, None),
        (r#"exclude_base = "ou=ople,dc=example""#, None),
    ] {
        let why = excluded(source, &entry(&ZOE));
        assert_eq!(why.as_deref(), wanted, "{source}");
    }
}

#[test]
fn an_expression_that_fails_leaves_the_person_unknown() {
    for (name, expression) in [
        ("include", "int(attr(\"employeeNumber\")) > 5"),
        ("exclude", "int(attr(\"employeeNumber\")) > 5"),
        ("exclude", "attrs(\"l\")[0] == \"x\""),
    ] {
        let source = format!("preset = \"openldap\"\n{name} = '{expression}'");
        let mapping = mapping(&source, "");
        assert_eq!(mapping.excluded(&entry(&ZOE), now()), None);
        let unmapped = unmapped(mapping.map(&entry(&ZOE), now()).unwrap_err());
        assert!(unmapped.key.is_some(), "{unmapped:?}");
        let told = unmapped.problem.to_string();
        let wanted = format!("the expression for `{name}` fails for this entry");
        assert!(told.contains(&wanted), "{told}");
    }
}

#[test]
fn a_name_that_cannot_be_read_leaves_the_person_unknown() {
    let mapping = mapping("preset = \"openldap\"\nexclude_base = \"dc=x\"", "");
    let mut odd = Entry::new("zoe");
    odd.push("entryUUID", b"1".to_vec());
    odd.push("mail", b"zoe@example.org".to_vec());
    let unmapped = unmapped(mapping.map(&odd, now()).unwrap_err());
    assert_eq!(unmapped.key, Some(ExternalId::new("1")));
    let told = unmapped.problem.to_string();
    assert!(
        told.contains("whether `exclude_base` leaves the entry out"),
        "{told}"
    );
}

#[test]
fn who_is_excluded_needs_no_key() {
    let source = "preset = \"openldap\"\nexclude = 'true'";
    let why = mapping(source, "")
        .map(&entry(&ZOE[1..]), now())
        .unwrap_err();
    match why {
        NotMapped::Excluded(excluded) => assert_eq!(excluded.key, None),
        NotMapped::Unmapped(unmapped) => panic!("{unmapped:?}"),
    }
}

#[test]
fn exclusions_can_be_asked_alone() {
    let lines = "preset = \"openldap\"\ninclude = 'attr(\"title\") != \"\"'\n\
        exclude = 'int(attr(\"employeeNumber\")) > 5'";
    let exclusions = Exclusions::compile(&config(lines, "").sources[0].search).unwrap();
    let read: Vec<&str> = exclusions.attributes().collect();
    assert_eq!(read, ["title", "employeeNumber"]);
    for (number, wanted) in [("6", true), ("5", false), ("none", false)] {
        let mut all = ZOE.to_vec();
        all.push(("employeeNumber", number));
        let excludes = exclusions.excludes(&entry(&all), now());
        assert_eq!(excludes, wanted, "{number}");
    }
}

#[test]
fn what_the_expressions_read_is_asked_for() {
    let source = "preset = \"openldap\"\n\
        include = 'attr(\"employeeType\") != \"\"'\nexclude = 'attrs(\"Groups\").exists(g, g == \"x\")'";
    let attributes = mapping(source, "").attributes();
    for name in ["employeeType", "Groups", "mail", "entryUUID"] {
        assert!(attributes.contains(&name.to_owned()), "{attributes:?}");
    }
}

#[test]
fn whom_time_or_the_server_lets_in_or_out_cannot_be_tracked() {
    for (line, wanted) in [
        ("exclude = 'attr(\"l\") == \"x\"'", None),
        ("exclude_base = \"ou=out,dc=example\"", None),
        (
            "exclude = 'ldap_time(attr(\"end\")) < now'",
            Some("`exclude` depends on the time (`now`)"),
        ),
        (
            "include = '\"cn=a\" in attrs(\"memberOf\")'",
            Some("`include` reads `memberOf`, which changes without a change of the entry"),
        ),
    ] {
        let why = mapping(&format!("preset = \"openldap\"\n{line}"), "").untrackable();
        assert_eq!(why.as_deref(), wanted, "{line}");
    }
}

#[test]
fn a_wrong_expression_is_refused_at_its_place() {
    let refuse = |line: &str| {
        let text = format!(
            "[organization]\nid = \"o\"\ndirectory = \"d\"\nscim_key = {{ env = \"K\" }}\n\
             [[source]]\nkind = \"ldif\"\nfile = \"f\"\nbase = \"dc=example\"\npreset = \"openldap\"\n{line}\n"
        );
        match Config::parse(Path::new("config.toml"), &text) {
            Err(error) => error.to_string(),
            Ok(config) => {
                let way = &config.organization.provisioning;
                let error = Mapping::compile(&config.sources[0], way).map(|_| ());
                let error = error.unwrap_err();
                config
                    .invalid(error.span.clone(), error.to_string())
                    .to_string()
            }
        }
    };
    let all: String = [
        r#"include = 'attr("l")'"#,
        r#"exclude = 'attr("l") == x'"#,
        r#"exclude = 'attr("l") =='"#,
        r#"exclude = true"#,
        r#"exclude_base = "out""#,
        r#"exclude_base = []"#,
        r#"exclude_members_of = ["cn=a,"]"#,
    ]
    .into_iter()
    .map(|line| refuse(line) + "\n\n")
    .collect();
    insta::assert_snapshot!(all);
}
