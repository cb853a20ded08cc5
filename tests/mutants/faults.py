"""The faults: each replaces one text in one file, and names the test that must find it."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """A fault: `old`, which occurs exactly once in `file`, becomes `new`; `test` must fail."""

    name: str
    file: str
    old: str
    new: str
    test: str


_GOLDEN = "tests/views/test_golden.py::"
_OPERATIONS = f"{_GOLDEN}test_every_operation_is_torchvisions"
_WINDOWS = f"{_GOLDEN}test_windows_follow_torchvisions_law"
_JITTER = f"{_GOLDEN}test_the_jitter_follows_torchvisions_law"
_WHOLE = f"{_GOLDEN}test_whole_views_are_distributed_as_torchvisions"
_SCARF = "tests/views/test_table.py::"
_RANDOM = "tests/views/test_randomness.py::"
_OPS, _VIEW = "mmcl_jax/views/image_ops.py", "mmcl_jax/views/image.py"
_SAMPLING = "mmcl_jax/views/sampling.py"

VIEWS = (
    Mutant("crop: half a pixel aside", _SAMPLING, "* (extent / size) - 0.5", "* (extent / size)",
           f"{_OPERATIONS}[crop]"),
    Mutant("crop: sees beyond its window", _SAMPLING, "- 0.5, 0, extent - 1)", "- 0.5, -origin, length - origin - 1)",
           f"{_OPERATIONS}[crop]"),
    Mutant("crop: never at the last position", _OPS, "position * (free + 1)", "position * free", f"{_WINDOWS}[30,50]"),
    Mutant("crop: law of the area", _OPS, "minval=scale[0]", "minval=scale[0] ** 0.5", f"{_WINDOWS}[30,50]"),
    Mutant("crop: law of the aspect ratio", _OPS, "log_ratio = jnp.log(jnp.asarray(ratio))",
           "log_ratio = jnp.log(jnp.asarray((1.0, ratio[1])))", f"{_WINDOWS}[30,50]"),
    Mutant("crop: both positions from one draw", _OPS, "jax.random.uniform(position_key, (2,))",
           "jnp.full(2, jax.random.uniform(position_key))", f"{_WINDOWS}[30,50]"),
    Mutant("resize: nearest", _SAMPLING, "share = (position - before)", "share = jnp.round(position - before)",
           f"{_OPERATIONS}[resize]"),
    Mutant("flip: upside down", _SAMPLING, "mirrored[axis]", "mirrored[1 - axis]", f"{_OPERATIONS}[flip]"),
    Mutant("rotation: to one side", _VIEW, "minval=-rotation", "minval=0.0", f"{_WHOLE}[cardiac]"),
    Mutant("rotation: border repeated", _OPS, 'mode="fill"', 'mode="clip"', f"{_OPERATIONS}[rotate]"),
    Mutant("jitter: fixed order", _OPS, "jax.random.permutation(order_key, len(drawn))", "jnp.arange(len(drawn))",
           _JITTER),
    Mutant("jitter: only darkens", _OPS, "1 + strength)", "1.0)", _JITTER),
    Mutant("jitter: one draw for all", _OPS, "jax.random.uniform(key, minval=low, maxval=high)",
           "jax.random.uniform(keys[0], minval=low, maxval=high)", _JITTER),
    Mutant("contrast: mean of each row", _OPS, "_level(before).mean()", "_level(before).mean(axis=1, keepdims=True)",
           f"{_OPERATIONS}[adjust_grey]"),
    Mutant("hue: half a turn", _OPS, "jnp.stack(image), turn,", "jnp.stack(image), turn / 2,",
           f"{_OPERATIONS}[adjust]"),
    Mutant("blends: not clipped", _OPS,
           "jnp.clip(amount * plane + (1 - amount) * other, 0, 1)", "amount * plane + (1 - amount) * other",
           f"{_OPERATIONS}[adjust_grey]"),
    Mutant("contrast: mean of the stored image", _OPS, "_level(before).mean()", "_level(image).mean()",
           f"{_OPERATIONS}[adjust]"),
    Mutant("grey: mean of RGB", _OPS, "_LUMA if len(image) == 3", "_LUMA if len(image) == 0",
           f"{_OPERATIONS}[greyscale]"),
    Mutant("grey: never", _VIEW, "ops.grey(channels), channels", "channels, channels", f"{_WHOLE}[dvm]"),
    Mutant("grey: luma of 4 channels", _OPS, "(1 / len(image),) * len(image)", "(1.0,) + (0.0,) * (len(image) - 1)",
           "tests/views/test_channels.py::test_grey_is_the_luma_of_three_channels_and_else_their_mean"),
    Mutant("blur: border", _SAMPLING, "density(2 * last - stored", "density(2 * last + 1 - stored",
           f"{_OPERATIONS}[blur]"),
    Mutant("blur: wider than its window", _SAMPLING, "jnp.abs(offset) <= margin", "jnp.abs(offset) <= margin + 1",
           f"{_OPERATIONS}[blur]"),
    Mutant("blur: constant", _VIEW, "jax.random.uniform(use, minval=blur_sigma[0], maxval=blur_sigma[1])",
           "jnp.float32(blur_sigma[1])",
           f"{_GOLDEN}test_the_blur_follows_torchvisions_law"),
    Mutant("augment: jitter always", _VIEW, 'drawn("jitter", jitter)', 'drawn("jitter", 1.0)',
           f"{_WHOLE}[dvm]"),
    Mutant("augment: nothing left plain", _VIEW, 'ops.sometimes(keys["probability"], probability)', "True",
           "tests/views/test_image.py::test_the_share_of_augmented_images"),
    Mutant("scarf: rate rounded up", "mmcl_jax/views/table.py", "int(rate * columns)", "round(rate * columns)",
           f"{_SCARF}test_exactly_the_rate_of_columns_is_overwritten"),
    Mutant("scarf: a whole row of the population", "mmcl_jax/views/table.py", "population[source, ",
           "population[source[0], ", f"{_SCARF}test_columns_are_drawn_from_different_rows"),
    Mutant("views: one stream for both views", "mmcl_jax/views/base.py", "example_keys(seed, step, name,",
           "example_keys(seed, step, view.modality,", f"{_RANDOM}test_two_views_of_one_image_differ"),
    Mutant("views: the same at every step", "mmcl_jax/views/randomness.py", "key = jax.random.fold_in(key, step)",
           "del step", f"{_RANDOM}test_everything_else_does"),
)  # fmt: skip

_STRUCTURE = "tests/encoders/test_structure.py::"
_LAYERS = "tests/encoders/test_layers.py::"
_PRESENCE = "tests/encoders/test_presence.py::"
_ENCODERS = "tests/encoders/test_encoders.py::"

ENCODERS = (
    Mutant("batch norm: one group", "mmcl_jax/encoders/layers.py", "else x.shape[0] // self.group_size", "else 1",
           f"{_LAYERS}test_every_group_is_normalised_by_itself"),
    Mutant("batch norm: biased running variance", "mmcl_jax/encoders/layers.py",
           "of.counts / jnp.maximum(of.counts - 1, 1)", "1.0",
           f"{_LAYERS}test_running_statistics_are_unbiased_averages_over_groups"),
    Mutant("batch norm: momentum the other way", "mmcl_jax/encoders/layers.py",
           "self.momentum * before[name] + (1 - self.momentum) * new[name]",
           "(1 - self.momentum) * before[name] + self.momentum * new[name]",
           f"{_LAYERS}test_running_statistics_are_unbiased_averages_over_groups"),
    Mutant("batch norm: absent rows count", "mmcl_jax/encoders/operations/normalise.py", "count = mask.sum(",
           "count = jnp.ones_like(mask).sum(",
           f"{_PRESENCE}test_normalisation_is_that_of_the_rows_without_the_absent_ones"),
    Mutant("batch norm: absent rows have a variance", "mmcl_jax/encoders/operations/normalise.py",
           "squares if mask is None else zero_absent(squares, mask)", "squares",
           f"{_PRESENCE}test_normalisation_is_that_of_the_rows_without_the_absent_ones"),
    Mutant("batch norm: empty groups move the statistics", "mmcl_jax/encoders/layers.py",
           "valid, momentum = (of.counts > 0).sum(dtype=jnp.float32)", "valid, momentum = jnp.float32(len(of.counts))",
           f"{_PRESENCE}test_normalisation_is_that_of_the_rows_without_the_absent_ones"),
    Mutant("text: the end counts", "mmcl_jax/encoders/text.py", "jnp.maximum(mask.sum(axis=1), 1)",
           "jnp.full(len(mask), mask.shape[1])", f"{_ENCODERS}test_a_text_is_the_mean_of_its_tokens"),
    Mutant("convolution: padded as XLA does", "mmcl_jax/encoders/layers.py", "padding=kernel // 2", 'padding="SAME"',
           f"{_LAYERS}test_convolution_pads_like_pytorch"),
    Mutant("stem: pool padded as XLA does", "mmcl_jax/encoders/operations/pool.py",
           "padding=((1, 1), (1, 1))", 'padding="SAME"',
           f"{_STRUCTURE}test_the_stem_pool_is_centred_as_pytorchs"),
    Mutant("resnet: no stride", "mmcl_jax/encoders/resnet.py", "2 if stage > 0 and index == 0 else 1", "1",
           f"{_STRUCTURE}test_strides_are_where_the_paper_has_them"),
    Mutant("resnet: stride in the first stage", "mmcl_jax/encoders/resnet.py", "stage > 0 and index == 0", "index == 0",
           f"{_STRUCTURE}test_strides_are_where_the_paper_has_them"),
    Mutant("resnet-50: a bottleneck without its middle rectifier", "mmcl_jax/encoders/resnet.py",
           "y = norm_relu(self.norm2, self.conv2(y), train=train, present=present)",
           "y = self.norm2(self.conv2(y), train=train, present=present)",
           f"{_STRUCTURE}test_a_block_by_hand"),
    Mutant("resnet-18: shortcut left out", "mmcl_jax/encoders/resnet.py",
           "y = self.norm2(self.conv2(y), train=train, present=present)\n        return nnx.relu(y + ",
           "y = self.norm2(self.conv2(y), train=train, present=present)\n        return nnx.relu(y + 0 * ",
           f"{_STRUCTURE}test_a_block_by_hand"),
    Mutant("table encoder: no rectifier", "mmcl_jax/encoders/mlp.py",
           "x = norm_relu(norm, layer(x), train=train, present=present)",
           "x = norm(layer(x), train=train, present=present)", f"{_STRUCTURE}test_the_table_encoder_by_hand"),
    Mutant("projector: no rectifier", "mmcl_jax/encoders/projectors.py", "nnx.relu(self.hidden(x))", "self.hidden(x)",
           f"{_STRUCTURE}test_the_projector_by_hand"),
    Mutant("one-hot: number taken for a code", "mmcl_jax/encoders/table_input.py", "np.array(widths) == 1",
           "np.array(widths) == 0", "tests/encoders/test_encoders.py::test_one_hot_leaves_columns_in_place"),
)  # fmt: skip

_TERMS = "tests/objectives/test_terms.py::"
_METHODS = "tests/objectives/test_methods.py::"
_PAIRS = "tests/objectives/test_pairs.py::test_every_execution_of_every_rule_agrees_with_float64"
_RULES = "tests/objectives/test_pair_rules.py::test_every_case_agrees_with_float64_in_every_execution"
_PRESENCE = "tests/objectives/test_presence.py::"
_PARTNERS = "tests/objectives/test_partners.py::test_partners_are_the_same_in_every_execution_on_any_devices"

OBJECTIVES = (
    Mutant("clip: one direction twice", "mmcl_jax/objectives/terms/clip.py", "one(losses.backward)",
           "one(losses.forward)", f"{_TERMS}test_golden_values"),
    Mutant("nt-xent: an anchor is its own negative", "mmcl_jax/objectives/terms/nt_xent.py",
           "rule=exclude_self(rule)", "rule=rule", f"{_TERMS}test_golden_values"),
    Mutant("nt-xent: temperature ignored", "mmcl_jax/objectives/terms/nt_xent.py", "scale=1 / temperature", "scale=1.0",
           f"{_TERMS}test_golden_values"),
    Mutant("softmax: positive in every denominator", "mmcl_jax/objectives/pairs/softmax.py", "else valid & ~positive",
           "else valid", f"{_TERMS}test_golden_values"),
    Mutant("rules: false negatives stay", "mmcl_jax/objectives/pairs/rules.py",
           "valid & (positive | ~_agree(rows, columns, key, missing))", "valid", f"{_PAIRS}[dense-all]"),
    Mutant("rules: absent rows are negatives", "mmcl_jax/objectives/pairs/rules.py", "positive & both, valid & both",
           "positive & both, valid", f"{_PAIRS}[dense-all]"),
    Mutant("rules: absent rows enter the products", "mmcl_jax/objectives/pairs/rules.py",
           "x = zero_absent(x, metadata[key])", "pass", f"{_RULES}[dense-absent rows]"),
    Mutant("rules: missing labels are a class", "mmcl_jax/objectives/pairs/rules.py", "agree & (rows[key] != missing)",
           "agree", "tests/objectives/test_pair_rules.py::test_rules_say_which_pairs_are_positives_and_which_count"),
    Mutant("tiles: the slope of the soft clip is 1", "mmcl_jax/objectives/pairs/tiles.py",
           "dlogits * (1 - tanh) * (1 + tanh)", "dlogits", f"{_RULES}[gathered-softly clipped]"),
    Mutant("partners: the own pair is drawn", "mmcl_jax/objectives/pairs/partners.py", "valid & ~positive", "valid",
           f"{_PARTNERS}[dense-1-None]"),
    Mutant("partners: one noise for both directions", "mmcl_jax/objectives/pairs/partners.py", "(columns, bits[1])",
           "(columns, bits[0])", f"{_PARTNERS}[dense-1-None]"),
    Mutant("sums: columns not merged", "mmcl_jax/objectives/pairs/ring.py", "merge(columns, new_columns)",
           "new_columns", f"{_PAIRS}[ring-all]"),
    Mutant("labels: the background is a class", "mmcl_jax/objectives/terms/labels.py", "(label != background)",
           "(label == label)", f"{_TERMS}test_rows_of_the_background_have_no_fellows"),
    Mutant("labels: rows of no class have fellows", "mmcl_jax/objectives/terms/labels.py",
           "shared = label >= 0 if", "shared = label >= -9 if",
           f"{_PRESENCE}test_rows_without_a_label_are_not_one_class"),
    Mutant("queue: absent rows enter", "mmcl_jax/objectives/objective.py", "[jnp.argsort(absent, stable=True)]", "",
           f"{_PRESENCE}test_absent_rows_do_not_enter_the_queue"),
    Mutant("spread: absent rows count", "mmcl_jax/objectives/objective.py", "spread(embeddings, present)",
           "spread(embeddings)", f"{_PRESENCE}test_each_term_has_the_rows_that_have_all_it_reads"),
    Mutant("objective: terms without rows divide", "mmcl_jax/objectives/objective.py", "jnp.sign(loss.rows)", "1.0",
           f"{_PRESENCE}test_a_sum_is_divided_by_the_weights_of_terms_that_have_rows"),
    Mutant("presence: padding is present", "mmcl_jax/objectives/presence.py", '["valid", *(', "[*(",
           f"{_PRESENCE}test_each_term_has_the_rows_that_have_all_it_reads"),
    Mutant("term: absent rows keep what they hold", "mmcl_jax/objectives/base.py", "batch.masked()", "batch",
           f"{_PRESENCE}test_a_batch_with_absent_rows_is_the_batch_without_them"),
    Mutant("clip: learned temperature unbounded", "mmcl_jax/objectives/base.py", "math.log(100)", "math.log(1e9)",
           f"{_TERMS}test_a_learned_temperature_starts_at_the_fixed_one_and_is_bounded"),
    Mutant("simsiam: embeddings get a gradient", "mmcl_jax/objectives/terms/agreement.py",
           "map(jax.lax.stop_gradient, batch.embeddings)", "batch.embeddings",
           f"{_METHODS}test_agreement_terms_agree_with_float64"),
    Mutant("nnclr: the farthest neighbour", "mmcl_jax/objectives/terms/nnclr.py", "jnp.argmax(", "jnp.argmin(",
           f"{_METHODS}test_nnclr_agrees_with_float64"),
    Mutant("queue: the oldest stay", "mmcl_jax/objectives/objective.py", "[: len(queue)]", "[-len(queue) :]",
           f"{_METHODS}test_queues_hold_the_latest_embeddings_of_the_first_view"),
    Mutant("barlow twins: divisor", "mmcl_jax/objectives/terms/barlow_twins.py", "/ rows_of(first, batch.present)",
           "/ (rows_of(first, batch.present) - 1)",
           f"{_TERMS}test_terms_of_moments_agree_with_float64"),
    Mutant("vicreg: variance of one view", "mmcl_jax/objectives/terms/vicreg.py", "(hinges[0] + hinges[1]) / 2",
           "hinges[0]", f"{_TERMS}test_terms_of_moments_agree_with_float64"),
    Mutant("supervised: rows without a label count", "mmcl_jax/objectives/terms/supervised.py", "labelled = label >= 0",
           "labelled = label >= -6", f"{_METHODS}test_supervised_is_the_cross_entropy_of_rows_that_have_a_label"),
    Mutant("vime: missing values count", "mmcl_jax/objectives/terms/vime.py", "counts = present.astype(jnp.float32)",
           "counts = jnp.ones_like(row)", f"{_METHODS}test_vime_agrees_with_float64"),
    Mutant("objective: weights ignored", "mmcl_jax/objectives/objective.py", "total + term.weight * loss.value",
           "total + loss.value", f"{_TERMS}test_an_objective_is_the_weighted_sum_of_its_terms"),
)  # fmt: skip

_TRAIN = "tests/training/test_methods.py::"
_SLICES = "tests/training/test_scale.py::test_gradients_in_slices_are_those_of_the_whole_batch"
_OPTIMIZER = "tests/training/test_optimizer.py::"

TRAINING = (
    Mutant("slices: all count the same", "mmcl_jax/training/step/gradients.py", "replayed(new_state, records), extra",
           "new_state, extra", "tests/training/test_gradients.py::test_slices_and_devices_change_nothing"),
    Mutant("byol: the teacher is the online network", "mmcl_jax/training/step/train_step.py",
           "merged(all_params, state.target)",
           "all_params", f"{_TRAIN}test_the_target_network_teaches"),
    Mutant("byol: the online projector teaches", "mmcl_jax/training/step/forward.py", "embedded(teacher,",
           "embedded(model,", f"{_TRAIN}test_the_target_network_teaches"),
    Mutant("byol: tau never rises", "mmcl_jax/training/state/target.py", "jnp.asarray(at, jnp.float32) / of", "0.0",
           f"{_TRAIN}test_the_targets_decay_rises_to_one_along_a_cosine"),
    Mutant("byol: tau rises along a line", "mmcl_jax/training/state/target.py",
           "jnp.square(jnp.cos(jnp.pi / 2 * jnp.asarray(at, jnp.float32) / of))",
           "(1 - jnp.asarray(at, jnp.float32) / of)", f"{_TRAIN}test_the_targets_decay_rises_to_one_along_a_cosine"),
    Mutant("adam_l2: no decay", "mmcl_jax/training/optim/optimizer.py",
           "chain(\n        decayed(weight_decay, decay),\n        scaled_by_moments(moments",
           "chain(\n        decayed(0.0, decay),\n        scaled_by_moments(moments",
           f"{_OPTIMIZER}test_decay_is_coupled_in_adam_l2_and_decoupled_in_adamw"),
    Mutant("schedule: the rise starts at 0", "mmcl_jax/training/optim/schedules.py", "(time + first)", "time",
           f"{_OPTIMIZER}test_per_step_rises_from_the_first_step_and_falls_to_almost_nothing"),
    Mutant("schedule: a whole cosine", "mmcl_jax/training/optim/schedules.py", "jnp.pi / 2 * time / length",
           "jnp.pi * time / length",
           f"{_OPTIMIZER}test_per_step_rises_from_the_first_step_and_falls_to_almost_nothing"),
    Mutant("slices: statistics summed", "mmcl_jax/training/step/gradients.py", "a + b / count", "a + b",
           f"{_SLICES}[digits_simclr]"),
    Mutant("slices: gradients of the last alone", "mmcl_jax/training/step/gradients.py",
           "jax.tree.map(jnp.add, total, ",
           "jax.tree.map(lambda _, new: new, total, ", f"{_SLICES}[digits_simclr]"),
    Mutant("checkpoint: data from the start", "mmcl_jax/training/loop.py", "data=data.get_state()",
           'data={"next_index": 0}', "tests/training/test_loop.py::test_a_stopped_run_ends_with_the_same_bits"),
    Mutant("sampler: one order for all epochs", "mmcl_jax/data/samplers/shuffle.py",
           "default_rng([seed, epoch])", "default_rng([seed, 0])",
           "tests/data/test_input.py::test_an_epoch_holds_every_row_once_but_the_remainder"),
)  # fmt: skip

_ENCODING = "tests/data/test_encoding.py::"
_PROTOCOLS, _PROTOCOL_TESTS = "mmcl_jax/evaluation/protocols", "tests/evaluation/protocols"
_TASKS = "tests/tasks/test_every_task.py::"
_TUNE = f"{_PROTOCOL_TESTS}/test_finetune.py::"

DATA_AND_EVALUATION = (
    Mutant("statistics: ddof 1", "mmcl_jax/data/table/statistics.py", "observed.std()", "observed.std(ddof=1)",
           f"{_ENCODING}test_scores_are_of_the_training_rows_alone"),
    Mutant("encoding: the rarest category fills", "mmcl_jax/data/table/statistics.py",
           "counts.argmax()", "counts.argmin()",
           f"{_ENCODING}test_refuse_and_mean"),
    Mutant("imputation: categories not rounded", "mmcl_jax/data/table/encoding.py",
           "codes = np.rint(", "codes = np.asarray(",
           f"{_ENCODING}test_imputed_categories_are_valid_ones"),
    Mutant("subsets: a class left out", "mmcl_jax/prepare/splits/subsets.py", "when[-1][0] = 0.0", "pass",
           "tests/prepare/test_splits.py::test_subsets_lie_within_each_other_and_have_every_class"),
    Mutant("subsets: not balanced", "mmcl_jax/prepare/splits/subsets.py", "[: len(rare)]", "[: 2 * len(rare)]",
           "tests/prepare/test_splits.py::test_subsets_of_rare_binary_labels"),
    Mutant("leaks: equal sums are equal pictures", "mmcl_jax/prepare/leaks.py",
           "np.array_equal(images[other], images[row])", "True", "tests/prepare/test_leaks.py::test_same_pixels"),
    Mutant("quarantine: chosen rows are bad", "mmcl_jax/prepare/quarantine.py", "bad = len(entries)",
           "bad = len(self.entries)",
           "tests/prepare/test_quarantine.py::test_rows_left_out_by_choice_do_not_count_as_bad"),
    Mutant("quarantine: twice the allowed rate", "mmcl_jax/prepare/quarantine.py",
           "if bad <= rate * rows * (1 + 1e-12)", "if bad <= rate * rows * 2",
           "tests/prepare/test_quarantine.py::test_the_build_stops_above_the_rate_and_not_at_it"),
    Mutant("probe: other splits standardised by themselves", "mmcl_jax/evaluation/heads/standard.py",
           "(features - self.mean) / self.scale", "(features - features.mean(axis=0)) / self.scale",
           f"{_PROTOCOL_TESTS}/test_probe.py::test_standardising_uses_the_training_rows_alone"),
    Mutant("probe: the last round is kept", "mmcl_jax/evaluation/heads/programs.py",
           "better = going_on & (metric > progress", "better = going_on | (metric > progress",
           f"{_PROTOCOL_TESTS}/test_probe.py::test_a_head_stops_ten_rounds_after_its_best_and_the_best_is_kept"),
    Mutant("probe: chosen on test", f"{_PROTOCOLS}/scoring.py", "zip(standard, SPLITS, strict=True)",
           'zip([standard[0], standard[2], standard[2]], ("train", "test", "test"), strict=True)',
           f"{_PROTOCOL_TESTS}/test_choice.py::test_the_probe_is_chosen_on_validation"),
    Mutant("knn: chosen on test", f"{_PROTOCOLS}/knn.py", "nearest(bank, val[0], ", "nearest(bank, test[0], ",
           f"{_PROTOCOL_TESTS}/test_knn.py::test_the_number_of_neighbours_is_chosen_on_validation"),
    Mutant("knn: every neighbour counts alike", f"{_PROTOCOLS}/knn.py", "cosines - cosines[:, :1]", "0 * cosines",
           f"{_PROTOCOL_TESTS}/test_knn.py::test_as_the_reference"),
    Mutant("fine-tuning: chosen on test", f"{_PROTOCOLS}/finetune.py", "for part in (val, test))",
           "for part in (test, test))", f"{_PROTOCOL_TESTS}/test_choice.py::test_fine_tuning_is_chosen_on_validation"),
    Mutant("fine-tuning: crops as in pretraining", "mmcl_jax/evaluation/heads/encoded.py", "(0.6, 1.0)",
           "(0.08, 1.0)", f"{_TUNE}test_the_augmentation_is_the_runs_own_with_larger_crops"),
    Mutant("early stopping: patience one too long", "mmcl_jax/evaluation/heads/programs.py",
           "(waited >= recipe.patience)", "(waited > recipe.patience)", f"{_TUNE}test_early_stopping_by_hand"),
    Mutant("retrieval: ties count as hits", f"{_PROTOCOLS}/retrieval.py",
           "(~(cosines < own_cosine)).sum(axis=1, dtype=jnp.int32)",
           "1 + (cosines > own_cosine).sum(axis=1, dtype=jnp.int32)",
           f"{_PROTOCOL_TESTS}/test_retrieval.py::test_collapsed_projections_find_nothing"),
    Mutant("tasks: grades have no order", "mmcl_jax/tasks/ordinal.py", "targets[..., None] > thresholds",
           "targets[..., None] == thresholds", f"{_TASKS}test_the_order_of_grades_counts"),
    Mutant("tasks: a missing label is a no", "mmcl_jax/tasks/multi_label.py", "jnp.where(valid, losses, 0).sum",
           "losses.sum", f"{_TASKS}test_labels_that_are_missing_change_neither_loss_nor_gradient"),
    Mutant("tasks: a larger error is better", "mmcl_jax/tasks/task.py", "self.sign * first > self.sign * second",
           "first > second", "tests/tasks/test_tasks.py::test_what_is_better"),
    Mutant("summary: an interval of 90 %", "mmcl_jax/evaluation/results/interval.py", "t.ppf(0.975, repeats",
           "t.ppf(0.95, repeats",
           "tests/evaluation/results/test_summary.py::test_the_interval_is_that_of_the_paired_t_test"),
)  # fmt: skip

MUTANTS: tuple[Mutant, ...] = (*VIEWS, *ENCODERS, *OBJECTIVES, *TRAINING, *DATA_AND_EVALUATION)
