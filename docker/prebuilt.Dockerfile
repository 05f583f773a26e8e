# The image of ottla around a binary that was built on the host (scripts/image): needs no other image, so no registry.
# The lines from USER on are those of Dockerfile: change both.
FROM scratch AS runtime
COPY bin/ /
COPY --chown=10001:10001 data /data
COPY cluster-config/ /etc/ottla/
USER 10001:10001
VOLUME /data
EXPOSE 9092 9093 9644
HEALTHCHECK --interval=1s --timeout=2s --start-period=5s --retries=10 CMD ["/ottla", "health"]
ENTRYPOINT ["/ottla"]
CMD ["server", "--config", "/etc/ottla/container.toml"]
