//! From a record of the log to rows of the lake.

use std::borrow::Cow;
use std::collections::HashMap;

use wakeline_engine::{Kind, SiteRules, day_window};
use wakeline_lake::{Event as Row, Item, Rows};
use wakeline_proto::lists;
use wakeline_proto::v1::{self, Consent, Event, Group, LogRecord};

use crate::control::ControlSnapshot;
use crate::events::property_text;
use crate::process::{Decoder, Origin, at_first_event, engine_rules, event_type, report_name};
use crate::state::{Uncounted, VisitorKey};

/// The time zones of sites, as they were made.
#[derive(Default)]
pub(super) struct Zones(HashMap<u64, SiteRules>);

impl Zones {
    fn day(&mut self, control: &ControlSnapshot, site: u64, time_ms: i64) -> i32 {
        let rules = self
            .0
            .entry(site)
            .or_insert_with(|| engine_rules(site, &at_first_event(control, site)));
        day_window(&rules.timezone, time_ms) as i32
    }
}

/// Where a record was in the log.
pub(super) struct Place {
    pub(super) partition: u16,
    pub(super) offset: u64,
}

/// Adds the events of a record that counted, of one site or of all. What can't be read has none that did.
pub(super) fn add(
    rows: &mut Rows,
    decoder: &mut Decoder,
    zones: &mut Zones,
    control: &ControlSnapshot,
    (at, record): (&Place, &LogRecord),
    uncounted: Option<&Uncounted>,
    site: Option<u64>,
) {
    let Some(block) = &record.block else {
        return;
    };
    // Which of its events came before, the notes say: all are read here.
    let Ok(read) = decoder.groups(block, None) else {
        return;
    };
    let counted = uncounted.map(|some| some.counted(read.events as usize));
    let counts = |place: u32| {
        let counted = counted.as_ref();
        counted.is_none_or(|counted| counted.get(place as usize).copied().unwrap_or_default())
    };
    let wanted = |group: &Group| site.is_none_or(|site| site == group.site);
    for positioned in read.groups.iter().filter(|at| wanted(&at.group)) {
        let group = &positioned.group;
        let origin = Origin::of(group, record.edge, record.appended_at);
        let visitor = format!("{:032x}", VisitorKey::new(group.site, &group.visitor).hash);
        let positions = positioned.position..;
        let events = positions.zip(&group.events).zip(&positioned.places);
        for ((position, event), place) in events.filter(|(_, place)| counts(**place)) {
            let seen = origin.event(event, position);
            let common = Common {
                group,
                visitor: &visitor,
                day: zones.day(control, group.site, seen.time_ms),
                edge: record.edge,
                position,
                at,
                place: *place,
            };
            common.push(rows, event, &seen);
        }
    }
}

/// What a row has beside its event.
struct Common<'a> {
    group: &'a Group,
    visitor: &'a str,
    day: i32,
    edge: u64,
    position: u64,
    at: &'a Place,
    place: u32,
}

