"""A project as it stands: what Label Studio and the settings say of it, put together."""

from dataclasses import dataclass, replace

from prelabel.config import Settings
from prelabel.store.keys import ProjectRef
from prelabel.store.projects import ProjectState
from prelabel.studio.label_config import LabelConfig
from prelabel.versions import model_version


@dataclass(frozen=True, slots=True)
class Project:
    """A project: its config, its settings over the environment's, its version."""

    state: ProjectState
    config: LabelConfig
    """Without its reasoning field where no rationale is to be shown."""
    settings: Settings
    version: str

    @classmethod
    def of(cls, state: ProjectState, config: LabelConfig, settings: Settings) -> "Project":
        """:param settings: the environment's; the project's own are put over them."""
        own = settings.with_overrides(state.settings)
        if own.rationale == "0" or own.openai_provider == "local":
            config = replace(config, reasoning_field=None)
        return cls(state, config, own, model_version(own, state, config))

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
