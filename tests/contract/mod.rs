//! Client and spec agree: requests and responses, by hand and generated from the spec's schemas.

mod calls;
mod generated;
