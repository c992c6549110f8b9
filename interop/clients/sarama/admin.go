package main

import (
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// until asks until the answer fits: the image of a broker follows its controller a moment later.
func until(expected any, ask func() any) {
	var seen any
	for n := 0; n < 50; n++ {
		if seen = ask(); fmt.Sprint(seen) == fmt.Sprint(expected) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	want(seen, expected)
}

func administer(r rig) {
	admin := r.admin()
	defer admin.Close()
	retention, changed := "1000000", "2000000"
	detail := &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &retention}}
	check(admin.CreateTopic(r.prefix, detail, true))
	check(admin.CreateTopic(r.prefix, detail, false))
	if err := admin.CreateTopic(r.prefix, detail, false); err == nil {
		panic("a topic was created twice")
	}
	check(admin.CreatePartitions(r.prefix, 5, nil, false))
	until(5, func() any { return must(admin.ListTopics())[r.prefix].NumPartitions })
	want(*must(admin.ListTopics())[r.prefix].ConfigEntries["retention.ms"], retention)
	described := must(admin.DescribeTopics([]string{r.prefix, r.prefix + "-none"}))
	want(fmt.Sprint(described[0].Err, described[1].Err), fmt.Sprint(sarama.ErrNoError, sarama.ErrUnknownTopicOrPartition))

	resource := sarama.ConfigResource{Type: sarama.TopicResource, Name: r.prefix, ConfigNames: []string{"retention.ms"}}
	value := func() any { return must(admin.DescribeConfig(resource))[0].Value }
	check(admin.AlterConfig(sarama.TopicResource, r.prefix, map[string]*string{"retention.ms": &changed}, false))
	until(changed, value)
	if r.version.IsAtLeast(sarama.V2_3_0_0) {
		entry := sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationDelete}
		entries := map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": entry}
		check(admin.IncrementalAlterConfig(sarama.TopicResource, r.prefix, entries, false))
		until("604800000", value)
	}
	options := sarama.DescribeConfigsOptions{IncludeSynonyms: true, IncludeDocumentation: r.version.IsAtLeast(sarama.V2_6_0_0)}
	broker := &sarama.ConfigResource{Type: sarama.BrokerResource, Name: "1"}
	configs := must(admin.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: r.prefix}, broker}, options))
	want(len(configs), 2)

	messages := numbered(r.prefix, 10)
	config := r.config()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	r.send(messages, config)
	check(admin.DeleteRecords(r.prefix, map[int32]int64{0: 4}))
	ends := must(admin.ListOffsets(map[string]map[int32]int64{r.prefix: {0: sarama.OffsetOldest, 1: sarama.OffsetNewest}}, nil))
	want(fmt.Sprint(ends[r.prefix][0].Offset, ends[r.prefix][1].Offset), "4 0")

	offsets := map[string]map[int32]sarama.OffsetAndMetadata{r.prefix: {0: {Offset: 7, LeaderEpoch: -1}, 1: {Offset: 0, LeaderEpoch: -1}}}
	must(admin.AlterConsumerGroupOffsets(r.prefix, offsets, nil))
	want(must(admin.ListConsumerGroups())[r.prefix], "")
	all := must(admin.ListConsumerGroupOffsets(r.prefix, nil))
	want(fmt.Sprint(all.GetBlock(r.prefix, 0).Offset, all.GetBlock(r.prefix, 1).Offset), "7 0")
	if r.version.IsAtLeast(sarama.V2_4_0_0) {
		check(admin.DeleteConsumerGroupOffset(r.prefix, r.prefix, 1))
		all = must(admin.ListConsumerGroupOffsets(r.prefix, nil))
		want(len(all.Blocks[r.prefix]), 1)
	}
	if r.version.IsAtLeast(sarama.V3_0_0_0) {
		batch := must(admin.ListConsumerGroupOffsetsBatch(map[string]map[string][]int32{r.prefix: nil, r.prefix + "-none": nil}))
		want(fmt.Sprint(len(batch), batch[r.prefix].Blocks[r.prefix][0].Offset), "2 7")
	}
	check(admin.DeleteConsumerGroup(r.prefix))
	want(admin.DeleteConsumerGroup(r.prefix), sarama.ErrGroupIDNotFound)
	check(admin.DeleteTopic(r.prefix))
	if err := admin.DeleteTopic(r.prefix); err == nil {
		panic("a topic was deleted twice")
	}
}

