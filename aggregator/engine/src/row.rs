//! Rollup rows: what is kept of a window.

use crate::codec::{DecodeError, Reader, put_signed, put_varint};

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grain {
    /// A minute of UTC.
    Minute,
    /// An hour of the site's local time.
    Hour,
    /// A day of the site's local time.
    Day,
}

/// By what a row is broken down. All but [`Total`](Self::Total) and [`Fate`](Self::Fate) only per day.
///
/// Most are properties of visits: of the first event's [`Context`](crate::Context), or the first or last page. What the
/// visit's events add, and the visitor, is counted on the day of each event; visits, bounces and durations on the day
/// of the first event, by exit page of the last. A visit over more than two midnights counts as one a day, each with
/// properties of its own. Each visit has one value, so the sums over all values are the site's figures but visitors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Dimension {
    /// The whole site; the value is 0.
    Total = 0,
    /// By page: its events, the visits that touched it, its visitors. Events without a page have no row.
    Page = 1,
    /// By the first page that the visit viewed.
    EntryPage = 2,
    /// By the last page that the visit viewed.
    ExitPage = 3,
    /// By [`Context::source`](crate::Context::source).
    Source = 4,
    /// By [`Context::channel`](crate::Context::channel).
    Channel = 5,
    /// By [`Context::utm_medium`](crate::Context::utm_medium).
    UtmMedium = 6,
    /// By [`Context::utm_source`](crate::Context::utm_source).
    UtmSource = 7,
    /// By [`Context::utm_campaign`](crate::Context::utm_campaign).
    UtmCampaign = 8,
    /// By [`Context::utm_content`](crate::Context::utm_content).
    UtmContent = 9,
    /// By [`Context::utm_term`](crate::Context::utm_term).
    UtmTerm = 10,
    /// By [`Context::country`](crate::Context::country).
    Country = 11,
    /// By [`Context::device`](crate::Context::device).
    Device = 12,
    /// By [`Context::browser`](crate::Context::browser).
    Browser = 13,
    /// By [`Context::os`](crate::Context::os).
    Os = 14,
    /// By name of the event: such events, the visits that had one, their visitors. Events without one have no row.
    EventName = 15,
    /// By what became of what was received, whoever counts that: only [`Row::events`], only per hour, and the hour is one
    /// of UTC in which the collector had it. The engine makes such rows of [`LOST_BY_CLIENT`](crate::LOST_BY_CLIENT) only.
    Fate = 16,
}

impl Dimension {
    /// Every dimension, each at the place of its number.
    pub const ALL: [Self; 17] = [
        Self::Total,
        Self::Page,
        Self::EntryPage,
        Self::ExitPage,
        Self::Source,
        Self::Channel,
        Self::UtmMedium,
        Self::UtmSource,
        Self::UtmCampaign,
        Self::UtmContent,
        Self::UtmTerm,
        Self::Country,
        Self::Device,
        Self::Browser,
        Self::Os,
        Self::EventName,
        Self::Fate,
    ];
}

/// Which row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowKey {
    /// Length of the window.
    pub grain: Grain,
    /// Minute: minutes since 1970-01-01 UTC. Hour: the unix minute at which the local hour begins. Day: the local date
    /// as days since 1970-01-01.
    pub window: i64,
    /// What `value` is a value of.
    pub dimension: Dimension,
    /// [`text_id`](crate::text_id) or code of the value; 0 for a visit that has none.
    pub value: u64,
}

impl RowKey {
    /// A key as bytes that sort as it does: grain, window, dimension, value.
    pub fn to_bytes(self) -> [u8; 18] {
        let mut bytes = [0; 18];
        bytes[0] = self.grain as u8;
        bytes[1..9].copy_from_slice(&((self.window as u64) ^ (1 << 63)).to_be_bytes());
        bytes[9] = self.dimension as u8;
        bytes[10..].copy_from_slice(&self.value.to_be_bytes());
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave; `None` for an unknown grain or dimension.
    pub fn from_bytes(bytes: &[u8; 18]) -> Option<Self> {
        let [grain, w0, w1, w2, w3, w4, w5, w6, w7, dimension, value @ ..] = *bytes;
        let window = u64::from_be_bytes([w0, w1, w2, w3, w4, w5, w6, w7]) ^ (1 << 63);
        Some(Self {
            grain: match grain {
                0 => Grain::Minute,
                1 => Grain::Hour,
                2 => Grain::Day,
                _ => return None,
            },
            window: window as i64,
            dimension: *Dimension::ALL.get(usize::from(dimension))?,
            value: u64::from_be_bytes(value),
        })
    }
}

/// The figures of a window, or a signed change to them. Sums wrap, so that any order of adding gives the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Page and screen views.
    pub pageviews: i64,
    /// Events of all kinds but engagement.
    pub events: i64,
    /// Visits that began in the window; by page or name: visits that had it and began on the day; by exit page: visits
    /// that ended on the day.
    pub visits: i64,
    /// Those with one pageview and no interactive event.
    pub bounces: i64,
    /// Sum of their durations, in ms.
    pub duration_ms: i64,
    /// Attention reported in the window, in ms.
    pub engagement_ms: i64,
    /// Orders.
    pub orders: i64,
    /// Their value in minor units by currency: ascending, none zero.
    pub revenue: Vec<([u8; 3], i64)>,
    /// Visitors active in the window by the number of windows since they were active before; 0: never, or longer ago
    /// than is kept (1,440 minutes, 960 hours, any number of days). Ascending, none zero.
    pub visitors_by_gap: Vec<(u32, i64)>,
}

