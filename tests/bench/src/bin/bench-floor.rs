//! The floor, and what the runner needs to know of the service.
//!
//! Beside the tasks: `contents [FILE]` says what is in the zone and writes the ids to the file, `verify FOLDER`
//! checks what was issued into it, `body` is the body of a request to create one, and `signing` measures
//! signatures.

use std::path::Path;

use shieldcert_bench::{Service, contender, floor, identity};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["contents"] => contender::say(&floor::contents(&Service::from_env()?, None).await?),
        ["contents", file] => {
            contender::say(&floor::contents(&Service::from_env()?, Some(Path::new(file))).await?)
        }
        ["verify", folder] => contender::say(&identity::verify(Path::new(folder))?),
        ["body"] => contender::say(&floor::body()?),
        ["signing"] => contender::say(&floor::signing()?),
        _ => contender::run(floor::run).await,
    }
}
