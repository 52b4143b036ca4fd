//! Tenants and keys in words: as the API and the command line show them, and as people write them.

use nexarch_store::{Key, Scope, Tenant};
use serde::Serialize;

use crate::auth::Secret;

/// Longest display name, in characters.
const MAX_NAME: usize = 200;
/// Longest life of a key and longest grace, in days: beyond it a number is a typing error.
const MAX_DAYS: u64 = 36_500;
const SECOND_US: u64 = 1_000_000;

/// A tenant.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TenantView {
    /// Its id: `[a-z0-9][a-z0-9_-]{0,62}`.
    pub(crate) id: String,
    /// Its display name.
    pub(crate) name: String,
    /// Disabled tenants can neither read nor write.
    pub(crate) enabled: bool,
    /// When it was created.
    pub(crate) created_at: String,
}

impl From<&Tenant> for TenantView {
    fn from(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            name: tenant.name.clone(),
            enabled: tenant.enabled,
            created_at: moment(tenant.created_us),
        }
    }
}

/// An API key, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct KeyView {
    /// Its public id.
    pub(crate) key_id: String,
    /// Whose key.
    pub(crate) tenant_id: String,
    /// Its display name.
    pub(crate) name: String,
    /// What it may do: `ingest`, `read`, `admin`.
    pub(crate) scopes: Vec<&'static str>,
    /// `active`, `expired` or `revoked`.
    pub(crate) state: &'static str,
    /// When it was created.
    pub(crate) created_at: String,
    /// When it ends.
    pub(crate) expires_at: Option<String>,
    /// When it was revoked.
    pub(crate) revoked_at: Option<String>,
    /// When it last opened something, to the second; other servers of the database tell of it once a minute.
    pub(crate) last_used_at: Option<String>,
    /// Until when a secret is good that a rotation replaced.
    pub(crate) old_secret_valid_until: Option<String>,
}

impl KeyView {
    /// A key as it is at `now_us`, microseconds since the Unix epoch; `used_us` is a later use than the stored one.
    pub(crate) fn new(key: &Key, now_us: u64, used_us: Option<u64>) -> Self {
        let state = match (key.revoked_us, key.expires_us) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now_us => "expired",
            _ => "active",
        };
        Self {
            key_id: key.id.clone(),
            tenant_id: key.tenant.to_string(),
            name: key.name.clone(),
            scopes: words(&key.scopes),
            state,
            created_at: moment(key.created_us),
            expires_at: key.expires_us.map(moment),
            revoked_at: key.revoked_us.map(moment),
            last_used_at: key.last_used_us.max(used_us).map(moment),
            old_secret_valid_until: grace_end(key, now_us).filter(|_| state == "active"),
        }
    }
}

/// A key with its secret: the only answer that ever shows it.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct SecretView {
    /// Its public id.
    pub(crate) key_id: String,
    /// Whose key.
    pub(crate) tenant_id: String,
    /// The secret. It cannot be had again.
    pub(crate) key: String,
    /// What it may do.
    pub(crate) scopes: Vec<&'static str>,
    /// Its display name.
    pub(crate) name: String,
    /// When it ends.
    pub(crate) expires_at: Option<String>,
    /// Until when the secret that this one replaces is good; `null`: there is none that is.
    pub(crate) old_secret_valid_until: Option<String>,
}

impl SecretView {
    /// A key that got this secret at `now_us`, microseconds since the Unix epoch.
    pub(crate) fn new(key: &Key, secret: &Secret, now_us: u64) -> Self {
        Self {
            key_id: key.id.clone(),
            tenant_id: key.tenant.to_string(),
            key: secret.expose().to_owned(),
            scopes: words(&key.scopes),
            name: key.name.clone(),
            expires_at: key.expires_us.map(moment),
            old_secret_valid_until: grace_end(key, now_us),
        }
    }
}

fn grace_end(key: &Key, now_us: u64) -> Option<String> {
    let end = key.grace_until_us.filter(|end| *end > now_us)?;
    // No secret outlives its key.
    Some(moment(key.expires_us.map_or(end, |expires| end.min(expires))))
}

/// Scopes as words, in their order.
pub(crate) fn words(scopes: &[Scope]) -> Vec<&'static str> {
    scopes.iter().map(|scope| word(*scope)).collect()
}

/// A scope as a word.
pub(crate) fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Ingest => "ingest",
        Scope::Read => "read",
        Scope::Admin => "admin",
    }
}

