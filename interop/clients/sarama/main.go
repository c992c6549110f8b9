// sarama: PROGRAM BOOTSTRAP SCENARIO PREFIX. Each scenario runs with the oldest version of Kafka that current brokers
// serve, with sarama's default and with the newest that it knows; the versions of its requests follow from these.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

var versions = []sarama.KafkaVersion{sarama.V2_1_0_0, sarama.DefaultVersion, sarama.MaxVersion}

var scenarios = map[string]func(r rig){
	"round-trip":      roundTrip,
	"auto-create":     autoCreate,
	"codecs":          codecs,
	"acks":            acks,
	"shapes":          shapes,
	"idempotent":      idempotent,
	"group":           func(r rig) { group(r, sarama.NewBalanceStrategyRange()) },
	"sticky":          func(r rig) { group(r, sarama.NewBalanceStrategySticky()) },
	"static":          static,
	"commit-and-seek": commitAndSeek,
	"seek-by-time":    seekByTime,
	"pause":           pause,
	"admin":           administer,
	"admin-cluster":   administerCluster,
	"acls":            acls,
	"transactions":    transactions,
	"exactly-once":    exactlyOnce,
}

// rig is what a scenario uses: a broker, a version, and names that no other scenario uses.
type rig struct {
	bootstrap []string
	prefix    string
	version   sarama.KafkaVersion
}

func main() {
	if len(os.Args) != 4 {
		fmt.Println("usage: PROGRAM BOOTSTRAP SCENARIO PREFIX")
		os.Exit(2)
	}
	time.AfterFunc(3*time.Minute, func() { panic("the scenario did not end in 3 minutes") })
	for _, version := range versions {
		fmt.Println("as", version)
		prefix := os.Args[3] + "-" + version.String()
		scenarios[os.Args[2]](rig{strings.Split(os.Args[1], ","), prefix, version})
	}
	fmt.Println("ok")
}

func check(err error) {
	if several := (sarama.ProducerErrors{}); errors.As(err, &several) {
		err = several[0]
	}
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

func (r rig) config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = r.version
	config.Producer.Return.Successes = true
	config.Consumer.Return.Errors = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	secure(config)
	login(config)
	return config
}

// CLIENT_SECURITY: JSON with the protocol and paths of PEM files.
func secure(config *sarama.Config) {
	given := os.Getenv("CLIENT_SECURITY")
	if given == "" {
		return
	}
	var files struct{ Ca, Certificate string }
	check(json.Unmarshal([]byte(given), &files))
	config.Net.TLS.Enable = true
	config.Net.TLS.Config = &tls.Config{RootCAs: x509.NewCertPool()}
	config.Net.TLS.Config.RootCAs.AppendCertsFromPEM(must(os.ReadFile(files.Ca)))
	if files.Certificate != "" {
		pair := must(tls.LoadX509KeyPair(files.Certificate, files.Certificate))
		config.Net.TLS.Config.Certificates = []tls.Certificate{pair}
	}
}

// The variables SASL_MECHANISM, SASL_USER and SASL_PASSWORD (or a token) let the client log in.
func login(config *sarama.Config) {
	mechanism := os.Getenv("SASL_MECHANISM")
	if mechanism == "" {
		return
	}
	sasl := &config.Net.SASL
	sasl.Enable, sasl.Mechanism = true, sarama.SASLMechanism(mechanism)
	sasl.User, sasl.Password = os.Getenv("SASL_USER"), os.Getenv("SASL_PASSWORD")
	sasl.TokenProvider = token(sasl.Password)
	hash := scram.SHA256
	if mechanism == "SCRAM-SHA-512" {
		hash = scram.SHA512
	}
	sasl.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &conversation{hash: hash} }
}

type token string

func (t token) Token() (*sarama.AccessToken, error) {
	return &sarama.AccessToken{Token: string(t)}, nil
}

type conversation struct {
	*scram.ClientConversation
	hash scram.HashGeneratorFcn
}

