"""Whether a study that was loaded again is the one that its database holds."""

from __future__ import annotations

from autosearch.changes import changes
from autosearch.errors import ChangedDefinitionError
from autosearch.store.view import StudyView
from autosearch.study import Study

__all__ = ["check_same"]


def check_same(study: Study, view: StudyView) -> None:
    """Refuses what would mix trials of two definitions, or figures on different images.

    Args:
        study: As a worker has it, its images on the sides where the database has them.
        view: Of the study that was started.

    Raises:
        ChangedDefinitionError: They differ.
    """
    if study.definition_sha256() != view.definition_sha256:
        listed = "; ".join(changes(view.definition, study.definition())) or "its code"
        raise ChangedDefinitionError(
            f'study "{study.name}" differs from the one in the database ({listed}); '
            "work with the file that it was started from"
        )
    if study.dataset is not None and study.dataset.fingerprint() != view.data_fingerprint:
        raise ChangedDefinitionError(
            f'the images of study "{study.name}" are not those that it was started on; copy the '
            "same ones here, or, if all are to go on with these, start it with them: autosearch "
            "run STUDY_FILE --accept-data"
        )
