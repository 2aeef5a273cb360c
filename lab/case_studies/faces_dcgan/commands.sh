# Sourced by run.sh, which sets $real, $out and $images.
. "$here/$name/weights.sh"
photographs=$real/faces/celeba-64.zip
parser="onnx:$real/faces/parser-15?threads=1"
sides=(-n 10000)
training=(--budget 0.1)
chosen=(--by-class 16 --pool 4000)
search=(--preset quick)
samples=1000
figure6=(--count 64 --examples 4)
written=(--written "$here/$name" --charts "$here/../../docs/case_studies")
if [ -n "$images" ]; then
  sides=(-n "$images" --no-pictures)
  training=(--budget 0.0001 --held-out 2)
  chosen=(--by-class 1 --pool "$images")
  search=(--preset quick --steps 2)
  samples=$images
  figure6=(--count 4 --examples 1 --steps 2)
  written=(--written "$out" --charts "$out")
fi

# The distribution.
unseen compare "$photographs" "$generator" --labels CelebA DCGAN --segmenter "$parser" \
  "${sides[@]}" -o "$out/compare"

# The inverter, and for methods b and c of Figure 6 an encoder that is trained end to end.
unseen train "$generator" "$out/inverter" "${training[@]}"
unseen train "$generator" "$out/encoder" --estimated none --recovered z,x "${training[@]}"
inverter=(--inverter "$out/inverter/inverter.safetensors")

# Photographs and controls by one rule: for each class, some of those that hold most of it.
single() {
  place=$1
  shift
  [ "$place" = inversions ] || [ -d "$out/$place" ] ||
    { mkdir -p "$out/$place" && cp -r "$out/inversions/pool" "$out/$place/"; }
  unseen invert "$photographs" --generator "$generator" --labels CelebA DCGAN \
    --segmenter "$parser" "${chosen[@]}" -o "$out/$place" "$@"
}
cut_rule="The last layer of features of 8×8 at most, chosen before anything was looked at."
single inversions "${inverter[@]}" --method d,e,f --perceptual none "${search[@]}" \
  --curve layer1,layer3,layer4 --cut-rule "$cut_rule"
single start-nearest --method d,f --perceptual none "${search[@]}" --samples "$samples" \
  --curve none --cut-rule "$cut_rule"
single mosaics "${inverter[@]}" --method nearest --perceptual inverter --samples "$samples"

# Figure 6, on images whose z is known.
unseen bench inversion "$generator" "${inverter[@]}" --encoder "$out/encoder/inverter.safetensors" \
  --images "$photographs" --perceptual none --perturbed 2 --regularisation 0.1 \
  "${figure6[@]}" -o "$out/figure6"

python -m lab study faces-dcgan "$out" "${written[@]}"
