// kafka-go: PROGRAM BOOTSTRAP SCENARIO PREFIX; default settings unless the scenario is about a setting.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

var scenarios = map[string]func(r rig){
	"round-trip":      roundTrip,
	"auto-create":     autoCreate,
	"connection":      connection,
	"codecs":          codecs,
	"acks":            acks,
	"shapes":          shapes,
	"group":           func(r rig) { group(r, kafka.RangeGroupBalancer{}) },
	"roundrobin":      func(r rig) { group(r, kafka.RoundRobinGroupBalancer{}) },
	"commit-and-seek": commitAndSeek,
	"seek-by-time":    seekByTime,
	"read-committed":  readCommitted,
	"admin":           administer,
	"admin-cluster":   administerCluster,
	"acls":            acls,
	"transactions":    transactions,
}

// rig is what a scenario uses: a client, and names that no other scenario uses.
type rig struct {
	*kafka.Client
	brokers []string
	prefix  string
}

var ctx, cancel = context.WithTimeout(context.Background(), 90*time.Second)

func main() {
	if len(os.Args) != 4 {
		fmt.Println("usage: PROGRAM BOOTSTRAP SCENARIO PREFIX")
		os.Exit(2)
	}
	defer cancel()
	brokers := strings.Split(os.Args[1], ",")
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Transport: &kafka.Transport{TLS: secured(), SASL: login()}}
	scenarios[os.Args[2]](rig{client, brokers, os.Args[3]})
	fmt.Println("ok")
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func want(seen, expected any) {
	if one, two := fmt.Sprint(seen), fmt.Sprint(expected); one != two {
		panic(fmt.Sprintf("seen %.1500s, expected %.1500s", one, two))
	}
}

// CLIENT_SECURITY: JSON with the protocol and paths of PEM files.
func secured() *tls.Config {
	given := os.Getenv("CLIENT_SECURITY")
	if given == "" {
		return nil
	}
	var files struct{ Ca, Certificate string }
	check(json.Unmarshal([]byte(given), &files))
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(must(os.ReadFile(files.Ca)))
	if files.Certificate != "" {
		config.Certificates = []tls.Certificate{must(tls.LoadX509KeyPair(files.Certificate, files.Certificate))}
	}
	return config
}

// The variables SASL_MECHANISM, SASL_USER and SASL_PASSWORD let the client log in.
func login() sasl.Mechanism {
	user, password := os.Getenv("SASL_USER"), os.Getenv("SASL_PASSWORD")
	switch os.Getenv("SASL_MECHANISM") {
	case "PLAIN":
		return plain.Mechanism{Username: user, Password: password}
	case "SCRAM-SHA-256":
		return must(scram.Mechanism(scram.SHA256, user, password))
	case "SCRAM-SHA-512":
		return must(scram.Mechanism(scram.SHA512, user, password))
	}
	return nil
}

func (r rig) dialer() *kafka.Dialer {
	return &kafka.Dialer{Timeout: 10 * time.Second, DualStack: true, TLS: secured(), SASLMechanism: login()}
}

func (r rig) topic(partitions int) string {
	config := kafka.TopicConfig{Topic: r.prefix, NumPartitions: partitions, ReplicationFactor: 1}
	answer := must(r.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}}))
	check(answer.Errors[r.prefix])
	return r.prefix
}

func (r rig) writer(topic string) *kafka.Writer {
	return &kafka.Writer{Addr: r.Addr, Topic: topic, Transport: r.Transport, BatchTimeout: 10 * time.Millisecond, RequiredAcks: kafka.RequireAll}
}

func (r rig) send(topic string, messages []kafka.Message) {
	writer := r.writer(topic)
	check(writer.WriteMessages(ctx, messages...))
	check(writer.Close())
}

func (r rig) reader(config kafka.ReaderConfig) *kafka.Reader {
	config.Brokers, config.Dialer, config.MaxWait = r.brokers, r.dialer(), 500*time.Millisecond
	config.HeartbeatInterval = 500 * time.Millisecond
	return kafka.NewReader(config)
}

// read reads some records of a partition from its start.
func (r rig) read(topic string, partition, count int) []kafka.Message {
	reader := r.reader(kafka.ReaderConfig{Topic: topic, Partition: partition})
	defer reader.Close()
	return take(reader, count)
}

func take(reader *kafka.Reader, count int) []kafka.Message {
	var messages []kafka.Message
	for len(messages) < count {
		messages = append(messages, must(reader.ReadMessage(ctx)))
	}
	return messages
}

func numbered(count int) []kafka.Message {
	var messages []kafka.Message
	for n := 0; n < count; n++ {
		messages = append(messages, kafka.Message{Key: []byte(fmt.Sprint("k", n)), Value: []byte(fmt.Sprint("v", n))})
	}
	return messages
}

func values(messages []kafka.Message) []string {
	var found []string
	for _, message := range messages {
		found = append(found, string(message.Value))
	}
	sort.Strings(found)
	return found
}

