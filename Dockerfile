# The emulator of Cloudflare API Shield's client_certificates service, for tests:
#
#   docker build --tag shieldcert .
#   docker run --rm --publish 127.0.0.1:8787:8787 shieldcert --token s3cret
#
# What follows the image's name are options of `shieldcert emulator`. On an address that others reach, the control
# endpoints need a secret: `--control-secret SECRET`. With `--tls`, override the health check, which asks over HTTP.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package shieldcert-cli

# A static program: what the health check runs, in an image that has no shell.
FROM busybox:1.37-musl AS wget

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/LICENSE-APACHE /src/LICENSE-MIT /usr/share/doc/shieldcert/
COPY --from=wget /bin/busybox /usr/bin/wget
COPY --from=build /src/target/release/shieldcert /usr/bin/shieldcert
EXPOSE 8787
HEALTHCHECK --interval=5s --timeout=2s --start-period=5s --retries=3 \
  CMD ["/usr/bin/wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8787/__shieldcert/ca.pem"]
ENTRYPOINT ["/usr/bin/shieldcert", "emulator", "--listen", "0.0.0.0:8787"]
