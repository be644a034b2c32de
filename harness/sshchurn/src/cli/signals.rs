//! The signals that a person or a CI system ends a process with, as a stream for the stop protocol.
//!
//! Owns the handlers: they are the process's, so no library may install them. What a signal does is the protocol's.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::console::Console;
use super::error::CliError;
use crate::session::{Interrupts, Signal};

/// Installs the handlers for a command that is one run, or several whose reports are kept however they end.
pub(super) fn interrupts(console: &Console) -> Result<Interrupts, CliError> {
    Ok(Interrupts::listen(stream()?, console.clone()))
}

/// Installs the handlers; from here on no signal ends the process before its teardown.
pub(super) fn stream() -> Result<mpsc::UnboundedReceiver<Signal>, CliError> {
    let listen = |kind| signal(kind).map_err(CliError::Signals);
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    let (sender, signals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let received = tokio::select! {
                Some(()) = interrupt.recv() => Signal::Interrupt,
                Some(()) = terminate.recv() => Signal::Terminate,
                Some(()) = hang_up.recv() => Signal::HangUp,
                else => return,
            };
            if sender.send(received).is_err() {
                return;
            }
        }
    });
    Ok(signals)
}
