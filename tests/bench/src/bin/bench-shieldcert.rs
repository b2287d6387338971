//! The contender `shieldcert`.

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shieldcert_bench::contender::run(shieldcert_bench::shieldcert::run).await
}
