//! Microsoft Entra ID in place of access keys: tokens of this process's identity, for Azure's Redis services.
//!
//! Which identity that is, is found as Microsoft's own libraries find it; the values are given, because a library reads no
//! environment. Where a *managed* identity is asked for (`IDENTITY_ENDPOINT`, or the service of virtual machines) the
//! credential looks itself.

mod vault;

pub use vault::VaultReference;

use crate::redis::{RedisToken, RedisTokens};
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::error::ErrorKind;
use azure_identity::{
    ClientSecretCredential, DeveloperToolsCredential, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// What a token is asked for. Both of Azure's services take it.
const SCOPE: &str = "https://redis.azure.com/.default";

/// The longest claims that are read, in bytes: those of Entra ID have about a thousand.
const MAX_CLAIMS: usize = 64 << 10;

/// Who this process is to Microsoft Entra ID.
///
/// With a federated token, tenant and client it is a workload identity (Kubernetes); with a secret, tenant and client an
/// app registration; else who is signed in with the developer tools, when these are asked for; else a managed identity:
/// the user-assigned one of that client, or the system's.
///
/// ```no_run
/// use nexarch_cache::{EntraIdentity, RedisConfig};
///
/// let tokens = EntraIdentity::default().redis_tokens();
/// let config = RedisConfig::new("acme.westeurope.redis.azure.net").tokens(tokens);
/// ```
#[derive(Clone, Default)]
pub struct EntraIdentity {
    /// The directory, as in `AZURE_TENANT_ID`.
    pub tenant_id: Option<String>,
    /// The application, or the user-assigned identity, as in `AZURE_CLIENT_ID`.
    pub client_id: Option<String>,
    /// The application's secret, as in `AZURE_CLIENT_SECRET`.
    pub client_secret: Option<String>,
    /// The file of a federated token, as in `AZURE_FEDERATED_TOKEN_FILE`; read anew for each token.
    pub federated_token_file: Option<PathBuf>,
    /// Whoever is signed in with the Azure CLI (`az login`) or else the Azure Developer CLI (`azd auth login`), in place of a
    /// managed identity. It runs the first `az` or `azd` on the `PATH` for each token, so it has to be asked for.
    pub developer_tools: bool,
}

/// Shows which kind of identity it is, and no value.
impl fmt::Debug for EntraIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EntraIdentity").field(&self.kind()).finish()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Workload,
    Secret,
    Developer,
    UserAssigned,
    System,
}

impl EntraIdentity {
    /// Tokens for Redis. Each is asked for with a new credential: one that is kept would give the same token until five
    /// minutes before its end.
    pub fn redis_tokens(self) -> RedisTokens {
        let this = Arc::new(self);
        RedisTokens::new(move || {
            let this = Arc::clone(&this);
            async move { this.token().await }
        })
    }

    fn kind(&self) -> Kind {
        let application = self.tenant_id.is_some() && self.client_id.is_some();
        match () {
            () if application && self.federated_token_file.is_some() => Kind::Workload,
            () if application && self.client_secret.is_some() => Kind::Secret,
            () if self.developer_tools => Kind::Developer,
            () if self.client_id.is_some() => Kind::UserAssigned,
            () => Kind::System,
        }
    }

    async fn token(&self) -> Result<RedisToken, String> {
        let credential = self.credential().map_err(|error| self.words(&error))?;
        let token = credential.get_token(&[SCOPE], None).await.map_err(|error| self.words(&error))?;
        let secret = token.token.secret();
        let seconds = u64::try_from(token.expires_on.unix_timestamp()).unwrap_or(0);
        let user = user_of(secret).ok_or("the token of the identity service has no readable oid")?;
        Ok(RedisToken::new(user, secret, UNIX_EPOCH + Duration::from_secs(seconds)))
    }

