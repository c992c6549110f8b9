# A small image: Python, kwire with its HTTP interface, console and schemas, and Kafka's scripts under their official names.
# No JVM.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY kwire kwire
COPY protocol_specs protocol_specs
RUN pip wheel --no-cache-dir --wheel-dir /wheels '.[control,schemas]'

FROM python:3.12-slim
# Scripts that are written for other images find what they call at the paths of those images, and may change it.
COPY docker/etc/ /etc/kafka/docker/
COPY docker/etc/ /etc/confluent/docker/
COPY docker/bin/ /opt/kafka/bin/
COPY docker/entrypoint.sh /opt/kafka/entrypoint.sh
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels 'kwire[control,schemas]' \
    && python -m compileall -q /usr/local/lib/python3.12/site-packages/kwire \
    && useradd --system --uid 1000 --create-home kwire \
    && mkdir -p /var/lib/kafka/data /opt/bitnami \
    && kwire scripts --install /opt/kafka/bin \
    && ln -s zookeeper-server-start /opt/kafka/bin/zookeeper-server-start.sh \
    && ln -s /opt/kafka /opt/bitnami/kafka \
    && chown -R kwire /var/lib/kafka /etc/kafka /etc/confluent
ENV PATH=/opt/kafka/bin:$PATH
USER kwire
WORKDIR /home/kwire
VOLUME /var/lib/kafka/data
# 9644: HTTP, with KWIRE_CONTROL=0.0.0.0:9644 and KWIRE_CONTROL_TOKEN.
EXPOSE 9092 9644
HEALTHCHECK --interval=5s --timeout=5s --start-period=5s --retries=5 \
    CMD kafka-broker-api-versions.sh --bootstrap-server "localhost:${KWIRE_HEALTH_PORT:-9092}" >/dev/null || exit 1
ENTRYPOINT ["/opt/kafka/entrypoint.sh"]
