//! Who holds the secret of the admin API.

use serde_json::Value;

use super::{
    client::{Body, Client, Reply},
    server::Server,
};

/// The secret that servers of tests are given.
pub(crate) const SECRET: &str = "correct horse battery";

/// The setting that opens the admin API.
pub(crate) const OPEN: (&str, &str) = ("ADMIN_SECRET_KEY", SECRET);

/// Where tenants are.
pub(crate) const TENANTS: &str = "/api/v1/admin/tenants";

/// A client with the secret.
pub(crate) struct Admin(Client);

impl Admin {
    pub(crate) fn of(server: &Server) -> Self {
        Self(server.stranger())
    }

    /// Of a server at `http://address`.
    pub(crate) fn at(base: &str) -> Self {
        Self(Client::new(base, None))
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.0.get_with(path, &[("X-Admin-Key", SECRET)])
    }

    pub(crate) fn delete(&self, path: &str) -> Reply {
        self.0.send("DELETE", path, &[("X-Admin-Key", SECRET)], &Body::None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, body.to_string().as_bytes())
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Reply {
        self.send("PATCH", path, body.to_string().as_bytes())
    }

    /// Sends bytes that are said to be JSON.
    pub(crate) fn send(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        let headers = [("X-Admin-Key", SECRET), ("Content-Type", "application/json")];
        self.0.send(method, path, &headers, &Body::Sized(body))
    }

    /// A new tenant and the text of a key with every scope, made beside nothing: over HTTP.
    pub(crate) fn tenant(&self, id: &str) -> String {
        self.post(TENANTS, &serde_json::json!({"id": id})).expect(201);
        let made = self.key(id, &serde_json::json!({"scopes": ["ingest", "read", "admin"]}));
        made["key"].as_str().unwrap().to_owned()
    }

    /// A new key, as it is answered.
    pub(crate) fn key(&self, tenant: &str, body: &Value) -> Value {
        self.post(&format!("{TENANTS}/{tenant}/keys"), body).expect(201).json()
    }
}
