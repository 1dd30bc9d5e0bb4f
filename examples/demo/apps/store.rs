//! The store's backend: a catalogue, a cart and the orders of each user, and all orders for an administrator.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{any, get};
use axum::{Json, Router};
use portcullis::system::clock::{Clock, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Problem;
use super::identity::Identity;
use super::store_data::{PRODUCTS, Product};

const MAX_QUANTITY: u32 = 20;
const MAX_ORDERS: usize = 200;

#[derive(Debug, Default)]
struct Store {
    carts: HashMap<String, BTreeMap<&'static str, u32>>,
    orders: Vec<Order>,
    last_number: u32,
}

#[derive(Debug, Clone, Serialize)]
struct Order {
    number: u32,
    #[serde(skip)]
    user_id: String,
    customer: String,
    /// Seconds since the Unix epoch.
    placed_at: u64,
    lines: Vec<Line>,
    total_cents: u32,
}

#[derive(Debug, Clone, Serialize)]
struct Line {
    product: &'static str,
    name: &'static str,
    quantity: u32,
    price_cents: u32,
}

#[derive(Debug, Deserialize)]
struct Item {
    product: String,
    quantity: u32,
}

#[derive(Debug, Deserialize)]
struct Which {
    product: Option<String>,
}

type Shared = Arc<Mutex<Store>>;

/// The store's API.
pub(crate) fn router() -> Router {
    let store = Store { last_number: 1041, ..Store::default() };
    Router::new()
        .route("/api/products", get(|| async { Json(json!({ "products": PRODUCTS })) }))
        .route("/api/shopping-cart", get(show_cart).post(put_into_cart).delete(empty_cart))
        .route("/api/orders", get(show_orders).post(check_out))
        .route("/api/admin/orders", get(show_all_orders))
        .route("/api/{*rest}", any(|| async { Problem::not_found("there is nothing here") }))
        .with_state(Arc::new(Mutex::new(store)))
}

async fn show_cart(State(store): State<Shared>, user: Identity) -> Json<Value> {
    Json(cart_of(&lock(&store), &user))
}

/// Sets the quantity of one product; 0 takes it out.
async fn put_into_cart(
    State(store): State<Shared>,
    user: Identity,
    Json(item): Json<Item>,
) -> Result<Json<Value>, Problem> {
    let product = find(&item.product).ok_or_else(|| Problem::bad_request("there is no such product"))?;
    if item.quantity > MAX_QUANTITY {
        return Err(Problem::bad_request("at most 20 pieces of one product: they are made by hand"));
    }
    let mut store = lock(&store);
    let cart = store.carts.entry(user.id.clone()).or_default();
    match item.quantity {
        0 => cart.remove(product.id),
        quantity => cart.insert(product.id, quantity),
    };
    Ok(Json(cart_of(&store, &user)))
}

/// Takes one product out, or everything.
async fn empty_cart(State(store): State<Shared>, user: Identity, Query(which): Query<Which>) -> Json<Value> {
    let mut store = lock(&store);
    if let Some(cart) = store.carts.get_mut(&user.id) {
        cart.retain(|id, _| which.product.as_deref().is_some_and(|product| product != *id));
    }
    Json(cart_of(&store, &user))
}

async fn show_orders(State(store): State<Shared>, user: Identity) -> Json<Value> {
    let store = lock(&store);
    let own: Vec<&Order> = store.orders.iter().rev().filter(|order| order.user_id == user.id).collect();
    Json(json!({ "orders": own }))
}

async fn check_out(
    State(store): State<Shared>,
    user: Identity,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut store = lock(&store);
    let lines = lines_of(&store, &user);
    if lines.is_empty() {
        return Err(Problem::new(StatusCode::CONFLICT, "Nothing to order", "the cart is empty"));
    }
    store.last_number += 1;
    let order = Order {
        number: store.last_number,
        user_id: user.id.clone(),
        customer: user.display_name(),
        placed_at: SystemClock.now(),
        total_cents: total(&lines),
        lines,
    };
    store.carts.remove(&user.id);
    if store.orders.len() == MAX_ORDERS {
        store.orders.remove(0);
    }
    store.orders.push(order.clone());
    Ok((StatusCode::CREATED, Json(json!({ "order": order }))))
}

async fn show_all_orders(State(store): State<Shared>, user: Identity) -> Result<Json<Value>, Problem> {
    if !user.has_role("admin") {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Forbidden",
            "only an administrator sees all orders",
        ));
    }
    let store = lock(&store);
    Ok(Json(json!({ "orders": store.orders.iter().rev().collect::<Vec<_>>() })))
}

fn lock(store: &Shared) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

fn find(id: &str) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.id == id)
}

fn lines_of(store: &Store, user: &Identity) -> Vec<Line> {
    let items = store.carts.get(&user.id).into_iter().flatten();
    let lines = items.filter_map(|(id, quantity)| {
        let product = find(id)?;
        Some(Line {
            product: product.id,
            name: product.name,
            quantity: *quantity,
            price_cents: product.price_cents,
        })
    });
    lines.collect()
}

fn total(lines: &[Line]) -> u32 {
    lines.iter().map(|line| line.quantity * line.price_cents).sum()
}

fn cart_of(store: &Store, user: &Identity) -> Value {
    let lines = lines_of(store, user);
    json!({ "total_cents": total(&lines), "lines": lines })
}
