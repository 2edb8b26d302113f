//! The AWS adapter: event log and books in DynamoDB, documents in S3, alerts through SNS.
