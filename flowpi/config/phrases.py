"""Describes the types of the settings in words, for errors and for the documents."""

from msgspec import inspect

from flowpi.config.addresses import one_of


def expected(kind: inspect.Type) -> str:
    """Return the phrase that follows "must be"."""
    match kind:
        case inspect.Metadata(extra={"expected": str(phrase)}):
            return phrase
        case inspect.Metadata(type=inner):
            return expected(inner)
        case inspect.UnionType(types=types) if all(isinstance(each, inspect.StructType) for each in types):
            return "a mapping"
        case inspect.UnionType(types=types):
            some = [each for each in types if not isinstance(each, inspect.NoneType)]
            words = []
            for each in sorted(some, key=expected, reverse=True):
                chosen = each.values if isinstance(each, inspect.LiteralType) else [expected(each)]
                words += [str(value) for value in chosen]
            return one_of(words + ["null"] * (len(some) < len(types)))
        case inspect.LiteralType(values=values):
            return one_of([str(value) for value in values])
        case inspect.IntType(ge=int(low), le=int(high)):
            return f"a whole number from {low} to {high}"
        case inspect.FloatType(ge=low, le=high):
            return f"a number from {low} to {high}"
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType():
            return "text"
        case inspect.BytesType():
            return "base64"
        case inspect.CustomType():
            return "text, {credential: NAME}, {file: PATH} or {env: NAME}"
        case inspect.VarTupleType(min_length=least, item_type=item):
            return f"a list of {expected(item)}" + (", not empty" if least else "")
        case inspect.TupleType(item_types=items):
            return f"a list of {len(items)} times {expected(items[0])}"
    return "a mapping"


def plain(kind: inspect.Type) -> inspect.Type:
    """Return a type without its description, and without the choice of null."""
    if isinstance(kind, inspect.Metadata):
        return plain(kind.type)
    if isinstance(kind, inspect.UnionType):
        rest = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        if len(rest) == 1:
            return plain(rest[0])
    return kind
