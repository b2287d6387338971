//! Counts the allocations of one `get`: `bench-allocations CONTENDER ID TIMES`.
//!
//! A program of its own, because counting takes time.

use std::alloc::System;

use anyhow::bail;
use serde_json::json;
use shieldcert_bench::{Service, contender, generated, reqwest, shieldcert};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Calls before counting begins, so that what is made once, such as the connection, is not counted.
const WARM_UP: u64 = 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, id, times] = &arguments[..] else {
        bail!("usage: bench-allocations CONTENDER ID TIMES");
    };
    let times: u64 = times.parse()?;
    let service = Service::from_env()?;
    let stats = match name.as_str() {
        "shieldcert" => {
            let zone = ::shieldcert::Client::from_env()?.zone(service.zone.parse()?);
            shieldcert::get(&zone, id, WARM_UP).await?;
            let region = Region::new(ALLOCATOR);
            shieldcert::get(&zone, id, times).await?;
            region.change()
        }
        "reqwest" => {
            let zone = reqwest::Zone::new(&service)?;
            zone.get_often(id, WARM_UP).await?;
            let region = Region::new(ALLOCATOR);
            zone.get_often(id, times).await?;
            region.change()
        }
        "generated" => {
            let zone = generated::Zone::new(&service)?;
            zone.get_often(id, WARM_UP).await?;
            let region = Region::new(ALLOCATOR);
            zone.get_often(id, times).await?;
            region.change()
        }
        _ => bail!("unknown contender {name:?}; use shieldcert, reqwest or generated"),
    };
    let each = |number: usize| number as f64 / times as f64;
    contender::print_json(&json!({
        "allocations": each(stats.allocations + stats.reallocations),
        "bytes": each(stats.bytes_allocated),
    }))
}
