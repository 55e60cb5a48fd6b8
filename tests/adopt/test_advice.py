"""What a written config tells the person who will train it."""

from mmengine.config import Config

from chex_mm.adopt import advice
from chex_mm.adopt.config_text import WIDTH, comment
from chex_mm.cli.command_line import load_config
from chex_mm.graph.graph import ChannelGraph
from chex_mm.graph.groups import ChannelGroup


def said(config, dropped):
    return '\n'.join(
        [
            *advice.length_advice(config, dropped),
            *advice.exploration_advice(config),
        ]
    )


def test_from_random_weights_the_schedule_is_stretched():
    config = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    text = said(config, True)
    assert 'trains 12 epochs, from pre-trained weights' in text
    assert 'train_cfg = dict(max_epochs=72)' in text
    # The drops stay 4 and 1 epochs before the end; the warm-up as it is.
    assert 'milestones=[68, 71]' in text and 'end=500' in text
    assert 'Warm-up' not in text
    assert max(map(len, comment(text).splitlines())) <= WIDTH
    # The base itself is left alone.
    assert config.param_scheduler[1].milestones == [8, 11]


def test_a_base_that_starts_at_random_keeps_its_schedule():
    config = load_config('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py')
    text = said(config, False)
    assert 'trains 300 epochs from random weights already' in text
    assert 'max_epochs=' not in text


def test_a_run_of_iterations_tells_its_steps():
    loop = dict(type='IterBasedTrainLoop', max_iters=4000)
    text = said(Config(dict(train_cfg=loop)), False)
    assert 'Here it makes 9 steps.' in text  # 0.72 x 4000 / 300
    assert 'Warm-up' not in text
    text = said(Config(dict(train_cfg=loop)), True)
    assert 'trains 4000 iters, from pre-trained weights' in text
    assert 'Warm-up: the base has none' in text
    assert 'no train_cfg' in said(Config(dict(model=dict())), False)


def test_images_on_the_scale_of_other_weights():
    caffe = load_config('mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py')
    (text,) = advice.input_advice(caffe)
    assert 'std=[58.395, 57.12, 57.375]' in text
    scaled = load_config('mmdet::retinanet/retinanet_r50_fpn_1x_coco.py')
    assert list(advice.input_advice(scaled)) == []


def test_only_the_first_reasons_for_pins_are_listed():
    groups = {
        f'g{size}': ChannelGroup(f'g{size}', size, (), f'reason {size}')
        for size in range(1, 9)
    }
    graph = ChannelGraph(groups, {}, frozenset(), {})
    lines = advice.pinned_lines(graph)
    assert lines[0] == '8 channels: reason 8' and len(lines) == 7
    assert lines[-1] == (
        '3 channels for 2 more reasons; tools/analyze.py lists them'
    )
