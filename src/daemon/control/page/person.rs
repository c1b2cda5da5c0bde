//! What is known of one person, as `dirsyncd explain` tells it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::html;

use super::super::App;
use super::super::api::look;
use super::history::nobody;
use super::html::{Page, Place, command, link, prose};
use super::{Asked, NoPage, Visitor};
use crate::explain::explain;
use crate::report::explanation_rows;
use crate::snapshot::{LAST_OPERATIONS, Meant};

pub(super) async fn person(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    query: Query<HashMap<String, String>>,
) -> Result<Response, NoPage> {
    let who = Asked::of(query).text("who").to_owned();
    let now = chrono::Utc::now();
    let meant = who.clone();
    let found = look(&app, async move |snapshot| {
        // A run that goes on meanwhile changes what stands there.
        snapshot.stand_still().await?;
        Ok(match snapshot.meant(&meant).await? {
            Meant::One(one) => Ok(snapshot.dossier(one, now).await?),
            Meant::Several(near) | Meant::Nobody(near) => Err(near),
        })
    });
    let (title, status, shown) = match found.await? {
        Err(near) => (
            "Nobody found".to_owned(),
            StatusCode::NOT_FOUND,
            nobody(&who, &near, "/people"),
        ),
        Ok(dossier) => {
            let config = app.state.setup();
            let explained = explain(&config.config, &dossier, LAST_OPERATIONS, now);
            let key = explained.key.as_ref().map_or("", |key| key.as_str());
            let ways = html! {
                p {
                    a href=(link("/history", &[("who", key)])) { "All that was written to the account" }
                    " · "
                    a href=(link("/plan", &[("who", key)])) { "In the plan" }
                }
            };
            let rows = explanation_rows(&explained);
            let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
            for (heading, text) in &rows {
                match groups.last_mut() {
                    Some((_, texts)) if heading.is_empty() => texts.push(text),
                    _ => groups.push((heading, vec![text])),
                }
            }
            let facts = html! {
                dl.facts.wide {
                    @for (heading, texts) in &groups {
                        div {
                            dt { (heading) }
                            @for text in texts {
                                dd {
                                    @match text.strip_prefix("→ ") {
                                        Some(way_out) => (command(way_out)),
                                        None => bdi { (prose(text)) },
                                    }
                                }
                            }
                        }
                    }
                }
                @if !key.is_empty() { (ways) }
            };
            (explained.name.clone(), StatusCode::OK, facts)
        }
    };
    let body = html! {
        form.filter method="get" action="/people" role="search" {
            label for="who" { "Key, e-mail address, user name or DN" }
            input #who type="search" name="who" value=(who);
            button.quiet type="submit" { "Show" }
        }
        (shown)
    };
    let page = Page::of(Some(&visitor), Place::Elsewhere, &title, body);
    Ok(page.response(status))
}
