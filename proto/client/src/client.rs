use alloc::sync::Arc;
use alloc::vec::Vec;

use wakeline_proto::limits::{
    MAX_EVENT_BYTES, MAX_EVENTS_PER_BATCH, MAX_SEQ, MAX_URL_BYTES, MAX_VISITOR_BYTES,
};
use wakeline_proto::v1::{Consent, EventType};
use wakeline_proto::{EventId, Reason};

use crate::check;
use crate::config::{Config, Now, Person, Start};
use crate::encode::{self, Sender};
use crate::event::{Event, Page};
use crate::fate::{Counts, DropReason, Fate, Refused, bump};
use crate::packed::Packed;
use crate::queue::{self, At, Entry, Identity, Queue};
use crate::reply;
use crate::retry::Retry;
use crate::snapshot::{self, Events, Head, Left};
use crate::step::{BatchHandle, Beacon, Reply, Restored, Step};

#[cfg(feature = "store")]
pub(crate) mod store;

/// See the [crate's documentation](crate).
#[derive(Debug)]
pub struct Client {
    config: Config,
    sender: Sender,
    stream: u64,
    next_seq: u64,
    predecessor: Option<EventId>,
    /// Of the next events, as is `page`.
    identity: Arc<Identity>,
    page: Page,
    queue: Queue,
    in_flight: Option<InFlight>,
    batches: u64,
    retry: Retry,
    /// Entries that arrived before this one don't wait for company.
    flush_before: u64,
    /// Events and bytes of the next batches, while the server finds them too large.
    split: Option<(usize, usize)>,
    counts: Counts,
    fates: Vec<(EventId, Fate)>,
}

#[derive(Debug)]
struct InFlight {
    handle: BatchHandle,
    /// In the order in which the batch has them.
    ids: Vec<EventId>,
    bytes: usize,
}

impl Client {
    /// A client with an empty queue.
    pub fn new(config: Config, start: Start) -> Self {
        let sender = Sender::of(&config);
        Self::sending_as(sender, config, start)
    }

    /// The same for a shell that has encoded itself who sends: the write key, and a `Batch` with nothing but `client` and
    /// `device`. What the configuration says of them is ignored.
    pub fn described(key: Vec<u8>, about: Vec<u8>, config: Config, start: Start) -> Self {
        Self::sending_as(Sender { key, about }, config, start)
    }

    fn sending_as(sender: Sender, mut config: Config, start: Start) -> Self {
        config.max_batch_events = config.max_batch_events.clamp(1, MAX_EVENTS_PER_BATCH);
        let identity = Identity {
            visitor: start.install.into_bytes(),
            first_day: start.first_day,
            ..Identity::default()
        };
        Self {
            config,
            sender,
            stream: start.stream.get(),
            next_seq: 0,
            predecessor: None,
            identity: Arc::new(identity),
            page: Page::default(),
            queue: Queue::default(),
            in_flight: None,
            batches: 0,
            retry: Retry::new(start.seed),
            flush_before: 0,
            split: None,
            counts: Counts::default(),
            fates: Vec::new(),
        }
    }

    /// Takes over what an earlier page or process of this install left, by its [`snapshot`](Self::snapshot); may be
    /// called for several, the most recent first: that one becomes this stream's predecessor. Call it before the
    /// first event is recorded. Once the own snapshot is stored, the restored ones can be deleted.
    pub fn restore(&mut self, snapshot: &[u8], now: Now) -> Restored {
        let (head, frames, mut corrupt) = snapshot::read(snapshot);
        if let Some(head) = head {
            if head.stream == self.stream {
                return Restored::default(); // what it holds is here already
            }
            self.follow(head.last, head.wait_until, now);
        }
        let mut known: Vec<&Entry> = self.queue.iter().collect();
        queue::sort(&mut known, queue::by_id);
        let known = ids(&known);
        let mut events = 0;
        for frame in frames {
            let Some(mut left_events) = Events::new(frame.events) else {
                corrupt = true;
                continue;
            };
            while let Some(left) = left_events.next() {
                if left.id.stream == self.stream || known.binary_search(&left.id).is_ok() {
                    continue;
                }
                let identity = Arc::clone(left_events.identity());
                self.inherit_of(identity, left, frame.held_until, now);
                events += 1;
            }
            corrupt |= left_events.corrupt();
        }
        self.counts.corrupt_snapshots += u64::from(corrupt);
        self.shed();
        Restored { events, corrupt }
    }

