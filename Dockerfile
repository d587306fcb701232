# The agent and nothing else: no shell, no package manager. hack/image builds it, and says where the base comes from.
ARG BASE=debian:bookworm-slim
ARG BUILDPLATFORM
# Always this machine's own architecture: the executable is compiled for the other one, too.
FROM --platform=$BUILDPLATFORM $BASE AS build
WORKDIR /ringside
COPY package.json bun.lock bunfig.toml ./
COPY hack/setup hack/setup
COPY hack/lib/env hack/lib/env
RUN hack/setup build
COPY . .
ARG TARGETARCH
ARG SOURCE_DATE_EPOCH
RUN hack/image --root /image --arch "$TARGETARCH"

FROM scratch
COPY --from=build /image /
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="Ringside" \
      org.opencontainers.image.description="Counts the TCP traffic of every pod in the kernel, and serves it as Prometheus metrics" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
# Root, with the capabilities that it is given; another user needs ambient ones, which Kubernetes does not give.
USER 0:0
EXPOSE 12020
ENTRYPOINT ["/usr/bin/ringside"]
CMD ["run"]
