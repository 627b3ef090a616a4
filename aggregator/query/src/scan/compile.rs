//! A question's filters and dimensions, made ready to be asked of each event.
//!
//! Texts come as numbers. What a condition says of a text, and what a dimension calls it, is found out once for each
//! text, and then looked up.

use wakeline_engine::Kind;

use crate::{
    batch::{Batch, Texts},
    filter::{Filter, Operator, Test},
    goal::Definitions,
    matcher::Matcher,
    property::{Field, Of, Property, VisitProperty},
    question::{Dimension, Question},
};

use super::visits::Visit;

/// In the place of a label: the event has no row.
const NO_LABEL: u32 = u32::MAX;

/// A condition on an event and its visit.
#[derive(Clone, Debug)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// A deed of the visit, by its place in [`Compiled::deeds`].
    Done(usize),
    /// By its place in [`Compiled::tests`].
    Test(usize),
    /// It is no engagement.
    Counted,
}

/// Where a text comes from: a column, of which event.
#[derive(Clone, Copy, Debug)]
struct Place {
    column: usize,
    of: Of,
}

/// A condition on a text.
#[derive(Debug)]
struct TextTest {
    place: Place,
    property: Property,
    matcher: Matcher,
    /// By number of the text.
    answers: Vec<bool>,
}

/// The dimensions of rows.
#[derive(Debug, Default)]
pub(super) struct Columns {
    all: Vec<Column>,
    time: Option<usize>,
    goals: Option<usize>,
}

#[derive(Debug)]
enum Column {
    Time,
    Text {
        place: Place,
        property: Property,
        /// By number of the text.
        labels: Vec<u32>,
    },
    Goals(Goals),
}

/// The goals that an event reaches.
#[derive(Debug)]
struct Goals {
    configured: Vec<(u32, Node)>,
    /// Column of the event's name.
    names: usize,
    /// By number of the name.
    labels: Vec<u32>,
    /// Names that goals were given.
    taken: Vec<String>,
    /// What the question's filters on goals let through.
    allowed: Vec<Matcher>,
}

/// A question's filters and dimensions.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    pub(super) fields: Vec<Field>,
    /// Column of pages, if it matters where visits begin and end.
    pub(super) page: Option<usize>,
    tests: Vec<TextTest>,
    /// What visits are asked to have done.
    pub(super) deeds: Vec<Node>,
    /// Which events count.
    pub(super) main: Option<Node>,
    /// Which visits figures of visits are of: those with an event for which this holds.
    pub(super) of_visits: Option<Node>,
    /// Which events count without goals and event properties.
    pub(super) base: Option<Node>,
    pub(super) rows: Columns,
    pub(super) rows_of_visits: Columns,
    pub(super) base_rows: Columns,
    /// The dimensions that the base has, too.
    shared: Vec<usize>,
    pub(super) labels: Texts,
    learned: usize,
}

/// An event, and what is known of its visit.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) batch: &'a Batch,
    pub(super) visit: &'a Visit<'a>,
    /// Which deeds the visit has done.
    pub(super) deeds: &'a [bool],
    /// The event's place in the batch.
    pub(super) at: usize,
}

impl Moment<'_> {
    /// The number of a text; 0 if the visit has no such event.
    fn text(&self, place: Place) -> usize {
        let at = match place.of {
            Of::Event => Some(self.at),
            Of::First => self.visit.events.first().copied(),
            Of::Entry => self.visit.entry,
            Of::Exit => self.visit.exit,
        };
        at.map_or(0, |at| self.batch.texts[place.column][at] as usize)
    }
}

