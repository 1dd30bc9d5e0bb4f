//! Growth with connections, routes, apps and sessions, and storms of refreshes.

use std::sync::Arc;
use std::time::Duration;

use crate::cases::Case;
use crate::comparison;
use crate::documents::{Chapter, counted, foreword};
use crate::gateway::{Gateway, PLAIN, host, path};
use crate::issuer::Error;
use crate::load::{Request, Requests};
use crate::measurement::Window;
use crate::peers::{Peer, Peers};
use crate::requests::{Manners, Session};
use crate::rounds::Rounds;
use crate::server::Server;
use crate::settings::number;
use crate::tables::{Goal, cpu, p99};
use crate::world::World;
use crate::{storms, tables};

/// Of all that does not say otherwise.
const CONNECTIONS: usize = 64;

/// The size of the run.
struct Size {
    rounds: usize,
    window: Window,
    connections: &'static [usize],
    /// Apps, and the routes of all of them together.
    routes: &'static [(usize, usize)],
    /// Sessions that these routes are asked with, whatever the apps.
    visitors: usize,
    /// Live sessions.
    sessions: &'static [usize],
}

/// Apps, and the routes of all of them together.
const ROUTES: [(usize, usize); 7] =
    [(1, 1), (1, 10), (1, 100), (1, 10_000), (10, 100), (10, 10_000), (1000, 10_000)];

/// Places in [`ROUTES`] with as many routes for each app.
const ONE_APP: usize = 1;
const MANY_APPS: usize = 6;

impl Size {
    fn new(smoke: bool) -> Result<Self, Error> {
        let window = comparison::window(smoke)?;
        if smoke {
            return Ok(Self {
                rounds: 1,
                window,
                connections: &[10, 1000],
                routes: &ROUTES,
                visitors: 1000,
                sessions: &[100, 1000],
            });
        }
        Ok(Self {
            rounds: usize::try_from(number("BENCH_ROUNDS", 3)?)?.max(1),
            window,
            connections: &[10, 100, 1000, 5000],
            routes: &ROUTES,
            visitors: 1000,
            sessions: &[1000, 100_000],
        })
    }
}

/// Measures, and says what came out.
pub(crate) fn run(peers: &Peers, pinned: bool, smoke: bool) -> Result<Chapter, Error> {
    let size = Size::new(smoke)?;
    let most = size.sessions.iter().copied().max().unwrap_or_default().max(size.visitors);
    eprintln!("signing {}", counted(most, "token"));
    let world = World::new(peers, pinned, most, Duration::ZERO)?;
    let rounds = size.rounds;
    let connections = Rounds::measure(&world, &by_connections(&world, &size)?, rounds, size.window)?;
    let routes = Rounds::measure(&world, &by_routes(&world, &size), rounds, size.window)?;
    let sessions = Rounds::measure(&world, &by_sessions(&world, &size), rounds, size.window)?;
    drop(world);
    let storms = storms::run(peers, pinned, smoke)?;
    Ok(Chapter {
        markdown: [
            foreword(peers, pinned, size.rounds, size.window),
            "Connections; × is against HAProxy with as many.".to_owned(),
            // Each number of connections begins with HAProxy.
            tables::growth(&connections, |case| case - case % 3),
            format!(
                "Routes and apps, with {} spread over them; × is against the first line.",
                counted(size.visitors, "session")
            ),
            tables::growth(&routes, |_| 0),
            "Live sessions, each asking in turn; × is against the first line.".to_owned(),
            tables::growth(&sessions, |_| 0),
            storms,
            tables::goals(&goals(&size, &connections, &routes)),
        ]
        .join("\n\n"),
        plot: None,
    })
}

fn goals(size: &Size, connections: &Rounds, routes: &Rounds) -> [Goal; 3] {
    // The last three: HAProxy, Pingora and Portcullis with the most connections.
    let last = 3 * size.connections.len();
    let (haproxy, portcullis) = (last.saturating_sub(3), last.saturating_sub(1));
    let ratio = connections.ratio(portcullis, haproxy, p99);
    [
        Goal {
            what: "RSS with the most connections, MiB",
            limit: 300.0,
            measured: connections.of(portcullis, |it| it.rss_mib),
        },
        Goal { what: "p99 with the most connections against HAProxy", limit: 1.5, measured: ratio },
        Goal {
            what: "CPU of 1,000 apps against one, with 10 routes each",
            limit: 1.05,
            measured: routes.ratio(MANY_APPS, ONE_APP, cpu),
        },
    ]
}

fn by_connections(world: &World, size: &Size) -> Result<Vec<Case>, Error> {
    let token = world.tokens.first().ok_or("no token")?;
    let request = |manners| -> Arc<dyn Requests> {
        Arc::new(vec![Session { number: 0, token }.get(&host(0), "/api/cart", manners)])
    };
    let mut cases = Vec::new();
    for &connections in size.connections {
        let kinds = [
            ("HAProxy", Server::Peer(Peer::HaProxy), Manners::Forwards),
            ("Pingora", Server::Bare, Manners::Forwards),
            ("Portcullis, one session", Server::Portcullis(PLAIN), Manners::IdentifiesAndStrips),
        ];
        cases.extend(kinds.map(|(name, server, manners)| Case {
            title: format!("{}, {name}", counted(connections, "connection")),
            server,
            requests: request(manners),
            refused: None,
            connections,
        }));
    }
    Ok(cases)
}

/// The sessions are the same in all cases, so that only apps and routes differ. Each asks for the last route of its
/// app.
fn by_routes(world: &World, size: &Size) -> Vec<Case> {
    let case = |&(apps, routes): &(usize, usize)| {
        let routes_of_each = (routes / apps).max(1);
        let request = |(number, token): (usize, &String)| {
            let (host, path) = (host(number % apps), path(routes_of_each - 1));
            Session { number, token }.get(&host, &path, Manners::IdentifiesAndStrips)
        };
        let requests: Vec<Request> =
            world.tokens.iter().take(size.visitors).enumerate().map(request).collect();
        Case {
            title: format!("{} over {}", counted(routes, "route"), counted(apps, "app")),
            server: Server::Portcullis(Gateway { apps, routes: routes_of_each, ..PLAIN }),
            requests: Arc::new(requests),
            refused: None,
            connections: CONNECTIONS,
        }
    };
    size.routes.iter().map(case).collect()
}

fn by_sessions(world: &World, size: &Size) -> Vec<Case> {
    let most = size.sessions.iter().copied().max().unwrap_or_default();
    let case = |&sessions: &usize| {
        let request = |(number, token): (usize, &String)| {
            Session { number, token }.get(&host(0), "/api/cart", Manners::IdentifiesAndStrips)
        };
        let requests: Vec<Request> = world.tokens.iter().take(sessions).enumerate().map(request).collect();
        Case {
            title: counted(sessions, "session"),
            // The same table for all: twice as large as it need be, as the documentation advises.
            server: Server::Portcullis(Gateway { verified_tokens: 2 * most, ..PLAIN }),
            requests: Arc::new(requests),
            refused: None,
            connections: CONNECTIONS,
        }
    };
    size.sessions.iter().map(case).collect()
}
