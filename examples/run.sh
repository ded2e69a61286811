#!/usr/bin/env bash
# Sets everything up and runs the main job: two networks pruned to joule budgets on two devices. Arguments go to the example
# (--quick checks that everything runs).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/setup.sh
set_up
say "examples/python/prune_to_budget.py $*"
exec "$PY" examples/python/prune_to_budget.py "$@"
