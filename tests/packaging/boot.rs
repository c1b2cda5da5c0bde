//! The unit in a booted system, from its first start to its stop: what `boot.sh` sees there.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::root::{Root, package, run};
use crate::support::directory::{PASSWORD, Transport};
use crate::support::people::BASE;
use crate::support::{Organization, Person, Slapd, write_private};

/// Ends the system once it has seen all.
const SERVICE: &str = "[Service]
Type=oneshot
ExecStart=/boot.sh
StandardOutput=file:/seen
StandardError=file:/seen.errors
ExecStopPost=/bin/systemctl poweroff --no-block
TimeoutStartSec=3min
[Install]
WantedBy=multi-user.target
";

/// Shorter than the boot, so that a daemon that does not tell it is ended.
const WATCHDOG: &str = "[Service]\nWatchdogSec=5s\n";

/// The configuration of an administrator: secrets are credentials, and all else is by default.
fn configuration(slapd: &Slapd, organization: &Organization) -> String {
    let mut text = String::new();
    for line in organization.block.lines() {
        let line = match line.split_once(" = ") {
            Some(("scim_key", _)) => "scim_key = { credential = \"scim-key\" }",
            Some(("admin_key", _)) => continue,
            _ => line,
        };
        writeln!(text, "{line}").unwrap();
    }
    let url = slapd.url(Transport::Tls);
    text + &format!(
        "\n[[source]]\npreset = \"openldap\"\nurl = {url:?}\nca_file = \"ldap-ca.pem\"\n\
         bind_dn = \"cn=sync,ou=services,{BASE}\"\npassword = {{ credential = \"ldap-password\" }}\n\
         base = \"ou=people,{BASE}\"\n\n[schedule]\nsync = \"0 0 1 1 *\"\n"
    )
}

fn put(root: &Root, name: &str, content: &str, mode: u32) {
    let path = root.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_private(&path, content);
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_unit_lives_a_day_in_a_booted_system() {
    let mut people = Person::four();
    let refused = Person::new("radia", "Radia", "Perlman").with_mail(None);
    people.push(refused.clone());
    let slapd = Slapd::start(&people);
    let organization = Organization::start();
    let root = Root::new();
    root.install(package());
    let config = configuration(&slapd, &organization);
    put(&root, "/etc/dirsyncd/config.toml", &config, 0o644);
    let ca = std::fs::read_to_string(slapd.ca_file()).unwrap();
    put(&root, "/etc/dirsyncd/ldap-ca.pem", &ca, 0o644);
    let credentials = "/etc/dirsyncd/credentials";
    put(
        &root,
        &format!("{credentials}/scim-key"),
        &organization.scim_key,
        0o600,
    );
    put(
        &root,
        &format!("{credentials}/ldap-password"),
        PASSWORD,
        0o600,
    );
    put(&root, "/etc/systemd/system/seeing.service", SERVICE, 0o644);
    put(
        &root,
        "/etc/systemd/system/dirsyncd.service.d/watchdog.conf",
        WATCHDOG,
        0o644,
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packaging/boot.sh");
    std::fs::copy(script, root.path("/boot.sh")).unwrap();
    root.run("systemctl enable seeing");

    // It shares the network of this machine, with the directory and the organization.
    let mut boot = Command::new("timeout");
    boot.args(
        "--kill-after=5 240 systemd-nspawn --quiet --register=no --keep-unit --boot".split(' '),
    )
    .arg("--directory")
    .arg(root.folder())
    .stdin(std::process::Stdio::null());
    let console = run(&mut boot);
    let text = root.read("/seen");
    let seen: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let told = format!("{text}\n{}\n{console}", root.read("/seen.errors"));
    let expect = |key: &str, value: &str| {
        assert_eq!(seen.get(key).copied(), Some(value), "{key} in {told}");
    };
    expect("end", "reached");
    assert!(!seen.contains_key("gave_up_on"), "{told}");

    expect("enabled", "disabled");
    expect("at_boot", "inactive");
    expect("folder", "700 root");
    expect("check", "0 1");
    expect("open_credential", "1 1");
    expect("first_sync", "0 root");
    expect("wrong", "exit-code 2 0");
    expect("before_ready", "activating/start");
    expect("after_ready", "active/running");
    assert!(seen["user"].starts_with("dirsyncd "), "{told}");
    expect("rights", "0000000000000000 1 2");
    expect("state", "700 dirsyncd dirsyncd");
    for name in ["scim-key", "ldap-password"] {
        expect(&format!("{name}_of_daemon"), "read");
        expect(&format!("{name}_of_others"), "0");
    }
    // Nobody has put it there, and the unit starts all the same.
    assert_eq!(seen["admin_key"].trim(), "\\n", "{told}");
    assert!(seen["status"].starts_with("waiting; sync at "), "{told}");
    expect("plan", "3 1");
    expect("asked", "0 1");
    expect("pause", "0");
    expect("paused", "3 1");
    expect("resume", "0");
    expect("daemon_plan", "3 1");
    expect("daemon_sync", "3 1");
    assert_ne!(seen["of_others"], "0", "{told}");
    expect("reload_of_wrong", "0 active");
    expect("reload", "0 active");
    expect("same_process", "yes 0");
    expect("watchdog", "5s");
    expect("stop", "inactive success 0 0");
    let dynamic: u32 = seen["dynamic"].parse().unwrap();
    assert!((61184..=65519).contains(&dynamic), "{told}");
    expect("dynamic_state", seen["dynamic"]);
    expect("dynamic_stop", "success 0");
    assert_eq!(organization.active(), 4, "{told}");

    let journal = root.read("/journal.json");
    for secret in [PASSWORD, &organization.scim_key, &organization.admin_key] {
        assert!(!journal.contains(secret) && !told.contains(secret));
    }
    let entries: Vec<Value> = journal
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let find = |words: &str| {
        let entry = entries.iter().find(|entry| {
            let message = entry["MESSAGE"].as_str().unwrap_or_default();
            message.contains(words)
        });
        entry.unwrap_or_else(|| panic!("`{words}` is not in {journal}"))
    };
    let refusal = find("refused: ");
    assert_eq!(refusal["DIRSYNCD_RUN"], "2");
    assert_eq!(refusal["DIRSYNCD_DN"], refused.dn());
    assert_eq!(refusal["PRIORITY"], "4");
    assert_eq!(refusal["SYSLOG_IDENTIFIER"], "dirsyncd");
    assert_eq!(refusal["_SYSTEMD_UNIT"], "dirsyncd.service");
    let told_to_all = refusal["MESSAGE"].as_str().unwrap();
    assert!(told_to_all.contains(&refused.dn()), "{told_to_all}");
    let summary = find("done=3");
    assert_eq!(summary["DIRSYNCD_DONE"], "3");
    assert_eq!(summary["PRIORITY"], "6");
    // Why it does not start is an error too.
    let wrong = find("dirsyncd: ");
    assert_eq!(wrong["PRIORITY"], "3");
    assert_eq!(wrong["_TRANSPORT"], "stdout");
}
