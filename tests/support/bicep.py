"""Reads Bicep: what a file declares, and what its expressions come to as far as that is known here.

Not for: compiling it. Microsoft's compiler also knows the types of all resources; this does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tree_sitter
import tree_sitter_bicep

INFRA = Path(__file__).parents[2] / "infra"
_parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))


@dataclass(frozen=True)
class Later:
    """What only a deployment knows: its text in the file."""

    text: str

    def __str__(self):
        return f"<{self.text}>"


class File:
    """One Bicep file, with the values that are given to its parameters."""

    def __init__(self, path, **given):
        self.path = path
        self.root = _parser.parse(path.read_bytes()).root_node
        assert not self.root.has_error, path
        self.given = given
        self.parameters, self.variables, self.modules, self.resources = {}, {}, {}, {}
        self.outputs = set()
        for node in self.root.named_children:
            self._declare(node)

    def _declare(self, node):
        parts = [one for one in node.named_children if one.type not in {"comment", "decorators"}]
        name = parts[0].text.decode() if parts else ""
        match node.type:
            case "parameter_declaration":
                self.parameters[name] = parts[2] if len(parts) > 2 else None
            case "variable_declaration":
                self.variables[name] = parts[-1]
            case "output_declaration":
                self.outputs.add(name)
            case "module_declaration":
                self.modules[name] = (self.value(parts[1]), _body(parts[-1]))
            case "resource_declaration":
                self.resources[name] = _body(parts[-1])
                for inner in named(self.resources[name], "resource_declaration", depth=2):
                    self._declare(inner)

    def nodes(self, *types):
        """Every node of these types."""
        return named(self.root, *types)

    def resource(self, name):
        """A resource's body; of a resource that is declared in a loop, a list of them."""
        return self.value(self.resources[name])

    def value(self, node, names=None):
        """What an expression comes to; `names` are those of the loops around it."""
        known = getattr(self, f"_{node.type}", None)
        inner = [one for one in node.named_children if one.type != "comment"]
        return known(node, inner, names or {}) if known else _later(node)

    def _number(self, node, *_):
        return int(node.text)

    def _boolean(self, node, *_):
        return node.text == b"true"

    def _null(self, *_):
        return None

    def _string(self, _, inner, names):
        return "".join(self._piece(one, names) for one in inner)

    def _piece(self, node, names):
        if node.type == "interpolation":
            return str(self.value(node.named_children[0], names))
        return node.text.decode()

    def _identifier(self, node, _, names):
        name = node.text.decode()
        for known in (names, self.given):
            if name in known:
                return known[name]
        declared = self.parameters.get(name) or self.variables.get(name)
        return self.value(declared) if declared else _later(node)

    def _object(self, _, inner, names):
        pairs = [one.named_children for one in inner if len(one.named_children) > 1]
        return {self._key(key, names): self.value(value, names) for key, value in pairs}

    def _key(self, node, names):
        return node.text.decode() if node.type == "identifier" else self.value(node, names)

    def _array(self, _, inner, names):
        return [self.value(one, names) for one in inner]

    def _ternary_expression(self, node, inner, names):
        condition, yes, no = inner
        chosen = self.value(condition, names)
        if isinstance(chosen, Later):
            return _later(node)
        return self.value(yes if chosen else no, names)

    def _binary_expression(self, node, inner, names):
        assert b" == " in node.text
        left, right = (self.value(one, names) for one in inner)
        return left == right

    def _member_expression(self, node, inner, names):
        whole = self.value(inner[0], names)
        return whole[inner[1].text.decode()] if isinstance(whole, dict) else _later(node)

    def _for_statement(self, _, inner, names):
        item, over, body = inner
        return [self.value(body, names | {item.text.decode(): one}) for one in self.value(over)]

    def _call_expression(self, node, _, names):
        function = node.child_by_field_name("function").text.decode()
        arguments = node.child_by_field_name("arguments").named_children
        known = {
            "empty": lambda one: not one,
            "string": str,
            "union": lambda *given: {key: value for one in given for key, value in one.items()},
            "concat": lambda *given: [one for part in given for one in part],
            "replace": lambda text, old, new: text.replace(old, str(new)),
            "uri": lambda base, path: base.rstrip("/") + "/" + path,
            "loadTextContent": lambda name: (self.path.parent / name).read_text(),
        }
        values = [self.value(one, names) for one in arguments]
        if function not in known or any(isinstance(one, Later) for one in values[:2]):
            return _later(node)
        return known[function](*values)


def named(node, *types, depth=99):
    """Every node of these types below this one, as many levels deep."""
    found = []
    for child in node.named_children:
        if child.type in types:
            found.append(child)
        if depth:
            found += named(child, *types, depth=depth - 1)
    return found


def module(name, **given):
    """A module as main.bicep calls it, for a deployment with these parameters."""
    main = File(INFRA / "main.bicep", environmentName="test", location="westeurope", **given)
    path, body = main.modules[name]
    return File(INFRA / path, **main.value(body)["params"])


def _body(node):
    kinds = {"object", "for_statement"}
    return node if node.type in kinds else named(node, *kinds, depth=2)[0]


def _later(node):
    return Later(node.text.decode())
