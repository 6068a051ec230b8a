"""A QGIS expression on the properties of scenes as CQL2-JSON, which dcsh.scenes_where takes."""

from __future__ import annotations

import json
from typing import Any

from qgis.core import (
    QgsExpression,
    QgsExpressionNode,
    QgsExpressionNodeBinaryOperator,
    QgsExpressionNodeColumnRef,
    QgsExpressionNodeInOperator,
    QgsExpressionNodeLiteral,
    QgsExpressionNodeUnaryOperator,
)

from .queries import InvalidInput

_OPERATORS = {"=", "<>", "<", "<=", ">", ">=", "AND", "OR", "LIKE"}


def cql2(text: str) -> str | None:
    """CQL2-JSON of an expression, None of an empty one.

    Raises:
        InvalidInput: it is no expression, or uses more than CQL2 has.
    """
    if not text.strip():
        return None
    expression = QgsExpression(text)
    if expression.hasParserError():
        raise InvalidInput(f"the condition cannot be read: {expression.parserErrorString()}")
    return json.dumps(_node(expression.rootNode()))


def _node(node: QgsExpressionNode) -> Any:
    if isinstance(node, QgsExpressionNodeLiteral):
        return node.value()
    if isinstance(node, QgsExpressionNodeColumnRef):
        return {"property": node.name()}
    if isinstance(node, QgsExpressionNodeUnaryOperator):
        return _unary(node)
    if isinstance(node, QgsExpressionNodeInOperator):
        values = [_node(value) for value in node.list().list()]
        made = {"op": "in", "args": [_node(node.node()), values]}
        return {"op": "not", "args": [made]} if node.isNotIn() else made
    if isinstance(node, QgsExpressionNodeBinaryOperator):
        return _binary(node)
    raise InvalidInput(f"a condition on scenes cannot use {node.dump()}")


def _unary(node: QgsExpressionNodeUnaryOperator) -> Any:
    operand = _node(node.operand())
    if node.text() == "NOT":
        return {"op": "not", "args": [operand]}
    if isinstance(operand, (int, float)):
        return -operand
    raise InvalidInput(f"a condition on scenes cannot use {node.dump()}")


def _binary(node: QgsExpressionNodeBinaryOperator) -> Any:
    operator = node.text()
    left, right = _node(node.opLeft()), _node(node.opRight())
    if operator in ("IS", "IS NOT") and right is None:
        made = {"op": "isNull", "args": [left]}
        return made if operator == "IS" else {"op": "not", "args": [made]}
    if operator == "NOT LIKE":
        return {"op": "not", "args": [{"op": "like", "args": [left, right]}]}
    if operator not in _OPERATORS:
        raise InvalidInput(f"a condition on scenes cannot use {operator}")
    return {"op": operator.lower(), "args": [left, right]}
