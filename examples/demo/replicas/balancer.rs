//! A balancer as simple as it gets: a replica at random for each request, and no stickiness. A WebSocket stays where it
//! was opened. If a replica does not accept the connection, the balancer takes another one.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::REPLICA;

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, replicas: Vec<SocketAddr>) {
    let replicas: Arc<[SocketAddr]> = replicas.into();
    loop {
        let Ok((stream, client)) = listener.accept().await else { continue };
        let replicas = Arc::clone(&replicas);
        let service = service_fn(move |request| {
            let replicas = Arc::clone(&replicas);
            async move { Ok::<_, Infallible>(forward(request, client, &replicas).await) }
        });
        let serve =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        // An error says that the browser left.
        tokio::spawn(async move { drop(serve.with_upgrades().await) });
    }
}

/// Sends a request to one of the replicas.
async fn forward(
    mut request: Request<Incoming>,
    client: SocketAddr,
    replicas: &[SocketAddr],
) -> Response<Body> {
    let Some((number, replica)) = choose(replicas).await else {
        return bad_gateway("no replica accepts connections");
    };
    let headers = request.headers_mut();
    // Nobody stands in front of this balancer, so nobody else has a say in these.
    for name in ["forwarded", "x-forwarded-host", "x-forwarded-port"] {
        headers.remove(name);
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static("http"));
    if let Ok(client) = HeaderValue::from_str(&client.ip().to_string()) {
        headers.insert("x-forwarded-for", client);
    }
    headers.insert(REPLICA, number.clone());
    let browser = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let sent = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(replica)).await?;
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await
    };
    let mut response = match sent.await {
        Ok(response) => response,
        Err(error) => return bad_gateway(&error.to_string()),
    };
    if let (StatusCode::SWITCHING_PROTOCOLS, Some(browser)) = (response.status(), browser) {
        tokio::spawn(join(browser, hyper::upgrade::on(&mut response)));
    }
    let mut response = response.map(Body::new);
    response.headers_mut().insert(REPLICA, number);
    response
}

/// Returns the number of a replica, and a connection to it.
async fn choose(replicas: &[SocketAddr]) -> Option<(HeaderValue, TcpStream)> {
    let mut numbered: Vec<_> = (1_u16..).zip(replicas).collect();
    fastrand::shuffle(&mut numbered);
    for (number, replica) in numbered {
        if let Ok(connection) = TcpStream::connect(replica).await {
            return Some((number.into(), connection));
        }
    }
    None
}

/// Passes bytes in both directions.
async fn join(browser: hyper::upgrade::OnUpgrade, replica: hyper::upgrade::OnUpgrade) {
    if let (Ok(browser), Ok(replica)) = tokio::join!(browser, replica) {
        // An error says that one of them left.
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(browser), &mut TokioIo::new(replica)).await;
    }
}

fn bad_gateway(why: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{why}\n")));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}
