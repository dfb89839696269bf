# The image of Portcullis: one static binary, its bill of materials, and nothing else: no shell, no C library, no user list.
#
#   make build-images                   CONTAINER=podman where it is not docker
#   docker buildx build --platform linux/amd64,linux/arm64 …            cross compiled, without emulation
#   podman build --platform linux/arm64 --build-arg BUILDPLATFORM=linux/amd64 …     the same; podman does not know it by itself
#
# With RUST_IMAGE=docker.io/library/rust@sha256:… and the SOURCE_DATE_EPOCH of `make build-images` as build arguments the
# binary is the same bytes wherever it is built.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-bookworm

FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS build
# Another folder makes the same binary. CI names the one in which it has compiled before.
ARG SOURCE=/src
WORKDIR $SOURCE

# A cross compiler, where the image is for another architecture than this one.
ARG TARGETARCH
# hadolint ignore=DL3008 # Debian keeps one version of it a release, and takes it away with the next security fix.
RUN set -eu; \
    host=$(rustc --print host-tuple); \
    case "${TARGETARCH:-}" in \
    amd64) triple=x86_64-unknown-linux-gnu ;; \
    arm64) triple=aarch64-unknown-linux-gnu ;; \
    "") triple=$host ;; \
    *) echo "no image for $TARGETARCH" >&2; exit 1 ;; \
    esac; \
    if [ "$triple" != "$host" ]; then \
        apt-get update; \
        apt-get install --yes --no-install-recommends "crossbuild-essential-$TARGETARCH"; \
        rm -rf /var/lib/apt/lists/*; \
        rustup target add "$triple"; \
    fi; \
    echo "$triple" >/triple

COPY .ci/supply-chain .ci/
RUN .ci/supply-chain tools
ENV PATH=$SOURCE/target/tools/bin:$PATH

COPY . .
# The hour that stands in the bill of materials, in seconds since 1970: that of the commit.
ARG SOURCE_DATE_EPOCH=0
# What comes from outside is what the image has: /tmp is for `portcullis demo`.
RUN set -eu; \
    .ci/dist /dist --static --target "$(cat /triple)"; \
    install -D --mode 0755 /dist/portcullis /image/usr/local/bin/portcullis; \
    install -D --mode 0644 /dist/portcullis.cdx.json /image/usr/share/sbom/portcullis.cdx.json; \
    install --directory --mode 1777 /image/tmp

FROM scratch
COPY --from=build /image/ /
# `kubectl exec … -- portcullis logs` finds it.
ENV PATH=/usr/local/bin
# In numbers, so that runAsNonRoot can be proven.
USER 65532:65532
# HTTPS, the redirect where it is on, probes and metrics. The admin plane is on the loopback.
EXPOSE 8443 8081 9902
ENTRYPOINT ["/usr/local/bin/portcullis"]
CMD ["run"]

ARG VERSION=unreleased
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="Portcullis" \
      org.opencontainers.image.description="A TLS-terminating security sidecar for applications nobody dares to change" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
