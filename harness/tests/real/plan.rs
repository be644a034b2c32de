//! A plan on a real server: calibrated on it, and its answer run on it.

use serde_json::Value;

use crate::driver::sshchurn;
use crate::machine::Kind;

#[test]
fn calibration_gives_its_own_runs_again_and_the_answer_is_run_beside_what_was_predicted() {
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calibration.json").display().to_string();
    let workload = ["plan", "one-shot", "-n", "40", "--target", "local"];
    let calibrated = sshchurn(&[&workload[..], &["--calibrate-only", &file]].concat());
    // Where something else computes meanwhile that is said, and nothing is calibrated.
    if calibrated.code == Some(3) {
        let said = &calibrated.stderr;
        assert!(said.contains("cannot say"), "{said}");
        return;
    }
    let calibrated = calibrated.code(0);
    assert!(
        calibrated.stderr.contains("6 of 6"),
        "{}",
        calibrated.stderr
    );
    let text = std::fs::read_to_string(&file).unwrap();
    let calibration: Value = serde_json::from_str(&text).unwrap();
    let fit = &calibration["fit"];
    for rushes in ["rushes", "rushes_with_jobs"] {
        assert_eq!(fit[rushes].as_array().unwrap().len(), 5, "{rushes}");
    }
    assert_eq!(calibration["costs"]["shares"].as_array().unwrap().len(), 10);
    // Neither is exact on any machine; that they are of one kind is.
    let logins = fit["logins"].as_f64().unwrap();
    assert!((0.5..2.0).contains(&logins), "{fit}");

    let goal = ["--threshold", "banner_eof == 0", "--clients", "here"];
    let how = ["--no-sensitivity", "--verify", "2", "--format", "json"];
    let given = ["--calibration", &file];
    let planned = sshchurn(&[&workload[..], &goal, &how, &given].concat()).code(0);
    let report: Value = serde_json::from_str(&planned.stdout).unwrap();
    let answer = &report["strategies"][0]["answer"];
    assert!(answer["value"].as_u64() > Some(0), "{answer}");
    let verified = answer["verified"].as_array().unwrap();
    assert!(!verified.is_empty());
    for value in verified {
        assert_eq!(value["measured"]["rounds"], 2, "{value}");
        let [predicted, measured] = &value["attempts"].as_array().unwrap()[..] else {
            panic!("{value}");
        };
        // One attempt for each task, whatever becomes of it.
        assert_eq!((predicted, measured), (&40.0.into(), &40.0.into()));
    }
}
