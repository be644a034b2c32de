//! What happens inside the container: the scripts that run there, and the limits they run under.
//!
//! Owns their text and the arithmetic. It must not talk to the engine.

use sshchurn_core::scenario::SshdConfig;

/// Process 1: says that it runs, in what may be a folder of the harness's machine (`outbox`), prepares the folders, checks
/// the configuration, runs sshd as its child, reaps what jobs leave, and ends when sshd ends. Its arguments: the limit of
/// descriptors, the container's name, the login shell of the jobs' user or nothing. A shell that is not there leaves the file
/// `login_shell` empty.
pub(super) const INIT: &str = "
echo \"$2 $(cat /proc/sys/kernel/random/boot_id)\" > /var/log/init || exit 77
mkdir -p /run/sshd /run/sshchurn-seen && chmod 755 /run/sshd
mkdir -p /tmp/airflow-ssh-jobs && chown runner:runner /tmp/airflow-ssh-jobs
chown root:root /etc/sshchurn/* && chmod 600 /etc/sshchurn/host_key && chmod 644 /etc/sshchurn/authorized_keys
ulimit -n \"$1\" 2>/dev/null
: > /var/log/sshd.log
: > /var/log/refused
: > /var/log/login_shell
if [ -n \"$3\" ]; then
    [ -f \"$3\" ] && [ -x \"$3\" ] || exit 79
    sed -i \"s|^\\(runner:.*:\\)[^:]*$|\\1$3|\" /etc/passwd
fi
awk -F: '$1 == \"runner\" { print $7 }' /etc/passwd > /var/log/login_shell
/usr/sbin/sshd -t -f /etc/sshchurn/sshd_config > /var/log/refused 2>&1 || exit 78
/usr/sbin/sshd -T -f /etc/sshchurn/sshd_config > /var/log/effective 2>&1
trap 'exit 0' TERM
/usr/sbin/sshd -D -f /etc/sshchurn/sshd_config -E /var/log/sshd.log &
echo $! > /var/log/listener
wait $!
";

/// Ends every process of the jobs' user and removes the job directories. A job whose directory is gone already has no
/// pid file to be found by, so it is the user that counts: between rounds nothing of it has any business there. Only
/// sshd's own processes of that user end by themselves, so that its log says nothing of a kill. Each look may find what
/// was being forked during the one before, and what process 1 has not reaped yet.
pub(super) const CLEAR: &str = "
cd /tmp/airflow-ssh-jobs || exit 1
tries=0
while :; do
    listed=$(pgrep -l -u runner)
    case $? in 0) ;; 1) break ;; *) exit 1 ;; esac
    jobs=$(printf '%s\\n' \"$listed\" | awk '$2 !~ /^sshd/ { print $1 }')
    [ -n \"$jobs\" ] || break
    if [ \"$tries\" -ge 200 ]; then
        echo \"processes of the jobs do not end:\" $listed >&2
        exit 1
    fi
    kill -KILL $jobs 2>/dev/null
    tries=$((tries + 1))
    sleep 0.05
done
find . -mindepth 1 -delete
";

/// Descriptors the listener needs besides one for each unauthenticated connection.
const SPARE_DESCRIPTORS: u32 = 1024;
/// Processes besides those of connections: jobs outlive theirs.
const SPARE_PROCESSES: u32 = 4096;
/// Processes of one unauthenticated connection: since 10.0 sshd-session and sshd-auth, before it sshd and its child.
const UNAUTHENTICATED: u32 = 2;
/// Processes of one session: shell, command and what the command forks.
const PER_SESSION: u32 = 4;
/// What the kernel takes at most (`PID_MAX_LIMIT` on 64 bit).
const KERNEL_PIDS: u32 = 4 * 1024 * 1024;
/// sshd's own default (servconf.c, `DEFAULT_SESSIONS_MAX`).
const MAX_SESSIONS: u32 = 10;

/// Limits of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Open files of each process.
    pub(super) descriptors: u32,
    /// Processes and threads in the container.
    pub(super) processes: u32,
}

impl Limits {
    /// So wide that no scenario meets them before sshd's own limits, and explicit, so that they are not the daemon's.
    pub(super) fn of(sshd: &SshdConfig) -> Self {
        let full = sshd.max_startups.full;
        let sessions = sshd
            .keyword("MaxSessions")
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(MAX_SESSIONS);
        let each = PER_SESSION
            .saturating_mul(sessions)
            .saturating_add(UNAUTHENTICATED);
        Limits {
            descriptors: full + SPARE_DESCRIPTORS,
            processes: full
                .saturating_mul(each)
                .saturating_add(SPARE_PROCESSES)
                .min(KERNEL_PIDS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(full: u32, max_sessions: Option<&str>) -> Limits {
        Limits::of(&SshdConfig {
            keywords: max_sessions
                .map(|value| ("maxsessions".to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
            ..SshdConfig::of(
                sshchurn_core::scenario::MaxStartups::new(1, 30, full).expect("sshd takes it"),
            )
        })
    }

    #[test]
    fn limits_grow_with_full_and_max_sessions() {
        assert_eq!(
            limits(100, None),
            Limits {
                descriptors: 1124,
                processes: 4096 + 100 * 42
            }
        );
        assert_eq!(limits(100, Some("1")).processes, 4096 + 100 * 6);
        assert_eq!(limits(100, Some("0")).processes, 4096 + 100 * 2);
    }

    #[test]
    fn limits_stay_within_what_the_kernel_takes() {
        assert_eq!(limits(1_000_000, Some("4294967295")).processes, 4_194_304);
        assert_eq!(limits(1_000_000, None).descriptors, 1_001_024);
    }
}
