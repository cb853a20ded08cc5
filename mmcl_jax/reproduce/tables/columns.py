"""The columns of MMCL's tables. The paper's "frozen" is a linear probe, its "trainable" fine-tuning."""

from mmcl_jax.reproduce.tables.spec import TableColumn

FROZEN = TableColumn(key="frozen", heading="Frozen", protocol="probe")
TRAINABLE = TableColumn(key="trainable", heading="Trainable", protocol="finetune")
FROZEN_TABLE = TableColumn(key="frozen-table", heading="Table, frozen", protocol="probe", input="table")
TRAINABLE_TABLE = TableColumn(key="trainable-table", heading="Table, trainable", protocol="finetune", input="table")
BOTH = TableColumn(key="trainable-both", heading="Image and table, trainable", protocol="finetune", input="both")

SHARES = tuple(
    TableColumn(
        key=column.key if share == 1 else f"{column.key}-{100 * share:g}",
        heading=f"{column.heading}, {100 * share:g} %",
        protocol=column.protocol,
        share=share,
    )
    for column in (FROZEN, TRAINABLE)
    for share in (1.0, 0.1, 0.01)
)
