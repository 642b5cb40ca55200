"""Calls of OpenAI's client, other than for completions: tried again while what fails may pass by itself."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import openai

from prelabel.config import Settings
from prelabel.errors import LLMQueueFull, LLMUnavailable
from prelabel.llm.pauses import pause_s
from prelabel.llm.refusals import Refusal, unanswered

T = TypeVar("T")

LONGEST_WAIT_S = 30.0
"""A server that asks to be left alone for longer is left to the caller."""


class Tries:
    """``LLM_MAX_RETRIES`` after the first.

    :param model: as the settings call it.
    """

    def __init__(self, model: str, settings: Settings) -> None:
        self._model = model
        self._most = settings.llm_max_retries
        self._timeout_s = settings.llm_timeout

    async def of(self, call: Callable[[], Awaitable[T]], *, is_known: bool = False) -> T:
        """What ``call`` gives.

        :param is_known: it names a batch or a file that was there.
        :raises LLMError: it gave nothing.
        """
        tries = 0
        while True:
            try:
                return await self._translated(call, is_known=is_known)
            except LLMUnavailable as error:
                tries += 1
                is_long = isinstance(error, LLMQueueFull) or error.retry_after_s > LONGEST_WAIT_S
                if is_long or tries > self._most:
                    raise
                await asyncio.sleep(pause_s(error, tries))

    async def _translated(self, call: Callable[[], Awaitable[T]], *, is_known: bool) -> T:
        try:
            return await call()
        except openai.APIStatusError as error:
            raise Refusal.read(error).as_batch_error(self._model, is_known=is_known) from error
        except openai.OpenAIError as error:
            raise unanswered(error, self._timeout_s) from error
        except ValueError as error:
            raise LLMUnavailable("the LLM's server sent what is no JSON") from error
