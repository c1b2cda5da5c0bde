//! What expressions can call.

use super::*;

/// The value of an expression for an entry whose `l` has these values.
fn value(expression: &str, l: &[&str]) -> Result<String, String> {
    let mut all = ZOE.to_vec();
    all.extend(l.iter().map(|value| ("l", *value)));
    mapping(
        "preset = \"openldap\"",
        &format!("title = {{ expr = '{expression}' }}"),
    )
    .map(&entry(&all), now())
    .map(|account| {
        let title = account.profile.get(Attribute::Title);
        title.unwrap_or_default().to_owned()
    })
    .map_err(|why| problem(why).to_string())
}

#[test]
fn each_function_gives_what_its_name_says() {
    for (call, l, wanted) in [
        ("lower()", "MÜLLER Ω", "müller ω"),
        ("upper()", "straße", "STRASSE"),
        (
            "capitalize()",
            "anna-lena o'NEIL von der HÖHE",
            "Anna-Lena O'Neil Von Der Höhe",
        ),
        ("capitalize()", "3RD floor", "3rd Floor"),
        ("capitalize()", "e\u{301}MILE", "Émile"),
        (
            "ascii()",
            "Müller, Ærø, Łódź, Straße",
            "Muller, AEro, Lodz, Strasse",
        ),
        ("ascii()", "Дмитрий", "Dmitrii"),
        ("ascii()", "plain", "plain"),
        ("ascii()", "x\u{e000}y", "xy"),
        ("ascii()", "x\u{2028}y\u{2029}z", "x y z"),
        ("ascii(\"de\")", "Jörg Müller-Übel", "Joerg Mueller-Uebel"),
        ("ascii(\"de\")", "MÜLLER", "MUELLER"),
        ("ascii(\"de\")", "GRÜ", "GRUE"),
        ("ascii(\"de\")", "Ü", "Ue"),
        ("ascii(\"de\")", "Øre Straße", "Ore Strasse"),
        // The letter and its mark in two characters.
        ("ascii(\"de\")", "Mu\u{308}ller", "Mueller"),
        ("ascii(\"da\")", "Søren Ærø Åge", "Soeren Aeroe Aage"),
        ("ascii(\"nb\")", "Bjørn", "Bjoern"),
        ("ascii(\"sv\")", "Åsa Björn", "Aasa Bjoern"),
        ("initials()", "Anna-Lena  von Müller", "ALVM"),
        ("initials()", "émile (Zola) 3rd", "ÉZ3"),
        ("left(3)", "Müller", "Mül"),
        ("left(0)", "Müller", ""),
        ("left(99)", "Müller", "Müller"),
        ("right(3)", "Müller", "ler"),
        ("right(99)", "ü", "ü"),
        ("padLeft(6, \"0\")", "42", "000042"),
        ("padLeft(2, \"0\")", "42", "42"),
        ("padLeft(1, \"0\")", "42", "42"),
        ("padRight(4, \"ü\")", "42", "42üü"),
        ("regexReplace(\"[^0-9]\", \"\")", "+49 (30) 12", "493012"),
        (
            "regexReplace(\"(\\\\\\\\w+), (\\\\\\\\w+)\", \"$2 $1\")",
            "Müller, Zoë",
            "Zoë Müller",
        ),
        ("regexExtract(\"[0-9]+\")", "room 12, floor 3", "12"),
        ("regexExtract(\"floor ([0-9]+)\")", "room 12, floor 3", "3"),
        ("regexExtract(\"(x)?[0-9]+\")", "room 12", ""),
        ("regexExtract(\"[0-9]+\")", "none", ""),
        // The first is of BLAKE3's own test vectors.
        ("hash(8)", "", "af1349b9"),
        ("hash(8)", "4711", "4d206f91"),
        ("hash(0)", "4711", ""),
        // CEL's own, which are promised as well. Nothing but a pattern is read as one.
        ("replace(\"(\", \"[\")", "a(b", "a[b"),
        ("lowerAscii()", "AÜ", "aÜ"),
        ("replace(\"a\", \"b\")", "aa", "bb"),
        ("trim()", " a ", "a"),
        ("substring(1, 3)", "Müller", "ül"),
        ("split(\"@\")[0]", "a@b", "a"),
        ("split(\" \").first()", "a b c", "a"),
        ("split(\" \").last()", "a b c", "c"),
        ("split(\" \").join(\"-\")", "a b", "a-b"),
        // As the example configuration shows them.
        ("lower()", "Zoë Müller", "zoë müller"),
        ("upper()", "Zoë Müller", "ZOË MÜLLER"),
        ("ascii()", "Zoë Müller", "Zoe Muller"),
        ("ascii(\"de\")", "Zoë Müller", "Zoe Mueller"),
        ("initials()", "Zoë Müller", "ZM"),
        ("left(3)", "Zoë Müller", "Zoë"),
        ("right(3)", "Zoë Müller", "ler"),
        ("substring(4)", "Zoë Müller", "Müller"),
        ("substring(0, 3)", "Zoë Müller", "Zoë"),
        ("charAt(0)", "Zoë Müller", "Z"),
        ("size()", "Zoë Müller", "10"),
        ("indexOf(\"ü\")", "Zoë Müller", "5"),
        ("lastIndexOf(\"l\")", "Zoë Müller", "7"),
        ("replace(\"l\", \"r\", 1)", "Zoë Müller", "Zoë Mürler"),
        (
            "regexReplace(\"(\\\\\\\\w+) (\\\\\\\\w+)\", \"$2, $1\")",
            "Zoë Müller",
            "Müller, Zoë",
        ),
        ("regexExtract(\"^\\\\\\\\w+\")", "Zoë Müller", "Zoë"),
        (
            "split(\" \").reverse().join(\" \")",
            "Zoë Müller",
            "Müller Zoë",
        ),
        ("split(\" \").sort().distinct().join(\",\")", "b a b", "a,b"),
    ] {
        // Where the row has four backslashes for the file, a literal text has two.
        let expression = format!("attr(\"l\").{}", call.replace("\\\\\\\\", "\\\\"));
        assert_eq!(
            value(&expression, &[l]),
            Ok(wanted.to_owned()),
            "{expression} {l}"
        );
    }
    for (expression, wanted) in [
        ("attrs(\"l\").first()", ""),
        ("attrs(\"l\").last()", ""),
        ("string(attr(\"mail\").matches(\"^z.*[.]org$\"))", "true"),
        ("string(attr(\"mail\").matches(\"^y\"))", "false"),
        ("string(matches(attr(\"mail\"), \"^z\"))", "true"),
        ("attr(\"l\").initials()", ""),
        ("\"%s-%d\".format([attr(\"cn\"), 5])", "Zoë Müller-5"),
        (
            "string(attr(\"cn\").matches(\"^Z\") && attr(\"cn\").contains(\"ë\"))",
            "true",
        ),
        ("attr(\"l\").capitalize()", ""),
        ("math.abs(3 - attr(\"cn\").size())", "7"),
        ("string(type(attr(\"cn\")) == string)", "true"),
        ("string(type(now) == google.protobuf.Timestamp)", "true"),
        (
            "(attr(\"givenName\") + \".\" + attr(\"sn\")).ascii(\"de\").lower()",
            "zoe.mueller",
        ),
    ] {
        assert_eq!(
            value(expression, &[]),
            Ok(wanted.to_owned()),
            "{expression}"
        );
    }
}

