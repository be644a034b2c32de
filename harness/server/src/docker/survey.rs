//! An image that the user gave: what it holds of what a server under test needs.
//!
//! Owns the look into it, in a container made for that, and the one message that says all that is missing. It must not start
//! sshd.

use std::collections::BTreeSet;
use std::time::Instant;

use testcontainers::ImageExt;
use testcontainers::runners::AsyncRunner;

use super::container::{Container, LOOK_AGAIN};
use super::engine::{ANSWER, Engine, Removal, failed};
use super::image::{self, scratch_labels};
use super::start::{image_of, plain_shell};
use super::{Account, Layout, Server};
use crate::owner::Owner;
use crate::readable::readable;
use crate::{ServerError, ServerRequest, io_error, key_error, too_old};
use sshchurn_core::manifest::PackageRecord;
use sshchurn_core::release::{Release, release_word};
use sshchurn_core::release_changes;
use sshchurn_core::scenario::{PackageName, SlowAuthShape};
use sshchurn_engine::ssh::keys::KeyPair;

/// Where the container writes what it found.
const FOUND: &str = "/sshchurn-survey";
/// A host key that sshd is shown there.
const HOST_KEY: &str = "/sshchurn-key";
/// What `inside`, `spool` and the commands of the jobs call besides the shell's own words. All of it is in coreutils and in
/// busybox.
const TOOLS: [&str; 14] = [
    "cat", "chmod", "chown", "head", "ls", "mkdir", "mv", "rm", "sleep", "stat", "tail", "true",
    "uname", "wc",
];
/// The user that sshd drops its privileges to (`SSH_PRIVSEP_USER`) is named in this complaint of its own.
const NO_PRIVSEP_USER: &str = "Privilege separation user ";
/// Users of people and of programs that log in, by the convention of every distribution (login.defs: `UID_MIN`, `UID_MAX`).
const ORDINARY: std::ops::Range<u32> = 1000..60_000;

