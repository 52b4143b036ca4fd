//! R8: models, agents and tools.

use crate::{
    facts::{Facts, RemoteKind},
    infer::{contribution, testing::*},
    span::Kind::Internal,
};

#[test]
fn a_service_calls_a_model_and_tokens_are_the_weight_of_the_edge() {
    let trace = [server("a", 1, 0), chat("a", 2, 1, (1_000, 50)), chat("a", 3, 1, (200, 7))];
    let delta = contribution(&trace);
    assert_eq!(edges(&delta), ["call in user: -> a 1", "client out a -> model:gpt/openai [openai] 2"]);
    assert_eq!(amount(&delta, "inputtokens a -> model:gpt/openai"), 1_200);
    assert_eq!(amount(&delta, "outputtokens a -> model:gpt/openai"), 57);
    let sampled = trace.map(|span| Facts { weight: 4 * 256, ..span });
    assert_eq!(amount(&contribution(&sampled), "inputtokens a -> model:gpt/openai"), 4_800);
}

#[test]
fn a_model_inside_of_the_process_is_called_by_an_internal_span() {
    let local = Facts { kind: Internal, ..chat("a", 1, 0, (5, 0)) };
    let delta = contribution(&[local]);
    assert_eq!(edges(&delta), ["client out a -> model:gpt/openai [openai] 1"]);
    assert_eq!(amount(&delta, "outputtokens a -> model:gpt/openai"), 0, "none is not worth a cell");
}

#[test]
fn the_http_request_of_a_model_or_of_an_agent_far_away_is_that_call() {
    let request = client("a", 3, 2).with(|it| {
        it.address = "api.provider".into();
        it.protocol = "http".into();
    });
    let trace = [chat("a", 1, 0, (1, 1)), local("a", 2, 1), request.clone()];
    assert_eq!(edges(&contribution(&trace)), ["client out a -> model:gpt/openai [openai] 1"]);
    let remote = [agent("planner", client("a", 2, 0)), request];
    let delta = contribution(&remote);
    assert_eq!(edges(&delta), ["client out a -> agent:planner 1"]);
    assert_eq!(count(&delta, "note Untargeted a"), 0, "the agent is its target");
}

#[test]
fn two_layers_of_a_model_call_are_one_and_a_call_inside_of_a_tool_is_another() {
    let layers = [Facts { kind: Internal, ..chat("a", 1, 0, (9, 9)) }, chat("a", 2, 1, (3, 3))];
    let delta = contribution(&layers);
    assert_eq!(edges(&delta), ["client out a -> model:gpt/openai [openai] 1"]);
    assert_eq!(amount(&delta, "inputtokens a -> model:gpt/openai"), 3, "of the innermost, as its time");
    let apart = [chat("a", 1, 0, (9, 9)), tool("ask", local("a", 2, 1)), chat("a", 3, 2, (3, 3))];
    assert_eq!(
        edges(&contribution(&apart)),
        ["client out a -> model:gpt/openai [openai] 2", "client out a -> tool:ask 1"]
    );
}

#[test]
fn a_tool_belongs_to_the_nearest_agent_however_far_above() {
    let mut trace = vec![server("a", 1, 0), agent("planner", local("a", 2, 1))];
    trace.extend((3..40).map(|id| local("a", id, id - 1)));
    trace.push(tool("search", local("a", 40, 39)));
    assert_eq!(
        edges(&contribution(&trace)),
        [
            "call in user: -> a 1",
            "client out a -> agent:planner 1",
            "client out agent:planner -> tool:search 1"
        ]
    );
    // Also when another service runs the tool.
    let apart = [
        agent("planner", local("a", 1, 0)),
        client("a", 2, 1),
        server("b", 3, 2),
        tool("search", local("b", 4, 3)),
    ];
    assert!(
        edges(&contribution(&apart)).contains(&"client out agent:planner -> tool:search 1".to_owned()),
        "{:?}",
        edges(&contribution(&apart))
    );
    let alone = contribution(&[server("a", 1, 0), tool("search", local("a", 2, 1))]);
    assert_eq!(edges(&alone), ["call in user: -> a 1", "client out a -> tool:search 1"]);
}

#[test]
fn agents_call_agents() {
    let nested = [agent("lead", local("a", 1, 0)), local("a", 2, 1), agent("helper", local("a", 3, 2))];
    assert_eq!(
        edges(&contribution(&nested)),
        ["client out a -> agent:lead 1", "client out agent:lead -> agent:helper 1"]
    );
    let apart = [agent("lead", local("a", 1, 0)), client("a", 2, 1), agent("helper", server("b", 3, 2))];
    assert_eq!(
        edges(&contribution(&apart)),
        [
            "call pair a -> b 1",
            "client out a -> agent:lead 1",
            "client out b -> agent:helper 1",
            "client pair a -> b 1"
        ],
        "the services' edge leads from one to the other"
    );
}

#[test]
fn both_halves_of_an_agent_or_a_tool_are_one_run() {
    let halves = [agent("helper", client("a", 1, 0)), agent("helper", server("b", 2, 1))];
    assert_eq!(
        edges(&contribution(&halves)),
        ["call pair a -> b 1", "client out b -> agent:helper 1", "client pair a -> b 1"],
        "it runs in the service of the callee"
    );
    let wrapped = [
        agent("lead", local("a", 1, 0)),
        agent("lead", local("a", 2, 1)),
        tool("search", client("a", 3, 2)),
        tool("search", server("b", 4, 3)),
    ];
    assert_eq!(
        edges(&contribution(&wrapped)),
        [
            "call pair a -> b 1",
            "client out a -> agent:lead 1",
            "client out agent:lead -> tool:search 1",
            "client pair a -> b 1"
        ]
    );
}

#[test]
fn a_tool_whose_host_is_named_has_both_edges() {
    let remote = tool("search", client("a", 1, 0)).with(|it| {
        it.address = "mcp.example".into();
        it.protocol = "http".into();
    });
    assert_eq!(
        edges(&contribution(&[remote])),
        ["client out a -> host:mcp.example [http] 1", "client out a -> tool:search 1"]
    );
    let unnamed = contribution(&[tool("search", client("a", 1, 0))]);
    assert_eq!(count(&unnamed, "note Untargeted a"), 0);
}

#[test]
fn a_model_that_nobody_names_is_no_model() {
    let nothing = chat("a", 1, 0, (1, 1)).with(|it| {
        it.remote_kind = RemoteKind::Model;
        it.target = "".into();
        it.protocol = "".into();
    });
    assert_eq!(edges(&contribution(&[nothing])), Vec::<String>::new());
}
