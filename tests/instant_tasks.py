"""Long work done at once, in this process, where a test need not see it begin."""

from app.services.tasks import Tasks, carry_out
from app.work import work_of
from indexer.catalog.task_tables import TaskTable


class InstantTasks(Tasks):
    """The tasks of an installation, each done before ``submit`` returns."""

    def __init__(self, services):
        self._services = services
        self._made = TaskTable(services.catalog.database)
        super().__init__(self._made, services.task_folder)

    def _start(self, task_id, handle):
        carry_out(self._made, self._services.task_folder, task_id, lambda kind: work_of(kind, self._services))
