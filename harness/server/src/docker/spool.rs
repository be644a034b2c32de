//! A container's log, copied into a file of this machine while it grows: for engines whose containers cannot write into a
//! folder of this machine.
//!
//! Owns the command that does it (`tail -F`) and the proof that the copy is complete. sshd knows nothing of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::container::Inside;
use super::engine::ANSWER;
use crate::log_follower::{LogLost, length};
use crate::{ServerError, io_error};

/// Between two looks at the copy.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A log that is being copied; the copying ends with this or with the container.
#[derive(Debug)]
pub(crate) struct LogSpool {
    inside: Inside,
    /// Of the log in the container.
    original: String,
    copy: PathBuf,
    copying: Mutex<Copying>,
}

/// A task that is ended when dropped.
#[derive(Debug)]
struct Copying(JoinHandle<()>);

impl Drop for Copying {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl LogSpool {
    /// Begins at the log's beginning, with an empty copy.
    pub(super) async fn start(
        inside: Inside,
        original: &str,
        copy: PathBuf,
    ) -> Result<Self, ServerError> {
        let copying = copy_from_the_beginning(&inside, original, &copy).await?;
        Ok(LogSpool {
            inside,
            original: original.to_owned(),
            copy,
            copying: Mutex::new(copying),
        })
    }

    /// Resolves when all that is in the log now is in the copy. A log that was emptied is copied anew, and its reader sees
    /// that the copy does not go on.
    ///
    /// # Errors
    /// [`LogLost::Ended`] when the container does not answer.
    pub(crate) async fn delivered(&self) -> Result<(), LogLost> {
        let ended = |error: ServerError| {
            tracing::warn!(%error, "the container's log cannot be looked at");
            LogLost::Ended
        };
        let mut copying = self.copying.lock().await;
        let had = self.copied()?;
        let size = ["stat", "-c", "%s", &self.original];
        let written = self.inside.exec_ok(&size).await.map_err(ended)?;
        let written: u64 = written.text().trim().parse().map_err(|_| LogLost::Ended)?;
        if had > written {
            *copying = copy_from_the_beginning(&self.inside, &self.original, &self.copy)
                .await
                .map_err(ended)?;
        }
        let arrived = async {
            while self.copied()? < written {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Ok(())
        };
        tokio::time::timeout(ANSWER, arrived)
            .await
            .unwrap_or(Err(LogLost::Ended))
    }

    fn copied(&self) -> Result<u64, LogLost> {
        length(&self.copy).map_err(|_| LogLost::Ended)
    }
}

async fn copy_from_the_beginning(
    inside: &Inside,
    original: &str,
    copy: &Path,
) -> Result<Copying, ServerError> {
    let mut file = tokio::fs::File::create(copy)
        .await
        .map_err(io_error("copy the container's log"))?;
    let command = ["tail", "-c", "+1", "-F", original];
    let mut tail = inside.begin(&command).await?;
    Ok(Copying(tokio::spawn(async move {
        let mut printed = tail.stdout();
        let copying = async {
            loop {
                let piece = printed.fill_buf().await?;
                if piece.is_empty() {
                    return Ok::<(), std::io::Error>(());
                }
                let count = piece.len();
                file.write_all(piece).await?;
                // Written is what others can read.
                file.flush().await?;
                printed.consume(count);
            }
        };
        if let Err(error) = copying.await {
            tracing::warn!(%error, "the container's log is not copied any further");
        }
    })))
}
