"""What a stack that is ready tells people: where to go, how to get in, what to try."""

from collections.abc import Mapping

from deploy.stack.console import short
from deploy.stack.folder import Folder
from prelabel.config import Settings

REVIEWING = """\
  Open a ticket: its label is chosen. Correct it if need be and submit; prelabel learns from it.
  The list begins with what the model is least sure of: it is ordered by prediction score."""
WITHOUT_LLM = """\
  No LLM is set: what predicts is a small model that has learnt from the reviewed tickets. An LLM
  follows prompts, too: stop, then OPENAI_API_KEY=... make run, or OPENAI_BASE_URL=http://... make run."""
WITH_LLM = """\
  {model} predicts. Open a ticket, switch Auto-Annotation on, say in Prompt how to label, press
  Shift+Enter: this ticket is answered anew. Submit keeps the prompt as a draft. In another shell:
    {shell}
    .venv/bin/python -m prelabel prompts promote --project {project} 1    # now it is the project's
    .venv/bin/python -m prelabel run --project {project}                  # and all is predicted anew"""


def welcome(folder: Folder, env: Mapping[str, str], settings: Settings, projects: Mapping[str, int]) -> str:
    """:param projects: the sample's projects that are there: their numbers by title."""
    studio = env["LABEL_STUDIO_URL"]
    places = [f"  {title:<18}{studio}/projects/{number}/data" for title, number in projects.items()]
    shell = f". {short(folder.env_file)}"
    model, first = settings.openai_model, min(projects.values(), default=1)
    is_llm = settings.openai_provider != "local"
    prompts = WITH_LLM.format(model=model, shell=shell, project=first) if is_llm else WITHOUT_LLM
    lines = [
        f"\nReady: {studio}\n",
        f"  {'log in':<18}{env['LABEL_STUDIO_USERNAME']}",
        f"  {'password':<18}{env['LABEL_STUDIO_PASSWORD']}",
        *places,
        "\nTo try:\n",
        REVIEWING,
        prompts,
        f"  All commands: {shell} && .venv/bin/python -m prelabel --help",
        "\nCtrl-C stops everything; the data stays.",
    ]
    return "\n".join(lines)
