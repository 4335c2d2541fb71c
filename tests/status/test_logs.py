import base64
import io
import json
import logging
import re
import time
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskmr.status import SCHEDULER, TIMELINE, JsonFormatter, JsonHandler, Redaction, redact
from daskmr.status._redaction import MAX_CHARS, redact_value


def logger(handler: logging.Handler) -> logging.Logger:
    """One that no other handler hears."""
    made = logging.Logger("tests")  # noqa: LOG001 - would be known to all by its name
    made.addHandler(handler)
    return made


def fail(text: str) -> None:
    raise ValueError(text)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def log(stream: io.StringIO) -> logging.Logger:
    return logger(JsonHandler(stream))


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    text = stream.getvalue()
    assert text.isascii()
    assert len(text.splitlines()) == text.count("\n")
    return [json.loads(line) for line in text.splitlines()]


def formatted(message: str, *args: Any, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """A record as a line, and back."""
    record = logging.getLogger("x").makeRecord(
        "x", logging.INFO, "file", 1, message, args, None, None, extra
    )
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_record_is_one_object_with_its_names_first(
    log: logging.Logger, stream: io.StringIO
) -> None:
    log.info(
        "Started %s", "it", extra={"tag": TIMELINE, "region_id": "0-0", "job_id": "j", "other": [1]}
    )
    (found,) = lines(stream)
    assert list(found) == [
        "time", "level", "logger", "message", "job_id", "region_id", "tag", "other",
    ]  # fmt: skip
    assert (found["level"], found["message"]) == ("INFO", "Started it")
    assert (found["job_id"], found["region_id"], found["tag"]) == ("j", "0-0", "TIMELINE EVENT")
    assert found["other"] == [1]
    assert abs(datetime.fromisoformat(found["time"]).timestamp() - time.time()) < 60
    assert found["time"].endswith("Z")


def test_members_of_our_own_extra_stand_alone(log: logging.Logger, stream: io.StringIO) -> None:
    log.info("chosen", extra={"daskmr": {"tag": SCHEDULER, "elapsed_ms": 1.5}})
    (found,) = lines(stream)
    assert (found["tag"], found["elapsed_ms"]) == ("SCHEDULER EVENT", 1.5)


def test_nothing_passes_for_what_every_record_has() -> None:
    found = formatted("real", extra={"daskmr": {"message": "forged", "level": "x", "time": "y"}})
    assert (found["message"], found["level"]) == ("real", "INFO")
    assert (found["message_"], found["level_"], found["time_"]) == ("forged", "x", "y")


def test_a_newline_in_a_job_id_makes_no_second_line(
    log: logging.Logger, stream: io.StringIO
) -> None:
    forged = 'a"}\r\n{"level": "ERROR", "message": "forged"}\u2028\x1b[31m'
    log.info("job %s", forged, extra={"job_id": forged})
    (found,) = lines(stream)
    assert found["level"] == "INFO"
    assert found["job_id"] == 'a"} {"level": "ERROR", "message": "forged"} [31m'


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_any_text_is_one_line_of_json_without_control_characters(text: str, name: str) -> None:
    found = formatted("%s", text, extra={"daskmr": {"x" + name: text}})
    for value in (found["message"], *found, *map(str, found.values())):
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", value)
        value.encode()


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.binary()
        | st.dates(),
        lambda inner: (
            st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner)
        ),
        max_leaves=20,
    )
)
def test_any_value_is_json(value: Any) -> None:
    assert "x" in formatted("m", extra={"x": value})


def test_an_error_is_a_list_of_lines(log: logging.Logger, stream: io.StringIO) -> None:
    try:
        fail("first\nsecond")
    except ValueError:
        log.exception("failed", stack_info=True)
    (found,) = lines(stream)
    assert found["exception"][0] == "Traceback (most recent call last):"
    assert 'fail("first\\nsecond")' in "".join(found["exception"])
    assert found["exception"][-2:] == ["ValueError: first", "second"]
    assert any("test_an_error_is_a_list_of_lines" in line for line in found["stack"])


