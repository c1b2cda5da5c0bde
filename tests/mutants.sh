#!/usr/bin/env bash
# How well the tests of the planner and the mapping watch: cargo-mutants on these two, in a package of
# the pure rooms alone, which builds in a fraction of the time. Arguments go to cargo-mutants, such as
# `-f 'src/plan/guard/**'` or `--shard 0/10`. What nobody noticed: target/mutants/mutants.out/missed.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-mutants >/dev/null || cargo install --locked cargo-mutants

core=target/mutants
mkdir -p "$core"
rm -rf "$core/src"
mkdir "$core/src"
cp -r src/{model,config,mapping,plan} "$core/src/"
cp Cargo.lock ARCHITECTURE.md config.example.toml "$core/"
# Fewer random cases: a mutant that only the thousandth notices is as good as unnoticed.
sed --in-place --regexp-extended 's/with_cases\([0-9]+\)/with_cases(50)/' "$core"/src/*/tests/*.rs
printf 'pub mod %s;\n' config mapping model plan >"$core/src/lib.rs"
# Without the program, its benchmarks and what only the other rooms need.
sed --regexp-extended \
  --expression '/^(default-run|readme) /d; /^\[\[bench\]\]/,/^$/d' \
  --expression '/^(axum|clap|futures-util|governor|hickory-|indicatif|ldap3|mimalloc|nix|reqwest|rustls|sd-notify|sqlx|tokio)/d' \
  Cargo.toml >"$core/Cargo.toml"
printf '[profile.dev.package."*"]\nopt-level = 1\n' >>"$core/Cargo.toml"
cd "$core"
export PROPTEST_CASES=50
cargo mutants --baseline skip --minimum-test-timeout 60 --exclude 'src/model/**' --exclude 'src/config/**' "$@"
