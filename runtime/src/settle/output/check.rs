//! Whether an output is a CloudEvent that can be written.

use std::borrow::Cow;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::manifest::OutputMode;
use crate::outcome::Output;

/// Names that no extension attribute can have.
const TAKEN: [&str; 9] =
    ["data", "datacontenttype", "dataschema", "id", "source", "specversion", "subject", "time", "type"];

/// What is wrong with the event, for its author. What can be filled in may be
/// empty; that is not checked here.
pub(super) fn event(output: &Output, mode: OutputMode) -> Result<(), Cow<'static, str>> {
    if output.ty.is_empty() {
        return Err("its event has no type; set one, such as `shop.order.enriched`".into());
    }
    if let Some(time) = output.time.as_deref().filter(|time| !time.is_empty())
        && OffsetDateTime::parse(time, &Rfc3339).is_err()
    {
        return Err(format!("its time `{time}` is not RFC 3339, such as `2026-01-31T08:30:00Z`").into());
    }
    if mode == OutputMode::Binary && is_event_format(output.datacontenttype.as_deref()) {
        // Whoever reads the record would take its value for the whole event.
        return Err("its data is a CloudEvent itself, which binary mode cannot say; \
                    write `outputMode: structured` into the route"
            .into());
    }
    extensions(&output.extensions)?;
    headers(&output.headers)
}

fn extensions(extensions: &[(String, String)]) -> Result<(), Cow<'static, str>> {
    for (name, _) in extensions {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            return Err(format!("its extension `{name}` is not named in lower-case letters and digits alone").into());
        }
        if TAKEN.contains(&&**name) {
            return Err(format!("its extension `{name}` has the name of an attribute; set that instead").into());
        }
    }
    if extensions.len() > 1 {
        // Sorted, since a guest may return very many.
        let mut names: Vec<&str> = extensions.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("its extension `{}` is there twice", twice[0]).into());
        }
    }
    Ok(())
}

fn headers(headers: &[(String, Option<Vec<u8>>)]) -> Result<(), Cow<'static, str>> {
    for (name, _) in headers {
        if begins_with(name, "ce_") || name.eq_ignore_ascii_case("content-type") {
            return Err(format!("its header `{name}` belongs to the event; set the event's attribute instead").into());
        }
        // librdkafka would cut the name there when the record is read.
        if name.contains('\0') {
            return Err("a NUL stands in the name of one of its headers".into());
        }
    }
    Ok(())
}

/// Whether a record of this content type is read as structured or batched.
fn is_event_format(content_type: Option<&str>) -> bool {
    content_type.is_some_and(|content_type| begins_with(content_type.trim_start(), "application/cloudevents"))
}

/// In any letter case, as readers of Kafka headers look at them.
fn begins_with(text: &str, prefix: &str) -> bool {
    text.as_bytes().get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix.as_bytes()))
}
