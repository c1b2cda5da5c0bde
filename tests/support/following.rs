//! The plans of pulls of what changed, against those of full pulls.

use serde_json::Value;

use super::Dirsyncd;

/// The plan of a run with these arguments, without what tells how the sources were read.
#[track_caller]
pub fn plan(dirsyncd: &Dirsyncd, arguments: &[&str]) -> (Value, Value) {
    let mut words = vec!["plan", "--format", "json"];
    words.extend(arguments);
    let output = dirsyncd.run(&words);
    assert!(matches!(output.code, Some(0 | 3)), "{output}");
    let mut plan: Value = serde_json::from_str(&output.stdout).unwrap();
    let parts = plan.as_object_mut().unwrap();
    // How long the requests take is the machine's matter.
    let forecast = parts["forecast"].as_object_mut().unwrap();
    assert!(forecast.remove("time").is_some());
    let how = serde_json::json!({
        "pulls": parts.remove("pulls"),
        "notices": parts.remove("notices"),
    });
    (plan, how)
}

/// A pull of what changed must give the plan of a full one, and the full one must find nothing that the other had
/// missed. Gives the plan, and how many entries were read as changed.
#[track_caller]
pub fn expect_one_plan(dirsyncd: &Dirsyncd) -> (Value, u64) {
    let (followed, how) = plan(dirsyncd, &[]);
    let (full, full_how) = plan(dirsyncd, &["--full"]);
    assert_eq!(
        followed, full,
        "the plan of what changed against the full one"
    );
    assert_eq!(how["notices"], serde_json::json!([]), "{how:#}");
    assert_eq!(full_how["notices"], serde_json::json!([]), "{full_how:#}");
    assert_eq!(
        how["pulls"][0]["entries"], full_how["pulls"][0]["entries"],
        "{how:#} {full_how:#}"
    );
    let changed = how["pulls"][0]["changed"].as_u64();
    (
        full,
        changed.unwrap_or_else(|| panic!("it was read in full: {how:#}")),
    )
}
