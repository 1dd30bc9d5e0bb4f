# syntax=docker/dockerfile:1
# Portcullis in a small image:
#   docker build -t portcullis .
#   docker run -v ./gateway.toml:/etc/portcullis/gateway.toml:ro -p 8080:8080 portcullis
# In a container `server.listen` must be reachable from outside it: `listen = ["0.0.0.0:8080"]`.

FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /source
# Dependencies first: they are built again only when the lock file changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked --lib --bins \
    && rm -r src
COPY src src
RUN touch src/lib.rs src/main.rs && cargo build --release --locked --bin portcullis

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
LABEL org.opencontainers.image.title="Portcullis" \
      org.opencontainers.image.description="Reverse-proxy authentication gateway" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /source/target/release/portcullis /usr/local/bin/portcullis
USER 65532:65532
WORKDIR /etc/portcullis
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["portcullis", "healthcheck"]
ENTRYPOINT ["portcullis"]
CMD ["run"]