impl Common<'_> {
    fn push(&self, rows: &mut Rows, event: &Event, seen: &wakeline_engine::Event) {
        let group = self.group;
        let agent = group.agent.clone().unwrap_or_default();
        let location = group.location.as_ref();
        let place = |of: fn(&v1::Location) -> &str| location.map_or("", of);
        let device = group.device.as_ref();
        let told = |of: fn(&v1::Device) -> &str| device.map_or("", of);
        let size = |of: fn(&v1::Device) -> u32| device.map(of).filter(|size| *size > 0).map(clamp);
        let by = event.acquisition.as_ref();
        let brought = |of: fn(&v1::Acquisition) -> &str| by.map_or("", of);
        let client = group.client.as_ref();
        let order = event.order.as_ref();
        let items: Vec<Item<'_>> = order.map_or(Vec::new(), |order| items(&order.items));
        let properties: Vec<(&str, String)> = (event.properties.iter())
            .map(|property| {
                let value = property
                    .value
                    .as_ref()
                    .and_then(|value| value.kind.as_ref());
                let text = value.map_or(Cow::Borrowed(""), property_text);
                (property.name.as_str(), text.into_owned())
            })
            .collect();
        let attention = event.engagement.as_ref();
        let shown = event.exposure.as_ref();
        let by_sdk = event.stream != 0;
        let by_place = !by_sdk && event.client_id.is_empty();
        rows.push(&Row {
            site: group.site as i64,
            visitor: self.visitor,
            time: seen.time_ms,
            day: self.day,
            event_type: event_type(event).name(),
            name: report_name(event).unwrap_or_default(),
            effect: effect(seen.kind),
            hostname: &event.hostname,
            path: &event.path,
            query: &event.query,
            referrer: &event.referrer,
            title: &event.title,
            source: brought(|by| &by.source),
            channel: lists::name(lists::CHANNELS, by.map_or(0, |by| by.channel)),
            utm_medium: brought(|by| &by.utm_medium),
            utm_source: brought(|by| &by.utm_source),
            utm_campaign: brought(|by| &by.utm_campaign),
            utm_content: brought(|by| &by.utm_content),
            utm_term: brought(|by| &by.utm_term),
            click_id: brought(|by| &by.click_id),
            country: place(|at| &at.country),
            region: place(|at| &at.region),
            city: place(|at| &at.city),
            device: lists::name(lists::DEVICES, agent.device),
            browser: lists::name(lists::BROWSERS, agent.browser),
            browser_version: &agent.browser_version,
            os: lists::name(lists::SYSTEMS, agent.os),
            os_version: &agent.os_version,
            language: told(|device| &device.language),
            timezone: told(|device| &device.timezone),
            screen_width: size(|device| device.screen_width),
            screen_height: size(|device| device.screen_height),
            device_model: told(|device| &device.model),
            app_version: told(|device| &device.app_version),
            engagement_ms: attention.map(|seen| seen.time_ms.into()),
            scroll_percent: attention.map(|seen| clamp(seen.scroll_percent)),
            order_id: order.map_or("", |order| &order.id),
            currency: order.map_or("", |order| &order.currency),
            value: order.map(|order| order.value),
            revenue: seen.order.map(|order| order.minor),
            items: &items,
            experiment: shown.map_or("", |shown| &shown.experiment),
            variant: shown.map_or("", |shown| &shown.variant),
            user_id: &event.user,
            properties: &properties,
            consent: consent(group),
            sdk: client.map_or("", |client| &client.name),
            sdk_version: client.map_or("", |client| &client.version),
            first_day: (group.first_day > 0).then(|| clamp(group.first_day)),
            delay_ms: group.received_at as i64 - seen.time_ms,
            time_clamped: event.time_clamped,
            rules_version: group.rules_version as i64,
            stream: by_sdk.then_some(event.stream as i64),
            seq: by_sdk.then_some(event.seq as i64),
            client_id: if by_sdk { "" } else { &event.client_id },
            edge: by_place.then_some(self.edge as i64),
            position: by_place.then_some(self.position as i64),
            partition: Some(self.at.partition.into()),
            log_offset: self.at.offset as i64,
            log_place: Some(clamp(self.place)),
        });
    }
}

fn clamp(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn items(items: &[v1::Item]) -> Vec<Item<'_>> {
    items
        .iter()
        .map(|item| Item {
            sku: &item.sku,
            name: &item.name,
            price: item.price,
            quantity: item.quantity.into(),
        })
        .collect()
}

pub(super) const fn effect(kind: Kind) -> &'static str {
    match kind {
        Kind::Pageview => "pageview",
        Kind::Interactive => "interactive",
        Kind::Passive => "passive",
        Kind::Engagement => "engagement",
    }
}

fn consent(group: &Group) -> &'static str {
    match group.consent() {
        Consent::Unspecified => "",
        Consent::Granted => "granted",
        Consent::Denied => "denied",
        Consent::Pending => "pending",
    }
}
