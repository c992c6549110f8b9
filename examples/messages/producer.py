"""Produce random messages until Ctrl-C: python producer.py [BOOTSTRAP] [TOPIC]."""

import json
import random
import sys
import time

from data_generator import generate_message
from kafka import KafkaProducer

bootstrap = sys.argv[1] if len(sys.argv) > 1 else "localhost:9092"
topic = sys.argv[2] if len(sys.argv) > 2 else "messages"

producer = KafkaProducer(bootstrap_servers=[bootstrap])

try:
    while True:
        message = generate_message()
        print(f"producing at {time.strftime('%H:%M:%S')}: {message}", flush=True)
        producer.send(topic, json.dumps(message).encode("utf-8"))
        time.sleep(random.uniform(0.05, 0.5))
except KeyboardInterrupt:
    producer.close()
