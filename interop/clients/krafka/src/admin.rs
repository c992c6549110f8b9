//! The scenarios of krafka's admin client.

use std::collections::BTreeMap;

use krafka::Record;
use krafka::admin::{
    AclBinding, AclFilter, AclOperation, AclPatternType, AclPermissionType, AclResourceType, ClientQuotaAlteration,
    ClientQuotaEntity, ClientQuotaFilter, ConfigOp, ConfigResource, ElectionType, NewTopic, OffsetSpec, QuotaMatch,
    TopicPartition,
};

use crate::{Outcome, Rig, numbered, until, want};
use krafka::prelude::Compression;

pub async fn topics_and_groups(rig: &Rig) -> Outcome {
    let admin = rig.kafka.admin();
    let name = rig.prefix.as_str();
    let topic = NewTopic::new(name, 2, 1)?.with_config("retention.ms", "1000000");
    admin
        .create_topics([topic.clone()], Default::default())
        .await?
        .remove(name)
        .ok_or("no answer")??;
    want(
        admin.create_topics([topic], Default::default()).await?[name].is_err(),
        true,
    )?;
    admin
        .create_partitions([(name, 5)], Default::default())
        .await?
        .remove(name)
        .ok_or("no answer")??;
    until(
        async || {
            Ok(admin.describe_topics([name], Default::default()).await?[name]
                .as_ref()
                .is_ok_and(|found| found.partitions.len() == 5))
        },
        "5 partitions",
    )
    .await?;
    want(
        admin
            .list_topics(Default::default())
            .await?
            .iter()
            .any(|listed| listed == name),
        true,
    )?;
    configs(rig).await?;

    rig.send(
        (0..10)
            .map(|n| Record::new(name, format!("v{n}")).partition(0))
            .collect(),
        Compression::None,
    )
    .await?;
    let first = TopicPartition::new(name, 0);
    want(
        admin
            .delete_records([(first.clone(), 4)], Default::default())
            .await?
            .remove(&first)
            .ok_or("no answer")??,
        4,
    )?;
    for (spec, offset) in [(OffsetSpec::Earliest, 4), (OffsetSpec::Latest, 10)] {
        let listed = admin
            .list_offsets([(first.clone(), spec)], Default::default())
            .await?
            .remove(&first)
            .ok_or("no answer")??;
        want(listed.offset, offset)?;
    }

    let second = TopicPartition::new(name, 1);
    for result in admin
        .alter_consumer_group_offsets(name, [(first.clone(), 7), (second.clone(), 0)], Default::default())
        .await?
        .into_values()
    {
        result?;
    }
    let mut lags = admin.consumer_group_lag(name, Default::default()).await?;
    want(lags.len(), 2)?;
    want(lags.remove(&first).ok_or("no lag")??.lag, Some(3))?;
    admin
        .delete_consumer_group_offsets(name, [second.clone()], Default::default())
        .await?
        .remove(&second)
        .ok_or("no answer")??;
    want(
        admin.list_consumer_group_offsets(name, Default::default()).await?.len(),
        1,
    )?;
    let mut listed = Vec::new();
    for groups in admin.list_consumer_groups(Default::default()).await?.into_values() {
        listed.extend(groups?.into_iter().filter(|group| group.group_id == name));
    }
    want(listed.len(), 1)?;
    admin
        .delete_consumer_groups([name], Default::default())
        .await?
        .remove(name)
        .ok_or("no answer")??;
    want(
        admin.delete_consumer_groups([name], Default::default()).await?[name].is_err(),
        true,
    )?;
    admin
        .delete_topics([name], Default::default())
        .await?
        .remove(name)
        .ok_or("no answer")??;
    want(
        admin.delete_topics([name], Default::default()).await?[name].is_err(),
        true,
    )
}

