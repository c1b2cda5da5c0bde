//! Rules that can never do, each with its place.

use super::refused;

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
        r#"title = { expr = 'attr("a").regexExtract(attr("b"))' }"#,
        r#"title = { expr = 'attr("a").ascii("klingon")' }"#,
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
    ]));
}

#[test]
fn a_place_is_found_however_the_expression_is_written() {
    insta::assert_snapshot!(messages(&[
        r#"title = { expr = "attr('a') + x" }"#,
        // The columns of the file are others than those of the text here.
        r#"title = { expr = "attr(\"a\") + x" }"#,
        "title = { expr = '''\nattr(\"a\")\n  + x''' }",
        "title = { expr = '''attr(\"a\") +\n  x''' }",
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
