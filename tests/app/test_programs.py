"""The named endpoints as programs reach them: gradio_client, plain HTTP, and an MCP client."""

from __future__ import annotations

import asyncio
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from readout_ui.app.api import Programs, publish_programs
from readout_ui.app.api_answers import NAMES, answer_in_json, checked
from readout_ui.app.events import PRIVATE
from readout_ui.app.login import ServedRoutes, WatchPages
from readout_ui.app.page import build_app, build_site, launch_options
from readout_ui.app.session import Studio
from readout_ui.inference.gate import Hosts
from tests.support.readme_code import code_blocks
from tests.support.studios import device_taken, small_studio

gr: Any = pytest.importorskip("gradio")
ROWS = [
    {"text": "The lake lay still.", "label": "calm"},
    {"text": "Nothing has to be done today.", "label": ["calmness"]},
    {"text": "He took my seat again!", "label": "angry"},
    {"text": "She slammed the door and swore.", "label": "rage"},
]
MAPPING = {"rage": "angry"}


@dataclass(frozen=True)
class Served:
    """A live server and what is behind it."""

    studio: Studio
    url: str
    client: Client


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("programs")
    with small_studio(folder) as studio:
        app, url = launched(studio)
        yield Served(studio, url, Client(url, verbose=False, download_files=str(folder / "got")))
        app.close()


def launched(studio: Studio) -> tuple[Any, str]:
    """A page with one callback of its own, and the programs beside it."""
    with gr.Blocks(analytics_enabled=False) as app:
        box = gr.Textbox()
        gr.Button().click(lambda text: text, box, box, api_name="of_the_page", **PRIVATE)
        publish_programs(studio)
    options = launch_options(studio)
    watch = Middleware(WatchPages, left=studio.worker.leave)
    options["app_kwargs"]["middleware"] += [Middleware(ServedRoutes, endpoints=NAMES), watch]
    options |= {"mcp_server": True, "footer_links": ["api", "settings"]}
    _, url, _ = app.launch(prevent_thread_lock=True, quiet=True, **options)
    answer_in_json(app, url)
    return app, url


def refused(served: Served, *arguments: Any, **named: Any) -> str:
    """What the client is told."""
    with pytest.raises(AppError) as error:
        served.client.predict(*arguments, **named)
    return str(error.value)


def test_exactly_the_named_endpoints_are_published(served: Served) -> None:
    info = httpx.get(f"{served.url}gradio_api/info").json()
    assert tuple(name.strip("/") for name in info["named_endpoints"]) == NAMES
    assert info["unnamed_endpoints"] == {}
    listed = served.client.view_api(return_format="dict", print_info=False)
    assert isinstance(listed, dict)
    assert tuple(name.strip("/") for name in listed["named_endpoints"]) == NAMES
    whole = build_app(served.studio).get_api_info()
    assert {name.strip("/") for name in whole["named_endpoints"]} <= set(NAMES)


def test_a_callback_of_the_page_cannot_be_called_by_name(served: Served) -> None:
    with pytest.raises(ValueError, match="of_the_page"):
        served.client.predict("text", api_name="/of_the_page")
    for route in ("call", "call/v2", "run", "api"):
        answer = httpx.post(f"{served.url}gradio_api/{route}/of_the_page", json={"data": ["text"]})
        assert answer.status_code == 404
        assert "read_text" in answer.json()["error"]


def test_concepts_are_listed_with_the_run_in_use(served: Served) -> None:
    found = served.client.predict(api_name="/list_concepts")
    assert [concept["name"] for concept in found["concepts"]] == [
        "afraid",
        "angry",
        "calm",
        "happy",
    ]
    assert found["neutral"] == [{"name": "_baseline", "descriptions": 4, "state": "trained"}]
    run = served.studio.runs.current()
    assert run is not None
    assert found["run"]["run"] == run.id
    assert found["run"]["auroc"] == found["run"]["layer_scores"][run.best_layer]


def test_a_text_is_read_as_the_page_reads_it(served: Served) -> None:
    text = "The kettle is on."
    found = served.client.predict(text, score="cosine", layer=1, top=0, api_name="/read_text")
    readout = served.studio.read(text, "assistant")
    rows = [i for i, role in enumerate(readout.roles) if role == "assistant"]
    columns = [readout.concept_index(concept) for concept in found["concepts"]]
    assert found["tokens"] == [readout.tokens[row] for row in rows]
    expected = readout.cosine[rows, 1][:, columns]
    assert np.array(found["scores"]) == pytest.approx(expected, abs=6e-5)
    assert found["means"] == pytest.approx(expected.mean(axis=0).tolist(), abs=6e-5)
    assert found["means"] == sorted(found["means"], reverse=True)


