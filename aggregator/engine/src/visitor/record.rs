//! The record of a visitor as bytes, to be stored.
//!
//! Varints unless said otherwise:
//!
//! - format byte
//! - streams: number; of each its id (8 bytes); number of runs, and of each run its distance from the one before and
//!   its length; the hour in which its last number came, plus one, or 0 if nobody listens; else by how much the last number
//!   is beyond the runs, and the runs of the numbers that came, their number plus one, or 0 if they are the runs above
//! - foreign ids: number; fingerprints (8 bytes each)
//! - contexts, ascending: number; of each a byte that tells which of the ids and the country follow, ids (8 bytes each),
//!   country (2 bytes), channel, device, browser, system (a byte each)
//! - slices: number; of each flags (a byte), time of the first event (since the last of the slice before), length, day
//!   (against the UTC day of the first event), context (its place), counts, orders and revenue if there were any, pages
//!   and names (number, 8 bytes each), entry and exit view, the first event if the entry view is not that; an event by the
//!   place of its run or fingerprint among all, counted from 1, and its place in the run; 0: edge (8 bytes) and position
//! - active minutes: number; steps

use super::{
    Visitor,
    heard::Heard,
    seen::{Run, Seen},
    slice::{MAX_LISTED, Slice, View},
};
use crate::{
    Context, Id,
    codec::{DecodeError, Reader, put_fixed, put_signed, put_varint},
    row::add_to,
    window::{DAY_MINUTES, MINUTE_MS, MINUTES, clamp, minute_window},
};

const FORMAT: u8 = 3;
const CONTINUES: u8 = 1;
const HAS_VIEWS: u8 = 1 << 1;
const ONE_VIEW: u8 = 1 << 2;
const BEGINS_WITH_VIEW: u8 = 1 << 3;
const HAS_ORDERS: u8 = 1 << 4;
const HAS_COUNTRY: u8 = 1 << 6;
const DAY_MS: i64 = DAY_MINUTES * MINUTE_MS;
/// The last hour of the year 9999.
const MAX_HOUR: i64 = 253_402_300_799_999 / 3_600_000;

impl Visitor {
    /// Appends the record as bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        self.encode_streams(out);
        self.seen.encode_clients(out);
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
            slice.encode(before, &contexts, &self.seen, out);
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
        let mut visitor = Self::default();
        visitor.decode_streams(&mut reader)?;
        visitor.seen.decode_clients(&mut reader)?;
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
            let before = visitor.slices.last();
            let slice = Slice::decode(before, &contexts, &visitor.seen, &mut reader)?;
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

impl Visitor {
    fn encode_streams(&self, out: &mut Vec<u8>) {
        let of_seen = self.seen.runs.iter().map(|run| run.stream);
        let mut streams: Vec<u64> = of_seen
            .chain(self.heard.iter().map(|at| at.stream))
            .collect();
        streams.sort_unstable();
        streams.dedup();
        put_varint(out, streams.len() as u64);
        let (mut seen, mut heard) = (&self.seen.runs[..], &self.heard[..]);
        for stream in streams {
            put_fixed(out, stream);
            let end = seen.partition_point(|run| run.stream == stream);
            let runs: Vec<_> = seen[..end]
                .iter()
                .map(|run| (run.first, run.last))
                .collect();
            seen = &seen[end..];
            put_varint(out, runs.len() as u64);
            encode_runs(&runs, out);
            let Some((of_stream, later)) =
                heard.split_first().filter(|(at, _)| at.stream == stream)
            else {
                put_varint(out, 0);
                continue;
            };
            heard = later;
            put_varint(out, of_stream.hour as u64 + 1);
            put_varint(out, of_stream.last - last_of(&of_stream.runs));
            if of_stream.runs == runs {
                put_varint(out, 0);
            } else {
                put_varint(out, of_stream.runs.len() as u64 + 1);
                encode_runs(&of_stream.runs, out);
            }
        }
    }

    fn decode_streams(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let streams = reader.count(10)?;
        self.seen.runs.reserve(streams + 1);
        self.heard.reserve(streams + 1);
        let mut before = None;
        for _ in 0..streams {
            let stream = reader.fixed()?;
            if before.is_some_and(|before| before >= stream) {
                return Err(DecodeError::Invalid("stream"));
            }
            before = Some(stream);
            let count = reader.count(2)?;
            let runs = decode_runs(count, reader)?;
            self.seen.runs.extend(runs.iter().map(|(first, last)| Run {
                stream,
                first: *first,
                last: *last,
            }));
            let Some(hour) = reader.varint()?.checked_sub(1) else {
                continue;
            };
            let hour = i64::try_from(hour).ok().filter(|hour| *hour <= MAX_HOUR);
            let beyond = reader.varint()?;
            let runs = match (reader.varint()? as usize).checked_sub(1) {
                None => runs,
                Some(count) => decode_runs(count, reader)?,
            };
            self.heard.push(Heard {
                stream,
                hour: hour.ok_or(DecodeError::Invalid("hour"))?,
                last: last_of(&runs)
                    .checked_add(beyond)
                    .ok_or(DecodeError::Invalid("number"))?,
                runs,
            });
        }
        Ok(())
    }
}

/// The last number of ascending runs.
fn last_of(runs: &[(u64, u64)]) -> u64 {
    runs.last().map_or(0, |(_, last)| *last)
}

/// Of each its distance from the one before, and its length.
fn encode_runs(runs: &[(u64, u64)], out: &mut Vec<u8>) {
    let mut lowest = 0;
    for (first, last) in runs {
        put_varint(out, first - lowest);
        put_varint(out, last - first);
        lowest = last.saturating_add(2);
    }
}

fn decode_runs(count: usize, reader: &mut Reader<'_>) -> Result<Vec<(u64, u64)>, DecodeError> {
    let mut runs = Vec::new(); // what a count promises may be a lie
    let mut lowest = Some(0);
    for _ in 0..count {
        let (distance, length) = (reader.varint()?, reader.varint()?);
        let run = lowest
            .and_then(|lowest: u64| lowest.checked_add(distance))
            .and_then(|first| Some((first, first.checked_add(length)?)));
        let (first, last) = run.ok_or(DecodeError::Invalid("run"))?;
        runs.push((first, last));
        lowest = last.checked_add(2);
    }
    Ok(runs)
}

impl Seen {
    fn encode_clients(&self, out: &mut Vec<u8>) {
        put_varint(out, self.clients.len() as u64);
        for client in &self.clients {
            put_fixed(out, *client);
        }
    }

