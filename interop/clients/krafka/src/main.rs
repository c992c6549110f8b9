//! krafka: PROGRAM BOOTSTRAP SCENARIO PREFIX; default settings unless the scenario is about a setting.

mod admin;

use std::collections::HashSet;
use std::env;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use krafka::admin::{NewTopic, TopicPartition};
use krafka::auth::{AuthConfig, TlsConfig};
use krafka::consumer::{
    AutoOffsetReset, Consumer, ConsumerBuilder, GroupProtocol, IsolationLevel, OffsetAndMetadata,
    PartitionAssignmentStrategy,
};
use krafka::prelude::Compression;
use krafka::producer::{Acks, TopicPartitionOffset};
use krafka::share_consumer::AcknowledgementMode;
use krafka::{ConsumerRecord, Kafka, Record};

pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome {
    let arguments: Vec<String> = env::args().collect();
    let [_, bootstrap, scenario, prefix] = &arguments[..] else {
        return Err("usage: PROGRAM BOOTSTRAP SCENARIO PREFIX".into());
    };
    let rig = Rig {
        kafka: connect(bootstrap).await?,
        bootstrap: bootstrap.clone(),
        prefix: prefix.clone(),
    };
    tokio::time::timeout(Duration::from_secs(90), run(scenario, &rig)).await??;
    println!("ok");
    Ok(())
}

async fn run(scenario: &str, rig: &Rig) -> Outcome {
    match scenario {
        "round-trip" => round_trip(rig).await,
        "codecs" => codecs(rig).await,
        "acks" => acks(rig).await,
        "shapes" => shapes(rig).await,
        "group" => group(rig, |builder| builder).await,
        "cooperative" => {
            group(rig, |builder| {
                builder.partition_assignment_strategy(PartitionAssignmentStrategy::CooperativeSticky)
            })
            .await
        }
        "new-group-protocol" => group(rig, |builder| builder.group_protocol(GroupProtocol::Consumer)).await,
        "share-group" => share_group(rig).await,
        "commit-and-seek" => commit_and_seek(rig).await,
        "transactions" => transactions(rig).await,
        "exactly-once" => exactly_once(rig).await,
        "admin" => admin::topics_and_groups(rig).await,
        "admin-cluster" => admin::cluster(rig).await,
        "admin-transactions" => admin::transactions(rig).await,
        "acls" => admin::acls(rig).await,
        _ => Err(format!("no scenario {scenario}").into()),
    }
}

pub struct Rig {
    pub kafka: Kafka,
    pub bootstrap: String,
    pub prefix: String,
}

/// CLIENT_SECURITY: JSON with paths of PEM files. SASL_MECHANISM, SASL_USER and SASL_PASSWORD (or a token) log in.
async fn connect(bootstrap: &str) -> Outcome<Kafka> {
    let (user, password) = (
        env::var("SASL_USER").unwrap_or_default(),
        env::var("SASL_PASSWORD").unwrap_or_default(),
    );
    let login = match env::var("SASL_MECHANISM").unwrap_or_default().as_str() {
        "PLAIN" => AuthConfig::sasl_plain(user, password),
        "SCRAM-SHA-256" => AuthConfig::sasl_scram_sha256(user, password),
        "SCRAM-SHA-512" => AuthConfig::sasl_scram_sha512(user, password),
        "OAUTHBEARER" => AuthConfig::sasl_oauthbearer(password),
        _ => AuthConfig::plaintext(),
    };
    let security = match env::var("CLIENT_SECURITY") {
        Err(_) => login,
        Ok(text) => {
            let paths: serde_json::Value = serde_json::from_str(&text)?;
            let path = |name: &str| paths[name].as_str().map(str::to_owned);
            let mut tls = TlsConfig::new().with_ca_cert(path("ca").ok_or("no authority")?);
            if let Some(own) = path("certificate") {
                tls = tls.with_client_cert(own.clone(), own);
            }
            login.with_tls(tls)
        }
    };
    Ok(Kafka::builder(bootstrap).security(security).connect().await?)
}

