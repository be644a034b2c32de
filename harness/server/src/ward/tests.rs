//! Wards among things that are not theirs: other people's files, links and processes in the same folder.
//!
//! No test sleeps: each waits for a condition.

use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use nix::sys::stat::Mode;
use nix::unistd::{Uid, chown, mkfifo};

use super::processes::{JOBS, end_ward};
use super::stale::{Judgement, judge};
use super::*;

/// Deadline of every wait: far beyond what a loaded machine needs.
const SOON: Duration = Duration::from_secs(60);

fn parent() -> TempDir {
    tempfile::tempdir().expect("temporary folder")
}

/// The line of an owner that is no more: a child that was reaped.
fn dead_owner() -> String {
    let mut child = Command::new("sleep")
        .arg("600")
        .spawn()
        .expect("sleep starts");
    let owner = Owner::of(child.id()).expect("it runs").to_string();
    child.kill().expect("killed");
    child.wait().expect("reaped");
    owner
}

/// The line of an owner under another boot.
fn owner_of_another_boot() -> String {
    let owner = Owner::this_process().expect("/proc is there").to_string();
    let fields: Vec<&str> = owner.split(':').collect();
    format!("{}:{}:another-boot:{}", fields[0], fields[1], fields[3])
}

/// A private folder as a killed run leaves it.
fn left_behind(parent: &Path, owner: &str) -> PathBuf {
    let folder = parent.join(format!("{}left", Kind::Local.prefix()));
    fs::create_dir_all(folder.join(JOBS)).expect("created");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("set");
    fs::write(folder.join(OWNER), owner).expect("written");
    folder
}

/// A process that is ended with the test, whatever becomes of it.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        let program = command.get_program().to_owned();
        let child = command
            // Open as long as the test: a shell that reads from it waits.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        // spawn() may return while the kernel still sets up the new program: only when its arguments can be read is its
        // environment there too.
        let arguments = format!("/proc/{}/cmdline", child.id());
        let begun = std::time::Instant::now();
        while fs::read(&arguments)
            .is_ok_and(|line| !line.starts_with(program.as_os_str().as_encoded_bytes()))
        {
            assert!(begun.elapsed() < SOON, "{program:?} does not start");
            std::thread::yield_now();
        }
        Process(child)
    }

    fn sleeping(configure: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = Command::new("sleep");
        Self::start(configure(command.arg("600")))
    }

    #[track_caller]
    fn is_alive(&mut self) {
        let ended = self.0.try_wait().expect("asked");
        assert_eq!(ended, None, "it is not ours to kill");
        // Nor may it have been stopped.
        let stat = procfs::process::Process::new(i32::try_from(self.0.id()).expect("an id"))
            .and_then(|process| process.stat())
            .expect("it is there");
        assert_ne!(stat.state, 'T');
    }

    #[track_caller]
    fn was_killed(mut self) {
        use std::os::unix::process::ExitStatusExt;
        let status = self.0.wait().expect("reaped");
        assert_eq!(status.signal(), Some(nix::libc::SIGKILL));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// [`remove_stale`], which must never wait: on a thread of its own, so that a hang is a failed test.
#[track_caller]
fn clear(parent: &Path) -> Vec<String> {
    let (sender, told) = mpsc::channel();
    let parent = parent.to_owned();
    std::thread::spawn(move || {
        let _ = sender.send(remove_stale(&parent));
    });
    told.recv_timeout(SOON).expect("it hangs")
}

#[test]
fn folder_is_open_to_its_owner_only_and_goes_away_when_dropped() {
    let parent = parent();
    let ward = Ward::create(parent.path(), Kind::Embedded).expect("created");
    let path = ward.path().to_owned();
    assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o700);
    assert_eq!(
        fs::metadata(path.join(OWNER)).expect("there").mode() & 0o777,
        0o600
    );
    drop(ward);
    assert!(!path.exists());
}

#[test]
fn folder_of_a_dead_owner_is_removed_and_its_marked_job_ended() {
    let parent = parent();
    let folder = left_behind(parent.path(), &dead_owner());
    let job = Process::sleeping(|command| command.env(MARK, &folder));
    let told = clear(parent.path());
    assert!(
        matches!(&told[..], [line] if line.starts_with("removed ")),
        "{told:?}"
    );
    assert!(!folder.exists());
    job.was_killed();
}

#[test]
fn folder_of_a_living_owner_and_a_locked_one_stay() {
    let parent = parent();
    let living = Ward::create(parent.path(), Kind::Embedded).expect("created");
    let locked = left_behind(parent.path(), &dead_owner());
    let lock = File::open(locked.join(OWNER)).expect("there");
    lock.lock().expect("free");
    assert_eq!(clear(parent.path()), Vec::<String>::new());
    assert!(living.path().exists());
    assert!(locked.exists());
}

