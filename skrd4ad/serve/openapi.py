"""What the service offers, as OpenAPI 3.1 and as a page for people."""

import html
from collections.abc import Mapping
from typing import Any

import skrd4ad

_PREDICT = {"$ref": "#/components/schemas/predict"}
_REFUSALS = {
    "400": "A value that is not allowed, or no image",
    "401": "No key, or one that is not known",
    "403": "The key's role may not do this",
    "404": "No such model",
    "413": "The body is too large",
    "415": "The body is of another type",
    "422": "The image cannot be read, or has too many pixels",
    "429": "Too many inspections are under way: send it again after Retry-After",
    "503": "No answer within the time limit, or the model cannot be used",
}
_QUERY: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("model", "dataset/class/run, dataset/class or class; may be left out where one class is served", {}),
    ("name", "name of the image in the document; by default that of the file in a form", {}),
    ("threshold", "NG above this score, in place of the model's limits", {"type": "number"}),
    ("tiled", "see a large image in tiles", {"enum": ["auto", "on", "off"]}),
    ("mm_per_pixel", "scale of the image: regions get area_mm2, box_mm, centroid_mm", {"type": "number"}),
    ("overlay", "png: the image with its heat map, as a data URI in files.overlay", {"enum": ["png"]}),
)


def described(documents: Mapping[str, Any]) -> dict[str, Any]:
    """The OpenAPI document. ``documents``: ``$defs`` of the JSON schema of the commands' documents."""
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    added = {"type": "object", "properties": {"added": {"type": "boolean"}}, "required": ["added"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SK-RD4AD Studio",
            "version": skrd4ad.__version__,
            "description": "Verdicts on images. /v2 is the Open Inference Protocol, which its clients know.",
        },
        "security": [{"key": []}, {}],
        "paths": {
            "/v1/inspect": {"post": _image("The verdict on an image", _PREDICT)},
            "/v1/review": {
                "post": _image(
                    "The verdict on an image, which then waits in the queue for a person; added: it was not there yet",
                    {"allOf": [_PREDICT, added]},
                )
            },
            "/v1/models": {"get": _got("The models that are served", {"$ref": "#/components/schemas/models"})},
            "/v1/models/{name}/calibrations": {
                "get": _got(
                    "All calibrations of a model, and which one is in use",
                    {"$ref": "#/components/schemas/CalibrationVersions"},
                    name,
                )
            },
            "/metrics": {"get": _got("Counts for Prometheus", None)},
            **{
                path: {"get": _got(about, {"type": "object"}, *parameters)}
                for path, about, parameters in (
                    ("/v2", "Name, version and extensions of the server", ()),
                    ("/v2/health/live", "200 while the process answers", ()),
                    ("/v2/health/ready", "200 once the model is open", ()),
                    ("/v2/models/{name}", "Inputs and outputs of a model", (name,)),
                    ("/v2/models/{name}/ready", "200 when the model can be used", (name,)),
                )
            },
            "/v2/models/{name}/infer": {
                "post": {
                    "summary": "Scores, verdicts and maps of images as tensors, as JSON or binary",
                    "parameters": [name],
                    "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
                    "responses": _responses({"type": "object"}),
                }
            },
        },
        "components": {
            "schemas": _moved(dict(documents)),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def page(documents: Mapping[str, Any]) -> str:
    """A page that lists the paths; it fetches nothing."""
    found = described(documents)
    parts = []
    for path, by_method in found["paths"].items():
        for method, about in by_method.items():
            rows = "".join(
                f"<tr><td><code>{html.escape(each['name'])}</code></td>"
                f"<td>{html.escape(each.get('description', ''))}</td></tr>"
                for each in about.get("parameters", ())
            )
            parts.append(
                f"<h2><code>{method.upper()} {html.escape(path)}</code></h2><p>{html.escape(about['summary'])}.</p>"
                + (f"<table>{rows}</table>" if rows else "")
            )
    refusals = "".join(f"<tr><td><code>{status}</code></td><td>{why}</td></tr>" for status, why in _REFUSALS.items())
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>SK-RD4AD Studio: service</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
:root {{ color-scheme: light dark }} body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto;
padding: 0 1rem }} h2 {{ font-size: 1rem; margin: 2rem 0 0; overflow-wrap: anywhere }} p {{ margin: .25rem 0 }}
td {{ padding: .1rem 1rem .1rem 0; vertical-align: top }}</style></head><body><h1>SK-RD4AD Studio: service</h1>
<p>Version {html.escape(skrd4ad.__version__)}. <a href="/openapi.json">OpenAPI document</a>,
<a href="/metrics">counts for Prometheus</a>.</p>
<p>An image is the body of a request, or the part <code>image</code> of a form. By curl:</p>
<pre>curl -F image=@part.png http://localhost:8600/v1/inspect</pre>
{"".join(parts)}<h2>What is refused</h2>
<p>As <code>{{"error": "what was given, what is allowed, what to do"}}</code>:</p>
<table>{refusals}</table></body></html>"""


def _image(summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    form = {"type": "object", "properties": {"image": {"type": "string", "format": "binary"}}, "required": ["image"]}
    return {
        "summary": summary,
        "parameters": [
            {"name": name, "in": "query", "description": about, "schema": {"type": "string", **kind}}
            for name, about, kind in _QUERY
        ],
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}, "image/*": {}, "application/octet-stream": {}},
        },
        "responses": _responses(schema),
    }


def _got(summary: str, schema: dict[str, Any] | None, *parameters: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "parameters": list(parameters), "responses": _responses(schema)}


def _responses(schema: dict[str, Any] | None) -> dict[str, Any]:
    content = {"text/plain": {}} if schema is None else {"application/json": {"schema": schema}}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorDocument"}}}
    refused = {status: {"description": why, "content": error} for status, why in _REFUSALS.items()}
    return {"200": {"description": "Done", "content": content}, **refused}


def _moved(schema: Any) -> Any:
    """A schema with its references as OpenAPI has them."""
    if isinstance(schema, dict):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _moved(value)
            for key, value in schema.items()
        }
    return [_moved(each) for each in schema] if isinstance(schema, list) else schema