#[track_caller]
pub fn want<T: PartialEq + std::fmt::Debug>(seen: T, expected: T) -> Outcome {
    if seen == expected {
        Ok(())
    } else {
        Err(format!("{}: seen {seen:?}, expected {expected:?}", Location::caller()).into())
    }
}

/// Ask until the answer fits: the image of a broker follows its controller a moment later.
pub async fn until<F: Future<Output = Outcome<bool>>>(mut fits: impl FnMut() -> F, what: &str) -> Outcome {
    for _ in 0..200 {
        if fits().await? {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("not in 10 s: {what}").into())
}

impl Rig {
    pub async fn topic(&self, name: &str, partitions: i32) -> Outcome<String> {
        let admin = self.kafka.admin();
        for result in admin
            .create_topics([NewTopic::new(name, partitions, 1)?], Default::default())
            .await?
            .into_values()
        {
            result?;
        }
        until(
            async || {
                Ok(matches!(
                    admin.describe_topics([name], Default::default()).await?.remove(name),
                    Some(Ok(_))
                ))
            },
            name,
        )
        .await?;
        Ok(name.to_owned())
    }

    pub async fn send(&self, records: Vec<Record>, compression: Compression) -> Outcome {
        let producer = self.kafka.producer().compression(compression).build().await?;
        let mut sent = Vec::new();
        for record in records {
            sent.push(producer.enqueue(record).await?);
        }
        for acknowledged in sent {
            let _ = acknowledged.await?;
        }
        Ok(producer.close().await?)
    }

    async fn read(&self, topic: &str, count: usize, isolation: IsolationLevel) -> Outcome<Vec<ConsumerRecord>> {
        let group = format!("{topic}-{isolation:?}-readers");
        let consumer = reader(&self.kafka, &group).isolation_level(isolation).build().await?;
        consumer.subscribe([topic]).await?;
        let records = take(&consumer, count).await?;
        consumer.close().await?;
        Ok(records)
    }
}

fn reader(kafka: &Kafka, group: &str) -> ConsumerBuilder {
    kafka
        .consumer(group)
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .heartbeat_interval(Duration::from_millis(500))
}

async fn take(consumer: &Consumer, count: usize) -> Outcome<Vec<ConsumerRecord>> {
    let mut records = Vec::new();
    while records.len() < count {
        records.extend(consumer.poll(Duration::from_secs(1)).await?);
    }
    want(records.len(), count)?;
    Ok(records)
}

pub fn numbered(topic: &str, count: usize) -> Vec<Record> {
    (0..count)
        .map(|n| Record::new(topic, format!("v{n}")).key(format!("k{n}")))
        .collect()
}

fn values(records: &[ConsumerRecord]) -> Vec<String> {
    records
        .iter()
        .map(|record| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned())
        .collect()
}

fn expected(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("v{n}")).collect()
}

async fn round_trip(rig: &Rig) -> Outcome {
    let topic = rig.topic(&rig.prefix, 3).await?;
    rig.send(numbered(&topic, 1000), Compression::None).await?;
    let seen: HashSet<String> = values(&rig.read(&topic, 1000, IsolationLevel::ReadUncommitted).await?)
        .into_iter()
        .collect();
    want(seen, expected(1000).into_iter().collect())
}

async fn codecs(rig: &Rig) -> Outcome {
    let topic = rig.topic(&rig.prefix, 1).await?;
    let all = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    for codec in all {
        rig.send(numbered(&topic, 200), codec).await?;
    }
    rig.read(&topic, 200 * all.len(), IsolationLevel::ReadUncommitted)
        .await
        .map(|_| ())
}

async fn acks(rig: &Rig) -> Outcome {
    let topic = rig.topic(&rig.prefix, 1).await?;
    for acks in [Acks::None, Acks::Leader, Acks::All] {
        let producer = rig.kafka.producer().idempotent(false).acks(acks).build().await?;
        for record in numbered(&topic, 10) {
            let _ = producer.send(record).await?;
        }
        producer.close().await?;
    }
    rig.read(&topic, 30, IsolationLevel::ReadUncommitted).await.map(|_| ())
}