async fn configs(rig: &Rig) -> Outcome {
    let admin = rig.kafka.admin();
    let resource = ConfigResource::topic(&rig.prefix);
    for (op, value) in [
        (ConfigOp::set("retention.ms", "2000000"), "2000000"),
        (ConfigOp::delete("retention.ms"), "604800000"),
    ] {
        admin
            .incremental_alter_configs([(resource.clone(), vec![op])], Default::default())
            .await?
            .remove(&resource)
            .ok_or("no answer")??;
        until(
            async || {
                let entries = admin
                    .describe_configs([resource.clone()], Default::default())
                    .await?
                    .remove(&resource)
                    .ok_or("no answer")??;
                Ok(entries
                    .iter()
                    .any(|entry| entry.name == "retention.ms" && entry.config_value().as_str() == Some(value)))
            },
            "the config",
        )
        .await?;
    }
    let broker = ConfigResource::broker(1);
    want(
        admin
            .describe_configs([broker.clone()], Default::default())
            .await?
            .remove(&broker)
            .ok_or("no answer")??
            .len()
            > 100,
        true,
    )
}

pub async fn cluster(rig: &Rig) -> Outcome {
    let admin = rig.kafka.admin();
    let topic = rig.topic(&rig.prefix, 2).await?;
    let partition = TopicPartition::new(&topic, 0);
    rig.send(numbered(&topic, 20), Compression::None).await?;
    want(admin.describe_cluster(Default::default()).await?.brokers.len(), 1)?;
    want(
        admin.describe_metadata_quorum(Default::default()).await?.voters.len(),
        1,
    )?;
    want(
        admin.describe_features(Default::default()).await?.finalized.is_empty(),
        false,
    )?;
    let directories = admin
        .describe_log_dirs([1], Default::default())
        .await?
        .remove(&1)
        .ok_or("no answer")??;
    want(directories.len(), 1)?;
    for directory in directories.into_values() {
        want(
            directory?
                .replicas
                .iter()
                .any(|(found, replica)| *found == partition && replica.size > 0),
            true,
        )?;
    }
    let elected = admin
        .elect_leaders(
            ElectionType::Preferred,
            Some(vec![partition.clone()]),
            Default::default(),
        )
        .await?;
    want(elected[&partition].is_ok(), true)?; // the leader is the preferred one: the library takes it for a success
    admin
        .alter_partition_reassignments([(partition.clone(), Some(vec![1]))], Default::default())
        .await?
        .remove(&partition)
        .ok_or("no answer")??;
    want(
        admin
            .list_partition_reassignments(Default::default())
            .await?
            .contains_key(&partition),
        false,
    )?;
    let epochs = admin
        .offset_for_leader_epoch([(partition.clone(), 0)], Default::default())
        .await?;
    want(epochs[&partition].is_ok(), true)?;

    let user = ClientQuotaEntity(BTreeMap::from([("user".to_owned(), Some(rig.prefix.clone()))]));
    for value in [Some(1e9), None] {
        let change = ClientQuotaAlteration::new(user.clone(), vec![("producer_byte_rate".to_owned(), value)]);
        admin
            .alter_client_quotas(vec![change], Default::default())
            .await?
            .remove(&user)
            .ok_or("no answer")??;
        until(
            async || {
                let filter = ClientQuotaFilter::all()
                    .component("user", QuotaMatch::Exact(rig.prefix.clone()))
                    .strict(true);
                let found = admin.describe_client_quotas(filter, Default::default()).await?;
                Ok(found
                    .get(&user)
                    .and_then(|quotas| quotas.get("producer_byte_rate"))
                    .copied()
                    == value)
            },
            "the quota",
        )
        .await?;
    }
    Ok(())
}

