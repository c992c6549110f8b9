// franz-go: PROGRAM BOOTSTRAP SCENARIO PREFIX; default settings unless the scenario is about a setting.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

type scenario func(ctx context.Context, bootstrap, prefix string)

var scenarios = map[string]scenario{
	"round-trip": roundTrip,
	"codecs":     codecs,
	"acks":       acks,
	"shapes":     shapes,
	"megabyte":   megabyte,
	"group":      func(c context.Context, b, p string) { group(c, b, p, kgo.CooperativeStickyBalancer()) },
	"roundrobin": func(c context.Context, b, p string) { group(c, b, p, kgo.RoundRobinBalancer()) },
	"new-group-protocol": func(c context.Context, b, p string) {
		group(c, b, p, kgo.StickyBalancer(), kgo.ServerSideBalancer())
	},
	"share-group":     shareGroup,
	"static":          static,
	"commit-and-seek": commitAndSeek,
	"pause":           pause,
	"admin":           administer,
	"transactions":    transactions,
	"ride-through":    rideThrough,
}

// The scenarios that last longer than usual.
var limits = map[string]time.Duration{"ride-through": 6 * time.Minute}

func main() {
	if len(os.Args) != 4 {
		fmt.Println("usage: PROGRAM BOOTSTRAP SCENARIO PREFIX")
		os.Exit(2)
	}
	limit, known := limits[os.Args[2]]
	if !known {
		limit = 90 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	scenarios[os.Args[2]](ctx, os.Args[1], os.Args[3])
	fmt.Println("ok")
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func want(seen, expected any) {
	if fmt.Sprint(seen) != fmt.Sprint(expected) {
		panic(fmt.Sprintf("seen %.1500v, expected %.1500v", seen, expected))
	}
}

func client(bootstrap string, opts ...kgo.Opt) *kgo.Client {
	opts = append(append(secured(), login()...), opts...)
	made, err := kgo.NewClient(append(opts, kgo.SeedBrokers(strings.Split(bootstrap, ",")...))...)
	check(err)
	return made
}

// The variables SASL_MECHANISM, SASL_USER and SASL_PASSWORD (or a token) let the client log in.
func login() []kgo.Opt {
	user, password := os.Getenv("SASL_USER"), os.Getenv("SASL_PASSWORD")
	switch os.Getenv("SASL_MECHANISM") {
	case "PLAIN":
		return []kgo.Opt{kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism())}
	case "SCRAM-SHA-256":
		return []kgo.Opt{kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism())}
	case "SCRAM-SHA-512":
		return []kgo.Opt{kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism())}
	case "OAUTHBEARER":
		return []kgo.Opt{kgo.SASL(oauth.Auth{Token: password}.AsMechanism())}
	}
	return nil
}

// CLIENT_SECURITY: JSON with the protocol and paths of PEM files.
func secured() []kgo.Opt {
	given := os.Getenv("CLIENT_SECURITY")
	if given == "" {
		return nil
	}
	var files struct{ Ca, Certificate string }
	check(json.Unmarshal([]byte(given), &files))
	authority, err := os.ReadFile(files.Ca)
	check(err)
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(authority)
	if files.Certificate != "" {
		certificate, err := tls.LoadX509KeyPair(files.Certificate, files.Certificate)
		check(err)
		config.Certificates = []tls.Certificate{certificate}
	}
	return []kgo.Opt{kgo.DialTLSConfig(config)}
}

func makeTopic(ctx context.Context, bootstrap, name string, partitions int32) string {
	admin := kadm.NewClient(client(bootstrap))
	defer admin.Close()
	answer, err := admin.CreateTopic(ctx, partitions, 1, nil, name)
	check(err)
	check(answer.Err)
	return name
}

func send(ctx context.Context, bootstrap, topic string, records []*kgo.Record, opts ...kgo.Opt) {
	producer := client(bootstrap, append(opts, kgo.DefaultProduceTopic(topic))...)
	defer producer.Close()
	check(producer.ProduceSync(ctx, records...).FirstErr())
}

