"""The documentation page: the OpenAPI document as plain HTML: no scripts, no foreign servers."""

from __future__ import annotations

import json
from html import escape
from itertools import groupby
from typing import Any

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1d2433;background:#fff}
h2{margin-top:2.5rem;border-bottom:1px solid #ccd}
details{border:1px solid #dde;border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer}
code,pre{font:14px/1.4 ui-monospace,monospace}
pre{background:#f4f5fa;padding:.8rem;overflow:auto;border-radius:6px}
.m{display:inline-block;min-width:4.5rem;font-weight:700}
td{padding:.1rem 1rem .1rem 0;vertical-align:top}
@media(prefers-color-scheme:dark){body{color:#dde;background:#14161d}pre{background:#1e212b}
details{border-color:#334}h2{border-color:#334}a{color:#8ab4ff}}
"""

CONTENT_SECURITY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"


def page(document: dict[str, Any]) -> str:
    """The page for an OpenAPI document."""
    rows = [
        (described["tags"][0], method.upper(), path, described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]
    sections = "".join(
        f"<h2>{escape(tag)}</h2>" + "".join(_operation(*row[1:]) for row in group)
        for tag, group in groupby(sorted(rows, key=lambda row: row[0]), key=lambda row: row[0])
    )
    schemas = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"{_json(schema)}</details>"
        for name, schema in sorted(document["components"]["schemas"].items())
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>dagnats API</title><style>{STYLE}</style><h1>dagnats API</h1>"
        f"<p>Version {escape(document['info']['version'])}. The same as a document for programs: "
        '<a href="/openapi.json">/openapi.json</a>. Errors are problem details (RFC 9457).</p>'
        f"{sections}<h2>schemas</h2>{schemas}</html>"
    )


def _operation(method: str, path: str, described: dict[str, Any]) -> str:
    parts = [f"<p>{escape(described.get('description', ''))}</p>"]
    parameters = described.get("parameters", [])
    if parameters:
        parts.append("<table>" + "".join(_parameter(each) for each in parameters) + "</table>")
    for title, holder in (("Body", described.get("requestBody")), *_answers(described)):
        if holder and holder.get("content"):
            media, content = next(iter(holder["content"].items()))
            parts.append(f"<p>{title} <code>{escape(media)}</code></p>{_json(content['schema'])}")
    return (
        f'<details><summary><span class="m">{method}</span><code>{escape(path)}</code> '
        f"{escape(described['summary'])}</summary>{''.join(parts)}</details>"
    )


def _answers(described: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"Answer {status}", answer)
        for status, answer in described["responses"].items()
        if status.startswith("2")
    ]


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    about = schema.get("description", "")
    return (
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{parameter['in']}</td>"
        f"<td>{escape(str(schema.get('type', '')))}</td><td>{escape(about)}</td></tr>"
    )


def _json(schema: dict[str, Any]) -> str:
    text = escape(json.dumps(schema, indent=2))
    return f"<pre>{text}</pre>"
