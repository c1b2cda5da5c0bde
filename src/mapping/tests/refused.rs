//! Rules that can never do, each with its place.

use proptest::prelude::*;

use super::{NotMapped, ZOE, entry, mapping, now, problem, refused};

/// All messages one after the other.
fn messages(rules: &[&str]) -> String {
    rules.iter().map(|rule| refused(rule) + "\n\n").collect()
}

#[test]
fn a_wrong_expression_is_refused_at_its_column() {
    insta::assert_snapshot!(messages(&[
        r#"title = { expr = 'attr("a" +' }"#,
        r#"title = { expr = 'attr(mail)' }"#,
        r#"title = { expr = '"Grüße, " + mail' }"#,
        r#"title = { expr = '"Grüße, " + + "x"' }"#,
        r#"title = { expr = 'lower(attr("a"))' }"#,
        r#"title = { expr = 'attr("a").lowr()' }"#,
        // Not only in what an empty entry leads to.
        r#"title = { expr = 'attr("a") == "" ? "x" : mail' }"#,
        r#"active = { expr = 'true || attr("a").is("x")' }"#,
        r#"title = { expr = 'attrs("a").map(v, w + v).join()' }"#,
        r#"title = { expr = 'maths.greatest(1, 2)' }"#,
        r#"title = { expr = 'lang("cn")' }"#,
        r#"title = { expr = 'lang("cn", "e n")' }"#,
        r#"title = { expr = 'attr("member;range=0-9")' }"#,
        r#"title = { expr = 'attr("a") + attr("userPassword;x-old")' }"#,
        r#"title = { expr = 'attr("a").matches("(x")' }"#,
        r#"active = { expr = 'matches(attr("a"), "x)")' }"#,
        r#"title = { expr = 'attr("a").regexExtract(attr("b"))' }"#,
        r#"title = { expr = 'attr("a").ascii("klingon")' }"#,
        r#"title = { expr = 'attr("a").attr("b")' }"#,
        r#"title = { expr = 'lowr(attr("a"))' }"#,
    ]));
}

#[test]
fn an_expression_of_the_wrong_kind_is_refused_where_that_can_be_known() {
    insta::assert_snapshot!(messages(&[
        r#"title = { expr = 'attr("a") == "b"' }"#,
        r#"title = { expr = 'attrs("a")' }"#,
        r#"active = { expr = 'attr("a")' }"#,
        r#"active = { expr = 'attr("a") == "x" && attr("b")' }"#,
        r#"title = { expr = 'attr("a") ? "x" : "y"' }"#,
        r#"title = { expr = 'attr("a") + 1' }"#,
        r#"title = { expr = 'attrs("a").lower()' }"#,
        r#"title = { expr = 'attr("a").join(", ")' }"#,
        r#"title = { expr = 'attr("a").left("3")' }"#,
        r#"active = { expr = 'attr("a") > now' }"#,
        r#"title = { expr = 'attrs("a").map(v, v.lower())' }"#,
        r#"active = { expr = '!attr("a")' }"#,
        r#"title = { expr = '!(attr("a") == "b")' }"#,
        r#"title = { expr = 'attr("a").size() > 3' }"#,
        r#"title = { expr = 'attr("a").split("@")[0] + 1' }"#,
        r#"title = { expr = 'math.abs(attr("a"))' }"#,
        r#"title = { expr = 'now.lower()' }"#,
        r#"title = { expr = '{"a": "b"}' }"#,
        r#"title = { expr = 'now - ldap_time(attr("a"))' }"#,
        r#"title = { expr = 'b"a"' }"#,
        r#"active = { expr = 'null' }"#,
        // Though of a part nothing is known.
        r#"title = { expr = '[attr("a")][0] == "x" || attr("b") == "y"' }"#,
        r#"active = { expr = '[attr("a")][0] == "x" ? "yes" : "no"' }"#,
    ]));
}