/// Prints one finding to a line, the word first. Its arguments: the login shell of the scenario or nothing, the programs that
/// are needed, and the packages of the scenario.
const SURVEY: &str = "
exec > /sshchurn-survey 2>/dev/null
shell=$1 tools=$2 packages=$3
if [ -n \"$shell\" ] && ! { [ -f \"$shell\" ] && [ -x \"$shell\" ]; }; then echo \"no_shell $shell\"; fi
for tool in $tools; do command -v \"$tool\" >/dev/null || echo \"no_tool $tool\"; done
command -v setsid >/dev/null || command -v nohup >/dev/null || echo 'no_tool setsid or nohup'
sleep 0.01 || echo 'no_tool sleep that takes fractions of a second'
command -v bash >/dev/null && echo bash
if command -v dpkg-query >/dev/null; then
    for package in $packages; do
        found=$(dpkg-query --show --showformat='${db:Status-Status} ${Version}' \"$package\")
        case $found in 'installed '*) echo \"package $package ${found#* }\" ;; esac
    done
else
    for package in $packages; do command -v \"$package\" >/dev/null && echo \"package $package\"; done
fi
while IFS= read -r line || [ -n \"$line\" ]; do printf 'account %s\\n' \"$line\"; done < /etc/passwd
for sshd in \"$(command -v sshd)\" /usr/sbin/sshd /sbin/sshd /usr/local/sbin/sshd /usr/bin/sshd /usr/local/bin/sshd \\
    /opt/sbin/sshd /opt/*/sbin/sshd /opt/*/bin/sshd; do
    case $sshd in /*) [ -f \"$sshd\" ] && [ -x \"$sshd\" ] && break ;; esac
    sshd=
done
if [ -n \"$sshd\" ]; then
    echo \"sshd $sshd\"
    \"$sshd\" -V 2>&1 </dev/null | while IFS= read -r line; do printf 'version %s\\n' \"$line\"; done
    # Without a host key it gets no further than that.
    chown 0:0 /sshchurn-key && chmod 600 /sshchurn-key
    \"$sshd\" -t -f /dev/null -h /sshchurn-key 2>&1 | while IFS= read -r line; do printf 'complaint %s\\n' \"$line\"; done
    \"$sshd\" -G -f /dev/null | while read -r keyword value; do
        case $keyword in [Ss]shd[Ss]ession[Pp]ath | [Ss]shd[Aa]uth[Pp]ath) [ -x \"$value\" ] || echo \"no_helper $value\" ;; esac
    done
fi
echo done
";

/// What the survey found. What the image's programs chose to print is made readable.
#[derive(Debug, Default, PartialEq)]
struct Findings {
    sshd: Option<String>,
    version: String,
    complaints: Vec<String>,
    /// Programs that sshd executes for each connection and that are not there (9.8 and later).
    no_helpers: Vec<String>,
    no_tools: Vec<String>,
    no_shell: Option<String>,
    bash: bool,
    packages: Vec<PackageRecord>,
    accounts: Vec<Entry>,
    /// The survey came to its end.
    done: bool,
}

/// An account of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    account: Account,
    shell: String,
}

impl Entry {
    /// `name:password:uid:gid:comment:home:shell`, passwd(5).
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, _, shell] = fields[..] else {
            return None;
        };
        Some(Entry {
            account: Account {
                name: name.to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
            },
            shell: shell.to_owned(),
        })
    }

    /// Whether somebody may log in with it who is not root: what is cleared away between rounds is every process of theirs.
    fn can_log_in(&self) -> bool {
        self.account.uid != 0
            && !["nologin", "false"]
                .iter()
                .any(|no| self.shell.ends_with(no))
    }
}

impl Findings {
    fn parse(text: &str) -> Self {
        let mut findings = Findings::default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.trim_end_matches('\r');
            match word {
                "sshd" => findings.sshd = Some(rest.to_owned()),
                "version" => {
                    findings.version.push_str(&readable(rest));
                    findings.version.push('\n');
                }
                "complaint" => findings.complaints.push(readable(rest)),
                "no_helper" => findings.no_helpers.push(readable(rest)),
                "no_tool" => findings.no_tools.push(rest.to_owned()),
                "no_shell" => findings.no_shell = Some(rest.to_owned()),
                "bash" => findings.bash = true,
                "package" => {
                    let (name, version) = rest.split_once(' ').unzip();
                    findings.packages.push(PackageRecord {
                        name: name.unwrap_or(rest).to_owned(),
                        version: version.map(str::to_owned),
                    });
                }
                "account" => findings.accounts.extend(Entry::parse(rest)),
                "done" => findings.done = true,
                _ => {}
            }
        }
        findings
    }

    /// Who the jobs log in as: the image's own user, else `runner`, else the first ordinary one, else one that is made.
    fn account(&self, user_of_image: &str) -> Account {
        let own = user_of_image.split(':').next().unwrap_or_default();
        let able = || self.accounts.iter().filter(|entry| entry.can_log_in());
        let is_own = |entry: &&Entry| {
            !own.is_empty() && (entry.account.name == own || entry.account.uid.to_string() == own)
        };
        let ours = Account::default();
        able()
            .find(is_own)
            .or_else(|| able().find(|entry| entry.account.name == ours.name))
            .or_else(|| able().find(|entry| ORDINARY.contains(&entry.account.uid)))
            .map_or_else(|| self.new_account(ours), |entry| entry.account.clone())
    }

    /// An account that the image does not have yet, neither its name nor its number.
    fn new_account(&self, ours: Account) -> Account {
        let taken: BTreeSet<u32> = self
            .accounts
            .iter()
            .map(|entry| entry.account.uid)
            .collect();
        let uid = ORDINARY
            .clone()
            .find(|uid| !taken.contains(uid))
            .unwrap_or(ours.uid);
        let there = |name: &str| self.accounts.iter().any(|entry| entry.account.name == name);
        let name = match there(&ours.name) {
            true => String::from("sshchurn"),
            false => ours.name,
        };
        Account {
            name,
            uid,
            gid: uid,
        }
    }

    /// The server in the image, or everything that keeps it from being one.
    fn server(
        &self,
        request: &ServerRequest,
        user_of_image: &str,
    ) -> Result<(Layout, Release, String), Vec<String>> {
        let mut lacks = Vec::new();
        let release =
            release_word(&self.version).and_then(|word| Some((Release::find(word)?, word)));
        match (&self.sshd, release) {
            (None, _) => lacks.push(String::from(
                "no sshd in its PATH, in /usr/sbin, /usr/local/sbin or under /opt (install openssh-server)",
            )),
            // Whatever another program prints, its usage perhaps: one line of it says what it is.
            (Some(sshd), None) => lacks.push(format!(
                "{} is not OpenSSH: `sshd -V` says `{}`",
                readable(sshd),
                self.version.lines().next().unwrap_or_default()
            )),
            (Some(_), Some((release, word))) if release < release_changes::KNOWN.0 => lacks.push(format!(
                "{word} is older than {}, the first whose log is known",
                release_changes::KNOWN.0
            )),
            (Some(_), Some(_)) => {}
        }
        for complaint in &self.complaints {
            if let Some((user, _)) = complaint
                .strip_prefix(NO_PRIVSEP_USER)
                .and_then(|rest| rest.split_once(' '))
            {
                lacks.push(format!(
                    "no user `{user}`, which sshd gives its privileges up to (`useradd --system {user}`)"
                ));
            }
        }
        for helper in &self.no_helpers {
            lacks.push(format!(
                "no {helper}, which sshd executes for each connection (install all of openssh-server)"
            ));
        }
        if !self.no_tools.is_empty() {
            lacks.push(format!(
                "no {} (install coreutils, or busybox with its links; awk and setsid are in packages of their own)",
                self.no_tools.join(", ")
            ));
        }
        if let Some(shell) = &self.no_shell {
            lacks.push(format!(
                "no login shell {shell} (`sshd.login_shell`; install it)"
            ));
        }
        let there = |name: &PackageName| {
            self.packages
                .iter()
                .any(|package| package.name == name.as_str())
        };
        let missing: Vec<&str> = request
            .sshd
            .packages
            .iter()
            .filter(|name| !there(name))
            .map(PackageName::as_str)
            .collect();
        if !missing.is_empty() {
            lacks.push(format!(
                "no {} (`sshd.packages`; nothing is installed in an image of yours)",
                missing.join(", ")
            ));
        }
        match (&self.sshd, release) {
            (Some(sshd), Some((release, word))) if lacks.is_empty() => Ok((
                Layout {
                    sshd: sshd.clone(),
                    account: self.account(user_of_image),
                    bash: self.bash,
                },
                release,
                word.to_owned(),
            )),
            _ => Err(lacks),
        }
    }
}

/// Looks into the image that the user gave, by its name, digest or id. One that is not here is not fetched.
///
/// # Errors
/// [`ServerError::Unavailable`] with everything that is missing in it, or where the image itself is; or that its release is not
/// the one asked for.
pub(super) async fn server(
    engine: &Engine,
    reference: &str,
    request: &ServerRequest,
    asked: Option<Release>,
) -> Result<Server, ServerError> {
    let Some(given) = image::inspect(engine, reference).await? else {
        return Err(ServerError::Unavailable {
            what: format!("there is no image `{reference}` on this machine"),
            fix: format!(
                "`docker pull {reference}`, or build it; `--image` fetches nothing by itself"
            ),
        });
    };
    let id = given.id.unwrap_or_default();
    let user = given
        .config
        .and_then(|config| config.user)
        .unwrap_or_default();
    let findings = look(engine, reference, &id, request).await?;
    let (layout, release, release_text) =
        findings
            .server(request, &user)
            .map_err(|lacks| ServerError::Unavailable {
                what: format!(
                    "image {reference} cannot be the server under test: {}",
                    lacks.join("; ")
                ),
                fix: String::from("add that to the image, or leave `--image` away"),
            })?;
    if let Some(asked) = asked.filter(|asked| *asked != release) {
        return Err(ServerError::Unavailable {
            what: format!(
                "image {reference} has {release_text}, and OpenSSH {asked} is asked for (`--release`)"
            ),
            fix: String::from("leave one of the two away"),
        });
    }
    if let Some(least) = request.sshd.min_release.filter(|least| release < *least) {
        return Err(too_old(
            &format!("{release_text} in image {reference}"),
            least,
            "give another image",
        ));
    }
    Ok(Server {
        name: reference.to_owned(),
        id,
        release,
        release_text,
        packages: (!request.sshd.packages.is_empty()).then_some(findings.packages),
        layout,
        substitution: None,
    })
}

async fn look(
    engine: &Engine,
    reference: &str,
    id: &str,
    request: &ServerRequest,
) -> Result<Findings, ServerError> {
    let owner = Owner::this_process().map_err(io_error("read /proc"))?;
    let name = format!("sshchurn-survey-{}", std::process::id());
    let key = KeyPair::generate().map_err(key_error)?;
    let mut tools = TOOLS.to_vec();
    if request
        .sshd
        .slow_auth
        .is_some_and(|slow| slow.shape == SlowAuthShape::Exponential)
    {
        tools.push("awk");
    }
    let packages: Vec<&str> = request
        .sshd
        .packages
        .iter()
        .map(PackageName::as_str)
        .collect();
    let shell = request.sshd.login_shell.as_ref();
    let arguments = [
        shell.map_or_else(String::new, ToString::to_string),
        tools.join(" "),
        packages.join(" "),
    ];
    let asked = plain_shell(image_of(image::by_id(reference, id)), SURVEY, arguments)
        .with_copy_to(HOST_KEY, key.private_pem().map_err(key_error)?.into_bytes())
        .with_container_name(&name)
        .with_labels(scratch_labels(&owner))
        .with_network("none")
        .with_startup_timeout(ANSWER);
    let unfit = |why: String| ServerError::Unavailable {
        what: format!(
            "image {reference} cannot be the server under test: /bin/sh does not run in it ({why})"
        ),
        fix: String::from(
            "add a shell to the image, check that it is for this machine's processor, or leave `--image` away",
        ),
    };
    let removal = Removal::of(name);
    let running = match asked.start().await {
        Ok(running) => running,
        // What the runtime says of a program that it cannot start.
        Err(error) if error.to_string().contains("/bin/sh") => {
            return Err(unfit(error.to_string()));
        }
        Err(error) => return Err(failed("start a container of the image", error)),
    };
    removal.done();
    let container = Container::new(running, engine);
    let findings = ended(engine, &container).await;
    container.remove().await?;
    match findings? {
        findings if findings.done => Ok(findings),
        _ => Err(unfit(String::from("it ended before it had looked around"))),
    }
}

/// What a container of the survey found when it has ended.
async fn ended(engine: &Engine, container: &Container) -> Result<Findings, ServerError> {
    let deadline = Instant::now() + ANSWER;
    while container.pid().await?.is_some() {
        if Instant::now() >= deadline {
            return Err(failed(
                "look into the image",
                format!("not done within {} s", ANSWER.as_secs()),
            ));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    // A shell that does not get as far as its first line leaves no file; an engine that fails is another matter.
    let found = engine
        .file(container.id(), FOUND)
        .await?
        .unwrap_or_default();
    Ok(Findings::parse(&String::from_utf8_lossy(&found)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ListenOn;
    use sshchurn_core::scenario::{MaxStartups, SshdConfig};
    use std::time::Duration;

    fn request() -> ServerRequest {
        ServerRequest {
            sshd: SshdConfig::of(MaxStartups::new(10, 30, 100).expect("valid")),
            run_id: String::from("test"),
            ready_within: Duration::ZERO,
            listen: ListenOn::OneAddress,
            task_keys: [].into(),
            cores: None,
        }
    }

    const GOOD: &str = "bash\naccount root:x:0:0:root:/root:/bin/bash\n\
        account nobody:x:65534:65534::/:/usr/sbin/nologin\naccount deploy:x:1001:1002::/home/deploy:/bin/bash\n\
        sshd /opt/openssh/sbin/sshd\nversion unknown option -- V\r\nversion OpenSSH_8.4p1, OpenSSL 1.1.1w\r\n\
        complaint sshd: no hostkeys available -- exiting.\r\ndone\n";

    #[test]
    fn server_is_found_with_its_release_its_place_and_an_account() {
        let findings = Findings::parse(GOOD);
        let (layout, release, text) = findings.server(&request(), "").expect("a server");
        assert_eq!((release, &*text), (Release::new(8, 4), "OpenSSH_8.4p1"));
        assert_eq!(layout.sshd, "/opt/openssh/sbin/sshd");
        let Account { name, uid, gid } = &layout.account;
        assert_eq!((&**name, *uid, *gid), ("deploy", 1001, 1002));
        assert!(layout.bash && findings.done);
    }

    #[test]
    fn everything_that_is_missing_is_said_at_once() {
        let mut request = request();
        request.sshd.packages = ["git", "rsync"]
            .iter()
            .map(|name| name.parse().expect("a name"))
            .collect();
        let text = "no_tool setsid\nno_tool wc\nno_shell /bin/zsh\npackage git 1:2.39\nsshd /usr/sbin/sshd\n\
            version OpenSSH_10.0p2 Debian-7\ncomplaint Privilege separation user sshd does not exist\n\
            no_helper /usr/lib/openssh/sshd-auth\ndone\n";
        let lacks = Findings::parse(text)
            .server(&request, "")
            .expect_err("much is missing")
            .join("; ");
        for word in [
            "setsid, wc",
            "/bin/zsh",
            "no rsync",
            "user `sshd`",
            "sshd-auth",
        ] {
            assert!(lacks.contains(word), "{word} in {lacks}");
        }
        assert!(!lacks.contains("git"), "{lacks}");
    }

    #[test]
    fn what_is_no_openssh_or_too_old_is_no_server() {
        for (text, word) in [
            ("done\n", "no sshd"),
            (
                "sshd /usr/sbin/sshd\nversion Dropbear v2022.83\ndone\n",
                "Dropbear",
            ),
            // Neither its escapes nor its other lines.
            (
                "sshd /opt/\u{1b}[2J/sbin/sshd\nversion x\u{1b}]0;y\u{7}\r\nversion usage: x\ndone\n",
                "/opt/\\u{1b}[2J/sbin/sshd is not OpenSSH: `sshd -V` says `x\\u{1b}]0;y\\u{7}`",
            ),
            (
                "sshd /usr/sbin/sshd\nversion OpenSSH_6.6p1\ndone\n",
                "OpenSSH_6.6p1 is older",
            ),
        ] {
            let lacks = Findings::parse(text)
                .server(&request(), "")
                .expect_err("no server");
            assert!(lacks.join("; ").contains(word), "{lacks:?}");
        }
    }

    #[test]
    fn account_is_the_images_own_then_runner_then_an_ordinary_one_then_a_new_one_and_never_root() {
        let accounts = |lines: &[&str]| {
            let text: Vec<String> = lines.iter().map(|line| format!("account {line}")).collect();
            Findings::parse(&text.join("\n"))
        };
        let many = accounts(&[
            "root:x:0:0::/root:/bin/sh",
            "web:x:33:33::/var/www:/bin/sh",
            "nobody:x:65534:65534::/:/bin/sh",
            "app:x:1000:1000::/app:/sbin/nologin",
            "deploy:x:1001:1001::/:",
            "runner:x:2000:2000::/home/runner:/bin/bash",
        ]);
        for (user, name) in [
            ("", "runner"),
            ("root", "runner"),
            ("0:0", "runner"),
            ("app", "runner"),
            ("web", "web"),
            ("33:33", "web"),
            ("deploy:staff", "deploy"),
        ] {
            assert_eq!(many.account(user).name, name, "{user:?}");
        }
        let ordinary = accounts(&["web:x:33:33::/:/bin/sh", "deploy:x:1001:1001::/:/bin/sh"]);
        assert_eq!(ordinary.account("").name, "deploy");
        let none = accounts(&["root:x:0:0::/:/bin/sh", "app:x:1000:1000::/:/bin/false"]);
        let made = none.account("");
        assert_eq!((&*made.name, made.uid), ("runner", 1001));
        let taken = accounts(&["runner:x:5:5::/:/bin/false"]);
        assert_eq!(taken.account("").name, "sshchurn");
    }
}
