//! How the types of the pure crates look in JSON, for the description of the HTTP API.

use gatepost_mail::{Action, Category};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

/// A category.
pub(super) fn category() -> Object {
    one_of(&Category::ALL.map(Category::name))
}

/// A category, or null.
pub(super) fn category_or_null() -> Object {
    let mut object = category();
    object.schema_type = [Type::String, Type::Null].into_iter().collect();
    object.enum_values.get_or_insert_default().push(serde_json::Value::Null);
    object
}

/// An action.
pub(super) fn action() -> Object {
    one_of(&Action::ALL.map(Action::name))
}

/// A direction.
pub(super) fn direction() -> Object {
    one_of(&["inbound", "outbound", "internal"])
}

/// The cause of a fault.
pub(super) fn cause() -> Object {
    one_of(&["timeout", "unavailable", "limit", "bug"])
}

/// The answer to a fault.
pub(super) fn on_fault() -> Object {
    one_of(&["accept", "quarantine", "defer"])
}

fn one_of(names: &[&'static str]) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names.iter().copied())).build()
}

#[cfg(test)]
mod tests {
    use gatepost_mail::{Cause, Direction, OnFault};
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_those_that_are_written() {
        let written = json!([
            Direction::Inbound,
            Direction::Outbound,
            Direction::Internal,
            Cause::Timeout,
            Cause::Unavailable,
            Cause::Limit,
            Cause::Bug,
            OnFault::Accept,
            OnFault::Quarantine,
            OnFault::Defer
        ]);
        let described = [direction(), cause(), on_fault()];
        let described: Vec<_> =
            described.into_iter().flat_map(|object| object.enum_values.unwrap()).collect();
        assert_eq!(written, json!(described));
        assert_eq!(json!(Category::ALL), json!(category().enum_values));
        assert_eq!(json!(Action::ALL), json!(action().enum_values));
    }
}
