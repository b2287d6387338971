//! Socket addresses.

use std::net::{SocketAddr, ToSocketAddrs};

/// Parses an IP address or a host name with a port.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    if text.parse::<u16>().is_ok() {
        return Err(format!("it has no host; write 127.0.0.1:{text}"));
    }
    let addresses = text
        .to_socket_addrs()
        .map_err(|_| match text.contains(':') {
            true => "its host is not known, or its port is no number; write a host and a port"
                .to_owned(),
            false => format!("it has no port; write {text}:PORT, where port 0 takes any free one"),
        })?;
    // Of both, most tests mean the IPv4 address of localhost.
    let mut addresses: Vec<_> = addresses.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
        .first()
        .copied()
        .ok_or_else(|| "the host has no address".to_owned())
}
