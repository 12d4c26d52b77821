# docker build -t holdfast .            the router
# docker build --target sipp -t sipp .  SIPp, for docker-compose.yml

FROM rust:1.95-bookworm AS build
WORKDIR /holdfast
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
COPY migrations migrations
COPY benches benches
COPY sip-tests sip-tests
RUN cargo build --release --locked --bin holdfast

FROM debian:bookworm-slim AS sipp
RUN apt-get update \
    && apt-get install -y --no-install-recommends sip-tester \
    && rm -rf /var/lib/apt/lists/*

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /var/lib/holdfast holdfast
COPY --from=build /holdfast/target/release/holdfast /usr/local/bin/holdfast
USER holdfast
WORKDIR /var/lib/holdfast
# Records wait here while the store is away: keep it on a volume.
VOLUME /var/lib/holdfast
EXPOSE 5060/udp 9060/tcp
ENTRYPOINT ["holdfast"]
CMD ["serve"]
