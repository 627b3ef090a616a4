//! The record of a visitor as bytes, to be stored.
//!
//! Varints unless said otherwise:
//!
//! - format byte
//! - streams: number; of each its id (8 bytes), number of runs, and of each run its distance from the one before and
//!   its length
//! - foreign ids: number; fingerprints (8 bytes each)
//! - contexts, ascending: number; of each a byte that tells which of the ids and the country follow, ids (8 bytes each),
//!   country (2 bytes), channel, device, browser, system (a byte each)
//! - slices: number; of each flags (a byte), time of the first event (since the last of the slice before), length, day
//!   (against the UTC day of the first event), context (its place), counts, orders and revenue if there were any, pages
//!   and names (number, 8 bytes each), entry and exit view, hash of the first event if the entry view is not that
//! - active minutes: number; steps

use super::{
    Visitor,
    seen::{Run, Seen},
    slice::{MAX_LISTED, Slice, View},
};
use crate::{
    Context,
    codec::{DecodeError, Reader, put_fixed, put_signed, put_varint},
    row::add_to,
    window::{DAY_MINUTES, MINUTE_MS, MINUTES, clamp, minute_window},
};

const FORMAT: u8 = 2;
const CONTINUES: u8 = 1;
const HAS_VIEWS: u8 = 1 << 1;
const ONE_VIEW: u8 = 1 << 2;
const BEGINS_WITH_VIEW: u8 = 1 << 3;
const HAS_ORDERS: u8 = 1 << 4;
const HAS_COUNTRY: u8 = 1 << 6;
const DAY_MS: i64 = DAY_MINUTES * MINUTE_MS;

impl Visitor {
    /// Appends the record as bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        self.seen.encode(out);
        let mut contexts: Vec<Context> = self.slices.iter().map(|slice| slice.context).collect();
        contexts.sort_unstable();
        contexts.dedup();
        put_varint(out, contexts.len() as u64);
        for context in &contexts {
            encode_context(context, out);
        }
        put_varint(out, self.slices.len() as u64);
        let mut before = 0;
        for slice in &self.slices {
            slice.encode(before, &contexts, out);
            before = slice.last;
        }
        put_varint(out, self.minutes.len() as u64);
        let mut before = self.reference_minute();
        for minute in &self.minutes {
            put_signed(out, minute - before);
            before = *minute;
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, FORMAT)?;
        let mut visitor = Self {
            seen: Seen::decode(&mut reader)?,
            ..Self::default()
        };
        let count = reader.count(5)?;
        let mut contexts: Vec<Context> = Vec::with_capacity(count);
        for _ in 0..count {
            let context = decode_context(&mut reader)?;
            if contexts.last().is_some_and(|last| *last >= context) {
                return Err(DecodeError::Invalid("context"));
            }
            contexts.push(context);
        }
        let slices = reader.count(11)?;
        visitor.slices.reserve(slices + 1);
        for _ in 0..slices {
            let slice = Slice::decode(visitor.slices.last(), &contexts, &mut reader)?;
            visitor.slices.push(slice);
        }
        let minutes = reader.count(1)?;
        visitor.minutes.reserve(minutes + 1);
        let mut before = visitor.reference_minute();
        for _ in 0..minutes {
            let minute = before.checked_add(reader.signed()?);
            let minute = minute
                .filter(|minute| (MINUTES.start..=MINUTES.end).contains(minute))
                .filter(|minute| visitor.minutes.last().is_none_or(|last| last < minute))
                .ok_or(DecodeError::Invalid("minute"))?;
            visitor.minutes.push(minute);
            before = minute;
        }
        reader.finish()?;
        Ok(visitor)
    }

    /// The first active minute is written against this one.
    fn reference_minute(&self) -> i64 {
        self.slices
            .first()
            .map_or(0, |slice| minute_window(slice.first))
    }
}

