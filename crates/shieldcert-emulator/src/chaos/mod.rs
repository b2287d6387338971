//! Faults on purpose: which there are, and when they are injected, by chance or by a script.

mod alter;
mod chance;
mod fault;
mod operation;
mod parse;
pub(crate) mod quirk;
mod response;
mod script;
mod time_range;

pub use self::chance::Chaos;
pub use self::fault::Fault;
pub(crate) use self::fault::Kind;
pub use self::operation::Operation;
pub use self::quirk::Quirks;
pub(crate) use self::response::Body;
pub use self::response::CannedResponse;
pub(crate) use self::script::Queue;
pub use self::script::{Script, ScriptedFault};
pub use self::time_range::TimeRange;
