//! The wire contract of Wakeline: generated messages, limits, refusal reasons and event ids.
//!
//! No I/O, and without gRPC no standard library: the browser SDK pays for each byte. Messages of the browser and app
//! SDKs, of collectors and of the aggregator are in [`v1`]; the `.proto` files beside this crate document each field and the rules of change.

// What tonic generates needs it; SDKs ask for no gRPC.
#![cfg_attr(not(any(test, feature = "grpc", feature = "schema")), no_std)]

extern crate alloc;

pub mod batch;
pub mod event_id;
pub mod limits;
pub mod lists;
mod reason;
#[cfg(feature = "schema")]
pub mod schema;
/// Generated from `wakeline/v1/*.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::expect_used
)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/wakeline.v1.rs"));
}

pub use event_id::EventId;
pub use reason::Reason;

/// All `.proto` files as an encoded `FileDescriptorSet`, for gRPC reflection.
#[cfg(feature = "grpc")]
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Metadata of `Ingest.Push`: the edge ids of earlier openings of the spool, 16 hex digits each, separated by commas.
#[cfg(feature = "grpc")]
pub const EDGES_BEFORE: &str = "wakeline-edges-before";

/// What the names of visitors begin with that a collector gives, for a day, to those that tell none.
pub const VISITOR_OF_DAY: &str = "d.";

/// The reason of tallies of events that a collector acknowledged and that its damaged spool has lost: no refusal.
pub const LOST_CORRUPT: &str = "lost_corrupt";

/// Hash that spreads visitors over partitions: the partition is this modulo their number. Part of the wire contract
/// (XXH3-64 of the site id, little endian, then the visitor's bytes).
pub fn partition_hash(site: u64, visitor: &str) -> u64 {
    let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
    hasher.update(&site.to_le_bytes());
    hasher.update(visitor.as_bytes());
    hasher.digest()
}

/// Trackers whose clients a collector understands, by the names that aliases of sites use. Clients of RudderStack
/// speak Segment's protocol and are known by its name.
pub const TRACKERS: [&str; 8] = [
    "ga4",
    "matomo",
    "plausible",
    "posthog",
    "segment",
    "shopify",
    "snowplow",
    "umami",
];

impl v1::EventType {
    /// Every type with the name that JSON, reports and the log of fates use.
    pub const NAMES: [(Self, &'static str); 14] = [
        (Self::PageView, "page_view"),
        (Self::ScreenView, "screen_view"),
        (Self::Click, "click"),
        (Self::Scroll, "scroll"),
        (Self::Swipe, "swipe"),
        (Self::Form, "form"),
        (Self::Engagement, "engagement"),
        (Self::ProductView, "product_view"),
        (Self::Cart, "cart"),
        (Self::Checkout, "checkout"),
        (Self::Order, "order"),
        (Self::Identify, "identify"),
        (Self::Exposure, "exposure"),
        (Self::Custom, "custom"),
    ];

    /// The name that JSON and reports use; `"custom"` for a number this version does not know.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("custom", |(_, name)| name)
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(kind, _)| *kind)
    }

    /// Whether events of this type are passive whatever they say: they do not end a bounce.
    pub const fn is_passive(self) -> bool {
        matches!(
            self,
            Self::Engagement | Self::Scroll | Self::ProductView | Self::Exposure | Self::Identify
        )
    }

    /// Whether events of this type count as page views.
    pub const fn is_pageview(self) -> bool {
        matches!(self, Self::PageView | Self::ScreenView)
    }
}
