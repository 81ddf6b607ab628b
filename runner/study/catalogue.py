"""Every study, in the order in which they are listed and run."""

from runner.study import ordering, theory

STUDIES = (*theory.STUDIES, *ordering.STUDIES)
