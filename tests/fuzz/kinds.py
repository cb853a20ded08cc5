"""All kinds of input, by name."""

from tests.fuzz.configs import CONFIGS
from tests.fuzz.folders import RUNS, STORES
from tests.fuzz.genotypes import GENOTYPES
from tests.fuzz.images import IMAGES
from tests.fuzz.reports import REPORTS
from tests.fuzz.requests import REQUESTS
from tests.fuzz.schemas import SCHEMAS
from tests.fuzz.tables import TABLES
from tests.fuzz.volumes import VOLUMES

_ALL = (TABLES, SCHEMAS, REQUESTS, CONFIGS, STORES, RUNS, IMAGES, VOLUMES, GENOTYPES, REPORTS)
KINDS = {kind.name: kind for kind in _ALL}
