//! A client of which an answer is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_types::SdkConfig;

/// Turns the next answer into one that the SDK repeats the call for.
#[derive(Clone, Debug)]
pub(crate) struct LoseOne(pub(crate) Arc<AtomicBool>);

impl LoseOne {
    /// A client that tries again, and what makes it lose its next answer.
    pub(crate) fn client(config: &SdkConfig) -> (Self, Client) {
        let lose = Self(Arc::new(AtomicBool::new(false)));
        let own = aws_sdk_dynamodb::config::Builder::from(config).interceptor(lose.clone());
        (lose, Client::from_conf(own.build()))
    }
}

impl Intercept for LoseOne {
    fn name(&self) -> &'static str {
        "lose one"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if self.0.swap(false, Ordering::SeqCst) {
            *context.response_mut().status_mut() = 503.try_into()?;
        }
        Ok(())
    }
}
