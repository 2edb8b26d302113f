//! Clients that fail where a test wants it: a process that ends before or after any of its calls, an answer that is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::{
    BeforeDeserializationInterceptorContextMut, BeforeDeserializationInterceptorContextRef,
    BeforeTransmitInterceptorContextMut,
};
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_types::SdkConfig;

/// No call fails.
pub(crate) const NEVER: usize = usize::MAX;

/// Where a process ends: nothing is sent from this call on, or its answer and all later ones are lost.
#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) sent: AtomicUsize,
    answered: AtomicUsize,
    ends_before: AtomicUsize,
    ends_after: AtomicUsize,
}

#[derive(Clone, Debug)]
pub(crate) struct Injected(Arc<Faults>);

impl Faults {
    /// Faults that do not happen yet, and a client that they happen to: it tries nothing again.
    pub(crate) fn client(config: &SdkConfig) -> (Arc<Self>, Client) {
        let faults = Arc::new(Self {
            sent: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
            ends_before: AtomicUsize::new(NEVER),
            ends_after: AtomicUsize::new(NEVER),
        });
        let own = aws_sdk_dynamodb::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .interceptor(Injected(Arc::clone(&faults)));
        (faults, Client::from_conf(own.build()))
    }

    pub(crate) fn set(&self, before: usize, after: usize) {
        self.sent.store(0, Ordering::SeqCst);
        self.answered.store(0, Ordering::SeqCst);
        self.ends_before.store(before, Ordering::SeqCst);
        self.ends_after.store(after, Ordering::SeqCst);
    }
}

impl Intercept for Injected {
    fn name(&self) -> &'static str {
        "faults"
    }

    fn modify_before_transmit(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let faults = &self.0;
        let sent = faults.sent.fetch_add(1, Ordering::SeqCst);
        let is_over = faults.answered.load(Ordering::SeqCst) > faults.ends_after.load(Ordering::SeqCst);
        if sent >= faults.ends_before.load(Ordering::SeqCst) || is_over {
            Err("the process ended".into())
        } else {
            Ok(())
        }
    }

    fn read_after_transmit(
        &self,
        _context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let faults = &self.0;
        let answered = faults.answered.fetch_add(1, Ordering::SeqCst);
        if answered >= faults.ends_after.load(Ordering::SeqCst) { Err("the process ended".into()) } else { Ok(()) }
    }
}

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
