//! Images that are not of sshchurn's recipe, made here from its images: another layout, other programs, another user. And a
//! release of which there is no image. Skips loudly without Docker, fails where `SSHCHURN_REQUIRE_DOCKER` says that it is
//! required.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::driver::{self, Finished, books_balance, nothing_is_left};
use crate::machine::Kind;

/// An image to be made and a short run, on a machine that may be busy.
const MADE: Duration = Duration::from_secs(300);

/// busybox in place of every program, sshd under /opt, a user of another name with a locked account, nothing on /run.
const BUSYBOX: &str = "
set -e
mkdir -p /opt/openssh/sbin /srv/deploy
mv /usr/sbin/sshd /opt/openssh/sbin/sshd
sed -i 's|^runner:.*|deploy:x:1234:1235::/srv/deploy:/bin/ash|' /etc/passwd
sed -i 's|^runner:.*|staff:x:1235:|' /etc/group
sed -i 's|^runner:[*]|deploy:!|' /etc/shadow
chown 1234:1235 /srv/deploy
rm -rf /etc/sshchurn /home/runner /run/sshd
mv /usr/bin/busybox /busybox
/busybox rm -rf /usr/bin /usr/sbin
/busybox mkdir /usr/bin /usr/sbin
for applet in $(/busybox --list); do /busybox ln -s /busybox /usr/bin/$applet; done
";
/// What such an image would run by itself, and as whom. Its PATH leaves out where sshd is.
const OF_ITS_OWN: [&str; 8] = [
    "ENTRYPOINT [\"/bin/false\"]",
    "CMD [\"x\"]",
    "USER deploy",
    "HEALTHCHECK --interval=1s CMD touch /srv/health",
    "VOLUME /srv",
    "VOLUME /var/log",
    "WORKDIR /srv/deploy",
    "ENV PATH=/usr/bin",
];
/// coreutils and a shell, and nothing else of what the recipe puts in; no account but root's.
const FEW_PROGRAMS: &str = "
set -e
sed -i /^runner:/d /etc/passwd /etc/group /etc/shadow
rm -rf /home/runner /etc/sshchurn
cd /usr/bin && rm -f setsid bash sed awk mawk find xargs ps pgrep pkill grep egrep fgrep top
";
/// Two images that cannot be servers.
const NO_SSHD: &str = "rm /usr/sbin/sshd /usr/bin/wc /usr/bin/setsid /usr/bin/nohup";
const HALF_AN_SSHD: &str = "sed -i /^sshd:/d /etc/passwd; rm /usr/lib/openssh/sshd-auth";

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An image that goes with this.
struct Image(String);

impl Image {
    /// Made of another one by a script that root runs in it.
    fn made(name: &str, base: &str, script: &str, changes: &[&str]) -> Self {
        let name = format!("sshchurn-test/{name}:{}", std::process::id());
        let container = name.replace(['/', ':'], "-");
        docker(&[
            "run",
            "--name",
            &container,
            "--network",
            "none",
            "--user",
            "0",
            "--entrypoint",
            "/bin/sh",
            base,
            "-c",
            script,
        ]);
        let changes = changes.iter().flat_map(|change| ["--change", change]);
        let mut commit = vec!["commit"];
        commit.extend(changes);
        commit.extend([container.as_str(), &name]);
        docker(&commit);
        docker(&["rm", "--volumes", &container]);
        Image(name)
    }

    fn id(&self) -> String {
        docker(&["image", "inspect", "--format", "{{.Id}}", &self.0])
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", &self.0]).output();
    }
}

fn base(arguments: &[&str]) -> String {
    let build = [&["image", "build"], arguments].concat();
    driver::sshchurn(&build).code(0).stdout.trim().to_owned()
}

fn run(folder: &Path, name: &str, arguments: &[&str]) -> Finished {
    let few = ["smoke", "-n", "6", "--time-scale", "0.1"];
    driver::start_as(folder, name, &[&few, arguments].concat()).finish(MADE)
}

fn volumes() -> String {
    docker(&["volume", "ls", "--quiet"])
}

