package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

func (r rig) offsets(group, topic string, partitions ...int) []int64 {
	answer := must(r.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: partitions}}))
	check(answer.Error)
	found := make([]int64, len(partitions))
	for _, partition := range answer.Topics[topic] {
		check(partition.Error)
		found[partition.Partition] = partition.CommittedOffset
	}
	return found
}

// until waits for a state of a group and a number of members.
func (r rig) until(state string, members int) {
	for {
		answer := must(r.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{r.prefix}}))
		check(answer.Groups[0].Error)
		if answer.Groups[0].GroupState == state && len(answer.Groups[0].Members) == members {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Readers of a group: the first has all partitions, then half of them, then the second has all.
func group(r rig, balancer kafka.GroupBalancer) {
	topic := r.topic(4)
	r.send(topic, numbered(100))
	config := kafka.ReaderConfig{GroupID: r.prefix, Topic: topic, GroupBalancers: []kafka.GroupBalancer{balancer}}
	first := r.reader(config)
	want(values(take(first, 100)), values(numbered(100)))
	sum := int64(0)
	for _, offset := range r.offsets(r.prefix, topic, 0, 1, 2, 3) {
		sum += offset
	}
	want(sum, 100)
	second := r.reader(config)
	r.until("Stable", 2)
	seen := make(chan kafka.Message, 1000)
	for _, reader := range []*kafka.Reader{first, second} {
		go func() {
			for {
				message, err := reader.ReadMessage(ctx)
				if err != nil {
					return
				}
				seen <- message
			}
		}()
	}
	// A partition that changes its reader may be read twice, so count what is new.
	expect := func(count int) {
		once := map[string]bool{}
		for len(once) < count {
			message := <-seen
			once[fmt.Sprint(message.Partition, message.Offset)] = true
		}
	}
	r.send(topic, numbered(100))
	expect(100)
	want(first.Stats().Rebalances+second.Stats().Rebalances >= 2, true)
	check(first.Close())
	r.send(topic, numbered(100))
	expect(100)
	check(second.Close())
	r.until("Empty", 0)
	answer := must(r.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{r.prefix}}))
	check(answer.Errors[r.prefix])
}

func commitAndSeek(r rig) {
	topic := r.topic(1)
	r.send(topic, numbered(50))
	// Generation -1 and no member: a commit from outside of the group.
	commit := map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: 17, Metadata: "half way"}}}
	answer := must(r.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: r.prefix, GenerationID: -1, Topics: commit}))
	check(answer.Topics[topic][0].Error)
	want(r.offsets(r.prefix, topic, 0), "[17]")
	want(must(r.ConsumerOffsets(ctx, kafka.TopicAndGroup{Topic: topic, GroupId: r.prefix})), "map[0:17]")
	reader := r.reader(kafka.ReaderConfig{GroupID: r.prefix, Topic: topic})
	message := must(reader.FetchMessage(ctx))
	want(message.Offset, 17)
	check(reader.CommitMessages(ctx, message))
	check(reader.Close())
	want(r.offsets(r.prefix, topic, 0), "[18]")
	alone := r.reader(kafka.ReaderConfig{Topic: topic})
	defer alone.Close()
	check(alone.SetOffset(45))
	want(values(take(alone, 5)), "[v45 v46 v47 v48 v49]")
	check(alone.SetOffset(kafka.LastOffset))
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := alone.ReadMessage(short)
	want(errors.Is(err, context.DeadlineExceeded), true)
}

const concurrentTransactions = kafka.Error(51)

func (r rig) producer(transactional string) kafka.ProducerSession {
	request := &kafka.InitProducerIDRequest{TransactionalID: transactional, TransactionTimeoutMs: 60_000, ProducerID: -1, ProducerEpoch: -1}
	answer := must(r.InitProducerID(ctx, request))
	for errors.Is(answer.Error, concurrentTransactions) { // the markers of the last one are still being written
		time.Sleep(50 * time.Millisecond)
		answer = must(r.InitProducerID(ctx, request))
	}
	check(answer.Error)
	return *answer.Producer
}

func (r rig) end(producer kafka.ProducerSession, commit bool) error {
	request := &kafka.EndTxnRequest{TransactionalID: r.prefix, ProducerID: producer.ProducerID, ProducerEpoch: producer.ProducerEpoch, Committed: commit}
	return must(r.EndTxn(ctx, request)).Error
}

// The library's calls for transactions: offsets of a group, aborted first and then committed, and fencing.
func transactions(r rig) {
	topic := r.topic(1)
	for _, commit := range []bool{false, true} {
		producer := r.producer(r.prefix)
		partitions := map[string][]kafka.AddPartitionToTxn{topic: {{Partition: 0}}}
		added := must(r.AddPartitionsToTxn(ctx, &kafka.AddPartitionsToTxnRequest{TransactionalID: r.prefix,
			ProducerID: producer.ProducerID, ProducerEpoch: producer.ProducerEpoch, Topics: partitions}))
		check(added.Topics[topic][0].Error)
		check(must(r.AddOffsetsToTxn(ctx, &kafka.AddOffsetsToTxnRequest{TransactionalID: r.prefix, GroupID: r.prefix,
			ProducerID: producer.ProducerID, ProducerEpoch: producer.ProducerEpoch})).Error)
		offsets := map[string][]kafka.TxnOffsetCommit{topic: {{Partition: 0, Offset: 9, Metadata: "in a transaction"}}}
		committed := must(r.TxnOffsetCommit(ctx, &kafka.TxnOffsetCommitRequest{TransactionalID: r.prefix, GroupID: r.prefix,
			ProducerID: producer.ProducerID, ProducerEpoch: producer.ProducerEpoch, GenerationID: -1, Topics: offsets}))
		check(committed.Topics[topic][0].Error)
		want(r.offsets(r.prefix, topic, 0), "[-1]")
		check(r.end(producer, commit))
	}
	for r.offsets(r.prefix, topic, 0)[0] != 9 { // the markers follow the answer
		time.Sleep(50 * time.Millisecond)
	}
	old := r.producer(r.prefix)
	r.producer(r.prefix)
	if err := r.end(old, true); err == nil {
		panic("a fenced producer committed")
	}
}

// With read_committed, a reader ends at the last stable offset.
func readCommitted(r rig) {
	topic := r.topic(1)
	r.send(topic, numbered(10))
	reader := r.reader(kafka.ReaderConfig{Topic: topic, IsolationLevel: kafka.ReadCommitted})
	defer reader.Close()
	want(values(take(reader, 10)), values(numbered(10)))
	answer := must(r.Fetch(ctx, &kafka.FetchRequest{Topic: topic, MinBytes: 1, MaxBytes: 1_000_000, MaxWait: time.Second, IsolationLevel: kafka.ReadCommitted}))
	check(answer.Error)
	want(fmt.Sprint(answer.HighWatermark, answer.LastStableOffset, answer.LogStartOffset), "10 10 0")
}
