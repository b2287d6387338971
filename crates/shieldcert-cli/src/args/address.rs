//! Socket addresses.

use std::net::{SocketAddr, ToSocketAddrs};

fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Parses an IP address or a host name with a port.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = port(text).map_or(8787, |port| port);
        return Err(format!("it has no host; write 127.0.0.1:{port}"));
    }
    let (host, own_port) = match text.rsplit_once(':') {
        // The last group of an IPv6 address is no port.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        Some(_) => {
            return Err("an IPv6 address is written in brackets, such as [::1]:8787".to_owned());
        }
        None => {
            return Err(format!(
                "it has no port; write {text}:PORT, where port 0 takes any free one"
            ));
        }
    };
    if port(own_port).is_none() {
        return Err(format!(
            "{own_port:?} is no port; write a number from 0, which takes any free one, to {}, such as {host}:8787",
            u16::MAX
        ));
    }
    let addresses = text
        .to_socket_addrs()
        .map_err(|_| "its host is not known; write a name or an IP address of this machine, such as 127.0.0.1")?;
    // Of both, most tests mean the IPv4 address of localhost.
    let mut addresses: Vec<_> = addresses.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
        .first()
        .copied()
        .ok_or_else(|| "the host has no address".to_owned())
}
