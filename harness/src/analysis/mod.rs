//! Numbers computed from the ledger and the server's log. Pure: no tokio, files, clocks or terminals.
