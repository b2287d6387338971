//! Socket addresses.

use std::net::SocketAddr;

/// Parses an IP address with a port.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "write an IP address and a port, such as 127.0.0.1:8787".to_owned())
}
