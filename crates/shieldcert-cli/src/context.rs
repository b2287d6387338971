//! What a command needs of its surroundings: the client, the zones, and where to print. Each is made when it is asked
//! for, so that a command that needs none of it starts at once.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use shieldcert::{CallSummary, Client, ClientBuilder, RateLimit, Zone, ZoneId};
use shieldcert_fleet::Connector;

use crate::args::globals::{Color, Globals};
use crate::args::zone;
use crate::credentials::CredentialSource;
use crate::failure::{Failure, Result};
#[cfg(feature = "emulator")]
use crate::local;
use crate::log::Log;
use crate::output::format::Format;
use crate::output::messages::Messages;
use crate::output::printer::{Output, Printer};
use crate::output::row::Row;
use crate::output::shell;

/// What a command needs of its surroundings.
pub(crate) struct Context {
    globals: Globals,
    messages: Messages,
    client: OnceCell<Client>,
    log: Option<Log>,
    /// The folder of the fleet that the command is about.
    fleet: OnceCell<PathBuf>,
}

impl Context {
    /// `is_service` says whether the command logs what it does without being asked to.
    pub(crate) fn new(globals: Globals, is_service: bool) -> Result<Self> {
        let color = match globals.color {
            None | Some(Color::Auto) => anstream::ColorChoice::Auto,
            Some(Color::Always) => anstream::ColorChoice::Always,
            Some(Color::Never) => anstream::ColorChoice::Never,
        };
        color.write_global();
        let messages = Messages::new(globals.quiet, globals.verbose > 0 || is_service);
        if let Some(conflict) = globals.conflict() {
            return Err(Failure::usage(conflict));
        }
        let filter = match (is_service, globals.verbose) {
            (true, verbosity) => Some(Log::of_service(verbosity, globals.quiet)),
            (false, 0) => None,
            (false, verbosity) => Some(Log::of_client(verbosity)),
        };
        let log = filter.map(Log::start).transpose().map_err(|error| {
            Failure::failed(format!(
                "the thread that writes the log does not start: {error}"
            ))
        })?;
        Ok(Self {
            globals,
            messages,
            client: OnceCell::new(),
            log,
            fleet: OnceCell::new(),
        })
    }

    /// Where messages go.
    pub(crate) fn messages(&self) -> &Messages {
        &self.messages
    }

    /// A printer of rows, in the format that was asked for. A pipe gets the ids.
    pub(crate) fn printer<R: Row>(&self) -> Result<Printer<R>> {
        self.printer_or(Format::Id)
    }

    /// A printer of rows. A pipe gets this format, unless another was asked for.
    pub(crate) fn printer_or<R: Row>(&self, piped: Format) -> Result<Printer<R>> {
        Printer::new(&self.output(piped), &self.messages)
    }

    /// Whether a format or fields were asked for.
    pub(crate) fn has_chosen_output(&self) -> bool {
        self.globals.output.is_some() || self.globals.fields.is_some()
    }

    /// What standard output is, and what it is to get. A pipe gets this format, unless another was asked for.
    pub(crate) fn output(&self, piped: Format) -> Output {
        let out = io::stdout();
        let is_terminal = out.is_terminal();
        let default = match is_terminal || self.globals.fields.is_some() {
            true => Format::Table,
            false => piped,
        };
        Output {
            format: self.globals.output.unwrap_or(default),
            fields: self.globals.fields.clone(),
            width: terminal_width().filter(|_| is_terminal),
            has_color: anstream::AutoStream::choice(&out) != anstream::ColorChoice::Never,
        }
    }

    /// Whether rows appear at a terminal, where they are the progress too.
    pub(crate) fn prints_to_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Whether the service is the emulator in this process.
    pub(crate) fn is_local(&self) -> bool {
        self.globals.local
    }

    /// Says which fleet the command is about.
    pub(crate) fn set_fleet_folder(&self, folder: &Path) {
        let _ = self.fleet.set(folder.to_owned());
    }

    /// Whether the command is about a fleet in a folder.
    pub(crate) fn is_about_fleet(&self) -> bool {
        self.fleet.get().is_some()
    }

