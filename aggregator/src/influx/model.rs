//! An InfluxDB in memory that loses, delays, repeats and refuses: what simulations write to.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wakeline_engine::{Grain, Row};

use super::client::{Bucket, InfluxError, Pointer};
use super::known::Fields;
use super::points::{self, Tags};
use super::server::{Answer, Server};

/// A write whose sender has given it up is carried out no later than this: less than the sender's shortest pause.
const LATEST: Duration = Duration::from_millis(500);
/// The sender of a write gives it up after this.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the server does wrong, by probability of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelTrouble {
    /// Nothing is done, and 429 or 503 answered.
    pub busy: f32,
    /// Nothing is done, and the connection breaks.
    pub lose: f32,
    /// It is done at once, or a while after that, and the answer never comes.
    pub silent: f32,
    /// A write is done, and once more a while later.
    pub repeat: f32,
    /// One line of a write is refused by 422, the others are written.
    pub partial: f32,
    /// Longest time of a request, in ms.
    pub slow_ms: u64,
}

/// A point's fields, as texts of the line protocol.
type Values = BTreeMap<String, String>;

#[derive(Default)]
struct Inner {
    /// By series and time.
    points: BTreeMap<(String, i64), Values>,
    /// Lines that are still to be written, and when.
    late: Vec<(Instant, String)>,
    trouble: ModelTrouble,
    random: u64,
}

/// See the [module](self). It lives on when its aggregator is killed.
#[derive(Default)]
pub struct ModelInflux(Mutex<Inner>);

/// What becomes of a request.
enum Fate {
    Done,
    Silent,
    Failed(InfluxError),
}

impl ModelInflux {
    /// An empty bucket; `seed` draws its troubles.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Inner {
            random: seed,
            ..Inner::default()
        }))
    }

    /// From now on this goes wrong.
    pub fn set_trouble(&self, trouble: ModelTrouble) {
        self.lock().trouble = trouble;
    }

    /// The windows of a site that readers have, with the numbers that each point has as fields of its own.
    pub fn rows(&self, site: u64, grain: Grain) -> Vec<(i64, Row, BTreeMap<String, i64>)> {
        let mut inner = self.lock();
        inner.write_late();
        let Some(generation) = inner.pointer().and_then(|pointer| pointer.generation) else {
            return Vec::new();
        };
        let series = points::series_of(points::measurement(grain), Tags { generation, site }, &[]);
        let of_series = inner.of_series(&series);
        let rows = of_series.filter_map(|(time, values)| {
            let row = points::read_row(values.get("row")?.trim_matches('"'))?;
            let number = |value: &String| value.strip_suffix('i')?.parse().ok();
            let numbers = values.iter();
            let numbers = numbers.filter_map(|(name, value)| Some((name.clone(), number(value)?)));
            Some((points::window(grain, time), row, numbers.collect()))
        });
        rows.collect()
    }

    /// Draws what becomes of a request, and lets its time pass.
    async fn call(&self) -> Fate {
        let (slow, fate) = {
            let mut inner = self.lock();
            inner.write_late();
            let trouble = inner.trouble;
            let slow = inner.below(trouble.slow_ms + 1);
            let luck = inner.chance();
            let fate = if luck < trouble.busy {
                Fate::Failed(InfluxError::Busy {
                    status: if inner.below(2) == 0 { 429 } else { 503 },
                    message: "broken on purpose".to_owned(),
                    retry_after: (inner.below(2) == 0).then_some(Duration::from_secs(1)),
                })
            } else if luck < trouble.busy + trouble.lose {
                Fate::Failed(broken())
            } else if luck < trouble.busy + trouble.lose + trouble.silent {
                Fate::Silent
            } else {
                Fate::Done
            };
            (slow, fate)
        };
        tokio::time::sleep(Duration::from_millis(slow)).await;
        fate
    }

    /// Answers what is read, if there is an answer.
    async fn read<T>(&self, read: impl FnOnce(&Inner) -> T) -> Result<T, InfluxError> {
        match self.call().await {
            Fate::Done => Ok(read(&self.lock())),
            Fate::Failed(error) => Err(error),
            Fate::Silent => {
                tokio::time::sleep(PATIENCE).await;
                Err(broken())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken() -> InfluxError {
    InfluxError::Unreachable {
        url: "model".to_owned(),
        source: "broken on purpose".into(),
    }
}

impl Inner {
    /// The next random number, by `SplitMix64`.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn chance(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    /// Writes lines a while from now.
    fn later(&mut self, lines: &str) {
        let wait = LATEST.mul_f32(self.chance());
        self.late.push((Instant::now() + wait, lines.to_owned()));
    }

    /// Writes what is due.
    fn write_late(&mut self) {
        let now = Instant::now();
        let (due, late) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.late = late;
        for (_, lines) in due {
            self.write(lines.lines());
        }
    }

    fn write<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        for line in lines {
            if let Some((series, values, time)) = read_line(line) {
                let point = self.points.entry((series.to_owned(), time)).or_default();
                point.extend(values);
            }
        }
    }

    fn of_series<'a>(&'a self, series: &str) -> impl Iterator<Item = (i64, &'a Values)> + use<'a> {
        let all = (series.to_owned(), i64::MIN)..=(series.to_owned(), i64::MAX);
        let points = self.points.range(all);
        points.map(|((_, time), values)| (*time, values))
    }

    fn pointer(&self) -> Option<Pointer> {
        let (_, values) = self.of_series("current").next()?;
        let text = |name: &str| Some(values.get(name)?.trim_matches('"').to_owned());
        Some(Pointer {
            log: text("log")?,
            generation: text("generation").and_then(|number| number.parse().ok()),
        })
    }
}

/// Series, fields and time of a line as this crate writes them.
fn read_line(line: &str) -> Option<(&str, Values, i64)> {
    let (rest, time) = line.rsplit_once(' ')?;
    let border = split(rest, ' ').next()?.len();
    let (series, fields) = rest.split_at(border);
    let fields = split(fields.get(1..)?, ',').map(|field| {
        let name = split(field, '=').next().unwrap_or_default();
        let value = field.get(name.len() + 1..).unwrap_or_default();
        (name.to_owned(), value.to_owned())
    });
    Some((series, fields.collect(), time.parse().ok()?))
}

/// The parts between separators that are neither escaped nor in quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |char| {
        let splits = char == separator && !quoted && !escaped;
        quoted ^= char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
        splits
    })
}

