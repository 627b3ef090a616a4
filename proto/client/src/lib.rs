//! The client half of the protocol: queue, batch, retry. No clock, no network, no storage.
