//! The contender `floor`, with tasks for the runner.
//!
//! They are: `contents [FILE]` prints what is in the zone and writes the ids to the file, `requests` prints how many
//! requests the service has counted, `wait-for COUNT` ends when the zone holds so many certificates, `grow FILE` issues
//! until the file is gone and prints how often, `quirks TEXT` sets the emulator's quirks, `tally` reads lines of JSON and
//! prints how many certificates they are, `verify FOLDER` checks the issued files, `body` prints the body of a request
//! that creates a certificate, and `signing` measures signatures.

use std::path::Path;

use shieldcert_bench::{Service, Tally, contender, floor, identity};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["contents"] => contender::print_json(&floor::contents(&Service::from_env()?, None).await?),
        ["contents", file] => contender::print_json(
            &floor::contents(&Service::from_env()?, Some(Path::new(file))).await?,
        ),
        ["requests"] => contender::print_json(&floor::count_requests(&Service::from_env()?).await?),
        ["grow", file] => {
            contender::print_json(&floor::grow(&Service::from_env()?, Path::new(file)).await?)
        }
        ["quirks", quirks] => floor::set_quirks(&Service::from_env()?, quirks).await,
        ["tally"] => contender::print_json(&Tally::of_lines(std::io::stdin().lock())?),
        ["wait-for", count] => floor::wait_for(&Service::from_env()?, count.parse()?).await,
        ["verify", folder] => contender::print_json(&identity::verify(Path::new(folder))?),
        ["body"] => contender::print_json(&floor::body()?),
        ["signing"] => contender::print_json(&floor::measure_signing()?),
        _ => contender::run(floor::run).await,
    }
}
