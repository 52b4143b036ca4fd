//! Secrets in Azure Key Vault, by the reference that users know from App Service.

use super::EntraIdentity;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_security_keyvault_secrets::models::SecretClientGetSecretOptions;
use azure_security_keyvault_secrets::{SecretClient, SecretClientOptions};
use std::fmt;
use std::sync::Arc;
use url::Url;

/// Where vaults are: the public cloud and the national ones.
const HOSTS: [&str; 5] = [
    ".vault.azure.net",
    ".vault.azure.cn",
    ".vault.usgovcloudapi.net",
    ".vault.sovcloud-api.de",
    ".vault.sovcloud-api.fr",
];

/// The longest secret that is taken, in bytes: Key Vault holds 25 KB.
const MAX_SECRET: usize = 64 << 10;

/// A reference to a secret: `@Microsoft.KeyVault(SecretUri=https://VAULT.vault.azure.net/secrets/NAME[/VERSION])` or
/// `@Microsoft.KeyVault(VaultName=VAULT;SecretName=NAME[;SecretVersion=VERSION])`.
///
/// ```
/// use nexarch_cache::VaultReference;
///
/// let text = "@Microsoft.KeyVault(SecretUri=https://acme.vault.azure.net/secrets/redis)";
/// let reference = VaultReference::parse(text, &[]).expect("a reference").unwrap();
/// assert_eq!(reference.to_string(), "secret redis of https://acme.vault.azure.net");
/// assert!(VaultReference::parse("a password", &[]).is_none());
/// let elsewhere = "@Microsoft.KeyVault(SecretUri=https://vault.example.com/secrets/redis)";
/// assert!(VaultReference::parse(elsewhere, &[]).expect("a reference").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultReference {
    /// Scheme, host and port.
    endpoint: String,
    name: String,
    version: Option<String>,
    /// Its host is Azure's, so that what it asks a token for has to be its own.
    azure: bool,
}

impl fmt::Display for VaultReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret {} of {}", self.name, self.endpoint)
    }
}

impl VaultReference {
    /// Reads a text; `None` when it is no reference. Hosts of Azure's vaults are allowed, and `hosts`: exact ones, or with a
    /// leading dot all below it.
    pub fn parse(text: &str, hosts: &[String]) -> Option<Result<Self, String>> {
        const BEGIN: &str = "@microsoft.keyvault(";
        let begin = text.get(..BEGIN.len())?;
        if !begin.eq_ignore_ascii_case(BEGIN) {
            return None;
        }
        let Some(inside) = text[BEGIN.len()..].strip_suffix(')') else {
            return Some(Err("a reference to Key Vault has to end with )".to_owned()));
        };
        Some(read(inside, hosts))
    }
}

fn read(inside: &str, hosts: &[String]) -> Result<VaultReference, String> {
    const FORM: &str =
        "expected SecretUri=https://VAULT.vault.azure.net/secrets/NAME or VaultName=VAULT;SecretName=NAME";
    let given = |name: &str| {
        let pairs = inside.split(';').filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(known, _)| known.trim().eq_ignore_ascii_case(name));
        found.next_back().map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let (uri, vault, name) = (given("SecretUri"), given("VaultName"), given("SecretName"));
    let uri = match (uri, vault, name) {
        (Some(uri), None, None) => uri,
        (None, Some(vault), Some(name)) if is_label(&vault) => {
            let version = given("SecretVersion").map_or_else(String::new, |version| format!("/{version}"));
            format!("https://{vault}.vault.azure.net/secrets/{name}{version}")
        }
        _ => return Err(FORM.to_owned()),
    };
    let url = Url::parse(&uri).map_err(|_| FORM.to_owned())?;
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if url.scheme() != "https" || !plain {
        return Err(FORM.to_owned());
    }
    let below = |suffix: &str| host.strip_suffix(suffix).is_some_and(is_label);
    let azure = HOSTS.iter().any(|suffix| below(suffix));
    let allowed = hosts.iter().any(|allowed| {
        let allowed = allowed.to_ascii_lowercase();
        if allowed.starts_with('.') {
            host.ends_with(&allowed) && host.len() > allowed.len()
        } else {
            host == allowed
        }
    });
    if !azure && !allowed {
        return Err(format!("{host} is no host of Azure Key Vault, and not one of the allowed ones"));
    }
    let path: Vec<_> = url.path_segments().map(Iterator::collect).unwrap_or_default();
    let (name, version) = match path.as_slice() {
        ["secrets", name] | ["secrets", name, ""] => (*name, None),
        ["secrets", name, version] => (*name, Some((*version).to_owned())),
        _ => return Err(FORM.to_owned()),
    };
    if !is_label(name) || version.as_ref().is_some_and(|version| !is_label(version)) {
        return Err("the name of a secret has letters, digits and - only".to_owned());
    }
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    Ok(VaultReference { endpoint: format!("https://{host}{port}"), name: name.to_owned(), version, azure })
}

