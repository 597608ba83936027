#!/bin/sh
# steps taken in the longlens workbench, as commands
set -e

longlens generate --model embedded --method full --prefill-chunk 2048 --max-tokens 4 --needle 120:0.5 --needle-seed 0

# in the workbench this run reused the cache of the one before (reuse-kv)
longlens generate --model embedded --method self_extend:group_size=8,neighbor_window=64,log_scale=off,shift=floor --rope yarn:factor=2,beta_fast=32,beta_slow=1 --prefill-chunk 64 --max-tokens 4 --temperature 0.7 --top-k 40 --top-p 0.9 --min-p 0.05 --repetition-penalty 1.1 --seed 5 --needle 160:0.25:48213 --needle-template long_lm --needle-seed 3

longlens generate --model embedded --device cpu --weights q8 --method full --prefill-chunk 2048 --max-tokens 0 --file - <<'END1'
It's a story.
END0
END1

longlens generate --model embedded --method full --prefill-chunk 2048 --max-tokens 2 --file story.txt

longlens plot chunks:query=100,chunk_len=16 --model embedded --method full --prefill-chunk 2048 --out heads.png --needle 120:0.5 --needle-seed 0

longlens plot chunks:query=100 --model embedded --method long_heads:chunk_len=8,attention_len=32,begin_len=32,variant=consistent --prefill-chunk 2048 --out chosen.png --needle 120:0.5 --needle-seed 0

longlens plot chunks:query=3,chunk_len=2 --model embedded --method full --prefill-chunk 2048 --out story.svg --file story.txt

longlens plot attention:layer=3,head=1 --model embedded --method full --prefill-chunk 2048 --out map.png --needle 120:0.5 --needle-seed 0

longlens plot attention:layer=0,head=0,pooling=max,scale=linear --model embedded --method full --prefill-chunk 2048 --out 'my map.svg' --file - <<'END0'
Once there was a cat.
END0

longlens positions --tokens 506 --layer 0 --head 0 --model embedded --method self_extend:group_size=8,neighbor_window=64,log_scale=off,shift=floor --prefill-chunk 2048 --out positions.svg

# compare.png shows the view compare, which no command draws

longlens passkey --model embedded --method full --prefill-chunk 2048 --template longlens --lengths 100,200 --depths 0,0.5 --trials 1 --seed 0
