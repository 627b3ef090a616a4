//! The record of a visitor as bytes, to be stored.
//!
//! Varints unless said otherwise:
//!
//! - format byte
//! - streams: number; of each its id (8 bytes), number of runs, and of each run its distance from the one before and
//!   its length
//! - foreign ids: number; fingerprints (8 bytes each)
//! - slices: number; of each flags (a byte), time of the first event (since the last of the slice before), length, day
//!   (against the UTC day of the first event), counts, pages (number, 8 bytes each), entry and exit view
//! - active minutes: number; steps

use super::{
    Visitor,
    seen::{Run, Seen},
    visits::{MAX_PAGES, Slice, View},
};
use crate::{
    codec::{DecodeError, Reader, put_fixed, put_signed, put_varint},
    window::{DAY_MINUTES, MINUTE_MS, MINUTES, clamp, minute_window},
};

const FORMAT: u8 = 1;
const CONTINUES: u8 = 1;
const HAS_VIEWS: u8 = 1 << 1;
const ONE_VIEW: u8 = 1 << 2;
const DAY_MS: i64 = DAY_MINUTES * MINUTE_MS;

impl Visitor {
    /// Appends the record as bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        self.seen.encode(out);
        put_varint(out, self.slices.len() as u64);
        let mut before = 0;
        for slice in &self.slices {
            slice.encode(before, out);
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
        let slices = reader.count(8)?;
        visitor.slices.reserve(slices + 1);
        for _ in 0..slices {
            let slice = Slice::decode(visitor.slices.last(), &mut reader)?;
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

impl Slice {
    /// `before` is the end of the slice before it.
    fn encode(&self, before: i64, out: &mut Vec<u8>) {
        let mut flags = 0;
        if self.continues {
            flags |= CONTINUES;
        }
        if let Some((entry, exit)) = self.views {
            flags |= HAS_VIEWS;
            if entry == exit {
                flags |= ONE_VIEW;
            }
        }
        out.push(flags);
        put_signed(out, self.first - before);
        put_varint(out, (self.last - self.first) as u64);
        put_signed(out, self.day - self.first.div_euclid(DAY_MS));
        put_varint(out, self.pageviews);
        put_varint(out, self.interactive);
        put_varint(out, self.engagement_ms);
        put_varint(out, self.pages.len() as u64);
        for page in &self.pages {
            put_fixed(out, *page);
        }
        if let Some((entry, exit)) = self.views {
            self.encode_view(entry, out);
            if entry != exit {
                self.encode_view(exit, out);
            }
        }
    }

    fn encode_view(&self, view: View, out: &mut Vec<u8>) {
        put_varint(out, (view.time - self.first) as u64);
        put_fixed(out, view.hash);
        // By its place in the set, or whole if the set has no room for it.
        if let Ok(at) = self.pages.binary_search(&view.page) {
            put_varint(out, at as u64);
        } else {
            put_varint(out, self.pages.len() as u64);
            put_fixed(out, view.page);
        }
    }

    fn decode(before: Option<&Self>, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
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
        slice.pageviews = reader.varint()?;
        slice.interactive = reader.varint()?;
        slice.engagement_ms = reader.varint()?;
        let pages = reader.count(8)?;
        if pages > MAX_PAGES {
            return Err(DecodeError::Invalid("number of pages"));
        }
        slice.pages.reserve(pages + 1);
        for _ in 0..pages {
            let page = reader.fixed()?;
            if slice.pages.last().is_some_and(|last| *last >= page) {
                return Err(DecodeError::Invalid("page"));
            }
            slice.pages.push(page);
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
        Ok(slice)
    }

    fn decode_view(&self, reader: &mut Reader<'_>) -> Result<View, DecodeError> {
        let time = self
            .first
            .checked_add_unsigned(reader.varint()?)
            .filter(|time| *time <= self.last)
            .ok_or(DecodeError::Invalid("view"))?;
        let hash = reader.fixed()?;
        let page = match self.pages.get(reader.varint()? as usize) {
            Some(page) => *page,
            None => reader.fixed()?,
        };
        Ok(View { time, hash, page })
    }
}
