"""How the API describes itself in OpenAPI, where the framework would not say just what is so."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import (
    OpenAPIMediaType,
    OpenAPIType,
    Operation,
    Parameter,
    RequestBody,
    Schema,
)
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition

from .answers import EventData
from .commands import body_schema

__all__ = ["CONFIG", "PLUGINS", "Described", "DescribedCommand"]


@dataclass
class Described(Operation):
    """An operation whose optional parameters may be left out, and are never null: no URL and no header can say that."""

    def __post_init__(self) -> None:
        for parameter in self.parameters or ():
            schema = parameter.schema if isinstance(parameter, Parameter) else None
            if isinstance(schema, Schema) and schema.one_of is not None:  # a text or null: numbers have defaults
                schema.one_of, schema.type = None, OpenAPIType.STRING


@dataclass
class DescribedCommand(Described):
    """The operation whose handler reads the body itself, so that no number in it has been a float on the way."""

    def __post_init__(self) -> None:
        super().__post_init__()
        content: dict[str, Any] = {"application/json": OpenAPIMediaType(schema=body_schema())}  # type: ignore[arg-type]  # plain JSON Schema will do
        self.request_body = RequestBody(content, required=True)


class _Amounts(OpenAPISchemaPlugin):
    """Describes an amount as what it is on the way out: text."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:  # noqa: ANN401 - any type is asked about
        return value is Decimal

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:  # noqa: ANN401, ARG002 - its class is private
        return Schema(type=OpenAPIType.STRING, pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["1300.00"])


class _Events(OpenAPISchemaPlugin):
    """Describes the data of events by any of its classes: two of them may look alike, so it is not one of them."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:  # noqa: ANN401 - any type is asked about
        return bool(value == EventData)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:  # noqa: ANN401 - its class is private
        return Schema(any_of=[schema_creator.for_field_definition(one) for one in field_definition.inner_types])


PLUGINS: Final = (_Amounts(), _Events())
CONFIG: Final = OpenAPIConfig(
    "The bank",
    "1.0",
    path="/docs",
    render_plugins=[SwaggerRenderPlugin(path="/"), JsonRenderPlugin(path="/openapi.json")],
)
