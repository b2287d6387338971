//! The contender `generated`.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shieldcert_bench::contender::run(shieldcert_bench::generated::run).await
}
