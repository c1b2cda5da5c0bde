//! How `[guards]` is checked.

use toml::Spanned;

use super::written::{GuardsFile, LimitFile};
use super::{Checked, Reader};
use crate::config::{Guards, Limit};

impl Reader<'_> {
    pub(super) fn guards(&self, file: GuardsFile) -> Checked<Guards> {
        let GuardsFile {
            deactivate,
            delete,
            change_email,
        } = file;
        let default = Guards::default();
        let limit = |file: Option<Spanned<LimitFile>>, default: Limit| match file {
            None => Ok(default),
            Some(file) => {
                let span = file.span();
                let LimitFile {
                    always,
                    percent,
                    at_most,
                } = file.into_inner();
                if percent.is_some_and(|percent| !(0.0..=100.0).contains(&percent)) {
                    return self.refuse(span, "`percent` is from 0 to 100");
                }
                if percent.is_none() && at_most.is_none() {
                    return self.refuse(
                        span,
                        "give `percent`, `at_most` or both: `always` alone sets no limit (percent = 100 lets everything through)",
                    );
                }
                Ok(Limit {
                    always,
                    percent,
                    at_most,
                })
            }
        };
        Ok(Guards {
            deactivate: limit(deactivate, default.deactivate)?,
            delete: limit(delete, default.delete)?,
            change_email: limit(change_email, default.change_email)?,
        })
    }
}