fn is_label(text: &str) -> bool {
    (1..=127).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

impl EntraIdentity {
    /// The secret that a reference names. What went wrong is said without a word of what was answered.
    pub async fn vault_secret(&self, reference: &VaultReference) -> Result<String, String> {
        let words = |error: &Error| match error.kind() {
            ErrorKind::HttpResponse { status, .. } => match u16::from(*status) {
                401 | 403 => "the identity may not read it (role Key Vault Secrets User)".to_owned(),
                404 => "there is no such secret".to_owned(),
                other => format!("the vault answers {other}"),
            },
            _ => self.words(error).replace("identity service", "vault or the identity service"),
        };
        let credential = Arc::new(VaultOnly(self.credential().map_err(|error| self.words(&error))?));
        let options =
            SecretClientOptions { verify_challenge_resource: Some(reference.azure), ..Default::default() };
        let client = SecretClient::new(&reference.endpoint, credential, Some(options))
            .map_err(|error| words(&error))?;
        let options =
            SecretClientGetSecretOptions { secret_version: reference.version.clone(), ..Default::default() };
        let answer =
            client.get_secret(&reference.name, Some(options)).await.map_err(|error| words(&error))?;
        let secret = answer.into_model().map_err(|error| words(&error))?;
        let value = secret.value.filter(|value| value.len() <= MAX_SECRET);
        value.ok_or_else(|| "the vault's answer has no value that can be used".to_owned())
    }
}

/// Gives tokens for vaults and for nothing else: what a vault asks for in its challenge is not for it to choose.
#[derive(Debug)]
struct VaultOnly(Arc<dyn TokenCredential>);

#[async_trait::async_trait]
impl TokenCredential for VaultOnly {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let is_vault = |scope: &&str| {
            let host = scope.strip_prefix("https://").and_then(|rest| rest.strip_suffix("/.default"));
            host.is_some_and(|host| HOSTS.iter().any(|known| known.strip_prefix('.') == Some(host)))
        };
        if !scopes.iter().all(is_vault) {
            return Err(Error::with_message(ErrorKind::Credential, "no token for that"));
        }
        self.0.get_token(scopes, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(inside: &str) -> Result<VaultReference, String> {
        let hosts = ["vault.corp.example".to_owned(), ".vaults.example".to_owned()];
        VaultReference::parse(&format!("@Microsoft.KeyVault({inside})"), &hosts).expect("a reference")
    }

    #[test]
    fn both_forms_are_read() {
        let short = parse("VaultName=acme;SecretName=redis;SecretVersion=0123abcd").unwrap();
        let long = parse("SecretUri=https://acme.vault.azure.net/secrets/redis/0123abcd").unwrap();
        assert_eq!(short, long);
        assert_eq!(long.version.as_deref(), Some("0123abcd"));
        assert_eq!(parse("secreturi=https://ACME.vault.azure.net/secrets/redis/").unwrap().version, None);
        assert!(parse("SecretUri=https://acme.vault.usgovcloudapi.net/secrets/redis").unwrap().azure);
        assert!(!parse("SecretUri=https://vault.corp.example:8443/secrets/redis").unwrap().azure);
        assert!(parse("SecretUri=https://a.vaults.example/secrets/redis").is_ok());
        assert_eq!(VaultReference::parse("@Microsoft.KeyVault", &[]), None);
        assert!(VaultReference::parse("@Microsoft.KeyVault(", &[]).unwrap().is_err());
    }

    /// A token of this process is worth much: it goes to vaults, over TLS, and nowhere else.
    #[test]
    fn no_other_host_is_asked() {
        for wrong in [
            "SecretUri=http://acme.vault.azure.net/secrets/redis",
            "SecretUri=https://vault.azure.net/secrets/redis",
            "SecretUri=https://acme.vault.azure.net.example.com/secrets/redis",
            "SecretUri=https://acme.vault.azure.net@example.com/secrets/redis",
            "SecretUri=https://example.com/acme.vault.azure.net/secrets/redis",
            "SecretUri=https://example.com#.vault.azure.net/secrets/redis",
            "SecretUri=https://a.b.vault.azure.net/secrets/redis",
            "SecretUri=https://.vault.azure.net/secrets/redis",
            "SecretUri=https://x.vault.corp.example/secrets/redis",
            "SecretUri=https://.vaults.example/secrets/redis",
            "SecretUri=https://acme.vault.azure.net/keys/redis",
            "SecretUri=https://acme.vault.azure.net/secrets/a%2Fb",
            "SecretUri=https://acme.vault.azure.net/secrets/a?x=y",
            "SecretUri=https://acme.vault.azure.net/secrets",
            "VaultName=example.com/;SecretName=x",
            "VaultName=acme",
            "",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,80}", inside in ".{0,80}") {
            let _ = VaultReference::parse(&text, &[]);
            if let Ok(reference) = parse(&inside) {
                prop_assert!(reference.endpoint.starts_with("https://"));
            }
        }
    }
}