def test_two_users_at_once_get_each_their_own_text(served: Served) -> None:
    texts = [word * 3 for word in ("kettle ", "meadow ", "window ", "ladder ")]

    def read(text: str) -> str:
        client = Client(served.url, verbose=False)
        found = client.predict(text, concepts=["calm"], api_name="/read_text")
        return "".join(found["tokens"]).replace("·", " ")

    with ThreadPoolExecutor(len(texts)) as users:
        assert list(users.map(read, texts)) == [text.strip() for text in texts]


@pytest.mark.parametrize(
    ("arguments", "named", "said"),
    [
        ((" ",), {"api_name": "/read_text"}, "nothing to read"),
        (("a",), {"layer": 99, "api_name": "/read_text"}, "no layer 99 (options: 0, 1, 2)"),
        (("a",), {"layer": "x", "api_name": "/read_text"}, "layer: input should be a valid int"),
        (("a",), {"mode": "shout", "api_name": "/read_text"}, "'assistant', 'user' or 'raw'"),
        (("a",), {"concepts": ["x"], "api_name": "/read_text"}, "no concept 'x'"),
        (("word " * 9000,), {"api_name": "/read_text"}, "tokens"),
        ((), {"layers": "best", "api_name": "/train"}, "cannot read layers 'best'"),
        (([],), {"api_name": "/evaluate"}, "there are no texts"),
        (([{"text": "a"}],), {"api_name": "/evaluate"}, "texts.0.label: field required"),
        (
            ([{"text": " ", "label": "calm"}],),
            {"api_name": "/evaluate"},
            "line 1: there is no text",
        ),
        ((ROWS, {"joy": "happy"}), {"api_name": "/evaluate"}, "no text is labelled 'joy'"),
        ((), {"layers": [7], "api_name": "/export"}, "7"),
    ],
)
def test_a_mistake_comes_back_as_a_sentence(
    served: Served, arguments: tuple[Any, ...], named: dict[str, Any], said: str
) -> None:
    message = refused(served, *arguments, **named)
    assert said in message
    assert "Traceback" not in message


def test_labelled_texts_are_judged_with_their_baselines(served: Served) -> None:
    found = served.client.predict(ROWS, MAPPING, api_name="/evaluate")
    assert found["mapping"] == {
        "calm": "calm", "calmness": "calm", "angry": "angry", "rage": "angry"
    }  # fmt: skip
    assert found["n_texts"] == 4
    assert [each["n_texts"] for each in found["concepts"]] == [2, 2]
    assert {"auroc", "words", "random", "permuted", "p"} <= found["macro"].keys()
    assert any("neutral texts stand in" in note for note in found["notes"])


def test_an_export_arrives_as_a_zip_of_what_was_asked_for(served: Served) -> None:
    path = served.client.predict(concepts=["calm"], layers=[1], api_name="/export")
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("readout.json"))
        assert "readout.safetensors" in archive.namelist()
    assert (manifest["concepts"], manifest["layers"]) == (["calm"], [1])


def test_train_returns_when_the_new_run_is_in_use(served: Served) -> None:
    before = served.studio.run()
    found = served.client.predict(method="pca", api_name="/train")
    run = served.studio.run()
    assert (found["run"], run.settings.method) == (run.id, "pca")
    assert replace(run.settings, method=before.settings.method) == before.settings
    assert found["layer_scores"] == list(run.layer_scores or ())
    assert (found["texts"], found["seconds"] > 0) == (16, True)


def test_a_shipped_library_is_trained_and_judged_by_its_name(served: Served) -> None:
    before = served.studio.run().id
    found = served.client.predict(library="stances", method="mean", api_name="/train")
    assert (found["texts"], len(found["concepts"])) == (140, 20)
    judged = served.client.predict(api_name="/evaluate")
    assert [each["concept"] for each in judged["concepts"]] == found["concepts"]
    with pytest.raises(AppError, match="no label"):
        served.client.predict(test_set="emotions", api_name="/evaluate")
    served.studio.use_run(before)


def test_directions_are_compared_with_ratings_and_between_layers(served: Served) -> None:
    found = served.client.predict(None, 1, api_name="/geometry")
    names = found["concepts"]
    assert (found["layer"], found["ratings"]) == (1, [])  # four of the shipped emotions: too few
    assert np.array(found["xy"]).shape == (len(names), 2)
    assert np.diag(found["stability"]) == pytest.approx(1)
    families = found["families"][0]["families"]
    assert sorted(name for family in families for name in family) == sorted(names)
    with pytest.raises(AppError, match="4 of the run's concepts are rated"):
        served.client.predict({name: {"valence": 1} for name in names}, api_name="/geometry")


def test_tokens_of_directions_stand_beside_those_of_a_random_one(served: Served) -> None:
    found = served.client.predict(1, 3, api_name="/logit_lens")
    run = served.studio.run()
    assert (found["run"], found["layer"]) == (run.id, 1)
    rows = found["directions"]
    assert [row["concept"] for row in rows] == [*run.concepts, "random direction"]
    assert all(len(row["raised"]) == len(row["lowered"]) == 3 for row in rows)
    with pytest.raises(AppError, match="layer 99 was not trained"):
        served.client.predict(99, api_name="/logit_lens")


