"""Teaches papermill to write parameters in Rhai, the language of longlens notebooks.

Once this is installed, `papermill in.ipynb out.ipynb -p x 5` works for notebooks with the longlens kernel.

papermill asks installed packages for engines, but not for translators. So this module offers an engine, which runs notebooks
as papermill's own does; importing it is what registers the translator.
"""

import math
import re

from papermill.engines import NBClientEngine
from papermill.exceptions import PapermillException
from papermill.models import Parameter
from papermill.translators import Translator, papermill_translators

ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
ASSIGNMENT = re.compile(r"^\s*(?:let\s+)?(?P<name>[A-Za-z_]\w*)\s*=(?!=)\s*(?P<value>.*?)\s*;\s*(?://\s*(?P<help>.*))?$")


class RhaiTranslator(Translator):
    """Python values as Rhai literals."""

    @classmethod
    def translate_none(cls, val):
        return "()"

    @classmethod
    def translate_int(cls, val):
        if not -(2**63) <= val < 2**63:
            raise PapermillException(f"{val} does not fit the 64 bits of a number in Rhai; pass a smaller one, or text")
        # written as it is, the least number would be the negative of one that does not fit
        return str(val) if val > -(2**63) else f"({val + 1} - 1)"

    @classmethod
    def translate_float(cls, val):
        if not math.isfinite(val):
            raise PapermillException(f"{val} is no number in Rhai; pass a finite one")
        return repr(val) if "." in repr(val) else repr(val).replace("e", ".0e")

    @classmethod
    def translate_escaped_str(cls, str_val):
        return '"' + "".join(cls._escaped(sign) for sign in str(str_val)) + '"'

    @classmethod
    def translate_dict(cls, val):
        pairs = (f"{cls.translate_str(key)}: {cls.translate(value)}" for key, value in val.items())
        return "#{" + ", ".join(pairs) + "}"

    @classmethod
    def translate_list(cls, val):
        return "[" + ", ".join(cls.translate(item) for item in val) + "]"

    @classmethod
    def comment(cls, cmt_str):
        return f"// {cmt_str}".strip()

    @classmethod
    def assign(cls, name, str_val):
        return f"let {name} = {str_val};"

    @classmethod
    def inspect(cls, parameters_cell):
        """Names, defaults and comments of the assignments, for `papermill --help-notebook`."""
        found = (ASSIGNMENT.match(line) for line in parameters_cell["source"].splitlines())
        return [
            Parameter(name=match["name"], inferred_type_name="None", default=match["value"], help=match["help"] or "")
            for match in found
            if match
        ]

    @staticmethod
    def _escaped(sign):
        if sign in ESCAPES:
            return ESCAPES[sign]
        if 0xD800 <= ord(sign) <= 0xDFFF:
            raise PapermillException("a text holds half of a Unicode pair; pass valid Unicode")
        return sign if sign.isprintable() else f"\\U{ord(sign):08x}"


class Engine(NBClientEngine):
    """papermill's own engine; it is here so that papermill imports this module."""


# for notebooks with the longlens kernel, whatever language they say they are in, and for Rhai of other kernels
for name in ("longlens", "rhai"):
    papermill_translators.register(name, RhaiTranslator)