async fn shapes(rig: &Rig) -> Outcome {
    let topic = rig.topic(&rig.prefix, 1).await?;
    let sent = vec![
        Record::new(&topic, "value").key("key").timestamp(1_700_000_000_000),
        Record::new(&topic, "no key"),
        Record::tombstone(&topic, "no value"),
        Record::new(&topic, "").key(""),
        Record::new(&topic, vec![b'm'; 900_000]),
        Record::new(&topic, "v")
            .header("a", "1")
            .null_header("a")
            .header("empty", ""),
    ];
    rig.send(sent.clone(), Compression::None).await?;
    for (seen, sent) in rig
        .read(&topic, sent.len(), IsolationLevel::ReadUncommitted)
        .await?
        .into_iter()
        .zip(sent)
    {
        want(
            (seen.key, seen.value, seen.headers),
            (sent.key, sent.value, sent.headers),
        )?;
        want(seen.timestamp, sent.timestamp.unwrap_or(seen.timestamp))?;
    }
    Ok(())
}

async fn owned(member: &Consumer) -> usize {
    member.assignment().await.values().map(Vec::len).sum()
}

/// The first member has all partitions, then half of them, and the second has all once the first leaves. Each has a
/// `Kafka` of its own: on a connection that two share, the heartbeats of one wait for the JoinGroup of the other.
async fn group(rig: &Rig, with: fn(ConsumerBuilder) -> ConsumerBuilder) -> Outcome {
    let topic = rig.topic(&rig.prefix, 4).await?;
    rig.send(numbered(&topic, 100), Compression::None).await?;
    let member = async || -> Outcome<Consumer> {
        let consumer = with(reader(&connect(&rig.bootstrap).await?, &rig.prefix))
            .build()
            .await?;
        consumer.subscribe([&topic]).await?;
        Ok(consumer)
    };
    let first = member().await?;
    take(&first, 100).await?;
    want(owned(&first).await, 4)?;
    let second = member().await?;
    while (owned(&first).await, owned(&second).await) != (2, 2) {
        let pause = Duration::from_millis(100);
        let (one, two) = tokio::join!(first.poll(pause), second.poll(pause));
        want((one?.len(), two?.len()), (0, 0))?; // all was read and committed
    }
    let admin = rig.kafka.admin();
    let described = admin
        .describe_consumer_groups([&rig.prefix], Default::default())
        .await?
        .remove(&rig.prefix)
        .ok_or("no group")??;
    want((described.state.as_str(), described.members.len()), ("Stable", 2))?;
    first.close().await?;
    while owned(&second).await != 4 {
        want(second.poll(Duration::from_millis(100)).await?.len(), 0)?;
    }
    second.close().await?;
    admin
        .delete_consumer_groups([&rig.prefix], Default::default())
        .await?
        .remove(&rig.prefix)
        .ok_or("no answer")??;
    Ok(())
}

/// Each record goes to one of two members; what one of them releases comes again, with a higher delivery count.
async fn share_group(rig: &Rig) -> Outcome {
    let topic = rig.topic(&rig.prefix, 2).await?;
    admin::share_from_the_start(rig).await?;
    rig.send(numbered(&topic, 100), Compression::None).await?;
    let mut members = Vec::new();
    for _ in 0..2 {
        let member = connect(&rig.bootstrap)
            .await?
            .share_consumer(&rig.prefix)
            .acknowledgement_mode(AcknowledgementMode::Explicit)
            .build()
            .await?;
        member.subscribe([&topic]).await?;
        members.push(member);
    }
    let (mut accepted, mut again) = (HashSet::new(), 0);
    while accepted.len() < 100 {
        for member in &members {
            for record in member.poll(Duration::from_millis(500)).await? {
                again += usize::from(record.delivery_count > Some(1));
                if record.delivery_count == Some(1) && record.offset % 10 == 0 {
                    member.release(&record)?;
                } else {
                    member.ack(&record)?;
                    want(accepted.insert((record.partition, record.offset)), true)?;
                }
            }
            for result in member.commit().await?.into_values() {
                result?;
            }
        }
    }
    want(again > 0, true)?;
    for member in members {
        member.close().await?;
    }
    admin::share_offsets(rig, &topic).await
}