impl Compiled {
    pub(super) fn new(question: &Question, definitions: &Definitions, filters: &Filter) -> Self {
        let mut compiled = Self::default();
        let mut words = Compiler {
            definitions,
            compiled: &mut compiled,
            by_entry: false,
        };
        let main = words.node(filters);
        let base = words.node(&without_goals(filters));
        words.by_entry = true;
        let of_visits = words.node(filters);
        let allowed = goals_let_through(filters);
        let rows = words.columns(question.dimensions.iter(), &allowed);
        let entries: Vec<Dimension> = question.dimensions.iter().map(by_entry).collect();
        let rows_of_visits = words.columns(entries.iter(), &allowed);
        let is_shared = |dimension: &Dimension| {
            !matches!(
                dimension,
                Dimension::Of(Property::Goal | Property::Custom(_))
            )
        };
        let shared = question.dimensions.iter().filter(|by| is_shared(by));
        let base_rows = words.columns(shared, &allowed);
        if question.asks(crate::metric::Metric::is_of_visits) {
            words.compiled.column(&Field::Page);
        }
        compiled.page = compiled
            .fields
            .iter()
            .position(|field| *field == Field::Page);
        compiled.shared = (0..question.dimensions.len())
            .filter(|at| is_shared(&question.dimensions[*at]))
            .collect();
        (compiled.main, compiled.base, compiled.of_visits) =
            (Some(main), Some(base), Some(of_visits));
        (compiled.rows, compiled.rows_of_visits, compiled.base_rows) =
            (rows, rows_of_visits, base_rows);
        compiled
    }

    /// Finds out what conditions say of texts that are new, and what dimensions call them.
    pub(super) fn learn(&mut self, texts: &Texts) {
        let new = texts.all().get(self.learned..).unwrap_or_default();
        self.learned = texts.all().len();
        for test in &mut self.tests {
            let (property, matcher) = (&test.property, &test.matcher);
            let answers = new
                .iter()
                .map(|text| matcher.matches(&property.label(text)));
            test.answers.extend(answers);
        }
        let all = [
            &mut self.rows,
            &mut self.rows_of_visits,
            &mut self.base_rows,
        ];
        for column in all.into_iter().flat_map(|columns| &mut columns.all) {
            column.learn(new, &mut self.labels);
        }
    }

    /// The column of a field, a new one if need be.
    pub(super) fn column(&mut self, field: &Field) -> usize {
        let known = self.fields.iter().position(|known| known == field);
        known.unwrap_or_else(|| {
            self.fields.push(field.clone());
            self.fields.len() - 1
        })
    }

    /// Which deeds a visit has done.
    pub(super) fn deeds_of(&self, batch: &Batch, visit: &Visit<'_>) -> Vec<bool> {
        let mut deeds: Vec<bool> = Vec::with_capacity(self.deeds.len());
        for deed in &self.deeds {
            // One that asks for others, as a goal may, comes after them.
            let done = visit.counted(batch).any(|at| {
                let moment = Moment {
                    batch,
                    visit,
                    deeds: &deeds,
                    at,
                };
                self.holds(Some(deed), &moment)
            });
            deeds.push(done);
        }
        deeds
    }

    /// Whether a condition holds; without one, it does.
    pub(super) fn holds(&self, node: Option<&Node>, moment: &Moment<'_>) -> bool {
        node.is_none_or(|node| self.node_holds(node, moment))
    }

    fn node_holds(&self, node: &Node, moment: &Moment<'_>) -> bool {
        match node {
            Node::All(nodes) => nodes.iter().all(|node| self.node_holds(node, moment)),
            Node::Any(nodes) => nodes.iter().any(|node| self.node_holds(node, moment)),
            Node::Not(node) => !self.node_holds(node, moment),
            Node::Done(deed) => moment.deeds.get(*deed).copied().unwrap_or(false),
            Node::Test(test) => {
                let test = &self.tests[*test];
                test.answers
                    .get(moment.text(test.place))
                    .copied()
                    .unwrap_or(false)
            }
            Node::Counted => moment.batch.kind[moment.at] != Kind::Engagement,
        }
    }

    /// The keys of the rows that an event belongs to.
    pub(super) fn keys(&self, columns: &Columns, moment: &Moment<'_>, keys: &mut Keys) {
        keys.key.clear();
        keys.goals.clear();
        keys.next = 0;
        (keys.time, keys.goal) = (columns.time, columns.goals);
        for column in &columns.all {
            let label = match column {
                Column::Time => 0,
                Column::Text { place, labels, .. } => {
                    labels.get(moment.text(*place)).copied().unwrap_or(NO_LABEL)
                }
                Column::Goals(goals) => {
                    self.goals(goals, moment, &mut keys.goals);
                    0
                }
            };
            keys.key.push(label);
        }
        keys.count = match columns.goals {
            _ if keys.key.contains(&NO_LABEL) => 0,
            Some(_) => keys.goals.len(),
            None => 1,
        };
    }