/// The value of a tag of a series.
fn tag<'a>(series: &'a str, name: &str) -> Option<&'a str> {
    let mut tags = split(series, ',').skip(1);
    tags.find_map(|tag| tag.strip_prefix(name)?.strip_prefix('='))
}

impl Server for ModelInflux {
    fn write<'a>(&'a self, lines: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let fate = self.call().await;
            if let Fate::Failed(error) = fate {
                return Err(error);
            }
            if matches!(fate, Fate::Silent) {
                // Its sender gives it up; it is carried out before that, or soon after.
                let now = self.lock().below(2) == 0;
                if now {
                    self.lock().write(lines.lines());
                }
                tokio::time::sleep(PATIENCE).await;
                if !now {
                    self.lock().later(lines);
                }
                return Err(broken());
            }
            let mut inner = self.lock();
            if inner.chance() < inner.trouble.partial {
                let count = lines.lines().count() as u64;
                let refused = inner.below(count) as usize;
                let taken = lines.lines().enumerate().filter(|(at, _)| *at != refused);
                let taken: Vec<&str> = taken.map(|(_, line)| line).collect();
                inner.write(taken.into_iter());
                return Err(InfluxError::Points {
                    status: 422,
                    message: "broken on purpose".to_owned(),
                });
            }
            inner.write(lines.lines());
            if inner.chance() < inner.trouble.repeat {
                inner.later(lines);
            }
            Ok(())
        })
    }

    fn delete<'a>(&'a self, generation: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            match self.call().await {
                Fate::Failed(error) => return Err(error),
                fate => {
                    let mut inner = self.lock();
                    inner
                        .points
                        .retain(|(series, _), _| tag(series, "generation") != Some(generation));
                    if matches!(fate, Fate::Silent) {
                        return Err(broken());
                    }
                }
            }
            Ok(())
        })
    }

    fn bucket(&self) -> Answer<'_, Bucket> {
        Box::pin(self.read(|_| Bucket {
            id: "model".to_owned(),
            keeps_s: None,
        }))
    }

    fn health(&self) -> Answer<'_, ()> {
        Box::pin(self.read(|_| ()))
    }

    fn totals<'a>(
        &'a self,
        of: Tags,
        grain: Grain,
        windows: &'a Range<i64>,
    ) -> Answer<'a, Vec<(i64, Row)>> {
        Box::pin(self.read(move |inner| {
            let series = points::series_of(points::measurement(grain), of, &[]);
            let rows = inner.of_series(&series).filter_map(|(time, values)| {
                let row = points::read_row(values.get("row")?.trim_matches('"'))?;
                Some((points::window(grain, time), row))
            });
            rows.filter(|(window, _)| windows.contains(window))
                .collect()
        }))
    }

    fn day(&self, of: Tags, day: i64) -> Answer<'_, Fields> {
        Box::pin(self.read(move |inner| {
            let time = points::time(Grain::Day, day);
            let (generation, site) = (of.generation.to_string(), of.site.to_string());
            let there = inner.points.iter().filter(|((series, at), _)| {
                let kind = series.split(',').next();
                matches!(kind, Some("lists" | "top"))
                    && Some(*at) == time
                    && tag(series, "generation") == Some(&generation)
                    && tag(series, "site") == Some(&site)
            });
            let fields = there.map(|((series, _), values)| {
                let names = values.keys().map(|name| (name.clone(), 0));
                (series.clone(), names.collect())
            });
            fields.collect()
        }))
    }

    fn pointer(&self) -> Answer<'_, Option<Pointer>> {
        Box::pin(self.read(Inner::pointer))
    }

    fn generations(&self) -> Answer<'_, Vec<String>> {
        Box::pin(self.read(|inner| {
            let all = inner.points.keys();
            let all = all.filter_map(|(series, _)| tag(series, "generation"));
            let all: BTreeSet<&str> = all.collect();
            all.into_iter().map(str::to_owned).collect()
        }))
    }

    fn foreign(&self, log: &str) -> InfluxError {
        InfluxError::Foreign {
            bucket: "model".to_owned(),
            log: log.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{read_line, tag};

    #[test]
    fn lines_are_read_as_they_are_written() {
        let line = r#"top,generation=3,kind=a\ b,site=7 value="x, \"y\" = z",visits=-4i 86400"#;
        let (series, values, time) = read_line(line).unwrap();
        assert_eq!(series, r"top,generation=3,kind=a\ b,site=7");
        assert_eq!((tag(series, "site"), time), (Some("7"), 86_400));
        assert_eq!(values["visits"], "-4i");
        assert_eq!(values["value"], r#""x, \"y\" = z""#);
    }
}
