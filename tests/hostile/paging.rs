//! Pages that break off, repeat, are empty or end in a refusal (RFC 2696, RFC 4511 section 4.1.9).

use crate::host::Host;
use crate::support::scripted::{
    Scripted, Search, Step, page_end, pages, person, reference, referral, result,
};

/// The page with more after it, up to and with its end.
fn ended(mut entries: Vec<Step>, cookie: &[u8]) -> Vec<Step> {
    entries.push(page_end(cookie));
    entries
}

#[test]
fn the_requests_are_what_the_protocol_wants() {
    let host = Host::synced();
    host.server.answers(host.good());
    host.agrees();

    let requests = host.server.requests();

    // Plan and sync, three pages each.
    assert_eq!(requests.len(), 6, "{requests:?}");
    for (request, cookie) in requests.iter().zip([b"".as_slice(), b"1", b"2"]) {
        assert_eq!(request.base, "ou=people,dc=example,dc=org");
        assert_eq!(request.page, Some((5, cookie.to_vec())));
        // An equality match of objectClass (RFC 4511 section 4.5.1).
        assert_eq!(request.filter[0], 0xa3);
        assert!(request.filter.ends_with(b"inetOrgPerson"));
        for asked in ["entryUUID", "mail", "sn"] {
            assert!(request.attributes.iter().any(|name| name == asked));
        }
        assert!(!request.attributes.iter().any(|name| name == "*"));
    }
}

#[test]
fn a_connection_that_closes_makes_the_pull_incomplete() {
    let host = Host::synced();
    let mut cut = host.page(1);
    cut.truncate(2);
    cut.push(Step::Close);
    let first = || ended(host.page(0), b"1");
    let cases = [
        ("before anything", 0, pages(vec![vec![Step::Close]])),
        (
            "between the pages",
            5,
            pages(vec![first(), vec![Step::Close]]),
        ),
        ("in mid-page", 7, pages(vec![first(), cut])),
        (
            "before the last result",
            5,
            pages(vec![[host.page(0), vec![Step::Close]].concat()]),
        ),
    ];
    for (name, entries, search) in cases {
        println!("{name}");
        host.server.answers(search);
        host.refuses(
            1,
            &[
                &format!("stopped answering after {entries} entries"),
                "nothing was changed, the next run tries again",
            ],
        );
    }
    host.recovers();
}

#[test]
fn a_page_that_comes_again_ends_the_pull() {
    let host = Host::synced();
    let first = ended(host.page(0), b"1");
    let second = ended(host.page(1), b"1");
    let only_first = first.clone();
    let cases: [(&str, Search); 2] = [
        ("the first one", Box::new(move |_| only_first.clone())),
        (
            "the second one, with the cookie that 389 Directory Server always gives",
            Box::new(move |request| match request.nth {
                0 => first.clone(),
                _ => second.clone(),
            }),
        ),
    ];
    for (name, search) in cases {
        println!("{name}");
        host.server.answers(search);
        host.refuses(
            1,
            &[
                "the pages of the search below `ou=people,dc=example,dc=org`",
                "go round in a circle",
                "nothing was changed",
            ],
        );
        // A run of plan and one of sync, each with a repeated page and no more.
        assert!(host.server.requests().len() <= 6);
    }
    host.recovers();
}

#[test]
fn a_cookie_that_stays_the_same_is_no_loop_while_the_pages_differ() {
    let host = Host::synced();
    host.server.answers(pages(vec![
        ended(host.page(0), b"0"),
        ended(host.page(1), b"0"),
        ended(host.page(2), b""),
    ]));
    host.agrees();
}

#[test]
fn a_page_without_entries_is_not_the_last_one() {
    let host = Host::synced();
    host.server.answers(pages(vec![
        ended(vec![], b"a"),
        ended(host.page(0), b"b"),
        ended(vec![], b"c"),
        ended(vec![], b"d"),
        ended(host.page(1), b"e"),
        ended(host.page(2), b"f"),
        ended(vec![], b""),
    ]));
    host.agrees();
    // What comes after an empty page may also be missing: that is a departure then, and believed.
    host.server.answers(pages(vec![
        ended(host.page(0), b"a"),
        ended(vec![], b"b"),
        ended(host.page(1), b"c"),
        ended(vec![person(&host.people[10])], b""),
    ]));
    host.run("plan", 0)
        .expect_words(&["Pat Person 11", "no longer in the directory"]);
    host.recovers();
}

#[test]
fn empty_pages_without_an_end_end_the_pull() {
    let host = Host::synced();
    let first = ended(host.page(0), b"1");
    let cases: [(&str, Search); 2] = [
        (
            "one cookie",
            Box::new(move |request| match request.nth {
                0 => first.clone(),
                _ => ended(vec![], b"1"),
            }),
        ),
        (
            "ever new cookies",
            Box::new(|request| ended(vec![], &request.nth.to_be_bytes())),
        ),
    ];
    for (name, search) in cases {
        println!("{name}");
        host.server.answers(search);
        host.refuses(1, &["go round in a circle"]);
    }
    host.recovers();
}