    fn goals(&self, goals: &Goals, moment: &Moment<'_>, found: &mut Vec<u32>) {
        if moment.batch.kind[moment.at] == Kind::Engagement {
            return;
        }
        let own = moment.batch.texts[goals.names][moment.at] as usize;
        let own = goals.labels.get(own).copied().unwrap_or(NO_LABEL);
        found.extend(Some(own).filter(|own| *own != NO_LABEL));
        let reached = goals.configured.iter();
        let reached = reached.filter(|(_, node)| self.node_holds(node, moment));
        found.extend(reached.map(|(label, _)| *label));
    }

    /// The key of the base's row that a row is compared with.
    pub(super) fn base_key(&self, key: &[u32]) -> Vec<u32> {
        self.shared.iter().map(|at| key[*at]).collect()
    }

    /// Position of the time dimension.
    pub(super) fn time(&self) -> Option<usize> {
        self.rows.time
    }
}

/// The keys of the rows that an event belongs to, one after the other.
#[derive(Debug, Default)]
pub(super) struct Keys {
    key: Vec<u32>,
    goals: Vec<u32>,
    time: Option<usize>,
    goal: Option<usize>,
    next: usize,
    count: usize,
}

impl Keys {
    /// Goes on to the next key, if there is one.
    pub(super) fn advance(&mut self) -> bool {
        if self.next == self.count {
            return false;
        }
        if let Some(goal) = self.goal {
            self.key[goal] = self.goals[self.next];
        }
        self.next += 1;
        true
    }

    /// The key in a bucket.
    pub(super) fn at(&mut self, bucket: usize) -> &[u32] {
        if let Some(time) = self.time {
            self.key[time] = bucket as u32;
        }
        &self.key
    }
}

impl Column {
    fn learn(&mut self, new: &[Box<str>], known: &mut Texts) {
        match self {
            Self::Time => {}
            Self::Text {
                property, labels, ..
            } => labels.extend(new.iter().map(|text| {
                // What happened without a page, or has no name, is not in a list of these.
                let absent = text.is_empty() && matches!(property, Property::Page | Property::Name);
                if absent {
                    NO_LABEL
                } else {
                    known.id(&property.label(text))
                }
            })),
            Self::Goals(goals) => {
                let (taken, allowed) = (&goals.taken, &goals.allowed);
                goals.labels.extend(new.iter().map(|name| {
                    let own = !name.is_empty()
                        && !taken.iter().any(|taken| **taken == **name)
                        && allowed.iter().all(|filter| filter.matches(name));
                    if own { known.id(name) } else { NO_LABEL }
                }));
            }
        }
    }
}

/// What figures of visits have in the place of a dimension: of pages, the one that the visit began on.
fn by_entry(dimension: &Dimension) -> Dimension {
    match dimension {
        Dimension::Of(property) => Dimension::Of(entry_of(property)),
        Dimension::Time(_) => dimension.clone(),
    }
}

fn entry_of(property: &Property) -> Property {
    match property {
        Property::Page => Property::Visit(VisitProperty::EntryPage),
        Property::Hostname => Property::Visit(VisitProperty::EntryHostname),
        other => other.clone(),
    }
}

/// The filters without those that speak of goals and properties of events; what visits have done stays.
fn without_goals(filters: &Filter) -> Filter {
    let Filter::All(filters) = filters else {
        let of_goals = matches!(filters, Filter::Done(_) | Filter::NotDone(_))
            || !filters.speaks_of(|by| matches!(by, Property::Goal | Property::Custom(_)));
        return if of_goals {
            filters.clone()
        } else {
            Filter::All(Vec::new())
        };
    };
    Filter::All(filters.iter().map(without_goals).collect())
}

/// What the filters that must all hold say of goals: rows by goal are of those only.
fn goals_let_through(filters: &Filter) -> Vec<Matcher> {
    match filters {
        Filter::All(filters) => filters.iter().flat_map(goals_let_through).collect(),
        Filter::Test(test) if test.property == Property::Goal => vec![Matcher::new(test)],
        _ => Vec::new(),
    }
}

struct Compiler<'a> {
    definitions: &'a Definitions,
    compiled: &'a mut Compiled,
    /// Pages are those that visits began on.
    by_entry: bool,
}

