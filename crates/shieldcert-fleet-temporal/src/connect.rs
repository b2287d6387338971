//! The connection to the server, which the SDK's own environment variables and `temporal.toml` describe.

use temporalio_client::envconfig::LoadClientConfigProfileOptions;
use temporalio_client::errors::ClientConnectError;
use temporalio_client::{Client, ClientOptions, Connection};
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeNamespaceRequest;
use tonic::{Code, Request, Status};

use crate::failure::{ExitCode, Failure, Result, deepest};

/// Connects.
pub(crate) async fn connect() -> Result<Client> {
    let loaded = ClientOptions::load_from_config(LoadClientConfigProfileOptions::default());
    let (connection, options) = loaded.map_err(|error| {
        Failure::usage(format!(
            "the configuration of Temporal: {error}; see TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, the TEMPORAL_TLS_ variables, and temporal.toml"
        ))
    })?;
    let target = connection.target.clone();
    let tls = match (&connection.tls_options, &connection.api_key) {
        (None, _) => "without TLS; set TEMPORAL_TLS=true if the server has it",
        (Some(_), None) => "with TLS",
        (Some(_), Some(_)) => "with TLS, which TEMPORAL_API_KEY turns on",
    };
    let connection = Connection::connect(connection)
        .await
        .map_err(|error| match &error {
            ClientConnectError::SystemInfoCallError(status) => refused(&target, status),
            other => Failure::failed(format!(
                "the Temporal server at {target} can't be reached: {} ({tls}); start it, or set TEMPORAL_ADDRESS, \
                 such as localhost:7233",
                deepest(other)
            )),
        })?;
    let client = Client::new(connection, options)
        .map_err(|error| Failure::failed(format!("the Temporal client: {error}")))?;
    check_namespace(&client, &target).await?;
    Ok(client)
}

/// Without it every workflow seems to be missing.
async fn check_namespace(client: &Client, target: &impl std::fmt::Display) -> Result<()> {
    let namespace = &client.options().namespace;
    let request = DescribeNamespaceRequest {
        namespace: namespace.clone(),
        ..DescribeNamespaceRequest::default()
    };
    let mut service = client.connection().workflow_service();
    match service.describe_namespace(Request::new(request)).await {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Err(Failure::new(
            ExitCode::NotFound,
            format!(
                "the Temporal server at {target} has no namespace {namespace}; set TEMPORAL_NAMESPACE, or create it: \
                 temporal operator namespace create --namespace {namespace}"
            ),
        )),
        Err(status) => Err(refused(target, &status)),
    }
}

fn refused(target: &impl std::fmt::Display, status: &Status) -> Failure {
    let message = status.message();
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => Failure::new(
            ExitCode::NotAllowed,
            format!(
                "the Temporal server at {target} refuses the credentials: {message}; see TEMPORAL_API_KEY and the \
                 TEMPORAL_TLS_ variables"
            ),
        ),
        _ => Failure::failed(format!("the Temporal server at {target}: {message}")),
    }
}
