//! The policy of each kind of read, as one table that the cache is built with.

use crate::error::Error;
use crate::key::is_name;
use std::time::Duration;

/// The most operations one cache has: their versions and counters are arrays, per scope.
const MAX_OPERATIONS: usize = 1024;

/// The longest pattern over operation names, in characters.
const MAX_PATTERN: usize = 128;

/// Longer than a caller waits for a page; what takes longer by right says so.
const HARD_TIMEOUT: Duration = Duration::from_secs(30);

/// How one kind of read is cached.
///
/// ```
/// use nexarch_cache::Operation;
/// use std::time::Duration;
///
/// let overview = Operation::new("dashboard_overview", Duration::from_secs(120));
/// let report = Operation::new("report", Duration::from_secs(600)).independent_of_data();
/// assert!(overview.depends_on_data && !report.depends_on_data);
/// ```
#[derive(Clone, Debug)]
pub struct Operation {
    /// `[a-z0-9][a-z0-9_-]*`, at most 63 bytes; part of every key.
    pub name: Box<str>,
    /// How long a value is served without another look. Zero: never stored.
    pub ttl: Duration,
    /// Whether a change of the scope's data makes its values old.
    pub depends_on_data: bool,
    /// How long after its TTL a value may still be served when its recomputation *fails*; never after an
    /// invalidation. At most one TTL, of the entry where its reads shorten it.
    pub grace: Duration,
    /// How long an answer that says "there is nothing" ([`Computed::negative`](crate::Computed::negative)) is served, at
    /// most a TTL. Zero: never stored.
    pub negative_ttl: Duration,
    /// After how long a computation is no longer waited for when an expired value within its grace is there, which is
    /// then served while the computation goes on. `None`: as long as it takes.
    pub soft_timeout: Option<Duration>,
    /// After how long a computation is given up: it is dropped where it waits, all who waited for it get
    /// [`Error::TimedOut`], and the next read begins a new one. 30 s by default.
    pub hard_timeout: Duration,
    /// Whether a value that is not dead may be served when the authority does not answer: nobody can say then whether
    /// others have made it old. Off unless asked for; see [`Operation::with_unverified`].
    pub unverified: bool,
    /// Names what is in a body. A shared tier holds values of earlier versions of a program: those of another schema
    /// are not read.
    pub schema: Box<str>,
}

impl Operation {
    /// An operation that depends on data and has no grace.
    pub fn new(name: &str, ttl: Duration) -> Self {
        Self {
            name: name.into(),
            ttl,
            depends_on_data: true,
            grace: Duration::ZERO,
            negative_ttl: Duration::ZERO,
            soft_timeout: None,
            hard_timeout: HARD_TIMEOUT,
            unverified: false,
            schema: "".into(),
        }
    }

    /// Serves what says "there is nothing" for `ttl`.
    #[must_use]
    pub fn with_negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = ttl;
        self
    }

    /// Waits for a computation no longer than `after` when an expired value may be served in its place.
    #[must_use]
    pub fn with_soft_timeout(mut self, after: Duration) -> Self {
        self.soft_timeout = Some(after);
        self
    }

    /// Gives a computation up after this long. One that never awaits anything cannot be given up: such work belongs on a
    /// thread for blocking work.
    ///
    /// ```
    /// # use nexarch_cache::{BoxError, Cache, Computed, Error, LocalAuthority, Operation, Read, Scope};
    /// # use std::{future::pending, sync::Arc, time::Duration};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// let report = Operation::new("report", Duration::from_secs(60)).with_hard_timeout(Duration::from_millis(10));
    /// let cache = Cache::builder(Arc::new(LocalAuthority::new())).operations([report]).build(Default::default())?;
    /// let hangs = |_| pending::<Result<Computed, BoxError>>();
    /// let read = Read::new(cache.operation("report")?, "p");
    /// let answer = cache.get_or_compute(&Scope::new("acme")?, read, hangs).await;
    /// assert!(matches!(answer, Err(Error::TimedOut { .. })));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_hard_timeout(mut self, after: Duration) -> Self {
        self.hard_timeout = after;
        self
    }

    /// When the authority cannot be asked, serves what is in memory instead of an error, until its grace ends: marked as
    /// [`Outcome::Unverified`](crate::Outcome::Unverified), and never older than what this process acknowledged or was told
    /// of. What *others* acknowledged meanwhile it may lack, for as long as the authority is away: only for values that may
    /// be old, such as those of a page that says so.
    ///
    /// A read that asks for a minimum version, or not for a cached value, gets the error all the same.
    #[must_use]
    pub fn with_unverified(mut self) -> Self {
        self.unverified = true;
        self
    }

    /// Names what is in a body; change it when that changes.
    #[must_use]
    pub fn with_schema(mut self, schema: &str) -> Self {
        self.schema = schema.into();
        self
    }

    /// Its values stay valid when data change; only an invalidation makes them old.
    #[must_use]
    pub fn independent_of_data(mut self) -> Self {
        self.depends_on_data = false;
        self
    }

    /// Lets a value be served for `grace` after its TTL when its recomputation fails.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

