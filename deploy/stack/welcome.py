"""What a stack that is ready tells people: where to go, how to get in, what to try."""

from collections.abc import Collection, Iterator, Mapping

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
  Shift+Enter: this ticket is answered anew. Submit keeps the prompt as a draft."""
COMMAND = ".venv/bin/python -m prelabel"
WIDTH = 60
"""Of a command that has a comment."""


def welcome(
    folder: Folder,
    env: Mapping[str, str],
    settings: Settings,
    projects: Mapping[str, int],
    given: Collection[str] = (),
) -> str:
    """All of it, with the password.

    :param projects: the sample's projects that are there: their numbers by title.
    :param given: the settings' variables that were set by whoever started it, which another shell does not have.
    """
    studio = env["LABEL_STUDIO_URL"]
    places = [f"  {title:<18}{studio}/projects/{number}/data" for title, number in projects.items()]
    is_llm = settings.openai_provider != "local"
    commands = _commands(folder, given, min(projects.values(), default=1) if is_llm else None)
    lines = [
        f"\nReady: {studio}\n",
        f"  {'log in':<18}{env['LABEL_STUDIO_USERNAME']}",
        f"  {'password':<18}{env['LABEL_STUDIO_PASSWORD']}",
        *places,
        "\nTo try:\n",
        REVIEWING,
        WITH_LLM.format(model=settings.openai_model) if is_llm else WITHOUT_LLM,
        "\nprelabel's commands, in another shell:\n",
        *(f"  {command:<{WIDTH}}# {comment}" if comment else f"  {command}" for command, comment in commands),
        "\nCtrl-C stops everything; the data stays.",
    ]
    return "\n".join(lines)


def _commands(folder: Folder, given: Collection[str], prompted: int | None) -> Iterator[tuple[str, str]]:
    """What is typed, each with a comment or none.

    :param prompted: a project whose prompt people try, None without an LLM.
    """
    if given:
        names = " ".join(f"{name}=..." for name in sorted(given))
        yield f"export {names}", "the values that this one was started with"
    yield f". {short(folder.env_file)}", ""
    if prompted is not None:
        yield f"{COMMAND} prompts promote --project {prompted} 1", "the draft is the project's prompt now"
        yield f"{COMMAND} run --project {prompted}", "and all is predicted anew"
    yield f"{COMMAND} doctor", "whether all is well"
    yield f"{COMMAND} --help", "what else there is"
