//! Events in columns, as whoever reads them hands them over.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;
use wakeline_engine::{Id, Kind, Money};

/// Texts by number: 0 is the empty one.
#[derive(Debug)]
pub struct Texts {
    ids: HashMap<Box<str>, u32, RandomState>,
    list: Vec<Box<str>>,
    bytes: usize,
}

impl Default for Texts {
    fn default() -> Self {
        let mut texts = Self {
            ids: HashMap::default(),
            list: Vec::new(),
            bytes: 0,
        };
        texts.id("");
        texts
    }
}

impl Texts {
    /// The number of a text, a new one if need be.
    pub fn id(&mut self, text: &str) -> u32 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = self.list.len() as u32;
        self.ids.insert(text.into(), id);
        self.list.push(text.into());
        // Twice the text, and what points to it.
        self.bytes += 2 * text.len() + 64;
        id
    }

    /// The text of a number; empty if it has none.
    pub fn get(&self, id: u32) -> &str {
        self.list.get(id as usize).map_or("", |text| text)
    }

    /// All of them, in the order of their numbers.
    pub fn all(&self) -> &[Box<str>] {
        &self.list
    }

    /// About how much memory they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Events of some visitors: of each visitor all that were asked for, one after the other, in any order. Columns are
/// equally long.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Where the events of each visitor end.
    pub ends: Vec<usize>,
    /// Corrected time, in Unix milliseconds.
    pub time_ms: Vec<i64>,
    /// Settles the order of events of one millisecond.
    pub id: Vec<Id>,
    /// What the event does to its visit.
    pub kind: Vec<Kind>,
    /// Attention, in ms.
    pub engagement_ms: Vec<u32>,
    /// Deepest scroll in % of an engagement event; above 100: not told.
    pub scroll: Vec<u8>,
    /// Value of the order that it reports.
    pub order_value: Vec<Option<Money>>,
    /// Numbers of texts, by the fields that were asked for.
    pub texts: Vec<Vec<u32>>,
}

/// An event to be put into a batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchEvent {
    /// As in [`Batch::time_ms`].
    pub time_ms: i64,
    /// As in [`Batch::id`].
    pub id: Id,
    /// As in [`Batch::kind`].
    pub kind: Kind,
    /// As in [`Batch::engagement_ms`].
    pub engagement_ms: u32,
    /// As in [`Batch::scroll`].
    pub scroll: u8,
    /// As in [`Batch::order_value`].
    pub order_value: Option<Money>,
}

/// What stands in [`Batch::scroll`] for an event that tells none.
pub const NO_SCROLL: u8 = u8::MAX;

impl Batch {
    /// Of events with that many fields.
    pub fn new(fields: usize) -> Self {
        Self {
            texts: vec![Vec::new(); fields],
            ..Self::default()
        }
    }

    /// Adds an event of the visitor whose events are being added.
    pub fn push(&mut self, event: &BatchEvent, texts: impl IntoIterator<Item = u32>) {
        self.time_ms.push(event.time_ms);
        self.id.push(event.id);
        self.kind.push(event.kind);
        self.engagement_ms.push(event.engagement_ms);
        self.scroll.push(event.scroll);
        self.order_value.push(event.order_value);
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.push(text);
        }
    }

    /// Adds events of another batch with the same fields, of the visitor whose events are being added.
    pub fn extend(&mut self, from: &Self, events: Range<usize>) {
        fn some<T: Copy>(to: &mut Vec<T>, from: &[T], events: &Range<usize>) {
            to.extend_from_slice(&from[events.clone()]);
        }
        some(&mut self.time_ms, &from.time_ms, &events);
        some(&mut self.id, &from.id, &events);
        some(&mut self.kind, &from.kind, &events);
        some(&mut self.engagement_ms, &from.engagement_ms, &events);
        some(&mut self.scroll, &from.scroll, &events);
        some(&mut self.order_value, &from.order_value, &events);
        for (column, texts) in self.texts.iter_mut().zip(&from.texts) {
            some(column, texts, &events);
        }
    }

    /// The visitor has no more events.
    pub fn end_visitor(&mut self) {
        self.ends.push(self.time_ms.len());
    }

    /// Events in it.
    pub fn len(&self) -> usize {
        self.time_ms.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.time_ms.is_empty()
    }
}
