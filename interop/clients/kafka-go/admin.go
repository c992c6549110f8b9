package main

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// until asks until the answer fits: the image of a broker follows its controller a moment later, and the library asks
// for metadata every 6 seconds.
func until(expected any, ask func() any) {
	var seen any
	for n := 0; n < 200; n++ {
		if seen = ask(); fmt.Sprint(seen) == fmt.Sprint(expected) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	want(seen, expected)
}

func administer(r rig) {
	config := kafka.TopicConfig{Topic: r.prefix, NumPartitions: 2, ReplicationFactor: 1,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "1000000"}}}
	create := &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}}
	check(must(r.CreateTopics(ctx, create)).Errors[r.prefix])
	want(errors.Is(must(r.CreateTopics(ctx, create)).Errors[r.prefix], kafka.TopicAlreadyExists), true)
	grown := &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: r.prefix, Count: 5}}}
	check(must(r.CreatePartitions(ctx, grown)).Errors[r.prefix])
	until(5, func() any {
		return len(must(r.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{r.prefix}})).Topics[0].Partitions)
	})

	value := func() any {
		resource := kafka.DescribeConfigRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: r.prefix, ConfigNames: []string{"retention.ms"}}
		answer := must(r.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{resource}, IncludeSynonyms: true, IncludeDocumentation: true}))
		check(answer.Resources[0].Error)
		return answer.Resources[0].ConfigEntries[0].ConfigValue
	}
	until("1000000", value)
	altered := must(r.AlterConfigs(ctx, &kafka.AlterConfigsRequest{Resources: []kafka.AlterConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic,
		ResourceName: r.prefix, Configs: []kafka.AlterConfigRequestConfig{{Name: "retention.ms", Value: "2000000"}}}}}))
	for _, err := range altered.Errors {
		check(err)
	}
	until("2000000", value)
	change := kafka.IncrementalAlterConfigsRequestConfig{Name: "retention.ms", ConfigOperation: kafka.ConfigOperationDelete}
	check(must(r.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{ResourceType: kafka.ResourceTypeTopic,
		ResourceName: r.prefix, Configs: []kafka.IncrementalAlterConfigsRequestConfig{change}}}})).Resources[0].Error)
	until("604800000", value)

	commits := map[string][]kafka.OffsetCommit{r.prefix: {{Partition: 0, Offset: 3}, {Partition: 1, Offset: 4}}}
	for _, partition := range must(r.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: r.prefix, GenerationID: -1, Topics: commits})).Topics[r.prefix] {
		check(partition.Error)
	}
	listed := 0
	for _, group := range must(r.ListGroups(ctx, &kafka.ListGroupsRequest{})).Groups {
		if group.GroupID == r.prefix {
			listed++
		}
	}
	want(listed, 1)
	deleted := must(r.OffsetDelete(ctx, &kafka.OffsetDeleteRequest{GroupID: r.prefix, Topics: map[string][]int{r.prefix: {1}}}))
	check(deleted.Error)
	check(deleted.Topics[r.prefix][0].Error)
	want(r.offsets(r.prefix, r.prefix, 0, 1), "[3 -1]")
	check(must(r.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{r.prefix}})).Errors[r.prefix])
	gone := &kafka.DeleteTopicsRequest{Topics: []string{r.prefix}}
	check(must(r.DeleteTopics(ctx, gone)).Errors[r.prefix])
	want(errors.Is(must(r.DeleteTopics(ctx, gone)).Errors[r.prefix], kafka.UnknownTopicOrPartition), true)
}

func administerCluster(r rig) {
	topic := r.topic(2)
	metadata := must(r.Metadata(ctx, &kafka.MetadataRequest{}))
	want(fmt.Sprint(len(metadata.Brokers), metadata.Controller.ID, len(metadata.ClusterID)), "1 1 22")
	coordinator := must(r.FindCoordinator(ctx, &kafka.FindCoordinatorRequest{Key: r.prefix, KeyType: kafka.CoordinatorKeyTypeConsumer}))
	check(coordinator.Error)
	want(coordinator.Coordinator.NodeID, 1)
	elected := must(r.ElectLeaders(ctx, &kafka.ElectLeadersRequest{Topic: topic, Partitions: []int{0}, Timeout: time.Second}))
	check(elected.Error)
	want(errors.Is(elected.PartitionResults[0].Error, kafka.ElectionNotNeeded), true)
	moves := []kafka.AlterPartitionReassignmentsRequestAssignment{{PartitionID: 0, BrokerIDs: []int{1}}}
	moved := must(r.AlterPartitionReassignments(ctx, &kafka.AlterPartitionReassignmentsRequest{Topic: topic, Assignments: moves, Timeout: time.Second}))
	check(moved.Error)
	check(moved.PartitionResults[0].Error)
	moving := must(r.ListPartitionReassignments(ctx, &kafka.ListPartitionReassignmentsRequest{Timeout: time.Second}))
	check(moving.Error)
	want(len(moving.Topics[topic].Partitions), 0)
	quotas(r)
	credentials(r)
}

