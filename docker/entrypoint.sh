#!/bin/sh
# Starts the broker with the settings of the environment. With arguments it runs those instead, such as
# docker run kwire kafka-topics.sh --help, or the commands that Testcontainers modules pass.
set -eu

if [ "$#" -gt 0 ]; then
  exec "$@"
fi
exec /etc/kafka/docker/settings serve --kafka-ready-lines