    /// A command about the same fleet, with the same service and credentials, to copy.
    pub(crate) fn fleet_command(&self, command: &str) -> String {
        let mut words = vec!["shieldcert".to_owned()];
        words.extend(self.globals.service_options());
        words.push("fleet".to_owned());
        if let Some(folder) = self.fleet.get().filter(|folder| *folder != Path::new(".")) {
            words.extend(["--dir".to_owned(), shell::quote(folder)]);
        }
        words.push(command.to_owned());
        words.join(" ")
    }

    /// Makes the commands for fleets in a text those for the fleet that the command is about.
    pub(crate) fn complete(&self, text: &str) -> String {
        match self.is_about_fleet() {
            true => text.replace("shieldcert fleet ", &self.fleet_command("")),
            false => text.to_owned(),
        }
    }

    /// Where the credentials come from. `None` with `--local`, which has none.
    pub(crate) fn credential_source(&self) -> Option<CredentialSource> {
        (!self.globals.local).then(|| CredentialSource::of(&self.globals))
    }

    /// The client. It is built the first time.
    pub(crate) async fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let builder = match self.globals.local {
            true => local_builder().await?,
            false => self.remote_builder()?,
        };
        let messages = self.messages.clone();
        let limit = RateLimit::default().on_wait(move |wait| {
            let seconds = wait.as_secs_f64().ceil();
            messages.note(&format!("waiting {seconds} s for the rate limit"));
        });
        let log = |call: &CallSummary| {
            tracing::info!(
                method = %call.method,
                operation = call.operation,
                status = call.status.map(|status| status.as_u16()),
                attempts = call.attempts,
                milliseconds = call.duration.as_millis() as u64,
                "called"
            );
        };
        // What is invalid was given to this process, and nothing was sent.
        let client = (builder.rate_limit(limit).on_call(log).build())
            .map_err(|error| {
                let failure = Failure::usage(error.to_string());
                match self.credential_source() {
                    Some(source) if source.is_missing() => failure.hint(
                        "or give --token-file FILE or --token-command COMMAND; with --local there is no need for one",
                    ),
                    _ => failure,
                }
            })?;
        Ok(self.client.get_or_init(|| client))
    }

    fn remote_builder(&self) -> Result<ClientBuilder> {
        let globals = &self.globals;
        let usage = |error: shieldcert::Error| Failure::usage(error.to_string());
        let mut builder = ClientBuilder::from_env().map_err(usage)?;
        builder = CredentialSource::of(globals).apply(builder)?;
        if let Some(url) = &globals.base_url {
            builder = builder.base_url(url);
        }
        if let Some(file) = &globals.ca_file {
            builder = builder.ca_file(file);
        }
        Ok(builder)
    }

    /// The CAs that are trusted beside those of the system.
    pub(crate) fn ca_file(&self) -> Option<&Path> {
        self.globals.ca_file.as_deref()
    }

    /// What makes the clients of a fleet, whose zones and tokens are in its own files.
    pub(crate) async fn connector(&self) -> Result<Connector> {
        let globals = &self.globals;
        if !globals.zones.is_empty() {
            let message = "--zone: the zones of a fleet are in its fleet.toml; leave it out";
            return Err(Failure::usage(message));
        }
        if globals.token_file.is_some() || globals.token_command.is_some() {
            return Err(Failure::usage(
                "--token-file, --token-command: a fleet reads its tokens again while it runs; put token_file or \
                 token_command into its fleet.toml, below [budgets.NAME]",
            ));
        }
        if globals.local {
            return local_connector().await;
        }
        // The token comes later, and not from here.
        let (build, _) = self.remote_builders(Some("placeholder".to_owned()))?;
        Ok(Connector::new(build))
    }

    /// What makes the clients of a command that is built on a fleet, with the credentials of other commands, and the
    /// service's base URL.
    pub(crate) async fn connector_with_credentials(&self) -> Result<(Connector, String)> {
        if self.globals.local {
            let client = local_builder().await?.build()?;
            return Ok((local_connector().await?, client.base_url().to_owned()));
        }
        let token = CredentialSource::of(&self.globals).read()?;
        let (build, base_url) = self.remote_builders(token)?;
        Ok((Connector::new(build).with_credentials(), base_url))
    }

    /// What makes builders of clients, and the base URL. What is invalid is said now.
    fn remote_builders(
        &self,
        token: Option<String>,
    ) -> Result<(
        impl Fn() -> shieldcert::Result<ClientBuilder> + Send + Sync + 'static,
        String,
    )> {
        let (base_url, ca_file) = (self.globals.base_url.clone(), self.globals.ca_file.clone());
        let build = move || {
            let mut builder = ClientBuilder::from_env()?;
            if let Some(token) = &token {
                builder = builder.token(token.as_str());
            }
            if let Some(url) = &base_url {
                builder = builder.base_url(url);
            }
            if let Some(file) = &ca_file {
                builder = builder.ca_file(file);
            }
            Ok(builder)
        };
        let client = build()
            .and_then(ClientBuilder::build)
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok((build, client.base_url().to_owned()))
    }

    /// The ids of the zones that were named.
    pub(crate) fn zone_ids(&self) -> Result<Vec<ZoneId>> {
        let mut known = HashSet::new();
        let mut ids = self.globals.zones.clone();
        ids.retain(|id| known.insert(id.clone()));
        if ids.is_empty() {
            ids.extend(zone::from_environment());
        }
        if ids.is_empty() && self.globals.local {
            ids.extend(local_zone());
        }
        if ids.is_empty() {
            return Err(Failure::usage("no zone: give --zone ID, or set CLOUDFLARE_ZONE_ID")
                .hint("the dashboard shows the id of a zone under \"API\"; with --local there is no need for one"));
        }
        Ok(ids)
    }

    /// The zones that the command is about.
    pub(crate) async fn zones(&self) -> Result<Vec<Zone>> {
        let ids = self.zone_ids()?;
        let client = self.client().await?;
        Ok(ids.into_iter().map(|id| client.zone(id)).collect())
    }

    /// The zone that the command is about.
    pub(crate) async fn zone(&self) -> Result<Zone> {
        let zones = self.zones().await?;
        match <[Zone; 1]>::try_from(zones) {
            Ok([zone]) => Ok(zone),
            Err(zones) => Err(Failure::usage(format!(
                "--zone: {} zones were given, and this command is about one; leave out the others",
                zones.len()
            ))),
        }
    }

    /// The service's time, or this machine's until the service has said it.
    pub(crate) fn now(&self) -> Timestamp {
        let client = self.client.get();
        client
            .and_then(Client::service_time)
            .unwrap_or_else(Timestamp::now)
    }

    /// Waits until the last lines of the log are written.
    pub(crate) fn flush_log(&self) {
        if let Some(log) = &self.log {
            log.flush();
        }
    }
}

fn terminal_width() -> Option<usize> {
    let (terminal_size::Width(width), _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(width.into()).filter(|width| *width > 0)
}

#[cfg(feature = "emulator")]
async fn local_builder() -> Result<ClientBuilder> {
    Ok(local::builder(&local::open().await?))
}

#[cfg(feature = "emulator")]
async fn local_connector() -> Result<Connector> {
    let emulator = local::open().await?;
    let connector = Connector::new(move || Ok(local::builder(&emulator)));
    Ok(connector.with_credentials())
}

#[cfg(feature = "emulator")]
fn local_zone() -> Option<ZoneId> {
    Some(zone::example())
}

#[cfg(not(feature = "emulator"))]
async fn local_builder() -> Result<ClientBuilder> {
    Err(no_emulator())
}

#[cfg(not(feature = "emulator"))]
async fn local_connector() -> Result<Connector> {
    Err(no_emulator())
}

#[cfg(not(feature = "emulator"))]
fn no_emulator() -> Failure {
    Failure::usage(
        "--local: this shieldcert was built without its emulator; install it with the feature `emulator`",
    )
}

#[cfg(not(feature = "emulator"))]
fn local_zone() -> Option<ZoneId> {
    None
}