func take(ctx context.Context, consumer *kgo.Client, count int) []*kgo.Record {
	var records []*kgo.Record
	for len(records) < count {
		fetches := consumer.PollFetches(ctx)
		check(fetches.Err())
		records = append(records, fetches.Records()...)
	}
	want(len(records), count)
	return records
}

func read(ctx context.Context, bootstrap, topic string, count int, opts ...kgo.Opt) []*kgo.Record {
	opts = append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	consumer := client(bootstrap, opts...)
	defer consumer.Close()
	return take(ctx, consumer, count)
}

func numbered(count int) []*kgo.Record {
	var records []*kgo.Record
	for n := 0; n < count; n++ {
		records = append(records, &kgo.Record{Key: []byte(fmt.Sprint("k", n)), Value: []byte(fmt.Sprint("v", n))})
	}
	return records
}

func values(records []*kgo.Record) []string {
	var found []string
	for _, record := range records {
		found = append(found, string(record.Value))
	}
	return found
}

func sorted(words []string) []string {
	sort.Strings(words)
	return words
}

func roundTrip(ctx context.Context, bootstrap, prefix string) {
	topic := makeTopic(ctx, bootstrap, prefix, 3)
	send(ctx, bootstrap, topic, numbered(1000))
	want(sorted(values(read(ctx, bootstrap, topic, 1000))), sorted(values(numbered(1000))))
}

func codecs(ctx context.Context, bootstrap, prefix string) {
	topic := makeTopic(ctx, bootstrap, prefix, 1)
	all := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for _, codec := range all {
		send(ctx, bootstrap, topic, numbered(200), kgo.ProducerBatchCompression(codec))
	}
	want(len(read(ctx, bootstrap, topic, 200*len(all))), 200*len(all))
}

func acks(ctx context.Context, bootstrap, prefix string) {
	topic := makeTopic(ctx, bootstrap, prefix, 1)
	for _, wanted := range []kgo.Acks{kgo.NoAck(), kgo.LeaderAck(), kgo.AllISRAcks()} {
		send(ctx, bootstrap, topic, numbered(10), kgo.RequiredAcks(wanted), kgo.DisableIdempotentWrite())
	}
	read(ctx, bootstrap, topic, 30)
}

func shapes(ctx context.Context, bootstrap, prefix string) {
	topic := makeTopic(ctx, bootstrap, prefix, 1)
	sent := []*kgo.Record{
		{Key: []byte("key"), Value: []byte("value")},
		{Value: []byte("no key")},
		{Key: []byte("no value")},
		{Key: []byte{}, Value: []byte{}},
		{},
		{Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "empty", Value: []byte{}}}},
	}
	send(ctx, bootstrap, topic, sent)
	for n, record := range read(ctx, bootstrap, topic, len(sent)) {
		want(record.Key == nil, sent[n].Key == nil)
		want(record.Value == nil, sent[n].Value == nil)
		want(bytes.Equal(record.Key, sent[n].Key) && bytes.Equal(record.Value, sent[n].Value), true)
		want(record.Headers, sent[n].Headers)
	}
}

func megabyte(ctx context.Context, bootstrap, prefix string) {
	topic := makeTopic(ctx, bootstrap, prefix, 1)
	big := &kgo.Record{Value: bytes.Repeat([]byte("m"), 999_000)}
	send(ctx, bootstrap, topic, []*kgo.Record{big}, kgo.ProducerBatchCompression(kgo.NoCompression()))
	want(len(read(ctx, bootstrap, topic, 1)[0].Value), 999_000)
}

func owned(member *kgo.Client, topic string) int {
	return len(member.CommittedOffsets()[topic])
}

