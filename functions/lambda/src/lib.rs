//! What the Lambda binaries share: a context from the environment, the handlers, logs and metrics.
//!
//! Owns: which variables a function needs, how an invocation becomes one call of a workflow, what of it is logged and
//! counted, and what a function does about Lambda's limits. A function that has less than a processor works on one thread;
//! nights, closes and simulations have more.
//! Does not own: rules (workflows), storage (`recoup-store-aws`), routes (`recoup-http`), the functions' rights (the
//! template in `infra/`).
//! Start reading at [`context`], then the handler of a binary: [`web`] (`ingest`, `authorize`, `api`), [`stream`] (`rollup`),
//! [`steps`] (`nightly`, `close`, `simulate`), [`watch`] (`watch`).

mod channels;
pub mod context;
mod jobs;
pub mod logs;
pub mod metrics;
pub mod notify;
pub mod steps;
pub mod stream;
pub mod watch;
pub mod web;