#[test]
fn a_later_page_without_its_control_ends_the_pull() {
    let host = Host::synced();
    let bare = [host.page(1), vec![result(0, "")]].concat();
    host.server
        .answers(pages(vec![ended(host.page(0), b"1"), bare]));
    host.refuses(
        1,
        &[
            "after 10 entries",
            "a page does not say whether it is the last one",
        ],
    );
    host.recovers();
}

#[test]
fn a_server_without_paging_gives_all_at_once() {
    let host = Host::synced();
    let all = [
        host.page(0),
        host.page(1),
        host.page(2),
        vec![result(0, "")],
    ]
    .concat();
    host.server.answers(pages(vec![all]));
    host.agrees();
}

#[test]
fn a_result_that_is_no_success_makes_the_pull_incomplete() {
    let host = Host::synced();
    let limit = "let the bind DN read without a limit";
    let cases = [
        (
            result(4, "too many"),
            "sizeLimitExceeded (4): too many",
            limit,
        ),
        (result(3, ""), "timeLimitExceeded (3)", limit),
        (
            referral("ldap://other.example.org/ou=people,dc=example,dc=org"),
            "referral (10)",
            "name that server in `url`",
        ),
        (
            result(11, "look-through"),
            "adminLimitExceeded (11): look-through",
            limit,
        ),
        (result(51, ""), "busy (51)", "the next run tries again"),
        (
            result(52, "going down"),
            "unavailable (52): going down",
            "the next run tries again",
        ),
        (
            result(53, "no"),
            "unwillingToPerform (53): no",
            "nothing was changed",
        ),
        (
            result(4096, "refresh"),
            "(4096): refresh",
            "nothing was changed",
        ),
    ];
    for (bad, what, advice) in cases {
        println!("{what}");
        for page in [0, 1] {
            let mut some = host.page(page);
            some.truncate(3);
            some.push(bad.clone());
            let mut script = vec![ended(host.page(0), b"1"), some];
            script.drain(..1 - page);
            let entries = 5 * page + 3;
            host.server.answers(pages(script));
            host.refuses(
                1,
                &[
                    "the search below `ou=people,dc=example,dc=org`",
                    &format!("failed after {entries} entries"),
                    what,
                    advice,
                ],
            );
        }
    }
    host.recovers();
}

#[test]
fn a_referral_is_named_with_its_server() {
    let host = Host::synced();
    host.server.answers(pages(vec![vec![referral(
        "ldap://other.example.org/ou=people,dc=example,dc=org",
    )]]));
    host.refuses(1, &["ldap://other.example.org/"]);
}

#[test]
fn a_reference_in_mid_page_suspends_departures_unless_it_is_ignored() {
    let mut host = Host::synced();
    let search = |host: &Host| {
        let mut page = host.page(1);
        page.insert(
            2,
            reference("ldap://other.example.org/ou=else,dc=example,dc=org??sub"),
        );
        pages(vec![
            ended(host.page(0), b"1"),
            ended(page, b"2"),
            ended(vec![person(&host.people[10])], b""),
        ])
    };
    host.server.answers(search(&host));
    for verb in ["plan", "sync"] {
        host.run(verb, 3).expect_words(&[
            "Absences that are not believed (1)",
            "1 parts of the tree are on other servers",
            "ldap://other.example.org/ou=else,dc=example,dc=org",
            "ignore_referrals = true",
        ]);
    }
    host.dirsyncd.set_source("ignore_referrals", "true");
    host.server.answers(search(&host));
    host.run("plan", 0)
        .expect_words(&["Pat Person 11", "no longer in the directory"]);
    host.recovers();
}

#[test]
fn a_server_that_is_away_is_passed_over_before_its_first_entry_and_not_after_it() {
    let mut host = Host::synced();
    let other = Scripted::start();
    other.answers(host.good());
    let urls = format!("[{:?}, {:?}]", host.server.url(), other.url());
    host.dirsyncd.set_source("url", &urls);
    for away in [result(51, ""), result(52, "going down")] {
        host.server.answers(pages(vec![vec![away.clone()]]));
        let before = other.requests().len();
        host.run("plan", 0)
            .expect_words(&["Nothing to do: ", "a server is passed over"]);
        assert!(other.requests().len() > before);

        let mut some = host.page(0);
        some.push(away);
        host.server.answers(pages(vec![some]));
        let before = other.requests().len();
        host.run("plan", 1).expect_words(&["after 5 entries"]);
        assert_eq!(other.requests().len(), before);
    }
    host.server.answers(pages(vec![vec![Step::Close]]));
    host.run("plan", 0)
        .expect_words(&["a server is passed over"]);
    // A limit is no absence: the next server would be the same.
    host.server.answers(pages(vec![vec![result(4, "")]]));
    let before = other.requests().len();
    host.run("plan", 1).expect_words(&["sizeLimitExceeded (4)"]);
    assert_eq!(other.requests().len(), before);
}
