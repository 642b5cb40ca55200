"""The input file of a batch: its rows, and what OpenAI has against it, by the codes that it uses.

Sources: Azure's guide "Getting started with Azure OpenAI batch deployments" (error codes), and reports of batches that
failed (https://community.openai.com/t/723696, https://github.com/stdapi-ai/stdapi.ai/issues/240).
"""

import json
from collections.abc import Mapping
from typing import Any

from tests.fakes.llm_replies import CHARACTERS_A_TOKEN

ENDPOINT = "/v1/chat/completions"


def read_input(
    lines: list[str], models: tuple[str, ...], endpoint: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What is wrong with the lines of an input file, and its rows."""
    errors: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    if not lines:
        errors.append(
            input_error("empty_file", "The input file is empty. Please ensure that the batch contains requests.")
        )
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            errors.append(input_error("invalid_json_line", "This line is not parseable as valid JSON.", line=number))
            continue
        if missing := [name for name in ("custom_id", "method", "url", "body") if not row.get(name)]:
            message = f"Missing required parameter: '{missing[0]}'."
            errors.append(input_error("missing_required_parameter", message, line=number, param=missing[0]))
            continue
        if row["custom_id"] in seen:
            message = "The custom_id for this request is a duplicate of another request. The custom_id parameter must "
            errors.append(
                input_error("duplicate_custom_id", f"{message}be unique for each request in a batch.", line=number)
            )
        if row["method"] != "POST" or row["url"] != endpoint:
            message = "The URL provided for this request does not match the batch endpoint."
            errors.append(input_error("invalid_url", message, line=number, param="url"))
        if rows and row["body"].get("model") != rows[0]["body"].get("model"):
            message = "The provided model does not match the model of the first request."
            errors.append(input_error("mismatched_model", message, line=number, param="body.model"))
        if row["body"].get("model") not in models:
            message = f"The provided model '{row['body'].get('model')}' is not supported by the Batch API."
            errors.append(input_error("model_not_found", message, line=number, param="body.model"))
        seen.add(row["custom_id"])
        rows.append(row)
    return errors, rows


def input_error(code: str, message: str, line: int | None = None, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "line": line, "param": param}


def count_tokens(row: Mapping[str, Any]) -> int:
    return sum(len(message["content"]) for message in row["body"]["messages"]) // CHARACTERS_A_TOKEN