#[test]
fn fifos_and_links_in_the_place_of_an_owner_file_are_never_waited_for_nor_read() {
    let parent = parent();
    let fifo_in = |name: &str| {
        let folder = parent.path().join(name);
        fs::create_dir(&folder).expect("created");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("set");
        mkfifo(&folder.join(OWNER), Mode::S_IRWXU).expect("made");
        folder
    };
    let link_in = |name: &str, to: &Path| {
        let folder = parent.path().join(name);
        fs::create_dir(&folder).expect("created");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("set");
        symlink(to, folder.join(OWNER)).expect("linked");
        folder
    };
    // A link to a file that would be believed shows that it is the link that is refused.
    let elsewhere = parent.path().join("elsewhere");
    fs::write(&elsewhere, dead_owner()).expect("written");
    let folders = [
        fifo_in("x"),
        fifo_in("sshchurn-local-x"),
        fifo_in("sshchurn-embedded-x"),
        link_in("sshchurn-local-zero", Path::new("/dev/zero")),
        link_in("sshchurn-local-link", &elsewhere),
    ];
    assert_eq!(clear(parent.path()), Vec::<String>::new());
    for folder in folders {
        assert!(folder.exists(), "{}", folder.display());
    }
}

#[test]
fn endless_owner_file_and_endless_pid_file_are_read_a_little_only() {
    let parent = parent();
    let folder = left_behind(parent.path(), "");
    let sparse = |path: &Path| {
        fs::create_dir_all(path.parent().expect("a folder")).expect("created");
        let file = File::create(path).expect("created");
        file.set_len(1 << 40).expect("sparse");
    };
    sparse(&folder.join(OWNER));
    sparse(&folder.join(JOBS).join("job").join("pid"));
    assert_eq!(clear(parent.path()), Vec::<String>::new());
    assert_eq!(processes::pid_file(&folder.join(JOBS).join("job")), None);
    let text = read_small(&folder.join(OWNER)).expect("zeros are text");
    assert_eq!(text.len(), 64 * 1024);
}

#[test]
fn link_to_a_folder_that_would_be_removed_is_not_followed() {
    let (parent, elsewhere) = (parent(), parent());
    let folder = left_behind(elsewhere.path(), &dead_owner());
    let link = parent.path().join("sshchurn-local-link");
    symlink(&folder, &link).expect("linked");
    assert_eq!(clear(parent.path()), Vec::<String>::new());
    assert!(folder.exists() && link.exists());
}

#[test]
fn folder_of_another_name_and_one_that_others_may_write_to_are_left_alone() {
    let parent = parent();
    let open = left_behind(parent.path(), &dead_owner());
    fs::set_permissions(&open, fs::Permissions::from_mode(0o770)).expect("set");
    let other = parent.path().join("somebody-elses");
    fs::create_dir(&other).expect("created");
    fs::write(other.join(OWNER), dead_owner()).expect("written");
    assert_eq!(clear(parent.path()), Vec::<String>::new());
    assert!(open.exists() && other.exists());
}

#[test]
fn folder_and_owner_file_of_another_user_are_left_alone() {
    if !Uid::effective().is_root() {
        let _ = writeln!(
            io::stderr(),
            "SKIPPED: only root can make files of other users"
        );
        return;
    }
    let parent = parent();
    let somebody = Some(Uid::from_raw(65_533));
    let folder = left_behind(parent.path(), &dead_owner());
    chown(&folder, somebody, None).expect("root may");
    assert_eq!(clear(parent.path()), Vec::<String>::new());
    assert!(folder.exists());
    chown(&folder, Some(Uid::effective()), None).expect("root may");
    chown(&folder.join(OWNER), somebody, None).expect("root may");
    assert_eq!(clear(parent.path()), Vec::<String>::new());
    assert!(folder.exists());
    chown(&folder.join(OWNER), Some(Uid::effective()), None).expect("root may");
    assert_eq!(clear(parent.path()).len(), 1);
    assert!(!folder.exists());
}

#[test]
fn process_of_another_user_is_not_killed_for_a_mark() {
    use std::os::unix::process::CommandExt;
    if !Uid::effective().is_root() {
        let _ = writeln!(
            io::stderr(),
            "SKIPPED: only root can start processes of other users"
        );
        return;
    }
    let parent = parent();
    let folder = left_behind(parent.path(), &dead_owner());
    let mut theirs = Process::sleeping(|command| command.env(MARK, &folder).uid(65_533));
    clear(parent.path());
    theirs.is_alive();
}

#[test]
fn processes_that_only_look_at_the_folder_live_on() {
    let parent = parent();
    let folder = left_behind(parent.path(), &dead_owner());
    let log = folder.join("sshd.log");
    fs::write(&log, "line\n").expect("written");
    let mut onlookers = [
        // Somebody who follows the log.
        Process::start(Command::new("tail").arg("-f").arg(&log)),
        // A shell that stands in the folder.
        Process::start(
            Command::new("sh")
                .args(["-c", "read line; true"])
                .current_dir(&folder),
        ),
        // An editor that was started with a path of the folder.
        Process::start(
            Command::new("sh")
                .args(["-c", "read line; true", "vi"])
                .arg(&log),
        ),
        // The mark of another ward, whose path begins with this one's.
        Process::sleeping(|command| command.env(MARK, format!("{}-other", folder.display()))),
    ];
    assert_eq!(clear(parent.path()).len(), 1);
    assert!(!folder.exists());
    for onlooker in &mut onlookers {
        onlooker.is_alive();
    }
}

