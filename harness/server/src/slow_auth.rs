//! A look-up of keys that takes its time, as a directory service behind `AuthorizedKeysCommand` does: the connection keeps its
//! startup slot meanwhile.
//!
//! Owns the script. sshd runs it for every request with a key, so once or twice for a login (a client may ask first whether a
//! key would do); only the first of a connection waits. Its forks cost sshd's machine some milliseconds of CPU each time.

use sshchurn_core::scenario::{SlowAuth, SlowAuthShape};
use sshchurn_engine::ssh::quoted;

/// The script. `keys` is the file with the keys, `seen` a folder that the command's user may write: connections that have
/// waited are remembered there, by the process that serves them and when it began.
pub(super) fn script(slow: SlowAuth, keys: &str, seen: &str) -> String {
    let seconds = slow.mean.as_secs_f64();
    let wait = match slow.shape {
        SlowAuthShape::Fixed => format!("{seconds:.6}"),
        // awk's own draw, seeded by who asks: a run need not repeat it, and connections must differ.
        SlowAuthShape::Exponential => format!(
            "$(awk -v seed=\"$PPID${{20}}\" 'BEGIN {{ srand(seed); printf \"%.6f\", -{seconds:.6} * log(1 - rand()) }}')"
        ),
    };
    format!(
        "# Written by sshchurn for one run: the keys, after a while.\n\
         read -r stat </proc/$PPID/stat\n\
         set -- ${{stat##*) }}\n\
         if mkdir {}/$PPID-${{20}} 2>/dev/null; then sleep {wait}; fi\n\
         exec cat {}\n",
        quoted(seen),
        quoted(keys)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn keys_are_printed_and_only_the_first_look_of_a_process_is_remembered() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("it's here");
        let seen = place.join("seen");
        std::fs::create_dir_all(&seen).expect("made");
        let keys = place.join("keys");
        std::fs::write(&keys, "ssh-ed25519 AAA\n").expect("written");
        for shape in [SlowAuthShape::Fixed, SlowAuthShape::Exponential] {
            let slow = SlowAuth {
                mean: Duration::from_millis(1),
                shape,
            };
            let text = script(slow, &keys.to_string_lossy(), &seen.to_string_lossy());
            let file = place.join("script");
            std::fs::write(&file, text).expect("written");
            for _ in 0..2 {
                let output = Command::new("/bin/sh").arg(&file).output().expect("run");
                assert_eq!(
                    (&output.stdout[..], &output.stderr[..]),
                    (&b"ssh-ed25519 AAA\n"[..], &b""[..])
                );
            }
        }
        // All four have this process for a parent.
        assert_eq!(std::fs::read_dir(&seen).expect("there").count(), 1);
    }
}
