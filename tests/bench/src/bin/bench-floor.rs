//! The contender `floor`, with tasks for the runner.
//!
//! They are: `contents [FILE]` prints what is in the zone and writes the ids to the file, `wait-for COUNT` ends when the
//! zone holds so many certificates, `verify FOLDER` checks the issued files, `body` prints the body of a request that
//! creates a certificate, and `signing` measures signatures.

use std::path::Path;

use shieldcert_bench::{Service, contender, floor, identity};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["contents"] => contender::print_json(&floor::contents(&Service::from_env()?, None).await?),
        ["contents", file] => contender::print_json(
            &floor::contents(&Service::from_env()?, Some(Path::new(file))).await?,
        ),
        ["wait-for", count] => floor::wait_for(&Service::from_env()?, count.parse()?).await,
        ["verify", folder] => contender::print_json(&identity::verify(Path::new(folder))?),
        ["body"] => contender::print_json(&floor::body()?),
        ["signing"] => contender::print_json(&floor::measure_signing()?),
        _ => contender::run(floor::run).await,
    }
}
