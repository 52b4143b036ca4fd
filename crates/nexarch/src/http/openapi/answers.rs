//! What every operation of a kind may answer beside its own: said once, so that no handler can forget it.

use utoipa::{
    Modify,
    openapi::{
        Content, HeaderBuilder, HttpMethod, Object, OpenApi, PathItem, Ref, RefOr, Required, Response,
        SchemaFormat,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::{ObjectBuilder, Type},
        security::SecurityRequirement,
    },
};

/// The tag of what is answered from the cache.
const CACHED: &str = "dashboard";

/// Adds them.
pub(super) struct Answers;

impl Modify for Answers {
    fn modify(&self, openapi: &mut OpenApi) {
        for (path, item) in &mut openapi.paths.paths {
            // OTLP has errors of its own form.
            let otlp = path.starts_with("/v1/");
            for (method, operation) in operations(item) {
                let nothing = SecurityRequirement::default();
                let open = operation.security.as_ref().is_some_and(|needed| needed.contains(&nothing));
                let tagged = |tag: &str| operation.tags.iter().flatten().any(|own| own == tag);
                let takes_body = tagged("ingest") && method == HttpMethod::Post;
                let cached = tagged(CACHED);
                // Says all of its own.
                if tagged("admin") {
                    continue;
                }
                answer(operation, "400", "What is wrong with the request.", otlp);
                if !open {
                    answer(operation, "401", "No API key, or one that is unknown, expired or revoked.", otlp);
                    answer(
                        operation,
                        "403",
                        "The API key has not the scope, or the tenant is disabled.",
                        otlp,
                    );
                    answer(operation, "429", "Too much now; `Retry-After` says when to come back.", otlp);
                    answer(
                        operation,
                        "503",
                        "The database does not answer, or the server is stopping.",
                        otlp,
                    );
                }
                if takes_body {
                    answer(operation, "413", "More than the server takes at once.", otlp);
                    answer(operation, "415", "A content type or encoding that is not known here.", otlp);
                }
                if cached {
                    of_cache(operation);
                }
                if !otlp {
                    fill(operation);
                }
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let methods = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Patch, &mut item.patch),
        (HttpMethod::Delete, &mut item.delete),
    ];
    methods.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// What a cached answer says of itself, in headers.
const LABELS: [(&str, &str); 6] = [
    (
        "Cache-Status",
        "Where the answer comes from (RFC 9211), such as `nexarch; hit; detail=memory; ttl=118`.",
    ),
    ("ETag", "Its validator, weak: the same data give the same one on every node."),
    ("Age", "Seconds since it was computed."),
    ("Vary", "`Accept-Encoding, X-API-Key, Authorization`."),
    ("Cache-Control", "`private, no-cache`: ask before it is used again."),
    ("Nexarch-Version", "The newest version that it surely contains."),
];

fn label(operation: &mut Operation) {
    for status in ["200", "304"] {
        let Some(RefOr::T(response)) = operation.responses.responses.get_mut(status) else { continue };
        for (name, description) in LABELS {
            let schema = if matches!(name, "Age" | "Nexarch-Version") { version() } else { text() };
            let header = HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build();
            response.headers.insert(name.to_owned(), RefOr::T(header));
        }
    }
}

fn of_cache(operation: &mut Operation) {
    let unchanged = "What the client has is what it would get.";
    operation.responses.responses.entry("304".to_owned()).or_insert_with(|| Response::new(unchanged).into());
    label(operation);
    answer(operation, "412", "`Nexarch-Min-Version` is newer than the database knows.", false);
    answer(operation, "504", "Not in the cache, and `only-if-cached` was asked for.", false);
    let parameters = operation.parameters.get_or_insert_default();
    parameters.extend([
        header("If-None-Match", "Validators of what the client has; equal to the answer's `ETag`, it is a 304.", text()),
        header(
            "Cache-Control",
            "`no-cache`: computed after the request arrived. `max-stale=N`: may have been overtaken by data at most N \
             seconds ago. `only-if-cached`: nothing is computed.",
            text(),
        ),
        header("Nexarch-Min-Version", "A `Nexarch-Version`: nothing older is answered.", version()),
    ].map(RefOr::T));
}

fn text() -> Object {
    Object::with_type(Type::String)
}

fn version() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::Custom("uint64".to_owned())))
        .minimum(Some(0))
        .build()
}

fn header(name: &str, description: &str, schema: Object) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// An error that the operation does not tell of itself.
fn answer(operation: &mut Operation, status: &str, description: &str, otlp: bool) {
    let response = operation.responses.responses.entry(status.to_owned());
    let RefOr::T(response) = response.or_insert_with(|| Response::new("").into()) else { return };
    if response.description.is_empty() {
        description.clone_into(&mut response.description);
    }
    if otlp && response.content.is_empty() {
        for media_type in ["application/x-protobuf", "application/json"] {
            response.content.insert(media_type.to_owned(), RefOr::T(Content::default()));
        }
    }
}

/// An error without a form of its own has the usual one.
fn fill(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) && response.content.is_empty() {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            response.content.insert("application/problem+json".to_owned(), RefOr::T(problem));
        }
    }
}
