"""Random networks by the thousand: is masked narrow, whatever is cut?

    python benchmarks/property.py --cases 10000 --jobs 2

Networks are the recipes of `tests/random_networks`, by number, so each can be
judged again: `--only 17 42`. A run goes on where the last one of the same code
stopped.
"""

import argparse
import hashlib
import json
import sys
import time
import warnings
from collections import Counter
from multiprocessing import Pool
from pathlib import Path

ROOT = Path(__file__).parents[1]
PART = 50  # networks between two writes
MARKS = '<!-- counts -->', '<!-- end of counts -->'


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--cases', type=int, default=10000)
    parser.add_argument('--cuts', type=int, default=3, help='per network')
    parser.add_argument('--jobs', type=int, default=1)
    parser.add_argument('--only', type=int, nargs='+', help='these numbers')
    parser.add_argument(
        '--out', type=Path, default=ROOT / 'build' / 'property.json'
    )
    parser.add_argument('--page', type=Path, help='fill the table of a page')
    return parser.parse_args()


def judged(number, cuts):
    """The verdict on one network, as plain data."""
    from tests.random_networks.recipes import recipe
    from tests.random_networks.verdicts import judge, smallest

    verdict = judge(recipe(number), cuts)
    found = dict(
        number=number,
        outcome=verdict.outcome,
        masks=verdict.masks,
        note=verdict.note,
        channels=verdict.channels,
    )
    if verdict.outcome in ('wrong', 'crashed'):
        found['recipe'] = str(smallest(recipe(number), cuts))
    return found


def judge_part(task):
    """The summary of networks that come one after the other."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    numbers, cuts = task
    return numbers[0], summary([judged(each, cuts) for each in numbers])


def summary(found):
    """What is kept of verdicts: counts, and whatever did not hold."""
    channels = {}
    for each in found:
        for kind, pair in each['channels'].items():
            seen = channels.get(kind, (0, 0))
            channels[kind] = [a + b for a, b in zip(seen, pair)]
    return dict(
        outcomes=Counter(each['outcome'] for each in found),
        masks=sum(each['masks'] for each in found),
        channels=channels,
        failures=[
            {key: each[key] for key in each.keys() - {'channels'}}
            for each in found
            if each['outcome'] != 'held'
        ],
    )


def joined(parts):
    """The summary of all parts."""
    whole = summary([])
    for part in parts:
        whole['outcomes'].update(part['outcomes'])
        whole['masks'] += part['masks']
        whole['failures'] += part['failures']
        for kind, pair in part['channels'].items():
            seen = whole['channels'].get(kind, (0, 0))
            whole['channels'][kind] = [a + b for a, b in zip(seen, pair)]
    return whole


def code():
    """What tells one state of the library and the recipes from another."""
    files = [*ROOT.glob('chex_mm/**/*.py')]
    files += ROOT.glob('tests/random_networks/*.py')
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def started(path, facts):
    """The parts that an earlier run of the same facts has written."""
    if not path.exists():
        return {}
    state = json.loads(path.read_text())
    is_same = all(state[key] == value for key, value in facts.items())
    return state['parts'] if is_same else {}


def write(path, facts, parts):
    whole = joined(parts.values())
    state = dict(
        facts,
        date=time.strftime('%Y-%m-%d'),
        networks=sum(whole['outcomes'].values()),
        **whole,
        parts=parts,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix('.new')
    beside.write_text(json.dumps(state, indent=1))
    beside.replace(path)


def run(arguments):
    """Judges what is not yet judged."""
    cases, cuts = arguments.cases, arguments.cuts
    facts = dict(cases=cases, cuts=cuts, code=code())
    parts = started(arguments.out, facts)
    tasks = [
        (range(first, min(first + PART, cases)), cuts)
        for first in range(0, cases, PART)
        if str(first) not in parts
    ]
    with Pool(arguments.jobs) as pool:
        for first, part in pool.imap_unordered(judge_part, tasks):
            parts[str(first)] = part
            write(arguments.out, facts, parts)
            print(line(joined(parts.values())), flush=True)
            for each in part['failures']:
                if each['outcome'] in ('wrong', 'crashed'):
                    print(json.dumps(each), flush=True)


def line(whole):
    counts = whole['outcomes']
    told = ', '.join(
        f'{counts[each]} {each}'
        for each in ('held', 'wrong', 'crashed', 'refused', 'void')
    )
    total = sum(counts.values())
    return f'{total} networks, {whole["masks"]} cuts: {told}'


def table(state):
    """Counts, and the share of channels that may be cut, as Markdown."""
    counts = Counter(state['outcomes'])
    rows = [
        ('networks', state['networks']),
        ('kinds of block', len(state['channels'])),
        ('networks × cuts compared', state['masks']),
        ('wrong', counts['wrong']),
        ('crashed', counts['crashed']),
        ('refused, saying why', counts['refused']),
        ('measured', state['date']),
    ]
    return '\n'.join(
        ['| | |', '|---|---|', *(f'| {a} | {b} |' for a, b in rows)]
    )


def fill(page, state):
    """Writes the table between the marks of a page."""
    before, _, rest = page.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    body = f'{MARKS[0]}\n{table(state)}\n{MARKS[1]}'
    page.write_text(before + body + after)


def main():
    arguments = parse_arguments()
    if arguments.only:
        for number in arguments.only:
            print(json.dumps(judged(number, arguments.cuts), indent=1))
        return 0
    run(arguments)
    state = json.loads(arguments.out.read_text())
    for kind, (free, size) in sorted(state['channels'].items()):
        print(f'{kind:30s} {free / max(size, 1):5.0%} of {size} channels free')
    print(line(joined(state['parts'].values())))
    if arguments.page:
        fill(arguments.page, state)
    counts = state['outcomes']
    return bool(counts.get('wrong', 0) + counts.get('crashed', 0))


sys.path.insert(0, str(ROOT))

if __name__ == '__main__':
    sys.exit(main())