func (c *conversation) Begin(user, password, authorization string) error {
	client, err := c.hash.NewClient(user, password, authorization)
	if err == nil {
		c.ClientConversation = client.NewConversation()
	}
	return err
}

func (r rig) admin() sarama.ClusterAdmin {
	return must(sarama.NewClusterAdmin(r.bootstrap, r.config()))
}

func (r rig) topic(partitions int32) string {
	admin := r.admin()
	defer admin.Close()
	check(admin.CreateTopic(r.prefix, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false))
	oldest := map[string]map[int32]int64{r.prefix: {}}
	for partition := range partitions {
		oldest[r.prefix][partition] = sarama.OffsetOldest
	}
	until(partitions, func() any { // until its leader serves each: a producer that has to retry its first batches may fail
		led := int32(0)
		for _, found := range must(admin.ListOffsets(oldest, nil))[r.prefix] {
			if found.Err == sarama.ErrNoError {
				led++
			}
		}
		return led
	})
	return r.prefix
}

func (r rig) send(messages []*sarama.ProducerMessage, config *sarama.Config) {
	producer := must(sarama.NewSyncProducer(r.bootstrap, config))
	defer producer.Close()
	check(producer.SendMessages(messages))
}

func (r rig) read(topic string, partition int32, from int64, count int, config *sarama.Config) []*sarama.ConsumerMessage {
	consumer := must(sarama.NewConsumer(r.bootstrap, config))
	defer consumer.Close()
	stream := must(consumer.ConsumePartition(topic, partition, from))
	defer stream.Close()
	return take(stream, count)
}

func take(stream sarama.PartitionConsumer, count int) []*sarama.ConsumerMessage {
	var messages []*sarama.ConsumerMessage
	for len(messages) < count {
		select {
		case message := <-stream.Messages():
			messages = append(messages, message)
		case err := <-stream.Errors():
			panic(err)
		}
	}
	return messages
}

func numbered(topic string, count int) []*sarama.ProducerMessage {
	var messages []*sarama.ProducerMessage
	for n := 0; n < count; n++ {
		key, value := sarama.StringEncoder(fmt.Sprint("k", n)), sarama.StringEncoder(fmt.Sprint("v", n))
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Key: key, Value: value})
	}
	return messages
}

func values(messages []*sarama.ConsumerMessage) []string {
	var found []string
	for _, message := range messages {
		found = append(found, string(message.Value))
	}
	return found
}

func sorted(words []string) []string {
	sort.Strings(words)
	return words
}

func roundTrip(r rig) {
	topic := r.topic(3)
	sent := numbered(topic, 1000)
	r.send(sent, r.config())
	counts := map[int32]int{}
	var expected, seen []string
	for _, message := range sent {
		counts[message.Partition]++
		expected = append(expected, string(message.Value.(sarama.StringEncoder)))
	}
	for partition, count := range counts {
		seen = append(seen, values(r.read(topic, partition, sarama.OffsetOldest, count, r.config()))...)
	}
	want(sorted(seen), sorted(expected))
}

func autoCreate(r rig) {
	r.send(numbered(r.prefix, 5), r.config())
	want(len(r.read(r.prefix, 0, 0, 5, r.config())), 5)
}

func codecs(r rig) {
	topic := r.topic(1)
	all := []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD}
	for _, codec := range all {
		config := r.config()
		config.Producer.Compression = codec
		r.send(numbered(topic, 200), config)
	}
	want(len(r.read(topic, 0, 0, 200*len(all), r.config())), 200*len(all))
}

func acks(r rig) {
	topic := r.topic(1)
	for _, wanted := range []sarama.RequiredAcks{sarama.NoResponse, sarama.WaitForLocal, sarama.WaitForAll} {
		config := r.config()
		config.Producer.RequiredAcks = wanted
		r.send(numbered(topic, 10), config)
	}
	r.read(topic, 0, 0, 30, r.config())
}

