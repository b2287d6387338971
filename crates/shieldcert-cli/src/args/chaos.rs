//! Faults by chance, and quirks.

use shieldcert_emulator::{Fault, Quirks};

/// What `--chaos help` prints.
pub(crate) fn help() -> String {
    format!(
        "Faults are written NAME=PERCENT%, separated by commas. A parameter follows the percentage, and an operation\n\
         (list, get, create, edit, delete or read) may go before the name:\n\
         --chaos \"lose-response=5%, create: late=2%:1s..60s, respond=1%:503 retry-after=30\"\n\n{}",
        Fault::help()
    )
}

/// What `--quirks help` prints.
pub(crate) fn quirks_help() -> String {
    format!(
        "Quirks are written NAME or NAME=PARAMETER, separated by commas. All of them hold at once. After @ is the\n\
         share of the requests, or of the records, that a quirk changes:\n\
         --quirks \"cap=25, total=missing, lag=30s@10%, odd-id@1%\"\n\n{}",
        Quirks::help()
    )
}
