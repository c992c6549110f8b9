package main

import (
	"context"
	"fmt"

	"github.com/IBM/sarama"
)

// member reports how many partitions it has after each rebalance, and passes on what it reads.
type member struct {
	sarama.ConsumerGroup
	topic    string
	counts   chan int
	messages chan *sarama.ConsumerMessage
	cancel   context.CancelFunc
	ended    chan error
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.counts <- len(session.Claims()[m.topic])
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.messages <- message
		session.MarkMessage(message, "")
	}
	return nil
}

func (r rig) join(topic string, config *sarama.Config) *member {
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{must(sarama.NewConsumerGroup(r.bootstrap, r.prefix, config)), topic,
		make(chan int, 100), make(chan *sarama.ConsumerMessage, 10_000), cancel, make(chan error, 1)}
	go func() {
		for err := range m.Errors() {
			panic(err)
		}
	}()
	go func() {
		for ctx.Err() == nil {
			if err := m.Consume(ctx, []string{topic}, m); err != nil {
				m.ended <- err
				return
			}
		}
		m.ended <- nil
	}()
	return m
}

func (m *member) until(count int) {
	for <-m.counts != count {
	}
}

func (m *member) leave() {
	m.cancel()
	check(<-m.ended)
	check(m.Close())
}

func group(r rig, strategy sarama.BalanceStrategy) {
	topic := r.topic(4)
	r.send(numbered(topic, 100), r.config())
	config := r.config()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	first := r.join(topic, config)
	first.until(4)
	seen := map[string]bool{}
	for len(seen) < 100 {
		seen[string((<-first.messages).Value)] = true
	}
	second := r.join(topic, config)
	second.until(2)
	first.until(2)
	admin := r.admin()
	defer admin.Close()
	described := must(admin.DescribeConsumerGroups([]string{r.prefix}))[0]
	want(described.Err, sarama.ErrNoError)
	want(fmt.Sprint(described.State, described.Protocol, len(described.Members)), fmt.Sprint("Stable", strategy.Name(), 2))
	for _, joined := range described.Members {
		assigned := must(joined.GetMemberAssignment())
		want(len(assigned.Topics[topic]), 2)
	}
	first.leave()
	second.until(4)
	second.leave()
	// What the first one read is committed.
	sum := int64(0)
	for _, block := range must(admin.ListConsumerGroupOffsets(r.prefix, map[string][]int32{topic: {0, 1, 2, 3}})).Blocks[topic] {
		want(block.Err, sarama.ErrNoError)
		sum += block.Offset
	}
	want(sum, 100)
	check(admin.DeleteConsumerGroup(r.prefix))
}

func static(r rig) {
	if !r.version.IsAtLeast(sarama.V2_4_0_0) { // RemoveMemberFromConsumerGroup needs it
		return
	}
	topic := r.topic(2)
	config := r.config()
	config.Consumer.Group.InstanceId = "one"
	first := r.join(topic, config)
	first.until(2)
	first.leave()
	admin := r.admin()
	defer admin.Close()
	// A static member that leaves stays in the group until its session ends or it is removed.
	described := must(admin.DescribeConsumerGroups([]string{r.prefix}))[0]
	want(len(described.Members), 1)
	for _, left := range described.Members {
		want(*left.GroupInstanceId, "one")
	}
	again := r.join(topic, config)
	again.until(2)
	again.leave()
	removed := must(admin.RemoveMemberFromConsumerGroup(r.prefix, []string{"one"}))
	want(removed.Members[0].Err, sarama.ErrNoError)
	want(len(must(admin.DescribeConsumerGroups([]string{r.prefix}))[0].Members), 0)
}

func (r rig) transactional() sarama.AsyncProducer {
	config := r.config()
	config.Producer.Idempotent, config.Producer.RequiredAcks, config.Net.MaxOpenRequests = true, sarama.WaitForAll, 1
	config.Producer.Transaction.ID = r.prefix
	return must(sarama.NewAsyncProducer(r.bootstrap, config))
}

func (r rig) committed() *sarama.Config {
	config := r.config()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	return config
}

func produce(producer sarama.AsyncProducer, topic, value string) {
	producer.Input() <- &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)}
	select {
	case <-producer.Successes():
	case err := <-producer.Errors():
		panic(err)
	}
}

func transactions(r rig) {
	topic := r.topic(1)
	producer := r.transactional()
	for n := 0; n < 6; n++ {
		check(producer.BeginTxn())
		produce(producer, topic, fmt.Sprint("tx-", n))
		if n%2 == 0 {
			check(producer.CommitTxn())
		} else {
			check(producer.AbortTxn())
		}
	}
	check(producer.Close())
	want(values(r.read(topic, 0, 0, 3, r.committed())), "[tx-0 tx-2 tx-4]")
	want(len(r.read(topic, 0, 0, 6, r.config())), 6)
	// A second producer of the same id continues, and the first would be fenced.
	again, newest := r.transactional(), r.transactional()
	check(newest.BeginTxn())
	produce(newest, topic, "newest")
	check(newest.CommitTxn())
	check(again.BeginTxn())
	again.Input() <- &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("fenced")}
	select {
	case <-again.Successes():
		panic("a fenced producer wrote")
	case <-again.Errors():
	}
	check(newest.Close())
	_ = again.Close()
}

// Copies a topic to another, offsets and records in one transaction, as a member of a group; the first try is aborted.
func exactlyOnce(r rig) {
	topic := r.topic(1)
	into := rig{r.bootstrap, r.prefix + "-into", r.version}.topic(1)
	r.send(numbered(topic, 20), r.config())
	reader := r.join(topic, r.committed())
	reader.until(1)
	producer := r.transactional()
	messages := []*sarama.ConsumerMessage{}
	for len(messages) < 20 {
		messages = append(messages, <-reader.messages)
	}
	for _, commit := range []bool{false, true} {
		check(producer.BeginTxn())
		for _, message := range messages {
			produce(producer, into, string(message.Value))
		}
		check(producer.AddMessageToTxn(messages[19], r.prefix, nil))
		if commit {
			check(producer.CommitTxn())
		} else {
			check(producer.AbortTxn())
		}
	}
	check(producer.Close())
	reader.leave()
	var expected []string
	for n := 0; n < 20; n++ {
		expected = append(expected, fmt.Sprint("v", n))
	}
	want(values(r.read(into, 0, 0, 20, r.committed())), expected)
	admin := r.admin()
	defer admin.Close()
	block := must(admin.ListConsumerGroupOffsets(r.prefix, map[string][]int32{topic: {0}})).GetBlock(topic, 0)
	want(block.Offset, 20)
}
