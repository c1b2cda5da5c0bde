//! A first configuration, by options and by answers.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::directory::Transport;
use crate::support::people::BASE;
use crate::support::{Person, World, set_mode};

/// What of the organization is asked for.
fn organization(world: &World) -> Vec<(&'static str, String)> {
    let block: toml::Table = world.dirsyncd.organization.parse().unwrap();
    let block = &block["organization"];
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    vec![
        ("--organization", text(&block["id"])),
        ("--directory", text(&block["directory"])),
        ("--scim-key-file", text(&block["scim_key"]["file"])),
        ("--admin-key-file", text(&block["admin_key"]["file"])),
        ("--api", text(&block["api"])),
    ]
}

fn server(world: &World) -> Vec<(&'static str, String)> {
    let path = |path: PathBuf| path.display().to_string();
    vec![
        ("--url", world.slapd.url(Transport::Tls)),
        ("--ca-file", path(world.slapd.ca_file())),
        ("--bind-dn", format!("cn=sync,ou=services,{BASE}")),
        ("--password-file", path(world.dirsyncd.password_file())),
    ]
}

/// Runs it in the folder of the configuration.
fn init(world: &World, options: &[(&str, String)], answers: &str) -> (i32, String) {
    let words = options
        .iter()
        .flat_map(|(option, value)| [*option, value.as_str()]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_dirsyncd"))
        .arg("init")
        .args(words)
        .current_dir(world.dirsyncd.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(answers.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    for said in [&output.stdout, &output.stderr] {
        world.dirsyncd.expect_no_secret_in("`init`", said);
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout) + &text(&output.stderr),
    )
}

#[test]
fn options_make_a_configuration_that_can_be_used_at_once() {
    let people = Person::four();
    let world = World::of(&people);
    let mut options = [server(&world), organization(&world)].concat();
    options.push(("--base", format!("ou=people,{BASE}")));
    options.push(("--output", "made.toml".to_owned()));
    let (code, said) = init(&world, &options, "");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(" is OpenLDAP"), "{said}");
    assert!(said.contains("; the preset is `openldap`."), "{said}");
    assert!(
        said.contains("4 entries, 4 people can be mapped:\n"),
        "{said}"
    );
    assert!(
        said.contains("  Grace Hopper <grace@example.org>, uid=grace,"),
        "{said}"
    );
    let made = world.dirsyncd.folder().join("made.toml");
    let text = std::fs::read_to_string(&made).unwrap();
    assert!(
        text.contains("\n# Where the people are."),
        "the comments are kept\n{text}"
    );
    // What stands in the folder of a test is open to all.
    set_mode(world.dirsyncd.folder(), 0o700);
    let made = made.display().to_string();
    let run = |verb: &str| world.dirsyncd.run_bare(&[verb, "--config", &made]);
    run("check").expect_code(0);
    run("plan").expect_code(0).expect_words(&["4 to create"]);
    // It is not written over.
    let (code, said) = init(&world, &options, "");
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("made.toml is there already"), "{said}");
    assert_eq!(std::fs::read_to_string(&made).unwrap(), text);
}

#[test]
fn what_no_option_says_is_asked() {
    let world = World::of(&Person::four());
    let answers = [server(&world), organization(&world)].concat();
    let of = |option: &str| {
        let mut all = answers.iter();
        all.find(|(name, _)| *name == option).unwrap().1.clone()
    };
    let given: Vec<(&str, String)> = ["--ca-file", "--api"]
        .into_iter()
        .map(|option| (option, of(option)))
        .collect();
    let typed = [
        of("--url"),
        of("--bind-dn"),
        of("--password-file"),
        // The naming context that the server tells is proposed.
        String::new(),
        of("--organization"),
        of("--directory"),
        of("--scim-key-file"),
    ];
    let typed: String = typed.iter().map(|line| format!("{line}\n")).collect();
    let (code, said) = init(&world, &given, &typed);
    // The configuration of the world's own verbs is not written yet.
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains(&format!("Where the people are [{BASE}]: ")),
        "{said}"
    );
    let text = std::fs::read_to_string(world.dirsyncd.folder().join("config.toml")).unwrap();
    assert!(text.contains(&format!("\nbase = [\"{BASE}\"]\n")), "{text}");
    let password = format!("\npassword = {{ file = \"{}\" }}\n", of("--password-file"));
    assert!(text.contains(&password), "{text}");
}

#[test]
fn what_cannot_be_is_told_and_nothing_is_written() {
    let world = World::of(&Person::four());
    let [url, ca, bind, password] = &server(&world)[..] else {
        panic!("the server has other options");
    };
    let nowhere = ("--base", format!("ou=nowhere,{BASE}"));
    let nobody = ("--base", format!("ou=services,{BASE}"));
    let wrong = world.dirsyncd.folder().join("wrong-password");
    crate::support::write_private(&wrong, "wrong\n");
    let wrong = ("--password-file", wrong.display().to_string());
    let all = |last: &[(&'static str, String)]| {
        let first = [url.clone(), ca.clone(), bind.clone()];
        [&first, last, &organization(&world)].concat()
    };
    for (options, words) in [
        (
            vec![],
            "nobody answers \"LDAP server (ldaps://HOST)\": give --url",
        ),
        (
            vec![("--url", "http://ldap.example.org".to_owned())],
            "write ldaps://HOST, ldap://HOST for StartTLS",
        ),
        (all(&[]), "give --password-file"),
        (all(&[wrong]), "invalidCredentials"),
        (all(&[password.clone(), nowhere]), "noSuchObject"),
        (
            all(&[password.clone(), nobody]),
            "nobody is found who can have an account",
        ),
    ] {
        let (code, said) = init(&world, &options, "");
        assert_ne!(code, 0, "{said}");
        assert!(said.contains(words), "{words}: {said}");
        assert!(
            !world.dirsyncd.folder().join("config.toml").exists(),
            "{said}"
        );
    }
}