#[test]
fn process_without_the_mark_is_ended_where_it_was_recorded_and_with_it_what_it_started() {
    let parent = parent();
    let ward = Ward::create(parent.path(), Kind::Local).expect("created");
    let mut shell = Process::start(
        Command::new("sh")
            .args(["-c", "sleep 600 & echo $! >\"$0\"; wait"])
            .arg(parent.path().join("child")),
    );
    let child = loop {
        let text = fs::read_to_string(parent.path().join("child")).unwrap_or_default();
        if let Ok(child) = text.trim().parse::<u32>() {
            break child;
        }
        shell.is_alive();
        std::thread::yield_now();
    };
    ward.record(shell.0.id()).expect("written");
    let child = Owner::of(child).expect("it runs");
    ward.remove().expect("removed");
    shell.was_killed();
    // Its new parent may not have waited for it yet.
    let gone = procfs::process::Process::new(i32::try_from(child.pid).expect("an id"))
        .and_then(|process| process.stat())
        .map_or(true, |stat| stat.state == 'Z');
    assert!(gone);
}

#[test]
fn recorded_process_whose_id_went_to_another_is_not_killed() {
    let parent = parent();
    let folder = left_behind(parent.path(), &dead_owner());
    let mut stranger = Process::sleeping(|command| command);
    let owner = Owner::of(stranger.0.id()).expect("it runs").to_string();
    let fields: Vec<&str> = owner.split(':').collect();
    let earlier = format!("{}:1:{}:{}\n", fields[0], fields[2], fields[3]);
    fs::write(folder.join(RECORDED), earlier).expect("written");
    assert_eq!(clear(parent.path()).len(), 1);
    stranger.is_alive();
}

#[test]
fn pid_file_naming_a_stranger_ends_nobody() {
    let parent = parent();
    let ward = Ward::create(parent.path(), Kind::Embedded).expect("created");
    let mut stranger = Process::sleeping(|command| command);
    let job = ward.path().join(JOBS).join("job");
    fs::create_dir_all(&job).expect("created");
    fs::write(job.join("pid"), stranger.0.id().to_string()).expect("written");
    end_ward(ward.path(), &HashSet::new()).expect("nobody to end");
    stranger.is_alive();
}

#[test]
fn job_with_an_emptied_environment_is_ended_by_its_pid_file() {
    let parent = parent();
    let ward = Ward::create(parent.path(), Kind::Embedded).expect("created");
    let job = ward.path().join(JOBS).join("job");
    fs::create_dir_all(&job).expect("created");
    let process = Process::sleeping(|command| command.env_clear().current_dir(&job));
    fs::write(job.join("pid"), format!("{}\n", process.0.id())).expect("written");
    end_ward(ward.path(), &HashSet::new()).expect("ended");
    process.was_killed();
}

#[test]
fn process_groups_that_are_spared_live_on() {
    use std::os::unix::process::CommandExt;
    let parent = parent();
    let ward = Ward::create(parent.path(), Kind::Embedded).expect("created");
    let mut spared = Process::sleeping(|command| command.env(MARK, ward.path()).process_group(0));
    let ended = Process::sleeping(|command| command.env(MARK, ward.path()).process_group(0));
    let group = i32::try_from(spared.0.id()).expect("an id");
    end_ward(ward.path(), &HashSet::from([group])).expect("ended");
    spared.is_alive();
    ended.was_killed();
}

#[test]
fn folder_of_another_boot_is_removed_only_when_it_is_older_than_this_one_on_a_file_system_of_one_machine()
 {
    let parent = parent();
    let folder = left_behind(parent.path(), &owner_of_another_boot());
    // Written just now: by another machine that shares the folder.
    let told = clear(parent.path());
    assert!(
        matches!(&told[..], [line] if line.contains("another boot")),
        "{told:?}"
    );
    assert!(folder.exists());
    let owner = File::options()
        .write(true)
        .open(folder.join(OWNER))
        .expect("there");
    owner.set_modified(SystemTime::UNIX_EPOCH).expect("set");
    let one_machine = stale::is_of_one_machine(&owner);
    clear(parent.path());
    assert_eq!(folder.exists(), !one_machine);
    // proc is of no disk.
    assert!(!stale::is_of_one_machine(
        &File::open("/proc/version").expect("there")
    ));
}

#[test]
fn owner_file_that_says_nothing_is_left_alone() {
    let parent = parent();
    let folder = left_behind(parent.path(), "nobody");
    let file = File::open(folder.join(OWNER)).expect("there");
    assert_eq!(judge(&file), Judgement::Leave);
}
