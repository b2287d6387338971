//! What a fleet costs: `plan DEVICES`, `forecast DEVICES`, `limit DEVICES CHAOS` in simulated time, or
//! `journal DEVICES FOLDER`, where the folder is on the disk.

use std::path::Path;

use shieldcert_bench::{contender, fleet};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all();
    match arguments[..] {
        ["plan", devices] => {
            let measured = runtime
                .build()?
                .block_on(fleet::measure_plan(devices.parse()?))?;
            contender::print_json(&measured)
        }
        ["forecast", devices] => contender::print_json(&fleet::measure_forecast(devices.parse()?)?),
        ["limit", devices, chaos] => {
            let runtime = runtime.start_paused(true).build()?;
            contender::print_json(&runtime.block_on(fleet::measure_limit(devices.parse()?, chaos))?)
        }
        ["journal", devices, folder] => {
            // The runtime that the command line has.
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()?;
            let measuring = fleet::measure_journal(devices.parse()?, Path::new(folder));
            contender::print_json(&runtime.block_on(measuring)?)
        }
        _ => anyhow::bail!(
            "the tasks are: plan DEVICES, forecast DEVICES, limit DEVICES CHAOS, journal DEVICES FOLDER"
        ),
    }
}
