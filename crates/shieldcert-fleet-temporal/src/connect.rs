//! The connection to the server, which the SDK's own environment variables and `temporal.toml` describe.

use temporalio_client::envconfig::LoadClientConfigProfileOptions;
use temporalio_client::{Client, ClientOptions, Connection};

use crate::failure::{Failure, Result, deepest};

/// Connects.
pub(crate) async fn connect() -> Result<Client> {
    let loaded = ClientOptions::load_from_config(LoadClientConfigProfileOptions::default());
    let (connection, options) = loaded.map_err(|error| {
        Failure::usage(format!(
            "the configuration of Temporal: {error}; see TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, the \
             TEMPORAL_TLS_ variables, and temporal.toml"
        ))
    })?;
    let target = connection.target.clone();
    let connection = Connection::connect(connection).await.map_err(|error| {
        Failure::failed(format!(
            "the Temporal server at {target} can't be reached: {}; start it, or set TEMPORAL_ADDRESS",
            deepest(&error)
        ))
    })?;
    Client::new(connection, options)
        .map_err(|error| Failure::failed(format!("the Temporal client: {error}")))
}
