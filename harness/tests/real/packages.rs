//! A container with the packages and the login shell of a scenario. The package is rsync, which is small; `clients` runs its
//! own scenario in the same image.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::driver::{self, Finished, nothing_is_left, skipped};
use crate::machine::Kind;

/// Two images to be made, on a machine that may be busy.
const MADE: Duration = Duration::from_secs(400);

/// Runs a client once that looks at the server by one command, and must see `seen`.
fn looks(folder: &Path, name: &str, keys: &str, command: &str, seen: &str) -> Finished {
    std::fs::create_dir_all(folder).unwrap();
    let ssh = format!("ssh -F $SSHCHURN_SSH_CONFIG $SSHCHURN_HOST '{command}' </dev/null");
    let script = format!("seen=\"$({ssh})\"; echo \"$seen\"; [ \"$seen\" = '{seen}' ]");
    let text = format!(
        "name = \"look\"\ntasks = 1\n[[strategy]]\nkind = \"command\"\nargv = [\"sh\", \"-c\", {}]\n\
         [sshd]\nmax_startups = \"10:30:100\"\n{keys}\n",
        Value::from(script.as_str())
    );
    let scenario = folder.join(format!("{name}.toml"));
    std::fs::write(&scenario, text).unwrap();
    let arguments = [scenario.to_str().unwrap(), "--target", "docker"];
    driver::start_as(folder, name, &arguments).finish(MADE)
}

#[test]
fn client_finds_the_packages_and_the_login_shell_of_its_scenario_in_the_container() {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    if !Path::new("/usr/bin/ssh").exists() {
        skipped(
            "SSHCHURN_REQUIRE_DOCKER",
            "this machine has no OpenSSH client",
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let who = "readlink /proc/$$/exe; echo $0 $SHELL";

    // Without the keys: what the image has always had.
    let keys = "";
    let plain = looks(
        folder.path(),
        "plain",
        keys,
        who,
        "/usr/bin/dash\nsh /bin/sh",
    );
    let plain = plain.code(0).report();
    assert_eq!(plain["target"]["login_shell"], "/bin/sh");
    assert!(plain["target"].get("packages").is_none());
    let image = |report: &Value| report["target"]["image"].as_str().unwrap().to_owned();
    assert!(!image(&plain).contains('_'), "{}", image(&plain));

    let keys = "packages = [\"rsync\"]\nlogin_shell = \"/bin/bash\"";
    let command = format!("rsync --version >/dev/null && {who}");
    let seen = "/usr/bin/bash\nbash /bin/bash";
    let report = looks(folder.path(), "both", keys, &command, seen)
        .code(0)
        .report();
    assert_eq!(report["target"]["login_shell"], "/bin/bash");
    let package = &report["target"]["packages"][0];
    assert_eq!(package["name"], "rsync");
    let version = package["version"].as_str().unwrap();
    assert!(
        version.starts_with(|c: char| c.is_ascii_digit()),
        "{version}"
    );
    let name = |report: &Value| image(report).split('@').next().unwrap().to_owned();
    let (base, variant) = (name(&plain), name(&report));
    assert!(variant.starts_with(&format!("{base}_")), "{variant}");

    // A shell that the image does not have; nothing is built for that.
    let keys = "packages = [\"rsync\"]\nlogin_shell = \"/usr/bin/zsh\"";
    let refused = looks(folder.path(), "zsh", keys, who, "").code(4);
    for words in ["no login shell /usr/bin/zsh", "sshd.packages"] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    assert!(
        !refused.stderr.contains("building image"),
        "{}",
        refused.stderr
    );
    assert!(!refused.directory.exists());

    let listed = driver::sshchurn(&["image", "list"]).code(0).stdout;
    let ours = listed.lines().find(|line| line.contains(&variant)).unwrap();
    assert!(ours.ends_with("with rsync"), "{listed}");
    nothing_is_left(folder.path());
}

#[test]
fn package_that_the_suite_does_not_have_is_named() {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let keys = "packages = [\"no-such-package-at-all\"]";
    let refused = looks(folder.path(), "missing", keys, "true", "").code(4);
    for words in [
        "no-such-package-at-all",
        "check the names in `sshd.packages`",
    ] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    assert!(
        !driver::sshchurn(&["image", "list"])
            .stdout
            .contains("no-such-package")
    );
    nothing_is_left(folder.path());
}
