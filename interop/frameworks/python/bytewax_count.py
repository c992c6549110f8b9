"""Bytewax: counts the records of each key; offsets and counts are in its recovery store."""

import sys
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main

bootstrap, source, sink, folder = sys.argv[1:]

flow = Dataflow("count")
read = kop.input("read", flow, brokers=[bootstrap], topics=[source]).oks
keyed = op.key_on("keyed", read, lambda message: message.key.decode())
counts = op.stateful_map("count", keyed, lambda count, _: ((count or 0) + 1,) * 2)
messages = op.map("message", counts, lambda pair: KafkaSinkMessage(pair[0].encode(), str(pair[1]).encode()))
kop.output("write", messages, brokers=[bootstrap], topic=sink)

store = Path(folder) / "recovery"
if not store.exists():
    store.mkdir(parents=True)
    init_db_dir(store, 1)
cli_main(flow, epoch_interval=timedelta(seconds=0.5), recovery_config=RecoveryConfig(str(store)))
