//! Defaults, tables and required attributes.

use super::*;

/// What `title` becomes by a rule, of an entry with these attributes.
fn title(rule: &str, attributes: &[(&str, &str)]) -> Result<Option<String>, String> {
    let mut all = ZOE.to_vec();
    all.retain(|(name, _)| *name != "title");
    all.extend(attributes);
    mapping("preset = \"openldap\"", &format!("title = {rule}"))
        .map(&entry(&all), now())
        .map(|account| account.profile.get(Attribute::Title).map(str::to_owned))
        .map_err(|why| problem(why).to_string())
}

#[test]
fn a_default_stands_in_for_nothing_and_for_nothing_else() {
    for (rule, attributes, wanted) in [
        (r#"{ attribute = "l", default = "?" }"#, vec![], "?"),
        (
            r#"{ attribute = "l", default = "?" }"#,
            vec![("l", " ")],
            "?",
        ),
        (
            r#"{ attribute = "l", default = "?" }"#,
            vec![("l", "x")],
            "x",
        ),
        (
            r#"{ attribute = ["l", "st"], default = "?" }"#,
            vec![("st", "y")],
            "y",
        ),
        (
            r#"{ attribute = "l", join = "/", default = "?" }"#,
            vec![],
            "?",
        ),
        (
            r#"{ attribute = "l", language = "en", default = "?" }"#,
            vec![("l;lang-en", "z")],
            "z",
        ),
        (r#"{ expr = 'attr("l")', default = "?" }"#, vec![], "?"),
        (r#"{ expr = 'null', default = "?" }"#, vec![], "?"),
        (
            r#"{ expr = 'attr("l")', default = "?" }"#,
            vec![("l", "x")],
            "x",
        ),
    ] {
        let given = title(rule, &attributes);
        assert_eq!(given, Ok(Some(wanted.to_owned())), "{rule} {attributes:?}");
    }
    // An expression that fails is no answer, and a default none either.
    let failed = title(r#"{ expr = 'string(int(attr("l")))', default = "?" }"#, &[]);
    assert!(
        failed.clone().unwrap_err().contains("fails for this entry"),
        "{failed:?}"
    );
}

#[test]
fn a_table_gives_its_value_and_none_for_what_it_does_not_have() {
    const TABLE: &str =
        r#"table = { MUC = "Munich", "Saint Denis" = "Paris", "Köln" = "Cologne" }"#;
    for (beside, l, wanted) in [
        ("", "MUC", Some("Munich")),
        ("", " muc ", Some("Munich")),
        ("", "saint denis", Some("Paris")),
        ("", "KÖLN", Some("Cologne")),
        ("", "MU", None),
        ("", "", None),
        (r#", default = "elsewhere""#, "HAM", Some("elsewhere")),
        (r#", default = "elsewhere""#, "", Some("elsewhere")),
        (r#", default = "elsewhere""#, "MUC", Some("Munich")),
    ] {
        for from in [
            r#"attribute = "l""#,
            r#"attribute = ["x", "l"]"#,
            r#"expr = 'attr("l")'"#,
        ] {
            let rule = format!("{{ {from}, {TABLE}{beside} }}");
            let given = title(&rule, &[("l", l)]);
            assert_eq!(given, Ok(wanted.map(str::to_owned)), "{rule} {l:?}");
        }
    }
}

#[test]
fn active_may_come_from_a_table() {
    for from in [r#"attribute = "state""#, r#"expr = 'attr("state")'"#] {
        let rule =
            format!("active = {{ {from}, table = {{ A = true, L = \"no\" }}, default = false }}");
        let mapping = mapping("preset = \"openldap\"", &rule);
        let active = |state: &str| {
            let mut all = ZOE.to_vec();
            all.push(("state", state));
            mapping.map(&entry(&all), now()).unwrap().active
        };
        assert_eq!(["a", "l", "x", ""].map(active), [true, false, false, false]);
    }
    // Without a default, what the table does not have is no answer.
    let rule = r#"active = { attribute = "state", table = { A = true } }"#;
    let mapping = mapping("preset = \"openldap\"", rule);
    let mut all = ZOE.to_vec();
    all.push(("state", "x"));
    let why = problem(mapping.map(&entry(&all), now()).unwrap_err()).to_string();
    assert!(
        why.contains("`state`, whose value \"x\" the table does not have"),
        "{why}"
    );
}

#[test]
fn who_lacks_what_is_required_is_refused() {
    // Long expressions are told by their beginning.
    let of_length = |length: usize| {
        let text = r#"attr("l").replace("", "")"#;
        text.replacen(
            "\"\"",
            &format!("\"{}\"", "x".repeat(length - text.len())),
            1,
        )
    };
    let (whole, long) = (of_length(80), of_length(81));
    let [of_whole, of_long] =
        [&whole, &long].map(|text| format!("{{ expr = '{text}', required = true }}"));
    let [told_whole, told_long] = [format!("`{whole}`"), format!("`{}…`", &long[..80])];
    for (rule, attributes, from) in [
        (of_whole.as_str(), vec![], told_whole.as_str()),
        (&of_long, vec![], &told_long),
        (r#"{ attribute = "l", required = true }"#, vec![], "`l`"),
        (
            r#"{ attribute = ["l", "st"], required = true }"#,
            vec![("l", " ")],
            "`l`, `st`",
        ),
        (
            r#"{ expr = 'attr("l")', required = true }"#,
            vec![],
            "`attr(\"l\")`",
        ),
        (
            r#"{ attribute = "l", table = { A = "b" }, required = true }"#,
            vec![("l", "c")],
            "`l`, whose value \"c\" the table does not have",
        ),
        (
            r#"{ attribute = "l", table = { A = "b" }, required = true }"#,
            vec![],
            "`l`",
        ),
        (
            r#"{ attribute = "l", table = { A = "b", External = "" }, required = true }"#,
            vec![("l", "external")],
            "`l`, whose value \"external\" the table leaves blank",
        ),
    ] {
        let refused = title(rule, &attributes).unwrap_err();
        let wanted = format!("no value for `title` (from {from}): give the person one");
        assert!(refused.starts_with(&wanted), "{rule}: {refused}");
        let optional = rule.replace("true", "false");
        assert_eq!(title(&optional, &attributes), Ok(None), "{optional}");
    }
    for rule in [
        r#"{ attribute = "l", required = true }"#,
        r#"{ attribute = "st", default = "x", required = true }"#,
    ] {
        assert_eq!(title(rule, &[("l", "x")]), Ok(Some("x".to_owned())));
    }
}

#[test]
fn a_table_may_leave_somebody_without_an_address() {
    let rule = r#"email = { attribute = "l", table = { MUC = "muc@example.org", External = "" } }"#;
    let email = |l: &str| {
        let mut all = ZOE.to_vec();
        all.push(("l", l));
        let mapping = mapping("preset = \"openldap\"", rule);
        mapping.map(&entry(&all), now()).map_err(problem)
    };
    let account = email("muc").unwrap();
    let told = account.profile.get(Attribute::Email);
    assert_eq!(told, Some("muc@example.org"));
    let problem = email("external").unwrap_err();
    assert!(matches!(problem, Problem::Missing { .. }), "{problem}");
}

#[test]
fn only_who_lacks_an_address_is_skipped_for_that() {
    let missing = |rule: &str| {
        let source = "preset = \"openldap\"\nwithout_mail = \"skip\"";
        let why = mapping(source, rule).map(&entry(&ZOE), now()).unwrap_err();
        match problem(why) {
            Problem::Missing { target, skip, .. } => (target, skip),
            other => panic!("{other}"),
        }
    };
    assert_eq!(
        missing("title = { attribute = \"l\", required = true }"),
        (Attribute::Title, false)
    );
    assert_eq!(missing("email = \"l\""), (Attribute::Email, true));
}

#[test]
fn of_somebody_disabled_what_is_missing_is_left_out() {
    let rules = "active = { value = \"no\" }\ntitle = { attribute = \"l\", required = true }";
    let account = mapping("preset = \"openldap\"", rules)
        .map(&entry(&ZOE), now())
        .unwrap();
    assert!(!account.active);
    assert_eq!(account.profile.get(Attribute::Title), None);
    assert_eq!(account.profile.get(Attribute::GivenName), Some("Zoë"));
}

#[test]
fn what_does_not_go_together_is_refused_where_it_is_read() {
    let refuse = |rules: &str| {
        let text = format!(
            "[organization]\nid = \"o\"\ndirectory = \"d\"\nscim_key = {{ env = \"K\" }}\n\
             [[source]]\nkind = \"ldif\"\nfile = \"f\"\nbase = \"dc=example\"\npreset = \"openldap\"\n[source.mapping]\n{rules}\n"
        );
        Config::parse(Path::new("config.toml"), &text)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let all: String = [
        r#"title = { attribute = "l", join = ", ", table = { a = "b" } }"#,
        r#"title = { attribute = "l", table = {} }"#,
        r#"title = { attribute = "l", table = { muc = "a", MUC = "b" } }"#,
        r#"title = { attribute = "l", table = { MUC = 5 } }"#,
        r#"title = { attribute = "l", default = " " }"#,
        r#"title = { value = "a", default = "b" }"#,
        r#"title = { expr = 'attr("a")', join = ", " }"#,
        r#"title = { attribute = "l", required = "yes" }"#,
        r#"title = { attribute = "l", requird = true }"#,
        r#"email = { attribute = "mail", required = false }"#,
        r#"active = { attribute = "x", required = true }"#,
    ]
    .into_iter()
    .map(|rules| refuse(rules) + "\n\n")
    .collect();
    insta::assert_snapshot!(all);
}

proptest! {
    /// The same entry gives the same account, and no entry, however odd, makes the mapping panic.
    #[test]
    fn every_entry_is_mapped_or_told_why_not_and_always_in_the_same_way(
        values in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "entryUUID", "mail", "cn", "sn", "l", "title", "displayName;lang-en",
                    "departmentNumber", "member;range=0-1", "employeeNumber",
                ]),
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..40),
                    "\\PC{0,40}".prop_map(String::into_bytes),
                    "[a-z]{1,8}@[a-z]{1,8}\\.org".prop_map(String::into_bytes),
                ],
            ),
            0..12,
        ),
        dn in "\\PC{0,30}",
    ) {
        let mapping = odd_mapping();
        let mut entry = Entry::new(dn);
        for (name, value) in values {
            entry.push(name, value);
        }
        let mapped = mapping.map(&entry, now());
        prop_assert_eq!(&mapped, &mapping.map(&entry, now()));
        prop_assert_eq!(&mapped, &mapping.trace(&entry, now()).result);
        let is_excluded = matches!(mapped, Err(NotMapped::Excluded(_)));
        prop_assert_eq!(mapping.excluded(&entry, now()).is_some(), is_excluded);
        if let Ok(account) = mapped {
            for (attribute, value) in account.profile.iter() {
                prop_assert!(value.chars().count() <= attribute.max_chars());
                prop_assert!(!value.trim().is_empty());
            }
        }
    }
}

/// A mapping that has a bit of everything.
fn odd_mapping() -> Mapping {
    mapping(
        "preset = \"openldap\"\nexclude_base = \"ou=out,dc=example\"\n\
         include = 'attr(\"cn\") != \"nobody\"'\nexclude = 'attr(\"l\").left(1).hash(2) == \"00\"'",
        "title = { attribute = [\"title\", \"l\"], table = { a = \"b\" }, default = \"c\" }\n\
         nickName = { expr = 'attr(\"cn\").ascii(\"de\").lower().left(9).padLeft(30, \"-\")' }\n\
         department = { attribute = \"departmentNumber\", join = \", \" }\n\
         organization = { expr = 'attr(\"l\").regexReplace(\"([a-z]+)\", \"<$1>\").capitalize()', required = true }\n\
         displayName = { attribute = [\"displayName\", \"cn\"], language = \"en\", default = \"x\" }\n\
         formattedName = { expr = 'attrs(\"mail\").map(m, m.split(\"@\").last()).first().initials()' }",
    )
}
