//! The simulator before third-party software (`tests/scim/`): the compliance suite scim2-tester, whose failures must be
//! exactly the departures that the contract itself makes, and the client scim2-client.
//!
//! Both are installed, pinned, into a virtual environment below `target/`. Nothing is skipped: when that cannot be
//! done, the tests fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::process::Command;

use dirsyncd::simulator::{Options, Simulator, start};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a command to its end, which must be a good one; answers what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "{}: {}\n{printed}",
        command.get_program().display(),
        output.status
    );
    printed
}

/// A simulator with one verified domain, and what a script of `tests/scim/` printed about it.
async fn before(script: &str) -> (Simulator, tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        domains: vec!["example.com".to_owned()],
        ..Options::in_folder(folder.path().to_owned())
    };
    let simulator = start(options).await.unwrap();
    let base = format!(
        "{}/scim/directory/{}",
        simulator.url(),
        simulator.directory()
    );
    let key = simulator.scim_key().to_owned();
    let script = Path::new(ROOT).join("tests/scim").join(script);
    let printed = tokio::task::spawn_blocking(move || {
        let venv = Path::new(ROOT).join("target/scim-venv");
        run(Command::new(Path::new(ROOT).join("tests/scim/setup.sh")).arg(&venv));
        let mut python = Command::new(venv.join("bin/python"));
        // -B: no caches beside the sources.
        run(python
            .arg("-B")
            .arg(script)
            .arg(base)
            .arg("example.com")
            .env("SCIM_KEY", key))
    });
    let printed = printed.await.unwrap();
    println!("{printed}");
    (simulator, folder, printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn compliance_suite() {
    let (simulator, _folder, printed) = before("check.py").await;
    assert!(printed.contains("expected deviations"), "{printed}");
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_from_outside() {
    let (simulator, _folder, printed) = before("outsider.py").await;
    assert!(printed.contains("after the deletion"), "{printed}");
    // The account stays, deactivated (contract section 5, DELETE).
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let users = format!(
        "{}/admin/v1/orgs/{}/users",
        simulator.url(),
        simulator.organization()
    );
    let users = client.get(users).bearer_auth(simulator.admin_key());
    let users: serde_json::Value = users.send().await.unwrap().json().await.unwrap();
    assert_eq!(users["meta"]["total"], 1);
    assert_eq!(users["data"][0]["email"], "outsider@example.com");
    assert_eq!(users["data"][0]["account_status"], "inactive");
    simulator.stop().await;
}