func group(ctx context.Context, bootstrap, prefix string, balancer kgo.GroupBalancer, more ...kgo.Opt) {
	topic := makeTopic(ctx, bootstrap, prefix, 4)
	send(ctx, bootstrap, topic, numbered(100))
	counts := [2]chan int{make(chan int, 1000), make(chan int, 1000)}
	member := func(n int) *kgo.Client {
		have := 0
		changed := func(sign int) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
				have += sign * len(partitions[topic])
				counts[n] <- have
			}
		}
		return client(bootstrap, append([]kgo.Opt{kgo.ConsumerGroup(prefix), kgo.ConsumeTopics(topic), kgo.Balancers(balancer),
			kgo.HeartbeatInterval(500 * time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
			kgo.OnPartitionsAssigned(changed(1)), kgo.OnPartitionsRevoked(changed(-1))}, more...)...)
	}
	until := func(n, count int) {
		for {
			select {
			case have := <-counts[n]:
				if have == count {
					return
				}
			case <-ctx.Done():
				panic(fmt.Sprintf("member %d never owned %d partitions", n, count))
			}
		}
	}
	first := member(0)
	until(0, 4)
	take(ctx, first, 100)
	go func() {
		for first.PollFetches(ctx).Err() == nil {
		}
	}()
	second := member(1)
	go func() {
		for second.PollFetches(ctx).Err() == nil {
		}
	}()
	until(1, 2)
	until(0, 2)
	first.Close()
	until(1, 4)
	second.Close()
}

// Each record goes to one of two members; what one of them releases comes again, with a higher delivery count.
func shareGroup(ctx context.Context, bootstrap, prefix string) {
	topic := makeTopic(ctx, bootstrap, prefix, 2)
	earliest := "earliest"
	config := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	config.Name, config.Value = "share.auto.offset.reset", &earliest
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = 32, prefix
	resource.Configs = append(resource.Configs, config)
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.Resources = append(request.Resources, resource)
	admin := client(bootstrap)
	answer, err := request.RequestWith(ctx, admin)
	check(err)
	want(answer.Resources[0].ErrorCode, 0)
	admin.Close()
	send(ctx, bootstrap, topic, numbered(100))
	seen := map[string]int{}
	counts := map[int32]int{}
	accepted := 0
	members := []*kgo.Client{}
	for n := 0; n < 2; n++ {
		members = append(members, client(bootstrap, kgo.ShareGroup(prefix), kgo.ConsumeTopics(topic)))
	}
	for accepted < 100 {
		for _, member := range members {
			polled, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			fetches := member.PollFetches(polled)
			cancel()
			check(ctx.Err())
			for _, record := range fetches.Records() {
				seen[string(record.Value)]++
				counts[record.DeliveryCount()]++
				if record.DeliveryCount() == 1 && len(seen)%10 == 0 {
					record.Ack(kgo.AckRelease)
					continue
				}
				record.Ack(kgo.AckAccept)
				accepted++
			}
			check(member.FlushAcks(ctx))
		}
	}
	want(len(seen), 100)
	if counts[2] == 0 {
		panic("nothing was delivered again")
	}
	for _, member := range members {
		member.Close()
	}
}

func static(ctx context.Context, bootstrap, prefix string) {
	topic := makeTopic(ctx, bootstrap, prefix, 2)
	send(ctx, bootstrap, topic, numbered(10))
	opts := []kgo.Opt{kgo.ConsumerGroup(prefix), kgo.InstanceID("one")}
	read(ctx, bootstrap, topic, 10, opts...)
	admin := kadm.NewClient(client(bootstrap))
	defer admin.Close()
	described, err := admin.DescribeGroups(ctx, prefix)
	check(err)
	want(len(described[prefix].Members), 1)
	want(*described[prefix].Members[0].InstanceID, "one")
	left, err := admin.LeaveGroup(ctx, kadm.LeaveGroup(prefix).InstanceIDs("one"))
	check(err)
	check(left["one"].Err)
}

