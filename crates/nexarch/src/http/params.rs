//! Query parameters, parsed once into types. An unknown, repeated or malformed one is a 400 that names it.

use axum::http::Uri;

use super::error::ApiError;

/// Longest value of a parameter, in bytes; names of services and environments are far shorter.
const MAX_VALUE_BYTES: usize = 1_024;

/// The parameters of a request, each at most once, all of them expected.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Parses a query string; `allowed` are the names that the route knows.
    pub fn parse(uri: &Uri, allowed: &[&str]) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_pairs(uri.query().unwrap_or_default()) {
            let (name, value) = (name?, value?);
            if !allowed.contains(&name.as_str()) {
                let known = if allowed.is_empty() {
                    "this route takes none".to_owned()
                } else {
                    format!("this route knows {}", allowed.join(", "))
                };
                return Err(ApiError::bad_request(format!(
                    "unknown query parameter {}; {known}",
                    shorten(&name)
                )));
            }
            if value.len() > MAX_VALUE_BYTES {
                return Err(ApiError::bad_request(format!("{name} is longer than {MAX_VALUE_BYTES} bytes")));
            }
            if pairs.iter().any(|(seen, _)| *seen == name) {
                return Err(ApiError::bad_request(format!("{name} is given twice")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// The value of a parameter, empty or not.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn shorten(name: &str) -> String {
    name.chars().take(40).collect()
}

type Decoded = Result<String, ApiError>;

fn form_pairs(query: &str) -> impl Iterator<Item = (Decoded, Decoded)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decode(name, true), percent_decode(value, true))
    })
}

/// Decodes `%XX` (and `+` in queries) strictly: a broken escape or bytes that are not UTF-8 are an error.
pub(super) fn percent_decode(text: &str, plus_is_space: bool) -> Result<String, ApiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits =
                    [rest.next(), rest.next()].map(|digit| digit.and_then(|d| char::from(d).to_digit(16)));
                let [Some(high), Some(low)] = digits else {
                    return Err(ApiError::bad_request(
                        "a % in the address is not followed by two hex digits",
                    ));
                };
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
            }
            b'+' if plus_is_space => bytes.push(b' '),
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| ApiError::bad_request("the address is not valid UTF-8"))
}

/// The one part of the path behind `prefix` and before `suffix`, decoded. Taken from the raw path: it may hold an
/// encoded slash, and a broken escape gets the same kind of answer as everywhere else.
pub(crate) fn segment(uri: &Uri, prefix: &str, suffix: &str) -> Result<String, ApiError> {
    let raw = uri.path().strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
    percent_decode(raw.unwrap_or_default(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Params, String> {
        let uri: Uri = format!("/x?{query}").parse().unwrap();
        Params::parse(&uri, &["window", "environment"]).map_err(|error| error.detail)
    }

    #[test]
    fn known_parameters_are_decoded() {
        let params = parse("window=1h&environment=a%20b+c%2F").unwrap();
        assert_eq!(params.get("window"), Some("1h"));
        assert_eq!(params.get("environment"), Some("a b c/"));
        let empty = parse("environment=").unwrap();
        assert_eq!((empty.get("environment"), empty.given("environment")), (None, Some("")));
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        assert!(parse("windw=1h").unwrap_err().contains("windw"));
        assert!(parse("window=1h&window=1h").unwrap_err().contains("twice"));
        assert!(parse("window=%2").unwrap_err().contains('%'));
        assert!(parse("window=%ff").unwrap_err().contains("UTF-8"));
        assert!(parse(&format!("window={}", "x".repeat(2000))).unwrap_err().contains("longer"));
    }
}