#[test]
fn what_a_function_cannot_take_is_told() {
    for (call, word) in [
        ("left(-1)", "-1 is less than nothing"),
        ("right(-1)", "-1 is less than nothing"),
        ("padLeft(256, \"0\")", "256 is not between 0 and 255"),
        ("padRight(-1, \"0\")", "-1 is not between 0 and 255"),
        ("padLeft(5, \"ab\")", "\"ab\" is not one character"),
        ("padLeft(5, \"\")", "\"\" is not one character"),
        ("hash(65)", "65 is not between 0 and 64"),
    ] {
        let told = value(&format!("attr(\"l\").{call}"), &["x"]).unwrap_err();
        assert!(told.contains(word), "{call}: {told}");
    }
    // And the last that it takes.
    for call in ["padLeft(255, \"0\")", "hash(64)"] {
        assert!(
            value(&format!("attr(\"l\").{call}"), &["x"]).is_ok(),
            "{call}"
        );
    }
}

#[test]
fn the_example_configuration_tells_of_each_function() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    let text = std::fs::read_to_string(path).unwrap();
    for name in super::super::text::MEMBERS {
        assert!(
            text.contains(name),
            "config.example.toml does not show {name}"
        );
    }
}

#[test]
fn each_function_that_is_told_of_is_there() {
    for name in super::super::text::MEMBERS {
        let error = refused(&format!(
            "title = {{ expr = 'attr(\"l\").{name}(1, 2, 3, 4, 5)' }}"
        ));
        assert!(!error.contains("there is no function"), "{error}");
    }
}

proptest! {
    #[test]
    fn ascii_is_ascii_and_leaves_ascii_as_it_is(text in "\\PC{0,20}") {
        let quoted = text.replace(['\'', '\\', '"'], "");
        let value = value("attr(\"l\").ascii(\"de\")", &[&quoted]).unwrap();
        prop_assert!(value.is_ascii());
        if quoted.is_ascii() {
            prop_assert_eq!(value, quoted.trim());
        }
    }
}
