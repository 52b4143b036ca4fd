//! Where values come from: flag > environment > `.env` > `nexarch.toml` > default.

use std::{collections::BTreeMap, fmt, fs, io, path::Path};

use super::{
    variable::{self, TTL_PREFIX, Variable},
    vault::Place,
};

/// Longest secret file that is read, in bytes: a key, not somebody's disk image.
const MAX_SECRET_FILE: u64 = 64 * 1024;

/// All sources of one start, strongest first. Names are upper case.
#[derive(Default)]
pub struct Sources {
    layers: Vec<(&'static str, BTreeMap<String, String>)>,
    /// What was wrong with the files themselves; told together with everything else.
    pub(super) problems: Vec<String>,
}

/// A value and the place that it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// The text, trimmed.
    pub value: String,
    /// `flag`, `environment`, `.env`, `nexarch.toml`, `default`, or the file of a secret.
    pub origin: String,
}

/// The value may be a secret.
impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Found(**** from {})", self.origin)
    }
}

impl Sources {
    /// Adds a layer below the ones that are there.
    #[must_use]
    pub fn layer(mut self, origin: &'static str, values: BTreeMap<String, String>) -> Self {
        self.layers.push((origin, values));
        self
    }

    /// The layers of a real start: flags given, then environment, `.env` and `nexarch.toml` of `folder`.
    pub fn of_process(flags: BTreeMap<String, String>, folder: &Path) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this module is the one that reads the environment")]
        let environment: BTreeMap<_, _> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut problems = Vec::new();
        let dotenv = dotenv(&folder.join(".env")).unwrap_or_else(|why| {
            problems.push(why);
            BTreeMap::new()
        });
        let file = toml_file(&folder.join("nexarch.toml")).unwrap_or_else(|why| {
            problems.push(why);
            BTreeMap::new()
        });
        let mut this = Self::default()
            .layer("flag", flags)
            .layer("environment", environment)
            .layer(".env", dotenv)
            .layer("nexarch.toml", file);
        this.problems = problems;
        this
    }

    /// Without the names that begin like one of these, but for flags.
    #[must_use]
    pub fn ignoring(mut self, beginnings: &[&str]) -> Self {
        for (_, values) in self.layers.iter_mut().filter(|(origin, _)| *origin != "flag") {
            values.retain(|name, _| {
                let plain = name.strip_prefix("NEXARCH_").unwrap_or(name);
                !beginnings.iter().any(|beginning| plain.starts_with(beginning))
            });
        }
        self
    }

    /// The value of a variable. An empty value is unset; a secret may come from `<NAME>_FILE`.
    pub fn get(&self, variable: &Variable) -> Result<Option<Found>, String> {
        for (origin, values) in &self.layers {
            for name in [format!("NEXARCH_{}", variable.name), variable.name.to_owned()] {
                if let Some(value) = set(values, &name) {
                    unresolved(variable, &name, &value)?;
                    return Ok(Some(Found { value, origin: (*origin).to_owned() }));
                }
                let Some(path) = set(values, &format!("{name}_FILE")).filter(|_| variable.secret) else {
                    continue;
                };
                let value = secret_file(&path).map_err(|why| format!("{name}_FILE: {path}: {why}"))?;
                unresolved(variable, &format!("{name}_FILE"), &value)?;
                return Ok(Some(Found { value, origin: path }));
            }
        }
        let default = (!variable.default.is_empty())
            .then(|| Found { value: variable.default.to_owned(), origin: "default".to_owned() });
        Ok(default)
    }

    /// The value in force of a variable, if it does not come from a file, and where it stands.
    pub(super) fn place(&self, variable: &Variable) -> Option<(Place, String)> {
        let names = [format!("NEXARCH_{}", variable.name), variable.name.to_owned()];
        for (layer, (_, values)) in self.layers.iter().enumerate() {
            for name in &names {
                if let Some(value) = set(values, name) {
                    return Some((Place { layer, name: name.clone() }, value));
                }
                if set(values, &format!("{name}_FILE")).is_some() {
                    return None;
                }
            }
        }
        None
    }

    /// Puts another value in a place.
    #[cfg(feature = "azure")]
    pub(super) fn put(&mut self, place: &Place, value: String) {
        if let Some((_, values)) = self.layers.get_mut(place.layer) {
            values.insert(place.name.clone(), value);
        }
    }

    /// Values of `CACHE_TTL_SECONDS_<OPERATION>`, by lower-case operation, the strongest layer's first.
    pub fn operation_ttls(&self) -> BTreeMap<String, Found> {
        let mut ttls = BTreeMap::new();
        for (origin, values) in &self.layers {
            for prefix in [format!("NEXARCH_{TTL_PREFIX}"), TTL_PREFIX.to_owned()] {
                for (name, value) in values.iter().filter(|(_, value)| !value.trim().is_empty()) {
                    if let Some(operation) = name.strip_prefix(&prefix) {
                        let found = || Found { value: value.trim().to_owned(), origin: (*origin).to_owned() };
                        ttls.entry(operation.to_ascii_lowercase()).or_insert_with(found);
                    }
                }
            }
        }
        ttls
    }

    /// Sentences about names that look like ours and are not.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (origin, values) in &self.layers {
            for name in values.keys() {
                let plain = name.strip_prefix("NEXARCH_").unwrap_or(name);
                let ours = name.starts_with("NEXARCH_")
                    || plain.starts_with("CACHE_")
                    || plain.starts_with("REDIS_")
                    || *origin == "nexarch.toml";
                let as_secret = plain.strip_suffix("_FILE").and_then(variable::find);
                let known = variable::find(plain).is_some()
                    || plain.starts_with(TTL_PREFIX)
                    || as_secret.is_some_and(|variable| variable.secret);
                if ours && !known && !NOT_VARIABLES.contains(&name.as_str()) {
                    let hint = variable::nearest(plain)
                        .map_or(String::new(), |near| format!("; did you mean {near}?"));
                    warnings.push(format!("{name} ({origin}) is not a variable of Nexarch{hint}"));
                }
            }
        }
        warnings
    }
}

