package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const readOn = 90 * time.Second

// A producer and a consumer of a group with default settings, as in clients/ride_through.py: sends numbers until
// standard input ends, reads until every acknowledged number has come, and prints one line of JSON.
func rideThrough(ctx context.Context, bootstrap, topic string) {
	var lock sync.Mutex
	acknowledged, errors, read := map[int]bool{}, []string{}, []int{}
	ended := make(chan struct{})
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		check(err)
		close(ended)
	}()

	sent, sentAll := 0, make(chan struct{})
	go func() {
		producer := client(bootstrap, kgo.DefaultProduceTopic(topic))
		defer close(sentAll)
		for more := true; more; sent++ {
			number := sent
			producer.Produce(ctx, kgo.StringRecord(strconv.Itoa(number)), func(_ *kgo.Record, err error) {
				lock.Lock()
				defer lock.Unlock()
				if err == nil {
					acknowledged[number] = true
				} else {
					errors = append(errors, err.Error())
				}
			})
			select {
			case <-ended:
				more = false
			case <-time.After(10 * time.Millisecond):
			}
		}
		check(producer.Flush(ctx))
		producer.Close()
	}()

	consumer := client(bootstrap, kgo.ConsumerGroup(topic+"-readers"), kgo.ConsumeTopics(topic))
	once := map[int]bool{}
	missing := []int{}
	deadline := time.Time{}
	for {
		polled, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		fetches := consumer.PollFetches(polled)
		cancel()
		check(ctx.Err())
		for _, record := range fetches.Records() {
			number, err := strconv.Atoi(string(record.Value))
			check(err)
			read = append(read, number)
			once[number] = true
		}
		select {
		case <-sentAll:
		default:
			continue
		}
		if deadline.IsZero() {
			deadline = time.Now().Add(readOn)
		}
		missing = missing[:0]
		lock.Lock()
		for number := range acknowledged {
			if !once[number] {
				missing = append(missing, number)
			}
		}
		lock.Unlock()
		if len(missing) == 0 || time.Now().After(deadline) {
			break
		}
	}
	consumer.Close()
	sort.Ints(missing)
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"sent": sent, "acknowledged": len(acknowledged), "read": len(read), "read_twice": len(read) - len(once),
		"missing": missing, "errors": errors,
	}))
}