/// A moment given in microseconds since the Unix epoch, as RFC 3339 in UTC to the second.
pub(crate) fn moment(us: u64) -> String {
    let whole =
        i64::try_from(us / SECOND_US).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    whole.map_or_else(|| "?".to_owned(), |moment| moment.to_string())
}

/// A display name: something that can be shown on a line.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if text.chars().count() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(format!("must have at most {MAX_NAME} characters, none of them a control character"));
    }
    Ok(text.to_owned())
}

/// A length of time such as `90d`, `12h`, `30m` or `45s`, in microseconds; `0` needs no unit.
pub(crate) fn length(text: &str) -> Result<u64, String> {
    let wrong = || "must be a whole number with d, h, m or s, such as 90d".to_owned();
    if text == "0" {
        return Ok(0);
    }
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        "s" => 1,
        _ => return Err(wrong()),
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse::<u64>().ok().filter(|_| digits).ok_or_else(wrong)?;
    let whole = number.checked_mul(seconds).filter(|all| *all <= MAX_DAYS * 86_400);
    Ok(whole.ok_or_else(|| format!("must be at most {MAX_DAYS} days"))? * SECOND_US)
}

/// The end of a key's life: a length of time from `now_us`, or an RFC 3339 time that is still to come. Microseconds since
/// the Unix epoch.
pub(crate) fn end(text: &str, now_us: u64) -> Result<u64, String> {
    let past = || "must lie in the future".to_owned();
    let end = match text.parse::<jiff::Timestamp>() {
        Ok(at) => u64::try_from(at.as_microsecond()).map_err(|_| past())?,
        Err(_) => now_us.saturating_add(length(text).map_err(|why| format!("{why}, or an RFC 3339 time"))?),
    };
    if end <= now_us {
        return Err(past());
    }
    if end - now_us > MAX_DAYS * 86_400 * SECOND_US {
        return Err(format!("must be at most {MAX_DAYS} days from now"));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_units() {
        let seconds = |text: &str| length(text).map(|us| us / SECOND_US);
        assert_eq!(seconds("90d"), Ok(90 * 86_400));
        assert_eq!((seconds("12h"), seconds("30m"), seconds("45s")), (Ok(43_200), Ok(1_800), Ok(45)));
        assert_eq!((seconds("0"), seconds("0s")), (Ok(0), Ok(0)));
        for wrong in ["", "d", "5", "-5d", "+5d", "1.5h", "5 d", "5w", "9999999999999999999d", "36501d", "5ß"]
        {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_end_lies_ahead() {
        let now = 1_800_000_000 * SECOND_US;
        assert_eq!(end("30s", now), Ok(now + 30 * SECOND_US));
        assert_eq!(end("2027-01-15T08:00:01Z", now), Ok(now + SECOND_US));
        assert_eq!(end("2027-01-15T09:00:01+01:00", now), Ok(now + SECOND_US));
        for wrong in ["0", "2027-01-15T08:00:00Z", "1969-01-01T00:00:00Z", "2300-01-01T00:00:00Z", "soon"] {
            assert!(end(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_old_secret_is_told_to_end_with_its_key_at_the_latest() {
        let now = 1_800_000_000 * SECOND_US;
        let told = |grace: u64, expires: Option<u64>, revoked: Option<u64>| {
            let key = Key {
                id: "a".to_owned(),
                tenant: "acme".parse().unwrap(),
                name: String::new(),
                scopes: vec![Scope::Read],
                created_us: 0,
                expires_us: expires,
                revoked_us: revoked,
                last_used_us: None,
                grace_until_us: Some(grace),
            };
            KeyView::new(&key, now, None).old_secret_valid_until
        };
        let later = |seconds: u64| now + seconds * SECOND_US;
        assert_eq!(told(later(60), None, None), Some(moment(later(60))));
        assert_eq!(told(later(60), Some(later(30)), None), Some(moment(later(30))));
        assert_eq!((told(now, None, None), told(later(60), Some(now), None)), (None, None));
        assert_eq!(told(later(60), None, Some(now)), None, "nor is one of a revoked key");
    }

    #[test]
    fn names_fit_on_a_line() {
        assert_eq!(name("Äcme Inc."), Ok("Äcme Inc.".to_owned()));
        assert!(name(&"x".repeat(MAX_NAME)).is_ok() && name(&"x".repeat(MAX_NAME + 1)).is_err());
        assert!(name("a\nb").is_err() && name("\u{1b}[31mred").is_err());
    }
}