/// Names that begin like ours and belong to the command line (`nexarch cache`).
const NOT_VARIABLES: &[&str] = &["NEXARCH_API_KEY"];

fn set(values: &BTreeMap<String, String>, name: &str) -> Option<String> {
    values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty()).map(str::to_owned)
}

/// App Service leaves the reference itself where it could not resolve it. It is never a password.
fn unresolved(variable: &Variable, name: &str, value: &str) -> Result<(), String> {
    if variable.secret && is_reference(value) {
        return Err(format!(
            "{name} is a reference to Azure Key Vault that is not resolved here: give the app's identity the role Key Vault \
             Secrets User, and set {} itself",
            variable.name
        ));
    }
    Ok(())
}

pub(super) fn is_reference(value: &str) -> bool {
    value.to_ascii_lowercase().starts_with("@microsoft.keyvault(")
}

fn secret_file(path: &str) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_SECRET_FILE {
        return Err(format!("has {size} bytes; a secret has at most {MAX_SECRET_FILE}"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    Ok(text.trim().to_owned())
}

fn dotenv(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let lines = match dotenvy::from_path_iter(path) {
        Ok(lines) => lines,
        Err(dotenvy::Error::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(format!(".env: {error}")),
    };
    // The library's error repeats the line, which may hold a secret.
    lines
        .enumerate()
        .map(|(index, line)| line.map_err(|_| format!(".env: entry {} is not NAME=value", index + 1)))
        .collect()
}

fn toml_file(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(format!("nexarch.toml: {error}")),
    };
    // The message alone: the library's Display quotes the line, which may hold a secret.
    let table: toml::Table =
        toml::from_str(&text).map_err(|error| format!("nexarch.toml: {}", error.message()))?;
    let one = |(name, value): (String, toml::Value)| {
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            _ => {
                return Err(format!(
                    "nexarch.toml: {name} must be a text, a number or true/false; tables are not used"
                ));
            }
        };
        Ok((name.to_ascii_uppercase(), text))
    };
    table.into_iter().map(one).collect()
}
