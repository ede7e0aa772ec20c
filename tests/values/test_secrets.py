"""Redaction: no secret leaves the process, and nothing else is lost to it."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackhooks.errors.secrets import REDACTED, is_secret_name, redact, redact_command, redact_text

LETTERS = "aB3" * 20  # keys are put together here, so that no scanner takes this file for a leak


@pytest.mark.parametrize(
    "name",
    [
        "token", "hf_token", "HF_TOKEN", "hfToken", "HFToken", "auth-token", "secret", "client_secret", "password",
        "db.password", "dbpassword", "password2", "passwd", "pwd", "passphrase", "api_key", "apiKey", "APIKey",
        "api_key_2", "API-KEY", "api_keys", "openaiapikey", "aws_secret_access_key", "AWS_ACCESS_KEY_ID".removesuffix(
            "_ID"
        ), "private_key", "ssh_key", "wandb_key", "account_key", "credentials", "authorization", "jwt", "wandb/key",
        "credentials/user", "auth/password/value", "--api-key",
    ],
)  # fmt: skip
def test_a_name_is_secret_by_its_last_word(name: str) -> None:
    assert is_secret_name(name)
    assert redact(name, "hunter2") == REDACTED


@pytest.mark.parametrize(
    "name",
    [
        "", "/", "max_tokens", "tokens", "tokenizer", "tokenizer/name", "pad_token", "eos_token", "bos_token",
        "mask_token", "special_token", "num_token", "tokens_per_second", "num_keys", "key", "keys", "primary_key",
        "sort_key", "monkey", "turnkey", "keyboard", "author", "authors", "authority", "secretary", "passes",
        "password_length", "token_type", "bearing", "lr", "loss", "model/name",
    ],
)  # fmt: skip
def test_a_name_that_only_looks_like_it_is_none(name: str) -> None:
    assert not is_secret_name(name)
    assert redact(name, "resnet") == "resnet"


@given(
    st.text(st.characters()), st.sampled_from(["_token", "-password", ".secret", "/api_key", "_2/password/x"])
)
def test_a_password_is_recognized_whatever_precedes_the_last_word(before: str, last: str) -> None:
    assert is_secret_name(f"{before}x{last}")


@pytest.mark.parametrize("value", [5, 0.5, True, None, ""])
def test_only_texts_are_secrets(value: object) -> None:
    assert redact("password", value) is value


SHAPES = [
    "gh" + "p_" + LETTERS,
    "github" + "_pat_" + LETTERS,
    "gl" + "pat-" + LETTERS,
    "h" + "f_" + LETTERS,
    "s" + "k-proj-" + LETTERS,
    "s" + "k-ant-api03-" + LETTERS,
    "s" + "k-or-v1-" + "0a" * 32,
    "s" + "k_live_" + LETTERS,
    "xo" + "xb-" + "12345-" + LETTERS,
    "AK" + "IA" + "Z2" * 8,
    "AI" + "za" + LETTERS,
    "da" + "pi" + "0a" * 16,
    "wandb" + "_v1_" + LETTERS,
    "np" + "m_" + LETTERS,
    "py" + "pi-" + LETTERS,
    ".".join(["ey" + "J" + LETTERS, LETTERS, LETTERS]),
    "ey" + "JhcGlfYWRkcmVzcyI6" + LETTERS,
    "-----BEGIN OPENSSH PRIVATE" + " KEY-----\n" + LETTERS + "\n-----END OPENSSH PRIVATE" + " KEY-----",
]


@pytest.mark.parametrize("key", SHAPES, ids=lambda key: key[:9])
def test_a_key_of_a_known_shape_is_redacted_wherever_it_appears(key: str) -> None:
    assert redact_text(key) == REDACTED
    for text in (f"use {key} here", f'["{key}"]', f"key={key}", f"\n{key}\n", f"x:{key}, y"):
        assert redact_text(text) == text.replace(key, REDACTED)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"https://hooks.slack.com/services/T000/B000/{LETTERS}", f"T000/B000/{LETTERS}"),
        (f"https://discord.com/api/webhooks/12345/{LETTERS}", f"12345/{LETTERS}"),
        (f"AccountName=me;AccountKey={LETTERS}==;EndpointSuffix=x", f"{LETTERS}=="),
        (f"Authorization: Bearer {LETTERS}", LETTERS),
        (f"authorization: bearer {LETTERS}", LETTERS),
        (f"https://{LETTERS}@api.example.org/1", LETTERS),
    ],
)
def test_what_gives_access_by_its_place_is_redacted(text: str, secret: str) -> None:
    assert redact_text(text) == text.replace(secret, REDACTED)


@pytest.mark.parametrize(
    "text",
    [
        "resnet50", "sk-learn-contrib-something-1", "sk-resnet50-imagenet-224", "task-0123456789abcdefghij", "hf_model",
        "ghost_writer", "a" * 64, "0a" * 20, "Bearer of news", "eyJ is how one begins", "dapifer", "/data/coco/train",
        "2020-01-01 12:00:00", "lr=0.1, momentum=0.9", "max_tokens=5", "pad_token='<pad>'", "Password: is needed",
        "token=None", "password=True", "tokenizer: 'bpe'", "git@github.com:org/repo.git",
    ],
)  # fmt: skip
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text


# URLs


@pytest.mark.parametrize(
    ("before", "password", "behind"),
    [
        ("postgresql://me:", "pw", "@host:5432/db"),
        ("mysql+pymysql://me:", "p%40ss", "@host/db"),
        ("redis://:", "pw", "@host"),
        ("https://me@example.org:", "pw", "@smtp.example.org:465/"),
        ("http://me:", "pw", "@[::1]:8080/x"),
        ("http://me:", "12345", "@host"),
        ("http://me:", "with@sign", "@host/a@b"),
        ("http://me:", "with/slash", "@host/a@b"),
        ("http://me:", "with?mark", "@host"),
        ("http://me:", "with#hash", "@host"),
        ("http://me:", "with:colon", "@host"),
        ("http://me:", "with'quote<", "@host"),
        ("see ftp://a:", "pw", "@b, and http://host:80/"),
        ("https://host/path?api_key=", "abc", "&page=2"),
        ("https://host/path?page=2&access_token=", "abc", ""),
        ("https://bucket/x?X-Amz-Date=1&X-Amz-Signature=", "0a0b", "&y=1"),
        ("https://blob/x?sv=1&sig=", "ab%2Fc%3D", "#part"),
    ],
)
def test_the_password_of_a_url_is_redacted_and_the_rest_is_kept(
    before: str, password: str, behind: str
) -> None:
    assert redact_text(f"{before}{password}{behind}") == f"{before}{REDACTED}{behind}"


@pytest.mark.parametrize(
    "url",
    [
        "http://host:8080/a@b",
        "http://host:8080?to=a@b",
        "http://[::1]:8080/a@b",
        "http://[fe80::1%25eth0]/",
        "git+ssh://git@github.com:org/repo.git@v1",
        "s3://bucket/key:with@signs",
        "https://host/path?page=2&max_tokens=5",
        "see http://host:80, or ask me@example.org",
        '["http://host:80","me@example.org"]',
    ],
)
def test_a_url_without_a_password_stays_as_it_is(url: str) -> None:
    assert redact_text(url) == url


@pytest.mark.slow
@given(
    user=st.from_regex(r"[a-z0-9._%+-]{0,10}", fullmatch=True),
    password=st.from_regex(r"[A-Za-z0-9._~!$&'()*+,;=%:-]{1,30}", fullmatch=True),
    host=st.sampled_from(["host", "host:80", "[::1]", "127.0.0.1:5432/db?x=1", "h/a@b:c"]),
)
def test_no_password_that_a_url_allows_gets_through(user: str, password: str, host: str) -> None:
    assert redact_text(f"scheme://{user}:QQ{password}@{host}").startswith(f"scheme://{user}:{REDACTED}@")


# What texts assign to secrets' names


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Client(api_key='abc', retries=3)", "Client(api_key='<redacted>', retries=3)"),
        ("Client(password='it\\'s', n=1)", "Client(password='<redacted>', n=1)"),
        ('{"token": "a\\"b", "n": 1}', '{"token": "<redacted>", "n": 1}'),
        ('"{\\"token\\": \\"a b\\"}"', '"{\\"token\\": \\"<redacted>\\"}"'),
        ("{'secret': b'abc'}", "{'secret': b'<redacted>'}"),
        ("host=h password=hunter2 port=1", "host=h password=<redacted> port=1"),
        ("Pwd=12345;Database=x", "Pwd=<redacted>;Database=x"),
        ("password = 'a' + token = 'b'", "password = '<redacted>' + token = '<redacted>'"),
        ("Client(password='[1, 2]', n=1)", "Client(password='<redacted>', n=1)"),
        ('{"password": "[]"}', '{"password": "<redacted>"}'),
    ],
)
def test_what_a_text_assigns_to_a_secret_is_redacted(text: str, clean: str) -> None:
    assert redact_text(text) == clean


@pytest.mark.slow
@given(st.text(st.characters()))
def test_the_text_of_an_object_hides_its_password_whatever_it_is(password: str) -> None:
    shown = redact_text(f"Client(password={password!r}, n=1)")
    hidden = shown.replace('"', "'")
    assert hidden in ("Client(password='<redacted>', n=1)", "Client(password='', n=1)")


PIECES = st.sampled_from(
    ["://", ":", "@", "/", "=", '"', "'", "\\", " ", "\n", "?", "&", "password", "token", "a", "1", "<redacted>", "#",
     "http", "sk-", "eyJ", ".", "-", *SHAPES]
)  # fmt: skip


@given(st.lists(PIECES | st.text(st.characters(), max_size=3)).map("".join))
def test_what_is_clean_stays_as_it_is(text: str) -> None:
    clean = redact_text(text)
    assert redact_text(clean) == clean
    for key in SHAPES:
        assert not re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", clean)


UNITS = [
    "a=b c:d, ", "a-", "a.", "a/", "a1-", "token-", "a://", "a://b:c", "a://b:", "a://b@", "token='", 'token="\\', "=:",
    "a: ", "a=", "a" * 50 + "://", "s" + "k-", "s" + "k-1", "s" + "k-1" + "a" * 30, "ey" + "J-", "ey" + "J" + "a" * 10,
    "ey" + "J" + "a" * 10 + ".-", "-----BEGIN A", "-----BEGIN PRIVATE" + " KEY-----", "-----END A", "sig=?",
    "bearer ", "gh" + "p_", "@", "://@", "'", '"', "\\", " ", "\t", "\r", "\n", "- ", "password: ", "password: [",
    "password: |\n", "- password:\n", 'password="""', "--token ", "('password', '",
]  # fmt: skip


