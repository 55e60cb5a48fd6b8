"""Bugs to plant in the core, each with the quick test that must catch it.

Every text to be replaced occurs exactly once in its file, which a test holds.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bug:
    """One replacement, and the test that must fail then.

    Attributes:
        name: What is wrong when it is in.
        file: In `chex_mm`.
        old: Text that is replaced.
        new: What stands there instead.
        test: Node of pytest, in `tests`.
    """

    name: str
    file: str
    old: str
    new: str
    test: str


RULES = 'trace/test_rules.py::test_rule'
GROUPS = 'trace/test_networks.py::test_groups'
EXPLORER = 'strategies/test_exploration.py::'
MEMORY = 'submodel/test_memory.py::'
SELECTION = 'strategies/test_selection.py::'
ALONE = 'test_property.py::test_a_block_alone'

BUGS = (
    # What is coupled with what.
    Bug(
        'what is added is not tied',
        'trace/rules/pointwise.py',
        '        flow.tie(labels, other)\n        labels = merged',
        '        labels = merged',
        f'{GROUPS}[Residual]',
    ),
    Bug(
        'halves of a gated unit are not tied',
        'trace/rules/pointwise.py',
        '    flow.tie(value, by)\n',
        '',
        f'{ALONE}[gated_half]',
    ),
    Bug(
        'members of a norm group are not tied',
        'trace/rules/norms.py',
        '    flow.tie(members[:, :1].expand_as(members), members)\n',
        '',
        f'{GROUPS}[GroupNorm]',
    ),
    Bug(
        'vectors of a norm are not tied',
        'trace/rules/norms.py',
        '            flow.tie(channels, labels)\n',
        '',
        f'{GROUPS}[ConvNormConv]',
    ),
    Bug(
        'a norm over channels does not pin',
        'trace/rules/norms.py',
        "        return (flow.labels(call['input']),)\n"
        "    flow.pin_inputs(call, f'{call.place} normalises over "
        "channels')\n",
        "        return (flow.labels(call['input']),)\n",
        RULES,
    ),
    Bug(
        'what has no channel at full size does not pin',
        'trace/labels.py',
        '    return b[(a == 0) & (b != 0)]',
        '    return b[:0]',
        'trace/test_labels.py::test_fixed_size_pins_only_where_it_is_full_'
        'size',
    ),
    Bug(
        'a depthwise kernel is not tied to what enters',
        'trace/rules/products.py',
        '        flow.tie(leaving, rows)\n',
        '',
        f'{GROUPS}[Depthwise]',
    ),
    Bug(
        'slots of a grouped convolution are not tied',
        'trace/rules/products.py',
        '        flow.tie(slots[:1].expand_as(slots), slots)\n',
        '',
        f'{GROUPS}[Grouped]',
    ),
    Bug(
        'the bias does not follow its row',
        'trace/rules/products.py',
        '        flow.tie(flow.axis(operands.bias, 0, Role.BIAS), '
        'found.leaving)\n',
        '        flow.axis(operands.bias, 0, Role.BIAS)\n',
        f'{GROUPS}[Concat]',
    ),
    Bug(
        'columns of a convolution are not tied to what enters',
        'trace/rules/products.py',
        '    flow.tie(entering, columns.repeat(groups))\n',
        '',
        f'{GROUPS}[Residual]',
    ),
    Bug(
        'an operator that compares channels does not pin',
        'trace/rules/reductions.py',
        "        flow.pin_inputs(call, f'{call.place} compares channels')\n",
        '',
        f'{ALONE}[softmax_over_channels]',
    ),
    Bug(
        'a reduction over channels does not pin',
        'trace/rules/reductions.py',
        '            flow.pin_inputs(call, reason)\n',
        '            pass\n',
        f'{ALONE}[mean_over_channels]',
    ),
    Bug(
        'a single channel that is broadcast is not pinned',
        'trace/labelling.py',
        '        for label in single:\n',
        '        for label in ():\n',
        RULES,
    ),
    Bug(
        'what is said to be pinned may be cut',
        'graph/graph.py',
        'for n, g in self.groups.items() if g.pinned is None}',
        'for n, g in self.groups.items()}',
        f'{GROUPS}[Coordinates]',
    ),
    Bug(
        'FLOPs do not follow the columns',
        'graph/cost.py',
        '            self.each * self.rows.length(counts) '
        '* self.columns.length(counts)\n',
        '            self.each * self.rows.length(counts) '
        '* self.columns.length({k: 1 for k in counts})\n',
        'graph/test_graph.py::test_flops_and_params_of_an_allocation',
    ),
    # How it becomes narrow.
    Bug(
        'biases of masked channels stay',
        'surgery/cut.py',
        '        tensor = tensors[each.tensor]\n        positions = positions',
        "        if each.tensor.endswith('bias'):\n"
        '            continue\n'
        '        tensor = tensors[each.tensor]\n'
        '        positions = positions',
        'surgery/test_cut.py::test_mask_zeroes_every_slice',
    ),
    Bug(
        'columns that read masked channels stay',
        'surgery/cut.py',
        '                yield each, each.positions(~mask.cpu())\n',
        '                if each.dim == 0:\n'
        '                    yield each, each.positions(~mask.cpu())\n',
        'surgery/test_cut.py::test_mask_zeroes_every_slice',
    ),
    Bug(
        'a direction out of use is zero',
        'graph/groups.py',
        '        return int(self.role is Role.DIRECTION)\n',
        '        return 0\n',
        'trace/test_directions.py::test_masked_and_narrow_are_equal_and_'
        'finite[rows and columns]',
    ),
    Bug(
        'a direction is said to be zero where it is masked',
        'trace/flow.py',
        'return not self.holds_directions(tensor)',
        'return True',
        'trace/test_direction_rules.py::test_what_needs_zeros_pins_rows',
    ),
    Bug(
        'lengths alone say what is retained',
        'strategies/exploration.py',
        '            if direction is not None:\n',
        '            if False:\n',
        'strategies/test_directions.py::test_what_it_decides_is_what_it_decides_'
        'on_plain_weights',
    ),
    Bug(
        'running statistics stay whole',
        'trace/rules/norms.py',
        "    ('running_mean', Role.STATISTIC),\n"
        "    ('running_var', Role.STATISTIC),\n",
        '',
        f'{GROUPS}[ConvNormConv]',
    ),
    Bug(
        'the number of groups stays',
        'surgery/modules.py',
        "    return {**sizes, 'groups': groups}\n",
        '    return sizes\n',
        'surgery/test_modules.py::test_every_type',
    ),
    Bug(
        'the number of norm groups stays',
        'surgery/modules.py',
        'module.num_groups * width // module.num_channels',
        'module.num_groups',
        'surgery/test_modules.py::test_every_type',
    ),
    Bug(
        'an unknown module with a size is cut',
        'surgery/modules.py',
        '    if suspects and not find_attributes(module):\n',
        '    if False:\n',
        'surgery/test_cut.py::test_unknown_module_is_refused_before_anything_'
        'is_cut',
    ),
    Bug(
        'a gradient of the old shape stays',
        'surgery/cut.py',
        '        grad.data = cut.narrow(grad.data)\n',
        '',
        'surgery/test_cut.py::test_optimizer_goes_on_after_a_cut',
    ),
    # What is kept.
    Bug(
        'the state of the optimizer does not follow',
        'submodel/sub_model.py',
        '            carry_optimizer(optimizer, self.live, transition)\n',
        '            pass\n',
        f'{MEMORY}test_optimizer_state_of_what_changes_is_zero',
    ),
    Bug(
        'momentum of what returns is not zero',
        'submodel/memory.py',
        '        stays = self.before.of(name) & self.after.of(name)\n',
        '        stays = self.after.of(name)\n',
        f'{MEMORY}test_a_copy_keeps_its_average_and_returns_at_the_live_value',
    ),
    Bug(
        'nothing is remembered',
        'submodel/memory.py',
        '        self.values[name].copy_(dense)\n',
        '        pass\n',
        f'{MEMORY}test_a_channel_leaves_and_returns_bit_for_bit',
    ),
    Bug(
        'inactive channels move between steps',
        'submodel/sub_model.py',
        '        self.execution.enforce(tensors)\n',
        '',
        f'{EXPLORER}test_enforce_keeps_inactive_entries_at_zero',
    ),
    Bug(
        'the regrow factor does not fall to zero',
        'strategies/regrowth.py',
        '    return 0.5 * (1 + math.cos(math.pi * progress)) * initial\n',
        '    return initial\n',
        'strategies/test_regrowth.py::test_regrow_factor_falls_from_its_initial_'
        'value_to_exactly_0',
    ),
    Bug(
        'leverage is that of the smallest eigenvectors',
        'strategies/selection.py',
        '    columns = vectors[:, len(vectors) - k :].square().sum(1)\n',
        '    columns = vectors[:, :k].square().sum(1)\n',
        f'{SELECTION}test_leverage_equals_svd',
    ),
    Bug(
        'the Gram matrix is of rows',
        'strategies/selection.py',
        '        total = total + rows @ rows.T\n',
        '        total = rows @ rows.T\n',
        f'{SELECTION}test_stacked_producers_are_one_tall_matrix',
    ),
    Bug(
        'residuals are to the span of all channels',
        'strategies/selection.py',
        '    inside = retained.to(gram.device).repeat_interleave(members)\n',
        '    inside = torch.ones_like(retained).repeat_interleave(members)\n',
        f'{SELECTION}test_residuals_equal_least_squares',
    ),
    Bug(
        'the floor is ignored',
        'budget/allocation.py',
        '            levels[name] = options[first:]\n',
        '            levels[name] = options\n',
        'budget/test_allocation.py::test_the_floor_holds',
    ),
    Bug(
        'the divisor is ignored',
        'budget/allocation.py',
        '    return (*range(step, group.size, step), group.size)\n',
        '    return tuple(range(1, group.size + 1))\n',
        'budget/test_allocation.py::test_counts_are_multiples_of_the_divisor_'
        'or_everything',
    ),
    Bug(
        'inactive channels have scores',
        'strategies/scores.py',
        '        name: torch.where(keep[name], values, 0.0)\n',
        '        name: values\n',
        'strategies/test_scores.py::test_inactive_channels_score_0_and_do_not_'
        'count_in_means',
    ),
    Bug(
        'a residual stream has the smallest of its scales',
        'strategies/scores.py',
        'each.amax(0), tensors',
        'each.amin(0), tensors',
        'strategies/test_scores.py::test_scale_is_the_largest_gamma_of_the_'
        'channel',
    ),
    Bug(
        'weights that inactive inputs are read with decide',
        'strategies/exploration.py',
        'return torch.where(reads.to(values.device), values, 0)',
        'return values',
        f'{EXPLORER}test_a_plan_reads_no_weights_from_inactive_inputs',
    ),
    Bug(
        'a plan of another step is applied',
        'strategies/exploration.py',
        '        if plan.step != self.steps_done + 1:\n',
        '        if False:\n',
        f'{EXPLORER}test_a_plan_is_for_one_step_only',
    ),
    Bug(
        'every draw is the same',
        'strategies/exploration.py',
        "        key = f'{self.settings.seed}/{step}/{name}'\n",
        "        key = f'{step}/{name}'\n",
        f'{EXPLORER}test_seeds_differ_and_agree',
    ),
    # When, and in several processes.
    Bug(
        'the plan is not broadcast',
        'engine/hooks/replicas.py',
        '    broadcast(masks)\n',
        '',
        'engine/test_replicas.py::test_every_rank_does_what_the_first_has_'
        'planned',
    ),
    Bug(
        'ranks that differ are not seen',
        'engine/hooks/replicas.py',
        '    if differ:\n',
        '    if False:\n',
        'engine/test_replicas.py::test_a_rank_that_drifts_apart_stops_the_run',
    ),
    Bug(
        'the wrapper of another width stays',
        'engine/hooks/rewrap.py',
        '    if not is_model_wrapper(runner.model):\n',
        '    if True:\n',
        'engine/test_replicas.py::test_another_width_gets_another_wrapper',
    ),
    Bug(
        'pending gradients are not saved',
        'engine/hooks/resume.py',
        '    if not is_accumulating(runner):\n        return {}\n',
        '    return {}\n',
        'engine/test_resume.py::test_gradients_that_wait_for_an_accumulation_'
        'are_resumed',
    ),
    Bug(
        'validation changes what is drawn',
        'engine/hooks/resume.py',
        '        set_random_state(self._kept[get_rank()])\n',
        '',
        'engine/test_resume.py::test_validation_does_not_change_the_run',
    ),
    Bug(
        'a resumed run draws anew',
        'engine/hooks/resume.py',
        '            set_random_state(self.state)\n',
        '            pass\n',
        'engine/test_resume.py::test_iteration_loop_resumes_bit_for_bit',
    ),
    Bug(
        'the structure changes within an accumulation',
        'engine/hooks/chex_hook.py',
        'self.session.after_iteration(runner.optim_wrapper.should_update())',
        'self.session.after_iteration(True)',
        'engine/test_chex_hook.py::test_structure_changes_only_after_whole_'
        'accumulations',
    ),
)
