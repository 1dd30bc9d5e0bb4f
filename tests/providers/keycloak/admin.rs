//! Keycloak's admin API: a realm for each test, from one of `realms/`.

use std::fs;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Provider, form, request};

/// A realm of a running Keycloak.
pub(super) struct Realm {
    base: String,
    /// Its name.
    pub(super) name: String,
}

impl Realm {
    /// Makes the realm `name` after `realms/TEMPLATE-realm.json`, with `change` applied to it first.
    pub(super) async fn create(
        provider: &Provider,
        name: &str,
        template: &str,
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let file = format!("tests/providers/keycloak/realms/{template}-realm.json");
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let text = text.replace(&format!("default-roles-{template}"), &format!("default-roles-{name}"));
        let mut realm: Value = serde_json::from_str(&text).unwrap();
        realm["realm"] = json!(name);
        change(&mut realm);
        let created = Self { base: provider.base(), name: name.to_owned() };
        created.admin(Method::POST, "", Some(&realm)).await;
        created
    }

    /// Its issuer.
    pub(super) fn issuer(&self) -> String {
        format!("{}/realms/{}", self.base, self.name)
    }

    /// One of its clients.
    pub(super) fn client(&self, id: &str) -> Client {
        let endpoints = format!("{}/protocol/openid-connect", self.issuer());
        Client {
            token_endpoint: format!("{endpoints}/token"),
            revocation_endpoint: format!("{endpoints}/revoke"),
            id: id.to_owned(),
            secret: format!("{id}-secret-0123456789"),
        }
    }

    /// A call below this realm.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        self.admin(method, &format!("/{}{path}", self.name), body).await
    }

    /// The id of a user.
    pub(super) async fn user_id(&self, username: &str) -> String {
        let found = self.call(Method::GET, &format!("/users?username={username}&exact=true"), None).await;
        found[0]["id"].as_str().unwrap().to_owned()
    }

    /// Says where a client wants to hear of ended sessions.
    pub(super) async fn set_backchannel_logout_url(&self, client_id: &str, url: &str) {
        let found = self.call(Method::GET, &format!("/clients?clientId={client_id}"), None).await;
        let mut client = found[0].clone();
        client["attributes"]["backchannel.logout.url"] = json!(url);
        client["attributes"]["backchannel.logout.session.required"] = json!("true");
        let path = format!("/clients/{}", client["id"].as_str().unwrap());
        self.call(Method::PUT, &path, Some(&client)).await;
    }

    /// Disables a user or enables one again.
    pub(super) async fn set_enabled(&self, username: &str, enabled: bool) {
        let path = format!("/users/{}", self.user_id(username).await);
        self.call(Method::PUT, &path, Some(&json!({ "enabled": enabled }))).await;
    }

    /// Adds a signing key that takes over at once.
    pub(super) async fn rotate_key(&self) {
        let key = json!({
            "name": "rotated", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
            "config": { "priority": ["200"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"], "keySize": ["2048"] },
        });
        self.call(Method::POST, "/components", Some(&key)).await;
    }

    async fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let authorization = format!("Bearer {}", self.admin_token().await);
        let url = format!("{}/admin/realms{path}", self.base);
        request(method, &url, Some(("authorization", &authorization)), body).await
    }

    async fn admin_token(&self) -> String {
        let body = form(&[
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", "admin"),
            ("password", "admin"),
        ]);
        let answer = reqwest::Client::builder()
            .build()
            .unwrap()
            .post(format!("{}/realms/master/protocol/openid-connect/token", self.base))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .expect("an answer of Keycloak");
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        answer["access_token"].as_str().expect("the admin's token").to_owned()
    }
}

/// The client of this id in a realm's JSON.
pub(super) fn client_of<'a>(realm: &'a mut Value, id: &str) -> &'a mut Value {
    realm["clients"].as_array_mut().unwrap().iter_mut().find(|client| client["clientId"] == id).unwrap()
}

/// The user of this name in a realm's JSON.
pub(super) fn user_of<'a>(realm: &'a mut Value, name: &str) -> &'a mut Value {
    realm["users"].as_array_mut().unwrap().iter_mut().find(|user| user["username"] == name).unwrap()
}
