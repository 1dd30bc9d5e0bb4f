//! Connections to servers: TCP, TLS and the first commands.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Cmd, Pipeline, ProtocolVersion, RedisConnectionInfo, Value};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::config::SharedState;
use crate::engine::faults::Fault;
use crate::tls::certificate::provider;

/// The longest time until a connection is ready, with the look-up of its name, TLS and the log-in.
const CONNECT: Duration = Duration::from_secs(1);

/// The longest time until a server takes a TCP connection. It is short, since its host may be gone without a word.
const TCP: Duration = Duration::from_millis(400);

/// Opens connections.
pub(super) struct Connector {
    tls: Option<Result<TlsConnector, String>>,
    login: RedisConnectionInfo,
    anonymous: RedisConnectionInfo,
    client_name: String,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connector").finish_non_exhaustive()
    }
}

/// A connection for commands. Several commands may be under way. It closes when it is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    commands: MultiplexedConnection,
    driver: AbortHandle,
    closed: watch::Receiver<bool>,
}

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

impl Connector {
    pub(super) fn new(settings: &SharedState, client_name: &str) -> Self {
        let anonymous =
            RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
        let mut login = anonymous.clone().set_db(settings.engine.database);
        if let Some(username) = &settings.username {
            login = login.set_username(username);
        }
        if let Some(password) = &settings.password {
            login = login.set_password(password.expose());
        }
        let tls = settings.engine.tls.then(|| tls(settings).map_err(|error| error.to_string()));
        Self { tls, login, anonymous, client_name: client_name.to_owned() }
    }

    /// Opens a connection to a server of the engine.
    pub(super) async fn open(&self, host: &str, port: u16) -> Result<Connection, Fault> {
        let connection = within(CONNECT, self.commands(host, port, &self.login)).await?;
        // The name is for operators only.
        let mut named = redis::cmd("CLIENT");
        named.arg("SETNAME").arg(&self.client_name);
        let _ = connection.ask(&named, CONNECT).await;
        Ok(connection)
    }

    /// Opens a connection to a sentinel. Sentinels have users of their own, and most have none.
    pub(super) async fn open_anonymous(&self, host: &str, port: u16) -> Result<Connection, Fault> {
        within(CONNECT, self.commands(host, port, &self.anonymous)).await
    }

    /// Opens a connection to a sentinel that wants a user. It gets the engine's.
    pub(super) async fn open_sentinel(&self, host: &str, port: u16) -> Result<Connection, Fault> {
        let login = self.login.clone().set_db(0);
        within(CONNECT, self.commands(host, port, &login)).await
    }

    /// Opens a connection that receives messages.
    pub(super) async fn subscribe(&self, host: &str, port: u16, channel: &str) -> Result<PubSub, Fault> {
        within(CONNECT, async {
            let mut messages = PubSub::new(&self.login, self.stream(host, port).await?).await?;
            messages.subscribe(channel).await?;
            Ok(messages)
        })
        .await
    }

    async fn commands(
        &self,
        host: &str,
        port: u16,
        login: &RedisConnectionInfo,
    ) -> Result<Connection, Fault> {
        let stream = self.stream(host, port).await?;
        // Each command has a time limit of its own.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let (commands, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
        let (is_closed, closed) = watch::channel(false);
        let driver = tokio::spawn(async move {
            driver.await;
            is_closed.send_replace(true);
        });
        Ok(Connection { commands, driver: driver.abort_handle(), closed })
    }

    async fn stream(&self, host: &str, port: u16) -> Result<Box<dyn Bytes>, Fault> {
        let broken = |error: std::io::Error| Fault::Broken(error.to_string());
        let stream = tcp(host, port).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        // What the engine has not received when a connection is given up must not reach it later: a claim would come
        // after its release.
        stream.set_zero_linger().map_err(broken)?;
        let connector = match &self.tls {
            None => return Ok(Box::new(stream)),
            Some(Err(text)) => return Err(Fault::NotAllowed(text.clone())),
            Some(Ok(connector)) => connector,
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Fault::NotAllowed(format!("{host:?} is no name that a certificate can have")))?;
        let stream = connector.connect(name, stream).await.map_err(|error| {
            match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
                Some(error) => Fault::NotAllowed(format!(
                    "the TLS handshake failed: check `url` and `ca` of `[shared_state]` ({error})"
                )),
                None => Fault::Broken(error.to_string()),
            }
        })?;
        Ok(Box::new(stream))
    }
}

/// Opens a TCP connection to the first address that takes it.
async fn tcp(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for address in lookup_host((host, port)).await? {
        match timeout(TCP, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = std::io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// Makes the settings of TLS.
fn tls(settings: &SharedState) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(provider());
    let config =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = if let Some(authorities) = &settings.ca {
        let mut roots = RootCertStore::empty();
        for authority in &authorities.0 {
            roots.add(CertificateDer::from(authority.clone()))?;
        }
        config.with_root_certificates(roots)
    } else {
        let verifier = Arc::new(Verifier::new(provider)?);
        config.dangerous().with_custom_certificate_verifier(verifier)
    };
    Ok(TlsConnector::from(Arc::new(config.with_no_client_auth())))
}

async fn within<T>(limit: Duration, act: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    timeout(limit, act).await.unwrap_or(Err(Fault::TooLate))
}

impl Connection {
    /// Sends a command and waits for its answer.
    pub(super) async fn ask(&self, command: &Cmd, limit: Duration) -> Result<Value, Fault> {
        self.ask_until(command, Instant::now() + limit).await
    }

    /// Sends a command and waits for its answer until then.
    pub(super) async fn ask_until(&self, command: &Cmd, deadline: Instant) -> Result<Value, Fault> {
        let mut commands = self.commands.clone();
        let asked = commands.req_packed_command(command);
        let value = timeout_at(deadline, asked).await.map_err(|_| Fault::TooLate)??;
        checked(value)
    }

    /// Sends several commands at once and waits for their answers until then.
    pub(super) async fn ask_all_until(
        &self,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let mut connection = self.commands.clone();
        let asked = connection.send_packed_commands(commands, 0, commands.len());
        let values = timeout_at(deadline, asked).await.map_err(|_| Fault::TooLate)??;
        Ok(values.into_iter().map(checked).collect())
    }

    /// Waits until the server or the network has closed the connection.
    pub(super) async fn closed(&self) {
        // An error means that the task is gone, and with it the connection.
        let _ = self.closed.clone().wait_for(|is_closed| *is_closed).await;
    }
}

fn checked(value: Value) -> Result<Value, Fault> {
    match value {
        Value::ServerError(error) => Err(Fault::from(redis::RedisError::from(error))),
        value => Ok(value),
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
