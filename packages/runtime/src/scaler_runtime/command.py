"""What every command's `main` does: read the options, run, and end with one clear line where something is wrong.

The only file that imports the command-line library, which carries the parsing and the precedence: command line, then
environment, then the TOML file's section, then defaults.
"""

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING
from typing import Annotated, Any, NoReturn

from cyclopts import App, Parameter
from cyclopts.argument import Argument, ArgumentCollection
from cyclopts.config import Env, Toml
from cyclopts.exceptions import CycloptsError, MissingArgumentError, UnknownOptionError
from cyclopts.token import Token

from scaler_runtime.config import ConfigError, ConfigT, OptionField, build, option_fields
