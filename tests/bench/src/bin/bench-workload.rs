//! Runs a workload several times: what `cargo xtask bench --instructions` runs under callgrind.

use std::process::ExitCode;

use shieldcert_bench::workload;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(name) = arguments.next() else {
        for workload in workload::all() {
            println!("{}\t{}", workload.repetitions, workload.name);
        }
        return ExitCode::SUCCESS;
    };
    let times = arguments.next().and_then(|times| times.parse::<u32>().ok());
    let workload = workload::all()
        .into_iter()
        .find(|workload| workload.name == name);
    let (Some(mut workload), Some(times)) = (workload, times) else {
        eprintln!("usage: bench-workload [NAME TIMES]; without arguments it lists the names");
        return ExitCode::from(2);
    };
    for _ in 0..times {
        (workload.run)();
    }
    ExitCode::SUCCESS
}