    /// For shells that store events themselves: this stream follows the one in which `last` was the last number, whose
    /// page was asked to send nothing before `wait_until` (wall clock, in ms; 0: at once). Of several calls the first names
    /// the predecessor.
    pub fn follow(&mut self, last: Option<EventId>, wait_until: u64, now: Now) {
        self.predecessor = self.predecessor.or(last);
        let longest = self.config.retry_after_cap_ms.max(self.config.pause_ms);
        let wait = wait_until.saturating_sub(now.wall_ms).min(longest);
        if wait > 0 {
            self.retry.inherit(now.mono_ms.saturating_add(wait));
        }
    }

    /// For shells that store events themselves: takes over one of an earlier page, of the person that is [set](Self::set_person).
    /// A beacon has taken a copy of it, which is trusted until `held_until` (wall clock, in ms; 0: there is none). Each event is
    /// to be handed over once.
    pub fn inherit(&mut self, left: Left, held_until: u64, now: Now) {
        self.inherit_of(Arc::clone(&self.identity), left, held_until, now);
        self.shed();
    }

    fn inherit_of(&mut self, identity: Arc<Identity>, left: Left, held_until: u64, now: Now) {
        let grace = self.config.beacon_grace_ms;
        let held_until = match held_until.saturating_sub(now.wall_ms).min(grace) {
            0 => 0,
            rest => now.mono_ms.saturating_add(rest),
        };
        self.counts.restored += 1;
        self.queue.push(Entry {
            at: At::Wall(left.recorded_at),
            identity,
            predecessor: left.predecessor,
            queued_at: now.mono_ms,
            held_until,
            ..Entry::new(left.id, left.packed)
        });
    }

    /// The page on which the next events happen. Texts over their limit are cut.
    pub fn set_page(&mut self, page: Page) {
        self.page = Page {
            url: check::cut(page.url, MAX_URL_BYTES),
            referrer: check::cut(page.referrer, MAX_URL_BYTES),
            title: check::cut(page.title, MAX_URL_BYTES),
        };
    }

    /// Whose the next events are, and on what terms; `user` is empty if nobody is signed in. What is queued stays whose
    /// it was.
    pub fn set_person(&mut self, person: Person) {
        self.become_person(person.into());
    }

    /// The same with texts as bytes of UTF-8, for shells that have no others.
    pub fn set_person_of(&mut self, install: &[u8], user: &[u8], first_day: u32, consent: Consent) {
        self.become_person(Identity {
            visitor: install.to_vec(),
            first_day,
            user: user.to_vec(),
            consent,
        });
    }

    fn become_person(&mut self, identity: Identity) {
        if identity.visitor != self.identity.visitor
            && let Some(last) = self.next_seq.checked_sub(1)
        {
            // Else a server would miss the numbers so far among this install's.
            self.predecessor = Some(self.id(last));
        }
        self.identity = Arc::new(identity);
    }

    /// What the person agreed to, for the next events. While denied or pending, events are refused.
    pub fn set_consent(&mut self, consent: Consent) {
        Arc::make_mut(&mut self.identity).consent = consent;
    }

