//! Logins that fail on purpose on releases that ban for it: the ban comes at the login that sshd's arithmetic says, and lasts
//! as long as sshd says.

use serde_json::Value;

use crate::driver::{books_balance, run, strategy};
use crate::machine::Kind;

/// Spacings, seconds, and the login that is refused first, where jitter cannot decide: 5 s each, and a ban beyond 15 s.
const LADDER: [(u64, Option<u64>); 5] = [
    (1, Some(5)),
    (2, Some(6)),
    (0, Some(5)),
    (5, None),
    (6, None),
];

fn ladder(release: &str) {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("spacing.toml");
    let spacings = LADDER
        .map(|(seconds, _)| format!("\"{seconds}s\""))
        .join(", ");
    // Seven logins of 6 s each: what bans at all bans by then, on a busy machine too.
    let text = format!(
        "name = \"spacing\"\ntasks = 5\n[[strategy]]\nkind = \"failing-login\"\nlogins = 7\nspacing = [{spacings}]\n\
         probe_interval = \"250ms\"\n[sshd]\nmax_startups = \"10:30:100\"\nmin_release = \"9.8\"\n[sshd.options]\n\
         PerSourcePenalties = \"yes\"\n[[gate]]\nthreshold = \"failing-login.tasks_failed == 0\"\n[[gate]]\n\
         threshold = \"failing-login.unbanned_spacing == 5s\"\n[[gate]]\nthreshold = \"failing-login.tasks_banned == 3\"\n\
         [[gate]]\nthreshold = \"failing-login.first_banned_attempt.min >= 5\"\n"
    );
    std::fs::write(&path, text).unwrap();
    let arguments = [path.to_str().unwrap(), "--release", release];
    let finished = run(&directory.path().join("run"), &arguments).code(0);
    let report = finished.report();
    books_balance(&report);
    let tasks = strategy(&report, "failing-login")["per_round"][0]["failing"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(tasks.len(), LADDER.len());
    for ((seconds, first), task) in LADDER.iter().zip(&tasks) {
        assert_eq!(task["spacing_ns"], seconds * 1_000_000_000);
        let predicted = |side: &str| task["predicted"][side].as_u64();
        let number = |refused: Option<u64>| refused.unwrap_or(u64::MAX);
        let seen = task["first_refused"].as_u64();
        // Without a pause a login is there before a busy sshd has reaped the one before it, and then fails as well.
        let under_way = u64::from(*seconds == 0);
        let latest = number(predicted("latest")).saturating_add(under_way);
        let possible = number(predicted("earliest"))..=latest;
        assert!(possible.contains(&number(seen)), "{release}: {task:#}");
        // By whole seconds (up to 10.2) a gap may be counted as one less or more, and without a pause a login may be there
        // before sshd has counted the one before it.
        let slack = u64::from(first.is_some() && release == "10.0").max(2 * under_way);
        assert!(
            number(seen).abs_diff(number(*first)) <= slack,
            "{release}: {task:#}"
        );
        match seen {
            None => {
                assert_eq!(task["failed"], 7);
                assert_eq!(task["ban"], Value::Null);
            }
            Some(first) => {
                assert_eq!(task["failed"], first - 1);
                assert_eq!(task["refused_by"], "authfail");
                let ban = &task["ban"];
                let ns = |key: &str| ban[key].as_u64().unwrap();
                // More than 15 s were outstanding; a login that failed after that added its 5 s, and whole seconds end up to
                // one later.
                let announced = ns("announced_ns");
                assert!((15..=21).contains(&(announced / 1_000_000_000)), "{ban:#}");
                let expected = announced + ns("failed_after") * 5_000_000_000;
                let slack = 1_300_000_000;
                let longer = under_way * 5_000_000_000;
                assert!(ns("at_least_ns") <= expected + longer + slack, "{ban:#}");
                assert!(ns("at_most_ns") + slack >= expected, "{ban:#}");
            }
        }
    }
    let told =
        "failing-login: the smallest spacing that never banned is 5.00 s (7 failing logins each).";
    assert!(finished.stdout.contains(told), "{}", finished.stdout);
    assert!(finished.stdout.contains(
        "every 6.00 s: none of 7 logins was refused; sshd's arithmetic says none is refused."
    ));
}

#[test]
fn ban_of_failing_logins_comes_when_whole_seconds_say_it_does_on_10_0() {
    ladder("10.0");
}

#[test]
fn ban_of_failing_logins_comes_when_fractions_of_seconds_say_it_does_on_10_6() {
    ladder("10.6");
}