/// A transaction that is open is listed and described, and its producer; and an operator aborts it.
pub async fn transactions(rig: &Rig) -> Outcome {
    let admin = rig.kafka.admin();
    let topic = rig.topic(&rig.prefix, 1).await?;
    let partition = TopicPartition::new(&topic, 0);
    let producer = rig.kafka.producer().build_transactional(&rig.prefix).await?;
    producer.begin()?;
    let _ = producer.send(Record::new(&topic, "open")).await?;
    let listed = admin
        .list_transactions(Default::default())
        .await?
        .remove(&1)
        .ok_or("no answer")??;
    want(
        listed
            .iter()
            .filter(|found| found.transactional_id == rig.prefix)
            .count(),
        1,
    )?;
    let described = admin
        .describe_transactions([&rig.prefix], Default::default())
        .await?
        .remove(&rig.prefix)
        .ok_or("no answer")??;
    want(
        (described.producer_id, described.state.as_str()),
        (producer.producer_id(), "Ongoing"),
    )?;
    let producers = admin
        .describe_producers([partition.clone()], Default::default())
        .await?
        .remove(&partition)
        .ok_or("no answer")??;
    want(
        producers.iter().map(|found| found.producer_id).collect::<Vec<_>>(),
        vec![producer.producer_id()],
    )?;
    for result in admin
        .abort_transaction(&rig.prefix, Default::default())
        .await?
        .into_values()
    {
        result?;
    }
    until(
        async || {
            let open = admin
                .describe_producers([partition.clone()], Default::default())
                .await?
                .remove(&partition)
                .ok_or("no answer")??;
            Ok(open
                .iter()
                .all(|found| found.current_transaction_start_offset.is_none()))
        },
        "the end of the transaction",
    )
    .await
}

/// The broker has an authorizer.
pub async fn acls(rig: &Rig) -> Outcome {
    let admin = rig.kafka.admin();
    let binding = |operation, permission_type| AclBinding {
        resource_type: AclResourceType::Topic,
        resource_name: rig.prefix.clone(),
        pattern_type: AclPatternType::Prefixed,
        principal: "User:bob".to_owned(),
        host: "*".to_owned(),
        operation,
        permission_type,
    };
    let bindings = vec![
        binding(AclOperation::Read, AclPermissionType::Allow),
        binding(AclOperation::Write, AclPermissionType::Deny),
    ];
    for (_, result) in admin.create_acls(bindings, Default::default()).await? {
        result?;
    }
    let filter = || AclFilter::for_resource(AclResourceType::Topic, &rig.prefix).pattern_type(AclPatternType::Prefixed);
    until(
        async || Ok(admin.describe_acls(filter(), Default::default()).await?.len() == 2),
        "the ACLs",
    )
    .await?;
    for (_, result) in admin.delete_acls(vec![filter()], Default::default()).await? {
        result?;
    }
    until(
        async || Ok(admin.describe_acls(filter(), Default::default()).await?.is_empty()),
        "no ACLs",
    )
    .await
}

pub async fn share_from_the_start(rig: &Rig) -> Outcome {
    let admin = rig.kafka.admin();
    let group = ConfigResource::group(&rig.prefix);
    let op = ConfigOp::set("share.auto.offset.reset", "earliest");
    admin
        .incremental_alter_configs([(group.clone(), vec![op])], Default::default())
        .await?
        .remove(&group)
        .ok_or("no answer")??;
    Ok(())
}

/// The offsets of a share group without members are described, altered and deleted.
pub async fn share_offsets(rig: &Rig, topic: &str) -> Outcome {
    let admin = rig.kafka.admin();
    let partition = TopicPartition::new(topic, 0);
    for result in admin
        .describe_share_group_offsets(&rig.prefix, Default::default())
        .await?
        .into_values()
    {
        want(result?.start_offset >= 0, true)?;
    }
    admin
        .alter_share_group_offsets(&rig.prefix, [(partition.clone(), 3)], Default::default())
        .await?
        .remove(&partition)
        .ok_or("no answer")??;
    let altered = admin
        .describe_share_group_offsets(&rig.prefix, Default::default())
        .await?
        .remove(&partition)
        .ok_or("no answer")??;
    want(altered.start_offset, 3)?;
    admin
        .delete_share_group_offsets(&rig.prefix, [topic], Default::default())
        .await?
        .remove(topic)
        .ok_or("no answer")??;
    Ok(())
}
