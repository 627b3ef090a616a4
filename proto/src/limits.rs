//! Limits of the wire. A collector may be configured to be stricter, never laxer.

/// Keys that a collector asks for at a time.
pub const MAX_LOOKUP_KEYS: usize = 64;
/// Bytes of a request body as sent.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Bytes of a request body after decompression.
pub const MAX_DECODED_BYTES: usize = 4 << 20;
/// Events in a batch or JSON array.
pub const MAX_EVENTS_PER_BATCH: usize = 1_000;
/// Bytes of one event as JSON, or as an encoded [`Event`](crate::v1::Event).
pub const MAX_EVENT_BYTES: usize = 32 << 10;
/// Bytes of a visitor or user id.
pub const MAX_VISITOR_BYTES: usize = 128;
/// Bytes of an event name, a property name, an experiment, a variant, an order id, a SKU or a client's own event id.
pub const MAX_NAME_BYTES: usize = 128;
/// Bytes of a text property.
pub const MAX_TEXT_BYTES: usize = 4 << 10;
/// Bytes of a URL, referrer or title.
pub const MAX_URL_BYTES: usize = 2 << 10;
/// Properties of an event.
pub const MAX_PROPERTIES: usize = 128;
/// Items of an order.
pub const MAX_ITEMS: usize = 200;
/// Largest sequence number, so that gap accounting cannot overflow.
pub const MAX_SEQ: u64 = u32::MAX as u64;
/// Oldest event that is taken, in ms: the longest that an SDK keeps one.
pub const MAX_AGE_MS: u64 = 30 * 24 * 60 * 60 * 1000;
/// A client clock that is off by less is not corrected, in ms.
pub const MIN_SKEW_MS: u64 = 60_000;
/// Bytes of a block's payload, compressed.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;
/// Bytes of a block's payload, decompressed.
pub const MAX_BLOCK_DECODED_BYTES: usize = 8 << 20;
/// Largest money amount, in minor units: sums of 2^13 of them still fit an `i64`… and a `f64` shows them exactly.
pub const MAX_MONEY_MINOR: i64 = 1 << 50;