impl Compiler<'_> {
    fn place(&mut self, property: &Property) -> Option<Place> {
        let (field, of) = property.field()?;
        if matches!(of, Of::Entry | Of::Exit) {
            self.compiled.column(&Field::Page);
        }
        let column = self.compiled.column(&field);
        Some(Place { column, of })
    }

    fn node(&mut self, filter: &Filter) -> Node {
        match filter {
            Filter::All(filters) => Node::All(self.nodes(filters)),
            Filter::Any(filters) => Node::Any(self.nodes(filters)),
            Filter::Not(filter) => Node::Not(Box::new(self.node(filter))),
            Filter::Done(filter) => self.deed(filter),
            Filter::NotDone(filter) => Node::Not(Box::new(self.deed(filter))),
            Filter::Test(test) if test.property == Property::Goal => self.goal(test),
            Filter::Test(test) => self.test(test),
            // Expanded before: of what is not there nothing is true.
            Filter::Segment(_) => Node::Any(Vec::new()),
        }
    }

    fn nodes(&mut self, filters: &[Filter]) -> Vec<Node> {
        filters.iter().map(|filter| self.node(filter)).collect()
    }

    /// What a visit has done is asked of the events themselves.
    fn deed(&mut self, filter: &Filter) -> Node {
        let by_entry = std::mem::take(&mut self.by_entry);
        let deed = self.node(filter);
        self.by_entry = by_entry;
        self.compiled.deeds.push(deed);
        Node::Done(self.compiled.deeds.len() - 1)
    }

    fn test(&mut self, test: &Test) -> Node {
        let property = if self.by_entry {
            entry_of(&test.property)
        } else {
            test.property.clone()
        };
        let Some(place) = self.place(&property) else {
            return Node::Any(Vec::new());
        };
        self.compiled.tests.push(TextTest {
            place,
            property,
            matcher: Matcher::new(test),
            answers: Vec::new(),
        });
        Node::Test(self.compiled.tests.len() - 1)
    }

    /// Whether an event reaches a goal: a configured one that is let through, or that of its own name.
    fn goal(&mut self, test: &Test) -> Node {
        let matcher = Matcher::new(test);
        let goals = self.definitions.goals.iter();
        let wanted: Vec<_> = goals.filter(|goal| matcher.matches(&goal.name)).collect();
        let mut any: Vec<Node> = wanted.iter().map(|goal| self.rule(&goal.filter)).collect();
        let own = Test {
            property: Property::Name,
            ..test.clone()
        };
        let mut own = vec![self.test(&own)];
        if !self.definitions.goals.is_empty() {
            own.push(self.test(&Test {
                operator: Operator::IsNot,
                property: Property::Name,
                values: self.taken(),
                case_sensitive: true,
            }));
        }
        any.push(Node::All(own));
        Node::All(vec![Node::Counted, Node::Any(any)])
    }

    /// A goal's rule is about the event itself.
    fn rule(&mut self, filter: &Filter) -> Node {
        let by_entry = std::mem::take(&mut self.by_entry);
        let node = self.node(filter);
        self.by_entry = by_entry;
        node
    }

    fn taken(&self) -> Vec<String> {
        let goals = self.definitions.goals.iter();
        goals.map(|goal| goal.name.clone()).collect()
    }

    fn columns<'b>(
        &mut self,
        dimensions: impl Iterator<Item = &'b Dimension>,
        allowed: &[Matcher],
    ) -> Columns {
        let mut columns = Columns::default();
        for (number, dimension) in dimensions.enumerate() {
            let column = match dimension {
                Dimension::Time(_) => {
                    columns.time = Some(number);
                    Column::Time
                }
                Dimension::Of(property) => {
                    if let Some(place) = self.place(property) {
                        Column::Text {
                            place,
                            property: property.clone(),
                            labels: Vec::new(),
                        }
                    } else {
                        columns.goals = Some(number);
                        Column::Goals(self.goals(allowed))
                    }
                }
            };
            columns.all.push(column);
        }
        columns
    }

    fn goals(&mut self, allowed: &[Matcher]) -> Goals {
        let mut configured = Vec::new();
        for goal in &self.definitions.goals {
            if allowed.iter().all(|filter| filter.matches(&goal.name)) {
                let label = self.compiled.labels.id(&goal.name);
                configured.push((label, self.rule(&goal.filter)));
            }
        }
        Goals {
            configured,
            names: self.compiled.column(&Field::Name),
            labels: Vec::new(),
            taken: self.taken(),
            allowed: allowed.to_vec(),
        }
    }
}
