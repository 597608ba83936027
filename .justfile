# `just` lists these; CI runs the same commands (.ci/run)

default:
    @just --list

# format and lints
check:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings

# the whole test suite
test:
    cargo test --release --workspace

# the main job
demo:
    cargo run --release

# every Llama case of a folder of golden arrays
golden folder="fixtures/golden":
    LONGLENS_GOLDEN={{folder}} cargo test --release -p longlens-model --test golden

# the tables of fixtures/tiny-model/README.md, measured with this program
tiny-model:
    cargo build --release
    scripts/tiny-model

# prefill and decode speed of every method
speed:
    cargo build --release
    scripts/speed

# what a machine with an NVIDIA GPU checks, from a binary built with `--features cuda`
gpu binary="target/release/longlens":
    scripts/gpu-check {{binary}}
