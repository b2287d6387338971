//! The fleets of Shieldcert on Temporal.

use shieldcert_fleet::commands::ExitCode;

fn main() -> ExitCode {
    shieldcert_fleet_temporal::main()
}