    /// Queues an event and gives it its id. What breaks a limit is refused, and counted.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a caller has no use for it any more"
    )]
    pub fn record(&mut self, event: Event, now: Now) -> Result<EventId, Refused> {
        self.enqueue(self.next_seq, &event, now.mono_ms, now)
    }

    /// Queues an event that a loader recorded at `at_mono_ms` and gave the number `seq` in this client's stream.
    /// Numbers come in order: one at or below an earlier one is refused as malformed. `now` may be later.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a caller has no use for it any more"
    )]
    pub fn adopt(
        &mut self,
        seq: u64,
        event: Event,
        at_mono_ms: u64,
        now: Now,
    ) -> Result<EventId, Refused> {
        let next_seq = self.next_seq;
        // The number is used up even if the event is refused.
        self.next_seq = next_seq.max(seq.saturating_add(1));
        if seq < next_seq {
            let refused = check::ensure(false, Reason::Malformed, "the number is taken");
            return self.counted(refused).map(|()| self.id(seq));
        }
        let result = self.enqueue(seq, &event, at_mono_ms, now);
        if let Err(refused) = &result
            && refused.reason.is_kept()
        {
            // Its number is given: a server hears why it comes without an event.
            let packed = Packed::refused(refused.reason.as_str());
            self.push(seq, packed, at_mono_ms, now);
        }
        result
    }

    /// The same with an event that a shell has packed, and whose limits and consent are the shell's: a server refuses what
    /// is beyond them. False if the number was taken: then it is not queued.
    pub fn adopt_packed(&mut self, seq: u64, packed: Packed, at_mono_ms: u64, now: Now) -> bool {
        let free = (self.next_seq..=MAX_SEQ).contains(&seq);
        if free {
            self.push(seq, packed, at_mono_ms, now);
        }
        free
    }

    /// Names the person for this and later events, and records an identify event.
    pub fn identify(&mut self, user: &str, now: Now) -> Result<EventId, Refused> {
        self.name_user(user)?;
        self.record(Event::new(EventType::Identify), now)
    }

    /// Like [`identify`](Self::identify), with what a loader gave the event, like [`adopt`](Self::adopt). The number is
    /// used up even if the user is refused.
    pub fn adopt_identify(
        &mut self,
        seq: u64,
        user: &str,
        at_mono_ms: u64,
        now: Now,
    ) -> Result<EventId, Refused> {
        if let Err(refused) = self.name_user(user) {
            self.next_seq = self.next_seq.max(seq.saturating_add(1));
            return Err(refused);
        }
        self.adopt(seq, Event::new(EventType::Identify), at_mono_ms, now)
    }

    /// Sends what is queued as soon as the server allows, without waiting for more.
    pub fn flush(&mut self) {
        self.flush_before = self.queue.arrivals();
    }

    /// What to do now.
    pub fn next_step(&mut self, now: Now) -> Step {
        loop {
            if self.in_flight.is_some() {
                return Step::Idle;
            }
            let Some(due) = self.due(now.mono_ms) else {
                return Step::Idle;
            };
            let due = due.max(self.retry.wait(now.mono_ms).unwrap_or(0));
            if due > now.mono_ms {
                return Step::WaitUntil(due);
            }
            while let Some(id) = self.queue.expire(&self.config, now) {
                self.settle(id, Fate::Dropped(DropReason::QueueAge));
            }
            if let Some(step) = self.send(now) {
                return step;
            }
        }
    }

    /// Takes in the reply to a batch. Ignored if it isn't the batch in flight.
    pub fn on_reply(&mut self, batch: BatchHandle, reply: Reply, now: Now) {
        let Some(InFlight { ids, bytes, .. }) = self
            .in_flight
            .take_if(|in_flight| in_flight.handle == batch)
        else {
            return;
        };
        let mono_ms = now.mono_ms;
        let mut gone = false;
        match reply {
            Reply::Accepted(body) => {
                if let Some(fates) = reply::fates(&body, ids.len()) {
                    gone = true;
                    self.retry.succeeded();
                    self.widen();
                    for (id, fate) in core::iter::zip(ids, fates) {
                        self.settle(id, fate);
                    }
                } else {
                    self.retry.back_off(&self.config, mono_ms);
                }
            }
            Reply::RetryAfter(Some(wait)) => {
                let wait = wait.min(self.config.retry_after_cap_ms);
                self.retry.wait_as_asked(wait, &self.config, mono_ms);
            }
            Reply::RetryAfter(None) | Reply::Unreachable => {
                self.retry.back_off(&self.config, mono_ms);
            }
            Reply::TooLarge => {
                gone = self.given_up(&ids, DropReason::TooLarge, mono_ms);
                // The next ones are half of it, until a single event is found to be too large.
                self.split = (!gone).then_some((ids.len() / 2, bytes / 2));
            }
            Reply::Refused { status: 400 } => {
                gone = self.given_up(&ids, DropReason::Unreadable, mono_ms);
                // The next one is half of it, until the event that spoils it stands alone.
                for entry in self.queue.iter_mut() {
                    entry.suspect = entry.in_flight;
                }
            }
            Reply::Refused { .. } => {
                let pause = self.config.pause_ms;
                self.retry.wait_as_asked(pause, &self.config, mono_ms);
            }
        }
        self.queue.land(gone);
        self.shed();
    }

    /// When the page goes: batches of all that is queued or in flight, orders first, of at most `max_bytes`
    /// together. Empty while the server asked to wait. Nothing leaves the queue: tell
    /// [`beaconed`](Self::beaconed) what the user agent took, then store a snapshot.
    pub fn leave(&self, now: Now, max_bytes: usize) -> Vec<Beacon> {
        let mut beacons = Vec::new();
        if self.retry.asked_wait(now.mono_ms).is_some() {
            return beacons;
        }
        let mut entries: Vec<&Entry> = self
            .queue
            .iter()
            .filter(|entry| entry.held_until <= now.mono_ms)
            .collect();
        queue::sort(&mut entries, queue::by_priority);
        let mut left = max_bytes;
        while let Some(first) = entries.first() {
            let header = encode::header(&self.sender, &first.identity, now);
            let room = left.saturating_sub(header.bytes.len());
            let most = self.config.max_batch_events;
            // Of one identity with what was first, even if that has no room.
            let mut chunk = queue::chunk(&mut entries, most, room, false, |_, _| true);
            let Some(first) = chunk.first() else { break };
            let header = encode::header(&self.sender, &first.identity, now);
            queue::sort(&mut chunk, queue::by_id);
            let bytes = encode::batch(header, &chunk, now);
            if bytes.len() > left {
                break;
            }
            left -= bytes.len();
            beacons.push(Beacon {
                bytes,
                ids: ids(&chunk),
            });
        }
        beacons
    }

    /// The user agent took the beacon, whose answer nobody will see: its events are sent once more, after
    /// `beacon_grace_ms`, under the same ids; as soon as possible if the last try failed, since the beacon's will, too.
    pub fn beaconed(&mut self, beacon: &Beacon, now: Now) {
        if self.retry.failing() {
            return;
        }
        let held_until = now.mono_ms.saturating_add(self.config.beacon_grace_ms);
        for entry in self.queue.iter_mut() {
            if beacon.ids.binary_search(&entry.id).is_ok() {
                entry.held_until = held_until;
            }
        }
    }

    /// All that the next page needs: what is queued or in flight, with wall-clock times, and this stream's last
    /// number. Bounded like the queue. Worth storing even if nothing is queued.
    pub fn snapshot(&self, now: Now) -> Vec<u8> {
        self.snapshot_of_newest(usize::MAX, now).0
    }

    /// The same with the newest events only, as many as weigh `max_bytes` at most, for a store that has no more room;
    /// and whether that is all of them. The snapshot has no more bytes than its events weigh, but for a hundred.
    pub fn snapshot_of_newest(&self, max_bytes: usize, now: Now) -> (Vec<u8>, bool) {
        let mut entries: Vec<&Entry> = self.queue.iter().collect();
        let mut left = max_bytes;
        let fits = |entry: &&&Entry| {
            let rest = left.checked_sub(entry.packed.weight());
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let kept = entries.iter().rev().take_while(fits).count();
        let older = entries.len() - kept;
        entries.drain(..older);
        let own = self.next_seq.checked_sub(1).map(|seq| self.id(seq));
        let wait = self.retry.asked_wait(now.mono_ms);
        let head = Head {
            stream: self.stream,
            last: own.or(self.predecessor),
            wait_until: wait.map_or(0, |at| now.wall_ms.saturating_add(at - now.mono_ms)),
        };
        (snapshot::write(head, entries, now), older == 0)
    }

    /// Whether a snapshot would hold no events.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Events queued or in flight.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// What was counted since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The fates since the last call, oldest first; at most `keep_fates`.
    pub fn take_fates(&mut self) -> Vec<(EventId, Fate)> {
        core::mem::take(&mut self.fates)
    }

    /// This client's stream.
    pub fn stream(&self) -> u64 {
        self.stream
    }

    fn name_user(&mut self, user: &str) -> Result<(), Refused> {
        let fine = (1..=MAX_VISITOR_BYTES).contains(&user.len());
        self.counted(check::ensure(
            fine,
            Reason::InvalidVisitor,
            "the user's id is empty or too long",
        ))?;
        Arc::make_mut(&mut self.identity).user = user.as_bytes().to_vec();
        Ok(())
    }

    fn id(&self, seq: u64) -> EventId {
        EventId {
            stream: self.stream,
            seq,
        }
    }

    fn counted<T>(&mut self, result: Result<T, Refused>) -> Result<T, Refused> {
        result.inspect_err(|refused| bump(&mut self.counts.refused, refused.reason))
    }

    fn enqueue(
        &mut self,
        seq: u64,
        event: &Event,
        at_mono_ms: u64,
        now: Now,
    ) -> Result<EventId, Refused> {
        let packed = Packed::new(&self.page, event);
        let checked = check::ensure(
            matches!(
                self.identity.consent,
                Consent::Unspecified | Consent::Granted
            ),
            Reason::NoConsent,
            "consent is denied or pending",
        )
        .and_then(|()| {
            check::ensure(
                seq <= MAX_SEQ,
                Reason::Malformed,
                "the stream's numbers are used up",
            )
        })
        .and_then(|()| check::event(event))
        .and_then(|()| {
            check::ensure(
                packed.weight() <= MAX_EVENT_BYTES,
                Reason::TooLarge,
                "the event is too large",
            )
        });
        self.counted(checked)?;
        Ok(self.push(seq, packed, at_mono_ms, now))
    }

    fn push(&mut self, seq: u64, packed: Packed, at_mono_ms: u64, now: Now) -> EventId {
        let id = self.id(seq);
        self.next_seq = seq + 1;
        self.counts.recorded += 1;
        self.queue.push(Entry {
            at: At::Mono(at_mono_ms),
            identity: Arc::clone(&self.identity),
            predecessor: self.predecessor,
            queued_at: now.mono_ms,
            ..Entry::new(id, packed)
        });
        self.shed();
        id
    }

    /// When the next batch is due by what is queued: 0 = at once. `None`: nothing is.
    fn due(&self, now: u64) -> Option<u64> {
        let (mut events, mut bytes, mut at_once) = (0, 0, false);
        let mut due: Option<u64> = None;
        let mut quiet_at = 0;
        let mut previous = None;
        for entry in self.queue.iter() {
            let entry_due = if entry.held_until > now {
                entry.held_until
            } else {
                events += 1;
                bytes += entry.weight_after(previous);
                previous = Some(entry);
                at_once |=
                    entry.suspect || entry.packed.is_order() || entry.arrival < self.flush_before;
                let newest = entry.queued_at.saturating_add(self.config.batch_quiet_ms);
                quiet_at = quiet_at.max(newest);
                entry.queued_at.saturating_add(self.config.batch_wait_ms)
            };
            due = Some(due.map_or(entry_due, |due| due.min(entry_due)));
        }
        let full = events >= self.config.batch_events || bytes >= self.config.batch_bytes;
        if at_once || full {
            return due.map(|_| 0);
        }
        due.map(|due| if events > 0 { due.min(quiet_at) } else { due })
    }

    fn send(&mut self, now: Now) -> Option<Step> {
        let ready = |entry: &&Entry| entry.held_until <= now.mono_ms;
        let mut entries: Vec<&Entry> = self.queue.iter().filter(ready).collect();
        let (mut most, mut bytes) = self
            .split
            .unwrap_or((self.config.max_batch_events, self.config.max_batch_bytes));
        if entries.iter().any(|entry| entry.suspect) {
            entries.retain(|entry| entry.suspect);
            most = most.min(entries.len().div_ceil(2));
        }
        queue::sort(&mut entries, queue::by_priority);
        let identity = Arc::clone(&entries.first()?.identity);
        let header = encode::header(&self.sender, &identity, now);
        bytes = bytes.saturating_sub(header.bytes.len());
        let mut chunk = queue::chunk(&mut entries, most, bytes, true, |_, _| true);
        queue::sort(&mut chunk, queue::by_id);
        let bytes = encode::batch(header, &chunk, now);
        let ids = ids(&chunk);
        queue::sort(&mut chunk, queue::by_arrival);
        let arrivals: Vec<u64> = chunk.iter().map(|entry| entry.arrival).collect();
        self.queue.launch(&arrivals);
        let handle = BatchHandle(self.batches);
        self.batches += 1;
        self.in_flight = Some(InFlight {
            handle,
            ids,
            bytes: bytes.len(),
        });
        Some(Step::Send {
            batch: handle,
            bytes,
        })
    }

    /// If a single event is all that the server did not take, that is its fate.
    fn given_up(&mut self, ids: &[EventId], reason: DropReason, mono_ms: u64) -> bool {
        let [id] = *ids else { return false };
        self.settle(id, Fate::Dropped(reason));
        // A server that takes nothing is not to be emptied into.
        self.retry.back_off(&self.config, mono_ms);
        true
    }

    /// The server takes batches of this size: the next ones may be a quarter larger, up to what the configuration says.
    fn widen(&mut self) {
        self.split = self.split.and_then(|(events, bytes)| {
            let wider = (events + events / 4 + 1, bytes + bytes / 4 + 1);
            let (most, most_bytes) = (self.config.max_batch_events, self.config.max_batch_bytes);
            (wider.0 < most || wider.1 < most_bytes)
                .then_some((wider.0.min(most), wider.1.min(most_bytes)))
        });
    }

    fn shed(&mut self) {
        while let Some((id, reason)) = self.queue.shed(&self.config) {
            self.settle(id, Fate::Dropped(reason));
        }
    }

    fn settle(&mut self, id: EventId, fate: Fate) {
        bump(&mut self.counts.fates, fate);
        self.fates.push((id, fate));
        if self.fates.len() > self.config.keep_fates {
            self.fates.remove(0);
        }
    }
}

fn ids(entries: &[&Entry]) -> Vec<EventId> {
    entries.iter().map(|entry| entry.id).collect()
}
