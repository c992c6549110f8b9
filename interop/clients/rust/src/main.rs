//! rskafka: PROGRAM BOOTSTRAP SCENARIO PREFIX.

use chrono::{DateTime, Utc};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, OauthBearerCredentials, SaslConfig};
use rskafka::record::Record;
use rustls::pki_types::{pem::PemObject, CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::collections::BTreeMap;
use std::sync::Arc;

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let args: Vec<String> = std::env::args().collect();
    let [_, bootstrap, scenario, prefix] = args.as_slice() else {
        panic!("usage: PROGRAM BOOTSTRAP SCENARIO PREFIX")
    };
    let mut builder = ClientBuilder::new(vec![bootstrap.clone()]);
    if let Some(sasl) = login() {
        builder = builder.sasl_config(sasl);
    }
    if let Some(config) = tls()? {
        builder = builder.tls_config(config);
    }
    let client = builder.build().await?;
    match scenario.as_str() {
        "round-trip" => round_trip(&client, prefix).await?,
        "codecs" => codecs(&client, prefix).await?,
        "shapes" => shapes(&client, prefix).await?,
        "seek-by-time" => seek_by_time(&client, prefix).await?,
        "admin" => admin(&client, prefix).await?,
        other => panic!("no scenario {other}"),
    }
    println!("ok");
    Ok(())
}

/// The variables SASL_MECHANISM, SASL_USER and SASL_PASSWORD let the client log in.
fn login() -> Option<SaslConfig> {
    let mechanism = std::env::var("SASL_MECHANISM").ok()?;
    let password = std::env::var("SASL_PASSWORD").ok()?;
    let credentials = Credentials::new(std::env::var("SASL_USER").ok()?, password.clone());
    Some(match mechanism.as_str() {
        "OAUTHBEARER" => SaslConfig::Oauthbearer(OauthBearerCredentials {
            callback: Arc::new(move || {
                let token = password.clone();
                Box::pin(async move { Ok(token) })
            }),
            authz_id: None,
            bearer_kvs: Vec::new(),
        }),
        "PLAIN" => SaslConfig::Plain(credentials),
        "SCRAM-SHA-256" => SaslConfig::ScramSha256(credentials),
        _ => SaslConfig::ScramSha512(credentials),
    })
}

/// CLIENT_SECURITY: JSON with the paths of PEM files: the authority under "ca", key and certificate under "certificate".
fn tls() -> Result<Option<Arc<ClientConfig>>, Box<dyn std::error::Error>> {
    let Ok(given) = std::env::var("CLIENT_SECURITY") else { return Ok(None) };
    let files: serde_json::Value = serde_json::from_str(&given)?;
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(files["ca"].as_str().ok_or("no ca")?)? {
        authorities.add(certificate?)?;
    }
    let builder = ClientConfig::builder().with_root_certificates(authorities);
    let config = match files["certificate"].as_str() {
        Some(path) => {
            let chain = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(path)?)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Some(Arc::new(config)))
}

async fn fresh(client: &Client, topic: &str) -> Result<PartitionClient, Box<dyn std::error::Error>> {
    client.controller_client()?.create_topic(topic, 1, 1, 10_000).await?;
    Ok(client.partition_client(topic, 0, UnknownTopicHandling::Retry).await?)
}

fn at(timestamp_ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(timestamp_ms).unwrap()
}

/// Yesterday, to the second: the default retention keeps it.
fn base() -> i64 {
    Utc::now().timestamp() / 3600 * 3_600_000 - 100_000_000
}

fn numbered(count: i64) -> Vec<Record> {
    (0..count)
        .map(|n| Record {
            key: Some(format!("k{n}").into_bytes()),
            value: Some(format!("v{n}").into_bytes()),
            headers: BTreeMap::new(),
            timestamp: at(base() + n * 1000),
        })
        .collect()
}

async fn read(partition: &PartitionClient, count: usize) -> Result<Vec<Record>, Box<dyn std::error::Error>> {
    let mut records = Vec::new();
    let mut offset = 0;
    while records.len() < count {
        let (batch, _) = partition.fetch_records(offset, 1..1_000_000, 5_000).await?;
        assert!(!batch.is_empty(), "nothing more after {} of {count} records", records.len());
        for entry in batch {
            assert_eq!(entry.offset, offset);
            offset += 1;
            records.push(entry.record);
        }
    }
    Ok(records)
}

async fn round_trip(client: &Client, topic: &str) -> Outcome {
    let partition = fresh(client, topic).await?;
    let offsets = partition.produce(numbered(1000), Compression::NoCompression).await?;
    assert_eq!(offsets, (0..1000).collect::<Vec<i64>>());
    assert_eq!(read(&partition, 1000).await?, numbered(1000));
    Ok(())
}

async fn codecs(client: &Client, topic: &str) -> Outcome {
    let partition = fresh(client, topic).await?;
    for codec in [Compression::Gzip, Compression::Lz4, Compression::Snappy, Compression::Zstd] {
        partition.produce(numbered(100), codec).await?;
    }
    let expected: Vec<Record> = (0..4).flat_map(|_| numbered(100)).collect();
    assert_eq!(read(&partition, 400).await?, expected);
    Ok(())
}

async fn shapes(client: &Client, topic: &str) -> Outcome {
    let partition = fresh(client, topic).await?;
    let headers = BTreeMap::from([("a".to_owned(), b"1".to_vec()), ("empty".to_owned(), vec![])]);
    let sent: Vec<Record> = [
        (None, Some(b"no key".to_vec())),
        (Some(b"no value".to_vec()), None),
        (Some(vec![]), Some(vec![])),
        (None, None),
        (None, Some(vec![b'm'; 900_000])),
    ]
    .into_iter()
    .map(|(key, value)| Record { key, value, headers: headers.clone(), timestamp: at(base()) })
    .collect();
    for record in &sent {
        partition.produce(vec![record.clone()], Compression::NoCompression).await?;
    }
    assert_eq!(read(&partition, sent.len()).await?, sent);
    Ok(())
}

async fn seek_by_time(client: &Client, topic: &str) -> Outcome {
    let partition = fresh(client, topic).await?;
    partition.produce(numbered(100), Compression::Gzip).await?;
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await?, 0);
    assert_eq!(partition.get_offset(OffsetAt::Latest).await?, 100);
    assert_eq!(partition.get_offset(OffsetAt::Timestamp(at(base() + 41_500))).await?, 42);
    partition.delete_records(10, 10_000).await?;
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await?, 10);
    Ok(())
}

async fn admin(client: &Client, topic: &str) -> Outcome {
    let controller = client.controller_client()?;
    controller.create_topic(topic, 3, 1, 10_000).await?;
    let topics = client.list_topics().await?;
    let found = topics.iter().find(|listed| listed.name == *topic).expect("the topic is listed");
    assert_eq!(found.partitions.len(), 3);
    assert!(controller.create_topic(topic, 3, 1, 10_000).await.is_err());
    controller.delete_topic(topic, 10_000).await?;
    assert!(client.list_topics().await?.iter().all(|listed| listed.name != *topic));
    Ok(())
}
