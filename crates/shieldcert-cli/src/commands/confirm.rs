//! Makes sure that somebody wants what is going to be done: by typing its number at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::{Failure, Result};

/// Whether somebody can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Has the number typed. `what` is what is done to them, such as `revoke them`.
pub(crate) fn ask(count: u64, what: &str) -> Result<()> {
    let mut err = io::stderr();
    let mut typed = String::new();
    let asked = write!(err, "Type {count} to {what}: ")
        .and_then(|()| err.flush())
        .and_then(|()| io::stdin().lock().read_line(&mut typed));
    asked.map_err(|error| Failure::failed(format!("the terminal: {error}")))?;
    match typed.trim() == count.to_string() {
        true => Ok(()),
        false => Err(Failure::failed(format!(
            "not confirmed: {:?} is not {count}; nothing was done",
            typed.trim()
        ))),
    }
}