    fn decode_clients(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let clients = reader.count(8)?;
        self.clients.reserve(clients);
        for _ in 0..clients {
            let client = reader.fixed()?;
            if self.clients.last().is_some_and(|last| *last >= client) {
                return Err(DecodeError::Invalid("fingerprint"));
            }
            self.clients.push(client);
        }
        Ok(())
    }

    /// An id that is in the set, or one that no set has.
    fn encode_id(&self, id: Id, out: &mut Vec<u8>) {
        match id {
            Id::Stream { stream, seq } => {
                let after = |run: &Run| (run.stream, run.first) <= (stream, seq);
                let place = self.runs.partition_point(after); // it is in the run before
                let run = self.runs.get(place.saturating_sub(1));
                put_varint(out, place as u64);
                put_varint(out, seq.wrapping_sub(run.map_or(0, |run| run.first)));
            }
            Id::Client(fingerprint) => {
                let place = self
                    .clients
                    .partition_point(|client| *client <= fingerprint);
                put_varint(out, (self.runs.len() + place) as u64);
            }
            Id::Position { edge, position } => {
                put_varint(out, 0);
                put_fixed(out, edge);
                put_varint(out, position);
            }
        }
    }

    fn decode_id(&self, reader: &mut Reader<'_>) -> Result<Id, DecodeError> {
        let Some(place) = (reader.varint()? as usize).checked_sub(1) else {
            return Ok(Id::Position {
                edge: reader.fixed()?,
                position: reader.varint()?,
            });
        };
        let id = match self.runs.get(place) {
            Some(run) => {
                let seq = run.first.checked_add(reader.varint()?);
                seq.filter(|seq| *seq <= run.last).map(|seq| Id::Stream {
                    stream: run.stream,
                    seq,
                })
            }
            None => self
                .clients
                .get(place - self.runs.len())
                .map(|fingerprint| Id::Client(*fingerprint)),
        };
        id.ok_or(DecodeError::Invalid("event"))
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
    /// `before` is the end of the slice before it; `seen` has its events.
    fn encode(&self, before: i64, contexts: &[Context], seen: &Seen, out: &mut Vec<u8>) {
        let mut flags = 0;
        if self.continues {
            flags |= CONTINUES;
        }
        if let Some((entry, exit)) = self.views {
            flags |= HAS_VIEWS;
            if entry == exit {
                flags |= ONE_VIEW;
            }
            if (entry.time, entry.id) == (self.first, self.first_id) {
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
            self.encode_view(entry, seen, out);
            if entry != exit {
                self.encode_view(exit, seen, out);
            }
        }
        if flags & BEGINS_WITH_VIEW == 0 {
            seen.encode_id(self.first_id, out);
        }
    }

    /// Events that are neither pageviews nor interactive nor engagement.
    fn passive(&self) -> u64 {
        let active = self.pageviews.wrapping_add(self.interactive);
        self.events.wrapping_sub(active)
    }

    fn encode_view(&self, view: View, seen: &Seen, out: &mut Vec<u8>) {
        put_varint(out, (view.time - self.first) as u64);
        seen.encode_id(view.id, out);
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
        seen: &Seen,
        reader: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        let flags = reader.byte()?;
        let first = before
            .map_or(0, |before| before.last)
            .checked_add(reader.signed()?)
            .filter(|first| before.is_none_or(|before| before.last < *first))
            .ok_or(DecodeError::Invalid("time"))?;
        let mut slice = Self {
            continues: flags & CONTINUES != 0,
            ..Self::empty(first, Id::Client(0)) // which event that is comes last
        };
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
            let entry = slice.decode_view(seen, reader)?;
            let exit = if flags & ONE_VIEW != 0 {
                entry
            } else {
                slice.decode_view(seen, reader)?
            };
            if entry > exit {
                return Err(DecodeError::Invalid("view"));
            }
            slice.views = Some((entry, exit));
        }
        slice.first_id = match slice.views {
            Some((entry, _)) if flags & BEGINS_WITH_VIEW != 0 => entry.id,
            _ => seen.decode_id(reader)?,
        };
        Ok(slice)
    }

    fn decode_view(&self, seen: &Seen, reader: &mut Reader<'_>) -> Result<View, DecodeError> {
        let time = self
            .first
            .checked_add_unsigned(reader.varint()?)
            .filter(|time| *time <= self.last)
            .ok_or(DecodeError::Invalid("view"))?;
        let id = seen.decode_id(reader)?;
        let page = match self.lists[0].get(reader.varint()? as usize) {
            Some(page) => *page,
            None => reader.fixed()?,
        };
        Ok(View { time, id, page })
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
