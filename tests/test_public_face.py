"""What a user imports: there, sorted, documented, and loaded only when it is used."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import autosearch
from autosearch import errors

PACKAGE = Path(autosearch.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)
WITH_EXAMPLES = [path for path in MODULES if ">>>" in path.read_text(encoding="utf-8")]


def test_every_public_name_is_there_and_is_listed():
    assert autosearch.__all__ == sorted(autosearch.__all__)
    assert set(autosearch.__all__) <= set(dir(autosearch))
    for name in autosearch.__all__:
        assert getattr(autosearch, name).__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'studdy'"):
        _ = autosearch.studdy


def test_from_the_package_itself_only_the_errors_and_values_are_loaded():
    code = (
        "import sys\nfrom autosearch import Budget, at_most, maximize\n"
        "from autosearch import errors\n"
        "heavy = {'tensorflow', 'keras', 'optuna', 'keras_tuner', 'streamlit'}\n"
        "heavy |= {'pandas', 'sqlalchemy', 'sklearn'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "from autosearch import SearchSpace, Study\n"
        "from autosearch.data import Digits\n"
        "heavy -= {'pandas', 'sklearn', 'sqlalchemy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_says_what_it_offers(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a module begins with what it is for"
    named: set[str] = set()
    offered = None
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            named.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            named |= {alias.asname or alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("autosearch"):
                taken = [alias.name for alias in node.names]
                private = [name for name in taken if name[0] == "_" and name != "__version__"]
                assert not private, f"{private} is another module's own"
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            named |= names
            if "__all__" in names:
                offered = ast.literal_eval(node.value)
    if offered is not None and path != PACKAGE / "__init__.py":
        assert set(offered) <= named
        constants = [name for name in offered if name.isupper()]
        classes = [name for name in offered if not name.isupper() and name[0].isupper()]
        rest = [name for name in offered if name[0].islower()]
        assert offered == sorted(constants) + sorted(classes) + sorted(rest)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_examples_in_the_docstrings_run(path):
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    module = importlib.import_module(name.removesuffix(".__init__"))
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_the_errors_are_the_tree_that_their_docstring_draws():
    drawn, above = {}, {}
    for line in errors.__doc__.splitlines():
        found = re.match(r"\s{4}([│├└─ ]*)(\w+Error)\b", line)
        if found:
            depth, name = len(found[1]) // 4, found[2]
            above[depth] = name
            drawn[name] = above.get(depth - 1)
    kinds = {name: getattr(errors, name).__bases__[0].__name__ for name in errors.__all__}
    assert drawn.pop("AutosearchError") is None
    assert kinds.pop("AutosearchError") == "Exception"
    assert drawn == kinds