def test_drafts_come_back_and_change_nothing(served: Served) -> None:
    before = served.studio.library().texts()
    found = served.client.predict("calm", "situations", 1, api_name="/draft_texts")
    assert (found["asked"], found["writer"]) == (1, "tiny")
    assert "of 1 texts in" in found["summary"]
    assert served.studio.library().texts() == before
    with pytest.raises(AppError, match="less than or equal to 50"):
        served.client.predict("calm", "situations", 99, api_name="/draft_texts")


def test_a_read_only_app_reads_but_does_not_train(served: Served) -> None:
    viewer = Studio(replace(served.studio.options, read_only=True))
    try:
        with pytest.raises(gr.Error, match="read-only"):
            checked(Programs(viewer).train)()
        assert Programs(viewer).list_concepts()["run"] is not None
    finally:
        viewer.close()


def test_an_mcp_client_finds_the_same_tools_and_gets_json(served: Served) -> None:
    tools, read, broken, unknown = asyncio.run(talk(served.url))
    assert tuple(tool.name for tool in tools) == NAMES
    for tool in tools:
        assert tool.description
        arguments = tool.inputSchema["properties"].values()
        assert all(argument.get("description") for argument in arguments)
    assert not read.isError
    found = json.loads(read.content[0].text)
    assert found == served.client.predict("The kettle is on.", top=1, api_name="/read_text")
    assert broken.isError
    assert broken.content[0].text.startswith("these vectors have no layer 99")
    assert unknown.isError


async def talk(url: str) -> tuple[Any, Any, Any, Any]:
    """One session over streamable HTTP."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    text = {"text": "The kettle is on."}
    async with (
        streamablehttp_client(f"{url}gradio_api/mcp/") as (receive, send, _),
        ClientSession(receive, send) as session,
    ):
        await session.initialize()
        return (
            (await session.list_tools()).tools,
            await session.call_tool("read_text", {**text, "top": 1}),
            await session.call_tool("read_text", {**text, "layer": 99}),
            await session.call_tool("of_the_page", {"text": "a"}),
        )


def test_an_mcp_client_that_leaves_ends_its_work_and_no_others(served: Served) -> None:
    with ThreadPoolExecutor(1) as another, device_taken(served.studio) as held:
        stays = another.submit(
            served.client.predict, "The kettle is on.", top=1, api_name="/read_text"
        )
        wait_for(lambda: reads_waiting(served) == 1)
        call = {"name": "read_text", "arguments": {"text": "The lake lay still.", "top": 1}}
        asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        headers = {"accept": "application/json, text/event-stream"}
        url = f"{served.url}gradio_api/mcp/"
        with httpx.stream("POST", url, json=asked, headers=headers, timeout=30):
            wait_for(lambda: reads_waiting(served) == 2)
        wait_for(lambda: reads_waiting(served) == 1)
        held.set()
        assert stays.result(60)["concepts"]


def reads_waiting(served: Served) -> int:
    return sum(view.kind == "read" for view in served.studio.worker.unfinished())


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_example_in_the_readme_runs(served: Served, tmp_path: Path) -> None:
    example = next(code for code in code_blocks("python") if "gradio_client" in code)
    code = example.replace("http://127.0.0.1:7860", served.url)
    exec(compile(code, "README.md", "exec"), {})


def test_the_footer_says_how_programs_reach_the_tools_only_where_there_are_tools(
    studio: Studio,
) -> None:
    for tools_at, footer in (("", []), ("http://127.0.0.1:1/", ["api"])):
        site = build_site(studio, Hosts("testserver"), tools_at=tools_at)
        client = TestClient(site)
        assert client.get("/config").json()["footer_links"] == footer
        for path in ("/gradio_api/mcp/", "/gradio_api/mcp/sse", "/gradio_api/call/train"):
            for headers, status in (({"host": "evil.example"}, 421), ({"origin": "null"}, 403)):
                assert client.post(path, headers=headers, json={}).status_code == status


@pytest.mark.parametrize(
    ("text", "said"),
    [("a" * 500_001, "500,001 characters"), ("hi \ud83d", "U+D83D, which is no character")],
)
def test_text_that_no_model_can_be_given_is_refused_before_it_is_tokenized(
    served: Served, text: str, said: str
) -> None:
    call = f"{served.url}gradio_api/call/read_text"
    asked = json.dumps({"data": [text, "assistant", "z", None, None, 3]}).encode()
    headers = {"content-type": "application/json"}
    event = httpx.post(call, content=asked, headers=headers).json()["event_id"]
    start = time.monotonic()
    assert said in httpx.get(f"{call}/{event}", timeout=60).text
    assert time.monotonic() - start < 5
