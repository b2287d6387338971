//! Connections that fail: what a mock can't respond with.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What happens to every connection of a [`FaultServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing listens on the port.
    RefuseConnection,
    /// The request is read, and the connection is closed without a response.
    CloseConnection,
    /// The response, with status 200, ends in the middle of its body.
    TruncateBody,
}

/// A server on the loopback interface whose every connection fails. It runs until it is dropped.
///
/// # Examples
/// ```
/// use shieldcert::{Client, RetryPolicy};
/// use shieldcert_httpmock::{Fault, FaultServer};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     for fault in [Fault::RefuseConnection, Fault::CloseConnection, Fault::TruncateBody] {
///         let server = FaultServer::start(fault)?;
///         let client = Client::builder()
///             .token("test")
///             .base_url(server.url("/client/v4"))
///             .retry(RetryPolicy::never())
///             .build()?;
///         let zone = client.zone("023e105f4ecef8ad9ca31a8372d0c353".parse()?);
///         let id = "7bf7f70c-7600-42e1-81c4-e4c0da9aa515".parse()?;
///         let error = zone.get(&id).await.expect_err("the connection fails");
///         assert!(error.is_retryable(), "{fault:?}: {error}");
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct FaultServer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    is_stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The longest time that a connection may take to send its request.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

impl FaultServer {
    /// Starts a server on a free port.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start(fault: Fault) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut server = Self {
            address: listener.local_addr()?,
            connections: Arc::default(),
            is_stopped: Arc::default(),
            thread: None,
        };
        if fault == Fault::RefuseConnection {
            return Ok(server);
        }
        let (connections, is_stopped) = (server.connections.clone(), server.is_stopped.clone());
        server.thread = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                if is_stopped.load(Ordering::SeqCst) {
                    break;
                }
                connections.fetch_add(1, Ordering::SeqCst);
                // An error ends the connection, as it should.
                let _ = stream.and_then(|stream| fail(stream, fault));
            }
        }));
        Ok(server)
    }

    /// Returns the URL of a path on this server.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns how many connections the server has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.is_stopped.store(true, Ordering::SeqCst);
            // Wakes the thread up.
            let _ = TcpStream::connect(self.address);
            let _ = thread.join();
        }
    }
}

fn fail(mut stream: TcpStream, fault: Fault) -> io::Result<()> {
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    read_request(&mut stream)?;
    if fault == Fault::TruncateBody {
        stream.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"success\":true,",
        )?;
    }
    Ok(())
}

/// Reads a request to its end: closing a connection with unread data would also discard the response.
fn read_request(stream: &mut TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(server: &FaultServer) -> io::Result<String> {
        let mut stream = TcpStream::connect(server.address)?;
        stream.write_all(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody")?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        Ok(response)
    }

    #[test]
    fn each_fault_fails_its_way() {
        let server = FaultServer::start(Fault::RefuseConnection).expect("starts");
        let error = send(&server).expect_err("nothing listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(server.connections(), 0);

        let server = FaultServer::start(Fault::CloseConnection).expect("starts");
        assert_eq!(send(&server).expect("is closed"), "");
        assert_eq!(send(&server).expect("is closed again"), "");
        assert_eq!(server.connections(), 2);

        let server = FaultServer::start(Fault::TruncateBody).expect("starts");
        let response = send(&server).expect("is closed");
        assert!(response.ends_with("{\"success\":true,"), "{response}");
        assert_eq!(server.connections(), 1);
    }
}
