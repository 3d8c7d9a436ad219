# The operator's image, for those who build with Docker. What the project tests and releases is the image of
# `cargo xtask image`, which holds the same program, for the same user, and has no base image. So the tags here move with
# their makers' updates; who publishes what this makes pins both by digest first.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package printernizer --bin printernizer

# glibc and libgcc of the same Debian release, no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="printernizer" \
      org.opencontainers.image.description="Runs a 3D-print farm as Kubernetes resources" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="Printernizer"
COPY --from=build /src/target/release/printernizer /usr/bin/printernizer
USER 65532:65532
ENTRYPOINT ["/usr/bin/printernizer"]
