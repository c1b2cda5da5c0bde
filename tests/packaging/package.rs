//! The package: what it installs, what stays of it, and what systemd thinks of its unit.

use std::path::Path;
use std::process::Command;

use crate::root::{Root, package, run};
use crate::support::write_private;

const CONFIG: &str = "/etc/dirsyncd/config.toml";
const EXAMPLE: &str = "/usr/share/dirsyncd/config.toml";
const UNIT: &str = "/usr/lib/systemd/system/dirsyncd.service";

/// The next version of a package, with another configuration to begin with.
fn next_version(package: &Path, folder: &Path) -> std::path::PathBuf {
    let content = folder.join("next");
    run(Command::new("dpkg-deb")
        .arg("--raw-extract")
        .arg(package)
        .arg(&content));
    for (file, old, new) in [
        ("DEBIAN/control", "Version: ", "Version: 1:"),
        ("usr/share/dirsyncd/config.toml", "[log]", "# New.\n[log]"),
    ] {
        let path = content.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(old).count(), 1, "{file}");
        std::fs::write(path, text.replace(old, new)).unwrap();
    }
    let next = folder.join("next.deb");
    run(Command::new("dpkg-deb")
        .args(["-Znone", "--root-owner-group", "--build"])
        .arg(content)
        .arg(&next));
    next
}

#[test]
fn the_package_keeps_what_is_somebody_s_until_it_is_purged() {
    let root = Root::new();
    root.install(package());

    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    let example = std::fs::read_to_string(example).unwrap();
    for file in [CONFIG, EXAMPLE] {
        assert_eq!(root.read(file), example);
    }
    assert_eq!(root.run(&format!("stat -c %a:%U {CONFIG}")), "644:root\n");
    for file in [
        "/usr/bin/dirsyncd",
        UNIT,
        "/usr/lib/sysusers.d/dirsyncd.conf",
        "/usr/lib/tmpfiles.d/dirsyncd.conf",
        "/usr/share/doc/dirsyncd/copyright",
        "/usr/share/doc/dirsyncd/changelog.Debian.gz",
        "/usr/share/doc/dirsyncd/changelog.gz",
        "/usr/share/bash-completion/completions/dirsyncd",
        "/usr/share/zsh/vendor-completions/_dirsyncd",
        "/usr/share/fish/vendor_completions.d/dirsyncd.fish",
        "/usr/share/man/man1/dirsyncd.1.gz",
        "/usr/share/doc/dirsyncd/plan.schema.json",
        "/usr/share/doc/dirsyncd/config.schema.json",
        "/usr/share/doc/dirsyncd/README.md",
        "/usr/share/doc/dirsyncd/docs/src/SUMMARY.md",
        "/usr/share/doc/dirsyncd/docs/src/tutorial/first-sync.md",
        "/usr/share/doc/dirsyncd/docs/src/how-to/groups.md",
        "/usr/share/doc/dirsyncd/docs/src/reference/configuration.md",
        "/usr/share/doc/dirsyncd/docs/src/explanation/guards.md",
        "/usr/share/doc/dirsyncd/config.example.toml",
    ] {
        assert!(root.has(file), "{file}");
    }
    assert!(root.run("dirsyncd --version").starts_with("dirsyncd "));
    let user = root.run("getent passwd dirsyncd");
    assert!(
        user.ends_with(":/var/lib/dirsyncd:/usr/sbin/nologin\n"),
        "{user}"
    );
    // Nothing is started before it is configured.
    let wanted = "/etc/systemd/system/multi-user.target.wants/dirsyncd.service";
    assert!(!root.has(wanted));

    // What an administrator makes of it, and a daemon after that.
    root.run("systemctl enable dirsyncd");
    assert!(root.has(wanted));
    let edited = root.read(CONFIG).replace("*/15 * * * *", "*/5 * * * *");
    std::fs::write(root.path(CONFIG), &edited).unwrap();
    let key = "/etc/dirsyncd/credentials/scim-key";
    std::fs::create_dir(root.path(key).parent().unwrap()).unwrap();
    write_private(&root.path(key), "key\n");
    let database = "/var/lib/private/dirsyncd/dirsyncd.db";
    assert_eq!(root.run("stat -L -c %a /var/lib/dirsyncd"), "700\n");
    write_private(&root.path(database), "rows");
    let expect_kept = |config: &str| {
        assert_eq!(root.read(config), edited);
        assert_eq!(root.read(key), "key\n");
        assert_eq!(root.read(database), "rows");
    };

    let next = next_version(package(), root.folder().parent().unwrap());
    root.install(&next);
    expect_kept(CONFIG);
    assert!(root.read(EXAMPLE).contains("# New.\n"));
    for left in ["dpkg-dist", "dpkg-new", "dpkg-old"] {
        assert!(!root.has(&format!("{CONFIG}.{left}")), "{left}");
    }
    assert!(root.has(wanted));

    root.run("dpkg --remove dirsyncd");
    expect_kept(CONFIG);
    assert!(!root.has("/usr/bin/dirsyncd"));
    assert!(!root.has(UNIT));

    root.run("dpkg --purge dirsyncd");
    for gone in [
        "/etc/dirsyncd",
        "/var/lib/dirsyncd",
        "/var/lib/private/dirsyncd",
        wanted,
        "/etc/systemd/system/dirsyncd.service",
        "/usr/share/doc/dirsyncd",
        "/usr/share/dirsyncd",
    ] {
        assert!(!root.has(gone), "{gone}");
    }
    // Its number is nobody else's: files of the user may be anywhere.
    root.run("getent passwd dirsyncd");
}

#[test]
fn systemd_finds_no_fault_with_the_unit_and_little_that_it_could_still_be_denied() {
    let root = Root::new();
    root.install(package());
    let verified = root.run("systemd-analyze verify --man=no dirsyncd.service");
    assert_eq!(verified, "");
    // Ten times the score: 1.5.
    let analyzed = root.run(&format!(
        "systemd-analyze security --offline=true --threshold=15 --no-pager {UNIT}"
    ));
    assert!(analyzed.contains("Overall exposure level"), "{analyzed}");
}
