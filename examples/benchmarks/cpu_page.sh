#!/usr/bin/env bash
# The tables of docs/results/cpu_<processor>.md: runs `jouleprune bench` suite by suite on core 1 and joins what it prints.
# On an idle machine about ten minutes.
#
#   bash examples/benchmarks/cpu_page.sh OUT.md [SECTION...]     sections: see below; without any, all
#
# The section "peers" needs JOULEPRUNE_PEERS="NAME=/path/to/python ..." (docs/benchmark.md says how to install them).
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2; }
out=$1
shift
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
one=(--cpu 1 --goals "$here/cpu_goals.json")

# section NAME TITLE OPTIONS...: appends the tables of one command under its title; headings move one level down.
section() {
  local name=$1 title=$2
  shift 2
  [ ${#wanted[@]} = 0 ] || [[ " ${wanted[*]} " = *" $name "* ]] || return 0
  echo "$title" >&2
  rm -f table.md
  jouleprune bench "$@" --markdown table.md >/dev/null || [ -s table.md ]  # a goal that is not reached is exit code 1
  { printf '\n## %s\n' "$title"
    sed -e '1,2d' -e '/| not measured: /d' -e '/^- peer .*: not installed/d' -e 's/^##/###/' -e "s# --markdown table.md##; s#$here/#examples/benchmarks/#g" table.md; } >>page.md
}

wanted=("$@")
: >page.md
section linear "Linear" --suite linear --rounds 9 --time-budget 240 "${one[@]}"
section nojit "Linear, JIT off" --suite linear --rounds 9 --no-jit "${one[@]}"
section avx2 "Linear, JIT off, AVX2" --suite linear --rounds 9 --no-jit --isa avx2 "${one[@]}"
section conv "Convolution" --suite conv1x1,conv3x3,conv7 --rounds 9 --time-budget 150 "${one[@]}"
section batch1 "Batch 1" --suite batch1 --rounds 9 --time-budget 240 "${one[@]}"
section blocks "Blocks and vectors" --suite blocks --rounds 9 "${one[@]}"
section bf16 "bfloat16" --suite bf16 --rounds 7 --time-budget 120 "${one[@]}"
section int8 "int8" --suite int8 --rounds 9 "${one[@]}"
section int8conv "int8 convolution" --suite int8conv --rounds 9 "${one[@]}"
section training "Training" --suite training --rounds 9 "${one[@]}"
section networks "Networks" --suite networks --case 'resnet18*' --sparsity 70,80,90,95 --rounds 7 --time-budget 120 "${one[@]}"
section decisions "What convert decides" --suite decisions --sparsity 20,40,60,80,90,95 --rounds 9 --cpu 1
section threads "Two threads" --suite linear,conv3x3 --sparsity 50,80,90,95 --rounds 9 --threads 2 --no-rivals
peers=()
for peer in ${JOULEPRUNE_PEERS:-}; do peers+=(--peer "$peer"); done
[ ${#peers[@]} = 0 ] ||
  section peers "Other libraries" --suite linear,conv3x3,batch1 --sparsity 50,70,80,90,95 --rounds 7 "${one[@]}" "${peers[@]}"
cd - >/dev/null
mv "$folder/page.md" "$out"
