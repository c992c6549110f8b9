// A Node test against a broker under control:
//
//   kwire serve --memory --topic orders --control 9644
//   npm install kafkajs && node --test orders.test.mjs
import assert from "node:assert/strict";
import { test } from "node:test";
import { Kafka, logLevel } from "kafkajs";

const control = process.env.KWIRE_CONTROL_URL ?? "http://127.0.0.1:9644";
const brokers = [process.env.KAFKA_BOOTSTRAP_SERVERS ?? "localhost:9092"];

async function ask(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(control + path, { method, headers, body: body && JSON.stringify(body) });
  return { status: answer.status, value: await answer.json() };
}

test("an order survives two leader changes", async () => {
  const rule = { name: "moved", api: "Produce", topic: "orders", error: "NOT_LEADER_OR_FOLLOWER", times: 2 };
  assert.equal((await ask("POST", "/v1/faults", rule)).status, 201);
  const retry = { retries: 8, initialRetryTime: 50 };
  const producer = new Kafka({ brokers, retry, logLevel: logLevel.NOTHING }).producer({ retry });
  await producer.connect();
  await producer.send({ topic: "orders", messages: [{ value: "one" }] });
  await producer.disconnect();
  assert.equal((await ask("DELETE", "/v1/faults/moved")).value.fired, 2);
  const { value: topics } = await ask("GET", "/v1/topics");
  assert.deepEqual(topics.orders, [{ partition: 0, start: 0, end: 1 }]);
});
