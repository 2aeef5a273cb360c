# Sourced by run.sh, which sets $real, $out and $images.
segmenter="onnx:$real/ade20k-32?threads=1"
photographs=$out/photographs
taken=()
checked=500 matched=100 compared=500
training=(--images 80000 --snapshot-images 16000)
snapshots="00016000 00032000 00048000 00064000 00080000"
last_checked=300
search=(--samples 1000 --preset quick)
inverted=24
chosen=(--class person --class car --by-class 12 --pool 306)
written=(--written "$here/$name" --charts "$here/../../docs/case_studies")
if [ -n "$images" ]; then
  taken=(--count "$images")
  checked=2 matched=2 compared=2
  training=(--images 16 --batch-size 8 --snapshot-images 8
    --widths 8,8,8,8,8,8 --discriminator-widths 8,8,8,8,8)
  snapshots="00000008 00000016"
  last_checked=2
  search=(--samples 4 --preset quick --steps 2)
  inverted=2
  chosen=(--class building --by-class 1 --pool 2) # few photographs hold people
  written=(--written "$out" --charts "$out")
fi

# Which photographs are held out, and how those of the training look at 64 pixels.
python -m lab study streets-photographs "$real/streets.zip" "$photographs" "${taken[@]}"

# The segmenter first: each photograph at 64 pixels beside itself at full size; then both at 64.
unseen compare "$photographs/train" "$photographs/train-64" --labels "100 pixels" "64 pixels" \
  --segmenter "$segmenter" --paired --check-segmenter -n "$checked" -o "$out/weakness"
unseen compare "$photographs/train" "$photographs/train-64" --labels "100 pixels" "64 pixels" \
  --segmenter "$segmenter" --paired --match-resolution 64 -n "$matched" -o "$out/matched"

# The training. The same command goes on where it stopped.
python -m lab train generator --data "$photographs/train" --mirror --augment colour,translation \
  --learning-rate 0.002 --seed 1 --precision fp32 "${training[@]}" --out "$out/training"

# What it leaves out along its training, and at last with the segmenter checked.
sides=() labels=()
for snapshot in $snapshots; do
  sides+=("progan:$out/training/snapshots/$snapshot.safetensors")
  labels+=("$((10#$snapshot)) images")
done
unseen compare "$photographs/train-64" "${sides[@]}" --labels Photographs "${labels[@]}" \
  --segmenter "$segmenter" -n "$compared" -o "$out/curve"
generator="progan:$out/training/generator.safetensors"
unseen compare "$photographs/train-64" "$generator" --labels Photographs ProGAN \
  --segmenter "$segmenter" --check-segmenter -n "$last_checked" -o "$out/last"

# Single photographs, by searches that begin at the nearest sample. Figure 8: other scenes.
unseen bench cross-domain "$generator" --training "$photographs/train" \
  --held-out "$photographs/held_out" --unrelated "$real/nature.zip" --perceptual none \
  -n "$inverted" "${search[@]}" -o "$out/cross-domain"
unseen invert "$photographs/held_out" --generator "$generator" --labels Photographs ProGAN \
  --segmenter "$segmenter" "${chosen[@]}" --method d,f \
  --perceptual none "${search[@]}" --curve none \
  --cut-rule "layer4, the last layer of features of 8×8 at most, before anything was looked at" \
  -o "$out/inversions"

python -m lab study streets-progan "$out" "${written[@]}"