def test_arguments_that_do_not_fit_are_told_without_secrets(
    log: logging.Logger, stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    log.info("%d tiles", "AKIAIOSFODNN7CANARY1")
    log.info("%s and %s", *["one"])
    found = [said["message"] for said in lines(stream)]
    assert found == ["%d tiles ('[redacted]',)", "%s and %s ('one',)"]
    assert capsys.readouterr().err == ""


class Hostile:
    def __str__(self) -> str:
        msg = "password=hunter2canary"
        raise RuntimeError(msg)


def test_a_record_that_cannot_be_written_shows_nothing_of_itself(
    log: logging.Logger, stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    log.info("%s AKIAIOSFODNN7CANARY1", Hostile())
    (found,) = lines(stream)
    assert found["message"] == "a record of tests could not be written"
    assert found["error"] == "RuntimeError"
    assert "CANARY" not in stream.getvalue().upper()
    assert capsys.readouterr().err == ""


def test_a_log_that_nobody_reads_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    handler = JsonHandler(stream)
    stream.close()
    handler.handle(logging.makeLogRecord({"msg": "AKIAIOSFODNN7CANARY1"}))
    assert capsys.readouterr().err == ""


def test_a_record_is_never_too_long() -> None:
    found = formatted("m" * 10**6, extra={"x": {str(n): "y " * 2_000 for n in range(500)}})
    assert found["is_cut"] is True
    assert found["message"] == "m" * 1024
    assert len(formatted("m" * 10**6)["message"]) == 16 * 2**10


def test_of_a_long_error_the_end_is_kept() -> None:
    record = logging.makeLogRecord({"msg": "m"})
    record.exc_text = "\n".join(["x" * 100] * 2_000 + ["ValueError: the cause"])
    found = json.loads(JsonFormatter().format(record))["exception"]
    assert (found[0], found[-1]) == ("...", "ValueError: the cause")
    assert len(found) <= 200


def test_a_secret_across_the_end_of_what_is_read_is_not_told() -> None:
    for n in range(MAX_CHARS - 60, MAX_CHARS):
        found = redact("x" * n + " https://user:" + "hunter2canary" * 3 + "@host")
        assert "hunter" not in found


KEY = st.from_regex(r"(AKIA|ASIA)[A-Z2-7]{16}", fullmatch=True)
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
TOKEN = st.builds(
    lambda head, tail: head + tail,
    st.sampled_from(["FwoGZXIvYXdz", "IQoJb3JpZ2lu", "FQoGZXIvYXdz"]),
    st.text(BASE64, min_size=60, max_size=200),
)
WORD = st.text(BASE64 + "-_.~!*", min_size=12, max_size=60).map(lambda text: f"Zq{text}")
PASSWORD = st.text(BASE64.replace("/", "") + "!$&*+,;=@:", min_size=8, max_size=30).map(
    lambda text: f"pw{text}Zq9"
)
SECRETS = {
    "{}": KEY | TOKEN,
    "aws_access_key_id={}": KEY,
    "aws_secret_access_key = {}": WORD,
    "AWS_SESSION_TOKEN={}": WORD,
    "Authorization: Bearer {}": WORD,
    "authorization: Basic {}": WORD.map(lambda w: base64.b64encode(w.encode()).decode()),
    "Authorization: AWS4-HMAC-SHA256 Credential=x/y, SignedHeaders=host, Signature={}": WORD,
    'Authorization: Digest username="u", response="{}"': WORD,
    "Proxy-Authorization: Bearer {}": WORD,
    "{{'Authorization': 'Bearer {}', 'Accept': '*/*'}}": WORD,
    '{{"Authorization": "Bearer {}"}}': WORD,
    '{{\\"Authorization\\": \\"Bearer {}\\"}}': WORD,
    "[('Authorization', 'Bearer {}')]": WORD,
    "{{b'Authorization': b'Bearer {}'}}": WORD,
    "Cookie: session={}": WORD,
    "Bearer {}": WORD,
    "basic {}": WORD.map(lambda w: base64.b64encode(w.encode()).decode()),
    "'SecretAccessKey': '{}', 'SessionToken': 'x'": WORD,
    '"SessionToken": "{}"': WORD,
    "password={} and more": WORD,
    'password: "two words {}"': WORD,
    "https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Signature={}&x=1": WORD,
    "https://b/k?X-Amz-Security-Token={}": WORD.map(lambda word: quote(word, safe="")),
    "https://b/k?AWSAccessKeyId=x&Signature={}&Expires=1": WORD.map(lambda w: quote(w, safe="")),
    "url=https%3A%2F%2Fb%2Fk%3FX-Amz-Signature%3D{}%26x%3D1": WORD.map(lambda w: w.strip("!*")),
    "https://account.blob.core.windows.net/c?sv=1&sig={}": WORD,
    "https://user:{}@host/path": PASSWORD,
    "https://user:p/?#{}@host/path": PASSWORD,
    "postgresql://user:{}@host:5432/db": PASSWORD,
    "https://{}@host/path": PASSWORD.map(lambda p: p.replace(":", "")),
    "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----": WORD,
}
CASES = st.sampled_from(sorted(SECRETS)).flatmap(
    lambda form: st.tuples(st.just(form), SECRETS[form])
)
AROUND = st.sampled_from(["", " ", "(", "tile 3: ", "\n", "ü "])


def inside(depth: int, text: str) -> Any:
    value: Any = text
    for n in range(depth):
        value = [value] if n % 2 else {"inner": value}
    return value


@settings(max_examples=300)
@given(CASES, AROUND, AROUND, st.integers(0, 5))
def test_no_secret_is_ever_logged(
    case: tuple[str, str], before: str, after: str, depth: int
) -> None:
    form, secret = case
    text = before + form.format(secret) + after
    stream = io.StringIO()
    log = logger(JsonHandler(stream))
    log.info(text, extra={"other": 1})
    log.info("%s", text)
    log.info("%(x)s", {"x": text})
    log.info("%d", text)
    log.info("message", extra={"x": inside(depth, text)})
    log.info("message", extra={"daskmr": inside(depth + 1, text)})
    log.info("message", extra={text: 1})
    try:
        try:
            fail(text)
        except ValueError as error:
            msg = "outer"
            raise RuntimeError(msg) from error
    except RuntimeError as error:
        error.add_note(text)
        log.exception("message %r", error.__cause__)
    found = stream.getvalue()
    assert len(found.splitlines()) == 8
    for said in map(json.loads, found.splitlines()):
        assert secret not in str(said)
        assert secret not in json.dumps(said)


@given(CASES)
def test_other_handlers_see_no_secret_either(case: tuple[str, str]) -> None:
    text = case[0].format(case[1])
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(other)s"))
    handler.addFilter(Redaction())
    log = logger(handler)
    log.info("%s", text, extra={"other": text}, stack_info=True)
    try:
        fail(text)
    except ValueError:
        log.exception("%s", "message", extra={"other": {"x": [text]}})
    assert case[1] not in stream.getvalue()
    assert "ValueError" in stream.getvalue()


@given(
    st.sampled_from(
        ["password", "Authorization", "aws_session_token", "X-Amz-Signature", "clientSecret"]
    ),
    st.text(min_size=1),
)
def test_what_a_secret_name_leads_to_is_gone_whatever_it_is(name: str, value: str) -> None:
    found = redact_value({"a": [{name: value, "b": {name: {"deep": value}}}]})
    assert found == {"a": [{name: "[redacted]", "b": {name: "[redacted]"}}]}


@pytest.mark.parametrize(
    "text",
    [
        "https://host:8080/a/b@2x.png",
        "s3://bucket/key with space/image.tif",
        "arn:aws:sns:us-west-2:123456789012:ImageStatusTopic",
        "basic understanding of tokens",
        "sha256 0123456789abcdef0123456789abcdef01234567",
        "signature of the function f(x) = 1",
        "tile 3: HTTP_500: the model raised ValueError: shapes (3,) and (4,)",
        "job 'a-b_c.1' started at 2026-01-02T03:04:05Z",
        "Throttling job x: needs 80 of 64",
        "https://host/k?X-Amz-Date=20260101T000000Z&X-Amz-Expires=60",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "://" * 70_000,
        "a" * 200_000,
        "://a:x" * 35_000,
        "-----BEGIN A PRIVATE KEY-----" * 7_000,
        "authorization" * 15_000,
        "password='" + "\\" * 200_000,
        "authorization:" + " " * 200_000,
        "AKIA" * 50_000,
        "Bearer " * 30_000,
        "token%253D" * 20_000,
    ],
    ids=range(10),
)
def test_hostile_text_is_searched_quickly(text: str) -> None:
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 2.0
