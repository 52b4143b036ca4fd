//! What customers do, and how the shop does it for them.

use super::{
    call::{Endpoint, Protocol},
    chance::Chance,
    handler::Handler,
    incident::{FAILING_CHARGES, FRAUD_CHECK_US, SLOW_FRAUD_CHECK_US},
    landscape::Service,
    outside::{CATALOG_DB, INVENTORY_DB, ORDERS_DB, ORDERS_PLACED, Query, SEARCH_INDEX, USERS_DB},
};

/// What a customer does next.
pub(super) fn next(chance: &mut Chance) -> &'static Endpoint {
    match chance.below(100) {
        0..42 => &BROWSE,
        42..66 => &SEARCH,
        66..80 => &ADD_TO_CART,
        80..93 => &CHECKOUT,
        _ => &LOGIN,
    }
}

const fn http(
    service: Service,
    method: &'static str,
    route: &'static str,
    serve: fn(&mut Handler<'_, '_>) -> u16,
) -> Endpoint {
    Endpoint { service, protocol: Protocol::Http(method), route, serve }
}

const fn grpc(service: Service, route: &'static str, serve: fn(&mut Handler<'_, '_>) -> u16) -> Endpoint {
    Endpoint { service, protocol: Protocol::Grpc, route, serve }
}

/// A gateway's answer when what it called answered this: a failure below is a bad gateway, the rest is passed on.
fn relay(status: u16) -> u16 {
    if status == 500 { 502 } else { status }
}

// The web frontend: renders pages, calls only the gateway.
static BROWSE: Endpoint = http(Service::WebFrontend, "GET", "/products/{product_id}", |h| {
    let (product, _) = h.both(|h| h.call(&GATEWAY_PRODUCT), |h| h.call(&GATEWAY_RECOMMENDATIONS));
    h.work(4_000);
    relay(product)
});
static SEARCH: Endpoint = http(Service::WebFrontend, "GET", "/search", |h| {
    let status = h.call(&GATEWAY_SEARCH);
    h.work(3_000);
    relay(status)
});
static ADD_TO_CART: Endpoint = http(Service::WebFrontend, "POST", "/cart", |h| relay(h.call(&GATEWAY_CART)));
static CHECKOUT: Endpoint =
    http(Service::WebFrontend, "POST", "/checkout", |h| relay(h.call(&GATEWAY_CHECKOUT)));
static LOGIN: Endpoint = http(Service::WebFrontend, "POST", "/login", |h| relay(h.call(&GATEWAY_LOGIN)));

// The API gateway: finds the service that knows.
static GATEWAY_PRODUCT: Endpoint =
    http(Service::ApiGateway, "GET", "/v1/products/{product_id}", |h| relay(h.call(&PRODUCT)));
static GATEWAY_RECOMMENDATIONS: Endpoint = http(
    Service::ApiGateway,
    "GET",
    "/v1/products/{product_id}/recommendations",
    // A page without recommendations is still a page.
    |h| if h.call(&RECOMMENDATIONS) < 400 { 200 } else { 204 },
);
static GATEWAY_SEARCH: Endpoint =
    http(Service::ApiGateway, "GET", "/v1/search", |h| relay(h.call(&SEARCH_PRODUCTS)));
static GATEWAY_CART: Endpoint =
    http(Service::ApiGateway, "POST", "/v1/cart/items", |h| relay(h.call(&CART_ADD)));
static GATEWAY_CHECKOUT: Endpoint =
    http(Service::ApiGateway, "POST", "/v1/checkout", |h| match h.call(&SESSION_CHECK) {
        200 => relay(h.call(&PLACE_ORDER)),
        refused => relay(refused),
    });
static GATEWAY_LOGIN: Endpoint =
    http(Service::ApiGateway, "POST", "/v1/login", |h| relay(h.call(&SESSION_CREATE)));

// Catalog.
static PRODUCT: Endpoint = http(Service::Catalog, "GET", "/v1/products/{product_id}", |h| {
    if h.request.chance.happens(0.004) {
        return 404;
    }
    product(h);
    match h.call(&STOCK) {
        500.. => 502,
        _ => 200,
    }
});
static PRODUCTS: Endpoint = grpc(Service::Catalog, "shop.catalog.v1.Catalog/GetProducts", |h| {
    product(h);
    200
});

/// From the cache, or from the database and then into the cache.
fn product(h: &mut Handler<'_, '_>) {
    let key = format!("product:{}", h.request.product);
    h.cache("GET", &key);
    if h.request.chance.happens(0.18) {
        h.query(
            &CATALOG_DB,
            &Query {
                operation: "find",
                collection: "products",
                text: r#"{"find":"products","filter":{"_id":"?"}}"#,
                median_us: 4_500,
            },
        );
        h.cache("SETEX", &key);
    }
    h.work(600);
}

// Search.
static SEARCH_PRODUCTS: Endpoint = http(Service::Search, "GET", "/v1/search", |h| {
    h.query(
        &SEARCH_INDEX,
        &Query {
            operation: "search",
            collection: "products",
            text: r#"{"query":{"match":{"title":"?"}},"size":24}"#,
            median_us: 18_000,
        },
    );
    h.inside("rank results", |h| {
        h.work(5_000);
        true
    });
    if h.call(&PRODUCTS) < 400 { 200 } else { 502 }
});

// Recommendations.
static RECOMMENDATIONS: Endpoint =
    grpc(Service::Recommendations, "shop.recommendations.v1.Recommendations/ListFor", |h| {
        let key = format!("also-bought:{}", h.request.product);
        h.cache("ZRANGE", &key);
        h.inside("score candidates", |h| {
            h.work(9_000);
            true
        });
        if h.call(&PRODUCTS) < 400 { 200 } else { 503 }
    });

