//! `sshchurn probe`: a server's address in, its `MaxStartups` out.

use super::args::ProbeArgs;
use super::console::Console;
use super::error::CliError;
use super::server_choice;
use super::signals;
use crate::session::{ProbeAccount, ProbeOrder};
use sshchurn_core::exit_code::ExitCode;

/// `sshchurn probe`.
pub(super) async fn command(args: ProbeArgs, console: Console) -> Result<ExitCode, CliError> {
    let host_key = server_choice::host_key(args.host_key.as_deref(), args.server)?;
    if let Some(source) = args.other_source
        && source.is_ipv4() != args.server.is_ipv4()
    {
        return Err(CliError::Usage(format!(
            "--other-source {source}: the server's address is of another kind"
        )));
    }
    let order = ProbeOrder {
        address: args.server,
        consent: args.consent,
        account: args.user.zip(args.key).map(|(user, key)| ProbeAccount {
            user,
            key,
            host_key,
        }),
        other_source: args.other_source,
        max_connections: args.max_connections,
        max_held: args.max_held,
        within: args.within,
    };
    let interrupts = signals::interrupts(&console)?;
    let Some(report) = order.run(&interrupts, &console).await? else {
        return Ok(ExitCode::Interrupted);
    };
    console.show(&report, args.format, args.file.out.as_deref())?;
    Ok(report.exit)
}