func shapes(r rig) {
	topic := r.topic(1)
	header := func(key, value string) sarama.RecordHeader {
		return sarama.RecordHeader{Key: []byte(key), Value: []byte(value)}
	}
	sent := []*sarama.ProducerMessage{
		{Key: sarama.StringEncoder("key"), Value: sarama.StringEncoder("value")},
		{Value: sarama.StringEncoder("no key")},
		{Key: sarama.StringEncoder("no value")},
		{Key: sarama.StringEncoder(""), Value: sarama.StringEncoder("")},
		{Value: sarama.ByteEncoder(bytes.Repeat([]byte("m"), 900_000))},
		{Value: sarama.StringEncoder("v"), Headers: []sarama.RecordHeader{header("a", "1"), header("a", "2"), header("empty", "")}},
	}
	for _, message := range sent {
		message.Topic = topic
	}
	r.send(sent, r.config())
	for n, message := range r.read(topic, 0, 0, len(sent), r.config()) {
		want(message.Key == nil, sent[n].Key == nil)
		want(message.Value == nil, sent[n].Value == nil)
		want(len(message.Headers), len(sent[n].Headers))
		for place, header := range message.Headers {
			want(*header, sent[n].Headers[place])
		}
		if sent[n].Value != nil {
			want(bytes.Equal(message.Value, must(sent[n].Value.Encode())), true)
		}
	}
}

func idempotent(r rig) {
	topic := r.topic(1)
	config := r.config()
	config.Producer.Idempotent, config.Producer.RequiredAcks, config.Net.MaxOpenRequests = true, sarama.WaitForAll, 1
	config.Producer.Flush.MaxMessages = 10
	r.send(numbered(topic, 500), config)
	var expected []string
	for n := 0; n < 500; n++ {
		expected = append(expected, fmt.Sprint("v", n))
	}
	want(values(r.read(topic, 0, 0, 500, r.config())), expected)
}

func commitAndSeek(r rig) {
	topic := r.topic(1)
	r.send(numbered(topic, 50), r.config())
	client := must(sarama.NewClient(r.bootstrap, r.config()))
	defer client.Close()
	offsets := must(sarama.NewOffsetManagerFromClient(r.prefix, client))
	partition := must(offsets.ManagePartition(topic, 0))
	partition.MarkOffset(17, "half way")
	offsets.Commit()
	check(partition.Close())
	check(offsets.Close())
	committed := must(sarama.NewOffsetManagerFromClient(r.prefix, client))
	next, metadata := must(committed.ManagePartition(topic, 0)).NextOffset()
	want(next, 17)
	want(metadata, "half way")
	check(committed.Close())
	want(must(client.GetOffset(topic, 0, sarama.OffsetNewest)), 50)
	want(values(r.read(topic, 0, 45, 5, r.config())), "[v45 v46 v47 v48 v49]")
}

func seekByTime(r rig) {
	topic := r.topic(1)
	sent := numbered(topic, 10)
	for n, message := range sent {
		message.Timestamp = time.UnixMilli(1_700_000_000_000 + int64(n)*1000)
	}
	r.send(sent, r.config())
	client := must(sarama.NewClient(r.bootstrap, r.config()))
	defer client.Close()
	want(must(client.GetOffset(topic, 0, 1_700_000_004_500)), 5)
	want(must(client.GetOffset(topic, 0, 1_700_000_099_000)), -1)
	want(r.read(topic, 0, 5, 1, r.config())[0].Timestamp.UnixMilli(), 1_700_000_005_000)
}

func pause(r rig) {
	topic := r.topic(1)
	consumer := must(sarama.NewConsumer(r.bootstrap, r.config()))
	defer consumer.Close()
	stream := must(consumer.ConsumePartition(topic, 0, sarama.OffsetOldest))
	defer stream.Close()
	stream.Pause()
	r.send(numbered(topic, 5), r.config())
	select {
	case <-stream.Messages():
		panic("a paused partition was read")
	case <-time.After(time.Second):
	}
	stream.Resume()
	take(stream, 5)
}