impl Seen {
    fn encode(&self, out: &mut Vec<u8>) {
        let streams = || self.runs.chunk_by(|a, b| a.stream == b.stream);
        put_varint(out, streams().count() as u64);
        for runs in streams() {
            put_fixed(out, runs[0].stream);
            put_varint(out, runs.len() as u64);
            let mut lowest = 0;
            for run in runs {
                put_varint(out, run.first - lowest);
                put_varint(out, run.last - run.first);
                lowest = run.last.saturating_add(2);
            }
        }
        put_varint(out, self.clients.len() as u64);
        for client in &self.clients {
            put_fixed(out, *client);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut seen = Self::default();
        let streams = reader.count(11)?;
        seen.runs.reserve(streams + 1);
        for _ in 0..streams {
            let stream = reader.fixed()?;
            if seen.runs.last().is_some_and(|run| run.stream >= stream) {
                return Err(DecodeError::Invalid("stream"));
            }
            let mut lowest = Some(0);
            for _ in 0..reader.count(2)? {
                let (distance, length) = (reader.varint()?, reader.varint()?);
                let run = lowest
                    .and_then(|lowest: u64| lowest.checked_add(distance))
                    .and_then(|first| Some((first, first.checked_add(length)?)));
                let (first, last) = run.ok_or(DecodeError::Invalid("run"))?;
                seen.runs.push(Run {
                    stream,
                    first,
                    last,
                });
                lowest = last.checked_add(2);
            }
        }
        let clients = reader.count(8)?;
        seen.clients.reserve(clients);
        for _ in 0..clients {
            let client = reader.fixed()?;
            if seen.clients.last().is_some_and(|last| *last >= client) {
                return Err(DecodeError::Invalid("fingerprint"));
            }
            seen.clients.push(client);
        }
        Ok(seen)
    }
}

/// The texts of a context, in the order of their bits.
fn ids(context: &mut Context) -> [&mut u64; 6] {
    [
        &mut context.source,
        &mut context.utm_medium,
        &mut context.utm_source,
        &mut context.utm_campaign,
        &mut context.utm_content,
        &mut context.utm_term,
    ]
}

fn encode_context(context: &Context, out: &mut Vec<u8>) {
    let mut context = *context;
    let (country, [channel, device, browser, os]) = (
        context.country,
        [context.channel, context.device, context.browser, context.os],
    );
    let ids = ids(&mut context);
    let mut present = 0;
    for (bit, id) in ids.iter().enumerate() {
        present |= u8::from(**id != 0) << bit;
    }
    if country != 0 {
        present |= HAS_COUNTRY;
    }
    out.push(present);
    for id in ids.into_iter().filter(|id| **id != 0) {
        put_fixed(out, *id);
    }
    if country != 0 {
        out.extend_from_slice(&country.to_be_bytes());
    }
    out.extend_from_slice(&[channel, device, browser, os]);
}

fn decode_context(reader: &mut Reader<'_>) -> Result<Context, DecodeError> {
    let mut context = Context::default();
    let present = reader.byte()?;
    for (bit, id) in ids(&mut context).into_iter().enumerate() {
        if present & (1 << bit) != 0 {
            *id = reader.fixed()?;
        }
    }
    if present & HAS_COUNTRY != 0 {
        context.country = u16::from_be_bytes(reader.array()?);
    }
    [context.channel, context.device, context.browser, context.os] = reader.array()?;
    Ok(context)
}

impl Slice {
    /// `before` is the end of the slice before it.
    fn encode(&self, before: i64, contexts: &[Context], out: &mut Vec<u8>) {
        let mut flags = 0;
        if self.continues {
            flags |= CONTINUES;
        }
        if let Some((entry, exit)) = self.views {
            flags |= HAS_VIEWS;
            if entry == exit {
                flags |= ONE_VIEW;
            }
            if (entry.time, entry.hash) == (self.first, self.first_hash) {
                flags |= BEGINS_WITH_VIEW;
            }
        }
        if self.orders > 0 || !self.revenue.is_empty() {
            flags |= HAS_ORDERS;
        }
        out.push(flags);
        put_signed(out, self.first - before);
        put_varint(out, (self.last - self.first) as u64);
        put_signed(out, self.day - self.first.div_euclid(DAY_MS));
        let context = contexts.binary_search(&self.context); // all are there
        put_varint(out, context.unwrap_or_default() as u64);
        put_varint(out, self.pageviews);
        put_varint(out, self.interactive);
        put_varint(out, self.passive());
        put_varint(out, self.engagement_ms);
        if flags & HAS_ORDERS != 0 {
            put_varint(out, self.orders);
            put_varint(out, self.revenue.len() as u64);
            for (currency, minor) in &self.revenue {
                out.extend_from_slice(currency);
                put_signed(out, *minor);
            }
        }
        for list in &self.lists {
            put_varint(out, list.len() as u64);
            for id in list {
                put_fixed(out, *id);
            }
        }
        if let Some((entry, exit)) = self.views {
            self.encode_view(entry, out);
            if entry != exit {
                self.encode_view(exit, out);
            }
        }
        if flags & BEGINS_WITH_VIEW == 0 {
            put_fixed(out, self.first_hash);
        }
    }

