//! Looking at the listener from inside its container, for engines whose processes this machine's `/proc` does not show
//! (a virtual machine, another process namespace).
//!
//! Owns the two commands that do it. They run beside sshd and are not of its process tree.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::AsyncBufReadExt;

use super::container::Inside;

/// The listener's `stat`, its namespace's `netstat`, and the container's CPU accounting: of control groups v2, else of v1
/// in the same form.
const COUNTERS: &str = "
cat /proc/\"$1\"/stat /proc/\"$1\"/net/netstat
cat /sys/fs/cgroup/cpu.stat 2>/dev/null ||
    echo usage_nsec \"$(cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null)\"
";

/// Reads the title some 100 times a second without a process for each reading, and prints `READINGS TITLE` when it has
/// changed or every 50 readings. Its first line is its own pid.
const TITLES: &str = "
exec 9<> <(:)
echo $$
count=0
last=
while IFS= read -r -d '' title < \"/proc/$1/cmdline\"; do
    count=$((count + 1))
    if [ \"$title\" != \"$last\" ] || [ $count -ge 50 ]; then
        printf '%s %s\\n' $count \"$title\"
        count=0
        last=$title
    fi
    read -r -t 0.01 -u 9
done
";
/// How soon a stop is noticed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A way into a container.
#[derive(Debug)]
pub struct InsideContainer {
    inside: Inside,
    /// Pid of the listener inside the container.
    listener: u32,
}

impl InsideContainer {
    pub(super) fn new(inside: Inside, listener: u32) -> Self {
        InsideContainer { inside, listener }
    }

    /// The counters as text; `None` when the engine does not answer.
    pub(crate) async fn counters(&self) -> Option<String> {
        let listener = self.listener.to_string();
        let command = ["/bin/sh", "-c", COUNTERS, "counters", &listener];
        let ran = self.inside.exec_ok(&command).await.ok()?;
        Some(ran.text())
    }

    /// Hands out titles, with the number of readings each stands for, until `stopped` or the listener is gone. Returns
    /// whether it went on until it was stopped.
    pub(crate) async fn titles(
        &self,
        stopped: &AtomicBool,
        mut on_title: impl FnMut(&[u8], u64),
    ) -> bool {
        let listener = self.listener.to_string();
        let command = ["bash", "-c", TITLES, "titles", &listener];
        let Ok(mut running) = self.inside.begin(&command).await else {
            return false;
        };
        let mut output = running.stdout();
        let mut shell: Option<String> = None;
        let mut line = Vec::new();
        while !stopped.load(Relaxed) {
            // What was read of a line stays in `line` when the time is over.
            match tokio::time::timeout(LOOK_AGAIN, output.read_until(b'\n', &mut line)).await {
                Err(_) => continue,
                Ok(Ok(1..)) if line.ends_with(b"\n") => {}
                Ok(Ok(_) | Err(_)) => return false,
            }
            let said = line.trim_ascii_end();
            match said.iter().position(|byte| *byte == b' ') {
                None => shell = Some(String::from_utf8_lossy(said).into_owned()),
                Some(space) => {
                    let (count, title) = said.split_at(space);
                    let count = String::from_utf8_lossy(count).parse().unwrap_or(1);
                    on_title(title, count);
                }
            }
            line.clear();
        }
        if let Some(shell) = shell {
            // It ends with the container otherwise.
            let kill = ["/bin/sh", "-c", "kill \"$1\"", "kill", &shell];
            let _ = self.inside.exec(&kill).await;
        }
        true
    }
}
