#!/usr/bin/env bash
# How well the tests of the planner and the mapping watch, in half an hour. cargo-mutants says which
# mutants there are; weave.py puts all of them into one program, which is built once and run once for
# each. What is left over (a mutant that cannot be woven in) is told; cargo-mutants itself judges it:
# `cd target/mutants/plain && cargo mutants --re …`. Arguments are patterns of mutants' names.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v cargo-mutants >/dev/null || cargo install --locked cargo-mutants
python=target/mutants/venv/bin/python
if [ ! -x "$python" ]; then
  python3 -m venv target/mutants/venv
  "$python" -m pip install --quiet tree_sitter==0.26.1 tree_sitter_rust==0.24.2
fi

# A package of the pure rooms alone, which builds in a fraction of the time.
plain=target/mutants/plain
rm -rf "$plain"
mkdir -p "$plain/src"
cp -r src/{model,config,mapping,plan} "$plain/src/"
cp Cargo.lock ARCHITECTURE.md config.example.toml "$plain/"
# Fewer random cases: a mutant that only the thousandth notices is as good as unnoticed.
sed --in-place --regexp-extended 's/with_cases\([0-9]+\)/with_cases(50)/' "$plain"/src/*/tests/*.rs
printf 'pub mod %s;\n' config mapping model plan >"$plain/src/lib.rs"
# Without the program, its benchmarks and what only the other rooms need.
sed --regexp-extended \
  --expression '/^(default-run|readme) /d; /^\[\[bench\]\]/,/^$/d; /^\[lints\]/,/^$/d' \
  --expression '/^(axum|clap|futures-util|governor|hickory-|indicatif|ldap3|mimalloc|nix|reqwest|rustls|sd-notify|sqlx|tokio)/d' \
  --expression 's/^debug = "line-tables-only"/debug = false\nopt-level = 1/' \
  Cargo.toml >"$plain/Cargo.toml"
(cd "$plain" && cargo mutants --list --json --exclude 'src/model/**' --exclude 'src/config/**') \
  >target/mutants/list.json
exec "$python" tests/mutants/weave.py target/mutants "$@"