func administerCluster(r rig) {
	topic := r.topic(2)
	admin := r.admin()
	defer admin.Close()
	brokers, controller, err := admin.DescribeCluster()
	check(err)
	want(fmt.Sprint(len(brokers), controller), "1 1")
	r.send(numbered(topic, 20), r.config())
	size := int64(0)
	for _, directory := range must(admin.DescribeLogDirs([]int32{1}))[1] {
		want(directory.ErrorCode, sarama.ErrNoError)
		for _, found := range directory.Topics {
			for _, partition := range found.Partitions {
				if found.Topic == topic {
					size += partition.Size
				}
			}
		}
	}
	want(size > 0, true)
	if r.version.IsAtLeast(sarama.V2_4_0_0) {
		check(admin.AlterPartitionReassignments(topic, [][]int32{{1}, {1}}))
		want(len(must(admin.ListPartitionReassignments(topic, []int32{0, 1}))), 0)
		elected := must(admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{topic: {0}}))
		want(elected[topic][0].ErrorCode, sarama.ErrElectionNotNeeded)
	}
	if r.version.IsAtLeast(sarama.V2_6_0_0) {
		quotas(r, admin)
	}
	if r.version.IsAtLeast(sarama.V2_7_0_0) {
		credentials(r, admin)
	}
}

func quotas(r rig, admin sarama.ClusterAdmin) {
	user := []sarama.QuotaEntityComponent{{EntityType: sarama.QuotaEntityUser, MatchType: sarama.QuotaMatchExact, Name: r.prefix}}
	op := sarama.ClientQuotasOp{Key: "producer_byte_rate", Value: 1e9}
	check(admin.AlterClientQuotas(user, op, false))
	filter := []sarama.QuotaFilterComponent{{EntityType: sarama.QuotaEntityUser, MatchType: sarama.QuotaMatchExact, Match: r.prefix}}
	until("map[producer_byte_rate:1e+09]", func() any {
		for _, entry := range must(admin.DescribeClientQuotas(filter, true)) {
			return entry.Values
		}
		return nil
	})
	op.Remove = true
	check(admin.AlterClientQuotas(user, op, false))
}

func credentials(r rig, admin sarama.ClusterAdmin) {
	upsert := sarama.AlterUserScramCredentialsUpsert{Name: r.prefix, Mechanism: sarama.SCRAM_MECHANISM_SHA_256,
		Iterations: 4096, Salt: []byte("salt"), Password: []byte("secret")}
	want(must(admin.UpsertUserScramCredentials([]sarama.AlterUserScramCredentialsUpsert{upsert}))[0].ErrorCode, sarama.ErrNoError)
	until(4096, func() any {
		found := must(admin.DescribeUserScramCredentials([]string{r.prefix}))[0]
		if len(found.CredentialInfos) == 0 {
			return nil
		}
		return found.CredentialInfos[0].Iterations
	})
	removal := []sarama.AlterUserScramCredentialsDelete{{Name: r.prefix, Mechanism: sarama.SCRAM_MECHANISM_SHA_256}}
	want(must(admin.DeleteUserScramCredentials(removal))[0].ErrorCode, sarama.ErrNoError)
}

// The broker has an authorizer.
func acls(r rig) {
	admin := r.admin()
	defer admin.Close()
	resource := sarama.Resource{ResourceType: sarama.AclResourceTopic, ResourceName: r.prefix, ResourcePatternType: sarama.AclPatternPrefixed}
	read := sarama.Acl{Principal: "User:bob", Host: "*", Operation: sarama.AclOperationRead, PermissionType: sarama.AclPermissionAllow}
	write := read
	write.Operation, write.PermissionType = sarama.AclOperationWrite, sarama.AclPermissionDeny
	check(admin.CreateACL(resource, read))
	check(admin.CreateACLs([]*sarama.ResourceAcls{{Resource: resource, Acls: []*sarama.Acl{&write}}}))
	inside := r.prefix + "-inside"
	filter := sarama.AclFilter{Version: 1, ResourceType: sarama.AclResourceTopic, ResourceName: &inside,
		ResourcePatternTypeFilter: sarama.AclPatternMatch, Operation: sarama.AclOperationAny, PermissionType: sarama.AclPermissionAny}
	until(2, func() any {
		listed := must(admin.ListAcls(filter))
		if len(listed) == 0 {
			return nil
		}
		want(listed[0].Resource, resource)
		return len(listed[0].Acls)
	})
	want(len(must(admin.DeleteACL(filter, false))), 2)
	until(0, func() any { return len(must(admin.ListAcls(filter))) })
}