const FORMAT: u8 = 1;
const REVENUE: u64 = 1 << 7;
const VISITORS: u64 = 1 << 8;

impl Row {
    /// Adds a row, or a change, to this one.
    pub fn add(&mut self, other: &Self) {
        for (mine, other) in self.figures_mut().into_iter().zip(other.figures()) {
            *mine = mine.wrapping_add(other);
        }
        for &(currency, minor) in &other.revenue {
            add_to(&mut self.revenue, currency, minor);
        }
        for &(gap, visitors) in &other.visitors_by_gap {
            add_to(&mut self.visitors_by_gap, gap, visitors);
        }
    }

    /// Whether it says nothing.
    pub fn is_zero(&self) -> bool {
        self.figures() == [0; 7] && self.revenue.is_empty() && self.visitors_by_gap.is_empty()
    }

    /// Distinct visitors of this window.
    pub fn visitors(&self) -> i64 {
        self.visitors_by_gap
            .iter()
            .fold(0, |sum, (_, visitors)| sum.wrapping_add(*visitors))
    }

    /// Visitors of this window that were not in any of the `windows` windows before it. The distinct visitors of a
    /// range are the sum over its rows, each asked with its [`distance`](crate::window::distance) from the range's
    /// first window.
    pub fn visitors_since(&self, windows: u32) -> i64 {
        self.visitors_by_gap
            .iter()
            .filter(|(gap, _)| *gap == 0 || *gap > windows)
            .fold(0, |sum, (_, visitors)| sum.wrapping_add(*visitors))
    }

    pub(crate) fn add_visitors(&mut self, gap: u32, visitors: i64) {
        add_to(&mut self.visitors_by_gap, gap, visitors);
    }

    pub(crate) fn add_revenue(&mut self, currency: [u8; 3], minor: i64) {
        add_to(&mut self.revenue, currency, minor);
    }

    /// Appends the row as bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let figures = self.figures();
        let mut present = 0;
        for (bit, figure) in figures.iter().enumerate() {
            present |= u64::from(*figure != 0) << bit;
        }
        if !self.revenue.is_empty() {
            present |= REVENUE;
        }
        if !self.visitors_by_gap.is_empty() {
            present |= VISITORS;
        }
        out.push(FORMAT);
        put_varint(out, present);
        for figure in figures.into_iter().filter(|figure| *figure != 0) {
            put_signed(out, figure);
        }
        if present & REVENUE != 0 {
            put_varint(out, self.revenue.len() as u64);
            for (currency, minor) in &self.revenue {
                out.extend_from_slice(currency);
                put_signed(out, *minor);
            }
        }
        if present & VISITORS != 0 {
            put_varint(out, self.visitors_by_gap.len() as u64);
            let mut before = 0;
            for (gap, visitors) in &self.visitors_by_gap {
                put_varint(out, u64::from(gap - before));
                put_signed(out, *visitors);
                before = *gap;
            }
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, FORMAT)?;
        let present = reader.varint()?;
        let mut row = Self::default();
        for (bit, figure) in row.figures_mut().into_iter().enumerate() {
            if present & (1 << bit) != 0 {
                *figure = reader.signed()?;
            }
        }
        if present & REVENUE != 0 {
            for _ in 0..reader.count(4)? {
                let currency = reader.array()?;
                row.add_revenue(currency, reader.signed()?);
            }
        }
        if present & VISITORS != 0 {
            let count = reader.count(2)?;
            row.visitors_by_gap.reserve_exact(count);
            let mut gap: u32 = 0;
            for _ in 0..count {
                let step = u32::try_from(reader.varint()?).ok();
                gap = step
                    .and_then(|step| gap.checked_add(step))
                    .ok_or(DecodeError::Invalid("gap"))?;
                row.add_visitors(gap, reader.signed()?);
            }
        }
        reader.finish()?;
        Ok(row)
    }

    fn figures(&self) -> [i64; 7] {
        [
            self.pageviews,
            self.events,
            self.visits,
            self.bounces,
            self.duration_ms,
            self.engagement_ms,
            self.orders,
        ]
    }

    fn figures_mut(&mut self) -> [&mut i64; 7] {
        [
            &mut self.pageviews,
            &mut self.events,
            &mut self.visits,
            &mut self.bounces,
            &mut self.duration_ms,
            &mut self.engagement_ms,
            &mut self.orders,
        ]
    }
}

/// Adds to the entry of that key in a sorted list without zeros.
pub(crate) fn add_to<K: Ord + Copy>(list: &mut Vec<(K, i64)>, key: K, amount: i64) {
    if amount == 0 {
        return;
    }
    match list.binary_search_by_key(&key, |(key, _)| *key) {
        Ok(at) => {
            list[at].1 = list[at].1.wrapping_add(amount);
            if list[at].1 == 0 {
                list.remove(at);
            }
        }
        Err(at) => list.insert(at, (key, amount)),
    }
}