func quotas(r rig) {
	entity := []kafka.AlterClientQuotaEntity{{EntityType: "user", EntityName: r.prefix}}
	set := kafka.AlterClientQuotaEntry{Entities: entity, Ops: []kafka.AlterClientQuotaOps{{Key: "producer_byte_rate", Value: 1e9}}}
	check(must(r.AlterClientQuotas(ctx, &kafka.AlterClientQuotasRequest{Entries: []kafka.AlterClientQuotaEntry{set}})).Entries[0].Error)
	filter := []kafka.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 0, Match: r.prefix}}
	until("[{producer_byte_rate 1e+09}]", func() any {
		answer := must(r.DescribeClientQuotas(ctx, &kafka.DescribeClientQuotasRequest{Components: filter, Strict: true}))
		check(answer.Error)
		for _, entry := range answer.Entries {
			return entry.Values
		}
		return nil
	})
	set.Ops[0].Remove = true
	check(must(r.AlterClientQuotas(ctx, &kafka.AlterClientQuotasRequest{Entries: []kafka.AlterClientQuotaEntry{set}})).Entries[0].Error)
}

func credentials(r rig) {
	salted := must(pbkdf2.Key(sha256.New, "secret", []byte("salt"), 4096, 32))
	upsert := kafka.UserScramCredentialsUpsertion{Name: r.prefix, Mechanism: kafka.ScramMechanismSha256, Iterations: 4096, Salt: []byte("salt"), SaltedPassword: salted}
	change := &kafka.AlterUserScramCredentialsRequest{Upsertions: []kafka.UserScramCredentialsUpsertion{upsert}}
	check(must(r.AlterUserScramCredentials(ctx, change)).Results[0].Error)
	until("[{1 4096}]", func() any {
		users := []kafka.UserScramCredentialsUser{{Name: r.prefix}}
		answer := must(r.DescribeUserScramCredentials(ctx, &kafka.DescribeUserScramCredentialsRequest{Users: users}))
		return answer.Results[0].CredentialInfos
	})
	removal := []kafka.UserScramCredentialsDeletion{{Name: r.prefix, Mechanism: kafka.ScramMechanismSha256}}
	check(must(r.AlterUserScramCredentials(ctx, &kafka.AlterUserScramCredentialsRequest{Deletions: removal})).Results[0].Error)
}

// The broker has an authorizer.
func acls(r rig) {
	entry := kafka.ACLEntry{ResourceType: kafka.ResourceTypeTopic, ResourceName: r.prefix, ResourcePatternType: kafka.PatternTypePrefixed,
		Principal: "User:bob", Host: "*", Operation: kafka.ACLOperationTypeRead, PermissionType: kafka.ACLPermissionTypeAllow}
	denied := entry
	denied.Operation, denied.PermissionType = kafka.ACLOperationTypeWrite, kafka.ACLPermissionTypeDeny
	for _, err := range must(r.CreateACLs(ctx, &kafka.CreateACLsRequest{ACLs: []kafka.ACLEntry{entry, denied}})).Errors {
		check(err)
	}
	filter := kafka.ACLFilter{ResourceTypeFilter: kafka.ResourceTypeTopic, ResourceNameFilter: r.prefix, ResourcePatternTypeFilter: kafka.PatternTypePrefixed,
		PrincipalFilter: "User:bob", HostFilter: "*", Operation: kafka.ACLOperationTypeAny, PermissionType: kafka.ACLPermissionTypeAny}
	until(2, func() any {
		answer := must(r.DescribeACLs(ctx, &kafka.DescribeACLsRequest{Filter: filter}))
		check(answer.Error)
		for _, resource := range answer.Resources {
			return len(resource.ACLs)
		}
		return 0
	})
	removed := must(r.DeleteACLs(ctx, &kafka.DeleteACLsRequest{Filters: []kafka.DeleteACLsFilter{{ResourceTypeFilter: kafka.ResourceTypeTopic,
		ResourceNameFilter: r.prefix, ResourcePatternTypeFilter: kafka.PatternTypePrefixed, PrincipalFilter: "User:bob", HostFilter: "*",
		Operation: kafka.ACLOperationTypeAny, PermissionType: kafka.ACLPermissionTypeAny}}}))
	check(removed.Results[0].Error)
	want(len(removed.Results[0].MatchingACLs), 2)
}
