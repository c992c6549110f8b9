# A small image: Python, kwire, and the official scripts' names under /opt/kafka/bin. No JVM.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY kwire kwire
COPY protocol_specs protocol_specs
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.12-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels kwire \
    && python -m compileall -q /usr/local/lib/python3.12/site-packages/kwire \
    && useradd --system --uid 1000 --create-home kwire \
    && mkdir -p /var/lib/kafka/data /opt/kafka/bin /opt/kafka/config \
    && kwire scripts --install /opt/kafka/bin \
    && chown -R kwire /var/lib/kafka
COPY docker/entrypoint.sh /opt/kafka/entrypoint.sh
COPY docker/server.properties /opt/kafka/config/server.properties
ENV PATH=/opt/kafka/bin:$PATH
USER kwire
WORKDIR /home/kwire
VOLUME /var/lib/kafka/data
EXPOSE 9092
HEALTHCHECK --interval=5s --timeout=5s --start-period=5s --retries=5 \
    CMD kafka-broker-api-versions.sh --bootstrap-server "localhost:${KWIRE_HEALTH_PORT:-9092}" >/dev/null || exit 1
ENTRYPOINT ["/opt/kafka/entrypoint.sh"]
