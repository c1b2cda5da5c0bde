//! How an entry is mapped, step by step.

use super::*;

#[test]
fn a_trace_tells_what_was_asked_read_and_made() {
    let mapping = mapping(
        "preset = \"openldap\"\nexclude = 'attr(\"employeeType\") == \"robot\"'",
        "title = { attribute = \"l\", table = { MUC = \"Munich\" }, required = true }\n\
         displayName = { attribute = [\"displayName\", \"cn\"], language = \"en\" }\n\
         nickName = { expr = 'attr(\"givenName\") + attr(\"sn\")' }",
    );
    let mut all = ZOE.to_vec();
    all.extend([("displayName;lang-en", "Zoe Miller"), ("l", "HAM")]);
    let trace = mapping.trace(&entry(&all), now());

    let judged: Vec<_> = trace.judged.iter().map(|one| one.name).collect();
    assert_eq!(judged, ["exclude"]);
    assert!(matches!(trace.judged[0].verdict, Verdict::Passed));
    assert_eq!(trace.key_attribute, "entryUUID");
    assert!(trace.key.unwrap().is_ok());
    let step = |target: &str| {
        let is_it = |step: &&Step| step.target.to_string() == target;
        trace.steps.iter().find(is_it).unwrap()
    };
    let read = |target: &str| -> Vec<(String, Vec<String>)> {
        let read = step(target).read.iter();
        read.map(|reading| (reading.attribute.clone(), reading.values.clone().unwrap()))
            .collect()
    };
    let of = |name: &str, value: &str| (name.to_owned(), vec![value.to_owned()]);
    assert_eq!(
        read("displayName"),
        [
            of("displayName;lang-en", "Zoe Miller"),
            of("cn", "Zoë Müller")
        ]
    );
    assert_eq!(
        read("nickName"),
        [of("givenName", "Zoë"), of("sn", "Müller")]
    );
    assert!(matches!(&step("nickName").made, Made::Text(text) if text == "ZoëMüller"));
    assert!(matches!(step("active").made, Made::Truth(true)));
    assert_eq!(
        read("phoneNumber"),
        [("telephoneNumber".to_owned(), vec![])]
    );
    assert!(matches!(step("phoneNumber").made, Made::Nothing));
    assert!(matches!(
        &step("title").made,
        Made::Problem(Problem::Missing { .. })
    ));
    assert!(step("title").is_required && step("title").is_own);
    assert!(step("email").is_required && !step("email").is_own);
    assert_eq!(
        step("title").written,
        "{ attribute = \"l\", table = { MUC = \"Munich\" }, required = true }"
    );
    // The first problem does not hide what comes after it.
    assert_eq!(trace.steps.len(), mapping.managed().count() + 1);
    assert_eq!(trace.result, mapping.map(&entry(&all), now()));
}

#[test]
fn a_trace_ends_with_what_excludes() {
    let source = "preset = \"openldap\"\nexclude_base = \"ou=people,dc=example\"\nexclude = 'true'";
    let trace = mapping(source, "").trace(&entry(&ZOE), now());
    assert_eq!(trace.judged.len(), 1);
    assert!(matches!(trace.judged[0].verdict, Verdict::Excluded));
    assert!(trace.key.is_none() && trace.steps.is_empty());
    assert!(matches!(trace.result, Err(NotMapped::Excluded(_))));
}

#[test]
fn a_value_that_is_no_text_is_traced_as_such() {
    let mut entry = entry(&ZOE[..4]);
    entry.push("sn", vec![0xff]);
    let trace = mapping("preset = \"openldap\"", "").trace(&entry, now());
    let is_it = |step: &&Step| step.target == MappingTarget::Attribute(Attribute::FamilyName);
    let step = trace.steps.iter().find(is_it).unwrap();
    assert!(step.read[0].values.is_err());
    assert!(matches!(&step.made, Made::Problem(Problem::NotText(_))));
}