async fn commit_and_seek(rig: &Rig) -> Outcome {
    let topic = rig.topic(&rig.prefix, 1).await?;
    rig.send(numbered(&topic, 50), Compression::None).await?;
    let consumer = reader(&rig.kafka, &rig.prefix)
        .enable_auto_commit(false)
        .max_poll_records(17)
        .group_instance_id("one")
        .build()
        .await?;
    consumer.subscribe([&topic]).await?;
    take(&consumer, 17).await?;
    consumer
        .commit_offsets([(
            TopicPartition::new(&topic, 0),
            OffsetAndMetadata::with_metadata(17, "half way"),
        )])
        .await?;
    consumer.seek(&topic, 0, 45).await?;
    want(values(&take(&consumer, 5).await?), expected(50)[45..].to_vec())?;
    want(consumer.fetch_watermarks(&topic, 0).await?, (0, 50))?;
    consumer.close().await?;
    let admin = rig.kafka.admin();
    let offsets = admin
        .list_consumer_group_offsets(&rig.prefix, Default::default())
        .await?;
    let found = offsets.into_values().next().ok_or("no offset")??;
    want((found.offset, found.metadata.as_deref()), (Some(17), Some("half way")))
}

async fn transactions(rig: &Rig) -> Outcome {
    let topic = rig.topic(&rig.prefix, 1).await?;
    let producer = rig.kafka.producer().build_transactional(&rig.prefix).await?;
    for n in 0..6 {
        producer.begin()?;
        let _ = producer.send(Record::new(&topic, format!("v{n}"))).await?;
        if n % 2 == 0 {
            producer.commit().await?
        } else {
            producer.abort().await?
        }
    }
    want(
        values(&rig.read(&topic, 3, IsolationLevel::ReadCommitted).await?).join(" "),
        "v0 v2 v4".to_owned(),
    )?;
    want(
        values(&rig.read(&topic, 6, IsolationLevel::ReadUncommitted).await?),
        expected(6),
    )?;
    let newer = rig.kafka.producer().build_transactional(&rig.prefix).await?;
    producer.begin()?;
    want(producer.send(Record::new(&topic, "fenced")).await.is_err(), true)?;
    newer.begin()?;
    let _ = newer.send(Record::new(&topic, "v6")).await?;
    newer.commit().await?;
    Ok(newer.close().await?)
}

/// Copies a topic to another, records and offsets in one transaction; the first try is aborted.
async fn exactly_once(rig: &Rig) -> Outcome {
    let topic = rig.topic(&rig.prefix, 1).await?;
    let into = rig.topic(&format!("{topic}-into"), 1).await?;
    rig.send(numbered(&topic, 20), Compression::None).await?;
    let reader = reader(&rig.kafka, &rig.prefix)
        .enable_auto_commit(false)
        .isolation_level(IsolationLevel::ReadCommitted)
        .build()
        .await?;
    reader.subscribe([&topic]).await?;
    let records = take(&reader, 20).await?;
    let producer = rig.kafka.producer().build_transactional(&rig.prefix).await?;
    for commit in [false, true] {
        producer.begin()?;
        for record in &records {
            let _ = producer
                .send(Record::new(&into, record.value.clone().unwrap_or_default()))
                .await?;
        }
        let member = reader.group_metadata().await.ok_or("no member")?;
        producer
            .send_offsets(&[TopicPartitionOffset::new(&topic, 0, 20)], &member)
            .await?;
        if commit {
            producer.commit().await?
        } else {
            producer.abort().await?
        }
    }
    producer.close().await?;
    reader.close().await?;
    want(
        values(&rig.read(&into, 20, IsolationLevel::ReadCommitted).await?),
        expected(20),
    )?;
    let offsets = rig
        .kafka
        .admin()
        .list_consumer_group_offsets(&rig.prefix, Default::default())
        .await?;
    want(offsets.into_values().next().ok_or("no offset")??.offset, Some(20))
}
