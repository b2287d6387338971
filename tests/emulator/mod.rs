//! Emulator and spec agree, and its edge works with real certificates.

mod edge;
mod responses;
mod tls;
