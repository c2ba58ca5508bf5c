"""Any valid file of the user: the same configuration is in force, and each secret keeps its value."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import yaml
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from flowpi.config.loading import parse
from flowpi.config.schema import Config
from flowpi.config.secret import Secret, secrets
from flowpi.core.errors import ConfigError
from tests.provision.card import Card

letters = st.characters(min_codepoint=32, max_codepoint=0x1F600, exclude_categories=["C", "Zl", "Zp"])
words = st.text(letters, min_size=1, max_size=30).filter(lambda text: text.strip().isprintable() and text.strip())
values = words.map(str.strip).filter(lambda text: "\ufffd" not in text)
names = st.text("abcXYZ019_-", min_size=1, max_size=8).filter(lambda name: name != "local")
"""The names of backends."""

flow = st.one_of(
    st.fixed_dictionaries({"kind": st.just("flow"), "url": st.just("wss://h/ws"), "api_key": values}),
    st.fixed_dictionaries({"kind": st.just("flow"), "url": st.just("wss://h/client_ws"), "client_key": values}),
    st.builds(
        lambda key: {"kind": "flow", "url": "wss://h/x", "token": {"url": "https://h/t", "api_key": key}},
        st.one_of(values, st.just({"credential": "mine"})),
    ),
)
suki = st.fixed_dictionaries({"kind": st.just("suki"), "partner_id": words, "partner_token": values})


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    tree: dict[str, Any] = {"backends": draw(st.dictionaries(names, st.one_of(flow, suki), max_size=3))}
    if tree["backends"]:
        tree["dictation"] = {"backends": list(tree["backends"])}
    tree["context"] = {"user_first_name": draw(words)}
    tree["server"] = {
        "api_keys": draw(st.lists(values, max_size=3)),
        "partners": draw(st.dictionaries(words, values, max_size=2)),
    }
    return draw(st.sampled_from([tree, dict(reversed(tree.items()))]))


@st.composite
def texts(draw: st.DrawFn) -> str:
    text: str = yaml.safe_dump(
        draw(trees()),
        default_style=draw(st.sampled_from([None, None, '"', "'", "|", ">"])),
        default_flow_style=draw(st.sampled_from([None, True, False])),
        allow_unicode=draw(st.booleans()),
        sort_keys=False,
        width=draw(st.sampled_from([20, 1000])),
        explicit_start=draw(st.booleans()),
    )
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n", "   # a comment\n"])) if '"' not in text else "\n")
    return draw(st.sampled_from(["", "\ufeff", "# mine\n"])) + text + "...\n"


def apart(config: Config) -> tuple[object, dict[tuple[str, ...], Secret]]:
    """All but the secrets, and these."""
    return msgspec.to_builtins(config, enc_hook=lambda _: "secret"), dict(secrets(config))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(texts())
def test_the_same_configuration_is_in_force_with_the_same_secrets(text: str) -> None:
    try:
        rest, literals = apart(parse(text.removesuffix("...\n").encode(), "flowpi.yaml"))
        resolved = {key: secret.resolve() for key, secret in literals.items() if secret.kind == "literal"}
    except ConfigError:
        reject()  # the comment fell into a text
    with tempfile.TemporaryDirectory() as directory:
        card = Card(Path(directory))
        card.leave(text)
        assert card.provision() == 0
        found_rest, found = apart(card.loaded())
        assert found_rest == rest
        assert found.keys() == literals.keys()
        for key, secret in literals.items():
            if key in resolved:
                service = "credentials-asr" if key[0] == "server" else "credentials"
                assert found[key].kind == "credential"
                assert card.credentials(service)[found[key].name] == resolved[key]
            else:
                assert found[key] == secret
        # The next time, from what was taken.
        before = card.config
        card.leave(card.taken or "")
        assert card.provision() == 0
        assert apart(card.loaded()) == (found_rest, found)
        assert card.config == before
