//! Running one command for one channel: session.c:do_exec_no_pty and what follows it.
//!
//! Owns the process, its pipes and what the client is told of its end. It must not know the table of
//! sessions, nor what the command does.
//!
//! One thing is done otherwise than by sshd: sshd keeps the channel open until every holder of the pipes is
//! gone, so a detached job that forgot to redirect its output holds the channel. Here the end of the main
//! process ends the channel, after what is in the pipes by then was sent.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use bytes::{Bytes, BytesMut};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use russh::server::Handle;
use russh::{ChannelId, Sig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::gauges::CommandGroup;
use super::server::ServerConfig;

/// Bytes relayed in one piece.
const CHUNK_BYTES: usize = 8 * 1024;

/// Most bytes taken from each pipe after the main process has ended: the largest size Linux lets an ordinary
/// user give a pipe, so nothing that was written before is lost, and a job still writing cannot hold us.
const DRAIN_BYTES: usize = 1024 * 1024;

/// SSH_EXTENDED_DATA_STDERR, RFC 4254 section 5.2.
const STDERR: u32 = 1;

/// A started command that was not reaped yet.
#[derive(Debug)]
pub(super) struct CommandProcess {
    child: Child,
    group: Option<CommandGroup>,
}

/// Where the client listens.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) handle: Handle,
    pub(super) channel: ChannelId,
}

/// Starts `SHELL -c command`, the shell under its name without folders (session.c:do_child), with sshd's environment in a process group of its own, so that a Ctrl-C at
/// the harness's terminal does not reach it.
///
/// Blocks for the time of one `posix_spawn`.
pub(super) fn start(command: &[u8], config: &ServerConfig) -> io::Result<CommandProcess> {
    let child = Command::new(&config.login_shell)
        .arg0(config.login_shell.file_name().unwrap_or_default())
        .arg("-c")
        .arg(OsStr::from_bytes(command))
        .current_dir(&config.home)
        .env_clear()
        // session.c:do_setup_env, without SSH_CLIENT and SSH_CONNECTION: nothing that runs here asks for them.
        .env("USER", &config.user)
        .env("LOGNAME", &config.user)
        .env("HOME", &config.home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/games")
        .env("SHELL", &config.login_shell)
        .envs(config.environment.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .map(|id| config.gauges.command_started(id));
    Ok(CommandProcess { child, group })
}

/// A command and its two ends.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) child: CommandProcess,
    pub(super) reply: Reply,
    pub(super) input: mpsc::UnboundedReceiver<Bytes>,
    /// The client closed the channel or is gone: nothing is relayed any more.
    pub(super) client_gone: CancellationToken,
    /// The server is stopping: the command is ended.
    pub(super) shutdown: CancellationToken,
}

impl Running {
    /// Relays input and output until the command's main process has ended and was reaped.
    pub(super) async fn relay(self) -> CommandEnd {
        let Running {
            child: CommandProcess { mut child, group },
            reply,
            mut input,
            client_gone,
            shutdown,
        } = self;
        let mut stdout = Pipe::new(child.stdout.take(), None);
        let mut stderr = Pipe::new(child.stderr.take(), Some(STDERR));
        let stdin = child.stdin.take();
        // A future of its own: a command that reads nothing must not keep its output from being relayed.
        let feed = async move {
            if let Some(mut stdin) = stdin {
                while let Some(data) = input.recv().await {
                    if stdin.write_all(&data).await.is_err() {
                        break;
                    }
                }
            }
        };
        tokio::pin!(feed);
        let mut feeding = true;
        let mut killed = false;
        let status = loop {
            tokio::select! {
                () = shutdown.cancelled(), if !killed => {
                    killed = true;
                    // Not reaped yet, so the id is still this command's.
                    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
                        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
                    }
                }
                () = client_gone.cancelled(), if stdout.is_open() || stderr.is_open() => {
                    stdout.close();
                    stderr.close();
                }
                chunk = stdout.read(), if stdout.is_open() => {
                    if !stdout.relay(chunk, &reply).await {
                        client_gone.cancel();
                    }
                }
                chunk = stderr.read(), if stderr.is_open() => {
                    if !stderr.relay(chunk, &reply).await {
                        client_gone.cancel();
                    }
                }
                () = &mut feed, if feeding => feeding = false,
                status = child.wait() => break status,
            }
        };
        drop(group);
        if !client_gone.is_cancelled() {
            stdout.drain(&reply).await;
            stderr.drain(&reply).await;
        }
        CommandEnd {
            reply: (!client_gone.is_cancelled()).then_some(reply),
            status,
        }
    }
}

