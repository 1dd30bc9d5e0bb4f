# syntax=docker/dockerfile:1
# A small image of Portcullis. It has no shell, and does not run as root:
#
#   docker build -t portcullis .
#   docker run --read-only -v ./gateway.toml:/etc/portcullis/gateway.toml:ro -p 8080:8080 portcullis
#
# In a container, `server.listen` must be reachable from outside: `listen = ["0.0.0.0:8080"]`.
# Podman and Buildah leave the health check out unless they build with `--format docker`.
# `--target demo` makes an image of the two demo apps instead, for examples/compose.

ARG RUST_VERSION=1.95
ARG DEBIAN_RELEASE=bookworm

FROM rust:${RUST_VERSION}-${DEBIAN_RELEASE} AS toolchain
# cmake builds zlib-ng; the C compiler, make and perl are there.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY Cargo.toml Cargo.lock ./

# The dependencies have a layer of their own. They are built again only when the manifest or the lock file changes.
# There is only one crate, so an empty crate in its place is enough, without cargo-chef.
FROM toolchain AS build
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --lib --bins \
    && rm -r src
COPY src src
# This makes the files newer than the build of the empty crate, for any dates in the working copy.
RUN touch src/lib.rs src/main.rs \
    && cargo build --release --locked --bin portcullis \
    && cp target/release/portcullis /portcullis

# The demo's apps are built without optimisation. That takes a fraction of the time, and they have little to do.
FROM toolchain AS build-demo
RUN mkdir -p src examples/demo \
    && echo 'fn main() {}' > src/main.rs \
    && cp src/main.rs examples/demo/main.rs \
    && touch src/lib.rs \
    && cargo build --locked --example demo \
    && rm -r src examples
COPY src src
COPY examples/demo examples/demo
RUN touch src/lib.rs examples/demo/main.rs \
    && cargo build --locked --example demo \
    && cp target/debug/examples/demo /demo

# The base has glibc, libgcc and CA certificates of the Debian release that the program was built on, and user 65532.
# It has no shell and no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot AS demo
COPY --from=build-demo /demo /usr/local/bin/demo
ENTRYPOINT ["/usr/local/bin/demo"]

FROM gcr.io/distroless/cc-debian12:nonroot AS gateway
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Portcullis" \
      org.opencontainers.image.description="Reverse-proxy authentication gateway: keeps OAuth tokens in HttpOnly cookies for apps you cannot change" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
COPY --from=build /portcullis /usr/local/bin/portcullis
# Kubernetes needs a number to see that the user is not root (`runAsNonRoot`).
USER 65532:65532
# Every command looks for `gateway.toml` here.
WORKDIR /etc/portcullis
EXPOSE 8080
# The check asks `server.admin_listen`, which may be on loopback. If that is off, start with `--no-healthcheck`.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["/usr/local/bin/portcullis", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/portcullis"]
CMD ["run"]
