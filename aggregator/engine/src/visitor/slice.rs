//! The part of a visit that lies in one local day.

use crate::{Context, Dimension, Event, Id, Kind, Row, row::add_to};

/// Pages, and names, that a slice remembers; of more, those of the smallest ids, whatever came first.
pub(super) const MAX_LISTED: usize = 512;
/// What is remembered of a slice's events one by one.
pub(super) const LISTED: [Dimension; 2] = [Dimension::Page, Dimension::EventName];

/// What the events of one visit on one local day add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) day: i64,
    /// Time of the first event, in ms.
    pub(super) first: i64,
    pub(super) last: i64,
    /// The first event.
    pub(super) first_id: Id,
    /// Of the first event.
    pub(super) context: Context,
    /// It belongs to the visit of the slice before it.
    pub(super) continues: bool,
    /// The contribution of its visit is not in the rows. Only while events are applied.
    pub(super) open: bool,
    /// The first and the last pageview that told its page.
    pub(super) views: Option<(View, View)>,
    pub(super) pageviews: u64,
    pub(super) interactive: u64,
    /// Of all kinds but engagement.
    pub(super) events: u64,
    pub(super) engagement_ms: u64,
    pub(super) orders: u64,
    /// As in [`Row::revenue`].
    pub(super) revenue: Vec<([u8; 3], i64)>,
    /// Ids that [`LISTED`] names, of its events other than engagement; each list ascending.
    pub(super) lists: [Vec<u64>; LISTED.len()],
}

/// A pageview. Ordered as events are: by time, then by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct View {
    pub(super) time: i64,
    pub(super) id: Id,
    pub(super) page: u64,
}

/// What became of an id that was to be remembered.
pub(super) enum Kept {
    No,
    Yes,
    Instead(u64),
}

impl Slice {
    /// Of one event on that day, without what it lists.
    pub(super) fn new(event: &Event, day: i64, continues: bool) -> Self {
        let mut slice = Self {
            day,
            context: event.context,
            continues,
            open: true,
            ..Self::empty(event.time_ms, event.id)
        };
        slice.add(event);
        slice
    }

    /// Begins and ends with an event that is not counted yet.
    pub(super) fn empty(time: i64, id: Id) -> Self {
        Self {
            day: 0,
            first: time,
            last: time,
            first_id: id,
            context: Context::default(),
            continues: false,
            open: false,
            views: None,
            pageviews: 0,
            interactive: 0,
            events: 0,
            engagement_ms: 0,
            orders: 0,
            revenue: Vec::new(),
            lists: Default::default(),
        }
    }

    /// Takes in an event, but for what it lists.
    pub(super) fn add(&mut self, event: &Event) {
        let first = (self.first, self.first_id, self.context);
        (self.first, self.first_id, self.context) =
            first.min((event.time_ms, event.id, event.context));
        self.last = self.last.max(event.time_ms);
        self.events = self
            .events
            .wrapping_add((event.kind != Kind::Engagement).into());
        match event.kind {
            Kind::Pageview => self.pageviews = self.pageviews.wrapping_add(1),
            Kind::Interactive => self.interactive = self.interactive.wrapping_add(1),
            Kind::Passive | Kind::Engagement => {}
        }
        self.engagement_ms = self.engagement_ms.wrapping_add(event.engagement_ms.into());
        if let Some(order) = event.order {
            self.orders = self.orders.wrapping_add(1);
            add_to(&mut self.revenue, order.currency, order.minor);
        }
        if let (Kind::Pageview, Some(page)) = (event.kind, event.page) {
            let view = View {
                time: event.time_ms,
                id: event.id,
                page,
            };
            self.add_views((view, view));
        }
    }

    /// Takes in a later slice of the same day; the ids that found no room are returned, by list.
    pub(super) fn absorb(&mut self, later: Self) -> [Vec<u64>; LISTED.len()] {
        self.last = later.last;
        self.pageviews = self.pageviews.wrapping_add(later.pageviews);
        self.interactive = self.interactive.wrapping_add(later.interactive);
        self.events = self.events.wrapping_add(later.events);
        self.engagement_ms = self.engagement_ms.wrapping_add(later.engagement_ms);
        self.orders = self.orders.wrapping_add(later.orders);
        for (currency, minor) in later.revenue {
            add_to(&mut self.revenue, currency, minor);
        }
        if let Some(views) = later.views {
            self.add_views(views);
        }
        let mut lost = later.lists;
        for (list, ids) in self.lists.iter_mut().zip(&mut lost) {
            list.append(ids);
            list.sort_unstable();
            list.dedup();
            *ids = list.split_off(list.len().min(MAX_LISTED));
        }
        lost
    }

    fn add_views(&mut self, (first, last): (View, View)) {
        self.views = Some(
            self.views
                .map_or((first, last), |(a, b)| (a.min(first), b.max(last))),
        );
    }

    pub(super) fn has(&self, list: usize, id: u64) -> bool {
        self.lists[list].binary_search(&id).is_ok()
    }

    /// Remembers an id.
    pub(super) fn keep(&mut self, list: usize, id: u64) -> Kept {
        let list = &mut self.lists[list];
        let Err(at) = list.binary_search(&id) else {
            return Kept::No;
        };
        if at == MAX_LISTED {
            return Kept::No;
        }
        list.insert(at, id);
        if list.len() > MAX_LISTED {
            list.pop().map_or(Kept::Yes, Kept::Instead)
        } else {
            Kept::Yes
        }
    }

    /// What its events add to rows (`sign` 1), or that taken back (-1).
    pub(super) fn figures(&self, sign: i64) -> Row {
        let signed = |figure: u64| sign.wrapping_mul(figure as i64);
        let revenue = self.revenue.iter();
        Row {
            pageviews: signed(self.pageviews),
            events: signed(self.events),
            engagement_ms: signed(self.engagement_ms),
            orders: signed(self.orders),
            revenue: revenue
                .map(|(currency, minor)| (*currency, sign.wrapping_mul(*minor)))
                .collect(),
            ..Row::default()
        }
    }
}
