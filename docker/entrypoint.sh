#!/bin/sh
# Start kwire the way the official image starts Apache Kafka: settings from KAFKA_... variables, CLUSTER_ID, and a
# server.properties mounted at /mnt/shared/config. With arguments, run those instead: docker run ... kafka-topics.sh --help
set -eu

if [ "$#" -gt 0 ]; then
  exec "$@"
fi

home=${KWIRE_HOME:-/opt/kafka}
config=$home/config/server.properties
mounted=${KWIRE_MOUNTED_CONFIG:-/mnt/shared/config}/server.properties
if [ -f "$mounted" ]; then
  config=$mounted
fi

# People paste the advertised listeners alone, as some images allow: then each is listened for on its port.
if [ -n "${KAFKA_ADVERTISED_LISTENERS:-}" ] && [ -z "${KAFKA_LISTENERS:-}" ] && [ "$config" != "$mounted" ]; then
  KAFKA_LISTENERS=$(printf '%s' "$KAFKA_ADVERTISED_LISTENERS" | sed -E 's#://[^,]*:([0-9]+)#://0.0.0.0:\1#g')
  export KAFKA_LISTENERS
fi

exec kwire serve --env --config "$config"
