# Three images out of one build: `docker build --target api .`, or `subscriber`, or `metabase-setup`.
# Plain Dockerfile syntax, so that both BuildKit and the classic builder take it.

FROM rust:1.95-bookworm AS chef
RUN cargo install cargo-chef --locked --version 0.1.78
WORKDIR /src

FROM chef AS planner
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

# The dependencies are a layer of their own: it lasts until a manifest or Cargo.lock changes. Its profile, packages and
# toolchain are the build's below; were one to differ, cargo would compile everything a second time.
FROM chef AS build
COPY --from=planner /src/recipe.json .
RUN cargo chef cook --release --locked -p ponte-api -p ponte-subscriber -p metabase-setup --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked -p ponte-api -p ponte-subscriber -p metabase-setup
# A new named volume takes the owner of the folder that it covers; the final images have no shell to make one.
RUN mkdir /owned

FROM gcr.io/distroless/cc-debian12 AS api
COPY --from=build /src/target/release/ponte-api /usr/local/bin/
COPY --from=build --chown=10001:10001 /owned /data
USER 10001:10001
WORKDIR /data
# Outside loopback the API wants tokens or API_ALLOW_ANONYMOUS=true, and says so.
ENV DATABASE_URL=sqlite:/data/dados.db API_ADDR=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 CMD ["/usr/local/bin/ponte-api", "health"]
ENTRYPOINT ["/usr/local/bin/ponte-api"]

FROM gcr.io/distroless/cc-debian12 AS subscriber
COPY --from=build /src/target/release/ponte-subscriber /usr/local/bin/
COPY --from=build --chown=10001:10001 /owned /spool
USER 10001:10001
WORKDIR /spool
ENV SPOOL_DIR=/spool STATUS_ADDR=0.0.0.0:8081
EXPOSE 8081
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 CMD ["/usr/local/bin/ponte-subscriber", "health"]
ENTRYPOINT ["/usr/local/bin/ponte-subscriber"]

# It runs once: nothing to keep, and nothing to ask how it is.
FROM gcr.io/distroless/cc-debian12 AS metabase-setup
COPY --from=build /src/target/release/metabase-setup /usr/local/bin/
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/metabase-setup"]
