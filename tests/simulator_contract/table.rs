//! The table of requests and answers.

use serde_json::{Value, json};

use crate::world::*;

/// One row: method, path, body, the status expected, and JSON pointers into the answer with what they must hold.
/// In paths and bodies `{u}` is a SCIM user, `{a}` its account, `{g}` and `{s}` groups, `{f}` an account outside
/// of SCIM, `{o}` a group outside of it.
type Row = (
    &'static str,
    &'static str,
    Value,
    u16,
    Vec<(&'static str, Value)>,
);

fn none() -> Value {
    Value::Null
}

fn scim_error(kind: &str) -> Vec<(&'static str, Value)> {
    vec![
        (
            "/schemas/0",
            json!("urn:ietf:params:scim:api:messages:2.0:Error"),
        ),
        ("/scimType", json!(kind)),
    ]
}

#[allow(clippy::too_many_lines, reason = "one table")]
#[rustfmt::skip]
fn rows() -> Vec<Row> {
    let new = || user("new");
    let bad = |changes| with(new(), changes);
    let replace =
        |path: &str, value: Value| patch(json!({"op": "replace", "path": path, "value": value}));
    let group = |name: &str, members: Value| json!({"schemas": [GROUP], "displayName": name, "members": members});
    let long = "x".repeat(256);
    vec![
        // c7: list, one page, ListResponse; c5: resources with the three schemas
        ("GET", "S/Users", none(), 200,
            vec![("/totalResults", json!(1)), ("/startIndex", json!(1)), ("/itemsPerPage", json!(1)),
                ("/Resources/0/schemas", json!([ATLASSIAN, USER, ENTERPRISE])),
                ("/Resources/0/groups/0/display", json!("staff"))]),
        // c7: a single eq on userName or externalId; userName is not case-sensitive (RFC 7643 4.1.1), externalId is
        ("GET", "S/Users?filter=userName%20EQ%20%22ANNA@example.com%22", none(), 200,
            vec![("/totalResults", json!(1))]),
        ("GET", "S/Users?filter=externalId%20eq%20%22key-anna%22", none(), 200, vec![("/totalResults", json!(1))]),
        ("GET", "S/Users?filter=externalId%20eq%20%22KEY-anna%22", none(), 200, vec![("/totalResults", json!(0))]),
        ("GET", "S/Users?filter=displayName%20eq%20%22x%22", none(), 400, scim_error("invalidFilter")),
        ("GET", "S/Users?filter=userName%20sw%20%22x%22", none(), 400, scim_error("invalidFilter")),
        ("GET", "S/Users?filter=userName%20eq%20%22x%22%20and%20active%20eq%20true", none(), 400,
            scim_error("invalidFilter")),
        // RFC 7644 3.4.2.4: count 0 is the total alone, a start below 1 is 1
        ("GET", "S/Users?startIndex=-3&count=0", none(), 200,
            vec![("/totalResults", json!(1)), ("/startIndex", json!(1)), ("/itemsPerPage", json!(0)),
                ("/Resources", json!([]))]),
        ("GET", "S/Users?count=many", none(), 400, scim_error("invalidValue")),
        // c5: attributes xor excludedAttributes; id and schemas always (RFC 7643 3.1)
        ("GET", "S/Users/{u}?attributes=userName,name.givenName", none(), 200,
            vec![("/userName", json!("anna@example.com")), ("/name", json!({"givenName": "Person"})),
                ("/active", none()), ("/schemas/1", json!(USER))]),
        ("GET", "S/Users/{u}?excludedAttributes=emails,id", none(), 200,
            vec![("/emails", none()), ("/active", json!(true))]),
        ("GET", "S/Users/{u}?attributes=id&excludedAttributes=name", none(), 400, scim_error("invalidValue")),
        // c7: 404 is a ScimError with the status as a string
        ("GET", "S/Users/nobody", none(), 404, vec![("/status", json!("404"))]),
        // c7 "POST User": 409; c5: the sample's words
        ("POST", "S/Users", user("anna"), 409,
            vec![("/detail", json!("Resource [USER]: with email[anna@example.com] already exists.")),
                ("/scimType", json!("uniqueness")), ("/status", json!("409"))]),
        ("POST", "S/Users", bad(json!({"userName": "ANNA@Example.com"})), 409,
            vec![("/detail", json!("Resource [USER]: with userName[ANNA@Example.com] already exists."))]),
        // c7: userName, emails (one primary) and schemas are required
        ("POST", "S/Users", bad(json!({"userName": null})), 400, scim_error("invalidValue")),
        ("POST", "S/Users", bad(json!({"userName": ""})), 400, scim_error("invalidValue")),
        ("POST", "S/Users", bad(json!({"schemas": null})), 400, scim_error("invalidValue")),
        ("POST", "S/Users", bad(json!({"schemas": [GROUP]})), 400, scim_error("invalidValue")),
        ("POST", "S/Users", bad(json!({"emails": null})), 400, scim_error("invalidValue")),
        ("POST", "S/Users", bad(json!({"emails": []})), 400, scim_error("invalidValue")),
        ("POST", "S/Users", bad(json!({"emails": [{"value": "a@example.com"}]})), 400, scim_error("invalidValue")),
        ("POST", "S/Users", bad(json!({"emails": [{"value": "a@example.com", "primary": true}, {"value": "b@example.com", "primary": true}]})), 400,
            scim_error("invalidValue")),
        ("POST", "S/Users", bad(json!({"emails": [{"value": "no address", "primary": true}]})), 400,
            scim_error("invalidValue")),
        // c6: on a verified domain
        ("POST", "S/Users", bad(json!({"emails": [{"value": "a@foreign.test", "primary": true}]})), 400,
            vec![("/scimType", json!("invalidValue")),
                ("/detail", json!("The domain [foreign.test] of e-mail [a@foreign.test] is not a verified domain of the organization."))]),
        // RFC 7643 2.3: types
        ("POST", "S/Users", bad(json!({"active": "true"})), 400, scim_error("invalidValue")),
        ("POST", "S/Users", bad(json!({"name": "x"})), 400, scim_error("invalidValue")),
        ("POST", "S/Users", bad(json!({"title": 3})), 400, scim_error("invalidValue")),
        ("POST", "S/Users", bad(json!({"title": long})), 400, scim_error("invalidValue")),
        ("POST", "S/Users", bad(json!({"phoneNumbers": [{"value": "1", "type": "desk"}]})), 400,
            scim_error("invalidValue")),
        ("POST", "S/Users", json!([]), 400, scim_error("invalidSyntax")),
        // RFC 7644 3.3: unknown and read-only attributes are ignored; a missing active is true
        ("POST", "S/Users", bad(json!({"id": "mine", "shoeSize": 44, "active": null})), 201,
            vec![("/active", json!(true)), ("/shoeSize", none()), ("/meta/resourceType", json!("User"))]),
        // c7: PUT is a full replacement
        ("PUT", "S/Users/{u}", with(user("anna"), json!({"displayName": null, "title": "Boss"})), 200,
            vec![("/displayName", none()), ("/title", json!("Boss"))]),
        ("PUT", "S/Users/nobody", user("anna"), 404, vec![]),
        ("PUT", "S/Users/{u}", user("new"), 409, scim_error("uniqueness")),
        // c5, c7: PATCH 200 with the resource
        ("PATCH", "S/Users/{u}", replace("active", json!(false)), 200, vec![("/active", json!(false))]),
        ("PATCH", "S/Users/{u}", replace("active", json!("False")), 400, scim_error("invalidValue")),
        ("PATCH", "S/Users/{u}", replace("active", json!(true)), 200, vec![("/active", json!(true))]),
        ("PATCH", "S/Users/{u}", replace("shoeSize", json!(44)), 400, scim_error("invalidPath")),
        ("PATCH", "S/Users/{u}", replace("id", json!("x")), 400, scim_error("mutability")),
        ("PATCH", "S/Users/{u}", replace("emails[type eq \"home\"].value", json!("x@example.com")), 400,
            scim_error("noTarget")),
        ("PATCH", "S/Users/{u}", patch(json!({"op": "remove"})), 400, scim_error("noTarget")),
        ("PATCH", "S/Users/{u}", patch(json!({"op": "remove", "path": "userName"})), 400, scim_error("mutability")),
        ("PATCH", "S/Users/{u}", patch(json!({"op": "move", "path": "title"})), 400, scim_error("invalidSyntax")),
        ("PATCH", "S/Users/{u}", json!({"Operations": []}), 400, scim_error("invalidValue")),
        // c5: groups
        ("GET", "S/Groups?filter=displayName%20eq%20%22STAFF%22", none(), 200,
            vec![("/totalResults", json!(1)), ("/Resources/0/members/0/type", json!("User"))]),
        ("GET", "S/Groups?filter=externalId%20eq%20%22x%22", none(), 400, scim_error("invalidFilter")),
        ("POST", "S/Groups", group("Staff", json!([])), 409, scim_error("uniqueness")),
        ("POST", "S/Groups", group("others", json!([{"value": "nobody"}])), 400, scim_error("invalidValue")),
        ("POST", "S/Groups", group("", json!([])), 400, scim_error("invalidValue")),
        ("POST", "S/Groups", group("others", json!([])), 201, vec![("/members", json!([]))]),
        // c6: no rename; c7: PUT with unknown users is 400
        ("PUT", "S/Groups/{g}", group("others", json!([])), 400, scim_error("mutability")),
        ("PUT", "S/Groups/{g}", group("staff", json!([{"value": "nobody"}])), 400, scim_error("invalidValue")),
        ("PATCH", "S/Groups/{g}", replace("displayName", json!("other")), 400, scim_error("mutability")),
        ("PATCH", "S/Groups/{g}", patch(json!({"op": "remove", "path": "members[value eq \"{u}\"]"})), 200,
            vec![("/members", json!([]))]),
        ("PATCH", "S/Groups/{g}", patch(json!({"op": "Add", "path": "members", "value": [{"value": "{u}"}, {"value": "{u}"}]})), 200,
            vec![("/members/0/value", json!("{u}")), ("/members/1", none())]),
        ("PATCH", "S/Groups/{g}", patch(json!({"op": "add", "path": "members", "value": [{"value": "nobody"}]})), 400,
            scim_error("invalidValue")),
        ("PATCH", "S/Groups/{g}", patch(json!({"op": "replace", "value": {"displayName": "staff", "members": []}})), 200,
            vec![("/members", json!([]))]),
        ("DELETE", "S/Groups/{g}", none(), 204, vec![]),
        ("GET", "S/Groups/{g}", none(), 404, vec![("/status", json!("404"))]),
        // c5, c7: discovery
        ("GET", "S/ServiceProviderConfig", none(), 200,
            vec![("/patch/supported", json!(true)), ("/bulk/supported", json!(false)),
                ("/filter/maxResults", json!(10_000)), ("/sort/supported", json!(false)),
                ("/etag/supported", json!(false)), ("/changePassword/supported", json!(false))]),
        ("GET", "S/Schemas", none(), 200, vec![("/totalResults", json!(4)), ("/Resources/0/id", json!(USER))]),
        ("GET", "S/Schemas/urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", none(), 200,
            vec![("/attributes/0/name", json!("organization")), ("/attributes/1/name", json!("department")),
                ("/attributes/2", none())]),
        // c5, c7 "samples": the extension of every User; that it is published is a choice
        ("GET", "S/Schemas/urn:scim:schemas:extension:atlassian-external:1.0", none(), 200,
            vec![("/attributes/0/name", json!("atlassianAccountId")), ("/attributes/0/mutability", json!("readOnly"))]),
        ("GET", "S/Schemas/urn:x", none(), 404, vec![("/status", json!("404"))]),
        ("GET", "S/ResourceTypes/User", none(), 200, vec![("/endpoint", json!("/Users")), ("/schema", json!(USER)),
                ("/schemaExtensions/0/schema", json!(ENTERPRISE)), ("/schemaExtensions/1/schema", json!(ATLASSIAN))]),
        ("GET", "S/ResourceTypes", none(), 200, vec![("/totalResults", json!(2))]),
        ("POST", "S/Schemas", json!({}), 405, vec![("/status", json!("405"))]),
        ("GET", "S/Nothing", none(), 404, vec![("/status", json!("404"))]),
        // c4, c7: user management of an account that SCIM owns
        ("GET", "/users/{a}/manage", none(), 200,
            vec![("/email.set", json!({"allowed": false, "reason": {"key": "externalDirectory.scim"}})),
                ("/lifecycle.enablement/allowed", json!(false)), ("/profile/name/allowed", json!(false)),
                ("/lifecycle.delete/allowed", json!(true))]),
        ("GET", "/users/{a}/manage?privileges=lifecycle.delete", none(), 200,
            vec![("", json!({"lifecycle.delete": {"allowed": true}}))]),
        ("GET", "/users/{a}/manage/profile", none(), 200,
            vec![("/account/name", json!("Person anna")), ("/account/account_status", json!("active")),
                ("/account/account_type", json!("atlassian")),
                ("/account/extended_profile/department", json!("Sales")),
                ("/account/extended_profile/job_title", json!("Boss"))]),
        ("PATCH", "/users/{a}/manage/profile", json!({"name": "X"}), 403,
            vec![("/key", json!("forbidden.action")), ("/context/allowed", json!(false)),
                ("/context/reason/key", json!("externalDirectory.scim"))]),
        ("PUT", "/users/{a}/manage/email", json!({"email": "x@example.com"}), 403,
            vec![("/key", json!("forbidden.action"))]),
        ("POST", "/users/{a}/manage/lifecycle/disable", json!({"message": "bye"}), 403,
            vec![("/key", json!("forbidden.action"))]),
        ("POST", "/users/{a}/manage/lifecycle/enable", none(), 403, vec![("/key", json!("forbidden.action"))]),
        // c4, c7: of one that it does not own
        ("GET", "/users/{f}/manage?privileges=email.set,lifecycle.enablement", none(), 200,
            vec![("", json!({"email.set": {"allowed": true}, "lifecycle.enablement": {"allowed": true}}))]),
        ("PATCH", "/users/{f}/manage/profile", json!({"name": "Free", "extended_profile": {"job_title": "Cook"}}), 200,
            vec![("/account/name", json!("Free")), ("/account/extended_profile/job_title", json!("Cook"))]),
        ("PATCH", "/users/{f}/manage/profile", json!({"nickname": "x".repeat(31)}), 400,
            vec![("/key", json!("fieldConstraintsViolated")),
                ("/context/fieldViolations/0/field", json!("nickname"))]),
        ("PATCH", "/users/{f}/manage/profile", json!({"email": "x@example.com"}), 403,
            vec![("/key", json!("forbidden.fieldMutation"))]),
        ("PATCH", "/users/{f}/manage/profile", json!("x"), 400, vec![("/key", json!("bodyParseFailure"))]),
        ("PUT", "/users/{f}/manage/email", json!({"email": "x"}), 400,
            vec![("/context/fieldViolations/0/field", json!("email"))]),
        ("PUT", "/users/{f}/manage/email", json!({"email": "x@foreign.test"}), 403,
            vec![("/key", json!("forbidden.unclaimedDomain")), ("/context/domain", json!("foreign.test"))]),
        ("PUT", "/users/{f}/manage/email", json!({"email": "ANNA@example.com"}), 400,
            vec![("/key", json!("fieldConstraintsViolated"))]),
        ("PUT", "/users/{f}/manage/email", json!({"email": "free2@example.org"}), 204, vec![]),
        ("POST", "/users/{f}/manage/lifecycle/disable", json!({"message": "bye"}), 204, vec![]),
        ("GET", "/users/{f}/manage/profile", none(), 200,
            vec![("/account/account_status", json!("inactive")), ("/account/email", json!("free2@example.org"))]),
        ("POST", "/users/{f}/manage/lifecycle/enable", none(), 204, vec![]),
        // c7: 404 and 409 keys
        ("GET", "/users/557058:nobody/manage", none(), 404, vec![("/key", json!("accountNotFound"))]),
        ("GET", "/users/{f}/manage/nothing", none(), 404, vec![("/key", json!("notFound"))]),
        ("POST", "/users/{f}/manage/lifecycle/cancel-delete", none(), 409,
            vec![("/key", json!("conflict.lifecycleErrors")), ("/context/accountId", json!("{f}")),
                ("/context/errorCodes/0/code", json!("account.deletionNotPending"))]),
        // c3, c7: organizations
        ("GET", "/admin/v1/orgs", none(), 200,
            vec![("/data/0/type", json!("orgs")), ("/data/0/attributes/name", json!("Simulated organization"))]),
        ("GET", "O", none(), 200, vec![("/data/type", json!("orgs"))]),
        ("GET", "O/users", none(), 200,
            vec![("/meta/total", json!(3)), ("/data/0/account_id", json!("{a}")),
                ("/data/0/account_status", json!("active")), ("/data/0/account_type", json!("atlassian")),
                ("/links/next", none())]),
        ("GET", "O/users?cursor=nonsense", none(), 400, vec![("/errors/0/status", json!("400"))]),
        ("GET", "O/domains", none(), 200,
            vec![("/data/0/type", json!("domains")),
                ("/data/0/attributes", json!({"name": "example.com", "claim": {"type": "dns", "status": "verified"}}))]),
        ("GET", "O/domains/nothing", none(), 404, vec![("/errors/0/status", json!("404"))]),
        ("GET", "/admin/v1/orgs/other/users", none(), 404, vec![("/errors/0/status", json!("404"))]),
        ("GET", "/elsewhere", none(), 404, vec![]),
        // c3, c7: users of the directory; the names of fields are jira.js's (c3 [JJS])
        ("GET", "D/users", none(), 200,
            vec![("/data/0/accountId", json!("{a}")), ("/data/0/managementSource", json!("synced")),
                ("/data/0/claimStatus", json!("managed")), ("/data/0/jobTitle", json!("Boss")),
                ("/data/1/accountId", json!("{f}")), ("/data/1/managementSource", json!("invited")),
                ("/data/1/accountStatus", json!("active")), ("/data/1/membershipStatus", json!("active")),
                ("/links/next", none())]),
        // c3: `-` is all directories
        ("GET", "V/directories/-/users?limit=1", none(), 200, vec![("/data/0/accountId", json!("{a}")), ("/data/1", none())]),
        ("GET", "V/directories/other/users", none(), 404, vec![("/errors/0/status", json!("404"))]),
        ("GET", "D/users?accountIds={f},{a}&searchTerm=FREE", none(), 200,
            vec![("/data/0/accountId", json!("{f}")), ("/data/1", none())]),
        ("GET", "D/users?accountStatus=inactive", none(), 200, vec![("/data", json!([]))]),
        ("GET", "D/users?emailDomains=example.org&status=active", none(), 200,
            vec![("/data/0/email", json!("free2@example.org")), ("/data/1", none())]),
        ("GET", "D/users?groupIds={s}", none(), 200, vec![("/data/0/accountId", json!("{a}")), ("/data/1", none())]),
        ("GET", "D/users?claimStatus=unmanaged", none(), 200, vec![("/data", json!([]))]),
        ("GET", "D/users?directoryIds=other", none(), 200, vec![("/data", json!([]))]),
        ("GET", "D/users?cursor=nonsense", none(), 400, vec![("/errors/0/status", json!("400"))]),
        ("GET", "D/users?limit=0", none(), 400, vec![]),
        ("GET", "D/users?limit=101", none(), 400, vec![]),
        // not modelled, so not answered as if it were
        ("GET", "D/users?mfaEnabled=true", none(), 400, vec![]),
        ("GET", "D/users/{f}", none(), 200, vec![("/data/name", json!("Free")), ("/data/status", json!("active"))]),
        ("GET", "D/users/557058:nobody", none(), 404, vec![]),
        ("GET", "D/users/count", none(), 200, vec![("", json!({"count": 3}))]),
        ("GET", "V/directories/-/users/count?accountIds={f}", none(), 200, vec![("/count", json!(1))]),
        // c3, c7: groups; one namespace with SCIM's (c7 "POST group 409 on same name in the organization")
        ("POST", "D/groups", json!({"name": "guild", "description": "A guild"}), 201, vec![("", none())]),
        ("POST", "D/groups", json!({"name": "GUILD"}), 409, vec![("/errors/0/code", json!("CONFLICT"))]),
        ("POST", "D/groups", json!({"name": "Synced"}), 409, vec![]),
        ("POST", "S/Groups", group("Guild", json!([])), 409, scim_error("uniqueness")),
        ("POST", "D/groups", json!({"description": "x"}), 400, vec![]),
        ("POST", "D/groups", json!({"name": " "}), 400, vec![]),
        ("GET", "D/groups?searchTerm=GUI", none(), 200,
            vec![("/data/0/name", json!("guild")), ("/data/0/description", json!("A guild")), ("/data/1", none())]),
        ("GET", "D/groups?groupIds={o},{s}", none(), 200,
            vec![("/data/0/name", json!("synced")), ("/data/0/externalSynced", json!(true)),
                ("/data/0/counts/users", json!(1)), ("/data/1/externalSynced", json!(false)), ("/data/2", none())]),
        ("GET", "V/directories/-/groups/{o}", none(), 200,
            vec![("/data/name", json!("crew")), ("/data/managementAccess/modifiable", json!(true))]),
        ("GET", "S/Groups/{o}", none(), 404, vec![]),
        ("GET", "S/Groups?filter=displayName%20eq%20%22crew%22", none(), 200, vec![("/totalResults", json!(0))]),
        // c3, c7: memberships; c6: not of groups that an identity provider owns
        ("POST", "D/groups/{o}/memberships", json!({"accountId": "{f}"}), 204, vec![]),
        ("POST", "D/groups/{o}/memberships", json!({"accountId": "{f}"}), 409, vec![]),
        ("POST", "D/groups/{o}/memberships", json!({"accountId": "{a}"}), 204, vec![]),
        ("POST", "D/groups/{o}/memberships", json!({"accountId": "557058:nobody"}), 404, vec![]),
        ("POST", "D/groups/{o}/memberships", json!({}), 400, vec![]),
        ("POST", "D/groups/nothing/memberships", json!({"accountId": "{f}"}), 404, vec![]),
        ("POST", "D/groups/{s}/memberships", json!({"accountId": "{f}"}), 403, vec![("/errors/0/status", json!("403"))]),
        ("DELETE", "D/groups/{s}/memberships/{a}", none(), 403, vec![]),
        ("DELETE", "D/groups/{s}", none(), 403, vec![]),
        ("GET", "D/groups?accountIds={f}", none(), 200, vec![("/data/0/counts/users", json!(2)), ("/data/1", none())]),
        ("DELETE", "D/groups/{o}/memberships/{a}", none(), 204, vec![]),
        ("DELETE", "D/groups/{o}/memberships/{a}", none(), 404, vec![]),
        // c3: suspended, the account is active and the groups stay; an account of SCIM is not for this API
        ("POST", "D/users/{f}/suspend", none(), 204, vec![]),
        ("GET", "D/users/{f}", none(), 200,
            vec![("/data/status", json!("suspended")), ("/data/membershipStatus", json!("suspended")),
                ("/data/accountStatus", json!("active"))]),
        ("GET", "D/users?membershipStatus=suspended", none(), 200, vec![("/data/0/accountId", json!("{f}")), ("/data/1", none())]),
        ("POST", "D/users/{f}/restore", none(), 204, vec![]),
        ("GET", "D/users?groupIds={o}&status=active", none(), 200, vec![("/data/0/accountId", json!("{f}"))]),
        ("POST", "D/users/{a}/suspend", none(), 403, vec![]),
        ("DELETE", "D/users/{a}", none(), 403, vec![]),
        ("POST", "D/users/557058:nobody/restore", none(), 404, vec![]),
        ("POST", "V/directories/-/users/{f}/suspend", none(), 404, vec![]),
        // c3: removed from the directory and its groups, and still a managed account ("stay visible")
        ("DELETE", "D/users/{f}", none(), 204, vec![]),
        ("DELETE", "D/users/{f}", none(), 404, vec![]),
        ("GET", "D/users/{f}", none(), 404, vec![]),
        ("GET", "D/groups/{o}", none(), 200, vec![("/data/counts/users", json!(0))]),
        ("POST", "D/groups/{o}/memberships", json!({"accountId": "{f}"}), 400, vec![]),
        ("GET", "O/users", none(), 200, vec![("/meta/total", json!(3)), ("/data/1/account_status", json!("active"))]),
        ("GET", "D/users?claimStatus=managed&accountIds={f}", none(), 200,
            vec![("/data/0/membershipStatus", json!("no_membership")), ("/data/0/status", json!("not_invited"))]),
        // c3, c7: invited back; new ones on verified domains; 206 when some could not be
        ("POST", "V/users/invite", json!({"emails": ["FREE2@example.org"], "additionalGroups": ["{o}"]}), 200,
            vec![("/data/0/accountId", json!("{f}"))]),
        ("GET", "D/users/{f}", none(), 200, vec![("/data/status", json!("active"))]),
        ("GET", "D/groups/{o}", none(), 200, vec![("/data/counts/users", json!(1))]),
        ("POST", "V/users/invite", json!({"emails": ["guest@example.com", "x@foreign.test"]}), 206,
            vec![("/data/0/error", none()), ("/data/1/accountId", none())]),
        ("GET", "O/users", none(), 200, vec![("/meta/total", json!(4)), ("/data/3/email", json!("guest@example.com")),
            ("/data/3/account_status", json!("active"))]),
        ("POST", "V/users/invite", json!({"emails": ["x@foreign.test", "no address"]}), 400, vec![]),
        ("POST", "V/users/invite", json!({"emails": []}), 400, vec![]),
        ("POST", "V/users/invite", json!({"emails": "a@example.com"}), 400, vec![]),
        ("POST", "V/users/invite", json!({"emails": ["y@example.com"], "additionalGroups": ["nothing"]}), 404, vec![]),
        ("DELETE", "D/groups/{o}", none(), 204, vec![]),
        ("DELETE", "D/groups/{o}", none(), 404, vec![]),
        // c3 [GOA]
        ("GET", "O/directory/users/{f}/last-active-dates", none(), 200, vec![("/data/product_access", json!([]))]),
        ("GET", "O/directory/users/557058:nobody/last-active-dates", none(), 404, vec![]),
        // c4, c7: an account that waits for its deletion is neither active nor to be invited
        ("POST", "/users/{f}/manage/lifecycle/delete", none(), 200, vec![]),
        ("GET", "D/users/{f}", none(), 200,
            vec![("/data/status", json!("for_deletion")), ("/data/forDeletion", json!(true)),
                ("/data/accountStatus", json!("inactive"))]),
        ("POST", "V/users/invite", json!({"emails": ["free2@example.org"]}), 400, vec![]),
        // c2, c7: limits
        ("GET", "/_simulator/limits", none(), 200,
            vec![("", json!({"scim": null, "users": null, "orgs": null, "directory": {"users": null, "members": 20_000}}))]),
        ("PUT", "/_simulator/limits", json!({"scim": {"requests": 9, "seconds": 0}}), 400, vec![]),
        ("PUT", "/_simulator/limits", json!({"jira": {"requests": 9, "seconds": 1}}), 400, vec![]),
        ("PUT", "/_simulator/limits", json!({"directory": {"users": 2, "members": 1}}), 200, vec![]),
        ("POST", "S/Users", user("third"), 400,
            vec![("/scimType", json!("invalidValue")),
                ("/detail", json!("The limit of 2 users of the directory is exceeded."))]),
        ("GET", "S/Users", none(), 200, vec![("/totalResults", json!(2))]),
        ("PUT", "/_simulator/limits", json!({"directory": {"members": 0}}), 200, vec![]),
        ("PUT", "S/Groups/{s}", group("synced", json!([{"value": "{u}"}])), 400, scim_error("invalidValue")),
        ("PATCH", "S/Groups/{s}", patch(json!({"op": "add", "path": "members", "value": [{"value": "{u}"}]})), 400,
            scim_error("invalidValue")),
        ("POST", "S/Groups", group("large", json!([{"value": "{u}"}])), 400, scim_error("invalidValue")),
        ("PUT", "/_simulator/limits", json!({}), 200, vec![("/directory/members", json!(20_000))]),
        ("POST", "S/Groups", group("large", json!([{"value": "{u}"}])), 201, vec![]),
    ]
}

#[tokio::test]
async fn contract_table() {
    let world = World::new().await;
    let anna = world.create("anna").await;
    let members = json!([{"value": id(&anna)}]);
    let group = json!({"schemas": [GROUP], "displayName": "staff", "members": members});
    let group = world.ask("POST", "S/Groups", group, 201).await;
    let seeds = json!([{"email": "free@example.com", "name": "Free"}]);
    let free = world.ask("POST", "/_simulator/accounts", seeds, 201).await;
    let free = free[0]["account_id"].as_str().unwrap().to_owned();
    let synced =
        json!({"schemas": [GROUP], "displayName": "synced", "members": [{"value": id(&anna)}]});
    let synced = id(&world.ask("POST", "S/Groups", synced, 201).await);
    world
        .ask("POST", "D/groups", json!({"name": "crew"}), 201)
        .await;
    let crew = id(&world.get("D/groups?searchTerm=crew").await["data"][0]);
    let fill = |text: &str| {
        let text = text
            .replace("{u}", &id(&anna))
            .replace("{a}", &account(&anna));
        text.replace("{g}", &id(&group))
            .replace("{f}", &free)
            .replace("{s}", &synced)
            .replace("{o}", &crew)
    };
    for (method, path, body, expected, checks) in rows() {
        let body: Value = serde_json::from_str(&fill(&body.to_string())).unwrap();
        let (status, answer) = world.send(method, &fill(path), body.clone()).await;
        assert_eq!(status, expected, "{method} {path} {body}\n-> {answer}");
        for (pointer, value) in checks {
            let value: Value = serde_json::from_str(&fill(&value.to_string())).unwrap();
            let found = answer.pointer(pointer).unwrap_or(&Value::Null);
            assert_eq!(
                found, &value,
                "{method} {path} {body} at {pointer}\n-> {answer}"
            );
        }
    }
}
