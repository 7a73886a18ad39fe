"""The exceptions that autosearch raises, and what each of them means.

::

    AutosearchError
    ├── StudyError                  the study cannot go on, or must not start
    │   ├── DefinitionError         (ValueError) the user's words are wrong
    │   ├── ChangedDefinitionError  the file differs from the study of that name
    │   └── NothingTrainedError     every one of the first trials failed
    ├── TrialError                  this trial failed; the study goes on
    │   ├── BuildError              the model cannot be built or does not fit the data
    │   ├── TrainingError           training diverged or ran out of something
    │   └── ConversionError         the network cannot become a ``.tflite`` file
    ├── NotFoundError               (LookupError) no study, candidate, model or file of that name
    ├── StorageError                the database or artifact store cannot be reached or used
    └── VerificationError           a bundle is not what it says it is

A message says what came, what was expected and what to type next. The command line prints it
as one line; a traceback is shown only with ``--debug``.
"""

__all__ = [
    "AutosearchError",
    "BuildError",
    "ChangedDefinitionError",
    "ConversionError",
    "DefinitionError",
    "NotFoundError",
    "NothingTrainedError",
    "StorageError",
    "StudyError",
    "TrainingError",
    "TrialError",
    "VerificationError",
]


class AutosearchError(Exception):
    """The root: catch it to catch everything that autosearch says on purpose."""


class StudyError(AutosearchError):
    """The study cannot go on, or must not start."""


class DefinitionError(StudyError, ValueError):
    """A study, a space or a parameter is not well defined."""


class ChangedDefinitionError(StudyError):
    """The study's file differs from what the database holds under its name."""


class NothingTrainedError(StudyError):
    """Every one of the first trials failed, so the rest would too."""


class TrialError(AutosearchError):
    """This trial failed. It is recorded with its traceback, and the study goes on."""


class BuildError(TrialError):
    """The model cannot be built, or does not fit the data."""


class TrainingError(TrialError):
    """Training diverged or ran out of a resource."""


class ConversionError(TrialError):
    """The network cannot be turned into, or run as, a ``.tflite`` file."""


class NotFoundError(AutosearchError, LookupError):
    """No study, trial, candidate, model, alias or file of that name."""


class StorageError(AutosearchError):
    """The database or the artifact store cannot be reached or used."""


class VerificationError(AutosearchError):
    """A bundle is not what its own metadata says it is."""


def first_line(error: BaseException) -> str:
    """The first line of what another library says, without its full stop; else the class's name.

    Example:
        >>> first_line(ValueError("no such layer.")), first_line(KeyError())
        ('no such layer', 'KeyError')
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
