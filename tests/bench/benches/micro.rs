//! The workloads, timed. `cargo bench -p shieldcert-bench`
#![allow(missing_docs)]

use shieldcert_bench::workload;

fn main() {
    divan::main();
}

#[divan::bench(args = workload::NAMES)]
fn workloads(bencher: divan::Bencher<'_, '_>, name: &str) {
    let found = workload::all()
        .into_iter()
        .find(|workload| workload.name == name);
    let mut workload = found.expect("the names are the workloads'");
    bencher.bench_local(|| (workload.run)());
}