func roundTrip(r rig) {
	topic := r.topic(3)
	r.send(topic, numbered(1000))
	var seen []kafka.Message
	partitions := []kafka.OffsetRequest{kafka.LastOffsetOf(0), kafka.LastOffsetOf(1), kafka.LastOffsetOf(2)}
	for _, end := range must(r.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: partitions}})).Topics[topic] {
		check(end.Error)
		seen = append(seen, r.read(topic, end.Partition, int(end.LastOffset))...)
	}
	want(values(seen), values(numbered(1000)))
}

func autoCreate(r rig) {
	writer := r.writer(r.prefix)
	writer.AllowAutoTopicCreation = true
	err := writer.WriteMessages(ctx, numbered(5)...)
	for n := 0; err != nil && n < 20; n++ { // as the library's documentation has it: the topic comes a moment later
		time.Sleep(250 * time.Millisecond)
		err = writer.WriteMessages(ctx, numbered(5)...)
	}
	check(err)
	check(writer.Close())
	want(len(r.read(r.prefix, 0, 5)), 5)
}

// The older interface of the library, one connection to the leader of a partition.
func connection(r rig) {
	conn := must(r.dialer().DialContext(ctx, "tcp", r.brokers[0]))
	check(conn.CreateTopics(kafka.TopicConfig{Topic: r.prefix, NumPartitions: 1, ReplicationFactor: 1}))
	want(must(conn.Controller()).ID, 1)
	want(len(must(conn.Brokers())), 1)
	for n := 0; len(must(conn.ReadPartitions())) == 0 && n < 50; n++ {
		time.Sleep(50 * time.Millisecond)
	}
	want(len(must(conn.ApiVersions())) > 30, true)
	leader := must(r.dialer().DialLeader(ctx, "tcp", r.brokers[0], r.prefix, 0))
	want(must(leader.WriteMessages(numbered(5)...)) > 0, true)
	must(leader.WriteCompressedMessages(kafka.Lz4.Codec(), numbered(5)...))
	want(must(leader.ReadLastOffset()), 10)
	want(must(leader.ReadFirstOffset()), 0)
	must(leader.Seek(7, kafka.SeekAbsolute))
	batch := leader.ReadBatch(1, 1_000_000)
	want(string(must(batch.ReadMessage()).Value), "v2")
	want(batch.HighWaterMark(), 10)
	check(batch.Close())
	want(must(leader.ReadOffset(time.Now().Add(-time.Hour))), 0)
	check(leader.Close())
	check(conn.DeleteTopics(r.prefix))
	check(conn.Close())
}

func codecs(r rig) {
	topic := r.topic(1)
	all := []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd}
	for _, codec := range all {
		writer := r.writer(topic)
		writer.Compression = codec
		check(writer.WriteMessages(ctx, numbered(200)...))
		check(writer.Close())
	}
	want(len(r.read(topic, 0, 200*len(all))), 200*len(all))
}

func acks(r rig) {
	topic := r.topic(1)
	for _, wanted := range []kafka.RequiredAcks{kafka.RequireNone, kafka.RequireOne, kafka.RequireAll} {
		writer := r.writer(topic)
		writer.RequiredAcks = wanted
		check(writer.WriteMessages(ctx, numbered(10)...))
		check(writer.Close())
	}
	r.read(topic, 0, 30)
}

func shapes(r rig) {
	topic := r.topic(1)
	sent := []kafka.Message{
		{Key: []byte("key"), Value: []byte("value"), Time: time.UnixMilli(1_700_000_000_000)},
		{Value: []byte("no key")},
		{Key: []byte("no value")},
		{Key: []byte{}, Value: []byte{}},
		{Value: bytes.Repeat([]byte("m"), 900_000)},
		{Value: []byte("v"), Headers: []kafka.Header{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "empty", Value: []byte{}}}},
	}
	r.send(topic, sent)
	for n, message := range r.read(topic, 0, len(sent)) {
		want(bytes.Equal(message.Key, sent[n].Key) && bytes.Equal(message.Value, sent[n].Value), true)
		want(message.Headers, sent[n].Headers)
		want(message.Offset, n)
		want(message.HighWaterMark, len(sent))
	}
	want(r.read(topic, 0, 1)[0].Time.UnixMilli(), 1_700_000_000_000)
}

func seekByTime(r rig) {
	topic := r.topic(1)
	sent := numbered(10)
	for n := range sent {
		sent[n].Time = time.UnixMilli(1_700_000_000_000 + int64(n)*1000)
	}
	r.send(topic, sent)
	reader := r.reader(kafka.ReaderConfig{Topic: topic})
	defer reader.Close()
	check(reader.SetOffsetAt(ctx, time.UnixMilli(1_700_000_004_500)))
	want(values(take(reader, 5)), "[v5 v6 v7 v8 v9]")
	want(must(reader.ReadLag(ctx)), 0)
}
