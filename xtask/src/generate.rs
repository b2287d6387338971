//! From a checked and overlaid document to Rust source.

use anyhow::{Context, Result};
use openapiv3::OpenAPI;
use progenitor::{GenerationSettings, Generator, HooksMode, InterfaceStyle, TagStyle};

/// The generated sources, unformatted and without their headers.
pub(crate) struct Sources {
    pub(crate) api: String,
    pub(crate) httpmock: String,
}

/// Runs progenitor. The same document gives the same bytes.
pub(crate) fn sources(document: &OpenAPI) -> Result<Sources> {
    let mut settings = GenerationSettings::new();
    settings
        .with_interface(InterfaceStyle::Builder)
        .with_tag(TagStyle::Merged)
        .with_derive("schemars::JsonSchema")
        // Every request goes through the transport seam, so that one can be put in reqwest's place.
        .with_inner_type("crate::transport::Seam".parse().expect("a Rust path"))
        .with_hooks(HooksMode::Expected);
    Ok(Sources {
        api: formatted(
            Generator::new(&settings)
                .generate_tokens(document)
                .context("progenitor can't generate the client")?,
        )?,
        httpmock: formatted(
            Generator::new(&settings)
                .httpmock(document, "shieldcert_api")
                .context("progenitor can't generate the mocks")?,
        )?,
    })
}

fn formatted(tokens: impl ToString) -> Result<String> {
    let file = syn::parse_file(&tokens.to_string()).context("progenitor generated invalid Rust")?;
    Ok(prettyplease::unparse(&file))
}
