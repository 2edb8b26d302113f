//! A client that fails where a test wants it: a process that ends before or after any of its calls.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
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
    /// What was called, by the names of its operations.
    pub(crate) operations: Mutex<BTreeSet<String>>,
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
            operations: Mutex::default(),
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

    /// A call is about to be sent.
    pub(crate) fn sends(&self, operation: &str) -> Result<(), BoxError> {
        self.operations.lock().expect("nobody panicked").insert(operation.to_owned());
        let sent = self.sent.fetch_add(1, Ordering::SeqCst);
        let is_over = self.answered.load(Ordering::SeqCst) > self.ends_after.load(Ordering::SeqCst);
        let has_ended = sent >= self.ends_before.load(Ordering::SeqCst) || is_over;
        if has_ended { Err("the process ended".into()) } else { Ok(()) }
    }

    /// A call was done.
    pub(crate) fn hears(&self) -> Result<(), BoxError> {
        let answered = self.answered.fetch_add(1, Ordering::SeqCst);
        if answered >= self.ends_after.load(Ordering::SeqCst) { Err("the process ended".into()) } else { Ok(()) }
    }
}

impl Intercept for Injected {
    fn name(&self) -> &'static str {
        "faults"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap_or_default();
        self.0.sends(target.rsplit('.').next().unwrap_or_default())
    }

    fn read_after_transmit(
        &self,
        _context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.hears()
    }
}
