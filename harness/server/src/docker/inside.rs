//! What happens inside the container: the scripts that run there, and the limits they run under.
//!
//! Owns their text and the arithmetic. It must not talk to the engine.

use sshchurn_core::scenario::SshdConfig;

/// Process 1: says that it runs, in what may be a folder of the harness's machine (`outbox`), prepares folders and account,
/// checks the configuration, runs sshd as its child, reaps what jobs leave, and ends when sshd ends. Its arguments: the limit
/// of descriptors, the container's name, the login shell of the jobs' user or nothing, sshd, and the user with its uid and
/// gid, who is made where the image does not have one. A shell that is not there leaves the file `login_shell` empty.
///
/// It may run in an image of anybody: a POSIX shell, `cat`, `mkdir`, `chown` and `chmod` are all it takes.
pub(super) const INIT: &str = "
limit=$1 name=$2 shell=$3 sshd=$4 user=$5 uid=$6 gid=$7
config=/etc/sshchurn/sshd_config
mkdir -p /var/log
echo \"$name $(cat /proc/sys/kernel/random/boot_id)\" > /var/log/init || exit 77
mkdir -p /run/sshd /run/sshchurn-seen && chmod 755 /run/sshd
chown 0:0 /etc/sshchurn /etc/sshchurn/* && chmod 755 /etc/sshchurn
chmod 600 /etc/sshchurn/host_key && chmod 644 /etc/sshchurn/authorized_keys
ulimit -n \"$limit\" 2>/dev/null
: > /var/log/sshd.log
: > /var/log/refused
: > /var/log/login_shell
if [ -n \"$shell\" ]; then
    [ -f \"$shell\" ] && [ -x \"$shell\" ] || exit 79
fi
rewrite() {
    while IFS= read -r line || [ -n \"$line\" ]; do
        case $line in \"$user\":*) \"$2\" ;; esac
        printf '%s\\n' \"$line\"
    done < \"$1\" > /run/sshchurn-rewritten && cat /run/sshchurn-rewritten > \"$1\"
}
account=
login() {
    [ -z \"$shell\" ] || line=${line%:*}:$shell
    account=$line
}
# sshd takes an account as locked when its shadow field begins with `!`.
unlock() {
    case $line in \"$user\":!*) line=${line#*:}; line=$user:*:${line#*:} ;; esac
}
rewrite /etc/passwd login
if [ -z \"$account\" ]; then
    account=$user:x:$uid:$gid::/home/$user:${shell:-/bin/sh}
    printf '\\n%s\\n' \"$account\" >> /etc/passwd
    printf '\\n%s\\n' \"$user:x:$gid:\" >> /etc/group
    printf '\\n%s\\n' \"$user:*:19000:0:99999:7:::\" >> /etc/shadow
    mkdir -p \"/home/$user\" && chown \"$uid:$gid\" \"/home/$user\"
elif [ -f /etc/shadow ]; then
    rewrite /etc/shadow unlock
fi
mkdir -p /tmp/airflow-ssh-jobs && chown \"$uid:$gid\" /tmp/airflow-ssh-jobs
login_shell=${account##*:}
echo \"${login_shell:-/bin/sh}\" > /var/log/login_shell
accepted() {
    \"$sshd\" -t -f \"$config\" > /var/log/refused 2>&1
}
if ! accepted; then
    # Which folder it wants is compiled in, and one on /run went with the mount.
    cr=$(printf '\\r')
    while IFS= read -r line; do
        case $line in 'Missing privilege separation directory: '*)
            folder=${line#*: }
            folder=${folder%\"$cr\"}
            mkdir -p \"$folder\" && chown 0:0 \"$folder\" && chmod 755 \"$folder\"
        esac
    done < /var/log/refused
    accepted || exit 78
fi
\"$sshd\" -T -f \"$config\" > /var/log/effective 2>&1
trap 'exit 0' TERM
\"$sshd\" -D -f \"$config\" -E /var/log/sshd.log &
echo $! > /var/log/listener
wait $!
";

/// Prints the pids of the children of the process that is its argument. Fails when it cannot look: that is no proof of
/// idleness.
pub(super) const CHILDREN: &str = "
for stat in /proc/[0-9]*/stat; do
    { read -r line < \"$stat\"; } 2>/dev/null || { [ ! -e \"$stat\" ] && continue; exit 1; }
    set -- \"$1\" ${line##*) }
    [ \"$3\" != \"$1\" ] || echo \"${line%% *}\"
done
";

/// Ends every process of the jobs' user and empties the folder of the job directories; its arguments are that user's uid and
/// gid. A job whose directory is gone already has no
/// pid file to be found by, so it is the user that counts: between rounds nothing of it has any business there. Only
/// sshd's own processes of that user end by themselves, so that its log says nothing of a kill. Each look may find what
/// was being forked during the one before, and what process 1 has not reaped yet.
pub(super) const CLEAR: &str = "
tries=0
while :; do
    jobs=
    for status in /proc/[0-9]*/status; do
        name= uid=
        { while read -r key first second rest; do
            case $key in Name:) name=$first ;; Uid:) uid=$second; break ;; esac
        done < \"$status\"; } 2>/dev/null
        [ \"$uid\" = \"$1\" ] || continue
        pid=${status%/status}
        case $name in sshd*) ;; *) jobs=\"$jobs ${pid#/proc/}\" ;; esac
    done
    [ -n \"$jobs\" ] || break
    if [ \"$tries\" -ge 200 ]; then
        echo \"processes of the jobs do not end:$jobs\" >&2
        exit 1
    fi
    kill -KILL $jobs 2>/dev/null
    tries=$((tries + 1))
    sleep 0.05
done
cd /tmp && rm -rf airflow-ssh-jobs && mkdir airflow-ssh-jobs && chown \"$1:$2\" airflow-ssh-jobs
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