func commitAndSeek(ctx context.Context, bootstrap, prefix string) {
	topic := makeTopic(ctx, bootstrap, prefix, 1)
	send(ctx, bootstrap, topic, numbered(50))
	admin := kadm.NewClient(client(bootstrap))
	defer admin.Close()
	offsets := make(kadm.Offsets)
	offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 17, LeaderEpoch: -1, Metadata: "half way"})
	check(admin.CommitAllOffsets(ctx, prefix, offsets))
	fetched, err := admin.FetchOffsets(ctx, prefix)
	check(err)
	committed, _ := fetched.Lookup(topic, 0)
	want(committed.At, 17)
	want(committed.Metadata, "half way")
	start := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(45)}}
	consumer := client(bootstrap, kgo.ConsumePartitions(start))
	defer consumer.Close()
	want(values(take(ctx, consumer, 5)), "[v45 v46 v47 v48 v49]")
	ends, err := admin.ListEndOffsets(ctx, topic)
	check(err)
	end, _ := ends.Lookup(topic, 0)
	want(end.Offset, 50)
}

func pause(ctx context.Context, bootstrap, prefix string) {
	topic := makeTopic(ctx, bootstrap, prefix, 1)
	consumer := client(bootstrap, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer consumer.Close()
	consumer.PauseFetchTopics(topic)
	send(ctx, bootstrap, topic, numbered(5))
	short, cancel := context.WithTimeout(ctx, time.Second)
	want(len(consumer.PollFetches(short).Records()), 0)
	cancel()
	consumer.ResumeFetchTopics(topic)
	take(ctx, consumer, 5)
}

func administer(ctx context.Context, bootstrap, prefix string) {
	admin := kadm.NewClient(client(bootstrap))
	defer admin.Close()
	retention := "1000000"
	answer, err := admin.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": &retention}, prefix)
	check(err)
	check(answer.Err)
	grown, err := admin.UpdatePartitions(ctx, 5, prefix)
	check(err)
	check(grown.Error())
	topics, err := admin.ListTopics(ctx, prefix)
	check(err)
	want(len(topics[prefix].Partitions), 5)
	changed := "2000000"
	altered, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: &changed}}, prefix)
	check(err)
	check(altered[0].Err)
	seen := ""
	for n := 0; n < 50 && seen != changed; n++ {
		configs, err := admin.DescribeTopicConfigs(ctx, prefix)
		check(err)
		for _, config := range configs[0].Configs {
			if config.Key == "retention.ms" {
				seen = config.MaybeValue()
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	want(seen, changed)
	metadata, err := admin.BrokerMetadata(ctx)
	check(err)
	want(len(metadata.Brokers), 1)
	offsets := make(kadm.Offsets)
	offsets.Add(kadm.Offset{Topic: prefix, Partition: 0, At: 0, LeaderEpoch: -1})
	check(admin.CommitAllOffsets(ctx, prefix, offsets))
	groups, err := admin.ListGroups(ctx)
	check(err)
	if _, ok := groups[prefix]; !ok {
		panic("the group is not listed")
	}
	deleted, err := admin.DeleteGroup(ctx, prefix)
	check(err)
	check(deleted.Err)
	gone, err := admin.DeleteTopics(ctx, prefix)
	check(err)
	check(gone.Error())
	twice, err := admin.DeleteTopic(ctx, prefix)
	_ = twice
	if err == nil && twice.Err == nil {
		panic(errors.New("a topic was deleted twice"))
	}
}

func transactions(ctx context.Context, bootstrap, prefix string) {
	topic := makeTopic(ctx, bootstrap, prefix, 1)
	producer := client(bootstrap, kgo.TransactionalID(prefix), kgo.DefaultProduceTopic(topic))
	defer producer.Close()
	for n := 0; n < 6; n++ {
		check(producer.BeginTransaction())
		check(producer.ProduceSync(ctx, &kgo.Record{Value: []byte(fmt.Sprint("tx-", n))}).FirstErr())
		check(producer.EndTransaction(ctx, kgo.TransactionEndTry(n%2 == 0)))
	}
	committed := read(ctx, bootstrap, topic, 3, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	want(values(committed), "[tx-0 tx-2 tx-4]")
}
