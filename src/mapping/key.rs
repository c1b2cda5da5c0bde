//! The immutable key in its usual text form.

use super::Problem;
use crate::model::{Entry, ExternalId};

/// The key of the entry to which the server gives this 16-byte id: for the attributes that hold
/// that id. 389 Directory Server writes it in four groups of eight digits.
pub fn key_of_id(attribute: &str, id: [u8; 16]) -> Option<ExternalId> {
    let text = match attribute.to_ascii_lowercase().as_str() {
        "entryuuid" => uuid::Uuid::from_bytes(id).to_string(),
        "objectguid" => uuid::Uuid::from_bytes_le(id).to_string(),
        "nsuniqueid" => {
            let [a, b, c, d] = [0, 4, 8, 12].map(|at| {
                let mut group = [0; 4];
                group.copy_from_slice(&id[at..at + 4]);
                u32::from_be_bytes(group)
            });
            format!("{a:08x}-{b:08x}-{c:08x}-{d:08x}")
        }
        _ => return None,
    };
    Some(ExternalId::new(text))
}

/// Reads the key attribute of an entry.
pub(super) fn read(entry: &Entry, attribute: &str) -> Result<ExternalId, Problem> {
    let bad = |why: String| Problem::BadKey {
        attribute: attribute.to_owned(),
        why,
    };
    let value = match entry.values(attribute) {
        [] => {
            return Err(Problem::NoKey {
                attribute: attribute.to_owned(),
            });
        }
        [value] => value.as_slice(),
        values => {
            return Err(bad(format!(
                "it has {} values, and a key has one",
                values.len()
            )));
        }
    };
    if attribute.eq_ignore_ascii_case("objectGUID") {
        return match <[u8; 16]>::try_from(value) {
            Ok(bytes) => Ok(ExternalId::new(
                uuid::Uuid::from_bytes_le(bytes).to_string(),
            )),
            // LDIF exports by other tools write the text form.
            Err(_) => std::str::from_utf8(value)
                .ok()
                .and_then(|text| uuid::Uuid::parse_str(text.trim()).ok())
                .map(|guid| ExternalId::new(guid.to_string()))
                .ok_or_else(|| {
                    bad(format!(
                        "an objectGUID has 16 bytes, and this has {}",
                        value.len()
                    ))
                }),
        };
    }
    let text = entry.text(attribute)?.unwrap_or_default().trim();
    if text.is_empty() {
        return Err(bad("it is empty".to_owned()));
    }
    if text.len() > 255 || text.chars().any(char::is_control) {
        return Err(bad(
            "it is longer than 255 bytes or holds control characters".to_owned(),
        ));
    }
    // UUIDs are compared without case (RFC 4530 section 2.3): one form for one key.
    Ok(ExternalId::new(text.to_ascii_lowercase()))
}