#[test]
fn what_is_of_the_right_kind_for_some_is_judged_entry_by_entry() {
    let rule = r#"active = { expr = 'attr("l") == "" ? "unknown" : attr("l") == "here"' }"#;
    let mapping = mapping("preset = \"openldap\"", rule);
    let mut all = ZOE.to_vec();
    let why = mapping.map(&entry(&all), now()).unwrap_err();
    let why = problem(why).to_string();
    assert!(
        why.contains("it gives a string, not true or false"),
        "{why}"
    );
    all.push(("l", "here"));
    assert!(mapping.map(&entry(&all), now()).unwrap().active);
}

#[test]
fn a_place_is_found_however_the_expression_is_written() {
    insta::assert_snapshot!(messages(&[
        r#"title = { expr = "attr('a') + x" }"#,
        // The columns of the file are others than those of the text here.
        r#"title = { expr = "attr(\"a\") + x" }"#,
        "title = { expr = '''\nattr(\"a\")\n  + x''' }",
        "title = { expr = '''attr(\"a\") +\n  x''' }",
        "title = { expr = '''attr(\"a\") +\n  + x''' }",
    ]));
}

#[test]
fn what_stands_beside_a_rule_is_checked() {
    insta::assert_snapshot!(messages(&[
        r#"title = { attribute = ["cn", "jpegPhoto"] }"#,
        r#"title = "THUMBNAILPHOTO""#,
        r#"title = "cn;binary""#,
        r#"nickName = { attribute = "cn", default = "a name of more than thirty characters" }"#,
        r#"email = { value = "nobody" }"#,
        r#"email = { attribute = "mail", table = { A = "a@example.org", B = "b" } }"#,
        r#"active = { attribute = "state", table = { A = true, B = "perhaps" } }"#,
        r#"active = { attribute = "state", default = "often" }"#,
        r#"active = { expr = 'attr("a") == "b"', default = true }"#,
        r#"active = { value = "sometimes" }"#,
    ]));
}

/// Expressions that give a text, and whose parts are all of the right kind.
fn texts() -> impl Strategy<Value = String> {
    let leaves = prop::sample::select(vec![
        r#"attr("cn")"#,
        r#"attr("nothing")"#,
        r#"attrs("mail").first()"#,
        r#"lang("sn", "en")"#,
        r#""x, y""#,
        r#"string(now.getFullYear())"#,
    ]);
    leaves
        .prop_map(str::to_owned)
        .prop_recursive(4, 24, 3, |text| {
            (text.clone(), text.clone(), text, 0..14_u8).prop_map(|(a, b, c, form)| match form {
                0 => format!("({a} + {b})"),
                1 => format!("({a} == {b} ? {b} : {c})"),
                2 => format!("({a}.contains({b}) && !{b}.matches(\"^x\") ? {a} : {c})"),
                3 => format!("{a}.split(\",\").map(v, v + {b}).join({c})"),
                4 => format!("{a}.lower().replace({b}, {c})"),
                5 => format!("{a}.left({b}.size()).padLeft(9, \"-\")"),
                6 => format!("string({a}.indexOf({b}) + 1)"),
                7 => format!("({a} in attrs(\"mail\") || {b} in [{c}, \"x\"] ? {a} : {b})"),
                8 => format!("{a}.regexReplace(\"[a-z]+\", {b}).ascii(\"de\")"),
                9 => format!("(attrs(\"cn\").exists(v, v == {a}) ? {b}.hash(4) : {c}.trim())"),
                10 => format!("[{a}, {b}].filter(v, v != {c}).sort().last()"),
                11 => format!("{{\"k\": {a}}}[\"k\"].initials()"),
                12 => format!("\"%s %s\".format([{a}, {b}])"),
                _ => format!("(size({a}) > math.least(1, {b}.size()) ? {a} : string({c} < {b}))"),
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What is of the right kind is not refused, and does not fail for its kinds.
    #[test]
    fn no_expression_of_the_right_kind_is_refused(expression in texts()) {
        let mapping = mapping("preset = \"openldap\"", &format!("title = {{ expr = '{expression}' }}"));
        if let Err(NotMapped::Unmapped(unmapped)) = mapping.map(&entry(&ZOE), now()) {
            let why = unmapped.problem.to_string();
            prop_assert!(!why.contains("overload") && !why.contains("it gives a"), "{}", why);
        }
    }
}
