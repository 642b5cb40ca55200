"""What servers were seen to send, and what it is taken to mean."""

import pytest

from prelabel.core.rates import Rates
from prelabel.llm.rate_headers import Heard, read_limits, retry_after_s


def x(**values: object) -> dict[str, str]:
    return {f"x-ratelimit-{name.replace('_', '-')}": str(value) for name, value in values.items()}


SEEN = {
    "OpenAI, openai-python issue 416": (
        x(limit_requests=3500, remaining_requests=3499, reset_requests="17ms"),
        Heard(Rates(3500)),
    ),
    "OpenAI, community.openai.com 1268905: both of a minute": (
        x(limit_requests=5000, remaining_requests=4999, reset_requests="12ms")
        | x(limit_tokens=160000, remaining_tokens=159976, reset_tokens="9ms")
        | {"x-ratelimit-limit-tokens_usage_based": "160000"},
        Heard(Rates(5000, 160000)),
    ),
    "OpenAI, community.openai.com 541210: tokens of a day": (
        x(limit_requests=500, remaining_requests=499, reset_requests="120ms")
        | x(limit_tokens=1500000, remaining_tokens=1495621, reset_tokens="4m12.172s"),
        Heard(Rates(500)),
    ),
    "OpenAI's free tier: 10,000 requests a day": (
        x(limit_requests=10000, remaining_requests=9999, reset_requests="8.64s"),
        Heard(),
    ),
    "OpenAI: a bucket of a minute that is empty has room a moment later": (
        x(limit_requests=500, remaining_requests=0, reset_requests="1m0s"),
        Heard(Rates(500)),
    ),
    "Azure, EvolvingPrograms/oaib issue 11: no limit, no reset": (
        x(remaining_requests=79, remaining_tokens=61353),
        Heard(),
    ),
    "Azure, openai-dotnet issue 838: no values": (
        x(limit_tokens=-1, remaining_tokens=-1, reset_tokens=0),
        Heard(),
    ),
    "Azure and GitHub Models: the window is named": (
        x(limit_requests=1000, remaining_requests=999, renewalperiod_requests=60)
        | x(limit_tokens=1000000, remaining_tokens=999992, renewalperiod_tokens=60),
        Heard(Rates(1000, 1000000)),
    ),
    "Azure: 50 in ten seconds are 300 a minute": (
        x(limit_requests=50, remaining_requests=45, renewalperiod_requests=10),
        Heard(Rates(300)),
    ),
    "Groq's documentation: requests of a day, tokens of a minute": (
        x(limit_requests=14400, remaining_requests=14370, reset_requests="2m59.56s")
        | x(limit_tokens=18000, remaining_tokens=17997, reset_tokens="7.66s"),
        Heard(Rates(0, 18000)),
    ),
    "Groq: one request of a day's": (
        x(limit_requests=14400, remaining_requests=14399, reset_requests="6s")
        | x(limit_tokens=6000, remaining_tokens=5963, reset_tokens="370ms"),
        Heard(Rates(0, 6000)),
    ),
    "Groq: a day's are used up": (
        x(limit_requests=1000, remaining_requests=0, reset_requests="1h23m31s"),
        Heard(pause_s=60),
    ),
    "Mistral: windows in the names": (
        x(limit_req_minute=50, remaining_req_minute=49, limit_tokens_minute=50000, remaining_tokens_minute=47300),
        Heard(Rates(50, 50000)),
    ),
    "Mistral: a model that is not on the plan": (x(limit_req_minute=0), Heard()),
    "Cerebras: several windows": (
        x(limit_requests_minute=5, limit_requests_hour=150, limit_requests_day=2400, limit_tokens_minute=30000)
        | x(remaining_requests_minute=4, reset_requests_minute=12.5),
        Heard(Rates(5, 30000)),
    ),
    "SambaNova: a minute's and a day's": (
        x(limit_requests=60, remaining_requests=42, reset_requests=30)
        | x(limit_requests_day=1000, remaining_requests_day=900, reset_requests_day=86400),
        Heard(Rates(60)),
    ),
    "Anthropic's documentation: a time, by the server's clock": (
        {
            "date": "Sun, 19 Oct 2025 00:14:20 GMT",
            "anthropic-ratelimit-requests-limit": "1000",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2025-10-19T00:14:50Z",
            "anthropic-ratelimit-tokens-limit": "50000",
            "anthropic-ratelimit-tokens-remaining": "32451",
            "anthropic-ratelimit-tokens-reset": "2025-10-19T00:14:50Z",
        },
        Heard(Rates(1000, 50000), pause_s=30),
    ),
    "a window that began with the minute is used up": (
        x(limit_requests=60, remaining_requests=0, reset_requests="20s"),
        Heard(Rates(60), pause_s=20),
    ),
    "a window that began with the minute, first request": (
        x(limit_requests=60, remaining_requests=59, reset_requests="1m0s"),
        Heard(Rates(60)),
    ),
    "the tighter of two": (x(limit_requests=60, limit_requests_minute=50), Heard(Rates(50))),
    "names in capitals": ({"X-RateLimit-Limit-Requests": "60"}, Heard(Rates(60))),
    "nonsense": (x(limit_requests="many", remaining_requests="", reset_requests="soon", limit_tokens="∞"), Heard()),
    "nothing": ({}, Heard()),
}


@pytest.mark.parametrize("seen", SEEN)
def test_limits_are_read_as_they_are_meant(seen: str) -> None:
    headers, meant = SEEN[seen]

    assert read_limits(headers) == meant


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2),
        ({"Retry-After": "20", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "Sun, 19 Oct 2025 00:14:50 GMT", "date": "Sun, 19 Oct 2025 00:14:20 GMT"}, 30),
        ({"retry-after": "-1"}, 0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2),
        ({"retry-after": "later"}, 0),
        (
            {
                "x-ratelimit-remaining": "0",
                "x-ratelimit-reset": "1741305600000",
                "date": "Thu, 06 Mar 2025 23:59:15 GMT",
            },
            45,
        ),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "45"}, 0),
        ({"x-rate-limit-reset-tokens": "55"}, 55),
        (x(limit_tokens=6000, remaining_tokens=0, reset_tokens="40s"), 40),
        ({}, 0),
    ],
)
def test_what_a_refusal_asks_to_wait_is_found(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_s(headers) == seconds
