//! Secrets that are references to Azure Key Vault: resolved before anything is checked, or told with the rest.

use super::{Sources, variable};

impl Sources {
    /// Puts secrets in the place of references to them. What cannot be had becomes a problem.
    #[cfg(feature = "azure")]
    pub async fn resolve(&mut self) {
        use nexarch_cache::{EntraIdentity, VaultReference};
        use std::time::Duration;

        /// How long all of it may take. The credential of a virtual machine tries again by itself for 72 s.
        const LIMIT: Duration = Duration::from_secs(90);

        let references = self.references();
        if references.is_empty() {
            return;
        }
        let plain = |name: &str| self.get(variable::find(name)?).ok().flatten().map(|found| found.value);
        let identity = EntraIdentity {
            tenant_id: plain("AZURE_TENANT_ID"),
            client_id: plain("AZURE_CLIENT_ID"),
            client_secret: plain("AZURE_CLIENT_SECRET"),
            federated_token_file: plain("AZURE_FEDERATED_TOKEN_FILE").map(Into::into),
            developer_tools: plain("AZURE_TOKEN_CREDENTIALS")
                .is_some_and(|text| super::parse::developer_tools(&text)),
        };
        let hosts =
            super::parse::hosts(&plain("KEYVAULT_ALLOWED_HOSTS").unwrap_or_default()).unwrap_or_default();
        for (place, text) in references {
            let secret = match VaultReference::parse(&text, &hosts) {
                // Found by the same beginning.
                None => continue,
                Some(Err(why)) => Err(why),
                Some(Ok(reference)) => {
                    let asked = tokio::time::timeout(LIMIT, identity.vault_secret(&reference)).await;
                    let answer = asked.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")));
                    answer.map_err(|why| format!("{reference}: {why}"))
                }
            };
            self.settle(&place, secret);
        }
    }

    /// Nothing is resolved; a reference is refused where it is read.
    #[cfg(not(feature = "azure"))]
    #[expect(clippy::unused_async, reason = "the shape of the build that can")]
    pub async fn resolve(&mut self) {}
}

/// Where a value stands.
pub(super) struct Place {
    pub(super) layer: usize,
    pub(super) name: String,
}

impl Sources {
    /// Is there anything to resolve?
    pub fn has_references(&self) -> bool {
        !self.references().is_empty()
    }

    /// Values in force that are references, with their places. The secret that this process proves itself with cannot be one.
    fn references(&self) -> Vec<(Place, String)> {
        let secrets = variable::VARIABLES
            .iter()
            .filter(|variable| variable.secret && variable.name != "AZURE_CLIENT_SECRET");
        secrets
            .filter_map(|variable| self.place(variable))
            .filter(|(_, text)| super::source::is_reference(text))
            .collect()
    }

    #[cfg(feature = "azure")]
    fn settle(&mut self, place: &Place, secret: Result<String, String>) {
        let secret = secret.and_then(|secret| {
            // It would be taken for a reference, and asked for again.
            if super::source::is_reference(&secret) {
                Err("holds a reference itself".to_owned())
            } else {
                Ok(secret)
            }
        });
        match secret {
            Ok(secret) => self.put(place, secret),
            Err(why) => {
                self.put(place, String::new());
                self.problems.push(format!("{}: {why}", place.name));
            }
        }
    }
}
