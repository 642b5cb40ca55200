"""Every way prelabel can fail, drawn as one tree.

Bad data is no error: a ticket that cannot be labelled is an abstention with its reason. What stands here is a world
that is broken (Redis, the LLM's server, Label Studio) or a caller's mistake, and each is raised in one place: vendors'
errors are translated where the vendor is met.
"""


class PrelabelError(Exception):
    """Whatever prelabel raises on purpose; its text is fit to be shown."""


class SettingsError(PrelabelError):
    """An environment variable or project setting is wrong; the text names it, the value and what is allowed."""


class RequestError(PrelabelError):
    """The caller's request is wrong.

    :param kind: a stable word for programs, such as ``malformed_json``.
    :param status: the HTTP status, 400 to 499.
    """

    def __init__(self, kind: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status


class LabelConfigError(RequestError):
    """A label config that is missing, broken or without a control that prelabel can answer."""

    def __init__(self, message: str) -> None:
        super().__init__("label_config", message)


class StoreUnavailable(PrelabelError):
    """Redis does not answer."""


class StoreRefuses(StoreUnavailable):
    """Redis answers that it will not: no memory left, no right to, or a key that holds something else."""


class LLMError(PrelabelError):
    """The LLM's server gave no answer that could be read."""

    lost_tries = 0
    """Requests that were sent and got no answer, or none that could be read: the provider may bill them."""


class LLMRefusesRequest(LLMError):
    """The same request would be refused however often it is made: wrong key, unknown model, no quota left."""


class LLMRefusesContent(LLMRefusesRequest):
    """One of the texts in the request is the cause (too long, filtered); without it the rest would be answered."""


class LLMRefusesForm(LLMRefusesRequest):
    """Called bad without a reason that is known: it may be one of the texts, or what is asked of the model."""


class LLMHasNoBatches(LLMRefusesRequest):
    """The server has no Batch API, or one that prelabel does not speak."""


class LLMBatchUnknown(LLMRefusesRequest):
    """The server knows no such batch: another account's, or one of long ago."""


class LLMUnavailable(LLMError):
    """Down, slow or overloaded: the same request may well succeed a little later.

    :param retry_after_s: seconds the server asked to be left alone, 0 if it did not say.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LLMBusy(LLMUnavailable):
    """Answered 429: too many requests or tokens for this key just now, which is nobody's fault and passes."""


class LLMQueueFull(LLMBusy):
    """So much is queued in batches that there is no room for more until some of them have ended."""


class StudioError(PrelabelError):
    """Label Studio refused or did not answer; the text says what to do.

    :param cure: what to do, where it stands apart from what happened.
    :param status: the HTTP status of a refusal.
    """

    def __init__(self, message: str, cure: str = "", status: int | None = None) -> None:
        super().__init__(f"{message}: {cure}" if cure else message)
        self.message = message
        self.cure = cure
        self.status = status

    @property
    def is_passing(self) -> bool:
        """Whether the same may well be answered a little later; a 500 is also what a busy SQLite gives."""
        return self.status == 500


class StudioAway(StudioError):
    """Label Studio did not answer, or its proxy in its place: it may well a little later."""

    @property
    def is_passing(self) -> bool:
        return True


class InvalidPrediction(PrelabelError):
    """A prediction of ours that Label Studio's interface could not show; it never leaves."""
