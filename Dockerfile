# The image of ottla: one static binary and the configurations of cluster-config/. Works with the old builder and with BuildKit, so
# no `# syntax` line, no --mount, no --chmod. docker/prebuilt.Dockerfile ends with the same lines: change both.
ARG RUST_IMAGE=rust:1-bookworm
FROM ${RUST_IMAGE} AS build
LABEL ottla.stage=build
WORKDIR /source
COPY . .
# A static binary needs an explicit target, else procedural macros fail to build.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
 && RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$target" \
 && mkdir -p /out/bin /out/data \
 && cp "target/$target/release/ottla" /out/bin/

FROM scratch AS runtime
COPY --from=build /out/bin/ /
COPY --from=build --chown=10001:10001 /out/data /data
COPY cluster-config/ /etc/ottla/
USER 10001:10001
VOLUME /data
EXPOSE 9092 9093 9644
HEALTHCHECK --interval=1s --timeout=2s --start-period=5s --retries=10 CMD ["/ottla", "health"]
ENTRYPOINT ["/ottla"]
CMD ["server", "--config", "/etc/ottla/container.toml"]
