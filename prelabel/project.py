"""A project as it stands: what Label Studio and the settings say of it, put together."""

import logging
from dataclasses import dataclass, field, replace
from functools import lru_cache

from prelabel.config import Settings
from prelabel.quality.calibrator import UnknownCalibration
from prelabel.quality.scoring import Scoring
from prelabel.store.keys import ProjectRef
from prelabel.store.projects import ProjectState
from prelabel.studio.label_config import LabelConfig
from prelabel.versions import model_version

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Project:
    """A project: its config, its settings over the environment's, its version."""

    state: ProjectState
    config: LabelConfig
    """Without its reasoning field where no rationale is to be shown."""
    settings: Settings
    version: str
    scoring: Scoring = field(default_factory=Scoring)
    """What scores are made by, frozen as long as the version stays."""

    @classmethod
    def of(cls, state: ProjectState, config: LabelConfig, settings: Settings) -> "Project":
        """:param settings: the environment's; the project's own are put over them."""
        own = settings.with_overrides(state.settings)
        if own.rationale == "0" or own.openai_provider == "local":
            config = replace(config, reasoning_field=None)
        version = model_version(own, state, config)
        frozen = state.scorings.get(version)
        return cls(state, config, own, version, _scoring(frozen) if frozen else Scoring())

    @property
    def ref(self) -> ProjectRef:
        return self.state.ref

    @property
    def has_rationale(self) -> bool:
        """Whether the LLM is asked to say why, before it chooses."""
        return self.settings.rationale == "1" or self.config.reasoning_field is not None

    @property
    def prompt(self) -> str:
        return self.state.prompt.text if self.state.prompt else self.settings.default_prompt_text


@lru_cache(maxsize=64)
def _scoring(text: str) -> Scoring:
    """What is kept of one; none of another version of prelabel."""
    try:
        return Scoring.from_json(text)
    except UnknownCalibration as error:
        log.warning("scores are not calibrated until there is a new generation: %s", error)
        return Scoring()