    /// Events that are neither pageviews nor interactive nor engagement.
    fn passive(&self) -> u64 {
        let active = self.pageviews.wrapping_add(self.interactive);
        self.events.wrapping_sub(active)
    }

    fn encode_view(&self, view: View, out: &mut Vec<u8>) {
        put_varint(out, (view.time - self.first) as u64);
        put_fixed(out, view.hash);
        // By its place in the set, or whole if the set has no room for it.
        let [pages, _] = &self.lists;
        if let Ok(at) = pages.binary_search(&view.page) {
            put_varint(out, at as u64);
        } else {
            put_varint(out, pages.len() as u64);
            put_fixed(out, view.page);
        }
    }

    fn decode(
        before: Option<&Self>,
        contexts: &[Context],
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let flags = reader.byte()?;
        let mut slice = Self {
            continues: flags & CONTINUES != 0,
            ..Self::default()
        };
        slice.first = before
            .map_or(0, |before| before.last)
            .checked_add(reader.signed()?)
            .filter(|first| before.is_none_or(|before| before.last < *first))
            .ok_or(DecodeError::Invalid("time"))?;
        slice.last = slice
            .first
            .checked_add_unsigned(reader.varint()?)
            .ok_or(DecodeError::Invalid("time"))?;
        if clamp(slice.first) != slice.first || clamp(slice.last) != slice.last {
            return Err(DecodeError::Invalid("time"));
        }
        // A zone that changes sides of the date line is two days off at most.
        slice.day = Some(reader.signed()?)
            .filter(|days| (-2..=2).contains(days))
            .map(|days| slice.first.div_euclid(DAY_MS) + days)
            .filter(|day| before.is_none_or(|before| before.day <= *day))
            .ok_or(DecodeError::Invalid("day"))?;
        if slice.continues && before.is_none_or(|before| before.day == slice.day) {
            return Err(DecodeError::Invalid("visit"));
        }
        let context = contexts.get(reader.varint()? as usize);
        slice.context = *context.ok_or(DecodeError::Invalid("context"))?;
        slice.pageviews = reader.varint()?;
        slice.interactive = reader.varint()?;
        let active = slice.pageviews.wrapping_add(slice.interactive);
        slice.events = active.wrapping_add(reader.varint()?);
        slice.engagement_ms = reader.varint()?;
        if flags & HAS_ORDERS != 0 {
            slice.orders = reader.varint()?;
            for _ in 0..reader.count(4)? {
                let currency = reader.array()?;
                add_to(&mut slice.revenue, currency, reader.signed()?);
            }
        }
        for list in &mut slice.lists {
            *list = decode_list(reader)?;
        }
        if flags & HAS_VIEWS != 0 {
            let entry = slice.decode_view(reader)?;
            let exit = if flags & ONE_VIEW != 0 {
                entry
            } else {
                slice.decode_view(reader)?
            };
            if entry > exit {
                return Err(DecodeError::Invalid("view"));
            }
            slice.views = Some((entry, exit));
        }
        slice.first_hash = match slice.views {
            Some((entry, _)) if flags & BEGINS_WITH_VIEW != 0 => entry.hash,
            _ => reader.fixed()?,
        };
        Ok(slice)
    }

    fn decode_view(&self, reader: &mut Reader<'_>) -> Result<View, DecodeError> {
        let time = self
            .first
            .checked_add_unsigned(reader.varint()?)
            .filter(|time| *time <= self.last)
            .ok_or(DecodeError::Invalid("view"))?;
        let hash = reader.fixed()?;
        let page = match self.lists[0].get(reader.varint()? as usize) {
            Some(page) => *page,
            None => reader.fixed()?,
        };
        Ok(View { time, hash, page })
    }
}

fn decode_list(reader: &mut Reader<'_>) -> Result<Vec<u64>, DecodeError> {
    let count = reader.count(8)?;
    if count > MAX_LISTED {
        return Err(DecodeError::Invalid("number of ids"));
    }
    let mut list = Vec::with_capacity(count + 1);
    for _ in 0..count {
        let id = reader.fixed()?;
        if list.last().is_some_and(|last| *last >= id) {
            return Err(DecodeError::Invalid("id"));
        }
        list.push(id);
    }
    Ok(list)
}
