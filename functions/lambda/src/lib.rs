//! What the binaries of this package share: a context from the environment, logs, metrics.
