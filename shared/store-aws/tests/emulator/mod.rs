//! An emulator of AWS: tables, buckets, topics and queues of a test's own on it.
#![expect(dead_code, reason = "each test file uses a part of it")]

use std::fmt::Write as _;
use std::future::Future;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, StreamSpecification,
    StreamViewType,
};
use aws_sdk_s3::types::{BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration};
use aws_types::SdkConfig;
use recoup_store::StoreError;
use recoup_store_aws::{AwsStore, Settings};
use tokio::runtime::Handle;

/// Which emulator the tests run on.
pub(crate) fn emulator() -> String {
    let why = "these tests need an emulator of AWS; run them with tests/run conformance, or below \
               tests/emulators/with_aws.py";
    assert!(std::env::var("AWS_ENDPOINT_URL").is_ok_and(|url| url.contains("127.0.0.1")), "{why}");
    std::env::var("RECOUP_TEST_AWS").expect(why)
}

/// The configuration of a client on the emulator, as the functions load it.
pub(crate) async fn config() -> SdkConfig {
    emulator();
    recoup_store_aws::load_config().expect("the variables of a function")
}

/// Waits for a future inside a test with several threads.
pub(crate) fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| Handle::current().block_on(future))
}

/// A name that no other test has.
pub(crate) fn fresh(what: &str) -> String {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).expect("random bytes");
    bytes.iter().fold(format!("recoup-{what}-"), |mut name, byte| {
        write!(name, "{byte:02x}").expect("a text takes all");
        name
    })
}

/// A table as the template makes it.
pub(crate) async fn make_table(client: &aws_sdk_dynamodb::Client, name: &str, streams: bool) {
    let mut make = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    for (attribute, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        let definition =
            AttributeDefinition::builder().attribute_name(attribute).attribute_type(ScalarAttributeType::S).build();
        let element = KeySchemaElement::builder().attribute_name(attribute).key_type(kind).build();
        make = make.attribute_definitions(definition.expect("complete")).key_schema(element.expect("complete"));
    }
    if streams {
        let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewImage);
        make = make.stream_specification(stream.build().expect("complete"));
    }
    make.send().await.expect("create a table");
}

/// Tables of a new store.
pub(crate) async fn make_tables(client: &aws_sdk_dynamodb::Client) -> Settings {
    let settings = Settings::new(fresh("events"), fresh("books"));
    make_table(client, &settings.events_table, true).await;
    make_table(client, &settings.books_table, false).await;
    settings
}

/// A new store with nothing in it.
pub(crate) async fn open_store() -> Arc<AwsStore> {
    let config = config().await;
    let settings = make_tables(&recoup_store_aws::dynamodb_client(&config)).await;
    Arc::new(AwsStore::open(settings, &config).await.expect("open a store"))
}

/// A versioned bucket, with Object Lock where asked for.
pub(crate) async fn make_bucket(config: &SdkConfig, locked: bool) -> String {
    let client = recoup_store_aws::s3_client(config);
    let name = fresh("documents");
    let region = config.region().map(|region| region.as_ref().into());
    let place = CreateBucketConfiguration::builder().set_location_constraint(region).build();
    let _: Option<&BucketLocationConstraint> = place.location_constraint();
    let make = client.create_bucket().bucket(&name).create_bucket_configuration(place);
    make.object_lock_enabled_for_bucket(locked).send().await.expect("create a bucket");
    let versioned =
        aws_sdk_s3::types::VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    client.put_bucket_versioning().bucket(&name).versioning_configuration(versioned).send().await.expect("version it");
    name
}

/// An error with its causes.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

/// What a store failed with, in words.
pub(crate) fn failure<T>(result: Result<T, StoreError>) -> String {
    match result {
        Ok(_) => "it did not fail".to_owned(),
        Err(error) => words(&error),
    }
}