// Inventory.
static STOCK: Endpoint = http(Service::Inventory, "GET", "/v1/stock/{product_id}", |h| {
    h.query(
        &INVENTORY_DB,
        &Query {
            operation: "SELECT",
            collection: "stock",
            text: "SELECT on_hand, reserved FROM stock WHERE product_id = $1",
            median_us: 1_700,
        },
    );
    200
});
static RESERVE: Endpoint = http(Service::Inventory, "POST", "/v1/reservations", |h| {
    h.query(
        &INVENTORY_DB,
        &Query {
            operation: "UPDATE",
            collection: "stock",
            text: "UPDATE stock SET reserved = reserved + $2 WHERE product_id = $1 AND on_hand - reserved >= $2",
            median_us: 5_200,
        },
    );
    if h.request.chance.happens(0.01) { 409 } else { 201 }
});
static DISPATCH: Endpoint = http(Service::Inventory, "PUT", "/v1/dispatches/{order_id}", |h| {
    h.query(
        &INVENTORY_DB,
        &Query {
            operation: "UPDATE",
            collection: "stock",
            text: "UPDATE stock SET on_hand = on_hand - $2, reserved = reserved - $2 WHERE product_id = $1",
            median_us: 4_000,
        },
    );
    201
});

// Cart.
static CART_ADD: Endpoint = http(Service::Cart, "POST", "/v1/carts/{user_id}/items", |h| {
    match h.call(&PRODUCT) {
        200 => {}
        404 => return 404,
        _ => return 502,
    }
    let key = format!("cart:{}", h.request.user);
    h.cache("HSET", &key);
    h.cache("EXPIRE", &key);
    201
});
static CART_READ: Endpoint = http(Service::Cart, "GET", "/v1/carts/{user_id}", |h| {
    let key = format!("cart:{}", h.request.user);
    h.cache("HGETALL", &key);
    200
});

// Checkout: the longest way through the shop.
static PLACE_ORDER: Endpoint = http(Service::Checkout, "POST", "/v1/checkout", |h| {
    if h.call(&CART_READ) != 200 {
        return 502;
    }
    h.inside("price the basket", |h| {
        h.work(2_500);
        true
    });
    match h.call(&RESERVE) {
        201 => {}
        409 => return 409,
        _ => return 502,
    }
    match h.call(&CHARGE) {
        201 => {}
        402 => return 402,
        status => {
            h.exception("PaymentUnavailable", format!("payments answered {status}"));
            return 502;
        }
    }
    if h.call(&ORDER_CREATE) == 201 { 201 } else { 502 }
});

// Payments: the service that turns slow.
static CHARGE: Endpoint = http(Service::Payments, "POST", "/v1/charges", |h| {
    let unwell = h.request.payments_unwell(h.now_ns);
    let checked = h.inside("fraud check", |h| {
        h.work(if unwell { SLOW_FRAUD_CHECK_US } else { FRAUD_CHECK_US });
        if unwell && h.request.chance.happens(FAILING_CHARGES) {
            h.exception("FraudModelTimeout", "no worker of the fraud model became free in time");
            return false;
        }
        true
    });
    if !checked {
        return 503;
    }
    match h.provider() {
        201 => 201,
        402 => 402,
        _ => 502,
    }
});

// Orders, and what an order sets in motion.
static ORDER_CREATE: Endpoint = http(Service::Orders, "POST", "/v1/orders", |h| {
    h.query(
        &ORDERS_DB,
        &Query {
            operation: "INSERT",
            collection: "orders",
            text: "INSERT INTO orders (id, user_id, total_cents, state) VALUES ($1, $2, $3, 'paid')",
            median_us: 6_000,
        },
    );
    let message = h.publish(ORDERS_PLACED);
    h.deliver(Service::Shipping, ORDERS_PLACED, message.clone(), true, ship);
    h.deliver(Service::Recommendations, ORDERS_PLACED, message, false, learn);
    201
});
fn ship(h: &mut Handler<'_, '_>) -> bool {
    let address = h.call(&ADDRESS);
    h.inside("plan the route", |h| {
        h.work(14_000);
        true
    });
    address < 400 && h.call(&DISPATCH) < 400
}

fn learn(h: &mut Handler<'_, '_>) -> bool {
    let key = format!("also-bought:{}", h.request.product);
    h.cache("ZINCRBY", &key);
    true
}

// Users.
static SESSION_CREATE: Endpoint = http(Service::Users, "POST", "/v1/sessions", |h| {
    h.query(&USERS_DB, &select_user("SELECT id, password_hash FROM users WHERE email = $1"));
    h.inside("verify password", |h| {
        h.work(38_000);
        true
    });
    if h.request.chance.happens(0.03) {
        return 401;
    }
    let key = format!("session:{}", h.request.user);
    h.cache("SETEX", &key);
    201
});
static SESSION_CHECK: Endpoint = http(Service::Users, "GET", "/v1/sessions/current", |h| {
    let key = format!("session:{}", h.request.user);
    h.cache("GET", &key);
    200
});
static ADDRESS: Endpoint = http(Service::Users, "GET", "/v1/users/{user_id}/address", |h| {
    h.query(&USERS_DB, &select_user("SELECT street, city, country FROM users WHERE id = $1"));
    200
});

fn select_user(text: &'static str) -> Query {
    Query { operation: "SELECT", collection: "users", text, median_us: 2_400 }
}
