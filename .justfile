# `just` lists these; CI runs the same commands (.ci/run)

default:
    @just --list

# format and lints
check:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings

# known vulnerabilities in the dependencies; fetches their database
advisories:
    cargo deny --all-features --config .deny.toml check advisories

# the whole test suite
test:
    cargo test --release --workspace

# the main job
demo:
    cargo run --release

# every Llama case of a folder of golden arrays
golden folder="fixtures/golden":
    LONGLENS_GOLDEN={{folder}} cargo test --release -p longlens-model --test model golden

# the tables of fixtures/tiny-model/README.md, measured with this program
tiny-model:
    cargo build --release
    scripts/tiny-model

# prefill and decode speed of every method, beside what the machine can do
speed lengths="1k,4k,16k":
    cargo run --release -- bench --lengths {{lengths}} --repeat 5 --methods \
      "full;sliding_window:window=256;streaming:n_sink=4,window=252;self_extend:group_size=64,neighbor_window=64;dual_chunk:chunk_size=192,local_window=32;long_heads:chunk_len=16,attention_len=256"

# the kernels alone
kernels:
    cargo bench -p longlens-kernel
    cargo bench -p longlens-model

# what a machine with an NVIDIA GPU checks, from a binary built with `--features cuda`
gpu binary="target/release/longlens":
    scripts/gpu-check {{binary}}

# the README's pictures of the workbench
screenshots:
    cargo build --release
    target/release/longlens screenshot --out docs/pictures/workbench-chunks.png --keys "L ) ) ) > >"
    target/release/longlens screenshot --out docs/pictures/workbench-attention.png --size 130x40 --keys "D ) ) ) > > 2 + + +"
    target/release/longlens screenshot --out docs/pictures/workbench-compare.png --size 150x40 --keys "D P L ) ) ) > > 7"

# docs/gallery.md: every view on a real model
gallery model="SmolLM2-135M-Instruct.Q4_1.gguf":
    cargo build --release
    scripts/gallery --longlens target/release/longlens --model {{model}}

# run every shipped notebook again and keep what it shows
notebooks:
    cargo build --release
    for notebook in notebooks/*.ipynb; do target/release/longlens notebook run $notebook; done

# the README's list of keys
keys:
    cargo run --release -p longlens-tui --example keys
