//! The gateway on real sockets, against a provider that fails on demand. Each test is named for the rule that it checks.
#![cfg(test)]

mod support;

mod answers;
mod backchannel_logout;
mod binary;
mod canary;
mod client_auth;
mod cookies;
mod csrf;
mod forged;
mod forwarded;
mod framing;
mod fusionauth;
mod fusionauth_webhook;
mod grpc;
mod hostile_app;
mod http2;
mod identity_headers;
mod jwks;
mod lifecycle;
mod login;
mod login_outcomes;
mod logout;
mod observability;
mod outages;
mod private_authorities;
mod proxying;
mod refresh;
mod refresh_failures;
mod reload;
mod routes;
mod session_protection;
mod stand_ins;
mod streaming;
mod tls;
mod token_size;
mod tokens;
mod traced_calls;
mod traces;
mod upgrade;
mod upstream_http2;
mod upstream_http2_failures;
mod upstreams;
mod user_endpoint;
mod workflow;