/// An operation of one cache: its place in the table the cache was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(u16);

impl OperationId {
    #[inline]
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The table, checked.
#[derive(Debug)]
pub(crate) struct Operations(Vec<Operation>);

impl Operations {
    pub(crate) fn new(mut table: Vec<Operation>) -> Result<Self, Error> {
        if table.len() > MAX_OPERATIONS {
            return Err(Error::Configuration(format!("more than {MAX_OPERATIONS} operations")));
        }
        for i in 0..table.len() {
            let name = table[i].name.clone();
            if !is_name(&name) {
                return Err(Error::InvalidName { what: "operation", name: name.into() });
            }
            if table[..i].iter().any(|other| other.name == name) {
                return Err(Error::Configuration(format!("operation {name} is there twice")));
            }
            table[i].grace = table[i].grace.min(table[i].ttl);
            table[i].negative_ttl = table[i].negative_ttl.min(table[i].ttl);
        }
        Ok(Self(table))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub(crate) fn get(&self, id: OperationId) -> Result<&Operation, Error> {
        self.0.get(id.index()).ok_or_else(|| self.unknown("of another cache"))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (OperationId, &Operation)> {
        self.0.iter().enumerate().map(|(i, operation)| (id(i), operation))
    }

    pub(crate) fn find(&self, name: &str) -> Option<OperationId> {
        self.0.iter().position(|operation| &*operation.name == name).map(id)
    }

    pub(crate) fn named(&self, name: &str) -> Result<OperationId, Error> {
        self.find(name).ok_or_else(|| self.unknown(name))
    }

    /// The operations whose whole name matches `pattern`.
    pub(crate) fn matching(&self, pattern: &str) -> Result<Vec<OperationId>, Error> {
        if pattern.chars().count() > MAX_PATTERN {
            return Err(Error::PatternTooLong { max: MAX_PATTERN });
        }
        let pattern: Vec<char> = pattern.chars().collect();
        Ok(self.iter().filter(|(_, operation)| glob(&pattern, &operation.name)).map(|(id, _)| id).collect())
    }

    fn unknown(&self, name: &str) -> Error {
        Error::UnknownOperation {
            name: name.chars().take(MAX_PATTERN).collect(),
            known: self.0.iter().map(|operation| operation.name.to_string()).collect(),
        }
    }
}

/// The table is checked to have at most [`MAX_OPERATIONS`] rows.
fn id(index: usize) -> OperationId {
    OperationId(u16::try_from(index).unwrap_or(u16::MAX))
}

/// `*` is any run of characters, `?` any one; everything else is literal.
///
/// Goes back to the latest `*` only, so the time is pattern × name at worst, never exponential.
fn glob(pattern: &[char], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    (p, n) = (*at + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str) -> Vec<&'static str> {
        const NAMES: [&str; 4] = ["services", "service_detail", "metrics", "a"];
        let table = Operations::new(NAMES.map(|name| Operation::new(name, Duration::ZERO)).into()).unwrap();
        table.matching(pattern).unwrap().into_iter().map(|id| NAMES[id.index()]).collect()
    }

    #[test]
    fn star_and_question_mark_are_the_only_wild_cards() {
        assert_eq!(matches("service*"), ["services", "service_detail"]);
        assert_eq!(matches("*e*i*"), ["services", "service_detail", "metrics"]);
        assert_eq!(matches("?"), ["a"]);
        assert_eq!(matches("service?"), ["services"]);
        assert_eq!(matches("*"), ["services", "service_detail", "metrics", "a"]);
        for literal in ["[a]", "{a}", "a|b", "\\a", "A", "", "ä", "s.*", "(a)"] {
            assert!(matches(literal).is_empty(), "{literal}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_time_and_a_long_one_is_refused() {
        let table = Operations::new(vec![Operation::new(&"a".repeat(63), Duration::ZERO)]).unwrap();
        assert!(table.matching(&format!("{}b", "*a".repeat(63))).unwrap().is_empty());
        assert!(matches!(table.matching(&"*".repeat(129)), Err(Error::PatternTooLong { max: 128 })));
        assert_eq!(table.matching(&"*".repeat(128)).unwrap().len(), 1);
    }

    #[test]
    fn a_table_with_a_bad_or_doubled_name_is_refused() {
        let of = |names: &[&str]| {
            Operations::new(names.iter().map(|n| Operation::new(n, Duration::ZERO)).collect())
        };
        assert!(of(&["a", "b"]).is_ok());
        for bad in ["", "A", "a:b", "-a", "a b", "ä"] {
            assert!(matches!(of(&[bad]), Err(Error::InvalidName { .. })), "{bad}");
        }
        assert!(matches!(of(&["a", "a"]), Err(Error::Configuration(_))));
    }
}
