//! Lists are exact, whatever their pages do.

use std::sync::Mutex;

use flock_cloudstack::Parameters;
use flock_core::{Context, ErrorKind};
use serde_json::{Value, json};

use crate::support::{Answer, Request, Server};

fn page(items: &[Value], request: &Request) -> Answer {
    let number = |name: &str| request.get(name).parse::<usize>().expect("paged");
    let (page, size) = (number("page"), number("pagesize"));
    let found: Vec<_> = items.iter().skip((page - 1) * size).take(size).cloned().collect();
    match (items.len(), found.is_empty()) {
        (0, _) => Answer::ok(json!({})),
        (count, true) => Answer::ok(json!({"count": count})),
        (count, false) => Answer::ok(json!({"count": count, "thing": found})),
    }
}

fn items(count: usize) -> Vec<Value> {
    (0..count).map(|n| json!({"id": format!("id-{n}"), "name": "same"})).collect()
}

async fn listed(server: &Server) -> Vec<String> {
    let things: Vec<Value> =
        server.client().list(&Context::new(), "listThings", &Parameters::new()).await.unwrap();
    things.iter().map(|thing| thing["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_item_is_listed_once() {
    for (count, pages) in [(0, 1), (1, 1), (499, 1), (500, 1), (501, 2), (1000, 2), (1234, 3)] {
        let all = items(count);
        let server = Server::new(move |_, request| page(&all, request)).await;
        let ids = listed(&server).await;
        assert_eq!(
            ids,
            items(count).iter().map(|i| i["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        );
        assert_eq!(server.requests().len(), pages, "requests for {count} items");
    }
}

#[tokio::test]
async fn smaller_pages_are_found() {
    let all = items(120);
    let server = Server::new(move |_, request| {
        if request.get("pagesize").parse::<usize>().unwrap() > 100 {
            return Answer::error(431, "Page size can't exceed max allowed page size value: 100");
        }
        page(&all, request)
    })
    .await;
    assert_eq!(listed(&server).await.len(), 120);
    let sizes: Vec<_> = server.requests().iter().map(|r| r.get("pagesize").to_owned()).collect();
    assert_eq!(sizes, ["500", "200", "50", "50", "50"]);
}

#[tokio::test]
async fn a_list_that_changes_while_it_is_read_is_read_again() {
    // A new item at the front pushes one to the second page, where it is seen
    // twice; one that goes takes one away from there, which is never seen.
    for grows in [true, false] {
        let all = Mutex::new(items(700));
        let server = Server::new(move |number, request| {
            let mut all = all.lock().unwrap();
            let answer = page(&all, request);
            if number == 0 && grows {
                all.insert(0, json!({"id": "new"}));
            } else if number == 0 {
                all.remove(0);
            }
            answer
        })
        .await;
        let ids = listed(&server).await;
        let (count, is_new) = (ids.len(), ids.contains(&"new".to_owned()));
        assert_eq!((count, is_new), if grows { (701, true) } else { (699, false) });
        let mut unique = ids;
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), count);
    }
}

#[tokio::test]
async fn a_list_that_never_rests_ends_all_the_same() {
    let all = Mutex::new(items(700));
    let server = Server::new(move |number, request| {
        let mut all = all.lock().unwrap();
        all.insert(0, json!({"id": format!("new-{number}")}));
        page(&all, request)
    })
    .await;
    let mut ids = listed(&server).await;
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(count >= 700 && server.requests().len() <= 12, "{count} {}", server.requests().len());
}

#[tokio::test]
async fn one_template_in_two_zones_is_two_items() {
    let all = vec![json!({"id": "t", "zoneid": "a"}), json!({"id": "t", "zoneid": "b"})];
    let server = Server::new(move |_, request| page(&all, request)).await;
    assert_eq!(listed(&server).await, ["t", "t"]);
}

#[tokio::test]
async fn a_server_without_a_count_is_read_to_the_end() {
    let all = items(620);
    let server = Server::new(move |_, request| match page(&all, request) {
        Answer::Json(_, reply) => {
            let found = reply["someresponse"]["thing"].clone();
            Answer::ok(if found.is_null() { json!({}) } else { json!({"thing": found}) })
        }
        other => other,
    })
    .await;
    assert_eq!(listed(&server).await.len(), 620);
}

#[tokio::test]
async fn a_refusal_in_the_middle_is_the_lists() {
    let all = items(700);
    let server = Server::new(move |number, request| match number {
        0 => page(&all, request),
        _ => Answer::error(531, "no"),
    })
    .await;
    let list =
        server.client().list::<Value>(&Context::new(), "listThings", &Parameters::new()).await;
    assert_eq!(list.unwrap_err().kind(), ErrorKind::PermissionDenied);
}