HINTS = " Key=k_live_earer eyJ sk-"
"""What makes a search for many shapes necessary."""


@pytest.mark.parametrize("unit", UNITS)
def test_no_text_takes_for_ever(unit: str) -> None:
    for start, end in itertools.product(
        ("", "password: a", "password: "), ("b", "@", HINTS, "\"' password='")
    ):
        text = start + unit * (20_000 // len(unit)) + end
        assert redact_text(text)
        assert redact_command([text])
        assert redact(text, "resnet")


# Command lines


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("train.py --token abc --lr 0.1", "train.py --token <redacted> --lr 0.1"),
        ("train.py --token=abc --lr=0.1", "train.py --token=<redacted> --lr=0.1"),
        ("train.py --token --lr 0.1", "train.py --token --lr 0.1"),
        ("train.py --max-tokens 5 --tokenizer bpe", "train.py --max-tokens 5 --tokenizer bpe"),
        ("train.py --password 12345", "train.py --password <redacted>"),
        ("env API_KEY=abc train.py", "env API_KEY=<redacted> train.py"),
        ("docker run -e API_KEY=a=b= x", "docker run -e API_KEY=<redacted> x"),
        ("docker run --env=API_KEY=abc x", "docker run --env=API_KEY=<redacted> x"),
        ("train.py +model.token=abc data=coco", "train.py +model.token=<redacted> data=coco"),
        ("train.py --token=", "train.py --token="),
        ("train.py --db postgres://u:pw@h/d", "train.py --db postgres://u:<redacted>@h/d"),
        (f"train.py {SHAPES[0]}", "train.py <redacted>"),
    ],
)
def test_a_command_line_loses_its_secrets(line: str, clean: str) -> None:
    assert " ".join(redact_command(line.split())) == clean


def test_a_program_on_the_command_line_loses_its_secrets() -> None:
    words = ["-c", "login(token='abc'); train()", "--header", f"Authorization: Bearer {LETTERS}"]
    assert redact_command(words) == [
        "-c",
        "login(token='<redacted>'); train()",
        "--header",
        f"Authorization: Bearer {REDACTED}",
    ]


@given(st.lists(st.text(st.characters())))
def test_a_command_line_keeps_its_words(words: list[str]) -> None:
    assert len(redact_command(words)) == len(words)