/// How a command ended, and whom to tell.
#[derive(Debug)]
pub(super) struct CommandEnd {
    reply: Option<Reply>,
    status: io::Result<ExitStatus>,
}

impl CommandEnd {
    /// session.c:session_exit_message, then EOF and CLOSE.
    pub(super) async fn tell(self) {
        let Some(Reply { handle, channel }) = self.reply else {
            return;
        };
        // Errors below mean that the connection is gone; there is nobody left to tell.
        if let Ok(status) = self.status {
            let told = match (status.code(), status.signal()) {
                (Some(code), _) => {
                    handle
                        .exit_status_request(channel, u32::try_from(code).unwrap_or(255))
                        .await
                }
                (None, Some(number)) => {
                    handle
                        .exit_signal_request(
                            channel,
                            signal_name(number),
                            status.core_dumped(),
                            String::new(),
                            String::new(),
                        )
                        .await
                }
                (None, None) => Ok(()),
            };
            if told.is_err() {
                return;
            }
        }
        let _ = handle.eof(channel).await;
        let _ = handle.close(channel).await;
    }
}

/// session.c:sig2name.
fn signal_name(number: i32) -> Sig {
    match Signal::try_from(number) {
        Ok(Signal::SIGABRT) => Sig::ABRT,
        Ok(Signal::SIGALRM) => Sig::ALRM,
        Ok(Signal::SIGFPE) => Sig::FPE,
        Ok(Signal::SIGHUP) => Sig::HUP,
        Ok(Signal::SIGILL) => Sig::ILL,
        Ok(Signal::SIGINT) => Sig::INT,
        Ok(Signal::SIGKILL) => Sig::KILL,
        Ok(Signal::SIGPIPE) => Sig::PIPE,
        Ok(Signal::SIGQUIT) => Sig::QUIT,
        Ok(Signal::SIGSEGV) => Sig::SEGV,
        Ok(Signal::SIGTERM) => Sig::TERM,
        Ok(Signal::SIGUSR1) => Sig::USR1,
        Ok(Signal::SIGUSR2) => Sig::Custom(String::from("USR2")),
        _ => Sig::Custom(String::from("SIG@openssh.com")),
    }
}

/// One of the command's output pipes.
struct Pipe<R> {
    reader: Option<R>,
    /// The extended data type, or `None` for plain data.
    extended: Option<u32>,
    buffer: BytesMut,
}

impl<R: AsyncRead + AsFd + Unpin> Pipe<R> {
    fn new(reader: Option<R>, extended: Option<u32>) -> Self {
        Pipe {
            reader,
            extended,
            buffer: BytesMut::new(),
        }
    }

    fn is_open(&self) -> bool {
        self.reader.is_some()
    }

    fn close(&mut self) {
        self.reader = None;
    }

    /// Waits for output; empty at the end of file. May be dropped while waiting without losing bytes.
    async fn read(&mut self) -> Bytes {
        let Some(reader) = &mut self.reader else {
            return Bytes::new();
        };
        self.buffer.reserve(CHUNK_BYTES);
        match reader.read_buf(&mut self.buffer).await {
            Ok(_) => self.buffer.split().freeze(),
            Err(_) => Bytes::new(),
        }
    }

    /// Passes on what was read; false when the client is gone.
    async fn relay(&mut self, chunk: Bytes, reply: &Reply) -> bool {
        if chunk.is_empty() {
            self.close();
            return true;
        }
        let Reply { handle, channel } = reply;
        // Waits while the client's window is full: the command then blocks on its pipe, as with sshd.
        let sent = match self.extended {
            None => handle.data(*channel, chunk).await,
            Some(kind) => handle.extended_data(*channel, kind, chunk).await,
        };
        sent.is_ok()
    }

    /// Passes on what is in the pipe at this moment, without waiting for more.
    async fn drain(&mut self, reply: &Reply) {
        let mut taken = 0;
        while taken < DRAIN_BYTES {
            let Some(reader) = &self.reader else {
                return;
            };
            // Past tokio: it may not have noticed yet that the pipe is readable. The pipe is non-blocking.
            let mut chunk = vec![0; CHUNK_BYTES];
            match nix::unistd::read(reader, &mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(read) => {
                    taken += read;
                    chunk.truncate(read);
                    if !self.relay(chunk.into(), reply).await {
                        return;
                    }
                }
            }
        }
    }
}