#[test]
fn image_of_another_layout_is_a_server_and_one_that_cannot_be_says_all_that_it_lacks() {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let base = base(&["--release", "10.0", "--packages", "busybox-static"]);
    let odd = Image::made("busybox", &base, BUSYBOX, &OF_ITS_OWN);
    let before = volumes();

    // Nobody is refused, so that every job runs to its end on it. Of a second round the first was cleared away.
    let roomy = ["--max-startups", "40:30:60", "--rounds", "2"];
    let arguments = [&["--image", &odd.0, "--release", "10.0"], &roomy[..]].concat();
    let finished = run(folder.path(), "odd", &arguments).code(0);
    let report = finished.report();
    books_balance(&report);
    let target = &report["target"];
    assert_eq!(target["kind"], "docker");
    assert_eq!(target["image"], format!("{}@{}", odd.0, odd.id()));
    assert_eq!(target["login_shell"], "/bin/ash");
    assert!(
        target["release"]
            .as_str()
            .unwrap()
            .starts_with("OpenSSH_10.0")
    );
    assert!(target.get("substitution").is_none());
    for strategy in report["strategies"].as_array().unwrap() {
        assert_eq!(strategy["totals"]["tasks"]["tasks_failed"], 0, "{strategy}");
    }
    let short: String = odd
        .id()
        .trim_start_matches("sha256:")
        .chars()
        .take(12)
        .collect();
    assert!(
        finished
            .stdout
            .contains(&format!("image {} {short}", odd.0)),
        "{}",
        finished.stdout
    );

    // By its id alone; and what the scenario asks for besides is looked for, not installed.
    let wants = folder.path().join("wants.toml");
    let smoke = driver::sshchurn(&["scenario", "show", "smoke"])
        .code(0)
        .stdout;
    let keys = "[sshd]\npackages = [\"git\"]\nlogin_shell = \"/usr/bin/zsh\"\n";
    std::fs::write(&wants, smoke.replace("[sshd]\n", keys)).unwrap();
    let id = odd.id();
    let arguments = [wants.to_str().unwrap(), "--image", &id];
    let refused = driver::start_as(folder.path(), "wants", &arguments)
        .finish(MADE)
        .code(4);
    for words in ["no git (`sshd.packages`", "no login shell /usr/bin/zsh"] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }

    let arguments = ["--image", &odd.0, "--release", "9.2"];
    let refused = run(folder.path(), "release", &arguments).code(4);
    assert!(
        refused.stderr.contains("has OpenSSH_10.0"),
        "{}",
        refused.stderr
    );

    let lacking = [
        (NO_SSHD, ["no sshd in", "no wc, setsid"]),
        (
            HALF_AN_SSHD,
            ["no user `sshd`", "no /usr/lib/openssh/sshd-auth"],
        ),
    ];
    for (number, (script, said)) in lacking.into_iter().enumerate() {
        let name = format!("lacking-{number}");
        let image = Image::made(&name, &base, script, &[]);
        let refused = run(folder.path(), &name, &["--image", &image.0]).code(4);
        for words in said {
            assert!(refused.stderr.contains(words), "{}", refused.stderr);
        }
    }
    let refused = run(
        folder.path(),
        "absent",
        &["--image", "sshchurn-test/absent:1"],
    )
    .code(4);
    assert!(
        refused
            .stderr
            .contains("docker pull sshchurn-test/absent:1"),
        "{}",
        refused.stderr
    );
    assert!(!folder.path().join("absent").exists());
    assert_eq!(volumes(), before);
    nothing_is_left(folder.path());
}

#[test]
fn image_without_accounts_and_with_few_programs_is_checked_and_stands_in_a_matrix_beside_a_release()
{
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let few = Image::made("few", &base(&[]), FEW_PROGRAMS, &[]);
    // 9.6 has no image: 9.2 is the nearest, and both rows are of it.
    let out = folder.path().join("matrix");
    let mut command = Command::new(driver::binary());
    command
        .args([
            "matrix",
            "smoke",
            "-n",
            "6",
            "--time-scale",
            "0.1",
            "--release",
            "9.6",
            "--image",
            &few.0,
        ])
        .arg("--out")
        .arg(&out);
    let finished = driver::start_command(command, out.clone())
        .finish(MADE)
        .code(0);
    let read = |path: &Path| -> Value {
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let matrix = read(&out.join("matrix.json"));
    let (nearest, given) = (&matrix["rows"][0], &matrix["rows"][1]);
    assert_eq!(
        (&nearest["release"], &given["image"]),
        (&Value::from("9.2"), &Value::from(&*few.0))
    );
    assert_eq!(nearest["substitutions"][0]["asked"], "9.6");
    for row in [nearest, given] {
        assert!(
            row["server"].as_str().unwrap().starts_with("OpenSSH_9.2"),
            "{row}"
        );
        for cell in row["strategies"].as_array().unwrap() {
            assert_eq!(cell["unmatched"], 0, "{cell}");
        }
    }
    let said = "this is OpenSSH 9.2, not the 9.6 that was asked for";
    // Before the server is there, and in every file.
    assert!(
        finished.stderr.contains(said) && finished.stdout.contains(said),
        "{}",
        finished.stderr
    );
    for file in ["report.html", "report.md", "junit.xml", "metrics.txt"] {
        let text = std::fs::read_to_string(out.join("9.2").join(file)).unwrap();
        assert!(text.contains(said), "{file}");
    }
    let report = read(&out.join("9.2/report.json"));
    assert_eq!(report["target"]["substitution"]["ran"], "9.2");
    books_balance(&report);

    let checked = |arguments: &[&str]| {
        let few = [
            "check-config",
            "--max-startups",
            "3:50:8",
            "--climbs",
            "2",
            "--format",
            "json",
        ];
        let out = folder.path().join("check");
        let out = ["--out", out.to_str().unwrap()];
        let finished = driver::sshchurn(&[&few, arguments, &out[..]].concat());
        std::fs::remove_dir_all(folder.path().join("check")).unwrap();
        serde_json::from_str::<Value>(&finished.stdout).unwrap()
    };
    let check = checked(&["--image", &few.0]);
    assert!(
        check["server"].as_str().unwrap().contains("OpenSSH_9.2"),
        "{check}"
    );
    assert_eq!(
        (&check["effective"], check.get("substitution")),
        (&Value::from("3:50:8"), None)
    );
    let check = checked(&["--release", "8.7"]);
    assert!(
        check["server"].as_str().unwrap().contains("OpenSSH_9.2"),
        "{check}"
    );
    assert_eq!(check["substitution"]["asked"], "8.7");
    nothing_is_left(folder.path());
}
