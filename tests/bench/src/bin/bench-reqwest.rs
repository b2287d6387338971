//! The contender `reqwest`.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shieldcert_bench::contender::run(shieldcert_bench::reqwest::run).await
}