    fn credential(&self) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Ok(match self.kind() {
            Kind::Workload => WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                client_id: self.client_id.clone(),
                tenant_id: self.tenant_id.clone(),
                token_file_path: self.federated_token_file.clone(),
                ..Default::default()
            }))?,
            Kind::Secret => {
                let secret = Secret::new(text(&self.client_secret));
                ClientSecretCredential::new(&text(&self.tenant_id), text(&self.client_id), secret, None)?
            }
            Kind::Developer => DeveloperToolsCredential::new(None)?,
            Kind::UserAssigned | Kind::System => {
                let user_assigned_id = self.client_id.clone().map(UserAssignedId::ClientId);
                let options = ManagedIdentityCredentialOptions { user_assigned_id, ..Default::default() };
                ManagedIdentityCredential::new(Some(options))?
            }
        })
    }

    /// What went wrong. The library's own text may repeat what the service sent, so it is left out.
    fn words(&self, error: &azure_core::Error) -> String {
        let who = match self.kind() {
            Kind::Workload => "workload identity",
            Kind::Secret => "app registration with a secret",
            Kind::Developer => return "neither az nor azd gives a token; sign in with az login".to_owned(),
            Kind::UserAssigned => "user-assigned managed identity",
            Kind::System => "system-assigned managed identity",
        };
        let what = match cause(error) {
            ErrorKind::HttpResponse { status, .. } => {
                format!("the identity service answers {}", u16::from(*status))
            }
            ErrorKind::Io | ErrorKind::Connection => "the identity service is not reached".to_owned(),
            ErrorKind::DataConversion => "the identity service's answer makes no sense".to_owned(),
            _ => "the identity service gives none".to_owned(),
        };
        format!("{what} ({who})")
    }
}

/// What an error of a credential comes from, when that says more.
fn cause(error: &azure_core::Error) -> &ErrorKind {
    let mut source = std::error::Error::source(error);
    let mut kind = error.kind();
    // Chains are short; an end is needed all the same.
    for _ in 0..8 {
        let Some(inner) = source else { break };
        if let Some(known) = inner.downcast_ref::<azure_core::Error>()
            && matches!(known.kind(), ErrorKind::HttpResponse { .. } | ErrorKind::Io | ErrorKind::Connection)
        {
            kind = known.kind();
        }
        source = inner.source();
    }
    kind
}

/// The claim `oid` of a JSON Web Token, which is the user's name in Azure's Redis. The signature is for the server to check.
fn user_of(token: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Claims {
        oid: String,
    }
    let claims = token.split('.').nth(1).filter(|claims| claims.len() <= MAX_CLAIMS)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    let readable = !claims.oid.is_empty() && claims.oid.bytes().all(|byte| byte.is_ascii_graphic());
    readable.then_some(claims.oid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn the_user_is_the_object_id() {
        assert_eq!(user_of(&jwt(r#"{"aud":"x","oid":"1111-2222"}"#)).as_deref(), Some("1111-2222"));
        for none in [
            String::new(),
            "opaque".to_owned(),
            "a.b.c".to_owned(),
            jwt("{}"),
            jwt(r#"{"oid":""}"#),
            jwt(r#"{"oid":"a b"}"#),
            jwt(r#"{"oid":7}"#),
            jwt(&format!(r#"{{"x":"{}","oid":"a"}}"#, "y".repeat(MAX_CLAIMS))),
        ] {
            assert_eq!(user_of(&none), None, "{}", &none[..none.len().min(40)]);
        }
    }

    #[test]
    fn the_first_identity_that_is_whole_is_taken() {
        let given = |tenant: bool, client: bool, secret: bool, file: bool, tools: bool| {
            let text = |is: bool| is.then(|| "hunter2".to_owned());
            let identity = EntraIdentity {
                tenant_id: text(tenant),
                client_id: text(client),
                client_secret: text(secret),
                federated_token_file: text(file).map(PathBuf::from),
                developer_tools: tools,
            };
            assert!(!format!("{identity:?}").contains("hunter2"));
            identity.kind()
        };
        for tools in [false, true] {
            let last = |kind| if tools { Kind::Developer } else { kind };
            assert_eq!(given(true, true, true, true, tools), Kind::Workload);
            assert_eq!(given(true, true, true, false, tools), Kind::Secret);
            assert_eq!(given(false, true, true, true, tools), last(Kind::UserAssigned));
            assert_eq!(given(true, false, true, true, tools), last(Kind::System));
            assert_eq!(given(false, false, false, false, tools), last(Kind::System));
        }
    }

    proptest! {
        #[test]
        fn no_token_panics(token in ".{0,200}", claims in ".{0,60}") {
            user_of(&token);
            user_of(&jwt(&claims));
        }
    }
}
